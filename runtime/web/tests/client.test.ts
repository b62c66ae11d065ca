// @vitest-environment node
// The simulated browser's fetch does not obey its own abort signals; Node's does. It only lacks a page to be relative to.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, forgetMe, request, requestText } from "../src/api/client";

// A real HTTP server; the test writes what it answers.

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const nodeFetch = fetch;
let server: Server;
let answer: Answer;
const seen: { method: string; url: string; csrf: string | undefined; key: string | undefined; body: string }[] = [];

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
};
const refusal = (code: string): unknown => ({ error: { code, message: "m", fix: "f", request_id: "r1" } });

beforeEach(async () => {
  seen.length = 0;
  forgetMe();
  server = createServer((incoming, response) => {
    let body = "";
    incoming.on("data", (part: Buffer) => {
      body += part.toString();
    });
    incoming.on("end", () => {
      const header = (name: string): string | undefined => incoming.headers[name] as string | undefined;
      seen.push({
        method: incoming.method ?? "",
        url: incoming.url ?? "",
        csrf: header("x-csrf-token"),
        key: header("idempotency-key"),
        body,
      });
      answer(incoming, response, body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => nodeFetch(`http://127.0.0.1:${port}${path}`, init));
});

afterEach(async () => {
  vi.unstubAllGlobals();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function refusalOf(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

describe("requests", () => {
  it("a write carries the token of /me, which is asked once", async () => {
    answer = (incoming, response) =>
      json(response, 200, incoming.url === "/api/v1/me" ? { csrf_token: "t1" } : { a: 1 });
    const options = { body: { title: "sample" }, idempotencyKey: "k" };
    expect(await request("POST", "/api/v1/sessions", options)).toEqual({ a: 1 });
    await request("DELETE", "/api/v1/sessions/x");
    expect(seen.map(({ method, url, csrf }) => [method, url, csrf])).toEqual([
      ["GET", "/api/v1/me", undefined],
      ["POST", "/api/v1/sessions", "t1"],
      ["DELETE", "/api/v1/sessions/x", "t1"],
    ]);
    expect(seen[1]).toMatchObject({ key: "k", body: '{"title":"sample"}' });
  });

  it("a refused token is replaced and the write repeated, once", async () => {
    let tokens = 0;
    answer = (incoming, response) => {
      if (incoming.url === "/api/v1/me") json(response, 200, { csrf_token: `t${++tokens}` });
      else if (incoming.headers["x-csrf-token"] === "t2") json(response, 201, { ok: true });
      else json(response, 403, refusal("csrf_failed"));
    };
    expect(await request("POST", "/api/v1/sessions", { body: {} })).toEqual({ ok: true });
    answer = (incoming, response) => {
      if (incoming.url === "/api/v1/me") json(response, 200, { csrf_token: "t9" });
      else json(response, 403, refusal("csrf_failed"));
    };
    seen.length = 0;
    expect((await refusalOf(request("POST", "/api/v1/sessions", { body: {} }))).code).toBe("csrf_failed");
    expect(seen.filter(({ method }) => method === "POST")).toHaveLength(2);
  });

  it("a write is not repeated in the name of somebody else", async () => {
    let who = "anonymous:1";
    answer = (incoming, response) => {
      if (incoming.url === "/api/v1/me") json(response, 200, { id: who, csrf_token: who });
      else if (incoming.headers["x-csrf-token"] === who) json(response, 201, { ok: true });
      else json(response, 403, refusal("csrf_failed"));
    };
    forgetMe();
    expect(await request("POST", "/api/v1/sessions", { body: {} })).toEqual({ ok: true });
    who = "user:gina"; // another tab signed in
    seen.length = 0;
    expect((await refusalOf(request("POST", "/api/v1/sessions", { body: {} }))).code).toBe("csrf_failed");
    expect(seen.filter(({ method }) => method === "POST")).toHaveLength(1);
  });

  it("a refusal keeps code, request number and the time to wait", async () => {
    answer = (_, response) => json(response, 429, refusal("rate_limited"), { "Retry-After": "7" });
    const error = await refusalOf(request("GET", "/api/v1/titles"));
    expect(error).toMatchObject({ code: "rate_limited", status: 429, requestId: "r1", retryAfterSeconds: 7 });
  });

  it.each([
    [502, "<html>bad gateway</html>", "offline"],
    [404, "", "not_found"],
    [500, "oops", "internal"],
    [418, "{}", "bad_answer"],
  ])("an answer %s of something in between has a sentence too", async (status, body, code) => {
    answer = (_, response) => {
      response.writeHead(status, { "Content-Type": "text/html" });
      response.end(body);
    };
    expect((await refusalOf(request("GET", "/api/v1/titles"))).code).toBe(code);
  });

  it("no answer in time, no answer at all, and an answer nobody waits for", async () => {
    answer = () => undefined;
    expect((await refusalOf(request("GET", "/slow", { timeoutMs: 100 }))).code).toBe("timeout");
    const abort = new AbortController();
    const left = request("GET", "/left", { signal: abort.signal });
    abort.abort();
    await expect(left).rejects.not.toBeInstanceOf(ApiError);
    answer = (incoming) => incoming.socket.destroy();
    expect((await refusalOf(request("GET", "/broken"))).code).toBe("offline");
  });

  it("plain text, and its refusals", async () => {
    answer = (_, response) => {
      response.writeHead(200, { "Content-Type": "text/plain" });
      response.end("line 1\nline 2\n");
    };
    expect(await requestText("/logs")).toBe("line 1\nline 2\n");
    answer = (_, response) => json(response, 502, refusal("host_unreachable"));
    expect((await refusalOf(requestText("/logs"))).code).toBe("host_unreachable");
  });
});
