"""Who is in control, who wants to be, and who may change that (docs/room-protocol.md, "Control")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a participant is to the session: ``role`` is the token's, ``is_owner`` the present state."""

    participant_id: str
    role: Role
    is_owner: bool


class ControlDesk:
    """One holder or none, and the requests in the order in which they came.

    Modes: ``ask``: holder or owner hand control over; with neither there, a ``controller`` may take it. ``free``: as
    ``ask``, and anyone invited as ``controller`` takes it when nobody holds it. ``owner``: only the owner hands it
    over. The owner may take it back at any time.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.holder: str | None = None
        self._requests: dict[str, None] = {}

    @property
    def requests(self) -> tuple[str, ...]:
        return tuple(self._requests)

    def request(self, who: Standing) -> bool:
        """Ask for control. True: it is a new request to be shown. Raise ``ServiceError``."""
        if who.participant_id == self.holder:
            raise ServiceError("bad_message", "You are in control already.")
        if who.participant_id in self._requests:
            return False
        self._requests[who.participant_id] = None
        return True

    def withdraw(self, participant_id: str) -> bool:
        """Take a request off the list; False when there was none."""
        return self._requests.pop(participant_id, self) is None

    def may_hand_over(self, who: Standing) -> bool:
        """Whether ``who`` decides about requests."""
        return who.is_owner or (self.mode != "owner" and who.participant_id == self.holder)

    def check_hand_over(self, who: Standing) -> None:
        if self.may_hand_over(who):
            return
        if self.mode == "owner":
            raise ServiceError("forbidden", "Only the owner hands over control in this session.")
        raise ServiceError("forbidden", "Only the owner and whoever is in control can hand over control.")

    def check_take(self, who: Standing, *, owner_is_here: Callable[[], bool]) -> None:
        """Raise ``ServiceError`` unless ``who`` may take control without asking."""
        if who.is_owner:
            return
        if self.holder is not None:
            raise ServiceError("not_in_control")
        if who.role is Role.WATCHER or self.mode == "owner":
            raise ServiceError("forbidden", "Ask for control; the owner can give it to you.")
        if self.mode == "ask" and owner_is_here():
            raise ServiceError("forbidden", "Ask for control; the owner can give it to you.")

    def move(self, holder: str | None) -> bool:
        """Put ``holder`` in control; False when nothing changes."""
        if holder is not None:
            self.withdraw(holder)
        changed, self.holder = holder != self.holder, holder
        return changed
