import { ERROR_CODES, type ErrorCode, LOCAL_ERROR_CODES } from "./codes";
import type { ErrorBody, Me } from "./types";

/** A refusal by the service, or the lack of any answer. `code` selects the sentence that people read. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly fix: string;
  readonly requestId: string | undefined;
  readonly details: unknown;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    more: { status?: number; fix?: string; requestId?: string; details?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = more.status ?? 0;
    this.fix = more.fix ?? "";
    this.requestId = more.requestId;
    this.details = more.details;
    this.retryAfterSeconds = more.retryAfterSeconds;
  }
}

export interface RequestOptions {
  body?: unknown;
  /** Cancels the request; the caller then gets the signal's own AbortError. */
  signal?: AbortSignal;
  timeoutMs?: number;
  headers?: Record<string, string>;
  /** Makes a repeated POST safe: the service answers the second one from the first. */
  idempotencyKey?: string;
}

const DEFAULT_TIMEOUT_MS = 15_000;
const KNOWN_CODES = new Set<string>([...ERROR_CODES, ...LOCAL_ERROR_CODES]);

let csrfToken: string | undefined;
let knownId: string | undefined;
let me: Promise<Me> | undefined;

/** Who the visitor is; asked once, and again after `forgetMe`. */
export function getMe(): Promise<Me> {
  me ??= request<Me>("GET", "/api/v1/me").then(
    (answer) => {
      csrfToken = answer.csrf_token;
      knownId = answer.id;
      return answer;
    },
    (error: unknown) => {
      me = undefined;
      throw error;
    },
  );
  return me;
}

export function forgetMe(): void {
  me = undefined;
  csrfToken = undefined;
}

/**
 * Send one request to the service and return its decoded JSON (`undefined` for 204).
 * Throws {@link ApiError}; a write whose CSRF token was refused is tried once more with a fresh one, unless
 * somebody else is the visitor by now (another tab signed in, or the cookie ran out): nobody acts in another's name.
 */
export async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const isWrite = method !== "GET" && method !== "HEAD";
  if (isWrite && csrfToken === undefined) await getMe();
  try {
    return await attempt<T>(method, path, options, isWrite);
  } catch (error) {
    if (!(isWrite && error instanceof ApiError && error.code === "csrf_failed")) throw error;
    const before = knownId;
    forgetMe();
    if ((await getMe()).id !== before) throw error;
    return attempt<T>(method, path, options, isWrite);
  }
}

/** Like `request`, for answers that are plain text. */
export async function requestText(path: string, options: RequestOptions = {}): Promise<string> {
  const response = await send("GET", path, options, false);
  if (response.ok) return response.text();
  throw refusal(response, await response.json().catch(() => undefined));
}

async function attempt<T>(method: string, path: string, options: RequestOptions, isWrite: boolean): Promise<T> {
  const response = await send(method, path, options, isWrite);
  if (response.status === 204) return undefined as T;
  const decoded = await response.json().catch(() => undefined);
  if (response.ok && decoded !== undefined) return decoded as T;
  throw refusal(response, decoded);
}

async function send(method: string, path: string, options: RequestOptions, isWrite: boolean): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  if (isWrite && csrfToken !== undefined) headers["X-CSRF-Token"] = csrfToken;
  if (options.idempotencyKey !== undefined) headers["Idempotency-Key"] = options.idempotencyKey;
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(options.body);
  }
  const deadline = AbortSignal.timeout(options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  init.signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  try {
    return await fetch(path, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    if (deadline.aborted) throw new ApiError("timeout", "No answer in time.");
    throw new ApiError("offline", "The service cannot be reached.");
  }
}

function refusal(response: Response, decoded: unknown): ApiError {
  const said = (decoded as ErrorBody | undefined)?.error;
  const retryAfter = Number(response.headers.get("Retry-After"));
  const code = said && KNOWN_CODES.has(said.code) ? (said.code as ErrorCode) : codeOfStatus(response.status);
  return new ApiError(code, said?.message ?? response.statusText, {
    status: response.status,
    ...(said?.fix ? { fix: said.fix } : {}),
    ...(said?.request_id ? { requestId: said.request_id } : {}),
    ...(said?.details !== undefined ? { details: said.details } : {}),
    ...(retryAfter > 0 ? { retryAfterSeconds: retryAfter } : {}),
  });
}

/** A proxy in between answers without our body: its status still says what kind of trouble it is. */
function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 413) return "too_large";
  if (status === 429) return "rate_limited";
  if (status >= 502 && status <= 504) return "offline";
  return status >= 500 ? "internal" : "bad_answer";
}

/** Turn anything thrown into an ApiError, so that every failure has a sentence. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError("internal", error instanceof Error ? error.message : String(error));
}

export function newIdempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
