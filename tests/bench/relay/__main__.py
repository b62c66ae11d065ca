"""Measure the relay beside other forwarders: ``python -m tests.bench.relay``. The last line of output is one JSON
object.

One Go process is the publisher and all viewers; each forwarder gets the same 1200-byte packets, 26 per frame, 60
frames/s (15 Mbit/s). CPU is the forwarder process's own clock (user and system time of all its threads), divided by
the packets that had to leave it. Forwarders take turns within each round and the best round counts, so that a busy
machine disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from .forwarders import Forwarder, Running, Unavailable, build, forwarders, run

Result = dict[str, float]


def load(loadgen: Path, target: str, running: Running | None, *options: str) -> Result:
    """One run of the load generator; raises when it fails."""
    command = [str(loadgen), "-target", target, *options]
    if running is not None:
        command += ["-url", running.url, "-pid", str(running.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


MAX_LOST = 0.001
# Viewers that decrypt and time what they get. More would make the load generator the bottleneck of a small machine;
# further viewers have a connection like theirs and count their packets by the numbers in the headers.
DECRYPTING = 16


def is_clean(result: Result) -> bool:
    """Everything that was sent arrived, or nearly."""
    return result["packets_lost"] <= MAX_LOST * result["packets_sent"] * result["viewers"]


def show(name: str, case: str, result: Result) -> None:
    verdict = "" if is_clean(result) else " (overloaded, does not count)"
    print(
        f"{name:<13} {case:<16} {result['us_per_packet_out']:7.2f} us/packet out, "
        f"latency p50 {result['latency_p50_us'] / 1000:6.2f} p99 {result['latency_p99_us'] / 1000:7.2f} ms, "
        f"lost {result['packets_lost']:.0f}{verdict}",
        flush=True,
    )


def measure(loadgen: Path, candidates: list[Forwarder], arguments: argparse.Namespace) -> dict[tuple[str, str], Result]:
    """The best result of every forwarder and case over all rounds."""
    cases: list[tuple[str, tuple[str, ...]]] = [(f"burst n{n}", ("-viewers", str(n))) for n in arguments.viewers]
    cases += [(f"pace n{n}", ("-viewers", str(n), "-mode", "pace")) for n in arguments.paced]
    cases = [(case, (*options, "-decrypting", str(DECRYPTING))) for case, options in cases]
    best: dict[tuple[str, str], Result] = {}
    given_up: set[tuple[str, str]] = set()
    for _ in range(arguments.rounds):
        for case, options in cases:
            for candidate in candidates:
                if (candidate.name, case) in given_up:
                    continue
                with run(candidate) as running:
                    try:
                        result = load(loadgen, candidate.target, running, *options)
                    except RuntimeError as error:
                        print(f"{candidate.name} {case}: {error}", file=sys.stderr)
                        continue
                show(candidate.name, case, result)
                if is_clean(result):
                    keep_best(best.setdefault((candidate.name, case), result), result)
                elif result["packets_lost"] > 0.2 * result["packets_sent"] * result["viewers"]:
                    given_up.add((candidate.name, case))  # far from it: another round would show the same
        for case in [c for c, _ in cases if c.startswith("pace")][:1]:
            result = load(loadgen, "direct", None, "-mode", "pace")
            show("direct", "pace n1", result)
            keep_best(best.setdefault(("direct", case), result), result)
    return best


def keep_best(known: Result, new: Result) -> None:
    for key in ("us_per_packet_out", "us_per_packet_in", "latency_p50_us", "latency_p99_us"):
        known[key] = min(known[key], new[key])
    known["packets_lost"] = min(known["packets_lost"], new["packets_lost"])


def memory_per_viewer(loadgen: Path, relay: Forwarder, viewers: int) -> tuple[float, Result]:
    """(MiB of the relay's memory that each viewer adds, the run that it was measured in): 2 Mbit/s to many viewers."""
    used: dict[int, float] = {}
    result: Result = {}
    for count in (1, viewers):
        with run(relay) as running:
            options = ("-viewers", str(count), "-packets", "7", "-fps", "30")
            result = load(loadgen, relay.target, running, *options)
            with urllib.request.urlopen(running.url + "/bytes", data=b"", timeout=10) as response:
                used[count] = json.load(response)["rss"]
    return (used[viewers] - used[1]) / (viewers - 1) / 2**20, result


def summary(best: dict[tuple[str, str], Result], candidates: list[Forwarder]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for (name, case), result in sorted(best.items()):
        key = f"{name}_{case.replace(' ', '_')}"
        if name != "direct":
            figures[f"us_per_packet_out_{key}"] = round(result["us_per_packet_out"], 2)
            figures[f"lost_{key}"] = int(result["packets_lost"])
        figures[f"latency_ms_p99_{key}"] = round(result["latency_p99_us"] / 1000, 3)
    peers = {
        candidate.name: best[candidate.name, "burst n16"]["us_per_packet_out"]
        for candidate in candidates
        if not candidate.name.startswith("relay") and (candidate.name, "burst n16") in best
    }
    ours = best.get(("relay", "burst n16"))
    if ours is not None:
        figures["us_per_packet_out_n16"] = round(ours["us_per_packet_out"], 2)
    if peers:
        winner = min(peers, key=lambda name: peers[name])
        figures["best_peer"] = next(f"{c.name}: {c.about}" for c in candidates if c.name == winner)
        figures["best_peer_us_per_packet_out_n16"] = round(peers[winner], 2)
    paced_peers = [
        result["us_per_packet_out"]
        for (name, case), result in best.items()
        if case == "pace n16" and not name.startswith(("relay", "direct"))
    ]
    ours_paced = best.get(("relay", "pace n16"))
    if ours_paced is not None and paced_peers:
        figures["paced_share_of_best_peer_n16"] = round(ours_paced["us_per_packet_out"] / min(paced_peers), 2)
    bare = best.get(("relay_bare", "burst n16"))
    if ours is not None and bare is not None:
        figures["duties_over_bare_n16"] = round(ours["us_per_packet_out"] / bare["us_per_packet_out"] - 1, 3)
    many = best.get(("relay", "burst n64"))
    if many is not None:
        figures["core_share_n64_15mbps"] = round(many["relay_cpu_us"] / many["wall_us"], 3)
    paced, direct = best.get(("relay", "pace n4")), best.get(("direct", "pace n4"))
    if paced is not None and direct is not None:
        added = paced["latency_p99_us"] - direct["latency_p99_us"]
        figures["added_latency_ms_p99_n4"] = round(added / 1000, 3)
        figures["added_latency_ms_p50_n4"] = round((paced["latency_p50_us"] - direct["latency_p50_us"]) / 1000, 3)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--viewers", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--paced", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--many", type=int, default=64, help="viewers at 2 Mbit/s for memory and loss; 0: leave out")
    parser.add_argument("--only", nargs="*", help="names of forwarders")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relay-bench-") as directory:
        try:
            loadgen, sfu = build(Path(directory))
        except Unavailable as error:
            print(error, file=sys.stderr)
            return 2
        candidates = [c for c in forwarders(sfu) if not arguments.only or c.name in arguments.only]
        for candidate in candidates:
            print(f"{candidate.name}: {candidate.about}")
        best = measure(loadgen, candidates, arguments)
        figures = summary(best, candidates)
        relay = next((c for c in candidates if c.name == "relay"), None)
        if arguments.many and relay is not None:
            per_viewer, result = memory_per_viewer(loadgen, relay, arguments.many)
            figures["mib_per_viewer"] = round(per_viewer, 3)
            figures[f"lost_n{arguments.many}_2mbps"] = int(result["packets_lost"])
            figures[f"us_per_packet_out_n{arguments.many}_2mbps"] = round(result["us_per_packet_out"], 2)
    figures["machine"] = f"{os.cpu_count()} CPUs, {platform.platform()}, Python {platform.python_version()}"
    figures["load_average"] = [round(x, 1) for x in os.getloadavg()]
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
