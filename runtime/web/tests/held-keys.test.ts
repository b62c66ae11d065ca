import type { KeyboardController as Epic } from "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7/dist/types/Inputs/KeyboardController";
import { createRequire } from "node:module";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { HeldKeys } from "../src/player/held-keys";

// Not among what the package exports, but what really talks to the application.
const { KeyboardController } = createRequire(import.meta.url)(
  "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7/dist/cjs/Inputs/KeyboardController.js",
) as { KeyboardController: typeof Epic };
type Listened = ConstructorParameters<typeof Epic>;

const told: string[] = [];
const handler =
  (name: string) =>
  ([keyCode]: (number | string)[]) =>
    void told.push(`${name} ${keyCode}`);

const library = new KeyboardController(
  { toStreamerHandlers: new Map(["KeyDown", "KeyUp"].map((name) => [name, handler(name)])) } as unknown as Listened[0],
  { isFlagEnabled: () => false } as unknown as Listened[1],
  { getActiveKeys: () => [] } as unknown as Listened[2],
);
const held = new HeldKeys((keyCode) => void told.push(`let go ${keyCode}`));

function press(type: "keydown" | "keyup", code: string, keyCode: number): void {
  const event = new KeyboardEvent(type, { code });
  // Read-only, and not among what the simulated browser takes.
  Object.defineProperty(event, "keyCode", { value: keyCode });
  document.dispatchEvent(event);
}

beforeEach(() => {
  told.length = 0;
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  library.register();
  held.start();
});
afterEach(() => {
  held.releaseAll();
  held.stop();
  library.unregister();
});

// What browsers report; Firefox has 224 for Meta on either side, the others 93 for the right one.
const KEYS: [string, number][] = [
  ["KeyW", 87],
  ["ShiftLeft", 16],
  ["ShiftRight", 16],
  ["ControlLeft", 17],
  ["ControlRight", 17],
  ["AltLeft", 18],
  ["AltRight", 18],
  ["AltRight", 225],
  ["MetaLeft", 91],
  ["MetaLeft", 224],
  ["MetaRight", 93],
  ["MetaRight", 224],
  ["OSLeft", 91],
  ["OSRight", 92],
  ["ContextMenu", 93],
];

it.each(KEYS)("%s (%d) is let go as the key that the library pressed", (code, keyCode) => {
  press("keydown", code, keyCode);
  const [pressed = ""] = told;
  expect(pressed).toMatch(/^KeyDown \d+$/);
  window.dispatchEvent(new Event("blur"));
  expect(told).toEqual([pressed, pressed.replace("KeyDown", "let go")]);
});

it.each(KEYS)("%s (%d) that came up is not held", (code, keyCode) => {
  press("keydown", code, keyCode);
  press("keyup", code, keyCode);
  told.length = 0;
  window.dispatchEvent(new Event("blur"));
  expect(told).toEqual([]);
});

it("the right and the left one of a pair are told apart", () => {
  press("keydown", "ShiftLeft", 16);
  press("keydown", "ShiftRight", 16);
  press("keyup", "ShiftLeft", 16);
  told.length = 0;
  held.releaseAll();
  expect(told).toEqual(["let go 253"]);
});

it("what an on-screen keyboard reports is no key", () => {
  press("keydown", "", 229);
  press("keydown", "", 0);
  held.releaseAll();
  expect(told).toEqual([]);
});
