// The golden bytes of format 1, read by the same WebAssembly core that browsers load. Servers will
// write this format for ever.

import { afterEach, describe, expect, test } from "vitest";
import { Chunk, type World } from "../src/index.js";
import { type Message, decode, encode, fileOf, golden, rawZstd, serverFrame } from "./frames.js";
import { Servers, hashOf, hex, listen, settle } from "./servers.js";

const wire = (name: string) => golden(`schemas/golden/1/${name}.hex`);

let servers: Servers;
let world: World;

afterEach(() => world?.close());

describe("frames", () => {
  /** Opens a world whose servers send the golden bytes of `Welcome`, and nothing else. */
  async function openGolden(): Promise<[string, Message][]> {
    servers = new Servers();
    servers.isMute = true;
    world = await servers.open();
    const heard = listen(world, "welcome", "error", "status");
    await settle();
    servers.socket("ingest").say(wire("server_frame.welcome"));
    servers.socket("gateway").say(wire("server_frame.welcome"));
    return heard;
  }

  test("Welcome", async () => {
    const heard = await openGolden();
    const welcome = { world: "dev", tokenExpiresAt: new Date("2025-11-23T13:13:20Z") };
    expect(heard).toEqual([
      ["welcome", { server: "ingest", ...welcome }],
      ["welcome", { server: "gateway", ...welcome }],
      ["status", { status: "online" }],
    ]);
    expect(world.families).toEqual([
      {
        name: "canvas",
        model: "grid",
        revision: 1,
        parameters: { palette: 256, size: [128, 128, 1] },
        coordinates: 2,
        min: -1024,
        max: 1024,
      },
    ]);
    expect(world.colors("canvas")).toHaveLength(256);
    expect(world.colors("canvas")[0]).toMatch(/^#[0-9a-f]{6}$/);
    expect(world.colors("unknown")).toEqual([]);
  });

  test("Track and Pong are sent with the golden bytes", async () => {
    await openGolden();
    const { sent } = servers.socket("gateway");
    world.track("canvas/0/-1");
    expect(sent.at(-1)).toEqual(wire("client_frame.track_anew"));
    servers.socket("gateway").say(wire("server_frame.ping"));
    expect(sent.at(-1)).toEqual(wire("client_frame.pong"));
  });

  test("TrackRejected", async () => {
    await openGolden();
    const chunk = world.track("canvas/0/-1");
    servers.socket("gateway").say(wire("server_frame.track_rejected"));
    expect(chunk.status).toBe("rejected");
    expect(chunk.error).toMatchObject({ name: "ChunkError", code: "no_read_access" });
    await expect(chunk.live()).rejects.toThrow("canvas/0/-1: your token reads things/");
  });

  test("Refused", async () => {
    const heard = await openGolden();
    servers.socket("gateway").say(wire("server_frame.refused"));
    expect(heard.at(-1)?.[0]).toBe("error");
    expect(heard.at(-1)?.[1]).toMatchObject({
      name: "ConnectionError",
      code: "refused_request",
      message: expect.stringContaining("say Hello first") as string,
    });
  });

  test("a Chunk with truncated data is not shown, and requested again", async () => {
    await openGolden();
    const chunk = world.track("canvas/0/-1");
    servers.socket("gateway").say(wire("server_frame.tracked"));
    servers.take("track");
    servers.socket("gateway").say(wire("server_frame.chunk"));
    expect(chunk.status).toBe("reloading");
    expect(chunk.grid.size).toEqual([0, 0, 0]);
    expect(servers.take("track")).toEqual([{ chunkId: "canvas/0/-1" }]);
  });

  test("all events in one frame", async () => {
    await openGolden();
    const chunk = world.track("canvas/0/-1");
    servers.socket("gateway").say(wire("server_frame"));
    servers.socket("ingest").say(wire("server_frame"));
    expect(world.status).toBe("online");
    expect(chunk.status).toBe("rejected");
  });
});

describe("contents", () => {
  async function show(id: string, family: Message, encoding: Uint8Array): Promise<Chunk> {
    servers = new Servers();
    servers.families = [
      { ...family, name: id.split("/")[0], modelRevision: 1, coordinates: 1, coordinateMin: 0, coordinateMax: 9 },
    ];
    world = await servers.open();
    await settle();
    const chunk = world.track(id);
    const state = { chunkId: id, version: 5, hash: hashOf(encoding) };
    servers.say(
      "gateway",
      { tracked: { ...state, ledger: {} } },
      { chunk: { ...state, model: family.model, revision: 1, data: rawZstd(encoding) } },
    );
    expect(chunk.status).toBe("live");
    expect(chunk.version).toBe(5);
    expect(chunk.hash).toBe(hex(hashOf(encoding)));
    expect(chunk.encoding).toEqual(encoding);
    return chunk;
  }

  test("of a grid: 4 × 3 × 2 cells, x fastest", async () => {
    const encoding = golden("chunk/golden/1/grid.cells.hex");
    const { grid } = await show(
      "blocks/1",
      { model: "grid", parameters: '{"size":[4,3,2],"palette":65536}' },
      encoding,
    );
    const cells = new DataView(encoding.buffer, 12);
    expect(grid.size).toEqual([4, 3, 2]);
    expect([...grid.cells]).toEqual(Array.from({ length: 24 }, (_, i) => cells.getUint16(2 * i, true)));
    for (const [x, y, z] of [
      [0, 0, 0],
      [3, 0, 0],
      [0, 2, 0],
      [3, 2, 1],
    ] as const) {
      expect(grid.get(x, y, z)).toBe(cells.getUint16(2 * (x + 4 * (y + 3 * z)), true));
    }
    for (const [x, y, z] of [
      [4, 0, 0],
      [-1, 0, 0],
      [0, 3, 0],
      [0, 0, 2],
      [0.5, 0, 0],
      [Number.NaN, 0, 0],
    ] as const) {
      expect(grid.get(x, y, z)).toBeUndefined();
    }
    expect([...grid.pending]).toEqual(new Array(24).fill(0));
  });

  test("of a map: keys in the order of their bytes", async () => {
    const encoding = golden("chunk/golden/1/map.entries.hex");
    const parameters = '{"entries_max":64,"value_bytes_max":1024,"bytes_max":65536}';
    const { map, model } = await show("notes/1", { model: "map", parameters }, encoding);
    expect(model).toBe("map");
    expect(map.keys()).toEqual(["a", "ab", "b", "é"]);
    expect(map.text("a")).toBe("new");
    expect(map.get("ab")).toEqual(new Uint8Array());
    expect(map.get("b")).toEqual(Uint8Array.of(0, 255));
    expect(map.text("é")).toBe("last: keys are sorted by their bytes");
    expect(map.get("c")).toBeUndefined();
    expect([map.has("ab"), map.has("c"), map.isPending("a")]).toEqual([true, false, false]);
  });
});

describe("the golden log", () => {
  const expected = JSON.parse(fileOf("chunk/golden/1/expected.json").toString()) as {
    chunks: Record<string, { version: number; hash: string }>;
    world: { family: { name: string; model: string; coordinates: number; bounds: number; parameters: object }[] };
    records: { fences: number; valid: number; invalid: number };
  };

  /** The committed updates of the records that are valid by R4, oldest first. */
  function read(): { updates: Uint8Array; decoded: Message }[] {
    const file = fileOf("chunk/golden/1/updates.log");
    const log: { updates: Uint8Array; decoded: Message }[] = [];
    const count = { fences: 0, valid: 0, invalid: 0 };
    let [epoch, n] = [0, 0];
    for (let at = file.indexOf("\n") + 1; at < file.length;) {
      const end = at + 4 + file.readUInt32LE(at);
      const record = decode("UpdatesRecord", file.subarray(at + 4, end));
      at = end;
      const [ofEpoch, ofN] = [record.epoch ?? 0, record.n ?? 0];
      if (record.fence && ofEpoch > epoch && ofN === 0) {
        [epoch, n] = [ofEpoch, 0];
        count.fences += 1;
      } else if (!record.fence && ofEpoch === epoch && ofN === n + 1) {
        n = ofN;
        count.valid += 1;
        const updates = record.decisions?.updates as Uint8Array | undefined;
        if (updates?.length) log.push({ updates, decoded: decode("Updates", updates) });
      } else count.invalid += 1;
    }
    expect(count).toEqual(expected.records);
    return log;
  }

  async function openGoldenWorld(): Promise<void> {
    servers = new Servers();
    servers.families = expected.world.family.map(({ bounds, parameters, ...family }) => ({
      ...family,
      modelRevision: 1,
      parameters: JSON.stringify(parameters),
      coordinateMin: -bounds,
      coordinateMax: bounds,
    }));
    world = await servers.open();
    await settle();
  }

  const log = read();

  test.each(Object.entries(expected.chunks))(
    "%s folds to the expected version and hash",
    async (id, { version, hash }) => {
      await openGoldenWorld();
      const chunk = world.track(id);
      const heard = listen(chunk, "drift", "status");
      servers.say("gateway", { tracked: { chunkId: id, version, hash: Buffer.from(hash, "hex"), ledger: {} } });
      for (const { updates, decoded } of log) {
        if (decoded.chunkId !== id) continue;
        // The wire carries the same bytes as the log.
        servers.say("gateway", { updates });
        expect(chunk.version).toBe(decoded.firstVersion + decoded.entries.length - 1);
        expect(chunk.hash).toBe(hex(decoded.stateHash));
      }
      expect([chunk.version, chunk.hash, chunk.status]).toEqual([version, hash, "live"]);
      expect(heard).toEqual([["status", { status: "live", error: undefined }]]);
      const content = chunk.encoding as Uint8Array;
      if (chunk.model === "grid") expect(chunk.grid.cells).toEqual(new Uint16Array(content.slice(12).buffer));
      else expect(chunk.map.keys()).toHaveLength(content[4] ?? 0);
    },
  );

  test("a snapshot from the middle and all updates, sent twice, give the same state", async () => {
    const id = "canvas/0/-1";
    const { version, hash } = expected.chunks[id] as { version: number; hash: string };
    const mine = log.filter(({ decoded }) => decoded.chunkId === id);
    const middle = mine[Math.floor(mine.length / 2)]?.decoded as Message;
    const at = middle.firstVersion + middle.entries.length - 1;
    await openGoldenWorld();
    const first = world.track(id);
    servers.say("gateway", { tracked: { chunkId: id, version: at, hash: middle.stateHash, ledger: {} } });
    for (const { updates, decoded } of mine) if (decoded.firstVersion <= at) servers.say("gateway", { updates });
    const encoding = first.encoding as Uint8Array;
    world.close();

    await openGoldenWorld();
    const chunk = world.track(id);
    const frame = [
      { tracked: { chunkId: id, version, hash: Buffer.from(hash, "hex"), ledger: {} } },
      {
        chunk: {
          chunkId: id,
          version: at,
          hash: middle.stateHash,
          model: "grid",
          revision: 1,
          data: rawZstd(encoding),
        },
      },
      ...mine.map(({ updates }) => ({ updates })),
      ...mine.map(({ updates }) => ({ updates })),
    ];
    servers.socket("gateway").say(serverFrame(...frame));
    expect([chunk.version, chunk.hash, chunk.status]).toEqual([version, hash, "live"]);
  });
});

test("the test's own encoder writes the golden bytes", () => {
  const tracked = { chunkId: "canvas/0/-1", version: 300, hash: Uint8Array.from({ length: 32 }, (_, i) => i) };
  const committedBits = "9223372036854775813";
  expect(serverFrame({ tracked: { ...tracked, ledger: { seq: 130, committedBits } } })).toEqual(
    wire("server_frame.tracked"),
  );
  expect(encode("ClientFrame", { requests: [{ track: { chunkId: "canvas/0/-1" } }] })).toEqual(
    wire("client_frame.track_anew"),
  );
});
