import { signal } from "@preact/signals";
import type { IceServer } from "../api/types";
import type { ToRelay } from "./room-types";

export type VoiceStatus = "off" | "asking" | "connecting" | "on" | "failed";
export type VoiceProblem = "denied" | "noDevice" | "insecure" | "failed";

const CONNECT_WITHIN_MS = 20_000;

/**
 * The voice call of a session: one peer connection of its own, which the relay offers. Each `voice.offer` (the first one,
 * and again whenever somebody joins or leaves the call) is answered with the microphone on the first audio section that
 * takes sound from us, and receive-only on the others.
 */
export class Voice {
  readonly status = signal<VoiceStatus>("off");
  readonly problem = signal<VoiceProblem | undefined>(undefined);
  readonly isMuted = signal(false);
  private readonly send: (message: ToRelay) => boolean;
  private readonly iceServers: () => IceServer[];
  private peer: RTCPeerConnection | undefined;
  private microphone: MediaStreamTrack | undefined;
  // Which request for the microphone counts: while the browser asks its person, they may leave, and even join again.
  private request = 0;
  private readonly speakers = new Map<string, HTMLAudioElement>();
  private deadline: number | undefined;
  // Offers are answered one after the other, in the order in which they came.
  private negotiation: Promise<void> = Promise.resolve();

  /** `iceServers` is asked at every start of a call: their credentials expire. */
  constructor(send: (message: ToRelay) => boolean, iceServers: () => IceServer[]) {
    this.send = send;
    this.iceServers = iceServers;
  }

  async join(): Promise<void> {
    if (this.status.value !== "off" && this.status.value !== "failed") return;
    this.problem.value = undefined;
    if (!navigator.mediaDevices?.getUserMedia) return this.fail("insecure");
    this.status.value = "asking";
    const request = ++this.request;
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      if (request !== this.request) return;
      const name = error instanceof DOMException ? error.name : "";
      return this.fail(name === "NotFoundError" ? "noDevice" : "denied");
    }
    if (request !== this.request) {
      // Allowed too late: nobody wants it any more, and it must not stay open.
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    this.microphone = stream.getAudioTracks()[0];
    if (this.microphone) this.microphone.enabled = !this.isMuted.value;
    this.status.value = "connecting";
    this.ask();
  }

  leave(): void {
    if (this.status.value !== "off") this.send({ type: "voice.leave" });
    this.close();
    this.status.value = "off";
  }

  /** The room's connection is new: the relay has forgotten the call, so ask for it again. */
  reconnected(): void {
    if (this.status.value !== "on" && this.status.value !== "connecting") return;
    this.closePeer();
    this.status.value = "connecting";
    this.ask();
  }

  setMuted(muted: boolean): void {
    this.isMuted.value = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.send({ type: "voice.mute", muted });
  }

  receiveOffer(sdp: string): void {
    this.negotiation = this.negotiation.then(() => this.answer(sdp)).catch(() => this.fail("failed"));
  }

  private ask(): void {
    window.clearTimeout(this.deadline);
    this.deadline = window.setTimeout(() => {
      if (this.status.value === "connecting") this.fail("failed");
    }, CONNECT_WITHIN_MS);
    this.send({ type: "voice.join" });
    // Also when not muted: the relay may remember a mute from before a reload, or from before the connection broke.
    this.send({ type: "voice.mute", muted: this.isMuted.value });
  }

  private async answer(sdp: string): Promise<void> {
    if (!this.microphone) return;
    const peer = this.peer ?? this.open();
    await peer.setRemoteDescription({ type: "offer", sdp });
    const senders = peer.getTransceivers().filter((each) => wantsOurSound(sdp, each.mid));
    const mine = senders.find((each) => each.sender.track === this.microphone) ?? senders[0];
    for (const transceiver of peer.getTransceivers()) {
      transceiver.direction = transceiver === mine ? "sendrecv" : "recvonly";
    }
    if (mine && mine.sender.track !== this.microphone) await mine.sender.replaceTrack(this.microphone);
    await peer.setLocalDescription(await peer.createAnswer());
    this.send({ type: "voice.answer", sdp: peer.localDescription?.sdp ?? "" });
  }

  private open(): RTCPeerConnection {
    // null is not "absent" to RTCPeerConnection.
    const iceServers = this.iceServers().map(({ urls, username, credential }) => ({
      urls,
      ...(username ? { username } : {}),
      ...(credential ? { credential } : {}),
    }));
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    peer.ontrack = ({ track, streams }) => this.play(track, streams[0] ?? new MediaStream([track]));
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer) return;
      if (peer.connectionState === "connected") {
        window.clearTimeout(this.deadline);
        this.status.value = "on";
      }
      if (peer.connectionState === "failed") this.fail("failed");
    };
    return peer;
  }

  private play(track: MediaStreamTrack, stream: MediaStream): void {
    const audio = new Audio();
    audio.srcObject = stream;
    audio.autoplay = true;
    this.speakers.set(track.id, audio);
    // The visitor has just clicked "join", so browsers let it play.
    void audio.play().catch(() => undefined);
    track.onended = () => this.silence(track.id);
  }

  private silence(id: string): void {
    const audio = this.speakers.get(id);
    if (audio) audio.srcObject = null;
    this.speakers.delete(id);
  }

  private fail(problem: VoiceProblem): void {
    if (this.peer) this.send({ type: "voice.leave" });
    this.close();
    this.problem.value = problem;
    this.status.value = "failed";
  }

  private close(): void {
    window.clearTimeout(this.deadline);
    this.request += 1;
    this.closePeer();
    this.microphone?.stop();
    this.microphone = undefined;
  }

  private closePeer(): void {
    this.peer?.close();
    this.peer = undefined;
    for (const id of [...this.speakers.keys()]) this.silence(id);
  }
}

/** Whether the section with this mid takes sound from us: the relay marks it sendrecv or recvonly. */
export function wantsOurSound(sdp: string, mid: string | null): boolean {
  if (mid === null) return false;
  const section = sdp.split(/\r?\nm=/).find((part) => part.split(/\r?\n/).includes(`a=mid:${mid}`));
  if (!section?.startsWith("audio")) return false;
  return !/\r?\na=(sendonly|inactive)(\r?\n|$)/.test(section);
}
