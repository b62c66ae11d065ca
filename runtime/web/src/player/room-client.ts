import { ApiError } from "../api/client";
import { ERROR_CODES, type ErrorCode } from "../api/codes";
import { backoffMs } from "../backoff";
import type { FromRelay, ToRelay } from "./room-types";
import type { Ticket } from "./ticket";

/** Close codes of the relay (docs/architecture.md). */
const CLOSE = { sessionOver: 1001, refused: 1008, full: 1013, superseded: 4000, kicked: 4001 } as const;

const PING_EVERY_MS = 10_000;
const PONG_WITHIN_MS = 5_000;
const CONNECT_WITHIN_MS = 10_000;
/** Without any connection for this long the page stops trying and says so. */
const RETRY_FOR_MS = 10 * 60_000;
/** Longer than one attempt with the wait before it: in between the machine slept, which is no time spent trying. */
const LONGEST_ROUND_MS = 60_000;
/** Refusals whose next attempt would be refused again. */
const FINAL_REFUSALS: readonly ErrorCode[] = [
  "session_full",
  "session_locked",
  "kicked",
  "forbidden",
  "session_not_found",
];

export type RoomStatus = "connecting" | "open" | "lost";

/** The room will not come back to this page. */
export type RoomOver =
  | { kind: "ended"; reason: string; message: string }
  | { kind: "gone" }
  | { kind: "superseded" }
  | { kind: "kicked" }
  | { kind: "refused"; error: ApiError };

export interface RoomHandlers {
  onMessage(message: FromRelay): void;
  onStatus(status: RoomStatus): void;
  onOver(over: RoomOver): void;
}

/** The room socket: says hello with the token, keeps itself alive, and comes back by itself with the same identity. */
export class RoomClient {
  private socket: WebSocket | undefined;
  private resume: string | undefined;
  private failures = 0;
  private lostAt: number | undefined;
  private triedAt = 0;
  private isDone = false;
  private isGreeted = false;
  private lastRefusal: ApiError | undefined;
  private retryTimer: number | undefined;
  private pingTimer: number | undefined;
  private deadlineTimer: number | undefined;
  private readonly ticket: Ticket;
  private readonly handlers: RoomHandlers;
  private readonly name: string | undefined;

  constructor(ticket: Ticket, handlers: RoomHandlers, name?: string) {
    this.ticket = ticket;
    this.handlers = handlers;
    this.name = name;
  }

  start(): void {
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.onVisible);
    this.open();
  }

  /** Leave for good. */
  stop(): void {
    this.isDone = true;
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.onVisible);
    this.clearTimers();
    window.clearTimeout(this.retryTimer);
    this.socket?.close(1000, "left");
    this.socket = undefined;
  }

  /** False when there is no connection to send it on. */
  send(message: ToRelay): boolean {
    if (!this.isGreeted || this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  private open(): void {
    this.isGreeted = false;
    this.handlers.onStatus("connecting");
    const socket = new WebSocket(this.ticket.current.room_url);
    this.socket = socket;
    this.deadlineTimer = window.setTimeout(() => this.abandon(socket), CONNECT_WITHIN_MS);
    socket.onopen = () => {
      const hello: ToRelay = { type: "hello", version: 1, token: this.ticket.current.token };
      if (this.name) hello.name = this.name;
      if (this.resume) hello.resume = this.resume;
      socket.send(JSON.stringify(hello));
    };
    socket.onmessage = (event: MessageEvent<string>) => this.receive(socket, event.data);
    socket.onclose = (event) => {
      if (this.socket === socket) this.closed(event.code);
    };
  }

  private receive(socket: WebSocket, text: string): void {
    if (this.socket !== socket || this.isDone) return;
    let message: FromRelay;
    try {
      message = JSON.parse(text) as FromRelay;
    } catch {
      return;
    }
    if (message.type === "welcome") {
      this.resume = message.resume;
      this.isGreeted = true;
      this.failures = 0;
      this.lostAt = undefined;
      this.lastRefusal = undefined;
      this.clearDeadline();
      this.startPings(socket);
      this.handlers.onStatus("open");
    } else if (message.type === "pong") {
      this.clearDeadline();
    } else if (message.type === "ended") {
      this.over({ kind: "ended", reason: message.reason, message: message.message });
      return;
    } else if (message.type === "error") {
      this.lastRefusal = new ApiError(knownCode(message.code), message.message, { fix: message.fix });
    }
    this.handlers.onMessage(message);
  }

  private startPings(socket: WebSocket): void {
    window.clearInterval(this.pingTimer);
    this.pingTimer = window.setInterval(() => this.ping(socket), PING_EVERY_MS);
  }

  private ping(socket: WebSocket): void {
    if (!this.send({ type: "ping", time: Date.now() }) || this.deadlineTimer !== undefined) return;
    this.deadlineTimer = window.setTimeout(() => this.abandon(socket), PONG_WITHIN_MS);
  }

  /** The connection is dead although the browser has not noticed: act at once instead of waiting for TCP. */
  private abandon(socket: WebSocket): void {
    this.deadlineTimer = undefined;
    if (this.socket !== socket) return;
    socket.onclose = null;
    socket.close();
    this.closed(1006);
  }

  private closed(code: number): void {
    this.clearTimers();
    this.socket = undefined;
    if (this.isDone) return;
    if (code === CLOSE.sessionOver) return this.over({ kind: "gone" });
    if (code === CLOSE.superseded) return this.over({ kind: "superseded" });
    if (code === CLOSE.kicked) return this.over({ kind: "kicked" });
    const refusal = this.lastRefusal;
    this.lastRefusal = undefined;
    if (code === CLOSE.full) {
      return this.over({ kind: "refused", error: refusal ?? new ApiError("session_full", "The session is full.") });
    }
    if (code === CLOSE.refused) {
      if (refusal && FINAL_REFUSALS.includes(refusal.code)) return this.over({ kind: "refused", error: refusal });
      this.ticket.invalidate();
    }
    this.handlers.onStatus("lost");
    this.retryLater();
  }

  private retryLater(): void {
    window.clearTimeout(this.retryTimer);
    const now = Date.now();
    if (this.lostAt === undefined || now - this.triedAt > LONGEST_ROUND_MS) this.lostAt = now;
    this.triedAt = now;
    if (now - this.lostAt > RETRY_FOR_MS) {
      this.over({ kind: "refused", error: new ApiError("offline", "No connection for ten minutes.") });
      return;
    }
    this.retryTimer = window.setTimeout(() => void this.reconnect(), backoffMs(this.failures++));
  }

  private async reconnect(): Promise<void> {
    this.retryTimer = undefined;
    try {
      await this.ticket.refresh();
    } catch (error) {
      if (this.isDone) return;
      if (error instanceof ApiError && isFinalAnswer(error)) {
        this.over(error.code === "session_ended" ? { kind: "gone" } : { kind: "refused", error });
      } else {
        this.retryLater();
      }
      return;
    }
    if (!this.isDone) this.open();
  }

  /** The network or the relay is known to be back: no reason to wait for the rest of the delay. */
  readonly hurry = (): void => {
    if (this.retryTimer === undefined) return;
    window.clearTimeout(this.retryTimer);
    this.failures = 0;
    void this.reconnect();
  };

  /** After sleep a socket may look open and be dead; one ping tells. */
  private readonly onVisible = (): void => {
    if (document.visibilityState !== "visible") return;
    if (this.socket) this.ping(this.socket);
    else this.hurry();
  };

  private over(over: RoomOver): void {
    this.stop();
    this.handlers.onOver(over);
  }

  private clearTimers(): void {
    window.clearInterval(this.pingTimer);
    this.clearDeadline();
  }

  private clearDeadline(): void {
    window.clearTimeout(this.deadlineTimer);
    this.deadlineTimer = undefined;
  }
}

function isFinalAnswer(error: ApiError): boolean {
  return error.code === "session_ended" || FINAL_REFUSALS.includes(error.code) || error.code.startsWith("invite_");
}

function knownCode(code: string): ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(code) ? (code as ErrorCode) : "internal";
}
