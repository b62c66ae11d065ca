"""Ansible module: wait until this machine's MongoDB answers. Changes nothing."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.pixelstream_mongodb import IMPORT_ERROR, Look, fix_of, look_at, reason, wait

DOCUMENTATION = r"""
module: mongodb_answers
short_description: Wait until a MongoDB server answers
description:
  - A server that is in a replica set must also be primary or secondary, so that the next one can be restarted. Needs no
    password, and pymongo 3.11 or newer on the target.
author: pixelstream
options:
  address:
    description: Where the server is.
    type: str
    default: 127.0.0.1:27017
  ca_file:
    description: Authority of the server's certificate. Empty means no TLS.
    type: str
    default: ''
  seconds:
    description: Deadline.
    type: float
    default: 60.0
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: The database answers
  mongodb_answers:
    ca_file: /etc/pixelstream/database-tls/authority.pem
"""

RETURN = r"""
primary:
  description: Whether it takes writes.
  type: bool
  returned: always
"""


def ready(seen: Look) -> bool:
    """Is it of use? One that is in no set yet is."""
    if isinstance(seen, Exception):
        return False
    return "setName" not in seen or bool(seen.get("isWritablePrimary") or seen.get("secondary"))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "default": "127.0.0.1:27017"},
            "ca_file": {"type": "str", "default": ""},
            "seconds": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("python3-pymongo"), exception=IMPORT_ERROR)
    address, seconds = module.params["address"], module.params["seconds"]
    last: dict[str, Any] = {}

    def asked() -> bool:
        last["seen"] = look_at(address, module.params["ca_file"])
        return ready(last["seen"])

    answers = wait(asked, seconds)
    seen = last["seen"]
    if isinstance(seen, Exception):
        module.fail_json(
            msg=f"MongoDB does not answer at {address}: {reason(seen)}. {fix_of(address, seen)} "
            "(MongoDB 5 and newer need a processor with AVX.)"
        )
    if not answers:
        module.fail_json(
            msg=f"MongoDB at {address} is neither primary nor secondary after {seconds:.0f} s. It may be copying the "
            "data still: see journalctl --unit=mongod there, and run this again."
        )
    module.exit_json(changed=False, primary=bool(seen.get("isWritablePrimary")))


if __name__ == "__main__":
    main()
