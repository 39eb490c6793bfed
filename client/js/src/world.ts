import type { Loaded } from "./core.js";
import { type Abortable, Emitter } from "./emitter.js";
import { Engine } from "./engine.js";
import { ClosedError } from "./errors.js";
import type { WorldEvents, WorldStatus } from "./events.js";
import type { WorldSettings } from "./settings.js";
import { Chunk } from "./world/chunk.js";

/** A family of chunks, as the server announced it. */
export interface Family {
  readonly name: string;
  readonly model: string;
  readonly revision: number;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** The number of coordinates in a chunk's id, each from `min` to `max`. */
  readonly coordinates: number;
  readonly min: number;
  readonly max: number;
}

/** Bytes received and sent since the world was opened. */
export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

/**
 * A world as one user sees it: two connections, the tracked chunks, and the user's own commands.
 * {@link connect} makes it.
 */
export class World extends Emitter<WorldEvents> {
  readonly #engine: Engine<Chunk>;

  /** @hideconstructor */
  constructor(loaded: Loaded, settings: WorldSettings) {
    super();
    this.#engine = new Engine(loaded, settings, {
      emit: (type, event) => this.emit(type, event),
      end: (reason) => this.end(reason),
    });
    this.goOnline();
  }

  get status(): WorldStatus {
    return this.#engine.status;
  }

  get traffic(): Traffic {
    return { ...this.#engine.traffic };
  }

  /** The number of own commands without an outcome, in all chunks. */
  get pending(): number {
    return this.#engine.read((core) => core.pending());
  }

  /** The families that the servers announced. Empty before the first welcome. */
  get families(): Family[] {
    const families = JSON.parse(this.#engine.read((core) => core.families())) as Record<string, string>[];
    return families.map(({ parameters, min, max, ...family }) => {
      return {
        ...family,
        parameters: JSON.parse(parameters || "{}"),
        min: Number(min),
        max: Number(max),
      } as unknown as Family;
    });
  }

  /** The colours of a family's values, as `#rrggbb`. Empty if the values have no colours. */
  colors(family: string): string[] {
    const rgb = this.#engine.read((core) => core.colors(family));
    const hex = (at: number) => (rgb[at] ?? 0).toString(16).padStart(2, "0");
    return Array.from({ length: rgb.length / 3 }, (_, i) => `#${hex(3 * i)}${hex(3 * i + 1)}${hex(3 * i + 2)}`);
  }

  /**
   * Follows a chunk. As long as the chunk is tracked, every call returns the same object. When the
   * signal fires, the chunk is untracked.
   *
   * @throws {@link UsageError} if `id` is not a chunk's id; {@link ClosedError}.
   */
  track(id: string, { signal }: Abortable = {}): Chunk {
    this.#engine.throwIfClosed();
    signal?.throwIfAborted();
    const chunk = this.#engine.turn((core, now) => {
      const number = core.track(now, id);
      const known = this.#engine.chunks[number];
      if (!known) return new Chunk(this, id, this.#engine, number);
      known.isLeaving = false;
      return known.chunk;
    });
    signal?.addEventListener("abort", () => chunk.untrack(), { once: true });
    return chunk;
  }

  /** The tracked chunks. */
  get chunks(): Chunk[] {
    return this.#engine.chunks.flatMap((known) => known?.chunk ?? []);
  }

  /**
   * Resolves when both servers have welcomed the client. Rejects with {@link ClosedError} or the
   * signal's reason.
   */
  async online({ signal }: Abortable = {}): Promise<this> {
    while (this.status !== "online") {
      this.#engine.throwIfClosed();
      await this.once("status", { signal });
    }
    return this;
  }

  /**
   * Drops both connections. Commands can still be submitted: the view shows them, and the client
   * keeps them until {@link World.goOnline}.
   */
  goOffline(): void {
    this.#engine.goOffline();
  }

  /** Connects at once, after {@link World.goOffline} or instead of waiting for the next attempt. */
  goOnline(): void {
    this.#engine.goOnline();
  }

  /** Drops one connection and opens it again, as when a server is restarted. */
  reconnect(server: "ingest" | "gateway"): void {
    this.#engine.reconnect(server);
  }

  /**
   * Ends the world for good. Commands that were never sent end as withdrawn. Commands in flight end
   * as unknown, because the server may still commit them. If you need the outcomes of your
   * commands, await them before you call this.
   */
  close(): void {
    this.#engine.close(new ClosedError("closed", "the client was closed"));
  }
}
