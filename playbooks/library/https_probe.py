"""Ansible module: ask an HTTPS server at a given address for a given name, as a browser with that DNS entry would."""

from __future__ import annotations

import http.client
import socket
import ssl
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: https_probe
short_description: Ask an HTTPS server by name at an address
description:
  - The certificate is verified for O(name), whatever O(address) is. Needs only Python on the target.
author: pixelstream
options:
  name:
    description: Name for which the certificate must be.
    type: str
    required: true
  address:
    description: Where to connect.
    type: str
    default: 127.0.0.1
  https_port:
    description: TCP port.
    type: int
    default: 443
  path:
    description: Path to ask for.
    type: str
    default: /
  ca_file:
    description: Bundle of authorities to trust instead of the system's.
    type: str
    default: ''
  trust_any:
    description: Whether an authority that is not known is fine. The name is looked at nevertheless.
    type: bool
    default: false
  seconds:
    description: Deadline of the connection and of each read.
    type: float
    default: 10.0
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Ask through nginx
  https_probe:
    name: play.example.org
    path: /readyz
"""

RETURN = r"""
status:
  description: HTTP status; 0 when there was no answer.
  type: int
  returned: always
reason:
  description: Why there was none.
  type: str
  returned: always
content:
  description: The first 100000 characters of the body.
  type: str
  returned: always
days_left:
  description: Days until the certificate ends; null when there was no connection.
  type: float
  returned: always
"""


def trusted_by_itself(address: tuple[str, int], name: str, seconds: float) -> ssl.SSLContext:
    """Return a context that trusts the certificate which is served there now: its name and its end still count."""
    look = ssl.create_default_context()
    look.check_hostname, look.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(address, timeout=seconds) as plain,
        look.wrap_socket(plain, server_hostname=name) as secure,
    ):
        served = secure.getpeercert(binary_form=True)
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(served or b""))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "https_port": {"type": "int", "default": 443},
            "path": {"type": "str", "default": "/"},
            "ca_file": {"type": "str", "default": ""},
            "trust_any": {"type": "bool", "default": False},
            "seconds": {"type": "float", "default": 10.0},
        },
        supports_check_mode=True,
    )
    values = module.params
    address = (values["address"], values["https_port"])
    status, reason, content, days_left = 0, "", "", None
    try:
        if values["trust_any"]:
            context = trusted_by_itself(address, values["name"], values["seconds"])
        else:
            context = ssl.create_default_context(cafile=values["ca_file"] or None)
        with (
            socket.create_connection(address, timeout=values["seconds"]) as plain,
            context.wrap_socket(plain, server_hostname=values["name"]) as secure,
        ):
            ends = ssl.cert_time_to_seconds(str((secure.getpeercert() or {})["notAfter"]))
            days_left = round((ends - time.time()) / 86400, 1)
            connection = http.client.HTTPConnection(values["name"], timeout=values["seconds"])
            connection.sock = secure
            connection.request("GET", values["path"], headers={"Connection": "close"})
            answer = connection.getresponse()
            status = answer.status
            content = answer.read(100_000).decode(errors="replace")
    except (OSError, ssl.SSLError, http.client.HTTPException, KeyError) as error:
        reason = str(error) or type(error).__name__
    module.exit_json(changed=False, status=status, reason=reason, content=content, days_left=days_left)


if __name__ == "__main__":
    main()
