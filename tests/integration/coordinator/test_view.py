"""What running coordinators know: records that were made anew, and reads that arrive late."""

from __future__ import annotations

import asyncio
from typing import Any

from runtime.coordinator.app import Coordinator
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until


async def test_what_is_removed_and_added_again_is_seen_at_once(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1", capacity=2)
    await stand.register([{"name": "sample"}], {host: ["sample"]})
    admin, fleet = stand.admin(), coordinator.service.fleet
    # As after a life of changes.
    for bookable in (False, True) * 2:
        await admin.call("PATCH", "/api/v1/admin/titles/sample", {"bookable": bookable})
        await admin.call("POST", "/api/v1/admin/hosts/gpu1/drain")
        await admin.call("POST", "/api/v1/admin/hosts/gpu1/resume")
    # One that has no coordinators only writes.
    registry = Stand(stand.uri, stand.database)
    removed = await registry.register([], {}, prune=True)
    assert (removed.titles.removed, removed.hosts.removed) == (["sample"], ["gpu1"])
    host.capacity = 7
    await registry.register([{"name": "sample", "tags": ["new"]}], {host: ["sample"]})
    await until(lambda: fleet.titles["sample"].tags == ("new",), "the new title")
    await until(lambda: fleet.hosts["gpu1"].capacity == 7, "the new host")
    await host.beat()
    await stand.viewer().start("sample")


async def test_accounts_that_were_read_before_a_change_do_not_undo_it(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    accounts = coordinator.service.accounts
    key, secret = await accounts.new_key("robot", scopes=("admin",), groups=(), by="user:x", valid_seconds=None)
    await _put(coordinator, "anna")
    await _put(coordinator, "boris")
    read, go_on = asyncio.Event(), asyncio.Event()
    find: Any = coordinator.service.store.api_keys.find

    async def late(*arguments: Any, **options: Any) -> Any:
        found = await find(*arguments, **options)
        read.set()
        await go_on.wait()
        return found

    # The last of what is read: users were read by then too.
    coordinator.service.store.api_keys.find = late  # type: ignore[method-assign]
    loading = asyncio.create_task(coordinator._sync.load())
    await read.wait()
    await accounts.revoke_key(key.id)
    await _put(coordinator, "anna", disabled=True)
    await accounts.remove("boris")
    await _put(coordinator, "clara")
    go_on.set()
    await loading
    assert accounts.by_key(secret) is None
    now = coordinator.service.clock.now_ms()
    assert [accounts.principal(name, now) is not None for name in ("anna", "boris", "clara")] == [False, False, True]
    assert [user.name for user in accounts.users] == ["anna", "clara"]
    # A name that becomes free is somebody's again.
    await _put(coordinator, "boris")
    await coordinator._sync.load()
    assert accounts.principal("boris", coordinator.service.clock.now_ms()) is not None


async def _put(coordinator: Coordinator, name: str, *, disabled: bool = False) -> None:
    await coordinator.service.accounts.put(
        name, password="correct horse", display_name="", groups=(), admin=False, disabled=disabled
    )
