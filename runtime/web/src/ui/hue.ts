/** A colour of its own for a name, in degrees. The golden angle spreads them: names that are alike must not look alike. */
export function hueOf(name: string): number {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return Math.round(sum * 137.5) % 360;
}
