import type { JSX } from "preact";
import qrcode from "qrcode-generator";

const QUIET_ZONE = 4;

/** A QR code as one path: crisp at any size, dark on light in every theme, as readers need it. */
export function QrCode({ text, label }: { text: string; label: string }): JSX.Element {
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  const modules = code.getModuleCount();
  let path = "";
  for (let row = 0; row < modules; row++) {
    for (let column = 0; column < modules; column++) {
      if (code.isDark(row, column)) path += `M${column + QUIET_ZONE} ${row + QUIET_ZONE}h1v1h-1z`;
    }
  }
  const size = modules + 2 * QUIET_ZONE;
  return (
    <svg class="qr-code" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
