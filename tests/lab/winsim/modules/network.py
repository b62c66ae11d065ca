"""Firewall rules, and the modules that really use the network: downloads, requests, waiting for ports."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import ipaddress
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, given, model

_PORTS = re.compile(r"any|RPC|(\d{1,5}(-\d{1,5})?)(,\d{1,5}(-\d{1,5})?)*", re.IGNORECASE)
_KEYWORDS = {"any", "localsubnet", "dns", "dhcp", "wins", "defaultgateway"}


@model("community.windows.win_firewall_rule")
def win_firewall_rule(state: State, arguments: Arguments) -> Result:
    rules, name, group = state.section("firewall"), arguments.get("name"), arguments.get("group")
    if not name and not group:
        raise ModelError("Either name or group must be specified")
    keys = [name] if name else [key for key, rule in rules.items() if rule.get("group") == group]
    if arguments.get("state", "present") == "absent":
        return {"changed": bool([key for key in keys if state.drop(rules, key)])}
    _check_rule(arguments)
    left_out = ("state", "name") if name else ("state", "name", "group")
    wanted = {key: value for key, value in arguments.items() if not key.startswith("_") and key not in left_out}
    if name and name not in rules and not (wanted.get("direction") and wanted.get("action")):
        raise ModelError(f"winsim: rule {name} is new, but has no direction or action")
    if not keys:
        return {"msg": f"No firewall rules in group '{group}' exist."}
    return {"changed": bool([key for key in keys if state.merge(rules, key, wanted)])}


def _check_rule(arguments: Arguments) -> None:
    for field in ("localport", "remoteport"):
        if arguments.get(field) and not _PORTS.fullmatch(arguments[field].replace(" ", "")):
            raise ModelError(f"The port {arguments[field]} is invalid.")
    for field in ("localip", "remoteip"):
        for address in (arguments.get(field) or "any").split(","):
            _check_address(address.strip())


def _check_address(text: str) -> None:
    if text.lower() in _KEYWORDS:
        return
    try:
        for part in text.split("-") if "-" in text else [text]:
            ipaddress.ip_network(part, strict=False)
    except ValueError:
        raise ModelError(f"The address {text} is invalid.") from None


@model("ansible.windows.win_firewall")
def win_firewall(state: State, arguments: Arguments) -> Result:
    wanted = given(arguments, "state", "inbound_action", "outbound_action")
    settings = state.section("settings")
    changed = [
        state.merge(settings, f"firewall {profile}", wanted)
        for profile in arguments.get("profiles") or ["Domain", "Private", "Public"]
    ]
    return {"changed": any(changed)}


def _tls(state: State, validate: bool) -> ssl.SSLContext:
    """Trusts the certificates in this machine's Root store and nothing else: it has no internet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not validate:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    for certificate in state.section("certificates").get("LocalMachine\\Root", {}).values():
        context.load_verify_locations(cadata=certificate["pem"])
    return context


class _PlainHandler(urllib.request.HTTPHandler):
    """Connects from the simulated host's own address, so that a server's log tells hosts apart."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._source = (address, 0) if address else None

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(http.client.HTTPConnection, source_address=self._source), request)


class _TlsHandler(urllib.request.HTTPSHandler):
    """The same, with the host's own trust."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._source, self._trust = (address, 0) if address else None, context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        connection = functools.partial(http.client.HTTPSConnection, source_address=self._source, context=self._trust)
        return self.do_open(connection, request)


def _request(state: State, arguments: Arguments, method: str) -> tuple[int, bytes, dict[str, str]]:
    body = arguments.get("body")
    data = body.encode() if isinstance(body, str) else None
    headers = {str(name): str(value) for name, value in (arguments.get("headers") or {}).items()}
    if arguments.get("content_type"):
        headers["Content-Type"] = arguments["content_type"]
    request = urllib.request.Request(arguments["url"], data=data, headers=headers, method=method)
    context = _tls(state, arguments.get("validate_certs", True))
    handlers = [urllib.request.ProxyHandler({}), _PlainHandler(state.address), _TlsHandler(state.address, context)]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=arguments.get("url_timeout") or 30) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)
    except (OSError, ValueError) as error:
        raise ModelError(f"Error requesting '{arguments['url']}': {getattr(error, 'reason', error)}") from None


@model("ansible.windows.win_get_url")
def win_get_url(state: State, arguments: Arguments) -> Result:
    destination = arguments["dest"]
    if state.path(destination).is_dir():
        destination = paths.join(destination, arguments["url"].rsplit("/", 1)[1])
    target, algorithm = state.path(destination), arguments.get("checksum_algorithm") or "sha1"
    described = {"dest": destination, "url": arguments["url"], "status_code": 200, "msg": "OK"}
    wanted = (arguments.get("checksum") or "").lower()
    if target.exists() and not arguments.get("force", True):
        return described
    if wanted and target.is_file() and hashlib.new(algorithm, target.read_bytes()).hexdigest() == wanted:
        return {**described, "checksum_dest": wanted}
    if not target.parent.is_dir():
        raise ModelError(
            f"The path '{paths.parent(destination)}' does not exist for destination '{destination}', or is not visible"
        )
    status, data, _ = _request(state, arguments, "GET")
    if status != 200:
        raise ModelError(
            f"Error downloading '{arguments['url']}' to '{destination}': The remote server returned ({status})",
            status_code=status,
        )
    got = hashlib.new(algorithm, data).hexdigest()
    if wanted and wanted != got:
        raise ModelError(f"The checksum for {arguments['url']} did not match '{wanted}', it was '{got}'", **described)
    return {**described, "changed": state.write(destination, data), "checksum_src": got, "size": len(data)}


@model("ansible.windows.win_uri")
def win_uri(state: State, arguments: Arguments) -> Result:
    status, data, headers = _request(state, arguments, arguments.get("url_method") or "GET")
    expected = [int(code) for code in arguments.get("status_code") or [200]]
    result: dict[str, Any] = {
        "url": arguments["url"],
        "status_code": status,
        "content_length": len(data),
        "method": arguments.get("url_method"),
    }
    if arguments.get("return_content"):
        result["content"] = data.decode("utf-8", "replace")
        if "json" in headers.get("Content-Type", ""):
            import json

            result["json"] = json.loads(data)
    if status not in expected:
        raise ModelError(
            f"Status code of request '{status}' is not in list of valid status codes {expected} : {data[:200]!r}.",
            **result,
        )
    return result


@model("ansible.windows.win_wait_for")
def win_wait_for(state: State, arguments: Arguments) -> Result:
    deadline = time.monotonic() + arguments.get("timeout", 300)
    time.sleep(arguments.get("delay") or 0)
    wanted, path, port = arguments.get("state", "started"), arguments.get("path"), arguments.get("port")
    if path is None and port is None:
        return {"elapsed": 0.0}
    positive = wanted in ("started", "present")
    started = time.monotonic()
    while True:
        met = (
            state.path(path).exists()
            if path
            else _connects(arguments["host"], int(port or 0), arguments.get("connect_timeout", 5))
        )
        if met == positive:
            return {"elapsed": time.monotonic() - started}
        if time.monotonic() >= deadline:
            what = path or f"{arguments['host']}:{port}"
            raise ModelError(f"timeout while waiting for {what} to be {wanted}", elapsed=time.monotonic() - started)
        time.sleep(min(0.1, arguments.get("sleep", 1)))


def _connects(host: str, port: int, timeout_seconds: float) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout_seconds):
        return True
    return False
