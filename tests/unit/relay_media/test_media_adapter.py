"""Canary: fails when an update of aiortc or pylibsrtp changes a private name or shape that the relay relies on."""

from __future__ import annotations

import inspect
import re
import struct
from importlib.metadata import version
from pathlib import Path

import aiortc
import pylibsrtp
import pytest
from aiortc import rtcdtlstransport, rtcsctptransport
from hypothesis import given
from hypothesis import strategies as st

from runtime.relay.core.dtls_records import split_records
from runtime.relay.rtc import srtp

RELAY = Path(srtp.__file__).parent


def test_the_pinned_versions_are_installed() -> None:
    assert version("aiortc") == "1.16.0"
    assert version("pylibsrtp") == "1.0.0"


def test_the_self_test_passes_and_notices_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    srtp.self_test()
    monkeypatch.setattr(srtp, "protect", lambda session, packet, length: 0)
    with pytest.raises(RuntimeError, match="pinned version"):
        srtp.self_test()


def test_what_dtls_touches_on_its_transport() -> None:
    source = inspect.getsource(rtcdtlstransport.RTCDtlsTransport)
    touched = set(re.findall(r"self\.transport\.(\w+)", source))
    assert touched == {"_recv", "_send", "role"}


def test_what_sctp_touches_on_its_transport() -> None:
    source = inspect.getsource(rtcsctptransport.RTCSctpTransport)
    touched = set(re.findall(r"self\.(?:__)?transport\.(\w+)", source))
    assert touched == {"_register_data_receiver", "_role", "_send_data", "_unregister_data_receiver"}


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (rtcdtlstransport.RTCDtlsTransport, "_set_role", ["self", "role"]),
        (rtcdtlstransport.RTCDtlsTransport, "_write_ssl", ["self"]),
        (rtcdtlstransport.RTCCertificate, "_create_ssl_context", ["self", "srtp_profiles"]),
        (rtcsctptransport.RTCSctpTransport, "_handle_data", ["self", "data"]),
        (rtcsctptransport.RTCSctpTransport, "_receive_data_chunk", ["self", "chunk"]),
        (rtcsctptransport.RTCSctpTransport, "_receive_forward_tsn_chunk", ["self", "chunk"]),
        (rtcsctptransport.RTCSctpTransport, "_receive_sack_chunk", ["self", "chunk"]),
        (rtcsctptransport.RTCSctpTransport, "_data_channel_receive", ["self", "stream_id", "pp_id", "data"]),
        (rtcsctptransport.RTCSctpTransport, "_send_chunk", ["self", "chunk"]),
    ],
)
def test_overridden_methods_have_the_shape_we_override(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_the_fields_we_read_exist() -> None:
    dtls = inspect.getsource(rtcdtlstransport.RTCDtlsTransport.__init__)
    for name in ("encrypted", "_srtp_profiles", "_rx_srtp", "_tx_srtp", "_ssl"):
        assert f"self.{name}" in dtls
    sctp = inspect.getsource(rtcsctptransport.RTCSctpTransport.__init__)
    for name in (
        "_advertised_rwnd", "_inbound_streams", "_sack_misordered", "_sent_queue", "_data_channels", "_rto",
    ):  # fmt: skip
        assert f"self.{name}" in sctp
    assert rtcdtlstransport.SRTP_AEAD_AES_256_GCM in rtcdtlstransport.SRTP_PROFILES
    assert hasattr(srtp, "protect")
    assert rtcsctptransport.crc32c(b"123456789") == 0xE3069283
    assert {"lib", "ffi"} <= set(vars(pylibsrtp))


def test_private_names_are_used_nowhere_else() -> None:
    """One module for each library to look at when a new version comes."""
    private = re.compile(r"\b(aiortc|aioice|pylibsrtp|OpenSSL)\b")
    for path in RELAY.rglob("*.py"):
        if path.name in ("aiortc_adapter.py", "srtp.py"):
            continue
        imports = [
            line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\s*(from|import)\b", line)
        ]
        found = [line for line in imports if private.search(line.replace("aiortc_adapter", ""))]
        assert not found, f"{path.name}: {found}"


def test_records_are_never_cut_and_never_joined_past_the_mtu() -> None:
    def record(size: int) -> bytes:
        return struct.pack("!BHHIHH", 22, 0xFEFD, 0, 0, 0, size) + bytes(size)

    flight = record(700) + record(400) + record(50) + record(1500) + record(10)
    datagrams = split_records(flight, 1200)
    assert b"".join(datagrams) == flight
    assert [len(d) for d in datagrams] == [713 + 413 + 63, 1513, 23]


@given(st.binary(max_size=3000))
def test_splitting_any_bytes_loses_none(data: bytes) -> None:
    assert b"".join(split_records(data, 1200)) == data


def test_both_srtp_profiles_are_offered_and_the_costly_one_is_not() -> None:
    assert aiortc.__version__ == "1.16.0"
    names = {p.openssl_profile for p in rtcdtlstransport.SRTP_PROFILES}
    assert {b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"} <= names
