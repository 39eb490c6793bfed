// The life of a world: offline and back, tracking and untracking, tokens, and the end. The test
// plays the servers.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Chunk, Outcome, World } from "../src/index.js";
import { type Message, encode, gridEncoding, rawZstd, setCells } from "./frames.js";
import { Servers, hashOf, listen, settle, updates } from "./servers.js";

const ID = "canvas/0/0";
const content = (...cells: number[]) => gridEncoding([8, 8, 1], (i) => cells[i] ?? 0);

let servers: Servers;
let world: World;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
  servers = new Servers();
  world = await servers.open();
  await settle();
});

afterEach(() => {
  world.close();
  vi.useRealTimers();
});

const wait = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
};

function live(id = ID): Chunk {
  const chunk = world.track(id);
  const state = { chunkId: id, version: 1, hash: hashOf(content(5)) };
  servers.say(
    "gateway",
    { tracked: { ...state, ledger: {} } },
    { chunk: { ...state, model: "grid", revision: 1, data: rawZstd(content(5)) } },
  );
  expect(chunk.status).toBe("live");
  return chunk;
}

/** The update that commits the client's own command as version 2. */
const commit = (seq: number, effect: Uint8Array, ...cells: number[]) => {
  const { updates: message } = updates(ID, 2, hashOf(content(...cells)), effect) as { updates: Message };
  return { updates: { ...message, entries: [{ writer: servers.writer, seq, effect }] } };
};

describe("an own edit", () => {
  test("is shown at once and marked as pending; the change event names just that cell; then it is committed", async () => {
    const chunk = live();
    const heard = listen(chunk, "change", "outcome", "rollback");
    const pending = chunk.grid.set({ x: 2, y: 1, value: 7 });
    expect([chunk.grid.get(2, 1), chunk.grid.isPending(2, 1), chunk.grid.isPending(0, 0), world.pending]).toEqual([
      7,
      true,
      false,
      1,
    ]);
    const rect = { x: 2, y: 1, z: 0, width: 1, height: 1, depth: 1 };
    expect(heard).toEqual([["change", { version: 1, rects: [rect] }]]);
    const [submit] = servers.take("submit");
    expect(submit).toEqual({ chunkId: ID, seq: 1, command: setCells([10, 7]) });
    servers.say("gateway", commit(1, setCells([10, 7]), 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7));
    const outcome: Outcome = { kind: "committed", version: 2 };
    expect(await pending.outcome).toEqual(outcome);
    expect(pending.number).toEqual({ writer: Buffer.from(servers.writer).toString("hex"), seq: 1 });
    expect(heard.slice(1)).toEqual([
      ["outcome", { pending, outcome }],
      ["change", { version: 2, rects: [rect] }],
    ]);
    expect([chunk.grid.isPending(2, 1), chunk.pending, world.pending]).toEqual([false, [], 0]);
  });

  test("that is discarded leaves the view, with a rollback event", async () => {
    const chunk = live();
    const heard = listen(chunk, "rollback");
    const pending = chunk.grid.set({ x: 0, y: 0, value: 7, guard: 5 });
    servers.say("gateway", {
      outcomes: { chunkId: ID, outcomes: [{ seq: 1, discarded: { reason: 1, detail: "cell 0 is 6" } }] },
    });
    const outcome = { kind: "discarded", reason: "conflict", detail: "cell 0 is 6" };
    expect(await pending.outcome).toEqual(outcome);
    expect(heard).toEqual([["rollback", { pending, outcome }]]);
    expect(chunk.grid.get(0, 0)).toBe(5);
  });

  test("that is cancelled before it is sent is withdrawn at once, by cancel() and by a signal", async () => {
    const chunk = live();
    world.goOffline();
    const controller = new AbortController();
    const pendings = [
      chunk.grid.set({ x: 0, y: 0, value: 1 }),
      chunk.grid.set({ x: 1, y: 0, value: 2 }, { signal: controller.signal }),
    ];
    expect([...chunk.grid.cells.subarray(0, 2)]).toEqual([1, 2]);
    pendings[0]?.cancel();
    controller.abort();
    expect([...chunk.grid.cells.subarray(0, 2)]).toEqual([5, 0]);
    expect(await Promise.all(pendings.map(({ outcome }) => outcome))).toEqual([
      { kind: "withdrawn" },
      { kind: "withdrawn" },
    ]);
    expect(() => chunk.grid.set({ x: 0, y: 0, value: 1 }, { signal: controller.signal })).toThrow();
    expect(world.pending).toBe(0);
  });

  test.each<[string, unknown, string]>([
    ["a value off the palette", { set: [{ x: 0, y: 0, value: 16 }] }, "invalid_command"],
    ["a cell outside", { set: [{ x: 8, y: 0, value: 1 }] }, "invalid_command"],
    ["a command of another model", { put: { key: "a", text: "b" } }, "invalid_command"],
    ["17 KiB", new Uint8Array(17 * 1024), "too_large"],
  ])("that is wrong (%s) is refused by submit, and nothing has happened", (_, command, code) => {
    const chunk = live();
    expect(() => chunk.submit(command as object)).toThrow(
      expect.objectContaining({ name: "UsageError", code }) as Error,
    );
    expect([chunk.pending, world.pending, world.status]).toEqual([[], 0, "online"]);
  });

  test("may be made by a listener, and its event comes in order", () => {
    const chunk = live();
    const versions: number[] = [];
    chunk.on("change", () => {
      versions.push(chunk.grid.get(0, 0) ?? -1);
      if (versions.length < 4) chunk.grid.set({ x: 0, y: 0, value: versions.length });
    });
    chunk.grid.set({ x: 0, y: 0, value: 9 });
    expect(versions).toEqual([9, 1, 2, 3]);
    expect(chunk.pending).toHaveLength(4);
  });
});

describe("offline", () => {
  test("edits wait in the view, and are sent when both servers are back", async () => {
    const chunk = live();
    const heard = listen(world, "status");
    world.goOffline();
    expect([world.status, chunk.status]).toEqual(["offline", "lagging"]);
    chunk.grid.set({ x: 1, y: 0, value: 3 });
    await wait(60_000);
    expect(servers.take("submit")).toEqual([]);
    world.goOnline();
    await wait(0);
    expect(servers.take("track").at(-1)).toEqual({ chunkId: ID, have: { version: 1, hash: hashOf(content(5)) } });
    expect(servers.take("submit")).toEqual([{ chunkId: ID, seq: 1, command: setCells([1, 3]) }]);
    expect(heard.map(([, { status }]) => status as string)).toEqual(["offline", "connecting", "online"]);
  });

  test("goOnline of a world that is online changes nothing", async () => {
    const heard = listen(world, "status");
    world.goOnline();
    await wait(1_000);
    expect([world.status, heard, servers.sockets.length]).toEqual(["online", [], 2]);
    await world.online();
  });

  test("reconnect replaces one connection, at once", async () => {
    const chunk = live();
    world.reconnect("gateway");
    expect([world.status, chunk.status]).toEqual(["connecting", "lagging"]);
    await wait(0);
    expect([world.status, servers.sockets.length]).toEqual(["online", 3]);
    world.goOffline();
    world.reconnect("gateway");
    await wait(1_000);
    expect(servers.sockets).toHaveLength(3);
  });
});

describe("another history", () => {
  const hex = (byte: string) => byte.repeat(16);
  const id = (byte: number) => new Uint8Array(16).fill(byte);
  const tracked = (more: Message) => ({
    tracked: { chunkId: ID, version: 0, hash: hashOf(content()), ledger: {}, ...more },
  });

  test("is told once; commands in flight end as unknown with that reason; the view is that of the new content", async () => {
    const chunk = live();
    const heard = listen(chunk, "history", "outcome");
    const sent = chunk.grid.set({ x: 0, y: 0, value: 7 });
    servers.take("submit");
    servers.say("gateway", tracked({ history: id(2) }));
    const outcome = (await sent.outcome) as Outcome & { kind: "unknown" };
    expect(outcome).toEqual({ kind: "unknown", detail: expect.stringContaining("the history changed") as string });
    const message = expect.stringContaining("part of the log was lost") as string;
    const change = { world: undefined, history: hex("02"), message };
    expect(heard).toEqual([
      ["history", change],
      ["outcome", { pending: sent, outcome }],
    ]);
    expect([chunk.status, chunk.version, chunk.grid.get(0, 0)]).toEqual(["live", 0, 0]);
    servers.say("gateway", tracked({ history: id(2) }));
    expect(heard).toHaveLength(2);
    chunk.grid.set({ x: 1, y: 0, value: 3 });
    expect(servers.take("submit")).toEqual([{ chunkId: ID, seq: 2, command: setCells([1, 3]) }]);
  });

  test("in another world: edits made offline wait for it, and are sent when the gateway serves the chunk", async () => {
    servers.welcome = { worldId: id(10) };
    world.reconnect("ingest");
    world.reconnect("gateway");
    await wait(0);
    const chunk = live();
    const heard = listen(chunk, "history", "status");
    world.goOffline();
    const unsent = chunk.grid.set({ x: 1, y: 0, value: 3 });
    servers.welcome = { worldId: id(11) };
    world.goOnline();
    await wait(0);
    expect(servers.take("track").at(-1)).toEqual({ chunkId: ID });
    expect([servers.take("submit"), chunk.version]).toEqual([[], 0]);
    servers.say("gateway", tracked({}));
    expect(servers.take("submit")).toEqual([{ chunkId: ID, seq: 1, command: setCells([1, 3]) }]);
    expect([chunk.grid.get(0, 0), chunk.grid.get(1, 0), unsent.ended]).toEqual([0, 3, undefined]);
    const message = expect.stringContaining("another world") as string;
    expect(heard.map(([type, event]) => (type === "status" ? (event.status as string) : event))).toEqual([
      "lagging",
      { world: hex("0b"), history: undefined, message },
      "loading",
      "live",
    ]);
  });

  test("an ingest of another world than the gateway gets no commands, and the problem is reported", async () => {
    servers.welcome = { worldId: id(10) };
    world.reconnect("gateway");
    await wait(0);
    const chunk = live();
    const problems = listen(world, "error");
    servers.welcome = { worldId: id(11) };
    world.reconnect("ingest");
    await wait(0);
    chunk.grid.set({ x: 1, y: 0, value: 3 });
    expect(servers.take("submit")).toEqual([]);
    expect(problems[0]?.[1]).toMatchObject({ name: "ConnectionError", code: "world" });
    servers.welcome = { worldId: id(10) };
    await wait(10_000);
    expect(servers.take("submit")[0]).toEqual({ chunkId: ID, seq: 1, command: setCells([1, 3]) });
  });
});

describe("tracking", () => {
  test("an id has one object, another id has another one, and a malformed id is an error", () => {
    expect(world.track(ID)).toBe(world.track(ID));
    expect(world.track("canvas/0/1")).not.toBe(world.track(ID));
    for (const id of ["", "canvas", "canvas/x/0", "canvas/00/0", "/0/0", "canvas/0/0/"]) {
      expect(() => world.track(id), id).toThrow(
        expect.objectContaining({ name: "UsageError", code: "chunk_id" }) as Error,
      );
    }
  });

  test("an untracked chunk leaves at once, and every wait for it is rejected", async () => {
    const chunk = world.track(ID);
    const waiting = chunk.live();
    const reading = chunk.events("change").next();
    chunk.untrack();
    await expect(waiting).rejects.toMatchObject({ name: "UsageError", code: "not_tracked" });
    expect((await reading).done).toBe(true);
    expect(servers.take("untrack")).toEqual([{ chunkId: ID }]);
    expect(world.chunks).toEqual([]);
    await expect(chunk.live()).rejects.toMatchObject({ code: "not_tracked" });
    expect(() => chunk.submit(Uint8Array.of(1))).toThrow(expect.objectContaining({ code: "not_tracked" }) as Error);
    const again = world.track(ID);
    expect(again).not.toBe(chunk);
    expect(servers.take("track")).toHaveLength(2);
  });

  test("an untracked chunk stays until its last own command has its outcome", async () => {
    const chunk = live();
    const pending = chunk.grid.set({ x: 0, y: 0, value: 1 });
    chunk.untrack();
    expect(servers.take("untrack")).toEqual([]);
    servers.say("gateway", commit(1, setCells([0, 1]), 1));
    expect(await pending.outcome).toEqual({ kind: "committed", version: 2 });
    expect(servers.take("untrack")).toEqual([{ chunkId: ID }]);
    expect(world.chunks).toEqual([]);
  });

  test("a chunk that is tracked again while it is leaving stays", async () => {
    const chunk = live();
    const pending = chunk.grid.set({ x: 0, y: 0, value: 1 });
    chunk.untrack();
    expect(world.track(ID)).toBe(chunk);
    servers.say("gateway", commit(1, setCells([0, 1]), 1));
    await pending.outcome;
    expect(world.chunks).toEqual([chunk]);
    expect(servers.take("untrack")).toEqual([]);
    expect(chunk.grid.set({ x: 0, y: 0, value: 2 }).ended).toBeUndefined();
  });

  test("a signal untracks the chunk", () => {
    const controller = new AbortController();
    world.track(ID, { signal: controller.signal });
    controller.abort();
    expect(world.chunks).toEqual([]);
    expect(() => world.track(ID, { signal: controller.signal })).toThrow();
  });

  test("live() rejects with the signal's reason, and resolves at once for a live chunk", async () => {
    const controller = new AbortController();
    const waiting = world.track(ID).live({ signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    expect(await live().live()).toBe(world.track(ID));
  });
});

describe("tokens", () => {
  async function openWith(token: () => string | Promise<string>, seconds = 3600): Promise<[string, Message][]> {
    world.close();
    servers = new Servers();
    servers.welcome = { tokenExpiresAt: Math.floor(Date.now() / 1000) + seconds };
    world = await servers.open({ token });
    const heard = listen(world, "error", "status");
    await wait(0);
    return heard;
  }

  /** Lets time pass while both servers send a Pong every 5 s. */
  async function live(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i += 5) {
      await wait(5_000);
      for (const server of ["ingest", "gateway"] as const) servers.say(server, { pong: {} });
    }
  }

  test("are renewed a minute before they expire, on both connections, without a new connection", async () => {
    let count = 0;
    await openWith(() => `token ${++count}`, 300);
    await live(235);
    expect(servers.take("renew")).toEqual([]);
    await live(10);
    expect(servers.take("renew")).toEqual([{ token: "token 3" }, { token: "token 3" }]);
    expect(servers.sockets).toHaveLength(2);
  });

  test("a function that throws at the renewal is reported, and called again", async () => {
    let count = 0;
    const heard = await openWith(() => {
      count += 1;
      if (count === 3) throw new Error("the login service is away");
      return `token ${count}`;
    }, 300);
    await live(260);
    const errors = heard.filter(([type]) => type === "error").map(([, error]) => error);
    expect(errors).toEqual([
      expect.objectContaining({
        name: "ConnectionError",
        code: "token",
        message: "no token now: the login service is away",
      }),
    ]);
    expect(errors[0]?.cause).toMatchObject({ message: "the login service is away" });
    expect(servers.take("renew")).toEqual([{ token: "token 4" }, { token: "token 4" }]);
  });

  test("a function that never resolves is given up after 10 s, reported, and called again", async () => {
    let count = 0;
    const heard = await openWith(() => (++count <= 2 ? new Promise<string>(() => {}) : "at last"));
    expect(servers.sockets).toEqual([]);
    await wait(9_999);
    expect(heard).toEqual([]);
    await wait(200);
    const codes = heard
      .filter(([type]) => type === "error")
      .map(([, { code, message }]) => [code, message] as [string, string]);
    expect(codes).toEqual([
      ["token", "no token now: the token function gave none within 10 s"],
      ["token", "no token now: the token function gave none within 10 s"],
    ]);
    await wait(200);
    expect(world.status).toBe("online");
    expect(servers.take("hello").map(({ token }) => token as string)).toEqual(["at last", "at last"]);
  });

  test("a server that refuses a Renew is reported, and the old token stays", async () => {
    const heard = await openWith(() => "token", 300);
    servers.say("gateway", { refused: { code: 5, message: "another user" } });
    expect(heard.at(-1)).toEqual([
      "error",
      expect.objectContaining({ code: "refused_request", message: "gateway refused a request: token: another user" }),
    ]);
    expect(world.status).toBe("online");
  });
});

describe("close", () => {
  test("ends every command, every wait and every loop exactly once", async () => {
    const chunk = live();
    const heard = listen(world, "status", "close");
    const sent = chunk.grid.set({ x: 0, y: 0, value: 1 });
    world.goOffline();
    const waiting = chunk.grid.set({ x: 1, y: 0, value: 1 });
    const loop = world.events("status");
    const change = chunk.once("change");
    const online = world.online();
    world.close();
    world.close();
    expect(await sent.outcome).toMatchObject({ kind: "unknown" });
    expect(await waiting.outcome).toEqual({ kind: "withdrawn" });
    await expect(online).rejects.toMatchObject({ name: "ClosedError", code: "closed" });
    expect(await change).toMatchObject({ version: 0 });
    const read: string[] = [];
    for await (const { status } of loop) read.push(status);
    expect(read).toEqual(["closed"]);
    await expect(chunk.once("change")).rejects.toMatchObject({ name: "ClosedError" });
    await expect(world.once("status")).rejects.toMatchObject({ name: "ClosedError" });
    expect(heard.map(([type]) => type)).toEqual(["status", "status", "close"]);
    expect(() => world.track(ID)).toThrow(expect.objectContaining({ name: "ClosedError" }) as Error);
    world.goOnline();
    world.goOffline();
    world.reconnect("ingest");
    await wait(60_000);
    expect([world.status, servers.sockets.length]).toEqual(["closed", 2]);
  });

  test("by a signal", async () => {
    const controller = new AbortController();
    world.close();
    world = await servers.open({ signal: controller.signal });
    controller.abort();
    expect(world.status).toBe("closed");
  });
});

test("traffic counts the bytes of the frames received and sent", () => {
  const before = world.traffic;
  servers.say("gateway", { ping: { nonce: 1 } });
  const ping = encode("ServerFrame", { events: [{ ping: { nonce: 1 } }] }).length;
  expect(world.traffic.received - before.received).toBe(ping);
  expect(world.traffic.sent - before.sent).toBe(servers.socket("gateway").sent.at(-1)?.length);
});
