// The SDK against a real ingest, replayer and gateway, in one `driftless dev`.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Chunk, Outcome, World } from "../src/index.js";
import { decode } from "./frames.js";
import { BINARY, Stack, eventually, soon } from "./stack.js";

describe.skipIf(!BINARY)("against a real stack", () => {
  const stack = new Stack();
  let next = 0;

  beforeAll(() => stack.start());
  afterAll(() => stack.end());

  /** The id of a canvas chunk that no other test uses. */
  const canvas = () => `canvas/${++next}/-7`;
  const live = (world: World, id: string) => soon(`${id} to be live`, world.track(id).live());
  const outcome = (pending: { outcome: Promise<Outcome> }) => soon("an outcome", pending.outcome);

  /** Waits until all replicas have this version, with equal hashes. */
  async function converge(version: number, ...chunks: Chunk[]): Promise<void> {
    await eventually(
      `all to be at version ${version}, they are at ${chunks.map((chunk) => chunk.version).join(", ")}`,
      () => chunks.every((chunk) => chunk.version === version && chunk.hash === chunks[0]?.hash),
    );
  }

  test("two clients converge: the same version, hash and cells, and nothing pending", async () => {
    const id = canvas();
    const [ann, bob] = [await stack.user("ann"), await stack.user("bob")];
    const [a, b] = [await live(ann, id), await live(bob, id)];
    expect(a.version).toBe(0);
    const pendings = Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).grid.set({ x: i, y: i, value: i + 1 }));
    const outcomes = await Promise.all(pendings.map(outcome));
    expect(
      outcomes.map((one) => one.kind === "committed" && one.version).sort((x, y) => Number(x) - Number(y)),
    ).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    await converge(40, a, b);
    expect([...a.grid.cells]).toEqual([...b.grid.cells]);
    for (let i = 0; i < 40; i++) expect([a.grid.get(i, i), b.grid.isPending(i, i)]).toEqual([i + 1, false]);
    expect(a.grid.size).toEqual([128, 128, 1]);
    expect([ann.pending, bob.pending]).toEqual([0, 0]);
    const http = await fetch(`${stack.ready.http}/v1/chunks/${id}`, {
      headers: { authorization: `Bearer ${stack.token("http")}` },
    });
    expect(http.headers.get("etag")).toContain(a.hash);
    ann.close();
    bob.close();
  });

  describe("outcomes", () => {
    test("committed, with its version and its number in the log", async () => {
      const chunk = await live(await stack.user("ann"), canvas());
      const pending = chunk.grid.fill({ x: 2, y: 3, width: 4, height: 5, value: 6 });
      expect(await outcome(pending)).toEqual({ kind: "committed", version: 1 });
      expect(pending.number).toEqual({ writer: expect.stringMatching(/^[0-9a-f]{32}$/) as string, seq: 1 });
      expect(pending.endedAt).toBeGreaterThan(pending.submittedAt);
      expect([...chunk.grid.cells].filter((cell) => cell === 6)).toHaveLength(20);
    });

    test("discarded by a guard: the view shows the old cells again", async () => {
      const chunk = await live(await stack.user("ann"), canvas());
      const rollback = chunk.once("rollback");
      const pending = chunk.grid.set([
        { x: 0, y: 0, value: 7 },
        { x: 1, y: 0, value: 8, guard: 9 },
      ]);
      expect(await outcome(pending)).toMatchObject({ kind: "discarded", reason: "conflict" });
      expect((await soon("a rollback", rollback)).pending).toBe(pending);
      expect([chunk.grid.get(0, 0), chunk.version]).toEqual([0, 0]);
      expect(pending.undo()).toEqual([]);
    });

    test("rejected without write access, without blocking later commands", async () => {
      const world = await stack.user("reader", { read: ["canvas/"], write: ["things/"] });
      const [chunk, things] = [await live(world, canvas()), await live(world, `things/${next}/0`)];
      const pending = chunk.grid.set({ x: 0, y: 0, value: 7 });
      expect(chunk.grid.get(0, 0)).toBe(7);
      expect(await outcome(pending)).toMatchObject({ kind: "rejected", code: "no_write_access" });
      expect(chunk.grid.get(0, 0)).toBe(0);
      expect(await outcome(things.map.put("a", "b"))).toEqual({ kind: "committed", version: 1 });
    });

    test("withdrawn: cancelled before it was sent, by cancel() and by a signal", async () => {
      const world = await stack.user("ann");
      const chunk = await live(world, canvas());
      world.goOffline();
      const controller = new AbortController();
      const pendings = [
        chunk.grid.set({ x: 0, y: 0, value: 1 }),
        chunk.grid.set({ x: 1, y: 0, value: 1 }, { signal: controller.signal }),
      ];
      pendings[0]?.cancel();
      controller.abort();
      expect(await Promise.all(pendings.map(outcome))).toEqual([{ kind: "withdrawn" }, { kind: "withdrawn" }]);
      world.goOnline();
      expect(await outcome(chunk.grid.set({ x: 2, y: 0, value: 1 }))).toEqual({ kind: "committed", version: 1 });
    });

    test("a chunk without read access is rejected with the reason", async () => {
      const world = await stack.user("stranger", { write: ["things/"] });
      await expect(live(world, canvas())).rejects.toMatchObject({ name: "ChunkError", code: "no_read_access" });
      await expect(live(world, "nowhere/0/0")).rejects.toMatchObject({ code: "unknown_family" });
      await expect(live(world, "canvas/999999/0")).rejects.toMatchObject({ name: "ChunkError" });
    });
  });

  test("a map: values, guards and deletion", async () => {
    const id = `things/${++next}/1`;
    const [a, b] = [await live(await stack.user("ann"), id), await live(await stack.user("bob"), id)];
    const keys = b.once("change");
    const put = a.map.put("sign", "hello", { guard: "absent" });
    expect([a.map.text("sign"), a.map.isPending("sign")]).toEqual(["hello", true]);
    expect(await outcome(put)).toEqual({ kind: "committed", version: 1 });
    expect(await soon("a change", keys)).toEqual({ version: 1, keys: ["sign"] });
    expect(await outcome(b.map.put("sign", "mine", { guard: "absent" }))).toMatchObject({
      kind: "discarded",
      reason: "conflict",
    });
    expect(await outcome(b.map.put("sign", Uint8Array.of(1, 2, 255), { guard: { holds: "hello" } }))).toEqual({
      kind: "committed",
      version: 2,
    });
    await converge(2, a, b);
    expect(a.map.get("sign")).toEqual(Uint8Array.of(1, 2, 255));
    expect(await outcome(a.map.delete("sign", { guard: { holds: "hello" } }))).toMatchObject({ kind: "discarded" });
    expect(await outcome(a.map.delete("sign", { guard: { holds: Uint8Array.of(1, 2, 255) } }))).toEqual({
      kind: "committed",
      version: 3,
    });
    await converge(3, a, b);
    expect([a.map.keys(), b.map.keys()]).toEqual([[], []]);
  });

  test("edits made offline are committed after the reconnect, in order, after the edits of others", async () => {
    const id = canvas();
    const [ann, bob] = [await stack.user("ann"), await stack.user("bob")];
    const [a, b] = [await live(ann, id), await live(bob, id)];
    ann.goOffline();
    const pendings = Array.from({ length: 80 }, (_, i) => a.grid.set({ x: 0, y: 0, value: i + 1, guard: i }));
    const late = a.grid.set({ x: 1, y: 0, value: 1, guard: 0 });
    expect(a.grid.get(0, 0)).toBe(80);
    await outcome(b.grid.set({ x: 1, y: 0, value: 5 }));
    ann.goOnline();
    const outcomes = await Promise.all(pendings.map(outcome));
    expect(outcomes.map((one) => one.kind)).toEqual(new Array(80).fill("committed"));
    expect(await outcome(late)).toMatchObject({ kind: "discarded", reason: "conflict" });
    await converge(81, a, b);
    expect([b.grid.get(0, 0), b.grid.get(1, 0)]).toEqual([80, 5]);
  });

  test("a client that joins after 1,200 edits gets a compressed Chunk and the updates after it", async () => {
    const id = canvas();
    const ann = await stack.user("ann");
    const a = await live(ann, id);
    const pendings = Array.from({ length: 1200 }, (_, i) =>
      a.grid.fill({
        x: (i * 37) % 120,
        y: (i * 11) % 120,
        width: 1 + (i % 8),
        height: 1 + (i % 5),
        value: 1 + (i % 200),
      }),
    );
    await Promise.all(pendings.map(outcome));
    await converge(1200, a);
    let chunks = 0;
    class Watching extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        this.on("message", (data: ArrayBuffer) => {
          const { events = [] } = decode("ServerFrame", new Uint8Array(data));
          chunks += (events as object[]).filter((event) => "chunk" in event).length;
        });
      }
    }
    const late = await live(await stack.open(stack.token("late"), { WebSocket: Watching }), id);
    await converge(1200, a, late);
    expect([...late.grid.cells]).toEqual([...a.grid.cells]);
    expect(chunks).toBeGreaterThan(0);
  });

  describe("drift is found and healed", () => {
    test("at the next update", async () => {
      const id = canvas();
      const [a, b] = [await live(await stack.user("ann"), id), await live(await stack.user("bob"), id)];
      await outcome(a.grid.set({ x: 0, y: 0, value: 3 }));
      await converge(1, a, b);
      const drift = b.once("drift");
      expect(b.corrupt()).toBe(true);
      await outcome(a.grid.set({ x: 1, y: 0, value: 4 }));
      expect(await soon("drift", drift)).toMatchObject({ version: 2 });
      await soon("the chunk to heal", b.live());
      await converge(2, a, b);
      expect([...a.grid.cells]).toEqual([...b.grid.cells]);
    });

    test("at the next beacon, without any edit", async () => {
      const chunk = await live(await stack.user("ann"), canvas());
      await outcome(chunk.grid.set({ x: 0, y: 0, value: 3 }));
      const { hash } = chunk;
      const [drift, verified] = [chunk.once("drift"), chunk.once("verified")];
      chunk.corrupt();
      expect(await soon("drift", drift)).toMatchObject({ version: 1, expected: hash });
      expect(chunk.status).toBe("reloading");
      await soon("the chunk to heal", chunk.live());
      expect([chunk.hash, chunk.grid.get(0, 0)]).toEqual([hash, 3]);
      await soon("a beacon", verified);
    });
  });

  describe("undo", () => {
    test("takes a commit back once, and keeps later edits of others", async () => {
      const id = canvas();
      const [a, b] = [await live(await stack.user("ann"), id), await live(await stack.user("bob"), id)];
      const painted = a.grid.fill({ x: 0, y: 0, width: 3, height: 1, value: 9 });
      await outcome(painted);
      await converge(1, a, b);
      const undo = painted.undo();
      expect(undo).not.toHaveLength(0);
      expect(a.grid.get(0, 0)).toBe(0);
      for (const one of await Promise.all(undo.map(outcome))) expect(one.kind).toBe("committed");
      await converge(2, a, b);
      expect([...b.grid.cells.subarray(0, 3)]).toEqual([0, 0, 0]);
      expect(painted.undo()).toEqual([]);

      const again = a.grid.set({ x: 0, y: 0, value: 9 });
      await outcome(again);
      await converge(3, a, b);
      await outcome(b.grid.set({ x: 0, y: 0, value: 4 }));
      await converge(4, a, b);
      const outcomes = await Promise.all(again.undo().map(outcome));
      expect(outcomes.map((one) => one.kind)).toEqual(["discarded"]);
      expect(a.grid.get(0, 0)).toBe(4);
    });

    test("of an uncommitted command does nothing", async () => {
      const chunk = await live(await stack.user("ann"), canvas());
      const pending = chunk.grid.set({ x: 0, y: 0, value: 9 });
      expect(pending.undo()).toEqual([]);
      await outcome(pending);
    });
  });

  describe("tokens", () => {
    /** A WebSocket class that counts its instances. */
    function counting(): { WebSocket: unknown; count: () => number } {
      let count = 0;
      class Counted extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols);
          count += 1;
        }
      }
      return { WebSocket: Counted, count: () => count };
    }

    test.concurrent("are renewed by the function, on the same connections", async () => {
      const { WebSocket, count } = counting();
      let asked = 0;
      const world = await stack.open(
        async () => {
          asked += 1;
          return stack.token("renewing", { seconds: 4 });
        },
        { WebSocket },
      );
      const chunk = await live(world, canvas());
      const begun = Date.now();
      await eventually("three renewals", () => asked >= 5);
      expect(Date.now() - begun).toBeGreaterThan(4_000);
      expect(await outcome(chunk.grid.set({ x: 0, y: 0, value: 1 }))).toEqual({ kind: "committed", version: 1 });
      expect([count(), world.status]).toEqual([2, "online"]);
      world.close();
    });

    test.concurrent("that are fixed end the world when they expire, with an error that names the token", async () => {
      const world = await stack.open(stack.token("fixed", { seconds: 2 }));
      const chunk = await live(world, canvas());
      const closed = await soon("the end", world.once("close"), 30_000);
      expect(closed).toMatchObject({ name: "ClosedError", code: "refused" });
      expect(closed.message).toContain("token");
      expect(() => chunk.grid.set({ x: 0, y: 0, value: 1 })).toThrow(closed.constructor as never);
    });

    test("that are wrong end the world: a fixed one at once, those of a function after more calls", async () => {
      const fixed = await stack.open("not a token");
      await expect(soon("the end", fixed.online())).rejects.toMatchObject({ code: "refused" });
      let asked = 0;
      const world = await stack.open(() => `not token ${++asked}`);
      await expect(soon("the end", world.online())).rejects.toMatchObject({ code: "refused" });
      expect(asked).toBeGreaterThan(2);
    });

    test("whose function fails at first are reported, and then the world goes online", async () => {
      const good = stack.token("ann");
      let asked = 0;
      const world = await stack.open(() => {
        asked += 1;
        if (asked <= 3) throw new Error(`no ${asked}`);
        return good;
      });
      const errors: string[] = [];
      world.on("error", ({ code, message }) => errors.push(`${code}: ${message}`));
      await soon("the world to be online", world.online());
      expect(errors).toContain("token: no token now: no 3");
      expect(await outcome((await live(world, canvas())).grid.set({ x: 0, y: 0, value: 1 }))).toMatchObject({
        kind: "committed",
      });
    });
  });

  test("signals and asynchronous iterators end together", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const id = canvas();
    const world = await stack.user("ann");
    const chunk = await live(world, id);
    const other = await live(await stack.user("bob"), id);
    const versions: number[] = [];
    const reading = (async () => {
      for await (const { version, rects } of chunk.events("change", { signal })) {
        expect(rects?.length).toBeGreaterThan(0);
        versions.push(version);
        if (version === 3) controller.abort();
      }
    })();
    for (let i = 1; i <= 3; i++) await outcome(other.grid.set({ x: i, y: 0, value: i }));
    await soon("the loop to end", reading);
    expect(versions).toEqual([1, 2, 3]);
    await expect(chunk.once("change", { signal })).rejects.toBe(signal.reason);
    expect(() => chunk.grid.set({ x: 0, y: 0, value: 1 }, { signal })).toThrow();
    expect(chunk.version).toBe(3);
  });

  // Must be the last test, because it breaks every connection of the stack.
  test("a server that is killed and started again on its data loses nothing, and clients recover by themselves", async () => {
    const id = canvas();
    const [ann, bob] = [await stack.user("ann"), await stack.user("bob")];
    const [a, b] = [await live(ann, id), await live(bob, id)];
    await outcome(a.grid.set({ x: 0, y: 0, value: 1 }));
    await converge(1, a, b);
    const burst = Array.from({ length: 30 }, (_, i) => a.grid.set({ x: 1 + i, y: 0, value: i + 1 }));
    await stack.kill();
    await eventually("the loss to be seen", () => ann.status === "connecting" && bob.status === "connecting");
    const offline = b.grid.set({ x: 0, y: 1, value: 7 });
    await stack.start();
    const outcomes = await Promise.all([...burst, offline].map(outcome));
    expect(outcomes.map((one) => one.kind)).toEqual(new Array(31).fill("committed"));
    await converge(32, a, b);
    expect(Array.from({ length: 31 }, (_, i) => b.grid.get(i, 0))).toEqual([
      1,
      ...Array.from({ length: 30 }, (_, i) => i + 1),
    ]);
    expect([a.grid.get(0, 1), ann.status, bob.status]).toEqual([7, "online", "online"]);
    // A client that joins later sees the same.
    const late = await live(await stack.user("late"), id);
    await converge(32, a, b, late);
  });
});
