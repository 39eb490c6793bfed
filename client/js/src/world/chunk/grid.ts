import type { Chunk } from "../chunk.js";
import type { Pending } from "./pending.js";
import type { Abortable } from "../../emitter.js";

/** A cell to set. With `guard`, it must hold that value, or the whole command is discarded as a conflict. */
export interface Cell {
  x: number;
  y: number;
  z?: number;
  value: number;
  guard?: number;
}

/** A box to fill; 1 where an extent is absent. */
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

/** A chunk of the model `grid`: what is shown, own uncommitted commands included. */
export class Grid {
  readonly #chunk: Chunk;

  /** @internal */
  constructor(chunk: Chunk) {
    this.#chunk = chunk;
  }

  /** Cells in x, y and z; zeros before the chunk is loaded. */
  get size(): readonly [number, number, number] {
    const view = this.#chunk.gridView();
    return view ? view.size : [0, 0, 0];
  }

  /**
   * All cells, x fastest, then y, then z. This is the client's own memory, to read only, and only until the next `await`: take a copy
   * of what you keep.
   */
  get cells(): Uint16Array {
    return this.#chunk.gridView()?.cells ?? new Uint16Array();
  }

  /** For each of {@link cells}: 1 where it is not committed as it is shown. The same caution. */
  get pending(): Uint8Array {
    return this.#chunk.gridView()?.pending ?? new Uint8Array();
  }

  /** A cell's value; `undefined` outside of the grid, and before it is loaded. */
  get(x: number, y: number, z = 0): number | undefined {
    const at = this.#index(x, y, z);
    return at === undefined ? undefined : this.#chunk.gridView()?.cells[at];
  }

  /** Whether a cell is not committed as it is shown. */
  isPending(x: number, y: number, z = 0): boolean {
    const at = this.#index(x, y, z);
    return at !== undefined && this.#chunk.gridView()?.pending[at] === 1;
  }

  /** Sets up to 1,024 cells, all or none. */
  set(cells: Cell | readonly Cell[], options?: Abortable): Pending {
    return this.#chunk.submit({ set: Array.isArray(cells) ? cells : [cells] }, options);
  }

  /** Fills a box. */
  fill(box: Box, options?: Abortable): Pending {
    return this.#chunk.submit({ fill: box }, options);
  }

  #index(x: number, y: number, z: number): number | undefined {
    const [width, height, depth] = this.size;
    const isInside = x >= 0 && y >= 0 && z >= 0 && x < width && y < height && z < depth;
    return isInside && Number.isInteger(x + y + z) ? x + width * (y + height * z) : undefined;
  }
}
