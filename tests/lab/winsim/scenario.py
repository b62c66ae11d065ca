"""What a scenario of simulated hosts needs: ``python -m tests.lab.winsim.scenario FOLDER``.

Writes ``mirror/`` (installers), ``wheels/now|next`` (two versions of the runtime, as far as a simulated pip looks),
``builds/`` (two builds of a title) and ``winrm.pem`` with its key.
"""

from __future__ import annotations

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import mirror

VERSIONS = {"now": "99.0.0", "next": "99.1.0"}
NETWORKS = ("127.77.1.0/27", "127.77.2.0/27", "10.213.88.32/27")
ADDRESSES = [address for network in NETWORKS for address in ipaddress.ip_network(network)]


def wheel(folder: Path, version: str) -> Path:
    """A wheel with the metadata and the console script of ours, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"pixelstream-{version}-py3-none-any.whl"
    about = f"pixelstream-{version}.dist-info"
    members = {
        f"{about}/METADATA": f"Metadata-Version: 2.4\nName: pixelstream\nVersion: {version}\n",
        f"{about}/entry_points.txt": "[console_scripts]\npixelstream = runtime.cli:main\n",
    }
    mirror.write_zip(file, {name: text.encode() for name, text in members.items()})
    return file


def build(folder: Path, version: str) -> Path:
    """A build of an Unreal title, with a name that Windows must keep as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"city-{version}.zip"
    executable = f"MZ city {version}".encode()
    members = {"City/Binaries/Win64/City.exe": executable, "City/Content/Größe und Пиксели.pak": b"pak"}
    mirror.write_zip(file, members)
    return file


def certificate(folder: Path, not_after: datetime.datetime | None = None) -> None:
    """Self-signed, for all addresses of simulated hosts; ``not_after`` may lie in the past."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated WinRM")])
    ends = not_after or datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - datetime.timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address) for address in ADDRESSES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "winrm.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "winrm.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def prepare(folder: Path, *, wheels: bool = True) -> None:
    """Write everything; ``wheels`` are left out where real ones are installed."""
    folder.mkdir(parents=True, exist_ok=True)
    mirror.make(folder / "mirror")
    for name, version in VERSIONS.items() if wheels else ():
        wheel(folder / "wheels" / name, version)
    for number in ("1", "2"):
        build(folder / "builds", number)
    certificate(folder)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), wheels="--without-wheels" not in sys.argv)
