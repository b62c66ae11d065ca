import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { ApiError } from "../api/client";
import { errorText, t } from "../i18n";
import { Icon, type IconName } from "./icons";

interface MessagePageProps {
  icon: IconName;
  heading: string;
  what?: string;
  fix?: string | undefined;
  tone?: "plain" | "bad";
  testId?: string;
  children?: ComponentChildren;
}

/** A whole page that says what happened and what to do next. */
export function MessagePage(props: MessagePageProps): JSX.Element {
  return (
    <section class={`message-page message-${props.tone ?? "plain"}`} data-testid={props.testId}>
      <div class="message-icon">
        <Icon name={props.icon} size={32} />
      </div>
      <Heading>{props.heading}</Heading>
      {props.what && <p class="message-what">{props.what}</p>}
      {props.fix && <p class="message-fix">{props.fix}</p>}
      {props.children && <div class="actions">{props.children}</div>}
    </section>
  );
}

/** A page's first heading: named in the tab, and focused so that screen readers start reading there. */
export function Heading({ children }: { children: string }): JSX.Element {
  const element = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · ${t().productName}`;
  }, [children]);
  useEffect(() => {
    element.current?.focus({ preventScroll: true });
  }, []);
  return (
    <h1 ref={element} tabIndex={-1}>
      {children}
    </h1>
  );
}

/** A refusal inside a page, with its next step and the number an operator can look up. */
export function ErrorNote({ error, children }: { error: ApiError; children?: ComponentChildren }): JSX.Element {
  const said = errorText(error);
  return (
    <div class="note note-bad" role="alert" data-testid={`error-${error.code}`}>
      <Icon name="warning" />
      <div>
        <p>
          <strong>{said.what}</strong> {said.fix}
        </p>
        {error.requestId && <p class="small muted">{t().common.requestNumber(error.requestId)}</p>}
        {children}
      </div>
    </div>
  );
}
