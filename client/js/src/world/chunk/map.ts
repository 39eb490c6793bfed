import type { Chunk } from "../chunk.js";
import type { Pending } from "./pending.js";
import type { Abortable } from "../../emitter.js";

const utf8 = new TextDecoder();

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** With `absent`, the key must not be there; with `holds`, it must have that value. Otherwise the command is discarded as a conflict. */
export interface Guarded extends Abortable {
  guard?: "absent" | { holds: Uint8Array | string } | undefined;
}

/** A chunk of the model `map`: what is shown, own uncommitted commands included. */
export class KeyMap {
  readonly #chunk: Chunk;

  /** @internal */
  constructor(chunk: Chunk) {
    this.#chunk = chunk;
  }

  /** A copy of a key's value. */
  get(key: string): Uint8Array | undefined {
    return this.#chunk.mapValue(key);
  }

  /** A key's value as UTF-8. */
  text(key: string): string | undefined {
    const value = this.get(key);
    return value && utf8.decode(value);
  }

  /** Whether there is such a key. */
  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** Whether a key is not committed with the value that it is shown with. */
  isPending(key: string): boolean {
    return this.#chunk.isKeyPending(key);
  }

  /** All keys, in order. */
  keys(): string[] {
    return this.#chunk.mapKeys();
  }

  /** Puts a value: bytes, or a text as UTF-8. */
  put(key: string, value: Uint8Array | string, { guard, signal }: Guarded = {}): Pending {
    const content = typeof value === "string" ? { text: value } : { value: base64(value) };
    return this.#chunk.submit({ put: { key, ...content, guard: this.#guard(guard) } }, { signal });
  }

  /** Deletes a key. One that is not there is no error. */
  delete(key: string, { guard, signal }: Guarded = {}): Pending {
    return this.#chunk.submit({ delete: { key, guard: this.#guard(guard) } }, { signal });
  }

  #guard(guard: Guarded["guard"]): string | undefined {
    if (guard === undefined || guard === "absent") return guard;
    return this.#chunk.hashOf(typeof guard.holds === "string" ? new TextEncoder().encode(guard.holds) : guard.holds);
  }
}
