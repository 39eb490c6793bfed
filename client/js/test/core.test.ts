// Loading the core, and what happens when it fails: the world ends and says so, and nothing else breaks.

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
  test("happens once", async () => {
    expect(await load()).toBe(await load());
  });

  test("takes the SIMD build where the platform has SIMD, the plain one elsewhere", async () => {
    const read: string[] = [];
    vi.resetModules();
    vi.doMock("node:fs/promises", () => ({ readFile: (url: URL) => (read.push(url.pathname.split("/").at(-1) ?? ""), Promise.resolve(readFileSync(url))) }));
    const validate = vi.spyOn(WebAssembly, "validate");
    for (const has of [true, false]) {
      vi.resetModules();
      validate.mockReturnValueOnce(has);
      const { Core } = await ((await import("../src/core.js")) as typeof import("../src/core.js")).load();
      // BLAKE3 of nothing, as its authors publish it: both builds hash.
      expect(Core.hash(new Uint8Array())).toBe("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }
    vi.doUnmock("node:fs/promises");
    validate.mockRestore();
    expect(read).toEqual(["driftless_core_simd.wasm", "driftless_core.wasm"]);
  });

  test("is told here to have SIMD", async () => {
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

  test("fails with the reason where there is no such file, and where it is no WebAssembly", async () => {
    await expect(loadFrom(module, new URL("nothing.wasm", folder))).rejects.toThrow("ENOENT");
    vi.resetModules();
    const fresh = (await import(`${folder.href}driftless_core.js?fresh`)) as unknown as CoreModule;
    await expect(loadFrom(fresh, Uint8Array.of(1, 2, 3))).rejects.toThrow(/WebAssembly|magic/i);
  });
});

describe("settings that are not taken", () => {
  test.each<[string, object, RegExp]>([
    ["no ingest", { ingest: [] }, /ingest: no URL/],
    ["no gateway", { gateway: [] }, /gateway: no URL/],
    ["a number of commands that is none", { pendingMax: -1 }, /pending_max/],
    ["half a commit to undo", { undoMax: 0.5 }, /undo_max/],
    ["no WebSocket where the platform has none", { WebSocket: undefined }, /package `ws`/],
  ])("%s", async (_, settings, message) => {
    vi.stubGlobal("WebSocket", undefined);
    const opening = new Servers().open(settings);
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toMatchObject({ name: "UsageError", code: "settings" });
    vi.unstubAllGlobals();
  });

  test("a signal that has fired opens nothing", async () => {
    const servers = new Servers();
    await expect(servers.open({ signal: AbortSignal.abort(new Error("not now")) })).rejects.toThrow("not now");
    expect(servers.sockets).toEqual([]);
  });
});

describe("a core that fails", () => {
  /** The core, with a method that throws as WebAssembly does where it traps. */
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
    world = await servers.open({ core: { module: { default: () => Promise.resolve({ memory }), Core: Failing as never }, wasm: Uint8Array.of() } });
    await settle();
    return { servers, fail: () => (isBroken = true) };
  }

  test.each(["received", "disconnected"])("at a message or a loss (%s) ends the world, and nothing is thrown into the socket", async (method) => {
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
  });

  test("at a tick ends the world, and nothing is thrown out of the timer", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
    const { fail } = await openFailing("tick");
    fail();
    await vi.advanceTimersByTimeAsync(60_000);
    expect((world as World).status).toBe("closed");
  });

  test("at a call throws to the caller, too", async () => {
    const { fail } = await openFailing("submit");
    const chunk = (world as World).track("canvas/0/0");
    fail();
    expect(() => chunk.submit(Uint8Array.of(1))).toThrow(expect.objectContaining({ name: "ClosedError", code: "core" }) as Error);
    expect((world as World).status).toBe("closed");
  });

  test("at a reading throws to the caller, and ends the world", async () => {
    const { servers, fail } = await openFailing("version");
    const chunk = (world as World).track("canvas/0/0");
    const content = gridEncoding([8, 8, 1], () => 0);
    const state = { chunkId: "canvas/0/0", version: 1, hash: hashOf(content) };
    servers.say("gateway", { tracked: { ...state, ledger: {} } }, { chunk: { ...state, model: "grid", revision: 1, data: rawZstd(content) } });
    expect(chunk.version).toBe(1);
    fail();
    expect(() => chunk.version).toThrow(expect.objectContaining({ code: "core" }) as Error);
    expect((world as World).status).toBe("closed");
  });
});
