/**
 * The browser's client of Driftless. Many users edit the chunks of one world at the same time. The
 * view shows an edit at once, and the server decides each edit exactly once.
 *
 * ```ts
 * const world = await connect({
 *   ingest: "ws://localhost:7100",
 *   gateway: "ws://localhost:7200",
 *   token,
 * });
 * const chunk = await world.track("canvas/0/0").live();
 * const pending = chunk.grid.set({ x: 1, y: 2, value: 7 });
 * console.log(await pending.outcome); // { kind: "committed", version: 1 }
 * ```
 *
 * @packageDocumentation
 */

import { type CoreModule, load, loadFrom } from "./core.js";
import type { Abortable } from "./emitter.js";
import type { WorldSettings } from "./settings.js";
import { World } from "./world.js";

/** The settings of {@link connect}. */
export interface ConnectSettings extends WorldSettings, Abortable {
  /**
   * A core with models of your own: the module that wasm-bindgen generated, and its `.wasm` file.
   */
  core?: { module: CoreModule; wasm: URL | WebAssembly.Module | BufferSource } | undefined;
}

/**
 * Opens a world: loads the core, and starts to connect. The promise does not wait for the
 * connections: `status` of the world tells how they are. Commands can be submitted, and the view
 * shows them, before there is a connection.
 *
 * @throws {@link UsageError} (`settings`), or the reason why the core cannot be loaded.
 */
export async function connect({ core, signal, ...settings }: ConnectSettings): Promise<World> {
  signal?.throwIfAborted();
  const loaded = await (core ? loadFrom(core.module, core.wasm) : load());
  signal?.throwIfAborted();
  const world = new World(loaded, settings);
  signal?.addEventListener("abort", () => world.close(), { once: true });
  return world;
}

export type { CoreModule } from "./core.js";
export { type Abortable, Emitter } from "./emitter.js";
export { ChunkError, ClosedError, ConnectionError, DriftlessError, OverflowError, UsageError } from "./errors.js";
export type { ChunkStatus, WorldEvents, WorldStatus } from "./events.js";
export type { Token, WorldSettings } from "./settings.js";
export { type Family, type Traffic, World } from "./world.js";
export { Chunk, type Change, type ChunkEvents, type Rect } from "./world/chunk.js";
export { type Box, type Cell, Grid } from "./world/chunk/grid.js";
export { type Guarded, KeyMap } from "./world/chunk/map.js";
export { type DiscardReason, type Outcome, Pending } from "./world/chunk/pending.js";
