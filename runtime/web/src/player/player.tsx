import "../styles/player.css";
import { effect, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { ApiError } from "../api/client";
import type { JoinReply, Session, Title } from "../api/types";
import { localText, t } from "../i18n";
import type { Ending } from "../session/ended";
import { joinSession } from "../session/join";
import { clearToasts, toast } from "../ui/toasts";
import { exposeForTests } from "./debug";
import { ConfirmEnd, IdleDialog } from "./dialogs";
import { PlayerModel } from "./model";
import { ModelContext } from "./model-context";
import { announce, refusalText } from "./notices";
import { Overlays } from "./overlays";
import { PanelHost } from "./panels";
import { ControlRequests } from "./requests";
import { mayHandOver } from "./room-state";
import { StatisticsOverlay } from "./statistics";
import { TextInput } from "./text-input";
import { Toolbar } from "./toolbar";

export interface PlayerProps {
  session: Session;
  title: Title | undefined;
  join: JoinReply;
  onEnded: (ending: Ending) => void;
  onRefused: (error: ApiError) => void;
}

export function PlayerPage({ session, title, join, onEnded, onRefused }: PlayerProps): JSX.Element {
  const stage = useRef<HTMLDivElement>(null);
  // One model for the life of this component; a new session or a new join mounts a new one (see `key` in Joined).
  // The first props are the ones that count.
  const model: PlayerModel = useMemo(
    () =>
      new PlayerModel({
        session,
        title,
        join,
        rejoin: () => joinSession(session.id),
        onEnded,
        onRefused,
        onNotice: (notice) => {
          // Whoever can answer a request sees it as a question already.
          if (notice.kind !== "requested" || !mayHandOver(model.room.peek())) announce(notice);
        },
        onError: (code) => toast(refusalText(code), { kind: "error", icon: "warning" }),
      }),
    [],
  );
  const confirming = useSignal<"end" | "leave" | undefined>(undefined);

  useLayoutEffect(() => {
    const parent = stage.current;
    if (!parent) return undefined;
    model.start(parent);
    const hide = exposeForTests(model);
    return () => {
      hide();
      model.stop();
      // They were about the session that is no longer on show.
      clearToasts();
    };
  }, [model]);

  const name = localText(title?.display_name, session.title);
  useEffect(() => {
    document.title = `${name} · ${t().productName}`;
  }, [name]);
  useFocusRouting(model, stage);

  return (
    <ModelContext.Provider value={model}>
      <main class="player" data-testid="player" data-control={model.inControl.value ? "you" : "other"}>
        {/* The library styles its parent by an inline style attribute, which our policy forbids, unless it says fixed-size. */}
        <div
          ref={stage}
          class="stage fixed-size"
          tabIndex={0}
          role="application"
          aria-label={t().player.stream}
          data-testid="stage"
          onPointerDown={(event) => event.currentTarget.focus({ preventScroll: true })}
        />
        <section
          class="player-ui"
          aria-label={t().player.toolbar}
          // What is typed into our own controls must not reach the application, whose listeners are on the document.
          onKeyDown={stopPropagation}
          onKeyUp={stopPropagation}
          onKeyPress={stopPropagation}
          onFocusIn={() => model.stream?.releaseKeys()}
        >
          <h1 class="visually-hidden">{name}</h1>
          <Overlays />
          <ControlRequests />
          <StatisticsOverlay />
          <PanelHost />
          <TextInput />
          <Toolbar
            onEnd={() => {
              confirming.value = model.isOwner.value ? "end" : "leave";
            }}
          />
          <IdleDialog />
          {confirming.value && (
            <ConfirmEnd
              kind={confirming.value}
              onClose={() => {
                confirming.value = undefined;
              }}
            />
          )}
        </section>
      </main>
    </ModelContext.Provider>
  );
}

function stopPropagation(event: KeyboardEvent): void {
  // The way out of the picture must work from inside the toolbar, too.
  if (!isToolbarShortcut(event)) event.stopPropagation();
}

export function isToolbarShortcut(event: KeyboardEvent): boolean {
  return event.altKey && event.shiftKey && event.code === "KeyM";
}

/** Keyboard users: the picture swallows Tab while it is controlled, so one chord leads to the toolbar and back. */
function useFocusRouting(model: PlayerModel, stage: { current: HTMLDivElement | null }): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (!isToolbarShortcut(event)) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.type !== "keydown") return;
      const isInside = document.activeElement === stage.current || document.activeElement === document.body;
      if (isInside) document.querySelector<HTMLElement>(".toolbar button:not(:disabled)")?.focus();
      else stage.current?.focus();
    };
    window.addEventListener("keydown", onKey, { capture: true });
    window.addEventListener("keyup", onKey, { capture: true });
    // Whoever gets control wants to use it at once, unless they are typing.
    const stop = effect(() => {
      if (!model.inControl.value) return;
      if (document.activeElement instanceof HTMLInputElement || document.activeElement instanceof HTMLTextAreaElement)
        return;
      stage.current?.focus({ preventScroll: true });
    });
    return () => {
      stop();
      window.removeEventListener("keydown", onKey, { capture: true });
      window.removeEventListener("keyup", onKey, { capture: true });
    };
  }, [model, stage]);
}
