import type { JSX } from "preact";

/** Stroke icons on a 24 grid, drawn for this project; decorative, so hidden from screen readers. */
const PATHS = {
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm4.8-1.7L20 20",
  play: "M8 5.6v12.8a.8.8 0 0 0 1.2.7l10.3-6.4a.8.8 0 0 0 0-1.4L9.2 4.9a.8.8 0 0 0-1.2.7Z",
  queue: "M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  cross: "m6 6 12 12M18 6 6 18",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6 9c0-3.3 2.7-6 6-6s6 2.7 6 6M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.4c1.8 1 3 3 3 5.6",
  chat: "M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-4.4 3.6a.4.4 0 0 1-.6-.3V16A2.5 2.5 0 0 1 4 13.5v-7Z",
  mic: "M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3Zm-6.5-3.5a6.5 6.5 0 0 0 13 0M12 18v3",
  headset: "M4 14v-2a8 8 0 0 1 16 0v2M4 14a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0v-3Zm12 0a2 2 0 0 1 4 0v3a2 2 0 0 1-4 0v-3Z",
  micOff:
    "M15 9.5V6a3 3 0 0 0-5.8-1M9 9v3a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.4 5.2M18.5 11.5a6.5 6.5 0 0 1-.5 2.5M12 18v3M4 4l16 16",
  invite: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6 9c0-3.3 2.7-6 6-6 1.5 0 2.9.6 4 1.5M18 13v6M15 16h6",
  quality: "M4 7h9M17 7h3M4 12h3M11 12h9M4 17h7M15 17h5M15 5v4M9 10v4M13 15v4",
  expand: "M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4",
  shrink: "M9 4v4a1 1 0 0 1-1 1H4M15 4v4a1 1 0 0 0 1 1h4M15 20v-4a1 1 0 0 1 1-1h4M9 20v-4a1 1 0 0 0-1-1H4",
  mouse: "M12 3a6 6 0 0 0-6 6v6a6 6 0 0 0 12 0V9a6 6 0 0 0-6-6Zm0 4v3",
  sound:
    "M4 9.5v5a.5.5 0 0 0 .5.5H8l4.2 3.7a.5.5 0 0 0 .8-.4V5.7a.5.5 0 0 0-.8-.4L8 9H4.5a.5.5 0 0 0-.5.5ZM16 9a4 4 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11",
  soundOff:
    "M4 9.5v5a.5.5 0 0 0 .5.5H8l4.2 3.7a.5.5 0 0 0 .8-.4V5.7a.5.5 0 0 0-.8-.4L8 9H4.5a.5.5 0 0 0-.5.5ZM16.5 9.5l5 5M21.5 9.5l-5 5",
  stats: "M4 20V4M4 20h16M8 16v-4M12 16V8M16 16v-6",
  power: "M12 4v8M7 6.8a7.5 7.5 0 1 0 10 0",
  leave: "M14 4h4a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1h-4M10 8l-4 4 4 4M6 12h9",
  hand: "M7 12.5V7a1.5 1.5 0 0 1 3 0v4M10 10.5V5a1.5 1.5 0 0 1 3 0v5.5M13 10.5V6a1.5 1.5 0 0 1 3 0v5M16 9.5a1.5 1.5 0 0 1 3 0V15a6 6 0 0 1-6 6h-1a6 6 0 0 1-4.8-2.4L4.4 15a1.5 1.5 0 0 1 2.4-1.8L7.5 14",
  crown: "M4 18h16M4.5 15 3.5 7l4.7 3.4L12 5l3.8 5.4L20.5 7l-1 8h-15Z",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12Zm9.5 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  pointer: "m5 4 5.5 15.5 2.6-6.4 6.4-2.6L5 4Z",
  more: "M5 12a.8.8 0 1 0 1.6 0A.8.8 0 0 0 5 12Zm6.2 0a.8.8 0 1 0 1.6 0 .8.8 0 0 0-1.6 0Zm6.2 0a.8.8 0 1 0 1.6 0 .8.8 0 0 0-1.6 0Z",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M6 11h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1Z",
  copy: "M9 9h9a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1ZM5 15V5a1 1 0 0 1 1-1h9",
  share: "M12 15V4M8 7.5 12 4l4 3.5M5 13v6a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1v-6",
  warning: "M12 9v4M12 16.5h.01M10.3 4.6 3.2 17a2 2 0 0 0 1.7 3h14.2a2 2 0 0 0 1.7-3L13.7 4.6a2 2 0 0 0-3.4 0Z",
  globe:
    "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM3.5 12h17M12 3c2.5 2.6 3.7 5.6 3.7 9s-1.2 6.4-3.7 9c-2.5-2.6-3.7-5.6-3.7-9S9.5 5.6 12 3Z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M18.4 5.6l-1.1 1.1M6.7 17.3l-1.1 1.1",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  auto: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Zm0-18v18",
  send: "M20.5 3.5 10 14M20.5 3.5 14 20.5 10 14 3.5 10l17-6.5Z",
  keyboard:
    "M4 6h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1Zm3 4h.01M11 10h.01M15 10h.01M17.5 10h.01M8 14h8",
  chevronDown: "m6 9 6 6 6-6",
  chevronLeft: "m15 5-7 7 7 7",
  chevronRight: "m9 5 7 7-7 7",
  calendar: "M5 6h14a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1Zm-1 4.5h16M8 3.5V7M16 3.5V7",
  plus: "M12 5v14M5 12h14",
  server:
    "M5 4h14a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1Zm0 9h14a1 1 0 0 1 1 1v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-5a1 1 0 0 1 1-1Zm2.5-5.5h.01M7.5 16.5h.01",
  download: "M12 4v11M8 11.5l4 3.5 4-3.5M5 20h14",
  offline:
    "M3 8.5a14 14 0 0 1 5-2.8M21 8.5a14 14 0 0 0-8.5-3.4M6.5 12.5a9 9 0 0 1 4-2.2M17.5 12.5a9 9 0 0 0-2-1.4M10 16.2a4 4 0 0 1 4 0M12 19.5h.01M4 4l16 16",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.8"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo(): JSX.Element {
  return (
    <svg class="logo" width="28" height="28" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="var(--accent)" />
      <g fill="var(--on-accent)">
        <rect x="7" y="8" width="6" height="6" rx="1.5" />
        <rect x="7" y="18" width="6" height="6" rx="1.5" opacity=".55" />
        <path d="M16 9.2v13.6a1 1 0 0 0 1.5.87l10-6.8a1 1 0 0 0 0-1.74l-10-6.8a1 1 0 0 0-1.5.87Z" />
      </g>
    </svg>
  );
}
