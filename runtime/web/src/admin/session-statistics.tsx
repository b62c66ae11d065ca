import type { JSX } from "preact";
import { request } from "../api/client";
import { errorText, formatMilliseconds, formatNumber, formatPercent, formatRate, t } from "../i18n";
import { usePolled } from "./poll";
import type { PlayerStatistics, SessionStatistics as Statistics, StreamStatistics } from "./types";

/** How the stream does now, and how it reaches each page; asked of the session's relay every few seconds. */
export function SessionStatistics({ sessionId }: { sessionId: string }): JSX.Element {
  const path = `/api/v1/admin/sessions/${sessionId}/statistics`;
  const { data, error } = usePolled(path, (signal) => request<Statistics>("GET", path, { signal }));
  const texts = t().admin.statistics;
  return (
    <section class="live-statistics" data-testid="session-statistics" aria-busy={!data && !error}>
      <h3>{texts.heading}</h3>
      {error && <p class="muted small">{errorText(error).what}</p>}
      {data && <Stream stream={data.stream} />}
      {data && <Viewers players={data.players} />}
    </section>
  );
}

function Stream({ stream }: { stream: StreamStatistics | null }): JSX.Element {
  const { admin, stats } = t();
  if (!stream) return <p class="muted small">{admin.statistics.noStream}</p>;
  const facts: [string, string][] = [
    [stats.codec, stream.codec ?? "–"],
    [stats.fps, formatNumber(stream.fps)],
    [stats.bitrate, admin.statistics.ofTarget(formatRate(stream.bitrate_bps), formatRate(stream.target_bitrate_bps))],
    [stats.loss, formatPercent(stream.fraction_lost)],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Viewers({ players }: { players: readonly PlayerStatistics[] }): JSX.Element {
  const texts = t().admin.statistics;
  if (players.length === 0) return <p class="muted small">{texts.nobody}</p>;
  return (
    <div class="small-table" tabIndex={0} role="region" aria-label={texts.viewers}>
      <table>
        <thead>
          <tr>
            <th scope="col">{texts.viewer}</th>
            {[texts.fps, texts.rate, texts.loss, texts.rtt].map((name) => (
              <th key={name} scope="col" class="cell-number">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {players.map((player) => (
            <tr key={player.id} data-testid={`viewer-${player.participant}`}>
              <th scope="row">{player.name || player.participant.slice(0, 8)}</th>
              {figuresOf(player).map((figure, place) => (
                <td key={place} class="cell-number">
                  {figure}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function figuresOf(player: PlayerStatistics): string[] {
  return [
    formatNumber(player.fps),
    formatRate(player.bitrate_bps),
    formatPercent(player.fraction_lost),
    player.rtt_ms === null ? "–" : formatMilliseconds(player.rtt_ms),
  ];
}
