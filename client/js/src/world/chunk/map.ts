import type { Abortable } from "../../emitter.js";
import type { Engine } from "../../engine.js";
import type { Chunk } from "../chunk.js";
import type { Pending } from "./pending.js";

const utf8 = new TextDecoder();

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/**
 * Options of an edit of a map. With `absent`, the key must not exist; with `holds`, it must have
 * that value. Otherwise the server discards the command as a conflict.
 */
export interface Guarded extends Abortable {
  guard?: "absent" | { holds: Uint8Array | string } | undefined;
}

/** The view of a chunk of the model `map`, with the user's uncommitted commands applied. */
export class KeyMap {
  readonly #chunk: Chunk;
  readonly #engine: Engine<Chunk>;
  readonly #number: number;

  /** @hideconstructor */
  constructor(chunk: Chunk, engine: Engine<Chunk>, number: number) {
    this.#chunk = chunk;
    this.#engine = engine;
    this.#number = number;
  }

  /** A copy of a key's value. */
  get(key: string): Uint8Array | undefined {
    return this.#engine.read((core) => core.value(this.#number, key));
  }

  /** A key's value, decoded from UTF-8 to a string. */
  text(key: string): string | undefined {
    const value = this.get(key);
    return value && utf8.decode(value);
  }

  /** Whether the key exists. */
  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** Whether the value shown for a key is not committed yet. */
  isPending(key: string): boolean {
    return this.#engine.read((core) => core.is_pending(this.#number, key));
  }

  /** All keys, sorted by their bytes. */
  keys(): string[] {
    return JSON.parse(this.#engine.read((core) => core.keys(this.#number)) || "[]") as string[];
  }

  /** Puts a value: bytes, or a text as UTF-8. */
  put(key: string, value: Uint8Array | string, { guard, signal }: Guarded = {}): Pending {
    const content = typeof value === "string" ? { text: value } : { value: base64(value) };
    return this.#chunk.submit({ put: { key, ...content, guard: this.#guard(guard) } }, { signal });
  }

  /** Deletes a key. Deleting a key that does not exist is not an error. */
  delete(key: string, { guard, signal }: Guarded = {}): Pending {
    return this.#chunk.submit({ delete: { key, guard: this.#guard(guard) } }, { signal });
  }

  #guard(guard: Guarded["guard"]): string | undefined {
    if (guard === undefined || guard === "absent") return guard;
    const { holds } = guard;
    const bytes = typeof holds === "string" ? new TextEncoder().encode(holds) : holds;
    return this.#engine.loaded.Core.hash(bytes);
  }
}
