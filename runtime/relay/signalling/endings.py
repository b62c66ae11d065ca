"""Sentences for people: why a session is over."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.protocol.states import EndReason

END_MESSAGES: Mapping[EndReason, str] = {
    EndReason.OWNER_ENDED: "The owner has ended the session.",
    EndReason.IDLE: "The session ended because nobody was active.",
    EndReason.MAX_LENGTH: "The session has reached its longest time.",
    EndReason.APP_EXITED: "The application has been closed.",
    EndReason.APP_CRASHED: "The application has stopped working.",
    EndReason.RELAY_CRASHED: "The connection to the application has failed.",
    EndReason.START_TIMEOUT: "The application did not start in time.",
    EndReason.START_FAILED: "The application could not be started.",
    EndReason.HOST_LOST: "The streaming computer is out of reach.",
    EndReason.DRAINED: "The streaming computer is being serviced.",
    EndReason.ADMIN_ENDED: "An administrator has ended the session.",
    EndReason.BOOKING_OVER: "The booked time is over.",
    EndReason.QUEUE_LEFT: "You have left the queue.",
}
