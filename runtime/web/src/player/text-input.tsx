import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";

const BACKSPACE = 8;
const ENTER = 13;

/**
 * A line that brings up the phone's keyboard. On-screen keyboards report no usable key codes, so the change of the text
 * is what counts: each new character goes out as a key that is pressed and released, each vanished one as a backspace. When the application
 * itself asked for text (Epic's onScreenKeyboard command), the whole line replaces its text box instead.
 */
export function TextInput(): JSX.Element | null {
  const model = useModel();
  const wanted = model.textInput.value;
  const input = useRef<HTMLInputElement>(null);
  const sent = useRef("");
  const isOpen = wanted !== undefined && model.inControl.value;
  const contents = wanted?.contents ?? "";

  // At once, while the tap is still being handled: iOS shows its keyboard for no later focus.
  useLayoutEffect(() => {
    if (!isOpen || !input.current) return;
    input.current.value = contents;
    sent.current = contents;
    input.current.focus();
  }, [isOpen, contents]);

  if (!isOpen) return null;
  const close = (): void => {
    model.textInput.value = undefined;
  };
  // A character beyond 16 bits (an emoji) goes out as its two halves, as which the application's own text holds it.
  const press = (keyCode: number | undefined, ...units: number[]): void => {
    if (keyCode !== undefined) model.stream?.sendToStreamer("KeyDown", [keyCode, 0]);
    for (const unit of units) model.stream?.sendToStreamer("KeyPress", [unit]);
    if (keyCode !== undefined) model.stream?.sendToStreamer("KeyUp", [keyCode]);
  };
  const changed = (value: string): void => {
    const { removed, added } = difference(sent.current, value);
    for (let n = 0; n < removed; n++) press(BACKSPACE, BACKSPACE);
    for (const character of added) press(keyCodeOf(character), ...utf16(character));
    sent.current = value;
  };
  return (
    <form
      class="text-input"
      data-testid="text-input"
      onSubmit={(event) => {
        event.preventDefault();
        if (contents !== "") model.stream?.sendText(input.current?.value ?? "");
        press(ENTER, ENTER);
        close();
      }}
    >
      <label>
        <span class="visually-hidden">{t().player.keyboard}</span>
        <input
          ref={input}
          class="input"
          autocapitalize="off"
          autocomplete="off"
          autocorrect="off"
          spellcheck={false}
          enterkeyhint="send"
          onInput={(event) => changed(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="tool" aria-label={t().chat.send}>
        <Icon name="send" />
      </button>
      <button type="button" class="tool" aria-label={t().common.close} onClick={close}>
        <Icon name="cross" />
      </button>
    </form>
  );
}

/** The key that a Latin letter, a digit or the space is on; other characters have none of their own. */
export function keyCodeOf(character: string): number | undefined {
  return /^[a-z0-9 ]$/i.test(character) ? character.toUpperCase().charCodeAt(0) : undefined;
}

function utf16(text: string): number[] {
  return Array.from({ length: text.length }, (_, n) => text.charCodeAt(n));
}

/** What to delete from the end of `before`, and what to type then, to get `after`; in whole characters, never halves. */
export function difference(before: string, after: string): { removed: number; added: string } {
  const [old, now] = [[...before], [...after]];
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same++;
  return { removed: old.length - same, added: now.slice(same).join("") };
}
