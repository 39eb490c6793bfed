// The tracked canvas chunks and the own edits of them: cells by world coordinates in, commands out, and what can be undone.

import { type Cell, type Chunk, DriftlessError, type Pending, type World } from "@driftless/client";
import { boxesOf } from "./layer.js";
import type { Box, ChunkPlace, View } from "./view.js";

/** Cells that one `set` may name. */
const SET_CELLS_MAX = 1024;
/** Boxes of at least so many cells are filled, not set. */
const FILL_CELLS_MIN = 32;
/** Tracked chunks that nobody sees are kept up to this many: to go back to one costs nothing then. */
const UNSEEN_MAX = 48;
const UNDO_MAX = 200;

export class Painting {
  /** A chunk is tracked for the first time, or again. */
  tracked: (chunk: Chunk) => void = () => {};
  untracked: (id: string) => void = () => {};
  /** An edit was not taken; why, for people. */
  refused: (why: string) => void = () => {};
  /** Each cell is painted only if it still holds what is shown now. */
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

  /** Follows what is seen. */
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

  /** What is shown of a world cell. */
  at(x: number, y: number): number | undefined {
    const place = this.#view.placeOf(x, y);
    return place && this.#chunks.get(place.id)?.grid.get(x - place.cx * this.#view.width, y - place.cy * this.#view.height);
  }

  // ---- edits ----

  /** What is painted until `end` is undone together. */
  begin(): void {
    this.#stroke = [];
  }

  end(): void {
    if (this.#stroke && this.#stroke.length > 0) this.#remember(this.#stroke);
    this.#stroke = undefined;
  }

  /** Anything else that was submitted, to be undone as one. */
  remember(pendings: readonly Pending[]): void {
    if (pendings.length > 0) this.#remember([...pendings]);
  }

  /** Sets world cells: [x, y, value]. Cells that are so already are left out. */
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
    for (const [chunk, ofChunk] of byChunk) {
      const all = [...ofChunk.values()];
      for (let from = 0; from < all.length; from += SET_CELLS_MAX) {
        const some = all.slice(from, from + SET_CELLS_MAX);
        this.#submit(() => chunk.grid.set(some));
      }
    }
  }

  /** Fills a box of world cells, across chunks: a command for each chunk. */
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

  /** Fills the cells of one colour that hang together, within a chunk: an edit never goes across chunks as one. */
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
        for (let column = 0; column < box.width; column += 1) few.push({ x: box.x + column, y: box.y + row, value, ...guard });
      }
    }
    for (let at = 0; at < few.length; at += SET_CELLS_MAX) {
      const some = few.slice(at, at + SET_CELLS_MAX);
      this.#submit(() => chunk.grid.set(some));
    }
  }

  /** Takes the newest own stroke back: what is committed by new commands, what is not by cancelling. False where there is none. */
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
        // It may have been decided already.
        void pending.outcome.then(({ kind }) => kind === "committed" && this.#try(() => pending.undo()));
      }
      if (isUndone) return true;
    }
    return false;
  }

  /** Strokes that were made so far, for {@link undoSince}. */
  get made(): number {
    return this.#made;
  }

  undoSince(made: number): void {
    while ((this.#strokes.at(-1)?.number ?? 0) > made) this.undo();
  }

  // ---- the rest ----

  #track(id: string): Chunk | undefined {
    const known = this.#chunks.get(id);
    if (known) {
      // The newest last: the oldest are let go first.
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

/** Marks the cells of one value that hang together with `from`, by their sides. */
function connected(cells: Uint16Array, across: number, from: number): Uint8Array {
  const marks = new Uint8Array(cells.length);
  const old = cells[from];
  const open = [from];
  marks[from] = 1;
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const x = at % across;
    for (const [next, isInside] of [[at - 1, x > 0], [at + 1, x < across - 1], [at - across, true], [at + across, true]] as const) {
      if (!isInside || marks[next] !== 0 || cells[next] !== old) continue;
      marks[next] = 1;
      open.push(next);
    }
  }
  return marks;
}

/** The boxes that a grid's command is about, for showing what became of it. An undo is about what it takes back. */
export function boxesOfCommand(command: unknown): Box[] {
  const { set, fill, undo } = command as { set?: Cell[]; fill?: Partial<Box>; undo?: unknown };
  if (undo) return boxesOfCommand(undo);
  if (set) return set.map(({ x, y }) => ({ x, y, width: 1, height: 1 }));
  return fill ? [{ x: 0, y: 0, width: 1, height: 1, ...fill }] : [];
}
