// The client's reaction to each close code of schemas/src/close.rs: it connects again by itself, or
// it ends with the reason.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ConnectSettings, World } from "../src/index.js";
import { type Message, fileOf } from "./frames.js";
import { Servers, listen, settle } from "./servers.js";

type Behaviour =
  /** Connects again with the same session. */
  | "again"
  /** Connects again without a session. */
  | "new session"
  /** Connects again with a new token if there is a token function, and ends otherwise. */
  | "new token"
  /** Ends. */
  | "end";

const TABLE: [code: number, name: string, behaviour: Behaviour][] = [
  [4000, "SHUTTING_DOWN", "again"],
  [4001, "WRITE_TIMEOUT", "again"],
  [4002, "BEHIND", "again"],
  [4003, "DEAD_PEER", "again"],
  [4004, "INTERNAL", "again"],
  [4005, "OVERLOADED", "again"],
  [4006, "TOO_MANY", "again"],
  [4500, "FRAME_UNTRUSTED", "end"],
  [4501, "UPGRADE_NEEDED", "end"],
  [4502, "TOKEN", "new token"],
  [4503, "NO_HELLO", "again"],
  [4504, "SESSION", "new session"],
  [4505, "HISTORY", "end"],
];

/**
 * Close codes that Driftless's servers do not send, or do not send yet. The client reacts to these
 * by the range of the code.
 */
const OTHERS: [code: number, name: string, behaviour: Behaviour][] = [
  [1000, "a normal end", "again"],
  [1001, "going away", "again"],
  [1006, "no close frame", "again"],
  [1011, "an error of the server", "again"],
  [3000, "an application's", "again"],
  [4499, "a future code that allows a reconnect", "again"],
  [4999, "a future code that forbids it", "end"],
];

let servers: Servers;
let world: World;
let heard: [string, Message][];

async function open(settings: Partial<ConnectSettings> = {}): Promise<void> {
  servers = new Servers();
  world = await servers.open(settings);
  heard = listen(world, "status", "error", "close");
  await settle();
  expect(world.status).toBe("online");
  servers.take("hello");
  heard.length = 0;
}

const wait = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
};

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] }));
afterEach(() => {
  world?.close();
  vi.useRealTimers();
});

test("the table has every code of close.rs, in order", () => {
  const source = fileOf("schemas/src/close.rs").toString();
  const codes = [...source.matchAll(/pub const ([A-Z_]+): u16 = (\d+);/g)].map(([, name, code]) => [
    Number(code),
    name,
  ]);
  expect(TABLE.map(([code, name]) => [code, name])).toEqual(codes);
});

describe.each(["ingest", "gateway"] as const)("%s closes with", (server) => {
  const with_ = (behaviour: Behaviour) => [...TABLE, ...OTHERS].filter(([, , of]) => of === behaviour);

  test.each(with_("again"))("%d, %s: the client connects again, with its session", async (code) => {
    await open();
    servers.socket(server).lose(code);
    expect(world.status).toBe("connecting");
    await wait(150);
    expect(world.status).toBe("online");
    expect(servers.take("hello")).toEqual([expect.objectContaining({ token: "token", session: servers.session })]);
    expect(heard.map(([type, { status }]) => [type, status as string])).toEqual([
      ["status", "connecting"],
      ["status", "online"],
    ]);
  });

  test.each(with_("end"))("%d, %s: the client ends, with the reason", async (code, name) => {
    await open();
    const chunk = world.track("canvas/0/0");
    const pending = chunk.submit(Uint8Array.of(1));
    servers.socket(server).lose(code, "the reason of the server");
    expect(world.status).toBe("closed");
    const close = heard.find(([type]) => type === "close")?.[1];
    expect(close).toMatchObject({ name: "ClosedError", code: "refused" });
    expect(close?.message).toContain(String(code));
    expect(close?.message).toContain("the reason of the server");
    if (code !== 4999) expect(close?.message).toContain(name.toLowerCase());
    // The chunk was never served, so the client never sent the command.
    expect(await pending.outcome).toMatchObject({ kind: "rejected", code: "unspecified" });
    await expect(chunk.live()).rejects.toMatchObject({ name: "ChunkError" });
    await expect(world.online()).rejects.toBe(close);
    expect(() => world.track("canvas/1/1")).toThrow(close as unknown as Error);
    await wait(60_000);
    expect(servers.take("hello")).toEqual([]);
    expect(servers.sockets.every(({ readyState }) => readyState === 3)).toBe(true);
  });

  test("4502, TOKEN, with a fixed token: the client ends", async () => {
    await open();
    servers.socket(server).lose(4502);
    expect(world.status).toBe("closed");
    expect(heard.find(([type]) => type === "close")?.[1].message).toContain("token");
    await wait(60_000);
    expect(servers.take("hello")).toEqual([]);
  });

  test("4502, TOKEN, with a function: the client connects again with the next token", async () => {
    let count = 0;
    await open({ token: () => `token ${++count}` });
    servers.socket(server).lose(4502);
    await wait(150);
    expect(world.status).toBe("online");
    expect(servers.take("hello")).toEqual([expect.objectContaining({ token: "token 3", session: servers.session })]);
  });

  test("4502, TOKEN, repeatedly: the client ends at the fourth refusal in a row", async () => {
    await open({ token: () => "always the same" });
    servers.isMute = true;
    for (let i = 1; i <= 4; i++) {
      expect(world.status).not.toBe("closed");
      servers.socket(server).lose(4502);
      await wait(2_000);
    }
    expect(world.status).toBe("closed");
    expect(servers.take("hello")).toHaveLength(3);
  });

  test("4504, SESSION: the client opens both connections again, without a session", async () => {
    await open();
    servers.newSession();
    servers.socket(server).lose(4504);
    await wait(300);
    expect(world.status).toBe("online");
    const [first, second, ...more] = servers.take("hello");
    expect(more).toEqual([]);
    expect(first?.session ?? new Uint8Array()).toHaveLength(0);
    expect(second?.session).toEqual(servers.session);
  });

  test("a reason with a wait: the client connects after that wait", async () => {
    await open();
    servers.socket(server).lose(4005, "too many at once (retry after 2500 ms)");
    await wait(2_499);
    expect(servers.take("hello")).toEqual([]);
    await wait(1);
    expect(servers.take("hello")).toHaveLength(1);
    expect(world.status).toBe("online");
  });
});
