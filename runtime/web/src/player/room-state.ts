import type { Role } from "../api/codes";
import type { ChatMessage, Control, FromRelay, Participant, RoomSession, StreamState } from "./room-types";

/** What this page knows about the room; changed only by {@link reduce}. */
export interface RoomState {
  you: string;
  session: RoomSession;
  participants: Participant[];
  control: Control;
  chat: ChatMessage[];
  locked: boolean;
  /** When the session ends of inactivity (local clock, ms); null while nobody needs to be asked. */
  idleEndsAt: number | null;
  stream: StreamState;
  speaking: string[];
}

/** Something that people should notice in passing. */
export type Notice =
  | { kind: "joined" | "left" | "kicked" | "hand" | "newOwner"; name: string }
  | { kind: "control"; holder: string | null; name: string; isYou: boolean; lost: boolean }
  | { kind: "requested"; participant: string; name: string }
  | { kind: "idleCancelled"; name: string }
  | { kind: "timeWarning"; seconds: number }
  | { kind: "denied" | "youOwner" | "muted" | "unmuted" | "locked" | "unlocked" };

/** Chat lines kept in the page; older ones fall away. */
const CHAT_LIMIT = 500;

export function findParticipant(state: RoomState | undefined, id: string | null | undefined): Participant | undefined {
  return id == null ? undefined : state?.participants.find((each) => each.id === id);
}

/** May this person take control without asking? The relay decides; this decides what is offered. */
export function mayTake(state: RoomState, tokenRole: Role): boolean {
  const { holder, mode } = state.control;
  const owner = state.participants.find(({ role }) => role === "owner");
  if (owner?.id === state.you) return true;
  if (holder !== null || tokenRole === "watcher" || mode === "owner") return false;
  return mode === "free" || owner === undefined;
}

/** May this person answer requests for control? */
export function mayHandOver(state: RoomState | undefined): boolean {
  if (!state) return false;
  if (findParticipant(state, state.you)?.role === "owner") return true;
  return state.control.mode !== "owner" && isInControl(state);
}

/** May this person limit the picture's data and frame rate? The relay takes them from the owner while the owner watches. */
export function mayLimitPicture(state: RoomState | undefined): boolean {
  if (!state) return false;
  const owner = state.participants.find(({ role }) => role === "owner");
  if (owner?.id === state.you) return true;
  const ownerWatches = owner !== undefined && owner.players > 0;
  return isInControl(state) && !ownerWatches;
}

export function isInControl(state: RoomState | undefined): boolean {
  return state !== undefined && state.control.holder === state.you;
}

/** Pure: the next state, and what to tell people about the change. `now` is epoch ms. */
export function reduce(
  state: RoomState | undefined,
  message: FromRelay,
  now: number,
): [RoomState | undefined, Notice[]] {
  if (message.type === "welcome") {
    const { you, session, participants, control, chat, locked, idle, stream } = message;
    return [
      {
        you,
        session,
        participants,
        control,
        chat,
        locked,
        idleEndsAt: idle ? now + idle.seconds_left * 1000 : null,
        stream,
        speaking: [],
      },
      [],
    ];
  }
  if (state === undefined) return [state, []];
  switch (message.type) {
    case "participant.joined":
      return [
        { ...state, participants: [...without(state.participants, message.participant.id), message.participant] },
        message.participant.id === state.you ? [] : [{ kind: "joined", name: message.participant.name }],
      ];
    case "participant.updated":
      return updated(state, message.participant);
    case "participant.left":
      return left(state, message.id, message.reason);
    case "control.changed":
      return controlChanged(state, message.holder);
    case "control.requested":
      return requested(state, message.participant);
    case "control.withdrawn":
      return [withoutRequest(state, message.participant), []];
    case "control.denied":
      return [withoutRequest(state, state.you), [{ kind: "denied" }]];
    case "chat":
      if (state.chat.some(({ id }) => id === message.message.id)) return [state, []];
      return [{ ...state, chat: [...state.chat, message.message].slice(-CHAT_LIMIT) }, []];
    case "idle.warning":
      return [{ ...state, idleEndsAt: now + message.seconds_left * 1000 }, []];
    case "idle.cancelled": {
      const name = message.by === state.you ? undefined : findParticipant(state, message.by)?.name;
      return [
        { ...state, idleEndsAt: null },
        name && state.idleEndsAt !== null ? [{ kind: "idleCancelled", name }] : [],
      ];
    }
    case "time.warning":
      return [
        { ...state, session: { ...state.session, ends_at: now + message.seconds_left * 1000 } },
        [{ kind: "timeWarning", seconds: message.seconds_left }],
      ];
    case "stream":
      return [{ ...state, stream: message.state }, []];
    case "locked":
      return [{ ...state, locked: message.locked }, [{ kind: message.locked ? "locked" : "unlocked" }]];
    case "voice.speaking":
      return [{ ...state, speaking: message.participants }, []];
    default:
      return [state, []];
  }
}

function without(participants: Participant[], id: string): Participant[] {
  return participants.filter((each) => each.id !== id);
}

function withoutRequest(state: RoomState, id: string): RoomState {
  return { ...state, control: { ...state.control, requests: state.control.requests.filter((each) => each !== id) } };
}

function updated(state: RoomState, participant: Participant): [RoomState, Notice[]] {
  const before = findParticipant(state, participant.id);
  const next = {
    ...state,
    participants: before
      ? state.participants.map((each) => (each.id === participant.id ? participant : each))
      : [...state.participants, participant],
  };
  const notices: Notice[] = [];
  const isYou = participant.id === state.you;
  if (before && !before.hand && participant.hand && !isYou) notices.push({ kind: "hand", name: participant.name });
  if (before && before.role !== "owner" && participant.role === "owner") {
    notices.push(isYou ? { kind: "youOwner" } : { kind: "newOwner", name: participant.name });
  }
  if (before && isYou && before.voice.muted_by_owner !== participant.voice.muted_by_owner) {
    notices.push({ kind: participant.voice.muted_by_owner ? "muted" : "unmuted" });
  }
  return [next, notices];
}

function left(state: RoomState, id: string, reason: string): [RoomState, Notice[]] {
  const gone = findParticipant(state, id);
  const next = withoutRequest({ ...state, participants: without(state.participants, id) }, id);
  return [next, gone ? [{ kind: reason === "kicked" ? "kicked" : "left", name: gone.name }] : []];
}

function controlChanged(state: RoomState, holder: string | null): [RoomState, Notice[]] {
  if (holder === state.control.holder) return [state, []];
  const lost = state.control.holder === state.you;
  const requests = state.control.requests.filter((each) => each !== holder);
  const name = findParticipant(state, holder)?.name ?? "";
  const notice: Notice = { kind: "control", holder, name, isYou: holder === state.you, lost };
  return [{ ...state, control: { ...state.control, holder, requests } }, [notice]];
}

function requested(state: RoomState, participant: string): [RoomState, Notice[]] {
  if (state.control.requests.includes(participant)) return [state, []];
  const requests = [...state.control.requests, participant];
  const name = findParticipant(state, participant)?.name ?? "";
  return [
    { ...state, control: { ...state.control, requests } },
    participant === state.you ? [] : [{ kind: "requested", participant, name }],
  ];
}
