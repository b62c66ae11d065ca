"""tls_mode files: a certificate and a key that do not belong together are refused before anything reaches a machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from .running import Run


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=play.test"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return certificate, key


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("site.pem", "site.key", ""),
        ("site.pem", "other.key", "other.key is not the key of"),
        ("site.pem", "", "set tls_certificate_file and tls_private_key_file"),
    ],
)
def test_a_pair_is_one(ansible: Run, tmp_path: Path, certificate: str, key: str, said: str) -> None:
    for name in ("site", "other"):
        pair(tmp_path, name)
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "public_name": "play.test",
            "tls_mode": "files",
            "tls_certificate_file": str(tmp_path / certificate),
            "tls_private_key_file": str(tmp_path / key) if key else "",
        },
        "tasks": [{"ansible.builtin.include_role": {"name": "tls", "tasks_from": "files_check"}}],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play]))
    result = ansible("ansible-playbook", str(playbook))
    assert (result.returncode != 0) == bool(said), result.stdout
    assert said in " ".join(result.stdout.split())
    assert "PRIVATE KEY" not in result.stdout
