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

  // keyCode is deprecated, but it is what the application is told.
  private readonly onDown = (event: KeyboardEvent): void => {
    if (event.keyCode !== 0 && event.keyCode !== 229) this.held.add(event.keyCode);
  };

  private readonly onUp = (event: KeyboardEvent): void => {
    this.held.delete(event.keyCode);
  };
}
