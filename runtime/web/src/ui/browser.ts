/** Live streams come by WebRTC, which some browsers are built or set up without (Lockdown Mode on iPhones). */
export function canShowStreams(): boolean {
  return "RTCPeerConnection" in window;
}

/**
 * Whether the browser lacks what these pages are built on: colours of both appearances (Chrome 123, Firefox 120,
 * Safari 17.5), and requests that can be given up. Anything older would show a page that half works.
 */
export function isTooOld(): boolean {
  return !CSS.supports("color", "light-dark(red, red)") || typeof AbortSignal.any !== "function";
}
