/** Per-device memory. Browsers that refuse storage (third-party frames, private modes) simply forget. */

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`pixelstream.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`pixelstream.${key}`);
    else localStorage.setItem(`pixelstream.${key}`, value);
  } catch {
    // Nothing depends on it.
  }
}
