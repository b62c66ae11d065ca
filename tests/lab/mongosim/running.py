"""Stand-ins on this machine's loopback, for tests: one server, or a set of several."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runtime.demo.processes import free_port

START_SECONDS = 20.0
KEY = "a+key/of0tests"


class Mongod:
    """One server with its own files; started and stopped at will."""

    def __init__(self, home: Path, *, set_name: str = "", certificate: tuple[str, str] | None = None) -> None:
        self.home, self.port = home, free_port("127.0.0.1")
        self.authority = certificate[1] if certificate else ""
        self._process: subprocess.Popen[bytes] | None = None
        (home / "data").mkdir(parents=True)
        (home / "key").write_text(KEY + "\n")
        (home / "key").chmod(0o400)
        self.document: dict[str, Any] = {
            "storage": {"dbPath": str(home / "data")},
            "net": {"port": self.port, "bindIp": "127.0.0.1"},
            "security": {"authorization": "enabled"},
        }
        if set_name:
            self.document["security"]["keyFile"] = str(home / "key")
            self.document["replication"] = {"replSetName": set_name}
        if certificate:
            self.document["net"]["tls"] = {
                "mode": "requireTLS",
                "certificateKeyFile": certificate[0],
                "CAFile": certificate[1],
                "allowConnectionsWithoutCertificates": True,
            }

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return (self.home / "output").read_text()

    def start(self) -> None:
        (self.home / "mongod.conf").write_text(json.dumps(self.document))
        command = [sys.executable, "-m", "tests.lab.mongosim", "--config", str(self.home / "mongod.conf")]
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=Path(__file__).parents[3], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextmanager
def mongods(home: Path, count: int, **settings: Any) -> Iterator[list[Mongod]]:
    """Run ``count`` servers that know nothing of each other yet."""
    servers = [Mongod(home / f"mongod{number}", **settings) for number in range(count)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


def certificates(folder: Path) -> tuple[str, str]:
    """Make an authority and a certificate for 127.0.0.1: (certificate with its key, authority)."""
    folder.mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC)

    def signed(
        name: str, signer: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (folder / "authority.pem").write_bytes(signed("authority of a test", authority_key, authority_key, authority=True))
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(signed("mongod", authority_key, key, authority=False) + text)
    return str(folder / "server.pem"), str(folder / "authority.pem")
