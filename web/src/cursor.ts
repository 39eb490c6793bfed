// The cell below the pointer, and what the overlay shows there: the cells that a press changes, and
// the outline of the chunk.

import type { Overlay } from "./overlay.js";
import type { Spot, Tools } from "./tools.js";
import type { ChunkPlace, View } from "./view.js";

export class Cursor {
  /** The world cell below the pointer. */
  spot: Spot | undefined;
  readonly #view: View;
  readonly #tools: Tools;
  readonly #overlay: Overlay;
  #lastChunk: ChunkPlace | undefined;

  constructor(view: View, tools: Tools, overlay: Overlay) {
    this.#view = view;
    this.#tools = tools;
    this.#overlay = overlay;
  }

  move(spot: Spot | undefined): void {
    this.spot = spot;
    this.show();
  }

  /** Draws the cursor again, because it moved or the tool changed. */
  show(): void {
    const { spot } = this;
    const { tool } = this.#tools;
    this.#overlay.cursor(spot && tool !== "hand" ? this.#tools.reach(spot) : undefined, tool === "stamp");
    const chunk = spot && this.#view.placeOf(...spot);
    if (chunk) this.#lastChunk = chunk;
    this.#overlay.outline(chunk && this.#view.chunkBox(chunk));
  }

  /** Forgets the last chunk below the pointer, if that chunk is not visible any more. */
  look(visible: readonly ChunkPlace[]): void {
    if (!visible.some(({ id }) => id === this.#lastChunk?.id)) this.#lastChunk = undefined;
  }

  /**
   * The chunk below the pointer. If the pointer is outside of all chunks, the chunk that it was on
   * last, as long as that chunk is visible. Otherwise the chunk in the middle of the screen.
   */
  get chunk(): ChunkPlace | undefined {
    const { width, height } = this.#view.screen;
    const [x, y] = this.#view.cellAt(width / 2, height / 2);
    const below = this.spot && this.#view.placeOf(...this.spot);
    return below ?? this.#lastChunk ?? this.#view.placeOf(Math.floor(x), Math.floor(y));
  }
}
