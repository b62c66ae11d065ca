"""Ansible filters: what the inventory's plain words mean in the documents that the runtime reads.

Pure functions over inventory data, so that a fault in a title is found on the controller before any machine is touched.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import ipaddress
import operator
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote, urlencode

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
ENGINE = re.compile(r"generic|unreal-(4\.27|[5-9]\.\d{1,2})(-ps1)?")
CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
SAMPLE = "pixelstream-streamer"

# key of a title item -> allowed types. The groups below say where each goes in the registry document.
LAUNCH = {"engine": str, "arguments": list, "environment": dict, "width": int, "height": int}
LIMITS = {
    "max_players": int,
    "max_sessions": int,
    "max_bitrate_bps": int,
    "idle_seconds": (int, float),
    "idle_warning_seconds": (int, float),
    "max_length_seconds": (int, float),
    "length_warning_seconds": (int, float),
    "reconnect_grace_seconds": (int, float),
    "streamer_grace_seconds": (int, float),
    "relay_up_seconds": (int, float),
    "process_up_seconds": (int, float),
    "streamer_connected_seconds": (int, float),
    "first_frame_seconds": (int, float),
}
FEATURES = {"chat": bool, "voice": bool, "microphone": bool, "commands": bool}
PLAIN = {"control_policy": str, "bandwidth": str, "warm": int, "tags": list, "bookable": bool}
OTHER = {
    "name": str,
    "executable": (str, dict),
    "working_directory": str,
    "display_name": (str, dict),
    "description": (str, dict),
    "picture": str,
    "hosts": (str, list),
    "labels": dict,
    "build": dict,
    "access": dict,
    "vram_bytes": int,
    "host_settings": dict,
}
TITLE_KEYS: dict[str, Any] = {**LAUNCH, **LIMITS, **FEATURES, **PLAIN, **OTHER}
BUILD_KEYS = {"version": str, "url": str, "file": str, "share": str, "checksum": str, "keep": int, "strip": bool}
CHOICES = {
    "control_policy": ("ask", "free", "owner"),
    "bandwidth": ("protect_controller", "protect_slowest", "fixed"),
}
POSITIVE = ("max_players", "max_sessions", "idle_seconds", "max_length_seconds", "width", "height")


def host_key(control_secret: str, host: str) -> str:
    """Return the key with which ``host`` signs: base64url(HMAC-SHA256(secret, "host:" + host)), no padding."""
    digest = hmac.new(control_secret.encode(), f"host:{host}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean x?`` when a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {close[0]}?" if close else ""


def _texts(value: Any) -> dict[str, str]:
    return {} if value is None else ({"en": value} if isinstance(value, str) else dict(value))


def platform_of(host: Mapping[str, Any]) -> str:
    """Return ``windows`` or ``linux`` from what the inventory says of a host."""
    windows = str(host.get("ansible_connection", "")) in ("winrm", "psrp") or host.get("ansible_shell_type") in (
        "powershell",
        "cmd",
    )
    return "windows" if windows or "streaming_windows" in host.get("group_names", ()) else "linux"


def executable_for(title: Mapping[str, Any], platform: str) -> str | None:
    """Return the title's executable on ``platform``; None when the title has no build for it."""
    executable = title["executable"]
    if isinstance(executable, str):
        if executable == SAMPLE:
            return executable
        windows = executable.lower().endswith((".exe", ".bat", ".cmd")) or ":\\" in executable
        return executable if windows == (platform == "windows") else None
    return executable.get(platform)


def title_hosts(title: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts that are to run the title: named, or all, whose labels fit and that it has a build for."""
    wanted = title.get("hosts", "all")
    labels = title.get("labels") or {}
    found = []
    for name, host in hosts.items():
        if wanted != "all" and name not in ([wanted] if isinstance(wanted, str) else wanted):
            continue
        own = {str(key): str(value) for key, value in (host.get("labels") or {}).items()}
        if any(own.get(str(key)) != str(value) for key, value in labels.items()):
            continue
        if executable_for(title, platform_of(host)) is not None:
            found.append(name)
    return sorted(found)


def build_version(title: Mapping[str, Any]) -> str:
    """Return the name of the title's build directory: the version given, or the start of its checksum."""
    build = title.get("build") or {}
    if build.get("version"):
        return str(build["version"])
    if build.get("checksum"):
        return str(build["checksum"]).removeprefix("sha256:")[:12]
    return "unversioned"


def has_source(title: Mapping[str, Any]) -> bool:
    """Tell whether the title's build is brought to the hosts, rather than being there already."""
    return bool({"url", "file", "share"} & set(title.get("build") or {}))


def _type_faults(where: str, item: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    faults = []
    for key, value in item.items():
        if key not in known:
            faults.append(f"{where} has an unknown key {key}.{suggestion(key, known)}")
            continue
        wanted = known[key] if isinstance(known[key], tuple) else (known[key],)
        # Tagged strings of Ansible are str subclasses; bool is an int subclass and never meant as a number.
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            names = " or ".join(
                {"str": "text", "dict": "a mapping", "list": "a list", "bool": "yes or no"}.get(t.__name__, "a number")
                for t in wanted
            )
            faults.append(f"{where}: {key} must be {names}.")
    return faults


def _build_faults(where: str, title: Mapping[str, Any]) -> list[str]:
    build = title.get("build") or {}
    if not isinstance(build, Mapping):
        return []
    faults = _type_faults(f"{where}: build", build, BUILD_KEYS)
    sources = [key for key in ("url", "file", "share") if key in build]
    if len(sources) > 1:
        faults.append(f"{where}: build names {' and '.join(sources)}. Keep one of them.")
    checksum = build.get("checksum")
    if checksum is not None and not CHECKSUM.fullmatch(str(checksum)):
        faults.append(f"{where}: build.checksum must be sha256: and 64 hexadecimal digits (sha256sum prints them).")
    if sources == ["url"] and checksum is None:
        faults.append(f"{where}: build.url needs build.checksum, so that a changed download is noticed. Add it.")
    if sources and checksum is None and not build.get("version"):
        faults.append(
            f"{where}: build needs a version (or a checksum), the name of its directory on the hosts. Add one."
        )
    if not VERSION.fullmatch(build_version(title)):
        faults.append(f"{where}: build.version may hold letters, digits and . _ + - only.")
    return faults


def _value_faults(where: str, title: Mapping[str, Any]) -> list[str]:
    faults = []
    for key, choices in CHOICES.items():
        if key in title and title[key] not in choices:
            faults.append(f"{where}: {key} is {title[key]}, but must be one of {', '.join(choices)}.")
    faults += [
        f"{where}: {key} must be above 0; leave it out for the default."
        for key in POSITIVE
        if isinstance(title.get(key), int | float) and title[key] <= 0
    ]
    if not ENGINE.fullmatch(str(title.get("engine", "generic"))):
        faults.append(f"{where}: engine must be generic or unreal-<version>, 4.27 or newer, such as unreal-5.5.")
    for key in ("display_name", "description"):
        texts = _texts(title.get(key)) if isinstance(title.get(key), str | dict | None) else {}
        faults += [
            f"{where}: {key} has {language!r} where a language tag such as en or de is expected."
            for language in texts
            if not LANGUAGE.fullmatch(str(language))
        ]
    executable = title.get("executable")
    if isinstance(executable, Mapping) and (not executable or set(executable) - {"linux", "windows"}):
        faults.append(f"{where}: executable as a mapping has the keys linux and windows only.")
    return faults


def title_faults(titles: Any, hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence with its fix for everything that is wrong in the list of titles; empty when it is right."""
    if not isinstance(titles, list):
        return ["titles.yml: titles must be a list of items, each with a name and an executable."]
    faults: list[str] = []
    seen: set[str] = set()
    for number, title in enumerate(titles, 1):
        if not isinstance(title, Mapping):
            faults.append(f"titles.yml: item {number} must be a mapping with name and executable.")
            continue
        where = f"titles.yml: {title.get('name', f'item {number}')}"
        missing = [key for key in ("name", "executable") if not title.get(key)]
        faults += [f"{where} has no {key}. Add it." for key in missing]
        own = _type_faults(where, title, TITLE_KEYS)
        faults += own
        if missing or own:
            continue
        if not NAME.fullmatch(title["name"]):
            faults.append(f"{where}: a name has 1 to 63 lower-case letters, digits, dots, dashes or underscores.")
        if title["name"] in seen:
            faults.append(f"{where} is there twice. Keep one of them.")
        seen.add(title["name"])
        faults += _value_faults(where, title) + _build_faults(where, title)
        named = title.get("hosts", "all")
        for host in [] if named == "all" else ([named] if isinstance(named, str) else named):
            if host not in hosts:
                faults.append(f"{where}: host {host} is not in the group streaming.{suggestion(host, hosts)}")
        if not title_hosts(title, hosts):
            faults.append(
                f"{where}: no host can run it. Check hosts, labels, and that executable fits the hosts' system."
            )
    return faults


def host_build(
    title: Mapping[str, Any], name: str, host: Mapping[str, Any], roots: Mapping[str, str]
) -> dict[str, Any]:
    """Return how ``host`` runs the title, as the registry's ``Build``; ``roots``: platform -> directory of builds."""
    platform = platform_of(host)
    own = (title.get("host_settings") or {}).get(name) or {}
    executable = str(own.get("executable") or executable_for(title, platform))
    version = build_version(title)
    pure = PureWindowsPath if platform == "windows" else PurePosixPath
    directory = pure(roots[platform]) / title["name"] / version
    if executable != SAMPLE and not pure(executable).is_absolute():
        executable = str(directory / executable)
    working = title.get("working_directory")
    if working and not pure(working).is_absolute():
        working = str(directory / working)
    return {
        "executable": executable,
        "arguments": [str(argument) for argument in own.get("arguments", [])],
        "build": version,
        "working_directory": working or (str(directory) if has_source(title) else None),
        "environment": {str(key): str(value) for key, value in (own.get("environment") or {}).items()},
    }


def registry_title(title: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    """Return one ``Title`` of the registry file. What the item does not say is left to the runtime's defaults."""
    document: dict[str, Any] = {"name": title["name"]}
    document["display_name"] = _texts(title.get("display_name")) or {"en": title["name"]}
    document["description"] = _texts(title.get("description"))
    if title.get("picture"):
        document["picture"] = pictures.get(title["name"], title["picture"])
    launch = {key: title[key] for key in LAUNCH if key in title}
    if "arguments" in launch:
        launch["arguments"] = [str(argument) for argument in launch["arguments"]]
    if "environment" in launch:
        launch["environment"] = {str(key): str(value) for key, value in launch["environment"].items()}
    document["launch"] = launch
    document["limits"] = {key: title[key] for key in LIMITS if key in title}
    document["features"] = {key: title[key] for key in FEATURES if key in title}
    document |= {key: title[key] for key in PLAIN if key in title}
    if title.get("access"):
        document["access"] = dict(title["access"])
    document["needs"] = {"labels": {str(k): str(v) for k, v in (title.get("labels") or {}).items()}}
    if "vram_bytes" in title:
        document["needs"]["vram_bytes"] = title["vram_bytes"]
    return document


def registry_document(
    titles: list[Mapping[str, Any]],
    hosts: Mapping[str, Mapping[str, Any]],
    edges: Mapping[str, Mapping[str, Any]],
    roots: Mapping[str, str],
    pictures: Mapping[str, str],
) -> dict[str, Any]:
    """Return the registry file's content.

    ``hosts`` are the inventory's variables by host, ``edges`` what the role worked out by host (``control_url``,
    ``edge_url``, ``capacity``, ``gpus``), ``roots`` the builds' directory by platform, ``pictures`` file by title.
    """
    servers = []
    for name, host in sorted(hosts.items()):
        builds = {
            title["name"]: host_build(title, name, host, roots) for title in titles if name in title_hosts(title, hosts)
        }
        labels = {str(key): str(value) for key, value in (host.get("labels") or {}).items()}
        servers.append({"name": name, **edges[name], "labels": labels, "titles": builds})
    return {"titles": [registry_title(title, pictures) for title in titles], "session_servers": servers}


def alternative_names(names: Iterable[str]) -> str:
    """Return ``names`` as openssl's ``subjectAltName``: addresses as IP, all else as DNS."""

    def tagged(name: str) -> str:
        try:
            return f"IP:{ipaddress.ip_address(name)}"
        except ValueError:
            return f"DNS:{name}"

    return ",".join(tagged(name) for name in names)


def names_only(places: Iterable[str]) -> list[str]:
    """Return those of ``places`` that are DNS names rather than addresses."""
    return [place for place in places if alternative_names([place]).startswith("DNS:")]


def picture_file(title: Mapping[str, Any]) -> str:
    """Return the path of the title's picture beside the registry file; the name keeps the kind of file."""
    return f"pictures/{title['name']}{PurePosixPath(title['picture']).suffix.lower()}"


def random_secret(_name: str) -> str:
    """Return 256 random bits as text that is safe in URLs, files and shells."""
    return secrets.token_urlsafe(32)


def addresses(hosts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the address at which other machines find each of ``hosts`` (their variables)."""
    return [
        str(host.get("private_address") or host.get("ansible_host") or host["inventory_hostname"]) for host in hosts
    ]


def mongodb_uri(
    database: Mapping[str, Any], user: str, password: str, members: list[str], ca_file: str | None = None
) -> str:
    """Return one user's connection string. ``database``: engine, uri, port, replica_set and tls of the role mongodb."""
    if database["engine"] == "external":
        return str(database["uri"])
    if database["engine"] == "embedded":
        return f"mongodb://127.0.0.1:{database['port']}/"
    options = {"authSource": "admin"}
    if database.get("replica_set"):
        options["replicaSet"] = database["replica_set"]
    if database.get("tls"):
        options["tls"] = "true"
        if ca_file:
            options["tlsCAFile"] = ca_file
    places = ",".join(f"{member}:{database['port']}" for member in members) or f"127.0.0.1:{database['port']}"
    return f"mongodb://{quote(user, safe='')}:{quote(password, safe='')}@{places}/?{urlencode(options)}"


def turn_urls(hosts: Iterable[Mapping[str, Any]], public_name: str) -> list[str]:
    """Return the addresses (RFC 7065) of each TURN server: UDP first, TLS for strict networks last."""
    urls = []
    for host in hosts:
        name = host.get("turn_public_name") or public_name
        urls += [f"turn:{name}:3478?transport=udp", f"turn:{name}:3478?transport=tcp"]
        urls.append(f"turns:{name}:{host.get('turn_tls_port', 5349)}?transport=tcp")
    return urls


def unknown_names(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each variable name that nothing reads."""
    wanted = set(known)
    return [
        f"the variable {name} is read by nothing.{suggestion(name, wanted)} "
        "Correct it, remove it, or list it in preflight_known_variables."
        for name in sorted(set(names) - wanted)
        if not name.startswith(("ansible_", "_"))
    ]


def title_builds(
    titles: list[Mapping[str, Any]], name: str, hosts: Mapping[str, Mapping[str, Any]], keep: int
) -> list[dict[str, Any]]:
    """Return the builds that must lie on host ``name``: title, version, source, checksum, keep, executable, strip."""
    builds = []
    for title in titles:
        if not has_source(title) or name not in title_hosts(title, hosts):
            continue
        build = title["build"]
        kind = next(key for key in ("url", "file", "share") if key in build)
        own = (title.get("host_settings") or {}).get(name) or {}
        builds.append(
            {
                "title": title["name"],
                "version": build_version(title),
                "kind": kind,
                "source": build[kind],
                "checksum": build.get("checksum", ""),
                "keep": build.get("keep", keep),
                "strip": build.get("strip", False),
                "executable": str(own.get("executable") or executable_for(title, platform_of(hosts[name]))),
            }
        )
    return builds


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "pixelstream_add": operator.add,
            "pixelstream_addresses": addresses,
            "pixelstream_alternative_names": alternative_names,
            "pixelstream_host_key": host_key,
            "pixelstream_mongodb_uri": mongodb_uri,
            "pixelstream_names_only": names_only,
            "pixelstream_title_faults": title_faults,
            "pixelstream_title_hosts": title_hosts,
            "pixelstream_title_builds": title_builds,
            "pixelstream_random_secret": random_secret,
            "pixelstream_registry": registry_document,
            "pixelstream_turn_urls": turn_urls,
            "pixelstream_unknown_names": unknown_names,
            "pixelstream_picture_file": picture_file,
            "pixelstream_platform": platform_of,
        }
