import { backoffMs } from "../backoff";

export interface EventSubscription {
  close(): void;
}

/**
 * Follow one server-sent event stream. EventSource reconnects by itself after a broken connection but gives up for good
 * after an HTTP error (a coordinator that is restarting behind nginx answers 502), so a closed source is opened anew with
 * a growing delay. `onOpen` runs at every (re)connect: whoever follows should then read the current state once.
 */
export function subscribe(
  path: string,
  handlers: Record<string, (data: unknown) => void>,
  status: { onOpen?: () => void; onLost?: () => void } = {},
): EventSubscription {
  let source: EventSource | undefined;
  let timer: number | undefined;
  let failures = 0;
  let closed = false;

  const open = (): void => {
    source = new EventSource(path);
    source.onopen = () => {
      failures = 0;
      status.onOpen?.();
    };
    source.onerror = () => {
      status.onLost?.();
      if (closed || source?.readyState !== EventSource.CLOSED) return;
      timer = window.setTimeout(open, backoffMs(failures++));
    };
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        const data = decode((event as MessageEvent<string>).data);
        if (data !== undefined) handle(data);
      });
    }
  };
  open();
  return {
    close() {
      closed = true;
      window.clearTimeout(timer);
      source?.close();
    },
  };
}

function decode(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
