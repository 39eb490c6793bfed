import { type Abortable, Emitter } from "../emitter.js";
import type { ChunkListener, Engine } from "../engine.js";
import type { ChunkEvent } from "../engine/event.js";
import { ChunkError, UsageError } from "../errors.js";
import type { ChunkStatus } from "../events.js";
import type { World } from "../world.js";
import { Grid } from "./chunk/grid.js";
import { KeyMap } from "./chunk/map.js";
import { type Outcome, Pending } from "./chunk/pending.js";

/** A box of cells. */
export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly width: number;
  readonly height: number;
  readonly depth: number;
}

/**
 * The part of a view that looks different now: rectangles of a grid, keys of a map, or everything.
 * A cell or key whose edit was committed is listed too, because its pending mark changed.
 */
export interface Change {
  /** The version of the confirmed replica below the view. */
  readonly version: number;
  readonly rects?: readonly Rect[];
  readonly keys?: readonly string[];
  /**
   * The whole view may look different: the chunk was loaded or dropped, or the client cannot list
   * the changes for the chunk's model.
   */
  readonly all?: true;
}

/** The events of a {@link Chunk}. */
export interface ChunkEvents {
  change: Change;
  /** An own command left the view without being committed. */
  rollback: { readonly pending: Pending; readonly outcome: Outcome };
  /** An own command ended, in any way. */
  outcome: { readonly pending: Pending; readonly outcome: Outcome };
  /** The replica had another hash than the log. The client loads the chunk again. */
  drift: { readonly version: number; readonly expected: string | undefined; readonly found: string };
  /**
   * The replica has the hash that the gateway announced for the replica's version, in a beacon or
   * in the answer to `track`.
   */
  verified: { readonly version: number; readonly hash: string };
  /**
   * The chunk has another history than before, because part of the log was lost, or the servers
   * serve another world. The chunk may not contain what was committed before, and its version may
   * be lower. Commands in flight end as `unknown`, after this event; commands that were never sent
   * are sent now. One event for each change.
   */
  history: {
    /** The world's id in hex. `undefined` if the world has none. */
    readonly world: string | undefined;
    /**
     * The history's id in hex. `undefined` if the world is another one and has not served the chunk
     * yet.
     */
    readonly history: string | undefined;
    /** A text for people. */
    readonly message: string;
  };
  status: { readonly status: ChunkStatus; readonly error: ChunkError | undefined };
}

/** An own command that has no outcome yet, and the function that gives it its outcome. */
interface Open {
  readonly pending: Pending;
  conclude(outcome: Outcome, number?: Pending["number"]): void;
}

/** A tracked chunk: its confirmed replica, with the user's pending commands on top. */
export class Chunk extends Emitter<ChunkEvents> {
  readonly world: World;
  readonly id: string;
  /** The cells, if the chunk's model is `grid`. */
  readonly grid: Grid;
  /** The entries, if the chunk's model is `map`. */
  readonly map: KeyMap;
  /** The time of the last `verified` event, by `performance.now()`. */
  verifiedAt: number | undefined;
  readonly #engine: Engine<Chunk>;
  readonly #number: number;
  readonly #listener: ChunkListener<Chunk>;
  /** The open commands, by the core's command numbers. */
  readonly #open = new Map<number, Open>();
  #status: ChunkStatus = "loading";
  #error: ChunkError | undefined;

  /** @hideconstructor */
  constructor(world: World, id: string, engine: Engine<Chunk>, number: number) {
    super();
    this.world = world;
    this.id = id;
    this.grid = new Grid(this, engine, number);
    this.map = new KeyMap(this, engine, number);
    this.#engine = engine;
    this.#number = number;
    engine.chunks[number] = this.#listener = {
      chunk: this,
      isLeaving: false,
      deliver: (event) => this.#deliver(event),
      abandon: (detail) => {
        for (const { conclude } of this.#open.values()) conclude({ kind: "unknown", detail });
        this.#open.clear();
      },
      end: (reason) => this.end(reason),
    };
  }

  get status(): ChunkStatus {
    return this.#status;
  }

  /** The reason, if the chunk is `unavailable`, `reloading`, `rejected` or `failed`. */
  get error(): ChunkError | undefined {
    return this.#error;
  }

  /** The version of the confirmed replica: the number of commands that were committed to it. */
  get version(): number {
    return this.#engine.read((core) => core.version(this.#number));
  }

  /**
   * The state hash of the confirmed replica: BLAKE3-256 of its canonical encoding, in hex. Computed
   * on demand.
   */
  get hash(): string | undefined {
    const json = this.#engine.read((core) => core.describe(this.#number));
    return json ? (JSON.parse(json) as { hash?: string }).hash : undefined;
  }

  /** The model. `undefined` before the chunk is loaded, `other` for a model of your own. */
  get model(): "grid" | "map" | "other" | undefined {
    const kind = this.#engine.read((core) => core.kind(this.#number));
    return kind === "none" ? undefined : (kind as "grid" | "map" | "other");
  }

  /**
   * The view as the model's JSON, for models of your own. `undefined` before the chunk is loaded.
   */
  get json(): unknown {
    const json = this.#engine.read((core) => core.content_json(this.#number));
    return json ? JSON.parse(json) : undefined;
  }

  /**
   * The canonical encoding of the confirmed replica, for models of your own. Only a core that has
   * the model can decode it.
   */
  get encoding(): Uint8Array | undefined {
    return this.#engine.read((core) => core.encoding(this.#number));
  }

  /** Own commands without an outcome, oldest first. */
  get pending(): Pending[] {
    return Array.from(this.#open.values(), ({ pending }) => pending);
  }

  /**
   * Resolves when the chunk is live. Rejects with the {@link ChunkError} if the chunk is not
   * served, or with the signal's reason.
   */
  async live({ signal }: Abortable = {}): Promise<this> {
    while (this.#status !== "live") {
      const isOver = this.#status === "rejected" || this.#status === "failed";
      if (this.#error && isOver) throw this.#error;
      this.#engine.throwIfClosed();
      await this.once("status", { signal });
    }
    return this;
  }

  /**
   * Submits an edit, as the model's JSON or as an encoded command. The view shows it at once, and
   * the client sends it as soon as there is a connection.
   *
   * @throws {@link UsageError} if the command is not taken. Then nothing has happened.
   */
  submit(command: object | Uint8Array, { signal }: Abortable = {}): Pending {
    signal?.throwIfAborted();
    this.#engine.throwIfClosed();
    const pending = this.#engine.turn((core, now) => {
      const number =
        command instanceof Uint8Array
          ? core.submit(now, this.#number, command)
          : core.submit_json(now, this.#number, JSON.stringify(command));
      return this.#register(number, command);
    });
    if (signal) {
      const cancel = () => pending.cancel();
      signal.addEventListener("abort", cancel);
      void pending.outcome.then(() => signal.removeEventListener("abort", cancel));
    }
    return pending;
  }

  /**
   * Stops following the chunk: at once, or, if own commands are pending, when the last of them has
   * its outcome.
   */
  untrack(): void {
    if (this.#engine.closed || this.#engine.chunks[this.#number] !== this.#listener) return;
    this.#engine.turn((core, now) => core.untrack(now, this.#number));
    this.#listener.isLeaving = true;
    this.#leave();
  }

  /**
   * Flips a bit of the confirmed replica, as bad memory would. The client finds the drift with the
   * next update or beacon, and loads the chunk again. For demonstrations and tests.
   *
   * Returns false if there is nothing to flip.
   */
  corrupt(): boolean {
    return this.#engine.turn((core, now) => core.damage(now, this.#number));
  }

  #register(number: number, command: unknown): Pending {
    let resolve: (outcome: Outcome) => void;
    const promise = new Promise<Outcome>((done) => (resolve = done));
    const pending = new Pending(this, command, promise, {
      cancel: () => this.#cancel(number),
      takeBack: () => this.#takeBack(number, command),
    });
    const conclude: Open["conclude"] = (outcome, number) => {
      pending.ended = outcome;
      pending.endedAt = performance.now();
      pending.number = number;
      resolve(outcome);
    };
    this.#open.set(number, { pending, conclude });
    return pending;
  }

  #cancel(number: number): void {
    if (!this.#engine.closed) this.#engine.turn((core, now) => core.cancel(now, this.#number, number));
  }

  #takeBack(number: number, command: unknown): Pending[] {
    this.#engine.throwIfClosed();
    return this.#engine.turn((core, now) =>
      Array.from(core.take_back(now, this.#number, number), (taken) => this.#register(taken, { undo: command })),
    );
  }

  #deliver(event: ChunkEvent): void {
    switch (event.is) {
      case "change": {
        const { version, rects, keys, all } = event;
        const boxes = rects?.map(([x, y, z, width, height, depth]) => ({ x, y, z, width, height, depth }));
        return this.emit("change", {
          version,
          ...(boxes && { rects: boxes }),
          ...(keys && { keys }),
          ...(all && { all }),
        });
      }
      case "status": {
        const { status, code, message } = event;
        this.#status = status;
        this.#error = message === undefined ? undefined : new ChunkError(code ?? status, `${this.id}: ${message}`);
        return this.emit("status", { status, error: this.#error });
      }
      case "outcome":
        return this.#conclude(event);
      case "drift": {
        const { version, expected, found } = event;
        return this.emit("drift", { version, expected, found });
      }
      case "history": {
        const { world, history, message } = event;
        return this.emit("history", { world, history, message });
      }
      case "verified": {
        const { version, hash } = event;
        this.verifiedAt = performance.now();
        return this.emit("verified", { version, hash });
      }
    }
  }

  #conclude(event: ChunkEvent & { is: "outcome" }): void {
    const { is, chunk, command, receipted, writer, seq, outcome: kind, ...rest } = event;
    const open = this.#open.get(command);
    if (!open) return;
    this.#open.delete(command);
    const { pending, conclude } = open;
    const outcome = { kind, ...rest } as Outcome;
    conclude(outcome, writer === undefined || seq === undefined ? undefined : { writer, seq });
    this.emit("outcome", { pending, outcome });
    if (kind !== "committed") this.emit("rollback", { pending, outcome });
    this.#leave();
  }

  /** Leaves the engine, if the chunk was untracked and none of its own commands is open. */
  #leave(): void {
    if (!this.#listener.isLeaving || this.#open.size > 0) return;
    this.#engine.chunks[this.#number] = undefined;
    this.end(new UsageError("not_tracked", `${this.id} is not tracked any more`));
  }
}
