import type { AggregatedStats } from "@epicgames-ps/lib-pixelstreamingfrontend-ue5.7";

/** One second of the stream as the browser measured it. */
export interface Measurement {
  atMs: number;
  width: number;
  height: number;
  framesDecoded: number;
  framesDropped: number;
  freezes: number;
  framesPerSecond: number;
  videoBps: number;
  audioBps: number;
  /** Loss since the measurement before, 0..1. */
  lossFraction: number;
  roundTripMs: number | null;
  jitterMs: number;
  decodeMs: number | null;
  codec: string;
  route: string;
  quantiser: number | null;
  audioLevel: number | null;
  totals: { packetsReceived: number; packetsLost: number; decodeSeconds: number };
}

/** Read the library's statistics; rates that need two readings are taken against `previous`. */
export function measure(stats: AggregatedStats, previous: Measurement | undefined): Measurement {
  const video = stats.inboundVideoStats;
  const totals = {
    packetsReceived: video.packetsReceived ?? 0,
    packetsLost: Math.max(0, video.packetsLost ?? 0),
    decodeSeconds: video.totalDecodeTime ?? 0,
  };
  const framesDecoded = video.framesDecoded ?? 0;
  const received = totals.packetsReceived - (previous?.totals.packetsReceived ?? 0);
  const lost = Math.max(0, totals.packetsLost - (previous?.totals.packetsLost ?? 0));
  const frames = framesDecoded - (previous?.framesDecoded ?? 0);
  const decodeSeconds = totals.decodeSeconds - (previous?.totals.decodeSeconds ?? 0);
  const pair = stats.getActiveCandidatePair();
  const local = stats.localCandidates.find(({ id }) => id === pair?.localCandidateId);
  const roundTrip = pair?.currentRoundTripTime;
  return {
    atMs: Date.now(),
    width: video.frameWidth ?? 0,
    height: video.frameHeight ?? 0,
    framesDecoded,
    framesDropped: video.framesDropped ?? 0,
    freezes: video.freezeCount ?? 0,
    framesPerSecond: video.framesPerSecond ?? 0,
    videoBps: (video.bitrate ?? 0) * 1000,
    audioBps: (stats.inboundAudioStats.bitrate ?? 0) * 1000,
    lossFraction: received + lost > 0 ? lost / (received + lost) : 0,
    roundTripMs: roundTrip === undefined ? null : roundTrip * 1000,
    jitterMs: (video.jitter ?? 0) * 1000,
    decodeMs: frames > 0 ? (decodeSeconds / frames) * 1000 : null,
    codec: codecOf(stats),
    route: local ? `${local.candidateType} ${local.protocol}` : "",
    quantiser: stats.sessionStats.videoEncoderAvgQP > 0 ? stats.sessionStats.videoEncoderAvgQP : null,
    audioLevel: stats.inboundAudioStats.audioLevel ?? null,
    totals,
  };
}

function codecOf(stats: AggregatedStats): string {
  const codec = stats.codecs.get(stats.inboundVideoStats.codecId ?? "");
  return codec?.mimeType?.replace(/^video\//, "") ?? "";
}
