// A single `Socket`: how it opens its connection, keeps it, and opens it again. A socket never
// gives up, and never connects in a tight loop.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Socket, type SocketHost } from "../src/socket.js";
import { type FakeSocket, fakeWebSocket } from "./fakes.js";

const URLS = ["ws://one", "ws://two"];

class Host implements SocketHost {
  readonly calls: unknown[] = [];
  readonly sockets: FakeSocket[];
  readonly WebSocket: SocketHost["WebSocket"];
  token: () => Promise<string> = () => Promise.resolve("token");

  constructor() {
    const { WebSocket, sockets } = fakeWebSocket();
    this.WebSocket = WebSocket;
    this.sockets = sockets;
  }

  opened = (token: string) => void this.calls.push(["opened", token]);
  received = (bytes: Uint8Array) => void this.calls.push(["received", ...bytes]);
  closed = (code: number) => void this.calls.push(["closed", code]);
  tokenFailed = (error: unknown) => void this.calls.push(["token", (error as Error).message]);
  failed = (error: unknown) => void this.calls.push(["failed", (error as Error).message]);

  get last(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }
}

let host: Host;
let socket: Socket;

const wait = (ms: number) => vi.advanceTimersByTimeAsync(ms);

/** Waits for the next attempt after a loss. Returns the milliseconds that it took. */
async function untilNext(most: number): Promise<number> {
  const { length } = host.sockets;
  for (let ms = 0; ms <= most; ms += 5) {
    if (host.sockets.length > length) return ms;
    await wait(5);
  }
  throw new Error(`no attempt within ${most} ms`);
}

async function open(): Promise<void> {
  socket.start();
  await wait(0);
  host.last.open();
}

beforeEach(() => {
  vi.useFakeTimers();
  host = new Host();
  socket = new Socket(URLS, "driftless.gateway.v1", host);
});

afterEach(() => {
  socket.stop();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("a connection", () => {
  test("is opened with the subprotocol, as binary, and passes messages on", async () => {
    await open();
    expect(socket.link).toBe("open");
    expect(host.last).toMatchObject({
      url: "ws://one",
      protocols: ["driftless.gateway.v1"],
      binaryType: "arraybuffer",
    });
    host.last.say(Uint8Array.of(1, 2));
    host.last.onmessage?.({ data: "a text" } as never);
    socket.send(Uint8Array.of(3));
    expect(host.calls).toEqual([
      ["opened", "token"],
      ["received", 1, 2],
    ]);
    expect(host.last.sent).toEqual([Uint8Array.of(3)]);
  });

  test("sends nothing into a socket that is not open", async () => {
    socket.send(Uint8Array.of(1));
    socket.start();
    await wait(0);
    socket.send(Uint8Array.of(2));
    expect(host.last.sent).toEqual([]);
  });

  test("takes the next URL at every attempt", async () => {
    await open();
    for (const url of ["ws://two", "ws://one", "ws://two"]) {
      host.last.lose();
      await untilNext(10_000);
      expect(host.last.url).toBe(url);
    }
  });

  test("that does not open within 10 s is dropped, and the next URL is tried", async () => {
    socket.start();
    await wait(9_999);
    expect(host.sockets).toHaveLength(1);
    await wait(1);
    expect(host.calls).toEqual([["closed", 0]]);
    await untilNext(100);
    expect(host.sockets[0]?.closedWith).toBe(1000);
  });
});

describe("back-off", () => {
  test("grows to 10 s, and goes on without end", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    socket.start();
    await wait(0);
    const waits: number[] = [];
    for (let i = 0; i < 10; i++) {
      host.last.lose();
      waits.push(await untilNext(20_000));
    }
    expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
  });

  test("is jittered between half of the wait and all of it", async () => {
    socket.start();
    await wait(0);
    const waits: number[] = [];
    for (const random of [0, 0.5, 1]) {
      vi.spyOn(Math, "random").mockReturnValue(random);
      for (let i = 0; i < 12; i++) {
        host.last.lose();
        waits.push(await untilNext(20_000));
      }
      expect(waits.at(-1)).toBe(5_000 + 5_000 * random);
    }
  });

  test("starts over after a connection of more than 5 s, and not after a shorter one", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    socket.start();
    await wait(0);
    for (let i = 0; i < 5; i++) {
      host.last.open();
      host.last.lose();
      await untilNext(20_000);
    }
    host.last.open();
    await wait(4_000);
    host.last.lose();
    expect(await untilNext(20_000)).toBe(3200);
    host.last.open();
    await wait(5_001);
    host.last.lose();
    expect(await untilNext(20_000)).toBe(100);
  });

  test.each([
    ["the server is shutting down (retry after 850 ms)", 850],
    ["(retry after 0 ms)", 0],
    ["later (retry after 99999999999999999999 ms)", 60_000],
  ])("obeys a server that names the wait: %s", async (reason, ms) => {
    await open();
    host.last.lose(4000, reason);
    await wait(Math.max(ms - 1, 0));
    expect(host.sockets).toHaveLength(ms === 0 ? 2 : 1);
    await wait(1);
    expect(host.sockets).toHaveLength(2);
  });

  test.each(["", "retry after 5000 ms", "(retry after -5000 ms)", "(retry after 5000 ms) or so", "(retry after  ms)"])(
    "ignores a reason that does not end with a well-formed wait: %j",
    async (reason) => {
      await open();
      host.last.lose(4000, reason);
      expect(await untilNext(100)).toBeLessThanOrEqual(100);
    },
  );
});

describe("the token", () => {
  test("is requested at every connect", async () => {
    let count = 0;
    host.token = () => Promise.resolve(`token ${++count}`);
    await open();
    host.last.lose();
    await untilNext(100);
    host.last.open();
    expect(host.calls).toEqual([
      ["opened", "token 1"],
      ["closed", 1006],
      ["opened", "token 2"],
    ]);
  });

  test("whose function fails is requested again with growing waits, and every failure is reported", async () => {
    let count = 0;
    host.token = () => (++count < 4 ? Promise.reject(new Error(`no ${count}`)) : Promise.resolve("at last"));
    socket.start();
    await wait(0);
    expect(host.calls).toEqual([["token", "no 1"]]);
    await wait(10_000);
    expect(host.calls).toEqual([
      ["token", "no 1"],
      ["token", "no 2"],
      ["token", "no 3"],
    ]);
    expect(host.sockets).toHaveLength(1);
  });

  test("that is not a string is a failure of the function", async () => {
    host.token = () => Promise.resolve(undefined as unknown as string);
    socket.start();
    await wait(0);
    expect(host.calls).toEqual([["token", "the token function gave undefined, not a string"]]);
    expect(host.sockets).toHaveLength(0);
  });

  test("that comes after the client has stopped opens nothing", async () => {
    let give: (token: string) => void = () => {};
    host.token = () => new Promise((resolve) => (give = resolve));
    socket.start();
    socket.stop();
    give("late");
    await wait(20_000);
    expect(host.sockets).toHaveLength(0);
    expect(host.calls).toEqual([]);
  });
});

describe("start, stop and restart", () => {
  test("start twice is one connection", async () => {
    socket.start();
    socket.start();
    await wait(0);
    socket.start();
    host.last.open();
    socket.start();
    await wait(20_000);
    expect(host.sockets).toHaveLength(1);
  });

  test("start does not wait for the next attempt", async () => {
    await open();
    host.last.lose(4000, "(retry after 30000 ms)");
    await wait(10);
    socket.start();
    await wait(0);
    expect(host.sockets).toHaveLength(2);
    await wait(60_000);
    expect(host.sockets.filter((made) => made.closedWith === undefined && made.readyState === 0)).toHaveLength(1);
  });

  test("stop drops the connection without a callback, and later messages are ignored", async () => {
    await open();
    socket.stop();
    host.last.say(Uint8Array.of(1));
    host.last.lose(4000);
    await wait(60_000);
    expect(host.last.closedWith).toBe(1000);
    expect(host.calls).toEqual([["opened", "token"]]);
    expect(host.sockets).toHaveLength(1);
    expect(socket.link).toBe("down");
  });

  test("restart connects at once, but waits when it is repeated", async () => {
    vi.spyOn(Math, "random").mockReturnValue(1);
    await open();
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      socket.restart();
      waits.push(await untilNext(20_000));
      host.last.open();
    }
    expect(waits).toEqual([5, 400, 800, 1600]);
    await wait(5_001);
    socket.restart();
    expect(await untilNext(20_000)).toBe(5);
    expect(host.calls.filter((call) => (call as string[])[0] === "closed")).toEqual([]);
  });

  test("restart of a stopped connection does not open it", async () => {
    await open();
    socket.stop();
    socket.restart();
    await wait(60_000);
    expect(host.sockets).toHaveLength(1);
  });

  test("restart while a token is pending makes one connection, with the newer token", async () => {
    const gives: ((token: string) => void)[] = [];
    host.token = () => new Promise((resolve) => gives.push(resolve));
    socket.start();
    await wait(0);
    socket.restart();
    await wait(0);
    gives[0]?.("old");
    gives[1]?.("new");
    await wait(0);
    expect(host.sockets).toHaveLength(1);
    host.last.open();
    expect(host.calls).toEqual([["opened", "new"]]);
  });

  test("a WebSocket class that throws is reported, and tried again", async () => {
    const failing = new Socket(URLS, "p", {
      ...host,
      token: host.token,
      WebSocket: class {
        constructor() {
          throw new SyntaxError("not a URL");
        }
      } as unknown as SocketHost["WebSocket"],
    });
    failing.start();
    await wait(1_000);
    failing.stop();
    expect(host.calls.length).toBeGreaterThan(2);
    expect(host.calls[0]).toEqual(["failed", "not a URL"]);
  });
});
