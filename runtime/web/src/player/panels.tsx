import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { ChatPanel } from "./chat";
import { InvitePanel } from "./invite";
import { useModel } from "./model-context";
import { PeoplePanel } from "./people";
import { QualityPanel } from "./quality";
import { VoicePanel } from "./voice-panel";

/** The panel that is open, beside the picture on wide screens and over its lower part on phones. */
export function PanelHost(): JSX.Element | null {
  const model = useModel();
  switch (model.panel.value) {
    case "people":
      return <PeoplePanel />;
    case "chat":
      return <ChatPanel />;
    case "voice":
      return <VoicePanel />;
    case "invite":
      return <InvitePanel />;
    case "quality":
      return <QualityPanel />;
    default:
      return null;
  }
}

interface PanelProps {
  heading: string;
  testId: string;
  children: ComponentChildren;
  aside?: ComponentChildren;
}

export function PanelFrame({ heading, testId, children, aside }: PanelProps): JSX.Element {
  const model = useModel();
  const headingId = useId();
  const element = useRef<HTMLElement>(null);
  const close = (): void => {
    model.panel.value = undefined;
  };
  useEffect(() => {
    const before = document.activeElement;
    const panel = element.current;
    const first = panel?.querySelector<HTMLElement>("[data-autofocus]") ?? panel?.querySelector<HTMLElement>("h2");
    first?.focus();
    return () => {
      // The panel is gone by now, and with it the focus that was inside.
      if (before instanceof HTMLElement && document.activeElement === document.body) before.focus();
    };
  }, []);
  return (
    <aside
      ref={element}
      class="panel"
      aria-labelledby={headingId}
      data-testid={testId}
      onKeyDown={(event) => {
        if (event.key === "Escape") close();
      }}
    >
      <header class="panel-head">
        <h2 id={headingId} tabIndex={-1}>
          {heading}
        </h2>
        {aside}
        <button type="button" class="tool" aria-label={t().common.close} data-testid="close-panel" onClick={close}>
          <Icon name="cross" />
        </button>
      </header>
      {children}
    </aside>
  );
}
