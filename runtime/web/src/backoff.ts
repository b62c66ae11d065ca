const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * Delay before retry number `failures` (0 is the first): doubling up to 15 s, spread by ±25 % so that many browsers which
 * lost the same service do not come back in the same instant.
 */
export function backoffMs(failures: number, random: () => number = Math.random): number {
  const base = Math.min(FIRST_MS * 2 ** Math.min(failures, 10), LONGEST_MS);
  return Math.round(base * (0.75 + random() * 0.5));
}
