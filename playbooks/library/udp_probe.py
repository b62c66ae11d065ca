"""Ansible module: answer UDP packets for a while, or send some and see whether they are answered."""

from __future__ import annotations

import socket
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: udp_probe
short_description: See whether UDP reaches a port range
description:
  - With O(mode=answer) it binds the first free port of the range and echoes one packet, within O(seconds).
  - With O(mode=ask) it sends packets to every port of the range, at most O(seconds) long, until one is answered.
author: pixelstream
options:
  mode:
    description: Which side this is.
    type: str
    choices: [answer, ask]
    required: true
  address:
    description: Where to send.
    type: str
    default: 127.0.0.1
  first_port:
    description: First port of the range.
    type: int
    required: true
  port_count:
    description: How many ports.
    type: int
    required: true
  seconds:
    description: How long at most.
    type: float
    default: 5.0
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Ask
  udp_probe:
    mode: ask
    address: 192.0.2.5
    first_port: 8900
    port_count: 100
"""

RETURN = r"""
port:
  description: The port that answered or was answered on; null if none.
  type: int
  returned: always
"""

MAGIC = b"pixelstream preflight"


def answer(first: int, count: int, seconds: float) -> int | None:
    """Echo on the first free port; None when the whole range is taken or nobody asked."""
    for port in range(first, first + count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            try:
                listener.bind(("0.0.0.0", port))
            except OSError:
                continue
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                listener.settimeout(left)
                try:
                    packet, sender = listener.recvfrom(100)
                except TimeoutError:
                    return None
                if packet == MAGIC:
                    listener.sendto(MAGIC, sender)
                    return port
    return None


def ask(address: str, first: int, count: int, seconds: float) -> int | None:
    """Send to every port, again and again, until an echo comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for port in range(first, first + count):
                sender.sendto(MAGIC, (address, port))
            sender.settimeout(0.3)
            try:
                packet, source = sender.recvfrom(100)
            except (TimeoutError, ConnectionRefusedError):
                continue
            if packet == MAGIC:
                return int(source[1])
    return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mode": {"type": "str", "choices": ["answer", "ask"], "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "first_port": {"type": "int", "required": True},
            "port_count": {"type": "int", "required": True},
            "seconds": {"type": "float", "default": 5.0},
        },
        supports_check_mode=True,
    )
    values: dict[str, Any] = module.params
    if values["mode"] == "answer":
        port = answer(values["first_port"], values["port_count"], values["seconds"])
    else:
        port = ask(values["address"], values["first_port"], values["port_count"], values["seconds"])
    module.exit_json(changed=False, port=port)


if __name__ == "__main__":
    main()
