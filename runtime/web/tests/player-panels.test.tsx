import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { setLanguage, t } from "../src/i18n";
import type { PlayerModel } from "../src/player/model";
import { ModelContext } from "../src/player/model-context";
import { QualityPanel } from "../src/player/quality";
import { isInControl, type RoomState } from "../src/player/room-state";
import type { Participant } from "../src/player/room-types";
import { TextInput } from "../src/player/text-input";

type Part = () => preact.JSX.Element | null;

function show(Part: Part, model: object): void {
  act(() =>
    render(
      <ModelContext.Provider value={model as PlayerModel}>
        <Part />
      </ModelContext.Provider>,
      document.body,
    ),
  );
}

function seen<T extends HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (!found) throw new Error(`there is no ${selector}`);
  return found;
}

beforeEach(() => setLanguage("en"));
afterEach(() => render(null, document.body));

describe("picture quality", () => {
  const setMaxBitrateBps = vi.fn();

  function panel(you: string, holder: string, ownerPlayers: number): void {
    const person = (id: string, changes: Partial<Participant> = {}): Participant =>
      ({ id, name: id, role: "watcher", players: 1, ...changes }) as Participant;
    const room = signal({
      you,
      participants: [person("ann", { role: "owner", players: ownerPlayers }), person("bob")],
      control: { holder, requests: [], mode: "ask" },
    } as unknown as RoomState);
    show(QualityPanel, {
      room,
      inControl: signal(isInControl(room.value)),
      isOwner: signal(you === "ann"),
      panel: signal("quality"),
      layers: signal([]),
      quality: signal({ level: "auto", fps: 60, matchWindow: false }),
      stream: { setMaxBitrateBps },
    });
  }
  const isOpen = (testId: string): boolean => !seen(`[data-testid=${testId}]`).matches(":disabled, :disabled *");
  const says = (text: string): boolean => document.body.textContent.includes(text);

  it.each([
    { name: "the owner, in control", you: "ann", holder: "ann", ownerPlayers: 1, limits: true, size: true },
    { name: "the owner, a guest in control", you: "ann", holder: "bob", ownerPlayers: 1, limits: true, size: false },
    { name: "a guest in control", you: "bob", holder: "bob", ownerPlayers: 1, limits: false, size: true },
    { name: "a guest in control alone", you: "bob", holder: "bob", ownerPlayers: 0, limits: true, size: true },
    { name: "a guest", you: "bob", holder: "ann", ownerPlayers: 1, limits: false, size: false },
  ])("$name", ({ you, holder, ownerPlayers, limits, size }) => {
    panel(you, holder, ownerPlayers);
    expect([isOpen("quality-low"), isOpen("fps-30"), isOpen("match-window")]).toEqual([limits, limits, size]);
    // Whatever cannot be chosen has a sentence that says who can.
    expect([says(t().quality.ownerOnly), says(t().quality.controllerOnly)]).toEqual([!limits, !size]);
  });

  it("the owner's choice is sent", () => {
    panel("ann", "bob", 1);
    act(() => seen("[data-testid=quality-low]").click());
    expect(setMaxBitrateBps).toHaveBeenCalledWith(2_500_000);
  });
});

describe("typing by a phone's keyboard", () => {
  const sent: [string, ...(string | number)[]][] = [];

  beforeEach(() => {
    sent.length = 0;
    show(TextInput, {
      textInput: signal({ contents: "" }),
      inControl: signal(true),
      stream: {
        sendToStreamer: (name: string, values: (string | number)[]) => void sent.push([name, ...values]),
      },
    });
  });

  function type(value: string): void {
    const input = seen<HTMLInputElement>("input");
    input.value = value;
    act(() => void input.dispatchEvent(new Event("input")));
  }

  it("a letter is a key with a character", () => {
    type("a");
    expect(sent).toEqual([
      ["KeyDown", 65, 0],
      ["KeyPress", 97],
      ["KeyUp", 65],
    ]);
  });

  it("an emoji goes out whole, and is deleted once", () => {
    type("😀");
    expect(sent).toEqual([
      ["KeyPress", 0xd83d],
      ["KeyPress", 0xde00],
    ]);
    sent.length = 0;
    type("");
    expect(sent.filter(([name]) => name === "KeyPress")).toEqual([["KeyPress", 8]]);
  });
});
