import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** For a row of links that may scroll sideways on phones: the current one is brought into view whenever `current` changes. */
export function useCurrentInView<E extends HTMLElement>(current: string): RefObject<E | null> {
  const row = useRef<E>(null);
  useEffect(() => {
    row.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [current]);
  return row;
}
