"""Make a private key where it stays, and a certificate request for it. For Windows, run by the release's Python.

    certificate_request.py KEY_FILE --name NAME [--name NAME]... [--provisional CERTIFICATE_FILE]

Prints the request (PEM). An existing key is used again. ``--provisional`` also writes a self-signed certificate of
three days when there is none, so that a web server can start before an authority was asked.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def private_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The key of ``file``, made there first if need be. The folder's access list protects it."""
    if file.exists():
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SystemExit(f"{file} is not an elliptic curve key. Remove it to have one made.")
        return key
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text)
    return key


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def subject(names: list[str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])


def request(key: ec.EllipticCurvePrivateKey, names: list[str]) -> str:
    """PEM text of a request for all ``names``."""
    alternative = x509.SubjectAlternativeName([general_name(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(names))
    signed = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def provisional(key: ec.EllipticCurvePrivateKey, names: list[str]) -> bytes:
    """A self-signed certificate of three days."""
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject(names))
        .issuer_name(subject(names))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("key_file", type=Path)
    parser.add_argument("--name", action="append", required=True)
    parser.add_argument("--provisional", type=Path)
    options = parser.parse_args()
    key = private_key(options.key_file)
    if options.provisional is not None and not options.provisional.exists():
        options.provisional.write_bytes(provisional(key, options.name))
    print(request(key, options.name), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
