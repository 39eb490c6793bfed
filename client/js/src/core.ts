// What wasm-bindgen declares names `Symbol.dispose`: whoever imports this package must not need that in a `lib` of their own.
/// <reference lib="esnext.disposable" preserve="true" />

import type { Core } from "../core/driftless_core.js";

export type { Core };

/** What `cargo xtask wasm` makes: the glue of wasm-bindgen. A studio with its own models passes its own. */
export interface CoreModule {
  /** Instantiates the `.wasm` file. */
  default(input: { module_or_path: unknown }): Promise<{ memory: WebAssembly.Memory }>;
  Core: typeof Core;
}

export interface Loaded {
  Core: typeof Core;
  memory: WebAssembly.Memory;
}

/** A function of one SIMD instruction: whoever takes it, takes the faster core. */
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

let ours: Promise<Loaded> | undefined;

/** Loads the core that comes with the package, once. */
export function load(): Promise<Loaded> {
  ours ??= import("../core/driftless_core.js").then(async (module) => {
    // Whole literals: bundlers find the files by them.
    const url = WebAssembly.validate(new Uint8Array(SIMD))
      ? new URL("../core/driftless_core_simd.wasm", import.meta.url)
      : new URL("../core/driftless_core.wasm", import.meta.url);
    return loadFrom(module as unknown as CoreModule, url);
  });
  // A network that fails once must not fail for ever.
  ours.catch(() => (ours = undefined));
  return ours;
}

/** Loads a core from where it is: in Node.js from a file. */
export async function loadFrom(module: CoreModule, input: unknown): Promise<Loaded> {
  let module_or_path = input;
  if (input instanceof URL && input.protocol === "file:") {
    // Not a literal: bundlers for browsers would look for it.
    const fs = "node:fs/promises";
    const { readFile } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ fs)) as { readFile(url: URL): Promise<Uint8Array> };
    module_or_path = await readFile(input);
  }
  const { memory } = await module.default({ module_or_path });
  return { Core: module.Core, memory };
}
