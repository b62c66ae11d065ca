import type { JSX } from "preact";
import { formatMilliseconds, formatNumber, formatPercent, formatRate, t } from "../i18n";
import { copyText } from "../ui/copy";
import { Icon } from "../ui/icons";
import type { Measurement } from "./measurement";
import { useModel } from "./model-context";

export function StatisticsOverlay(): JSX.Element | null {
  const model = useModel();
  if (!model.showStatistics.value) return null;
  const lines = model.measurement.value ? linesOf(model.measurement.value) : [];
  const text = [...lines, [t().stats.room, t().stats.roomStates[model.roomStatus.value]] as const];
  return (
    <aside class="statistics" aria-label={t().stats.heading} data-testid="statistics">
      <dl>
        {text.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="statistics-actions">
        <button
          type="button"
          class="chip-button"
          data-testid="copy-statistics"
          onClick={() => void copyText(text.map(([name, value]) => `${name}: ${value}`).join("\n"))}
        >
          <Icon name="copy" size={16} />
          {t().stats.copy}
        </button>
        <button
          type="button"
          class="chip-button"
          aria-label={t().common.close}
          onClick={() => {
            model.showStatistics.value = false;
          }}
        >
          <Icon name="cross" size={16} />
        </button>
      </div>
    </aside>
  );
}

function linesOf(m: Measurement): (readonly [string, string])[] {
  const texts = t().stats;
  const ms = (value: number | null): string => (value === null ? "–" : formatMilliseconds(value));
  return [
    [texts.resolution, `${m.width} × ${m.height}`],
    [texts.fps, formatNumber(m.framesPerSecond)],
    [texts.bitrate, formatRate(m.videoBps)],
    [texts.audio, formatRate(m.audioBps)],
    [texts.loss, formatPercent(m.lossFraction)],
    [texts.rtt, ms(m.roundTripMs)],
    [texts.jitter, ms(m.jitterMs)],
    [texts.decode, ms(m.decodeMs)],
    [texts.frames, formatNumber(m.framesDecoded)],
    [texts.dropped, formatNumber(m.framesDropped)],
    [texts.freezes, formatNumber(m.freezes)],
    [texts.codec, m.codec || "–"],
    [texts.qp, m.quantiser === null ? "–" : formatNumber(m.quantiser)],
    [texts.route, m.route || "–"],
  ];
}
