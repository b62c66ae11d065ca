import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { recallInvite, rememberInvite } from "../src/session/invite-memory";
import { recall, remember } from "../src/storage";

// The service and its event streams. Every test loads the pages anew, as every document does.
class Events {
  isOpen = true;
  addEventListener = vi.fn();
  close(): void {
    this.isOpen = false;
  }
}

const features = { site_name: "", sign_in: "password", must_sign_in: false, bookings: true };
const people = {
  gina: { id: "user:gina", name: "Gina", kind: "user", roles: [], csrf_token: "g", features },
  nobody: { id: "anonymous:1", name: "", kind: "anonymous", roles: [], csrf_token: "n", features },
};
const streams: Events[] = [];
const reload = vi.fn();
let visitor: keyof typeof people;
let answers: Record<string, unknown>;

async function open(path: string): Promise<void> {
  vi.resetModules();
  window.history.replaceState(null, "", path);
  const [{ App }, i18n, { loadMe }] = [
    await import("../src/app"),
    await import("../src/i18n"),
    await import("../src/me"),
  ];
  await i18n.setLanguage("en");
  await loadMe();
  await act(() => render(<App />, document.body));
}

const seen = (testId: string): HTMLElement => {
  const found = document.querySelector<HTMLElement>(`[data-testid="${testId}"]`);
  if (!found) throw new Error(`there is no ${testId}`);
  return found;
};
// Pages are fetched when they are opened, which takes a while on a busy machine.
vi.setConfig({ testTimeout: 30_000 });
const soon = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000 });
const openStreams = (): number => streams.filter(({ isOpen }) => isOpen).length;

beforeEach(() => {
  streams.length = 0;
  reload.mockClear();
  visitor = "gina";
  const availability = { state: "free", free: 1, wait_seconds: null };
  const texts = { display_name: { en: "Secret title" }, description: {}, tags: [], picture_url: null };
  const secret = { name: "secret", ...texts, availability, startable: true, bookable: true };
  const booking = { id: "b", title: "secret", label: "Secret meeting", state: "planned", invitees: [] };
  answers = {
    "/api/v1/titles": { items: [secret] },
    "/api/v1/sessions": { items: [{ id: "s", title: "secret", state: "ready", queue: null, created_at: Date.now() }] },
    "/api/v1/bookings": {
      items: [
        { ...booking, starts_at: Date.now() + 3_600_000, ends_at: Date.now() + 7_200_000, calendar_url: "/b.ics" },
      ],
      calendar_url: "https://portal.example/secret.ics",
    },
  };
  vi.stubGlobal("fetch", async (path: string, { method }: RequestInit) => {
    const { pathname } = new URL(path, window.location.href);
    if (pathname === "/api/v1/sign-out") visitor = "nobody";
    if (pathname === "/api/v1/sign-in") visitor = "gina";
    if (method !== "GET") return new Response(null, { status: 204 });
    const answer = pathname === "/api/v1/me" ? people[visitor] : (answers[pathname] ?? { items: [] });
    return new Response(JSON.stringify(answer));
  });
  vi.stubGlobal(
    "EventSource",
    class extends Events {
      constructor() {
        super();
        streams.push(this);
      }
    },
  );
  vi.spyOn(window.location, "reload").mockImplementation(reload);
});
afterEach(() => {
  render(null, document.body);
  vi.unstubAllGlobals();
  window.history.replaceState(null, "", "/");
  localStorage.clear();
  sessionStorage.clear();
});

describe("signing out", () => {
  it.each([
    ["/", ["resume", "titles", "upcoming"], 1],
    ["/schedule", ["schedule-page", "copy-feed", "booking-b"], 0],
  ])("leaves nothing of the former person on %s", async (path, parts, followed) => {
    await open(path);
    await soon(() => parts.forEach(seen));
    expect(document.body.textContent).toContain("Secret");
    expect(openStreams()).toBe(followed);
    act(() => seen("sign-out").click());
    await soon(() => expect(document.body.textContent).not.toContain("Secret"));
    // Effects of what is gone are undone after the next frame.
    await soon(() => expect(openStreams()).toBe(0));
    expect(reload).toHaveBeenCalledTimes(1);
  });

  it("that is refused leaves everything as it is", async () => {
    await open("/");
    await soon(() => seen("resume"));
    const refused = { error: { code: "internal", message: "m", fix: "f", request_id: "r" } };
    vi.stubGlobal("fetch", async () => new Response(JSON.stringify(refused), { status: 500 }));
    act(() => seen("sign-out").click());
    await soon(() => seen("toast"));
    seen("resume");
    expect(reload).not.toHaveBeenCalled();
  });

  it("forgets the invitations and the name that others saw", async () => {
    rememberInvite("s", "i");
    remember("name", "Gina");
    remember("language", "ru");
    await open("/");
    act(() => seen("sign-out").click());
    await soon(() => expect(reload).toHaveBeenCalled());
    expect([recallInvite("s"), recall("name"), recall("language")]).toEqual([undefined, null, "ru"]);
  });
});

describe("signing in", () => {
  it("begins with a new document, and keeps the invitations", async () => {
    visitor = "nobody";
    rememberInvite("s", "i");
    await open("/");
    act(() => seen("sign-in").click());
    for (const field of ["sign-in-name", "sign-in-password"]) {
      const input = seen(field) as HTMLInputElement;
      input.value = "gina";
      act(() => void input.dispatchEvent(new Event("input")));
    }
    act(() => seen("sign-in-submit").click());
    await soon(() => expect(reload).toHaveBeenCalledTimes(1));
    await soon(() => expect(document.querySelector("[data-testid=sign-in-page]")).toBeNull());
    expect(recallInvite("s")).toBe("i");
  });
});
