import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatTime, t } from "../i18n";
import { Icon } from "../ui/icons";
import { useModel } from "./model-context";
import { PanelFrame } from "./panels";

const LONGEST = 1000;

export function ChatPanel(): JSX.Element {
  const model = useModel();
  const room = model.room.value;
  const texts = t().chat;
  const draft = useSignal("");
  const log = useRef<HTMLOListElement>(null);
  const messages = room?.chat ?? [];
  const last = messages.at(-1)?.id;

  // A new last line is what makes it scroll.
  useEffect(() => {
    log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [last]);

  const send = (): void => {
    const text = draft.value.trim();
    if (text && model.send({ type: "chat", text })) draft.value = "";
  };

  return (
    <PanelFrame heading={texts.heading} testId="chat-panel">
      <ol ref={log} class="chat-log" data-testid="chat-log" aria-live="polite" tabIndex={0} aria-label={texts.heading}>
        {messages.length === 0 && <li class="chat-empty">{texts.empty}</li>}
        {messages.map((message, index) => {
          const isYou = message.participant === room?.you;
          const continues = messages[index - 1]?.participant === message.participant;
          return (
            <li key={message.id} class={`chat-line ${isYou ? "chat-you" : ""}`} data-testid="chat-message">
              {!continues && (
                <span class="chat-meta">
                  {isYou ? texts.you : message.name} · <time>{formatTime(message.at)}</time>
                </span>
              )}
              <span class="chat-text">{message.text}</span>
            </li>
          );
        })}
      </ol>
      <form
        class="chat-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label class="chat-field">
          <span class="visually-hidden">{texts.label}</span>
          <input
            class="input"
            data-testid="chat-input"
            data-autofocus
            placeholder={texts.placeholder}
            maxLength={LONGEST}
            autocomplete="off"
            value={draft.value}
            onInput={(event) => {
              draft.value = event.currentTarget.value;
            }}
          />
        </label>
        <button
          type="submit"
          class="button primary chat-send"
          data-testid="chat-send"
          aria-label={texts.send}
          disabled={draft.value.trim() === "" || model.roomStatus.value !== "open"}
        >
          <Icon name="send" />
        </button>
      </form>
    </PanelFrame>
  );
}
