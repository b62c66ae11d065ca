"""Facts, ping and stored results."""

from __future__ import annotations

import base64
import datetime

from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model


@model("ansible.windows.win_ping")
def win_ping(state: State, arguments: Arguments) -> Result:
    if arguments.get("data") == "crash":
        raise ModelError("boom")
    return {"ping": arguments.get("data", "pong")}


@model("ansible.windows.setup")
def setup(state: State, arguments: Arguments) -> Result:
    machine = state.section("settings").get("machine", {})
    name = machine.get("os_name", "Microsoft Windows Server 2022 Standard")
    version = machine.get("version", "10.0.20348.0")
    environment = {**state.document["environment"]["machine"], **state.document["environment"]["user"]}
    facts = {
        "os_family": "Windows",
        "distribution": name,
        "distribution_version": version,
        "distribution_major_version": version.split(".")[0],
        "os_name": name,
        "os_product_type": machine.get("product_type", "server"),
        "os_installation_type": "Server" if "Server" in name else "Client",
        "system": "Win32NT",
        "kernel": version,
        "hostname": state.computer,
        "netbios_name": state.computer[:15].upper(),
        "fqdn": state.computer,
        "nodename": state.computer,
        "architecture": "64-bit",
        "architecture2": "x86_64",
        "domain": "",
        "windows_domain_member": False,
        "windows_domain": "WORKGROUP",
        "user_id": state.user,
        "user_dir": state.home,
        "env": environment,
        "powershell_version": 5,
        "processor_count": 1,
        "processor_vcpus": 8,
        "memtotal_mb": 16384,
        "ip_addresses": [],
        "interfaces": [],
        "reboot_pending": bool(state.document["reboot_pending"]),
        "date_time": {"iso8601": _clock(machine.get("clock_offset_seconds", 0)), "tz": "UTC"},
    }
    return {"ansible_facts": {"ansible_" + key: value for key, value in facts.items()}}


def _clock(offset_seconds: float) -> str:
    """The machine's clock as its facts tell it; ``settings.machine.clock_offset_seconds`` lets it be wrong."""
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=offset_seconds)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


@model("community.windows.win_disk_facts")
def win_disk_facts(state: State, arguments: Arguments) -> Result:
    machine = state.section("settings").get("machine", {})
    volume = {"size": 500_000_000_000, "size_remaining": machine.get("disk_free_bytes", 200_000_000_000)}
    partition = {"drive_letter": "C", "volumes": [volume]}
    return {"ansible_facts": {"ansible_disks": [{"number": 0, "partitions": [partition]}]}}


@model("ansible.windows.win_listen_ports_facts")
def win_listen_ports_facts(state: State, arguments: Arguments) -> Result:
    machine = state.section("settings").get("machine", {})
    return {"ansible_facts": {"tcp_listen": machine.get("listeners", []), "udp_listen": []}}


@model("ansible.windows.async_status")
def async_status(state: State, arguments: Arguments) -> Result:
    raise ModelError("answered by the machine, which keeps the jobs")


@model("ansible.windows.slurp")
def slurp(state: State, arguments: Arguments) -> Result:
    source = arguments.get("src") or arguments.get("path") or ""
    file = state.path(source)
    if not file.is_file():
        raise ModelError(f"Path {source} is not found")
    return {"encoding": "base64", "content": base64.b64encode(file.read_bytes()).decode(), "source": source}
