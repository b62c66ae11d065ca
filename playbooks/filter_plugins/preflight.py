"""Ansible filters of the role preflight: from facts to findings. A finding is a sentence that names its fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
OWN_COMMANDS = (
    "/opt/pixelstream",
    "pixelstream",
    "nginx:",
    "/usr/sbin/nginx",
    "mongod",
    "turnserver",
    "coturn",
    "prometheus",
)
MEGABYTE = 1_000_000
# Facts of the inventory that several roles read; inventory/example describes them.
SHARED_FACTS = (
    "access",
    "capacity",
    "cors_origins",
    "edge_mode",
    "gpus",
    "host_public_name",
    "http_port",
    "https_port",
    "labels",
    "media_address",
    "private_address",
    "public_name",
    "relay_port_count",
    "relay_port_first",
    "site_name",
    "titles",
    "turn_public_name",
)
# What playbooks are told by -e; docs/operators.md describes them.
SWITCHES = (
    "drain_wait_seconds",
    "remove_host_force",
    "restore_file",
    "status_file",
    "uninstall",
    "uninstall_data",
    "update_serial",
)
SECRETS = (
    "vault_control_secret",
    "vault_cookie_secret",
    "vault_token_signing_key",
    "vault_turn_secret",
    "vault_mongodb_uri",
    "vault_mongodb_admin_password",
    "vault_mongodb_admin_password_before",
    "vault_mongodb_coordinator_password",
    "vault_mongodb_backup_password",
    "vault_mongodb_key_file",
    "vault_windows_password",
    "vault_session_server_password",
    "vault_title_windows_share_password",
)
# What Ansible itself puts beside an inventory's variables.
MAGIC = (
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "module_setup",
    "gather_subset",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
    "vars",
    "undef",
)


def known_variables(roles_directory: str) -> list[str]:
    """Return every variable name that a role, or Ansible itself, reads."""
    names = {*SHARED_FACTS, *SWITCHES, *SECRETS, *MAGIC}
    for path in Path(roles_directory).glob("*/meta/argument_specs.yml"):
        names |= set(yaml.safe_load(path.read_text())["argument_specs"]["main"].get("options") or {})
    return sorted(names)


def inventory_findings(host: Mapping[str, Any], groups: Mapping[str, list[str]]) -> list[str]:
    """Return what is wrong with a host's own inventory facts."""
    findings = []
    name, mine = host["inventory_hostname"], host["group_names"]
    if not HOST_NAME.fullmatch(name):
        findings.append(
            f"the name {name} cannot be used for a host: use lower-case letters, digits, dots and dashes in hosts.yml."
        )
    if not groups.get("coordinator"):
        findings.append("no host is in the group coordinator. Put one there in hosts.yml.")
    if not host.get("public_name"):
        findings.append("public_name is missing: the DNS name of the site. Set it in group_vars/all/main.yml.")
    direct = host.get("edge_mode", "central") == "direct"
    if host.get("edge_mode", "central") not in ("central", "direct"):
        findings.append(f"edge_mode is {host['edge_mode']}, but must be central or direct.")
    database = "mongodb" in mine and host.get("mongodb_engine") == "packages"
    if (database or {"coordinator", "streaming"} & set(mine)) and not host.get("private_address"):
        findings.append(
            "private_address is missing: the address at which the other machines of this inventory reach this one. "
            "Set it beside the host in hosts.yml."
        )
    if direct and "streaming" in mine and "coordinator" not in mine and not host.get("host_public_name"):
        findings.append(
            "edge_mode is direct, so this host needs host_public_name, its own DNS name. "
            "Set it beside the host in hosts.yml."
        )
    findings += _database_findings(host, groups) + _file_findings(host)
    web = {port for kind, port, name in expected_ports(host) if name in ("http_port", "https_port")}
    if "turn" in mine and int(host.get("turn_tls_port", 5349)) in web:
        findings.append(
            f"turn_tls_port is {host['turn_tls_port']}, which nginx has on this machine. Put another machine into the "
            "group turn, with a turn_public_name of its own, or leave the port out."
        )
    first, count = int(host.get("relay_port_first", 8900)), int(host.get("relay_port_count", 100))
    if not 1024 <= first <= first + count - 1 <= 65535:
        findings.append(
            f"relay ports {first} to {first + count - 1} cannot be used. "
            "Keep relay_port_first and relay_port_count within 1024 to 65535."
        )
    if "streaming" in mine and count < int(host.get("capacity", 1)):
        findings.append(
            f"relay_port_count is {count}, but capacity is {host['capacity']}: each session needs a port. "
            "Raise relay_port_count."
        )
    return findings


def _database_findings(host: Mapping[str, Any], groups: Mapping[str, list[str]]) -> list[str]:
    """Return why the coordinators would not share one database."""
    if "coordinator" not in host["group_names"]:
        return []
    engine = host.get("mongodb_engine", "embedded")
    coordinators, members = len(groups.get("coordinator", [])), len(groups.get("mongodb", []))
    findings = []
    if engine == "embedded" and coordinators > 1:
        findings.append(
            f"there are {coordinators} coordinators, but the embedded database serves one machine. "
            "Set mongodb_engine to packages or external."
        )
    if engine == "packages" and coordinators > 1 and not members:
        findings.append(
            f"there are {coordinators} coordinators, and each would get a database of its own. "
            "Put the machines that are to run MongoDB into the group mongodb."
        )
    if engine == "packages" and members and members % 2 == 0:
        findings.append(
            f"the group mongodb has {members} machines, of which no majority is left when one fails. Use one or three."
        )
    return findings


def _file_findings(host: Mapping[str, Any]) -> list[str]:
    """Return which files that this host's roles copy from this computer are not there."""
    mine, mode = set(host["group_names"]), host.get("tls_mode", "own_ca")
    names = []
    if mode == "files" and "coordinator" in mine:
        names += ["tls_certificate_file", "tls_private_key_file"]
    if mode != "own_ca":
        names.append("tls_private_authority_file")
    if mode == "acme":
        names.append("tls_acme_authority_file")
    if host.get("mongodb_engine") == "packages" and {"coordinator", "mongodb"} & mine:
        names.append("mongodb_repository_key")
    findings = []
    for name in names:
        value = str(host.get(name) or "")
        path = Path(value).expanduser()
        if value and not path.is_absolute():
            findings.append(f"{name} is {value}, which is no full path. Begin it with / or the variable inventory_dir.")
        elif value and not path.exists():
            findings.append(f"{name} is {value}, but this computer has no such file. Correct it, or put it there.")
    return findings


def secret_findings(host: Mapping[str, Any]) -> list[str]:
    """Return which secrets this host's roles need and the vault lacks, or has in a form that cannot work."""
    mine = host["group_names"]
    wanted = {"vault_control_secret"} if "streaming" in mine else set()
    if "coordinator" in mine:
        wanted |= {"vault_control_secret", "vault_cookie_secret", "vault_token_signing_key"}
        if host.get("mongodb_engine") == "external":
            wanted.add("vault_mongodb_uri")
    if "turn" in mine:
        wanted.add("vault_turn_secret")
    if host.get("mongodb_engine") == "packages" and ("mongodb" in mine or "coordinator" in mine):
        wanted |= {
            "vault_mongodb_admin_password",
            "vault_mongodb_coordinator_password",
            "vault_mongodb_backup_password",
        }
        if len(host.get("groups", {}).get("mongodb", [])) > 1:
            wanted.add("vault_mongodb_key_file")
    findings = []
    for name in sorted(wanted):
        if not host.get(name):
            findings.append(f"the vault has no {name}. Make it: ansible-playbook playbooks/secrets.yml -i INVENTORY.")
        elif len(str(host[name])) < 16:
            findings.append(f"{name} is shorter than 16 characters. Remove it and run playbooks/secrets.yml.")
    key = str(host.get("vault_token_signing_key", ""))
    if "coordinator" in mine and key and "BEGIN PRIVATE KEY" not in key:
        findings.append(
            "vault_token_signing_key is no PEM private key. Remove it and run playbooks/secrets.yml, or make one: "
            "openssl genpkey -algorithm ed25519."
        )
    return findings


def expected_ports(host: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return (protocol, port, variable) of everything this deployment listens on, on this host.

    The variable is the one that moves the port; empty where none does.
    """
    mine = host["group_names"]
    wanted: list[tuple[str, int, str]] = []
    direct = host.get("edge_mode", "central") == "direct"
    if "coordinator" in mine or (direct and "streaming" in mine):
        wanted += [
            ("tcp", int(host.get("http_port", 80)), "http_port"),
            ("tcp", int(host.get("https_port", 443)), "https_port"),
        ]
    if "coordinator" in mine:
        first = int(host.get("coordinator_first_port", 8100))
        wanted += [
            ("tcp", first + number, "coordinator_first_port")
            for number in range(int(host.get("coordinator_instances", 2)))
        ]
        if host.get("mongodb_engine", "embedded") == "embedded":
            wanted.append(("tcp", int(host.get("mongodb_listen_port", 27017)), "mongodb_listen_port"))
    if host.get("mongodb_engine") == "packages" and "mongodb" in mine:
        wanted.append(("tcp", int(host.get("mongodb_listen_port", 27017)), "mongodb_listen_port"))
    if "turn" in mine:
        ports = {3478: "", int(host.get("turn_tls_port", 5349)): "turn_tls_port"}
        wanted += [(kind, port, name) for kind in ("tcp", "udp") for port, name in ports.items()]
        first, count = int(host.get("turn_first_port", 49160)), int(host.get("turn_port_count", 200))
        wanted += [("udp", port, "turn_first_port") for port in range(first, first + count)]
    if "observability" in mine and host.get("observability_prometheus_install", True):
        wanted.append(("tcp", 9090, ""))
    if "streaming" in mine:
        wanted.append(("tcp", int(host.get("session_server_listen_port", 8750)), "session_server_listen_port"))
        first, count = int(host.get("relay_port_first", 8900)), int(host.get("relay_port_count", 100))
        wanted += [(kind, port, "relay_port_first") for kind in ("tcp", "udp") for port in range(first, first + count)]
    return wanted


def machine_findings(
    look: Mapping[str, Any], host: Mapping[str, Any], facts: Mapping[str, Any], limits: Mapping[str, Any]
) -> list[str]:
    """Return what a Linux machine lacks. ``look`` is the result of the module ``machine_look``."""
    findings = []
    system, release = facts.get("distribution", "?"), str(facts.get("distribution_version", "?"))
    supported = limits["systems"].get(system, [])
    if not any(release == version or release.startswith(f"{version}.") for version in supported):
        names = ", ".join(f"{name} {'/'.join(versions)}" for name, versions in limits["systems"].items())
        findings.append(f"this is {system} {release}, but {names} are supported. Install one of these.")
    if facts.get("architecture") not in ("x86_64", "aarch64"):
        findings.append(
            f"the processor is {facts.get('architecture')}, but x86_64 and aarch64 are supported. Use another machine."
        )
    if look["effective_user_id"] != 0:
        findings.append(
            f"{look['user']} is not root, and everything here needs root's rights. Set ansible_user to root, or "
            "ansible_become: true (and ansible_become_password, in the vault, if sudo asks for one)."
        )
    by_free: dict[int, list[str]] = {}  # paths on one file system have the same and are one finding
    for path, free in look["free_bytes"].items():
        by_free.setdefault(free, []).append(path)
    for free, paths in by_free.items():
        if free < limits["disk_free_bytes"]:
            findings.append(
                f"{' and '.join(paths)}: {free // MEGABYTE} MB free, but {limits['disk_free_bytes'] // MEGABYTE} MB "
                "are needed. Free some (journalctl --vacuum-size=200M, old builds) or enlarge the disk."
            )
    difference = look["clock_difference_seconds"]
    # What the connection itself takes is not the clock's fault.
    if abs(difference) - limits["round_trip_seconds"] > limits["clock_difference_seconds"]:
        findings.append(
            f"the clock is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} the controller's, "
            "and signed requests live for 30 s. Set it and keep it: apt install chrony."
        )
    wanted = {(protocol, port): variable for protocol, port, variable in expected_ports(host)}
    foreign: dict[str, list[str]] = {}
    for listener in look["listeners"]:
        variable = wanted.get((listener["protocol"], listener["port"]))
        command = listener["command"]
        if variable is not None and not any(own in command for own in OWN_COMMANDS):
            foreign.setdefault(variable, []).append(
                f"{listener['protocol']} {listener['port']} by {command.split(' ')[0] or 'the kernel'}"
            )
    for variable, taken in foreign.items():
        findings.append(
            f"taken already: {', '.join(sorted(set(taken))[:5])}. Stop that program"
            + (f", or set {variable} to other ports." if variable else ".")
        )
    for name, found in look["addresses"].items():
        if not found:
            findings.append(
                f"this machine does not know the name {name}. Add it to DNS, or set session_server_coordinator_address "
                "to the coordinator's address."
            )
    if look["ufw_enabled"] and host.get("firewall_provider", "nftables") == "nftables":
        findings.append(
            "ufw is in force here, and firewall_provider is nftables: a packet would have to pass both. Set "
            "firewall_provider: ufw, or switch it off: ufw disable."
        )
    return findings


def certificate_findings(certificate: Mapping[str, Any], names: Iterable[str], days: int) -> list[str]:
    """Return what is wrong with a certificate, as x509_certificate_info tells of it: names, and days left."""
    findings = []
    covered = [str(entry).split(":", 1)[1] for entry in certificate.get("subject_alt_name") or []]
    for name in names:
        wildcard = "*." + name.split(".", 1)[1] if "." in name else ""
        if name not in covered and wildcard not in covered:
            findings.append(
                f"the certificate is for {', '.join(covered) or 'no name'}, not for {name}. Give the right file in "
                "tls_certificate_file, or correct public_name."
            )
    if certificate.get("expired"):
        findings.append(f"the certificate ended at {certificate.get('not_after')}. Renew it and give the new file.")
    elif not (certificate.get("valid_at") or {}).get("soon", True):
        findings.append(
            f"the certificate ends at {certificate.get('not_after')}, in less than {days} days. Renew it now."
        )
    return findings


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_known_variables": known_variables,
            "pixelstream_inventory_findings": inventory_findings,
            "pixelstream_secret_findings": secret_findings,
            "pixelstream_machine_findings": machine_findings,
            "pixelstream_certificate_findings": certificate_findings,
        }
