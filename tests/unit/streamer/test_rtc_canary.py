"""Fails when aiortc or aioice change what ``runtime/streamer/rtc.py`` relies on beside their public interface."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect

import aioice.ice
from aiortc import RTCRtpSender
from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from runtime.streamer import rtc


def test_versions_are_the_ones_that_were_read() -> None:
    assert importlib.metadata.version("aiortc") == "1.16.0"
    assert importlib.metadata.version("aioice").startswith("0.13.")


def test_senders_take_rtcp_through_one_method_looked_up_on_the_instance() -> None:
    assert list(inspect.signature(RTCRtpSender._handle_rtcp_packet).parameters) == ["self", "packet"]
    source = inspect.getsource(RTCDtlsTransport._handle_rtcp_data)
    assert "recipient._handle_rtcp_packet(packet)" in source


def test_senders_pack_packets_instead_of_encoding_them() -> None:
    source = inspect.getsource(RTCRtpSender._next_encoded_frame)
    assert "isinstance(data, Frame)" in source
    assert ".pack(data)" in source
    for mime_type, clock in (("video/H264", 90_000), ("video/VP8", 90_000), ("audio/opus", 48_000)):
        codec = RTCRtpCodecParameters(mimeType=mime_type, clockRate=clock, payloadType=96)
        assert type(get_encoder(codec)).pack is not Encoder.pack


def test_gathering_asks_one_function_for_addresses() -> None:
    assert "get_host_addresses(" in inspect.getsource(aioice.ice.Connection.gather_candidates)
    assert aioice.ice.get_host_addresses is rtc._addresses_with_loopback
    assert list(inspect.signature(rtc._host_addresses).parameters) == ["use_ipv4", "use_ipv6"]


async def test_loopback_is_gathered_where_it_is_wanted_and_only_there() -> None:
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(True, False)
    with rtc._gathering_on_loopback(True):
        assert aioice.ice.get_host_addresses(True, False)[0] == "127.0.0.1"
        inside = await asyncio.create_task(asyncio.to_thread(aioice.ice.get_host_addresses, True, False))
        assert inside[0] == "127.0.0.1"
    assert "127.0.0.1" not in aioice.ice.get_host_addresses(True, False)
