import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type WebSocket as ServerSocket, WebSocketServer } from "ws";
import { ApiError } from "../src/api/client";
import type { JoinReply } from "../src/api/types";
import { RoomClient, type RoomOver, type RoomStatus } from "../src/player/room-client";
import type { FromRelay } from "../src/player/room-types";
import { Ticket } from "../src/player/ticket";

// A real socket server on this machine; only the relay's answers are written by the test.

let http: Server;
let server: WebSocketServer;
let client: RoomClient | undefined;
const hellos: Record<string, unknown>[] = [];
let onHello: (socket: ServerSocket) => void;
const seen = { statuses: [] as RoomStatus[], over: [] as RoomOver[], messages: [] as FromRelay[] };

beforeEach(async () => {
  hellos.length = 0;
  seen.statuses = [];
  seen.over = [];
  seen.messages = [];
  http = createServer();
  server = new WebSocketServer({ server: http });
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      const message = JSON.parse(String(data)) as Record<string, unknown>;
      if (message["type"] !== "hello") return;
      hellos.push(message);
      onHello(socket);
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  client?.stop();
  for (const socket of server.clients) socket.terminate();
  await new Promise((resolve) => http.close(resolve));
});

function reply(token: string): JoinReply {
  const { port } = http.address() as AddressInfo;
  return {
    role: "owner",
    participant: "ann",
    token,
    expires_at: 0,
    player_url: `ws://127.0.0.1:${port}/player`,
    room_url: `ws://127.0.0.1:${port}/room`,
    ice_servers: [],
  };
}

const welcome = (resume: string): string => JSON.stringify({ type: "welcome", version: 1, you: "ann", resume });

function start(refresh: () => Promise<JoinReply>, name?: string): RoomClient {
  client = new RoomClient(
    new Ticket(reply("first"), refresh),
    {
      onMessage: (message) => seen.messages.push(message),
      onStatus: (status) => seen.statuses.push(status),
      onOver: (over) => seen.over.push(over),
    },
    name,
  );
  client.start();
  return client;
}

const refuse = (code: "session_ended" | "kicked" | "offline") => async (): Promise<JoinReply> => {
  throw new ApiError(code, code);
};

describe("room client", () => {
  it("says hello with the token in the first message, never in the address", async () => {
    let address = "";
    server.on("connection", (_, request) => {
      address = request.url ?? "";
    });
    onHello = (socket) => socket.send(welcome("r1"));
    start(refuse("offline"), "Ann");
    await vi.waitFor(() => expect(seen.statuses).toEqual(["connecting", "open"]));
    expect(hellos).toEqual([{ type: "hello", version: 1, token: "first", name: "Ann" }]);
    expect(address).toBe("/room");
  });

  it("sends nothing before the welcome", async () => {
    let socket: ServerSocket | undefined;
    onHello = (each) => {
      socket = each;
    };
    const room = start(refuse("offline"));
    await vi.waitFor(() => expect(socket).toBeDefined());
    expect(room.send({ type: "activity" })).toBe(false);
    socket?.send(welcome("r1"));
    await vi.waitFor(() => expect(room.send({ type: "activity" })).toBe(true));
  });

  it("comes back with the same identity and asks for a token when the last one is old", async () => {
    let count = 0;
    onHello = (socket) => {
      socket.send(welcome(`r${++count}`));
      if (count === 1) setTimeout(() => socket.terminate(), 10);
    };
    const room = start(async () => reply("second"));
    (room as unknown as { ticket: Ticket }).ticket.invalidate();
    await vi.waitFor(() => expect(hellos).toHaveLength(2), { timeout: 5000 });
    await vi.waitFor(() => expect(seen.statuses.at(-1)).toBe("open"));
    expect(hellos[1]).toEqual({ type: "hello", version: 1, token: "second", resume: "r1" });
    expect(seen.over).toEqual([]);
  });

  it.each([
    [1001, undefined, { kind: "gone" }],
    [4000, undefined, { kind: "superseded" }],
    [4001, undefined, { kind: "kicked" }],
  ])("close code %s is final", async (code, _, over) => {
    onHello = (socket) => socket.close(code);
    start(refuse("offline"));
    await vi.waitFor(() => expect(seen.over).toEqual([over]));
  });

  it("a full session is final and says which refusal it was", async () => {
    onHello = (socket) => {
      socket.send(JSON.stringify({ type: "error", code: "session_locked", message: "locked", fix: "ask" }));
      socket.close(1013);
    };
    start(refuse("offline"));
    await vi.waitFor(() => expect(seen.over).toHaveLength(1));
    const [over] = seen.over;
    expect(over?.kind === "refused" && over.error.code).toBe("session_locked");
  });

  it("a refused token is replaced at once", async () => {
    onHello = (socket) => {
      if (hellos.length === 1) {
        socket.send(JSON.stringify({ type: "error", code: "token_expired", message: "old", fix: "again" }));
        socket.close(1008);
      } else {
        socket.send(welcome("r1"));
      }
    };
    start(async () => reply("fresh"));
    await vi.waitFor(() => expect(hellos.map((hello) => hello["token"])).toEqual(["first", "fresh"]), {
      timeout: 5000,
    });
    expect(seen.over).toEqual([]);
  });

  it("the end is told with its reason, once", async () => {
    onHello = (socket) => {
      socket.send(welcome("r1"));
      socket.send(JSON.stringify({ type: "ended", reason: "idle", message: "Nobody was active." }));
      socket.close(1001);
    };
    start(refuse("offline"));
    await vi.waitFor(() =>
      expect(seen.over).toEqual([{ kind: "ended", reason: "idle", message: "Nobody was active." }]),
    );
  });

  it("a night's sleep is not ten minutes of trying", async () => {
    let isAway = true;
    onHello = (socket) => {
      socket.send(welcome("r1"));
      if (hellos.length === 1) socket.terminate();
    };
    const refresh = vi.fn(async () => {
      if (isAway) throw new ApiError("offline", "offline");
      return reply("fresh");
    });
    const room = start(refresh);
    (room as unknown as { ticket: Ticket }).ticket.invalidate();
    await vi.waitFor(() => expect(refresh).toHaveBeenCalledTimes(1), { timeout: 5000 });
    // The machine wakes up, and its network takes a little longer than the page.
    const now = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => now() + 8 * 3600_000);
    await vi.waitFor(() => expect(refresh).toHaveBeenCalledTimes(2), { timeout: 10_000 });
    isAway = false;
    await vi.waitFor(() => expect(seen.statuses.at(-1)).toBe("open"), { timeout: 10_000 });
    expect(seen.over).toEqual([]);
  }, 30_000);

  it("when the service says that the session is over, it stops trying", async () => {
    onHello = (socket) => {
      socket.send(welcome("r1"));
      socket.terminate();
    };
    const room = start(refuse("session_ended"));
    (room as unknown as { ticket: Ticket }).ticket.invalidate();
    await vi.waitFor(() => expect(seen.over).toEqual([{ kind: "gone" }]), { timeout: 5000 });
  });
});

describe("ticket", () => {
  it("one request serves everybody who asks at the same time", async () => {
    const fetch = vi.fn(async () => reply("second"));
    const ticket = new Ticket(reply("first"), fetch);
    ticket.invalidate();
    const [a, b] = await Promise.all([ticket.refresh(), ticket.refresh()]);
    expect(a).toBe(b);
    expect((await ticket.refresh()).token).toBe("second");
    expect(fetch).toHaveBeenCalledTimes(1);
  });

  it("puts the token into the player's address, whatever the address looks like", () => {
    const ticket = new Ticket({ ...reply("a+b/c"), player_url: "wss://h/p" }, refuse("offline"));
    expect(ticket.playerUrl()).toBe("wss://h/p?token=a%2Bb%2Fc");
    const other = new Ticket({ ...reply("t"), player_url: "wss://h/p?x=1" }, refuse("offline"));
    expect(other.playerUrl()).toBe("wss://h/p?x=1&token=t");
  });
});
