const EVENTS = ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"] as const;
const QUIET_MS = 10_000;
const URGENT_MS = 500;

/**
 * Calls `onActive` when somebody does something on this page: at most every ten seconds, and at once while the countdown
 * is on show (`isUrgent`). Gamepads are looked at too, because they raise no events.
 */
export function watchActivity(onActive: () => void, isUrgent: () => boolean): () => void {
  let lastAt = Number.NEGATIVE_INFINITY;
  const noticed = (): void => {
    const now = performance.now();
    if (now - lastAt < (isUrgent() ? URGENT_MS : QUIET_MS)) return;
    lastAt = now;
    onActive();
  };
  for (const name of EVENTS) window.addEventListener(name, noticed, { capture: true, passive: true });
  const gamepads = window.setInterval(() => {
    if (navigator.getGamepads?.().some(isPressed)) noticed();
  }, 500);
  return () => {
    window.clearInterval(gamepads);
    for (const name of EVENTS) window.removeEventListener(name, noticed, { capture: true });
  };
}

function isPressed(pad: Gamepad | null): boolean {
  return (
    pad !== null && (pad.buttons.some((button) => button.pressed) || pad.axes.some((axis) => Math.abs(axis) > 0.3))
  );
}
