// A gateway that sends wrong messages: either the client shows the right cells, or the chunk's
// status says that they are not to be trusted. The client loads a wrong chunk again, at most three
// times a minute. After that the chunk's status is `failed`, with the reason.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Chunk, World } from "../src/index.js";
import { type Message, gridEncoding, rawZstd, serverFrame, setCells } from "./frames.js";
import { CANVAS, Servers, THINGS, hashOf, hex, listen, settle, updates } from "./servers.js";

const ID = "canvas/0/0";
const SIZE = [8, 8, 1] as const;

/** The encoded content at a version: the first `version` cells hold 1, 2, 3, …, the others 0. */
const contentAt = (version: number) => gridEncoding(SIZE, (i) => (i < version ? (i % 15) + 1 : 0));
const hashAt = (version: number) => hashOf(contentAt(version));

/** The update that leads to a version. */
const updateTo = (version: number) =>
  updates(ID, version, hashAt(version), setCells([version - 1, ((version - 1) % 15) + 1]));
const tracked = (version: number) => ({ tracked: { chunkId: ID, version, hash: hashAt(version), ledger: {} } });
const chunkAt = (version: number, changed: Message = {}) => ({
  chunk: {
    chunkId: ID,
    version,
    hash: hashAt(version),
    model: "grid",
    revision: 1,
    data: rawZstd(contentAt(version)),
    ...changed,
  },
});

let servers: Servers;
let world: World;
let chunk: Chunk;
let heard: [string, Message][];

const say = (...events: Message[]) => servers.say("gateway", ...events);

/** Expects the chunk to be live at this version, with the right hash and the right cells. */
function expectLive(version: number): void {
  expect([chunk.status, chunk.version, chunk.hash]).toEqual(["live", version, hex(hashAt(version))]);
  expect([...chunk.grid.cells]).toEqual(Array.from({ length: 64 }, (_, i) => (i < version ? (i % 15) + 1 : 0)));
}

const statuses = () => heard.filter(([type]) => type === "status").map(([, { status }]) => status as string);

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
  servers = new Servers();
  world = await servers.open();
  await settle();
  chunk = world.track(ID);
  heard = listen(chunk, "status", "drift");
  servers.take("track");
});

afterEach(() => {
  world.close();
  vi.useRealTimers();
});

describe("a Chunk that cannot be used is loaded again", () => {
  const flipped = contentAt(3);
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  const wider = gridEncoding([16, 4, 1], (i) => (i < 3 ? i + 1 : 0));
  const offPalette = gridEncoding(SIZE, () => 99);
  const cases: [string, Message, string][] = [
    ["that is not zstd", { data: Uint8Array.of(1, 2, 3) }, "not a zstd frame"],
    ["that is truncated", { data: rawZstd(contentAt(3)).subarray(0, 100) }, "not a zstd frame"],
    ["with a bit flipped", { data: rawZstd(flipped) }, `but should be ${hex(hashAt(3))}`],
    ["of another version's hash", { hash: hashAt(2) }, `but should be ${hex(hashAt(2))}`],
    ["without a hash", { hash: new Uint8Array() }, "a Chunk without a hash"],
    ["with a hash of 31 bytes", { hash: hashAt(3).subarray(1) }, "a Chunk without a hash"],
    [
      "of another size, with the hash of that content",
      { data: rawZstd(wider), hash: hashOf(wider) },
      "bytes are not a grid of (8, 8, 1)",
    ],
    [
      "with values off the palette, and their hash",
      { data: rawZstd(offPalette), hash: hashOf(offPalette) },
      "value 99 is off the palette of 16",
    ],
    ["of an unknown model", { model: "voxels" }, 'it is of model "voxels" revision 1'],
    ["of another model", { model: "map" }, 'it is of model "map" revision 1'],
    ["of a newer revision", { revision: 2 }, 'it is of model "grid" revision 2'],
    [
      "that announces 4 GiB",
      { data: Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xa0, 255, 255, 255, 255, 1, 0, 0) },
      "not a zstd frame of a size that is allowed",
    ],
  ];

  test.each(cases)("%s", (_, changed, why) => {
    say(tracked(3), chunkAt(3, changed));
    expect(chunk.status).toBe("reloading");
    expect(chunk.error).toMatchObject({ name: "ChunkError", code: "reloading" });
    expect(chunk.error?.message).toContain(why);
    expect(chunk.grid.size).toEqual([0, 0, 0]);
    // The new Track names no replica.
    expect(servers.take("track")).toEqual([{ chunkId: ID }]);
    say(tracked(3), chunkAt(3));
    expectLive(3);
    expect(statuses()).toEqual(["reloading", "live"]);
    expect(chunk.error).toBeUndefined();
  });

  test("three times in a minute; after the fourth the chunk fails, and the error has the reason", async () => {
    const pending = chunk.grid.set({ x: 0, y: 0, value: 1 });
    for (let i = 0; i < 4; i++) say(tracked(3), chunkAt(3, { revision: 2 }));
    expect(statuses()).toEqual(["reloading", "failed"]);
    expect(chunk.error).toMatchObject({ name: "ChunkError", code: "failed" });
    expect(chunk.error?.message).toContain("reloaded 3 times within a minute");
    expect(chunk.error?.message).toContain("revision 2");
    await expect(chunk.live()).rejects.toBe(chunk.error);
    expect(chunk.model).toBeUndefined();
    expect((await pending.outcome).kind).toMatch(/unknown|rejected/);
    expect(() => chunk.grid.set({ x: 0, y: 0, value: 1 })).toThrow(
      expect.objectContaining({ code: "not_tracked" }) as Error,
    );
    // The user can track the chunk again.
    servers.take("track");
    expect(world.track(ID)).toBe(chunk);
    expect(servers.take("track")).toHaveLength(1);
    say(tracked(3), chunkAt(3));
    expectLive(3);
    expect(chunk.error).toBeUndefined();
  });

  test("any number of times, if it happens less often", async () => {
    for (let i = 0; i < 10; i++) {
      say(tracked(3), chunkAt(3, { revision: 2 }));
      expect(chunk.status).toBe("reloading");
      servers.say("ingest", { ping: {} });
      for (let s = 0; s < 3; s++) {
        await vi.advanceTimersByTimeAsync(7_001);
        servers.say("ingest", { ping: {} });
        servers.say("gateway", { ping: {} });
      }
    }
    say(tracked(3), chunkAt(3));
    expectLive(3);
  });
});

describe("updates", () => {
  beforeEach(() => {
    say(tracked(3), chunkAt(3));
    expectLive(3);
    heard.length = 0;
  });

  test("with a gap are requested again, and the view shows none of them before the gap is filled", () => {
    say(updateTo(5));
    expectLive(3);
    expect(servers.take("refresh")).toEqual([{ chunkId: ID, version: 3 }]);
    say(updateTo(4), updateTo(5));
    expectLive(5);
  });

  test("that the gateway no longer has are replaced by a Chunk", () => {
    say(updateTo(7));
    say(chunkAt(7));
    expectLive(7);
  });

  test("that came before change nothing", () => {
    say(updateTo(4));
    say(updateTo(4), updateTo(3), updateTo(2));
    expectLive(4);
    expect(heard).toEqual([]);
  });

  test("with a hash that differs from the replica's are drift: an event, a DriftReport, and a reload", () => {
    const wrong = updates(ID, 4, hashAt(9), setCells([3, 4]));
    say(wrong);
    const [[type, drift] = [], status] = heard;
    expect(type).toBe("drift");
    expect(drift).toEqual({ version: 4, expected: hex(hashAt(9)), found: hex(hashAt(4)) });
    expect(status?.[1].status).toBe("reloading");
    expect(servers.take("driftReport")).toEqual([
      { chunkId: ID, version: 4, expectedHash: hashAt(9), foundHash: hashAt(4) },
    ]);
    say(tracked(4), chunkAt(4));
    expectLive(4);
  });

  test("whose effect the model cannot fold are drift", () => {
    say(updates(ID, 4, hashAt(4), Uint8Array.of(255, 255)));
    expect(heard[0]).toEqual([
      "drift",
      { version: expect.any(Number) as number, expected: undefined, found: expect.any(String) as string },
    ]);
    expect(chunk.status).toBe("reloading");
    say(tracked(4), chunkAt(4));
    expectLive(4);
  });

  test("with cells outside of the grid are drift", () => {
    say(updates(ID, 4, hashAt(4), setCells([64, 1])));
    expect(heard[0]?.[0]).toBe("drift");
    expect(chunk.status).toBe("reloading");
  });

  test.each([
    ["without entries", updates(ID, 4, hashAt(4))],
    ["that begin at version 0", updates(ID, 0, hashAt(4), setCells([0, 1]))],
    ["without a hash", updates(ID, 4, new Uint8Array(), setCells([3, 4]))],
  ])("%s: the chunk is loaded again", (_, message) => {
    say(message);
    expect(chunk.status).toBe("reloading");
    expect(servers.take("track")).toHaveLength(1);
    say(tracked(4), chunkAt(4));
    expectLive(4);
  });

  test("of a chunk that is not tracked are ignored", () => {
    say(updates("canvas/7/7", 1, hashAt(1), setCells([0, 1])), updates("no id", 1, hashAt(1), setCells([0, 1])));
    expectLive(3);
    expect(world.chunks).toEqual([chunk]);
  });
});

describe("beacons and Tracked", () => {
  beforeEach(() => {
    say(tracked(3), chunkAt(3));
    heard.length = 0;
  });

  test("with the same hash verify the chunk, with an event", () => {
    const verified = listen(chunk, "verified");
    say({ beacons: { beacons: [{ chunkId: ID, version: 3, hash: hashAt(3) }] } });
    expect(verified).toEqual([["verified", { version: 3, hash: hex(hashAt(3)) }]]);
    expect(chunk.verifiedAt).toBeGreaterThanOrEqual(0);
  });

  test("with another hash are drift, and the chunk heals", () => {
    expect(chunk.corrupt()).toBe(true);
    expect([...chunk.grid.cells]).not.toEqual(Array.from({ length: 64 }, (_, i) => (i < 3 ? i + 1 : 0)));
    say({ beacons: { beacons: [{ chunkId: ID, version: 3, hash: hashAt(3) }] } });
    expect(heard.map(([type]) => type)).toEqual(["drift", "status"]);
    expect(heard[0]?.[1]).toMatchObject({ version: 3, expected: hex(hashAt(3)) });
    expect(chunk.status).toBe("reloading");
    say(tracked(3), chunkAt(3));
    expectLive(3);
  });

  test("a replica that drifted unnoticed is found by the next update", () => {
    chunk.corrupt();
    say(updateTo(4));
    expect(chunk.status).toBe("reloading");
    say(tracked(4), chunkAt(4));
    expectLive(4);
  });

  test("of a newer version make the client request the missing updates", () => {
    say({ beacons: { beacons: [{ chunkId: ID, version: 5, hash: hashAt(5) }] } });
    expect(servers.take("refresh")).toEqual([{ chunkId: ID, version: 3 }]);
    say(updateTo(4), updateTo(5));
    expectLive(5);
  });

  test("a Tracked without a hash makes the client load the chunk again", () => {
    say({ lagging: { chunkId: ID } });
    expect(chunk.status).toBe("lagging");
    say({ tracked: { chunkId: ID, version: 3, hash: new Uint8Array(), ledger: {} } });
    expect(chunk.status).toBe("reloading");
  });

  test("R12: a chunk that is unavailable keeps its replica, says why, and is tracked again", async () => {
    servers.take("track");
    const live = chunk.live();
    say({ trackRejected: { chunkId: ID, code: 7, message: "partition 3" } });
    expect([chunk.status, chunk.error?.code, chunk.version]).toEqual(["unavailable", "unavailable", 3]);
    expect(chunk.error?.message).toContain("partition 3");
    const again = chunk.live();
    await vi.advanceTimersByTimeAsync(1000);
    await settle();
    expect(servers.take("track")).toEqual([{ chunkId: ID, have: { version: 3, hash: hashAt(3) } }]);
    say(tracked(3));
    await Promise.all([live, again]);
    expectLive(3);
  });

  test("R12: an older state does not replace a healthy one", () => {
    say(updateTo(4), chunkAt(2));
    expectLive(4);
  });
});

describe("a family that this client cannot show", () => {
  const announce = async (...families: Message[]) => {
    world.close();
    servers = new Servers();
    servers.families = families;
    world = await servers.open();
    await settle();
    chunk = world.track(ID);
  };

  test.each<[string, Message, string]>([
    ["of an unknown model", { ...CANVAS, model: "voxels" }, "this client has no model"],
    ["of a newer revision", { ...CANVAS, modelRevision: 2 }, "upgrade the older one"],
    ["of parameters that are not JSON", { ...CANVAS, parameters: "size=8" }, "JSON object"],
    ["of parameters that the model refuses", { ...CANVAS, parameters: '{"size":[0,0],"palette":16}' }, ""],
  ])("%s: its chunks fail with an error that says what to do; other families work", async (_, family, message) => {
    await announce(family, THINGS);
    expect(chunk.status).toBe("failed");
    expect(chunk.error).toMatchObject({ name: "ChunkError", code: "failed" });
    expect(chunk.error?.message).toContain(message);
    expect(() => chunk.grid.set({ x: 0, y: 0, value: 1 })).toThrow(
      expect.objectContaining({ name: "UsageError" }) as Error,
    );
    const other = world.track("things/0/0");
    const empty = Uint8Array.from([..."DLM1"].map((c) => c.charCodeAt(0)).concat(0, 0, 0, 0));
    say({ tracked: { chunkId: "things/0/0", version: 0, hash: hashOf(empty), ledger: {} } });
    expect(other.status).toBe("live");
    expect(world.status).toBe("online");
  });
});

describe("malformed frames", () => {
  const bad: [string, Uint8Array][] = [
    ["bytes that are not protobuf", Uint8Array.of(255, 255, 255, 255)],
    ["a truncated frame", serverFrame(tracked(3)).subarray(0, 20)],
    ["Updates that are not protobuf, in a good frame", serverFrame({ updates: Uint8Array.of(255, 255) })],
  ];
  test.each(bad)("%s: an error event, and a new connection that keeps the replica", async (_, bytes) => {
    say(tracked(3), chunkAt(3));
    const errors = listen(world, "error", "status");
    servers.socket("gateway").say(bytes);
    expect(errors.map(([type, event]) => [type, event.code ?? event.status])).toEqual([
      ["status", "connecting"],
      ["error", "undecodable"],
    ]);
    expect(errors[1]?.[1]).toMatchObject({ name: "ConnectionError" });
    expect(chunk.status).toBe("lagging");
    servers.take("track");
    await vi.advanceTimersByTimeAsync(0);
    await settle();
    expect(world.status).toBe("online");
    expect(servers.take("track")).toEqual([{ chunkId: ID, have: { version: 3, hash: hashAt(3) } }]);
    say(tracked(3));
    expectLive(3);
  });

  test("events and members that a newer protocol may add are ignored", () => {
    // Event 100 of a ServerFrame, which this protocol does not have.
    servers.socket("gateway").say(Uint8Array.of(0x0a, 4, 0xa2, 6, 1, 0));
    say(tracked(3), chunkAt(3));
    expectLive(3);
    expect(world.status).toBe("online");
  });

  test("events that only the other server sends are ignored", () => {
    servers.say("ingest", tracked(3), chunkAt(3));
    expect(chunk.status).toBe("loading");
    say({ receipt: { chunkId: ID, seq: 1 } }, { rejected: { chunkId: ID, seq: 1, code: 5, retry: 1 } });
    expect(chunk.status).toBe("loading");
  });

  test("a server that is silent for 25 s is disconnected, with an error event", async () => {
    say(tracked(3), chunkAt(3));
    const errors = listen(world, "error");
    await vi.advanceTimersByTimeAsync(24_000);
    expect(errors).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(errors.map(([, { code }]) => code as string).sort()).toEqual(["dead", "dead"]);
    await settle();
    expect(world.status).toBe("online");
  });
});
