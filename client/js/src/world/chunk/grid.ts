import type { Abortable } from "../../emitter.js";
import type { Engine } from "../../engine.js";
import type { Chunk } from "../chunk.js";
import type { Pending } from "./pending.js";

/**
 * A cell to set. With `guard`, the cell must hold that value; otherwise the server discards the
 * whole command as a conflict.
 */
export interface Cell {
  x: number;
  y: number;
  z?: number;
  value: number;
  guard?: number;
}

/**
 * A box to fill. An absent extent is 1. With `guard`, all cells must hold that value; otherwise the
 * server discards the command as a conflict.
 */
export interface Box {
  x: number;
  y: number;
  z?: number;
  width?: number;
  height?: number;
  depth?: number;
  value: number;
  guard?: number;
}

/** Arrays in the core's memory. */
interface View {
  readonly size: readonly [number, number, number];
  readonly cells: Uint16Array;
  readonly pending: Uint8Array;
}

/** The view of a chunk of the model `grid`, with the user's uncommitted commands applied. */
export class Grid {
  readonly #chunk: Chunk;
  readonly #engine: Engine<Chunk>;
  readonly #number: number;
  #lastView: View | undefined;
  /** The engine's turn in which {@link #lastView} was read. */
  #turn = -1;

  /** @hideconstructor */
  constructor(chunk: Chunk, engine: Engine<Chunk>, number: number) {
    this.#chunk = chunk;
    this.#engine = engine;
    this.#number = number;
  }

  /** The number of cells in x, y and z. All are 0 before the chunk is loaded. */
  get size(): readonly [number, number, number] {
    return this.#view()?.size ?? [0, 0, 0];
  }

  /**
   * All cells, x fastest, then y, then z. The array is the client's own memory: only read it, and
   * only until the next `await`. Copy what you keep.
   */
  get cells(): Uint16Array {
    return this.#view()?.cells ?? new Uint16Array();
  }

  /**
   * A mark for each of {@link cells}: 1 if the value that the cell shows is not committed. Like the
   * cells, this is the client's own memory.
   */
  get pending(): Uint8Array {
    return this.#view()?.pending ?? new Uint8Array();
  }

  /** A cell's value. `undefined` outside of the grid, and before the chunk is loaded. */
  get(x: number, y: number, z = 0): number | undefined {
    return this.cells[this.#index(x, y, z)];
  }

  /** True if the value that a cell shows is not committed. */
  isPending(x: number, y: number, z = 0): boolean {
    return this.pending[this.#index(x, y, z)] === 1;
  }

  /** Sets up to 1,024 cells, all or none. */
  set(cells: Cell | readonly Cell[], options?: Abortable): Pending {
    return this.#chunk.submit({ set: Array.isArray(cells) ? cells : [cells] }, options);
  }

  /** Fills a box. */
  fill(box: Box, options?: Abortable): Pending {
    return this.#chunk.submit({ fill: box }, options);
  }

  /** The index of a cell in the arrays. -1 outside of the grid. */
  #index(x: number, y: number, z: number): number {
    const [width, height, depth] = this.size;
    const isInside = x >= 0 && y >= 0 && z >= 0 && x < width && y < height && z < depth;
    return isInside && Number.isInteger(x + y + z) ? x + width * (y + height * z) : -1;
  }

  #view(): View | undefined {
    const { turns, loaded } = this.#engine;
    const { memory } = loaded;
    if (this.#turn !== turns || this.#lastView?.cells.buffer !== memory.buffer) {
      this.#turn = turns;
      const found = this.#engine.read((core) => core.grid(this.#number));
      const [width = 0, height = 0, depth = 0, cells = 0, pending = 0] = found ?? [];
      const count = width * height * depth;
      // Read after the call above, which may have grown the memory: growing detaches the old
      // buffer.
      const { buffer } = memory;
      this.#lastView = found && {
        size: [width, height, depth],
        cells: new Uint16Array(buffer, cells, count),
        pending: new Uint8Array(buffer, pending, count),
      };
    }
    return this.#lastView;
  }
}
