"""Certificates by ACME for a Windows host: the controller asks, and again when the one it has is not for this host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.deploy.acme_server import Acme, Issuer, handler
from tests.deploy.running import PROJECT
from tests.deploy.serving import QuietFiles
from tests.deploy.simulated import SimulatedHost

pytestmark = [pytest.mark.timeout(300), pytest.mark.root]  # port 80

AUTHORITY = "127.77.2.3"
PORT = 14080
NAMES = ("win1.lab.test", "renamed.lab.test")
DATA = "C:\\ProgramData\\Pixelstream"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def authority(host: SimulatedHost, tmp_path: Path) -> Iterator[Path]:
    """An ACME authority, and a web server on the host for its questions; the folder of the authority's certificates."""
    folder = tmp_path / "acme"
    issuer = Issuer(folder, 90)
    acme = Acme(f"https://{AUTHORITY}:{PORT}", issuer, folder, dict.fromkeys(NAMES, host.address))
    server = ThreadingHTTPServer((AUTHORITY, PORT), handler(acme))
    server.socket = issuer.serve_with(AUTHORITY, folder).wrap_socket(server.socket, server_side=True)
    answers = partial(QuietFiles, directory=str(host.state().path(f"{DATA}\\acme")))
    with serving(server), serving(ThreadingHTTPServer((host.address, 80), answers)):
        yield folder


def prepare(host: SimulatedHost) -> None:
    """What other roles have brought by then: folders, a Python, the tool that makes requests."""
    root = "C:\\Pixelstream"
    folders = [f"{root}\\current\\Scripts", f"{root}\\tools", f"{DATA}\\tls", f"{DATA}\\acme"]
    tool = PROJECT / "roles/windows_base/files/tools/certificate_request.py"
    done = host.play(
        [
            *({"ansible.windows.win_file": {"path": folder, "state": "directory"}} for folder in folders),
            {"ansible.windows.win_copy": {"content": "MZ", "dest": f"{root}\\current\\Scripts\\python.exe"}},
            {"ansible.windows.win_copy": {"src": str(tool), "dest": f"{root}\\tools\\certificate_request.py"}},
        ]
    )
    assert done.code == 0, done.output


def ask(host: SimulatedHost) -> tuple[int, list[str]]:
    """(tasks that changed something, names in the certificate), which is for the key that the host has."""
    issue = {"ansible.builtin.include_role": {"name": "tls", "tasks_from": "windows_acme_issue"}}
    done = host.play([issue])
    assert done.code == 0, done.output
    assert "PRIVATE KEY" not in done.output
    tls = host.state().path(f"{DATA}\\tls")
    certificate = x509.load_pem_x509_certificates((tls / "fullchain.pem").read_bytes())[0]
    key = serialization.load_pem_private_key((tls / "privkey.pem").read_bytes(), password=None)
    assert certificate.public_key() == key.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return done.changed(), names.get_values_for_type(x509.DNSName)


def test_a_certificate_is_for_the_key_and_the_name_that_the_host_has(
    host: SimulatedHost, authority: Path, tmp_path: Path
) -> None:
    host.variables |= {
        "tls_mode": "acme",
        "tls_acme_email": "operator@lab.test",
        "tls_acme_directory_url": f"https://{AUTHORITY}:{PORT}/directory",
        "tls_acme_authority_file": str(authority / "server.pem"),
        "tls_authority_directory": str(tmp_path / "authority"),
        "tls_names": [NAMES[0]],
    }
    prepare(host)
    changed, names = ask(host)
    assert changed > 0
    assert names == [NAMES[0]]
    # Installed anew: the controller still has a certificate of 90 days, for a key that nobody has any more.
    host.state().path(f"{DATA}\\tls\\privkey.pem").unlink()
    assert ask(host)[1] == [NAMES[0]]
    host.variables["tls_names"] = [NAMES[1]]
    assert ask(host)[1] == [NAMES[1]]
    assert ask(host)[0] == 0
