/** What the browser can decode, and how many pixels are worth asking for; pure but for the defaults of `pixelScale`. */

const LONGEST_SIDE = 1920;
const MOST_PIXELS_PER_POINT = 2;

/** Names of the offered video codecs when the browser can decode none of them. */
export function undecodable(sdp: string, capabilities: readonly { mimeType: string }[]): string[] | undefined {
  const section = sdp.split(/\r?\nm=/).find((part) => part.startsWith("video"));
  if (!section) return undefined;
  const offered = [...section.matchAll(/^a=rtpmap:\d+ ([A-Za-z0-9-]+)\//gm)]
    .map((match) => (match[1] ?? "").toUpperCase())
    .filter((name) => !["RTX", "RED", "ULPFEC", "FLEXFEC-03"].includes(name));
  const known = new Set(capabilities.map(({ mimeType }) => mimeType.toUpperCase().replace("VIDEO/", "")));
  if (offered.length === 0 || offered.some((name) => known.has(name))) return undefined;
  return [...new Set(offered)];
}

/** Pixels per CSS point to ask for when the picture follows the window: sharp on phones, never beyond full HD. */
export function pixelScale(
  width: number = window.innerWidth,
  height: number = window.innerHeight,
  ratio: number = window.devicePixelRatio,
): number {
  return Math.min(ratio, MOST_PIXELS_PER_POINT, LONGEST_SIDE / Math.max(width, height, 1));
}
