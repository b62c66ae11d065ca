import { useEffect, useState } from "preact/hooks";

/** iPhones know full screen for video elements only, which would hide our controls: there it is not offered. */
export function useFullScreen(): { isPossible: boolean; isOn: boolean; toggle: () => void } {
  const [isOn, setOn] = useState(document.fullscreenElement !== null);
  useEffect(() => {
    const changed = (): void => setOn(document.fullscreenElement !== null);
    document.addEventListener("fullscreenchange", changed);
    return () => document.removeEventListener("fullscreenchange", changed);
  }, []);
  return {
    isPossible: document.fullscreenEnabled === true,
    isOn,
    toggle: () => {
      const change = isOn ? document.exitFullscreen() : document.documentElement.requestFullscreen();
      // Refused, for example inside a frame without permission: the button simply stays as it is.
      change.catch(() => undefined);
    },
  };
}
