/**
 * Keys that are down over the picture. The library forgets about a key whose release goes elsewhere (another window, a
 * text field of ours), and the application would go on walking; so whoever takes the focus away lets them go first.
 */
export class HeldKeys {
  private readonly held = new Set<number>();
  private readonly release: (keyCode: number) => void;

  constructor(release: (keyCode: number) => void) {
    this.release = release;
  }

  start(): void {
    document.addEventListener("keydown", this.onDown);
    document.addEventListener("keyup", this.onUp);
    window.addEventListener("blur", this.releaseAll);
  }

  stop(): void {
    document.removeEventListener("keydown", this.onDown);
    document.removeEventListener("keyup", this.onUp);
    window.removeEventListener("blur", this.releaseAll);
  }

  readonly releaseAll = (): void => {
    for (const keyCode of this.held) this.release(keyCode);
    this.held.clear();
  };

  private readonly onDown = (event: KeyboardEvent): void => {
    const keyCode = sentKeyCode(event);
    if (keyCode !== 0 && keyCode !== 229) this.held.add(keyCode);
  };

  private readonly onUp = (event: KeyboardEvent): void => {
    this.held.delete(sentKeyCode(event));
  };
}

/**
 * What the library tells the application (its KeyboardController, which keeps this to itself): keyCode, deprecated as it
 * is, but numbers of their own for the modifiers on the right, and the same ones for Meta in every browser.
 */
function sentKeyCode({ code, keyCode }: Pick<KeyboardEvent, "code" | "keyCode">): number {
  if (code === "ShiftRight" && keyCode === 16) return 253;
  if (code === "ControlRight" && keyCode === 17) return 254;
  if (code === "AltRight" && keyCode === 18) return 255;
  if (code === "MetaLeft" || code === "OSLeft") return 91;
  if (code === "MetaRight" || code === "OSRight") return 92;
  return keyCode;
}
