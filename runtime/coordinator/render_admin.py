"""Records as administrators see them (openapi.yaml). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.protocol.states import HostState, SessionState

from .domain.accounts import ApiKey, AuditEntry, User
from .domain.model import Host, Title
from .domain.webhook import Delivery, DeliveryState, Receiver
from .scheduler import availability, gpu_of, host_state

if TYPE_CHECKING:
    from .fleet import Fleet

Json = dict[str, Any]


def host_json(host: Host, fleet: Fleet, now_ms: int) -> Json:
    load = fleet.load(host.name)
    beat = host.heartbeat
    sessions = sorted(fleet.on_host(host.name), key=lambda s: s.slot or 0)
    shown: Json = {
        "name": host.name,
        "state": host_state(load, now_ms) if load else HostState.OFFLINE,
        "desired_state": host.desired_state,
        "capacity": load.capacity if load else 0,
        "registered_capacity": host.capacity,
        "used": len(load.used) if load else 0,
        "free": load.free if load else 0,
        "strangers": load.strangers if load else 0,
        "labels": host.labels,
        "titles": {name: build.build for name, build in sorted(host.title.items())},
        "control_url": host.control_url,
        "edge_url": host.edge_url,
        "sessions": [{"id": s.id, "title": s.title, "state": s.state, "slot": s.slot, "gpu": s.gpu} for s in sessions],
        "heartbeat": None,
    }
    if beat is not None:
        shown["heartbeat"] = {
            "at": beat.at_ms,
            "age_seconds": round((now_ms - beat.at_ms) / 1000, 1),
            "clock_skew_ms": beat.sent_ms - beat.at_ms,
            "version": beat.version,
            "platform": beat.platform,
            "cpu": beat.cpu,
            "memory_total_bytes": beat.memory_total_bytes,
            "memory_available_bytes": beat.memory_available_bytes,
            "disk_free_bytes": beat.disk_free_bytes,
            "events_waiting": beat.events_waiting,
            "gpus": [
                {
                    "index": gpu.index,
                    "name": gpu.name,
                    "memory_total_bytes": gpu.memory_total_bytes,
                    "memory_used_bytes": gpu.memory_used_bytes,
                    "utilisation": gpu.utilisation,
                    "encoder_utilisation": gpu.encoder_utilisation,
                    "encoder_sessions": gpu.encoder_sessions,
                    "sessions": sum(gpu_of(host, s.slot) == gpu.index for s in sessions if s.slot is not None),
                }
                for gpu in beat.gpus
            ],
        }
    return shown


def title_admin_json(title: Title, fleet: Fleet, now_ms: int) -> Json:
    found = availability(fleet.loads(), title, now_ms)
    live = [s for s in fleet.live() if s.title == title.name]
    return {
        "name": title.name,
        "display_name": title.display_name or {"en": title.name},
        "retired": title.retired,
        "bookable": title.bookable,
        "groups": list(title.access.groups),
        "limits": {
            "max_sessions": title.limits.max_sessions,
            "max_length_seconds": title.limits.max_length_seconds,
            "idle_seconds": title.limits.idle_seconds,
            "max_players": title.limits.max_players,
        },
        "warm": {
            "target": title.warm,
            "ready": sum(s.warm and s.owner is None and s.state is SessionState.READY for s in live),
            "starting": sum(s.warm and s.owner is None and s.state is not SessionState.READY for s in live),
        },
        "availability": {"state": found.state, "free": found.free, "hosts": found.hosts},
        "sessions": len(live),
        "queued": sum(s.state is SessionState.QUEUED for s in live),
        "builds": sorted({host.title[title.name].build for host in fleet.hosts.values() if title.name in host.title}),
        "version": title.version,
    }


def overview_json(fleet: Fleet, now_ms: int) -> Json:
    hosts = dict.fromkeys(HostState, 0)
    capacity = used = 0
    for load in fleet.loads():
        state = host_state(load, now_ms)
        hosts[state] += 1
        if state is not HostState.OFFLINE:
            capacity += load.capacity
            used += len(load.used)
    sessions = dict.fromkeys(SessionState, 0)
    participants = 0
    for session in fleet.live():
        sessions[session.state] += 1
        participants += session.participants
    return {
        "hosts": {str(state): count for state, count in hosts.items()},
        "sessions": {str(state): count for state, count in sessions.items() if count},
        "slots": {"capacity": capacity, "used": used},
        "participants": participants,
        "titles": sum(not title.retired for title in fleet.titles.values()),
    }


def user_json(user: User) -> Json:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "groups": list(user.groups),
        "admin": user.admin,
        "disabled": user.disabled,
        "created_at": user.created_ms,
    }


def key_json(key: ApiKey, text: str | None = None) -> Json:
    """``text``: the key itself, in the answer to its creation alone."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "groups": list(key.groups),
        "created_by": key.created_by,
        "created_at": key.created_ms,
        "expires_at": key.expires_ms,
        "revoked_at": key.revoked_ms,
        "key": text,
    }


def audit_json(entry: AuditEntry) -> Json:
    return {
        "id": entry.id,
        "at": entry.at_ms,
        "by": entry.by,
        "by_name": entry.by_name,
        "action": entry.action,
        "subject": entry.subject,
        "address": entry.address,
        "request_id": entry.request_id,
        "details": entry.details,
    }


def receiver_json(receiver: Receiver, secret: str | None = None) -> Json:
    """``secret``: in the answer to its creation alone."""
    return {
        "id": receiver.id,
        "url": receiver.url,
        "events": list(receiver.events),
        "created_at": receiver.created_ms,
        "secret": secret,
    }


def delivery_json(delivery: Delivery) -> Json:
    return {
        "id": delivery.id,
        "receiver": delivery.receiver,
        "event": delivery.event,
        "type": delivery.type,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_ms if delivery.state is DeliveryState.PENDING else None,
        "last_answer": delivery.last_answer,
        "created_at": delivery.created_ms,
        "delivered_at": delivery.delivered_ms,
    }
