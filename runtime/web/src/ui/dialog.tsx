import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface DialogProps {
  heading: string;
  children: ComponentChildren;
  /** Escape, or the backdrop; absent for dialogs that must be answered. */
  onClose?: () => void;
  testId?: string;
  role?: "dialog" | "alertdialog";
}

/** A modal question. The browser's own `<dialog>` keeps the focus inside and gives it back afterwards. */
export function Dialog({ heading, children, onClose, testId, role = "dialog" }: DialogProps): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  const headingId = useId();

  // Before the next picture: a question that is there but not yet open would miss the first key.
  useLayoutEffect(() => {
    const dialog = element.current;
    if (!dialog) return;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);

  return (
    <dialog
      ref={element}
      class="dialog"
      role={role}
      aria-labelledby={headingId}
      data-testid={testId}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
      onClick={(event) => {
        if (event.target === element.current) onClose?.();
      }}
      onKeyDown={(event) => event.stopPropagation()}
    >
      <div class="dialog-body">
        <h2 id={headingId}>{heading}</h2>
        {children}
      </div>
    </dialog>
  );
}
