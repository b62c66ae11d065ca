import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../ui/icons";

/** A table, and beside it (below it on phones) what is selected in it. */
export function DrawerPair({
  children,
  drawer,
}: {
  children: ComponentChildren;
  drawer: ComponentChildren;
}): JSX.Element {
  return (
    <div class={`drawer-pair ${drawer ? "drawer-open" : ""}`}>
      {children}
      {drawer}
    </div>
  );
}

interface DetailsProps {
  heading: string;
  testId: string;
  /** Name and value; those without a value are left out. */
  facts: [string, string | null | undefined][];
  onClose: () => void;
  /** Buttons, before the facts so that nobody has to look for them. */
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

export function Details({ heading, testId, facts, onClose, actions, children }: DetailsProps): JSX.Element {
  const headingId = useId();
  const title = useRef<HTMLHeadingElement>(null);
  // Reading goes on here when something else is selected.
  useEffect(() => title.current?.focus(), [heading]);
  return (
    <aside
      class="details"
      aria-labelledby={headingId}
      data-testid={testId}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
      }}
    >
      <header class="details-head">
        <h2 id={headingId} ref={title} tabIndex={-1}>
          {heading}
        </h2>
        <button type="button" class="button quiet compact" aria-label={t().common.close} onClick={onClose}>
          <Icon name="cross" />
        </button>
      </header>
      {actions && <div class="actions">{actions}</div>}
      <dl class="facts">
        {facts
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
      {children}
    </aside>
  );
}
