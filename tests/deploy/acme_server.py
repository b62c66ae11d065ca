"""A certificate authority that speaks ACME (RFC 8555, http-01), for as long as a command runs.

    python -m tests.deploy.acme_server --listen 10.213.88.1:14000 --state DIRECTORY --at play.lab.test=10.213.88.11 \
        [--days 90] -- COMMAND ...

Signatures, nonces and URLs of requests are verified, challenges are fetched over plain HTTP from the address given for
the name. DIRECTORY keeps accounts and keys between runs; ``server.pem`` in it verifies the server's own HTTPS,
``issuer.pem`` what it issues. The exit code is the command's.
"""

from __future__ import annotations

import argparse
import base64
import datetime as dt
import hashlib
import http.client
import http.server
import ipaddress
import json
import secrets
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


class ProblemError(Exception):
    """An answer as RFC 7807 has it."""

    def __init__(self, kind: str, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status
        self.document = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638: the hash of the key's required members, in order."""
    members = ("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n")
    text = json.dumps({name: jwk[name] for name in members}, separators=(",", ":"), sort_keys=True)
    return encode(hashlib.sha256(text.encode()).digest())


def verify(jwk: dict[str, str], algorithm: str, signed: bytes, signature: bytes) -> None:
    numbers = {name: int.from_bytes(decode(value)) for name, value in jwk.items() if name in ("n", "e", "x", "y")}
    try:
        if algorithm == "RS256":
            rsa_key = rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
            rsa_key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "ES256":
            ec_key = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
            halves = (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
            ec_key.verify(utils.encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))
        else:
            raise ProblemError("badSignatureAlgorithm", f"{algorithm} is not RS256 or ES256")
    except InvalidSignature as error:
        raise ProblemError("malformed", "the signature is wrong", 403) from error


class Issuer:
    """The authority's key and certificate, made once."""

    def __init__(self, state: Path, days: float) -> None:
        self.days = days
        state.mkdir(parents=True, exist_ok=True)
        key_file, certificate_file = state / "issuer.key", state / "issuer.pem"
        if not key_file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            key_file.write_bytes(
                key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            )
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
            certificate_file.write_bytes(
                self._builder(name, name, key.public_key(), 3650)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .sign(key, hashes.SHA256())
                .public_bytes(PEM)
            )
        loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self.key = loaded
        self.certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())

    @staticmethod
    def _builder(subject: x509.Name, issuer: x509.Name, key: Any, days: float) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def issue(self, key: Any, names: list[x509.GeneralName], days: float) -> bytes:
        """Return a chain, leaf first."""
        leaf = (
            self._builder(x509.Name([]), self.certificate.subject, key, days)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return leaf.public_bytes(PEM) + self.certificate.public_bytes(PEM)

    def serve_with(self, address: str, state: Path) -> ssl.SSLContext:
        """Return the context of the server's own HTTPS, for an IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self.issue(key.public_key(), [x509.IPAddress(ipaddress.ip_address(address))], 2)
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (state / "served.pem").write_bytes(private + chain)
        (state / "server.pem").write_bytes(self.certificate.public_bytes(PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(state / "served.pem")
        return context


class Acme:
    """The protocol's objects and what each request does with them."""

    def __init__(self, base: str, issuer: Issuer, state: Path, places: dict[str, str]) -> None:
        self.base, self.issuer, self.places = base, issuer, places
        self.accounts = state / "accounts"
        self.accounts.mkdir(exist_ok=True)
        self.nonces: set[str] = set()
        self.orders: list[dict[str, Any]] = []

    def nonce(self) -> str:
        made = secrets.token_urlsafe(16)
        self.nonces.add(made)
        return made

    def directory(self) -> dict[str, Any]:
        return {
            "newNonce": f"{self.base}/nonce",
            "newAccount": f"{self.base}/account",
            "newOrder": f"{self.base}/order",
        }

    def open(self, body: bytes, path: str) -> tuple[Any, dict[str, str], str]:
        """Verify a request; return its payload, its account's key and the account's id."""
        message = json.loads(body)
        header = json.loads(decode(message["protected"]))
        if header["nonce"] not in self.nonces:
            raise ProblemError("badNonce", "this nonce was not given out, or is used")
        self.nonces.discard(header["nonce"])
        if header["url"] != self.base + path:
            raise ProblemError("unauthorized", f"signed for {header['url']}", 401)
        jwk = header.get("jwk")
        if jwk is None:
            file = self.accounts / header["kid"].rpartition("/")[2]
            if not file.exists():
                raise ProblemError("accountDoesNotExist", header["kid"])
            jwk = json.loads(file.read_text())
        signed = f"{message['protected']}.{message['payload']}".encode()
        verify(jwk, header["alg"], signed, decode(message["signature"]))
        payload = json.loads(decode(message["payload"])) if message["payload"] else None
        return payload, jwk, thumbprint(jwk)

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body (JSON, or PEM as text)."""
        payload, jwk, account = self.open(body, path)
        kind, *numbers = path.strip("/").split("/")
        if kind == "account":
            (self.accounts / account).write_text(json.dumps(jwk))
            return (
                201,
                {"Location": f"{self.base}/account/{account}"},
                {"status": "valid", "orders": f"{self.base}/none"},
            )
        if kind == "order" and not numbers:
            names = [identifier["value"] for identifier in payload["identifiers"]]
            if not names:
                raise ProblemError("malformed", "the order names nothing")
            self.orders.append({"names": names, "valid": set(), "token": secrets.token_urlsafe(16), "chain": ""})
            number = len(self.orders) - 1
            return 201, {"Location": f"{self.base}/order/{number}"}, self._order(number)
        order = self.orders[int(numbers[0])]
        doing: dict[str, Callable[[], Any]] = {
            "order": lambda: self._order(int(numbers[0])),
            "authorization": lambda: self._authorization(order, *map(int, numbers)),
            "challenge": lambda: self._challenge(order, account, *map(int, numbers)),
            "finalize": lambda: self._finalize(order, int(numbers[0]), decode(payload["csr"])),
            "certificate": lambda: order["chain"],
        }
        return 200, {"Link": f'<{self.base}/authorization/{"/".join(numbers)}>;rel="up"'}, doing[kind]()

    def _order(self, number: int) -> dict[str, Any]:
        order = self.orders[number]
        ready = set(order["names"]) == order["valid"]
        document: dict[str, Any] = {
            "status": "valid" if order["chain"] else "ready" if ready else "pending",
            "identifiers": [{"type": "dns", "value": name} for name in order["names"]],
            "authorizations": [f"{self.base}/authorization/{number}/{index}" for index in range(len(order["names"]))],
            "finalize": f"{self.base}/finalize/{number}",
        }
        return document | ({"certificate": f"{self.base}/certificate/{number}"} if order["chain"] else {})

    def _authorization(self, order: dict[str, Any], number: int, index: int) -> dict[str, Any]:
        name = order["names"][index]
        status = "valid" if name in order["valid"] else "pending"
        url = f"{self.base}/challenge/{number}/{index}"
        challenge = {"type": "http-01", "url": url, "token": order["token"], "status": status}
        return {"status": status, "identifier": {"type": "dns", "value": name}, "challenges": [challenge]}

    def _challenge(self, order: dict[str, Any], account: str, number: int, index: int) -> dict[str, Any]:
        name = order["names"][index]
        connection = http.client.HTTPConnection(self.places[name], 80, timeout=10)
        connection.request("GET", f"/.well-known/acme-challenge/{order['token']}", headers={"Host": name})
        said = connection.getresponse().read().decode().strip()
        connection.close()
        if said != f"{order['token']}.{account}":
            raise ProblemError("incorrectResponse", f"{name} answered {said[:100]!r}", 403)
        order["valid"].add(name)
        challenge: dict[str, Any] = self._authorization(order, number, index)["challenges"][0]
        return challenge

    def _finalize(self, order: dict[str, Any], number: int, der: bytes) -> dict[str, Any]:
        request = x509.load_der_x509_csr(der)
        wanted = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = wanted.get_values_for_type(x509.DNSName)
        if not request.is_signature_valid or set(names) != order["valid"]:
            raise ProblemError("badCSR", f"the request is for {names}")
        general: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        order["chain"] = self.issuer.issue(request.public_key(), general, self.issuer.days).decode()
        return self._order(number)


def handler(acme: Acme) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self, status: int, headers: dict[str, str], body: Any) -> None:
            text = body if isinstance(body, str) else json.dumps(body)
            kind = "application/pem-certificate-chain" if isinstance(body, str) else "application/json"
            self.send_response(status)
            for name, value in ({"Content-Type": kind, "Replay-Nonce": acme.nonce()} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self._send(200, {}, acme.directory())

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                self._send(*acme.answer(self.path, body))
            except ProblemError as error:
                self._send(error.status, {"Content-Type": "application/problem+json"}, error.document)

    return Handler


def main() -> int:
    own, _, command = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--at", action="append", required=True, help="name=address")
    parser.add_argument("--days", type=float, default=90)
    options = parser.parse_args(own.split())
    address, _, port = options.listen.partition(":")
    issuer = Issuer(options.state, options.days)
    places = dict(place.split("=", 1) for place in options.at)
    acme = Acme(f"https://{options.listen}", issuer, options.state, places)
    server = http.server.ThreadingHTTPServer((address, int(port)), handler(acme))
    server.socket = issuer.serve_with(address, options.state).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="acme")
    thread.start()
    try:
        return subprocess.run(command.split(), stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
