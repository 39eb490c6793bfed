// wasm-bindgen's declarations use `Symbol.dispose`. Naming the library here spares applications
// from adding it to the `lib` of their own tsconfig.json.
/// <reference lib="esnext.disposable" preserve="true" />

import type { Core } from "../core/driftless_core.js";

export type { Core };

/**
 * The JavaScript module that wasm-bindgen generates, as `cargo xtask wasm` builds it. An
 * application with models of its own passes the module of its own core.
 */
export interface CoreModule {
  /** Instantiates the `.wasm` file. */
  default(input: { module_or_path: unknown }): Promise<{ memory: WebAssembly.Memory }>;
  Core: typeof Core;
}

/** An instantiated core, and the WebAssembly memory in which the core keeps grids. */
export interface Loaded {
  Core: typeof Core;
  memory: WebAssembly.Memory;
}

/** A WebAssembly module with a SIMD instruction. If the platform accepts it, the core uses SIMD. */
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

let ours: Promise<Loaded> | undefined;

/** Loads the core that comes with the package, once. */
export function load(): Promise<Loaded> {
  ours ??= import("../core/driftless_core.js").then(async (module) => {
    // Bundlers find the files by these literals, so the paths must not be put together from parts.
    const url = WebAssembly.validate(new Uint8Array(SIMD))
      ? new URL("../core/driftless_core_simd.wasm", import.meta.url)
      : new URL("../core/driftless_core.wasm", import.meta.url);
    return loadFrom(module as unknown as CoreModule, url);
  });
  // If loading fails, the next call tries again.
  ours.catch(() => (ours = undefined));
  return ours;
}

/**
 * Loads a core. `input` is the `.wasm` file as a URL, as bytes, or as a compiled module. In
 * Node.js, a `file:` URL is read from the file system, because `fetch` does not take such URLs
 * there.
 */
export async function loadFrom(module: CoreModule, input: unknown): Promise<Loaded> {
  let module_or_path = input;
  if (input instanceof URL && input.protocol === "file:") {
    // A variable, because bundlers for browsers would try to resolve a literal in the `import`.
    const fs = "node:fs/promises";
    const { readFile } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ fs)) as {
      readFile(url: URL): Promise<Uint8Array>;
    };
    module_or_path = await readFile(input);
  }
  const { memory } = await module.default({ module_or_path });
  return { Core: module.Core, memory };
}
