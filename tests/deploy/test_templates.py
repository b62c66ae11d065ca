"""Every template in all its branches: rendered by Ansible, judged by the program that will read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from runtime.chassis.config import load
from runtime.coordinator.config import CoordinatorConfig
from runtime.coordinator.registry_file import load_registry
from runtime.session_server.config import SessionServerConfig, check
from tests.lab.mongosim.conf import refuse_unknown_options

from .rendering import files
from .running import PROJECT


def test_coordinator_accepts_its_configuration(rendered: dict[str, Path]) -> None:
    for layout, path in files(rendered, "coordinator.json"):
        config = load(path, CoordinatorConfig)
        assert config.listen.port == 8100, layout
    several = load(rendered["several"] / "hub-a/coordinator.json", CoordinatorConfig)
    assert several.public_url == "https://play.test:8443"
    assert several.mongodb_uri.startswith(
        "mongodb://coordinator:coordinator%2Fpassword%40of%20a%20test@10.0.1.1:27017,10.0.1.2:27017/?"
    )
    assert "replicaSet=pixelstream" in several.mongodb_uri
    assert several.listen.address == "10.0.1.1"
    assert "10.0.1.2" in several.trusted_proxies
    assert several.turn is not None
    assert several.turn.urls[2] == "turns:play.test:5349?transport=tcp"
    assert several.turn.urls[5] == "turns:turn.test:443?transport=tcp"
    assert several.sessions.idle_seconds == 120
    assert several.webhooks["hook"].url == "https://hook.test/"
    central = load(rendered["central"] / "hub/coordinator.json", CoordinatorConfig)
    assert central.mongodb_uri == "mongodb://127.0.0.1:27017/"
    assert central.turn is None
    assert central.control_ca_file == "/etc/pixelstream/tls/authority.pem"


def test_session_server_accepts_its_configuration(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "session-server.json"):
        check(load(path, SessionServerConfig))
    gpu1 = load(rendered["central"] / "gpu1/session-server.json", SessionServerConfig)
    assert gpu1.relay.announced_addresses == ("198.51.100.11",)
    assert gpu1.listen.address == gpu1.relay.listen_address == "10.0.0.11"
    assert [(gpu.index, gpu.slots) for gpu in gpu1.gpus] == [(0, 2), (1, 2)]
    edge1 = load(rendered["direct"] / "edge1/session-server.json", SessionServerConfig)
    assert edge1.listen.address == edge1.relay.listen_address == "127.0.0.1", "only its own nginx reaches it"
    assert (edge1.port_range.first, edge1.port_range.last) == (9000, 9003)


def test_registry_accepts_its_file(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "registry.json"):
        load_registry(path)
    (gpu1,) = load_registry(rendered["central"] / "hub/registry.json").session_servers
    assert gpu1.control_url == "http://10.0.0.11:8750"
    assert gpu1.edge_url == "wss://play.test/hosts/{host}/{port}"
    assert gpu1.titles["car"].executable == "/opt/pixelstream-titles/car/1.2/Car.sh"
    assert gpu1.gpus["0"].vram_bytes == 8_000_000_000
    (edge1,) = load_registry(rendered["direct"] / "hub/registry.json").session_servers
    assert edge1.control_url == "https://edge1.test"
    assert edge1.edge_url == "wss://edge1.test/relay/{port}"
    assert "car" not in edge1.titles, "its label is missing"
    (one,) = load_registry(rendered["one"] / "both/registry.json").session_servers
    assert one.control_url == "http://127.0.0.1:8750"


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed: apt-get install nftables")
def test_nftables_accepts_its_rules(rendered: dict[str, Path]) -> None:
    for layout, path in files(rendered, "firewall.nft"):
        result = subprocess.run(["nft", "--check", "--file", str(path)], capture_output=True, text=True, timeout=20)
        assert result.returncode == 0, f"{layout}: {result.stderr}"
    gpu1 = (rendered["central"] / "gpu1/firewall.nft").read_text()
    assert "udp dport 8900-8999 accept" in gpu1
    assert "ip saddr { 10.0.0.1 } tcp dport { 8750, 8900-8999 } accept" in gpu1
    assert "443" not in gpu1, "in central mode nobody reaches a streaming host by HTTPS"
    several = (rendered["several"] / "hub-a/firewall.nft").read_text()
    assert "ip saddr { 192.0.2.0/24 } tcp dport 22 accept" in several
    assert "ip6 saddr { 2001:db8::/32 } tcp dport 22 accept" in several
    assert "tcp dport 9100 accept" in several
    assert "27017" in several


def test_ufw_gets_the_same_rules(rendered: dict[str, Path]) -> None:
    def rules(place: str) -> set[tuple[str, str, str]]:
        listed = json.loads((rendered[place.split("/")[0]] / place.split("/")[1] / "ufw-rules.json").read_text())
        return {(rule["protocol"], str(rule["ports"]), rule.get("source", "any")) for rule in listed}

    assert rules("central/gpu1") == {
        ("tcp", "22", "any"),
        ("udp", "8900-8999", "any"),
        ("tcp", "8750", "10.0.0.1"),
        ("tcp", "8900-8999", "10.0.0.1"),
    }
    several = rules("several/hub-a")
    assert {("tcp", "22", "192.0.2.0/24"), ("tcp", "8443", "any"), ("tcp", "27017", "10.0.1.2")} <= several
    assert ("tcp", "22", "any") not in several


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_units(rendered: dict[str, Path], tmp_path: Path) -> None:
    for layout, path in [item for kind in ("*.service",) for item in files(rendered, kind)]:
        place = tmp_path / layout
        place.mkdir(parents=True, exist_ok=True)
        name = path.name.replace("@.", "@1.")
        # Programs of a deployed machine are not here; what is checked is every directive's name and value.
        text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", path.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
        (place / name).write_text(text)
        result = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(place / name)], capture_output=True, text=True, timeout=30
        )
        complaints = [line for line in result.stderr.splitlines() if name in line]
        assert not complaints, complaints


def test_mongod_configuration(rendered: dict[str, Path]) -> None:
    config = yaml.safe_load((rendered["several"] / "hub-a/mongod.conf").read_text())
    refuse_unknown_options(config)
    assert config["security"] == {"authorization": "enabled", "keyFile": "/etc/mongod.key"}
    assert config["replication"] == {"replSetName": "pixelstream"}
    assert config["net"]["tls"]["mode"] == "requireTLS"
    assert config["net"]["bindIp"] == "127.0.0.1,10.0.1.1"
    assert config["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"] == 1.86, "MongoDB means gibibytes"
    assert config["net"]["tls"]["CAFile"] == "/etc/pixelstream/database-tls/authority.pem", (
        "also where ACME serves the site"
    )


def test_turn_reaches_streaming_hosts_only(rendered: dict[str, Path]) -> None:
    text = (rendered["several"] / "hub-a/turnserver.conf").read_text()
    assert "use-auth-secret" in text
    assert "external-ip=198.51.100.7/10.0.1.1" in text
    assert "denied-peer-ip=0.0.0.0-255.255.255.255" in text
    assert set(re.findall(r"^allowed-peer-ip=(.*)$", text, re.MULTILINE)) == {"198.51.100.11", "10.0.0.11"}


def test_turn_over_tls_is_where_the_inventory_says(rendered: dict[str, Path]) -> None:
    for host, port in (("hub-a", "5349"), ("hub-b", "443")):
        place = rendered["several"] / host
        assert f"\ntls-listening-port={port}\n" in (place / "turnserver.conf").read_text()
        assert f"dport {{ 3478, {port} }} accept" in (place / "firewall.nft").read_text()
        rules = [(rule["protocol"], rule["ports"]) for rule in json.loads((place / "ufw-rules.json").read_text())]
        assert {("tcp", f"3478,{port}"), ("udp", f"3478,{port}")} <= set(rules)


def test_shell_scripts_parse(rendered: dict[str, Path]) -> None:
    for _, path in files(rendered, "deploy-hook.sh"):
        subprocess.run(["sh", "-n", str(path)], check=True, timeout=10)


def promtool(home: Path) -> str | None:
    """Return Prometheus' own checker: installed, or out of the lab's package repository."""
    if found := shutil.which("promtool"):
        return found
    # Debian 13's is a package of its own, so not each of the repositories has it.
    for package in sorted((PROJECT / ".cache/lab").glob("packages-*/prom*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(home / "prometheus")], check=True, timeout=60)
        if (checker := home / "prometheus/usr/bin/promtool").exists():
            return str(checker)
    return None


def test_prometheus_configuration(rendered: dict[str, Path], tmp_path: Path) -> None:
    config = yaml.safe_load((rendered["several"] / "hub-a/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(jobs) >= {"coordinator-hub-a-1", "coordinator-hub-a-2", "coordinator-hub-b-1", "coordinator-hub-b-2"}
    assert jobs["coordinator-hub-b-2"]["metrics_path"] == "/metrics/2"
    assert jobs["coordinator-hub-b-2"]["static_configs"][0]["targets"] == ["10.0.1.2:8443"]
    if checker := promtool(tmp_path):
        place = rendered["several"] / "hub-a"
        subprocess.run([checker, "check", "rules", str(place / "pixelstream-alerts.yml")], check=True, timeout=20)
        subprocess.run(
            [checker, "check", "config", "--syntax-only", str(place / "prometheus.yml")], check=True, timeout=20
        )


def test_no_template_was_forgotten(rendered: dict[str, Path]) -> None:
    wanted = {path.name.removesuffix(".j2") for path in (PROJECT / "roles").glob("*/templates/*.j2")}
    for layout, top in rendered.items():
        for host in top.iterdir():
            assert {path.name for path in host.iterdir()} == wanted | {"ufw-rules.json"}, f"{layout}/{host.name}"
            for path in host.iterdir():
                if path.suffix == ".json":
                    json.loads(path.read_text())
