// The part of the world on the screen. Converts world cells to pixels and back. Cell (0, 0) is the
// first cell of chunk 0/0; x goes right and y goes down.

import type { Family } from "@driftless/client";

/** The largest scale, in device pixels for each cell. */
const SCALE_MAX = 64;
/** The largest number of chunks that the view shows in a row or in a column. */
const ACROSS_MAX = 14;

/** The position of a chunk in the world. */
export interface ChunkPlace {
  readonly id: string;
  readonly cx: number;
  readonly cy: number;
}

/** A rectangle, in cells or in pixels. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export class View {
  readonly family: string;
  /** The size of a chunk in cells. */
  readonly width: number;
  readonly height: number;
  /** The smallest and the largest value of a chunk's coordinates, both inclusive. */
  readonly min: number;
  readonly max: number;
  /** The world position at the top left of the screen, in cells with fractions. */
  x = 0;
  y = 0;
  /** Device pixels for each cell. */
  scale = 1;
  /** The size of the screen in device pixels. */
  screen = { width: 0, height: 0 };
  /** Device pixels for each CSS pixel. */
  ratio = 1;
  readonly #home: readonly [number, number];

  constructor(family: Family, home: readonly [number, number]) {
    const [width = 1, height = 1] = (family.parameters.size as number[] | undefined) ?? [];
    this.family = family.name;
    this.width = width;
    this.height = height;
    this.min = family.min;
    this.max = family.max;
    this.#home = home.map((c) => Math.min(Math.max(c, family.min), family.max)) as [number, number];
  }

  /** Shows about 3 × 2 chunks around the top left corner of the URL's chunk. */
  fit(): void {
    const { width, height } = this.screen;
    const least = Math.min(width, height) / (2.1 * Math.max(this.width, this.height));
    this.scale = this.#within(Math.max(least, 1));
    this.x = this.#home[0] * this.width - width / 2 / this.scale;
    this.y = this.#home[1] * this.height - height / 2 / this.scale;
    this.#clamp();
  }

  resize(width: number, height: number, ratio: number): void {
    const before = this.screen;
    this.screen = { width, height };
    this.ratio = ratio;
    if (before.width === 0) return this.fit();
    this.x += (before.width - width) / 2 / this.scale;
    this.y += (before.height - height) / 2 / this.scale;
    this.scale = this.#within(this.scale);
    this.#clamp();
  }

  /** Zooms around the point `at`, in device pixels. */
  zoom(factor: number, at: readonly [number, number] = [this.screen.width / 2, this.screen.height / 2]): void {
    const before = this.scale;
    this.scale = this.#within(before * factor);
    this.x += at[0] / before - at[0] / this.scale;
    this.y += at[1] / before - at[1] / this.scale;
    this.#clamp();
  }

  /** Moves the content right by `x` and down by `y`, in device pixels. */
  pan(x: number, y: number): void {
    this.x -= x / this.scale;
    this.y -= y / this.scale;
    this.#clamp();
  }

  /** Pans as little as needed to show a world cell at some distance from the edge of the screen. */
  reveal(x: number, y: number): void {
    const [across, down] = [this.screen.width / this.scale, this.screen.height / this.scale];
    const margin = Math.min(across, down) / 8;
    this.x = Math.min(Math.max(this.x, x + margin - across), x - margin);
    this.y = Math.min(Math.max(this.y, y + margin - down), y - margin);
    this.#clamp();
  }

  /** The world position at a point in device pixels, in cells with fractions. */
  cellAt(x: number, y: number): [number, number] {
    return [this.x + x / this.scale, this.y + y / this.scale];
  }

  /** A world position in CSS pixels. */
  css(x: number, y: number): [number, number] {
    return [((x - this.x) * this.scale) / this.ratio, ((y - this.y) * this.scale) / this.ratio];
  }

  /** A box of world cells, in whole device pixels. */
  device({ x, y, width, height }: Box): Box {
    const left = Math.round((x - this.x) * this.scale);
    const top = Math.round((y - this.y) * this.scale);
    const right = Math.round((x + width - this.x) * this.scale);
    const bottom = Math.round((y + height - this.y) * this.scale);
    return { x: left, y: top, width: Math.max(right - left, 1), height: Math.max(bottom - top, 1) };
  }

  chunkBox({ cx, cy }: ChunkPlace): Box {
    return { x: cx * this.width, y: cy * this.height, width: this.width, height: this.height };
  }

  /** The chunk of a world cell. `undefined` outside of the world. */
  placeOf(x: number, y: number): ChunkPlace | undefined {
    return this.place(Math.floor(x / this.width), Math.floor(y / this.height));
  }

  place(cx: number, cy: number): ChunkPlace | undefined {
    const isInside = cx >= this.min && cx <= this.max && cy >= this.min && cy <= this.max;
    return isInside ? { id: `${this.family}/${cx}/${cy}`, cx, cy } : undefined;
  }

  /** The visible chunks, ordered by their distance from the middle. */
  visible(): ChunkPlace[] {
    const right = this.x + this.screen.width / this.scale;
    const bottom = this.y + this.screen.height / this.scale;
    const seen: ChunkPlace[] = [];
    for (let cy = Math.floor(this.y / this.height); cy * this.height < bottom - 1e-9; cy += 1) {
      for (let cx = Math.floor(this.x / this.width); cx * this.width < right - 1e-9; cx += 1) {
        const place = this.place(cx, cy);
        if (place) seen.push(place);
      }
    }
    const [middleX, middleY] = [(this.x + right) / 2 / this.width - 0.5, (this.y + bottom) / 2 / this.height - 0.5];
    const distance = ({ cx, cy }: ChunkPlace) => Math.hypot(cx - middleX, cy - middleY);
    return seen.sort((one, other) => distance(one) - distance(other));
  }

  #within(scale: number): number {
    const least = Math.max(this.screen.width / this.width, this.screen.height / this.height) / ACROSS_MAX;
    return Math.min(Math.max(scale, least), Math.max(SCALE_MAX, least));
  }

  #clamp(): void {
    const [across, down] = [this.screen.width / this.scale / 2, this.screen.height / this.scale / 2];
    this.x = Math.min(Math.max(this.x, this.min * this.width - across), (this.max + 1) * this.width - across);
    this.y = Math.min(Math.max(this.y, this.min * this.height - down), (this.max + 1) * this.height - down);
  }
}
