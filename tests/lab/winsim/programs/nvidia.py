"""``nvidia-smi``: there when ``gpus.json`` beside the state lists GPUs as ``{"index", "name", "memory_mib", "driver",
"encoder_sessions"}``.
"""

from __future__ import annotations

import json

from .call import Call, Finished, program, refuse

_FIELDS = {
    "index": "index",
    "name": "name",
    "memory.total": "memory_mib",
    "driver_version": "driver",
    "encoder.stats.sessionCount": "encoder_sessions",
    "uuid": "uuid",
}


@program("nvidia-smi.exe")
def nvidia_smi(call: Call) -> Finished:
    listing = call.state.root / "gpus.json"
    gpus = json.loads(listing.read_text()) if listing.exists() else []
    if not gpus:
        return Finished(9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\r\n")
    query = [word.removeprefix("--query-gpu=") for word in call.words if word.startswith("--query-gpu=")]
    if len(query) != 1 or "--format=csv,noheader,nounits" not in call.words or len(call.words) != 2:
        return refuse(call)
    fields = query[0].split(",")
    if any(field not in _FIELDS for field in fields):
        return Finished(2, "", "Field is not a valid field to query.\r\n")
    lines = [", ".join(str(gpu.get(_FIELDS[field], "[N/A]")) for field in fields) for gpu in gpus]
    return Finished(0, "\r\n".join(lines) + "\r\n")
