import { type Abortable, Emitter } from "../emitter.js";
import { ChunkError } from "../errors.js";
import { Grid } from "./chunk/grid.js";
import { KeyMap } from "./chunk/map.js";
import type { Outcome, Pending } from "./chunk/pending.js";
import type { World } from "../world.js";

/**
 * How a tracked chunk is doing. `lagging`: there is a replica, but it is not fed at present. `reloading`: the replica differs from the
 * log, or what came cannot be used, and a fresh one is on its way; what is shown meanwhile is not to be trusted. `rejected`: not served to this user. `failed`: given
 * up, reloaded too often or of an unknown model; `track` tries again in both cases.
 */
export type ChunkStatus = "loading" | "live" | "lagging" | "reloading" | "rejected" | "failed";

/** A box of cells. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly width: number;
  readonly height: number;
  readonly depth: number;
}

/** What is shown otherwise than before, also by becoming committed: rectangles of a grid, keys of a map, or everything. */
export interface Change {
  /** Of the confirmed replica below the view. */
  readonly version: number;
  readonly rects?: readonly Rect[];
  readonly keys?: readonly string[];
  /** The chunk was loaded or dropped, or its model is not known to say more. */
  readonly all?: true;
}

/** What a {@link Chunk} tells. */
export interface ChunkEvents {
  change: Change;
  /** An own command left the view without being committed. */
  rollback: { readonly pending: Pending; readonly outcome: Outcome };
  /** Any own command ended. */
  outcome: { readonly pending: Pending; readonly outcome: Outcome };
  /** The replica had another hash than the log; it is loaded again. */
  drift: { readonly version: number; readonly expected: string | undefined; readonly found: string };
  /** The gateway named the hash of the version that is here, and it is ours: a beacon, or the answer to `track`. */
  verified: { readonly version: number; readonly hash: string };
  status: { readonly status: ChunkStatus; readonly error: ChunkError | undefined };
}

export interface GridView {
  readonly size: readonly [number, number, number];
  readonly cells: Uint16Array;
  readonly pending: Uint8Array;
}

/** A tracked chunk: its confirmed replica with the own pending commands on top. */
export class Chunk extends Emitter<ChunkEvents> {
  readonly world: World;
  readonly id: string;
  /** Its cells, where its model is `grid`. */
  readonly grid: Grid;
  /** Its entries, where its model is `map`. */
  readonly map: KeyMap;
  /** When the gateway last confirmed the hash, by `performance.now()`. */
  verifiedAt: number | undefined;
  #status: ChunkStatus = "loading";
  #error: ChunkError | undefined;
  #view: GridView | undefined;
  #viewedAt = -1;
  /** @internal */
  readonly number: number;
  /** @internal */
  readonly pendings = new Map<number, Pending>();
  /** It is untracked, and stays for its last own commands. @internal */
  isLeaving = false;

  /** @internal */
  constructor(world: World, id: string, number: number) {
    super();
    this.world = world;
    this.id = id;
    this.number = number;
    this.grid = new Grid(this);
    this.map = new KeyMap(this);
  }

  get status(): ChunkStatus {
    return this.#status;
  }

  /** Why it is `reloading`, `rejected` or `failed`. */
  get error(): ChunkError | undefined {
    return this.#error;
  }

  /** Of the confirmed replica: how many commands were committed to it. */
  get version(): number {
    return this.world.core((core) => core.version(this.number));
  }

  /** Of the confirmed replica: BLAKE3-256 of its canonical encoding, in hex. Computed when asked for. */
  get hash(): string | undefined {
    const told = this.world.core((core) => core.describe(this.number));
    return told ? ((JSON.parse(told) as { hash?: string }).hash) : undefined;
  }

  /** The model: `undefined` before there is a state, `other` for a model of your own. */
  get model(): "grid" | "map" | "other" | undefined {
    const kind = this.world.core((core) => core.kind(this.number));
    return kind === "none" ? undefined : (kind as "grid" | "map" | "other");
  }

  /** What is shown, as the model's JSON: for models of your own. `undefined` before there is a state. */
  get json(): unknown {
    const json = this.world.core((core) => core.content_json(this.number));
    return json ? JSON.parse(json) : undefined;
  }

  /** The canonical encoding of the confirmed replica: for models of your own, read in your own core. */
  get encoding(): Uint8Array | undefined {
    return this.world.core((core) => core.encoding(this.number));
  }

  /** Own commands without an outcome, oldest first. */
  get pending(): Pending[] {
    return [...this.pendings.values()];
  }

  /** Resolves when the chunk is live. Rejects with the {@link ChunkError} where it is not served, or with the signal's reason. */
  async live({ signal }: Abortable = {}): Promise<this> {
    while (this.#status !== "live") {
      if (this.#error && this.#status !== "reloading") throw this.#error;
      this.world.throwIfClosed();
      await this.once("status", { signal });
    }
    return this;
  }

  /**
   * An edit: it is in the view at once, and sent as soon as there is a connection. A command is the model's JSON, or its encoding.
   *
   * @throws {@link UsageError} where it is not taken: then nothing has happened.
   */
  submit(command: object | Uint8Array, { signal }: Abortable = {}): Pending {
    signal?.throwIfAborted();
    const pending = this.world.submit(this, command);
    if (signal) {
      const cancel = () => pending.cancel();
      signal.addEventListener("abort", cancel);
      void pending.outcome.then(() => signal.removeEventListener("abort", cancel));
    }
    return pending;
  }

  /** Follows the chunk no longer: at once, or when the last own command has its outcome. */
  untrack(): void {
    this.world.untrack(this);
  }

  /**
   * Flips a bit of the confirmed replica, as bad memory would, to see drift being found and healed: by the next update, or the next
   * beacon. For demonstrations and tests. False where there is nothing to flip.
   */
  corrupt(): boolean {
    return this.world.corrupt(this);
  }

  // ---- for the other parts of the SDK ----

  /** @internal */
  cancel(pending: Pending): void {
    this.world.cancel(pending);
  }

  /** @internal */
  takeBack(pending: Pending): Pending[] {
    return this.world.takeBack(pending);
  }

  /** @internal */
  hashOf(bytes: Uint8Array): string {
    return this.world.hashOf(bytes);
  }

  /** @internal */
  gridView(): GridView | undefined {
    const { turns, memory } = this.world;
    if (this.#viewedAt !== turns || this.#view?.cells.buffer !== memory.buffer) {
      this.#viewedAt = turns;
      const at = this.world.core((core) => core.grid(this.number));
      const [width = 0, height = 0, depth = 0, cells = 0, pending = 0] = at ?? [];
      const count = width * height * depth;
      // Only now: reading may have made the memory larger, and with that the old buffer useless.
      const { buffer } = memory;
      this.#view = at && {
        size: [width, height, depth],
        cells: new Uint16Array(buffer, cells, count),
        pending: new Uint8Array(buffer, pending, count),
      };
    }
    return this.#view;
  }

  /** @internal */
  mapKeys(): string[] {
    return JSON.parse(this.world.core((core) => core.keys(this.number)) || "[]") as string[];
  }

  /** @internal */
  mapValue(key: string): Uint8Array | undefined {
    return this.world.core((core) => core.value(this.number, key));
  }

  /** @internal */
  isKeyPending(key: string): boolean {
    return this.world.core((core) => core.is_pending(this.number, key));
  }

  /** @internal */
  setStatus(status: ChunkStatus, code: string | undefined, message: string | undefined): void {
    this.#status = status;
    this.#error = message === undefined ? undefined : new ChunkError(code ?? status, `${this.id}: ${message}`);
    this.emit("status", { status, error: this.#error });
  }
}
