import { useCallback, useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError, request } from "../api/client";
import type { Page } from "../api/types";
import { backoffMs } from "../backoff";

const EVERY_MS = 3_000;
const PAGE = 200;
const MOST_PAGES = 25;

export interface Polled<T> {
  data: T | undefined;
  error: ApiError | undefined;
  /** Read again now, for example after a change. */
  reload: () => void;
}

/** Read something again and again while the page is in view; a failure keeps the last known data. */
export function usePolled<T>(key: string, read: (signal: AbortSignal) => Promise<T>, everyMs = EVERY_MS): Polled<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    const abort = new AbortController();
    let timer: number | undefined;
    let failures = 0;
    const look = async (): Promise<void> => {
      let pause = everyMs;
      if (document.visibilityState === "visible") {
        try {
          const answer = await read(abort.signal);
          if (abort.signal.aborted) return;
          setData(() => answer);
          setError(undefined);
          failures = 0;
        } catch (reason) {
          if (abort.signal.aborted) return;
          setError(asApiError(reason));
          pause = Math.max(pause, backoffMs(failures++));
        }
      }
      timer = window.setTimeout(() => void look(), pause);
    };
    void look();
    return () => {
      abort.abort();
      window.clearTimeout(timer);
    };
    // `read` is a new function at every drawing; `key` says when it means something else.
  }, [key, turn, everyMs]);

  return { data, error, reload: useCallback(() => setTurn((n) => n + 1), []) };
}

/** Every item of a list that comes in pages (at most 5,000). */
export async function readAll<T>(path: string, signal: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null | undefined;
  for (let page = 0; page < MOST_PAGES; page++) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (cursor) query.set("cursor", cursor);
    const answer = await request<Page<T>>("GET", `${path}${path.includes("?") ? "&" : "?"}${query}`, { signal });
    items.push(...answer.items);
    cursor = answer.next;
    if (!cursor) break;
  }
  return items;
}
