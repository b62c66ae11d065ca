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
  const press = (keyCode: number | undefined, character: number): void => {
    if (keyCode !== undefined) model.stream?.sendToStreamer("KeyDown", [keyCode, 0]);
    model.stream?.sendToStreamer("KeyPress", [character]);
    if (keyCode !== undefined) model.stream?.sendToStreamer("KeyUp", [keyCode]);
  };
  const changed = (value: string): void => {
    const { removed, added } = difference(sent.current, value);
    for (let n = 0; n < removed; n++) press(BACKSPACE, BACKSPACE);
    for (const character of added) press(keyCodeOf(character), character.charCodeAt(0));
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

/** What to delete from the end of `before`, and what to type then, to get `after`. */
export function difference(before: string, after: string): { removed: number; added: string } {
  let same = 0;
  while (same < before.length && same < after.length && before[same] === after[same]) same++;
  return { removed: before.length - same, added: after.slice(same) };
}
