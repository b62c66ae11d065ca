"""mongod.conf: which keys there are, and what mongod checks before it starts."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import StartError

# Key with its type; a nested mapping is a section. Anything else is refused, as mongod refuses unknown options.
KNOWN: dict[str, Any] = {
    "storage": {"dbPath": str, "wiredTiger": {"engineConfig": {"cacheSizeGB": float}}},
    "systemLog": {"destination": str, "path": str, "logAppend": bool, "logRotate": str},
    "net": {
        "port": int,
        "bindIp": str,
        "tls": {"mode": str, "certificateKeyFile": str, "CAFile": str, "allowConnectionsWithoutCertificates": bool},
    },
    "security": {"authorization": str, "keyFile": str},
    "replication": {"replSetName": str},
}
CONFIG_FAULT, DATABASE_FAULT = 2, 100
BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
SHORTEST_KEY, LONGEST_KEY = 6, 1024


@dataclass(frozen=True)
class Configuration:
    """A configuration that mongod would start with."""

    data: Path
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = 27017
    authorization: bool = False
    set_name: str = ""
    key: str = ""
    certificate: str = ""
    authority: str = ""
    log: str = ""

    @property
    def own_hosts(self) -> frozenset[str]:
        """What a member of a replica set may be called to be this one."""
        return frozenset(f"{address}:{self.port}" for address in self.addresses)

    def listening_context(self) -> ssl.SSLContext | None:
        if not self.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.verify_mode = ssl.CERT_OPTIONAL  # allowConnectionsWithoutCertificates
        context.load_cert_chain(self.certificate)
        return context

    def calling_context(self) -> ssl.SSLContext | None:
        if not self.certificate:
            return None
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.certificate)
        return context


def refuse_unknown_options(section: dict[str, Any], known: dict[str, Any] = KNOWN, place: str = "") -> None:
    """Raise ``StartError`` for a key that mongod does not have, or a value of another type."""
    for name, value in section.items():
        if name not in known:
            raise StartError(f"Unrecognized option: {place}{name}")
        wanted = known[name]
        if isinstance(wanted, dict):
            if not isinstance(value, dict):
                raise StartError(f"{place}{name} must be a section")
            refuse_unknown_options(value, wanted, f"{place}{name}.")
        elif wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
            continue
        elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise StartError(f"{place}{name} must be of type {wanted.__name__}")


def read_key(path: str) -> str:
    """Return the key of a key file, checked as mongod does."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
        text = file.read_text()
    except OSError as error:
        raise StartError(f"Error reading file {path}: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StartError(f"permissions on {path} are too open")
    key = "".join(text.split())
    if set(key) - BASE64:
        raise StartError(f"invalid char in key file {path}")
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise StartError(f"security key in {path} has length {len(key)}, must be between 6 and 1024 chars")
    return key


def _tls(section: dict[str, Any]) -> tuple[str, str]:
    if section.get("mode", "disabled") != "requireTLS":
        raise StartError(f"mongosim: not modelled: net.tls.mode {section.get('mode')}")
    if not section.get("certificateKeyFile"):
        raise StartError("need tlsCertificateKeyFile or certificateSelector when TLS is enabled")
    if not section.get("CAFile"):
        raise StartError("TLS without a chain of trust is no longer supported. See net.tls.CAFile")
    if section.get("allowConnectionsWithoutCertificates") is not True:
        raise StartError("mongosim: not modelled: clients that must show a certificate")
    return section["certificateKeyFile"], section["CAFile"]


def _log(section: dict[str, Any]) -> str:
    destination = section.get("destination", "")
    if destination not in ("", "file"):
        raise StartError(f"mongosim: not modelled: systemLog.destination {destination}")
    if bool(destination) != bool(section.get("path")):
        raise StartError("systemLog.destination file and systemLog.path need each other")
    if section.get("logRotate") == "reopen" and not section.get("logAppend"):
        raise StartError("logAppend must equal true if logRotate is set to reopen")
    return str(section.get("path", ""))


def load(path: Path) -> Configuration:
    """Read and check a file. Raise ``StartError`` for all that would keep mongod from starting."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise StartError(f"Error reading config file: {error}") from None
    refuse_unknown_options(document)
    storage, net = document.get("storage", {}), document.get("net", {})
    security, replication = document.get("security", {}), document.get("replication", {})
    cache = storage.get("wiredTiger", {}).get("engineConfig", {}).get("cacheSizeGB")
    if cache is not None and not 0.25 <= cache <= 10000:
        raise StartError(f"storage.wiredTiger.engineConfig.cacheSizeGB must be 0.25 to 10000, not {cache}")
    if security.get("authorization", "disabled") not in ("enabled", "disabled"):
        raise StartError("security.authorization must be enabled or disabled")
    set_name, key = replication.get("replSetName", ""), ""
    if security.get("keyFile"):
        key = read_key(security["keyFile"])
    if set_name and security.get("authorization") == "enabled" and not key:
        raise StartError("security.keyFile is required when authorization is enabled with replica sets")
    certificate, authority = _tls(net["tls"]) if "tls" in net else ("", "")
    data = Path(storage.get("dbPath", "/data/db"))
    if not data.is_dir():
        raise StartError(f"NonExistentPath: Data directory {data} not found", DATABASE_FAULT)
    return Configuration(
        data=data,
        addresses=tuple(dict.fromkeys(part.strip() for part in net.get("bindIp", "127.0.0.1").split(","))),
        port=net.get("port", 27017),
        # A key file turns authorization on by itself.
        authorization=security.get("authorization") == "enabled" or bool(key),
        set_name=set_name,
        key=key,
        certificate=certificate,
        authority=authority,
        log=_log(document.get("systemLog", {})),
    )
