// The tracked chunks of the canvas, and the user's edits of them. Makes commands to chunks out of
// cells in world coordinates, and remembers strokes for undo.

import { type Cell, type Chunk, DriftlessError, type Pending, type World } from "@driftless/client";
import { boxesOf } from "./layer.js";
import type { Box, ChunkPlace, View } from "./view.js";

/** The largest number of cells that a command `set` may have. */
const SET_CELLS_MAX = 1024;
/** A box with at least this number of cells is one `fill` instead of a part of a `set`. */
const FILL_CELLS_MIN = 32;
/** The number of invisible chunks that stay tracked, so that going back to one is instant. */
const UNSEEN_MAX = 48;
/** The number of strokes that can be undone. */
const UNDO_MAX = 200;

export class Painting {
  /** Runs when a chunk is tracked. */
  tracked: (chunk: Chunk) => void = () => {};
  /** Runs when a chunk is not tracked any more. */
  untracked: (id: string) => void = () => {};
  /** Runs when an edit is refused, with the reason as a text for the user. */
  refused: (why: string) => void = () => {};
  /**
   * Whether commands have guards: a cell is painted only if it still has the value that is shown.
   */
  isGuarded = false;
  readonly #world: World;
  readonly #view: View;
  readonly #chunks = new Map<string, Chunk>();
  readonly #strokes: { number: number; pendings: Pending[] }[] = [];
  #made = 0;
  #stroke: Pending[] | undefined;

  constructor(world: World, view: View) {
    this.#world = world;
    this.#view = view;
  }

  chunk(id: string): Chunk | undefined {
    return this.#chunks.get(id);
  }

  get chunks(): ReadonlyMap<string, Chunk> {
    return this.#chunks;
  }

  /** Follows the visible chunks. */
  look(places: readonly ChunkPlace[]): void {
    for (const { id } of places) this.#track(id);
    const seen = new Set(places.map(({ id }) => id));
    const unseen = [...this.#chunks.keys()].filter((id) => !seen.has(id));
    for (const id of unseen.slice(0, Math.max(0, unseen.length - UNSEEN_MAX))) {
      this.#chunks.get(id)?.untrack();
      this.#chunks.delete(id);
      this.untracked(id);
    }
  }

  /** The value that a world cell shows. */
  at(x: number, y: number): number | undefined {
    const place = this.#view.placeOf(x, y);
    const { width, height } = this.#view;
    return place && this.#chunks.get(place.id)?.grid.get(x - place.cx * width, y - place.cy * height);
  }

  // ---- edits ----

  /** Starts a stroke. Everything painted until `end` is undone together. */
  begin(): void {
    this.#stroke = [];
  }

  /** Ends the stroke. */
  end(): void {
    if (this.#stroke && this.#stroke.length > 0) this.#remember(this.#stroke);
    this.#stroke = undefined;
  }

  /** Remembers commands that were submitted elsewhere, such as those of a label, as one stroke. */
  remember(pendings: readonly Pending[]): void {
    if (pendings.length > 0) this.#remember([...pendings]);
  }

  /** Sets world cells: [x, y, value]. Leaves out cells that show the value already. */
  set(cells: Iterable<readonly [number, number, number]>): void {
    const byChunk = new Map<Chunk, Map<number, Cell>>();
    for (const [x, y, value] of cells) {
      const place = this.#view.placeOf(x, y);
      const chunk = place && this.#track(place.id);
      if (!chunk) continue;
      const [cx, cy] = [x - place.cx * this.#view.width, y - place.cy * this.#view.height];
      const shown = chunk.grid.get(cx, cy);
      if (shown === value) continue;
      let ofChunk = byChunk.get(chunk);
      if (!ofChunk) byChunk.set(chunk, (ofChunk = new Map()));
      const guard = this.isGuarded && shown !== undefined ? { guard: shown } : {};
      ofChunk.set(cx + cy * this.#view.width, { x: cx, y: cy, value, ...guard });
    }
    for (const [chunk, ofChunk] of byChunk) this.#setAll(chunk, [...ofChunk.values()]);
  }

  /** Fills a box of world cells, by one command for each chunk. */
  fillBox(box: Box, value: number): void {
    const { width, height } = this.#view;
    for (let cy = Math.floor(box.y / height); cy * height < box.y + box.height; cy += 1) {
      for (let cx = Math.floor(box.x / width); cx * width < box.x + box.width; cx += 1) {
        const place = this.#view.place(cx, cy);
        const chunk = place && this.#track(place.id);
        if (!chunk) continue;
        const x = Math.max(box.x - cx * width, 0);
        const y = Math.max(box.y - cy * height, 0);
        const right = Math.min(box.x + box.width - cx * width, width);
        const bottom = Math.min(box.y + box.height - cy * height, height);
        this.#submit(() => chunk.grid.fill({ x, y, width: right - x, height: bottom - y, value }));
      }
    }
  }

  /**
   * Fills the connected cells of one colour. Stays within a chunk, because a command edits one
   * chunk.
   */
  flood(x: number, y: number, value: number): void {
    const place = this.#view.placeOf(x, y);
    const chunk = place && this.#track(place.id);
    if (!chunk) return;
    const { cells, size } = chunk.grid;
    const from = x - place.cx * this.#view.width + (y - place.cy * this.#view.height) * this.#view.width;
    const old = cells[from];
    if (old === undefined || old === value) return;
    const guard = this.isGuarded ? { guard: old } : {};
    const few: Cell[] = [];
    for (const box of boxesOf(connected(cells, size[0], from), size[0])) {
      if (box.width * box.height >= FILL_CELLS_MIN) {
        this.#submit(() => chunk.grid.fill({ ...box, value, ...guard }));
        continue;
      }
      for (let row = 0; row < box.height; row += 1) {
        for (let column = 0; column < box.width; column += 1) {
          few.push({ x: box.x + column, y: box.y + row, value, ...guard });
        }
      }
    }
    this.#setAll(chunk, few);
  }

  #setAll(chunk: Chunk, cells: readonly Cell[]): void {
    for (let from = 0; from < cells.length; from += SET_CELLS_MAX) {
      const some = cells.slice(from, from + SET_CELLS_MAX);
      this.#submit(() => chunk.grid.set(some));
    }
  }

  /**
   * Undoes the newest own stroke: cancels its uncommitted commands, and takes the committed ones
   * back by new commands. Returns false if there is nothing to undo.
   */
  undo(): boolean {
    for (let stroke = this.#strokes.pop(); stroke; stroke = this.#strokes.pop()) {
      let isUndone = false;
      for (const pending of stroke.pendings.toReversed()) {
        if (pending.ended) {
          isUndone = this.#try(() => pending.undo().length > 0) === true || isUndone;
          continue;
        }
        pending.cancel();
        isUndone = true;
        // The server may have committed the command before the cancel arrived.
        void pending.outcome.then(({ kind }) => kind === "committed" && this.#try(() => pending.undo()));
      }
      if (isUndone) return true;
    }
    return false;
  }

  /** The number of strokes so far, for {@link undoSince}. */
  get made(): number {
    return this.#made;
  }

  /** Undoes the strokes that were made since {@link made} had this value. */
  undoSince(made: number): void {
    while ((this.#strokes.at(-1)?.number ?? 0) > made) this.undo();
  }

  // ---- tracking and submitting ----

  #track(id: string): Chunk | undefined {
    const known = this.#chunks.get(id);
    if (known) {
      // Moves the chunk to the end, because the chunks at the start are untracked first.
      this.#chunks.delete(id);
      this.#chunks.set(id, known);
      return known;
    }
    return this.#try(() => {
      const chunk = this.#world.track(id);
      this.#chunks.set(id, chunk);
      this.tracked(chunk);
      return chunk;
    });
  }

  #submit(submit: () => Pending): void {
    const pending = this.#try(submit);
    if (!pending) return;
    if (this.#stroke) this.#stroke.push(pending);
    else this.#remember([pending]);
  }

  #remember(pendings: Pending[]): void {
    this.#made += 1;
    this.#strokes.push({ number: this.#made, pendings });
    if (this.#strokes.length > UNDO_MAX) this.#strokes.shift();
  }

  #try<R>(action: () => R): R | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof DriftlessError)) throw error;
      this.refused(error.message);
      return undefined;
    }
  }
}

/** Marks the cells that have the value of cell `from` and are connected to it by their sides. */
function connected(cells: Uint16Array, across: number, from: number): Uint8Array {
  const marks = new Uint8Array(cells.length);
  const old = cells[from];
  const open = [from];
  marks[from] = 1;
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const x = at % across;
    const sides = [
      [at - 1, x > 0],
      [at + 1, x < across - 1],
      [at - across, true],
      [at + across, true],
    ] as const;
    for (const [next, isInside] of sides) {
      if (!isInside || marks[next] !== 0 || cells[next] !== old) continue;
      marks[next] = 1;
      open.push(next);
    }
  }
  return marks;
}

/**
 * The boxes that a command to a grid changes. An undo has the boxes of the command that it takes
 * back.
 */
export function boxesOfCommand(command: unknown): Box[] {
  const { set, fill, undo } = command as { set?: Cell[]; fill?: Partial<Box>; undo?: unknown };
  if (undo) return boxesOfCommand(undo);
  if (set) return set.map(({ x, y }) => ({ x, y, width: 1, height: 1 }));
  return fill ? [{ x: 0, y: 0, width: 1, height: 1, ...fill }] : [];
}
