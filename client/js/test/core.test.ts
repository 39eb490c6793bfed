// Tests how the core is loaded, and what a failing core causes: the world ends with the reason, and
// nothing else breaks.

import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type CoreModule, load, loadFrom } from "../src/core.js";
import type { World } from "../src/index.js";
import { gridEncoding, rawZstd } from "./frames.js";
import { Servers, hashOf, listen, settle } from "./servers.js";

const folder = new URL("../core/", import.meta.url);
const module = (await import("../core/driftless_core.js")) as unknown as CoreModule;

let world: World | undefined;

afterEach(() => {
  world?.close();
  world = undefined;
  vi.useRealTimers();
});

describe("loading", () => {
  test("happens once in a page", async () => {
    expect(await load()).toBe(await load());
  });

  test("takes the SIMD build if the platform has SIMD, and the plain build otherwise", async () => {
    const read: string[] = [];
    vi.resetModules();
    vi.doMock("node:fs/promises", () => ({
      readFile: (url: URL) => (read.push(url.pathname.split("/").at(-1) ?? ""), Promise.resolve(readFileSync(url))),
    }));
    const validate = vi.spyOn(WebAssembly, "validate");
    for (const has of [true, false]) {
      vi.resetModules();
      validate.mockReturnValueOnce(has);
      const { Core } = await ((await import("../src/core.js")) as typeof import("../src/core.js")).load();
      // Both builds give the published BLAKE3 hash of no bytes.
      expect(Core.hash(new Uint8Array())).toBe("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
    vi.doUnmock("node:fs/promises");
    validate.mockRestore();
    expect(read).toEqual(["driftless_core_simd.wasm", "driftless_core.wasm"]);
  });

  test("detects SIMD on this platform", async () => {
    const validate = vi.spyOn(WebAssembly, "validate");
    vi.resetModules();
    await ((await import("../src/core.js")) as typeof import("../src/core.js")).load();
    expect(validate.mock.results.map(({ value }) => value as boolean)).toEqual([true]);
    validate.mockRestore();
  });

  const file = new URL("driftless_core.wasm", folder);
  test.each<[string, () => unknown]>([
    ["a file's URL", () => file],
    ["its bytes", () => readFileSync(file)],
    ["a compiled module", () => new WebAssembly.Module(readFileSync(file))],
  ])("takes %s", async (_, input) => {
    const { Core } = await loadFrom(module, input());
    expect(Core.hash(new Uint8Array())).toHaveLength(64);
  });

  test("fails with the reason if the file is missing or is not WebAssembly", async () => {
    await expect(loadFrom(module, new URL("nothing.wasm", folder))).rejects.toThrow("ENOENT");
    vi.resetModules();
    const fresh = (await import(`${folder.href}driftless_core.js?fresh`)) as unknown as CoreModule;
    await expect(loadFrom(fresh, Uint8Array.of(1, 2, 3))).rejects.toThrow(/WebAssembly|magic/i);
  });
});

describe("wrong settings are refused", () => {
  test.each<[string, object, RegExp]>([
    ["no ingest", { ingest: [] }, /ingest: no URL/],
    ["no gateway", { gateway: [] }, /gateway: no URL/],
    ["a negative number of commands", { pendingMax: -1 }, /pending_max/],
    ["half a commit to undo", { undoMax: 0.5 }, /undo_max/],
    ["no WebSocket on a platform without one", { WebSocket: undefined }, /package `ws`/],
  ])("%s", async (_, settings, message) => {
    vi.stubGlobal("WebSocket", undefined);
    const opening = new Servers().open(settings);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toMatchObject({ name: "UsageError", code: "settings" });
    vi.unstubAllGlobals();
  });

  test("a signal that has already fired opens no connection", async () => {
    const servers = new Servers();
    await expect(servers.open({ signal: AbortSignal.abort(new Error("not now")) })).rejects.toThrow("not now");
    expect(servers.sockets).toEqual([]);
  });
});

describe("a core that fails", () => {
  /** Opens a world. After `fail`, the core's `method` throws as a WebAssembly trap does. */
  async function openFailing(method: string): Promise<{ servers: Servers; fail: () => void }> {
    const { Core } = await load();
    let isBroken = false;
    class Failing extends Core {}
    const original = (Core.prototype as unknown as Record<string, (...args: unknown[]) => unknown>)[method];
    (Failing.prototype as unknown as Record<string, unknown>)[method] = function (this: unknown, ...args: unknown[]) {
      if (isBroken) throw new WebAssembly.RuntimeError("unreachable");
      return original?.apply(this, args);
    };
    const memory = (await load()).memory;
    const servers = new Servers();
    world = await servers.open({
      core: { module: { default: () => Promise.resolve({ memory }), Core: Failing as never }, wasm: Uint8Array.of() },
    });
    await settle();
    return { servers, fail: () => (isBroken = true) };
  }

  test.each(["received", "disconnected"])(
    "at a message or a lost connection (%s) ends the world, and throws nothing into the socket",
    async (method) => {
      const { servers, fail } = await openFailing(method);
      const chunk = (world as World).track("canvas/0/0");
      const pending = chunk.submit(Uint8Array.of(1));
      const heard = listen(world as World, "close");
      fail();
      if (method === "received") servers.say("gateway", { ping: {} });
      else servers.socket("gateway").lose();
      expect(heard).toEqual([["close", expect.objectContaining({ name: "ClosedError", code: "core" })]]);
      expect((world as World).status).toBe("closed");
      expect(await pending.outcome).toMatchObject({ kind: "unknown" });
      await expect(chunk.live()).rejects.toMatchObject({ name: "ClosedError", code: "core" });
      expect(servers.sockets.every(({ readyState }) => readyState === 3)).toBe(true);
    },
  );

  test("at a tick ends the world, and throws nothing out of the timer", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
    const { fail } = await openFailing("tick");
    fail();
    await vi.advanceTimersByTimeAsync(60_000);
    expect((world as World).status).toBe("closed");
  });

  test("at a call ends the world, and throws to the caller", async () => {
    const { fail } = await openFailing("submit");
    const chunk = (world as World).track("canvas/0/0");
    fail();
    expect(() => chunk.submit(Uint8Array.of(1))).toThrow(
      expect.objectContaining({ name: "ClosedError", code: "core" }) as Error,
    );
    expect((world as World).status).toBe("closed");
  });

  test("at a read ends the world, and throws to the caller", async () => {
    const { servers, fail } = await openFailing("version");
    const chunk = (world as World).track("canvas/0/0");
    const content = gridEncoding([8, 8, 1], () => 0);
    const state = { chunkId: "canvas/0/0", version: 1, hash: hashOf(content) };
    servers.say(
      "gateway",
      { tracked: { ...state, ledger: {} } },
      { chunk: { ...state, model: "grid", revision: 1, data: rawZstd(content) } },
    );
    expect(chunk.version).toBe(1);
    fail();
    expect(() => chunk.version).toThrow(expect.objectContaining({ code: "core" }) as Error);
    expect((world as World).status).toBe("closed");
  });
});
