import { describe, expect, it } from "vitest";
import {
  isInControl,
  mayHandOver,
  mayLimitPicture,
  mayTake,
  type Notice,
  type RoomState,
  reduce,
} from "../src/player/room-state";
import type { FromRelay, Participant, Welcome } from "../src/player/room-types";

const NOW = 1_000_000;

function person(id: string, changes: Partial<Participant> = {}): Participant {
  const voice = { joined: false, muted: false, muted_by_owner: false };
  return { id, name: id.toUpperCase(), role: "watcher", players: 1, hand: false, voice, joined_at: 1, ...changes };
}

const WELCOME: Welcome = {
  type: "welcome",
  version: 1,
  you: "ann",
  session: {
    id: "s",
    title: "sample",
    ends_at: null,
    idle_seconds: 600,
    idle_warning_seconds: 60,
    chat: true,
    voice: true,
    microphone: false,
    max_players: 8,
  },
  participants: [person("ann", { role: "owner" }), person("bob")],
  control: { holder: "ann", requests: [], mode: "ask" },
  chat: [],
  locked: false,
  idle: null,
  stream: "live",
  resume: "r",
};

function run(...messages: FromRelay[]): { state: RoomState; notices: Notice[] } {
  let state: RoomState | undefined;
  const notices: Notice[] = [];
  for (const message of [WELCOME, ...messages]) {
    const [next, said] = reduce(state, message, NOW);
    state = next;
    notices.push(...said);
  }
  if (!state) throw new Error("the welcome gives a state");
  return { state, notices };
}

describe("room state", () => {
  it("ignores what comes before the welcome", () => {
    expect(reduce(undefined, { type: "control.denied" }, NOW)).toEqual([undefined, []]);
  });

  it("takes itself from the welcome", () => {
    const { state, notices } = run();
    expect(state.you).toBe("ann");
    expect(isInControl(state)).toBe(true);
    expect(notices).toEqual([]);
  });

  it("a request is listed once, and vanishes when control is granted", () => {
    const asked = run(
      { type: "control.requested", participant: "bob" },
      { type: "control.requested", participant: "bob" },
    );
    expect(asked.state.control.requests).toEqual(["bob"]);
    expect(asked.notices).toEqual([{ kind: "requested", participant: "bob", name: "BOB" }]);

    const granted = run(
      { type: "control.requested", participant: "bob" },
      { type: "control.changed", holder: "bob", by: "ann", reason: "granted" },
    );
    expect(granted.state.control).toEqual({ holder: "bob", requests: [], mode: "ask" });
    expect(isInControl(granted.state)).toBe(false);
    expect(granted.notices.at(-1)).toEqual({ kind: "control", holder: "bob", name: "BOB", isYou: false, lost: true });
  });

  it("a repeated control change says nothing", () => {
    expect(run({ type: "control.changed", holder: "ann", by: "ann", reason: "taken" }).notices).toEqual([]);
  });

  it("a withdrawn request vanishes without a word", () => {
    const { state, notices } = run(
      { type: "control.requested", participant: "bob" },
      { type: "control.withdrawn", participant: "bob" },
    );
    expect(state.control.requests).toEqual([]);
    expect(notices).toHaveLength(1);
  });

  it("who may take control without asking, and who may hand it over", () => {
    const asBob = (changes: Partial<RoomState>): RoomState => ({ ...run().state, you: "bob", ...changes });
    const free = { holder: null, requests: [], mode: "free" } as const;
    const ask = { holder: null, requests: [], mode: "ask" } as const;
    expect(mayTake(run({ type: "control.changed", holder: "bob", by: "ann", reason: "granted" }).state, "owner")).toBe(
      true,
    );
    expect(mayTake(asBob({}), "controller")).toBe(false);
    expect(mayTake(asBob({ control: { ...free, requests: [] } }), "controller")).toBe(true);
    expect(mayTake(asBob({ control: { ...free, requests: [] } }), "watcher")).toBe(false);
    expect(mayTake(asBob({ control: { ...ask, requests: [] } }), "controller")).toBe(false);
    expect(mayTake(asBob({ control: { ...ask, requests: [] }, participants: [person("bob")] }), "controller")).toBe(
      true,
    );
    expect(mayHandOver(asBob({}))).toBe(false);
    expect(mayHandOver(asBob({ control: { holder: "bob", requests: [], mode: "ask" } }))).toBe(true);
    expect(mayHandOver(asBob({ control: { holder: "bob", requests: [], mode: "owner" } }))).toBe(false);
    expect(mayHandOver(run().state)).toBe(true);
  });

  it("the owner limits the picture while watching, else whoever is in control", () => {
    const owner = (players: number): Participant => person("ann", { role: "owner", players });
    const asBob = (holder: string | null, participants: Participant[]): RoomState => ({
      ...run().state,
      you: "bob",
      control: { holder, requests: [], mode: "ask" },
      participants,
    });
    const handed = run({ type: "control.changed", holder: "bob", by: "ann", reason: "granted" }).state;
    expect(mayLimitPicture(handed)).toBe(true);
    expect(mayLimitPicture(asBob("bob", [owner(1), person("bob")]))).toBe(false);
    expect(mayLimitPicture(asBob("bob", [owner(0), person("bob")]))).toBe(true);
    expect(mayLimitPicture(asBob("bob", [person("bob")]))).toBe(true);
    expect(mayLimitPicture(asBob(null, [person("bob")]))).toBe(false);
    expect(mayLimitPicture(undefined)).toBe(false);
  });

  it("somebody who leaves takes the request along", () => {
    const { state, notices } = run(
      { type: "control.requested", participant: "bob" },
      { type: "participant.left", id: "bob", reason: "kicked" },
    );
    expect(state.participants.map(({ id }) => id)).toEqual(["ann"]);
    expect(state.control.requests).toEqual([]);
    expect(notices.at(-1)).toEqual({ kind: "kicked", name: "BOB" });
  });

  it("joins are announced, except one's own", () => {
    const { state, notices } = run(
      { type: "participant.joined", participant: person("eve") },
      { type: "participant.joined", participant: person("ann", { role: "owner", players: 2 }) },
    );
    expect(notices).toEqual([{ kind: "joined", name: "EVE" }]);
    expect(state.participants).toHaveLength(3);
  });

  it("a raised hand, a new owner and the owner's muting are noticed", () => {
    const muted = { joined: true, muted: false, muted_by_owner: true };
    const { notices } = run(
      { type: "participant.updated", participant: person("bob", { hand: true }) },
      { type: "participant.updated", participant: person("bob", { hand: true, role: "owner" }) },
      { type: "participant.updated", participant: person("ann", { role: "watcher", voice: muted }) },
    );
    expect(notices).toEqual([{ kind: "hand", name: "BOB" }, { kind: "newOwner", name: "BOB" }, { kind: "muted" }]);
  });

  it("the idle countdown is in local time and ends when somebody is active", () => {
    expect(run({ type: "idle.warning", seconds_left: 12 }).state.idleEndsAt).toBe(NOW + 12_000);
    const { state, notices } = run({ type: "idle.warning", seconds_left: 12 }, { type: "idle.cancelled", by: "bob" });
    expect(state.idleEndsAt).toBeNull();
    expect(notices).toEqual([{ kind: "idleCancelled", name: "BOB" }]);
  });

  it("chat has no doubles and a bound", () => {
    const line = (n: number): FromRelay => ({
      type: "chat",
      message: { id: `m${n}`, participant: "bob", name: "BOB", text: `${n}`, at: n },
    });
    const lines = Array.from({ length: 600 }, (_, n) => line(n));
    const { state } = run(...lines, line(599));
    expect(state.chat).toHaveLength(500);
    expect(state.chat.at(-1)?.text).toBe("599");
  });

  it("messages that it does not know change nothing", () => {
    const before = run().state;
    const [after] = reduce(before, { type: "from.the.future" } as unknown as FromRelay, NOW);
    expect(after).toBe(before);
  });
});
