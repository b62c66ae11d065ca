import type { JoinReply } from "../api/types";

const FRESH_MS = 5_000;

/**
 * The join token in use. Both connections of a player (stream and room) usually break together; each asks for a fresh
 * token before it reconnects, and both get the same one.
 */
export class Ticket {
  current: JoinReply;
  private readonly fetch: () => Promise<JoinReply>;
  private refreshedAt: number;
  private pending: Promise<JoinReply> | undefined;

  constructor(first: JoinReply, fetch: () => Promise<JoinReply>) {
    this.current = first;
    this.fetch = fetch;
    this.refreshedAt = performance.now();
  }

  /** Rejects with ApiError when the service refuses or cannot be reached. */
  refresh(): Promise<JoinReply> {
    if (this.pending) return this.pending;
    if (performance.now() - this.refreshedAt < FRESH_MS) return Promise.resolve(this.current);
    this.pending = this.fetch()
      .then((reply) => {
        this.current = reply;
        this.refreshedAt = performance.now();
        return reply;
      })
      .finally(() => {
        this.pending = undefined;
      });
    return this.pending;
  }

  /** The token was refused: the next refresh must not answer from memory. */
  invalidate(): void {
    this.refreshedAt = Number.NEGATIVE_INFINITY;
  }

  playerUrl(): string {
    const separator = this.current.player_url.includes("?") ? "&" : "?";
    return `${this.current.player_url}${separator}token=${encodeURIComponent(this.current.token)}`;
  }
}
