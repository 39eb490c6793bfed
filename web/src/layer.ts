// A chunk as a small canvas with one pixel for each cell, and boxes around its uncommitted cells. A
// change costs time for its cells only, and a frame draws one image for each chunk.

import type { Change, Chunk } from "@driftless/client";
import { create } from "./dom.js";
import type { Box } from "./view.js";

/** The colour of a value that the palette does not have. Only a drifted replica has such values. */
const OUT_OF_PALETTE = 0xffb400ff;

/** Converts colours (`#rrggbb`) to the 32-bit values that their pixels have in an `ImageData`. */
export function pixelsOf(colors: readonly string[]): Uint32Array {
  return Uint32Array.from(colors, (color) => {
    const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
    return 0xff000000 + b * 65536 + g * 256 + r;
  });
}

export class Layer {
  readonly canvas: HTMLCanvasElement;
  /** True if the chunk has cells to show. */
  isShown = false;
  /** Boxes around the uncommitted cells. */
  pending: Box[] = [];
  readonly #context: CanvasRenderingContext2D;
  readonly #image: ImageData;
  readonly #pixels: Uint32Array;
  readonly #palette: Uint32Array;
  #stale: Box | undefined;

  constructor(width: number, height: number, palette: Uint32Array) {
    this.canvas = create("canvas", { width, height });
    this.#context = this.canvas.getContext("2d") as CanvasRenderingContext2D;
    this.#image = this.#context.createImageData(width, height);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
    this.#palette = palette;
  }

  /** Copies the changed cells. Returns boxes around the cells that look different now. */
  take(chunk: Chunk, change: Change): Box[] {
    const { width, height } = this.canvas;
    const whole = { x: 0, y: 0, width, height };
    const { cells, size } = chunk.grid;
    if (cells.length === 0) {
      this.isShown = false;
      this.pending = [];
      return [whole];
    }
    const boxes: readonly Box[] = this.isShown && change.rects ? change.rects : [whole];
    const [across] = size;
    for (const { x, y, width, height } of boxes) {
      for (let row = y; row < y + height; row += 1) {
        for (let at = row * across + x, end = at + width; at < end; at += 1) {
          this.#pixels[at] = this.#palette[cells[at] ?? 0] ?? OUT_OF_PALETTE;
        }
      }
      this.#stale = this.#stale ? union(this.#stale, { x, y, width, height }) : { x, y, width, height };
    }
    this.isShown = true;
    if (this.pending.length > 0 || chunk.pending.length > 0) this.pending = boxesOf(chunk.grid.pending, across);
    return boxes as Box[];
  }

  /** Returns the canvas, after drawing all changed cells on it. */
  image(): HTMLCanvasElement {
    if (this.#stale) {
      const { x, y, width, height } = this.#stale;
      this.#context.putImageData(this.#image, 0, 0, x, y, width, height);
      this.#stale = undefined;
    }
    return this.canvas;
  }

  /** The RGBA values as drawn, x fastest. `undefined` if there are no cells to show. */
  rgba(): Uint8ClampedArray | undefined {
    if (!this.isShown) return undefined;
    this.image();
    return this.#context.getImageData(0, 0, this.canvas.width, this.canvas.height).data;
  }
}

export function union(one: Box, other: Box): Box {
  const [x, y] = [Math.min(one.x, other.x), Math.min(one.y, other.y)];
  const right = Math.max(one.x + one.width, other.x + other.width);
  const bottom = Math.max(one.y + one.height, other.y + other.height);
  return { x, y, width: right - x, height: bottom - y };
}

/**
 * Boxes that cover exactly the cells with a mark. A box is a run of marked cells in a row, extended
 * down as long as the next row has the same run.
 */
export function boxesOf(marks: Uint8Array, across: number): Box[] {
  const boxes: Box[] = [];
  let above = new Map<number, Box>();
  for (let y = 0; y * across < marks.length; y += 1) {
    const row = new Map<number, Box>();
    for (let x = 0; x < across; x += 1) {
      if (!marks[y * across + x]) continue;
      const from = x;
      while (x < across && marks[y * across + x]) x += 1;
      const grown = above.get(from);
      if (grown?.width === x - from) {
        grown.height += 1;
        row.set(from, grown);
      } else {
        const box = { x: from, y, width: x - from, height: 1 };
        boxes.push(box);
        row.set(from, box);
      }
    }
    above = row;
  }
  return boxes;
}
