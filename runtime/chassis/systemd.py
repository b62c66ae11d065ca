"""Tell systemd how the service is: ready, alive, stopping (sd_notify(3)). Without systemd nothing happens."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

logger = logging.getLogger(__name__)


def notify(state: str) -> bool:
    """Send ``state`` (such as ``READY=1``) to the socket named by the environment; False when there is none.

    A datagram on a local socket: it never blocks for long, and a lost one is made good by the next.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError as error:
        logger.warning("systemd could not be told %s: %s", state, error.strerror)
        return False
    return True


def watchdog_interval_seconds() -> float | None:
    """Half of ``WatchdogSec=``, as sd_watchdog_enabled(3) advises; None without a watchdog for this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000 or None


async def keep_watchdog_fed() -> None:
    """Say ``WATCHDOG=1`` from the event loop until cancelled, so that a loop that hangs is noticed."""
    interval_seconds = watchdog_interval_seconds()
    while interval_seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_seconds)
