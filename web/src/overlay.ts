// HTML elements above the cells: the cursor, the outline of the chunk below it, and marks of drift
// and healing. Transforms move them, so that moving them needs no drawing.

import { create } from "./dom.js";
import type { Box, View } from "./view.js";

const HEALED_MS = 3500;

/** A mark on a drifted chunk. It stays until a moment after the chunk is healed. */
interface Mark {
  readonly box: Box;
  readonly frame: HTMLElement;
  readonly label: HTMLElement;
  /** The wrong cells, in world cells. */
  readonly cells: readonly { box: Box; element: HTMLElement }[];
  readonly since: number;
}

export class Overlay {
  readonly #root: HTMLElement;
  readonly #view: View;
  readonly #cursor = element("cursor");
  readonly #outline = element("outline");
  readonly #ghost = create("canvas", { className: "ghost" });
  readonly #marks = new Map<string, Mark>();
  #cursorBox: Box | undefined;
  #outlineBox: Box | undefined;

  constructor(root: HTMLElement, view: View) {
    this.#root = root;
    this.#view = view;
    this.#cursor.append(this.#ghost);
    root.append(this.#outline, this.#cursor);
  }

  /** The canvas that shows the stamp at the cursor. */
  get ghost(): HTMLCanvasElement {
    return this.#ghost;
  }

  cursor(box: Box | undefined, isStamp: boolean): void {
    this.#cursorBox = box;
    this.#ghost.hidden = !isStamp;
    this.#place(this.#cursor, box);
  }

  outline(box: Box | undefined): void {
    this.#outlineBox = box;
    this.#place(this.#outline, box);
  }

  /** Moves all elements, because the view moved. */
  moved(): void {
    this.#place(this.#cursor, this.#cursorBox);
    this.#place(this.#outline, this.#outlineBox);
    for (const mark of this.#marks.values()) this.#placeMark(mark);
  }

  // ---- drift ----

  /** Marks a chunk that differs from the log. `cells` are the cells that are known to be wrong. */
  drifted(id: string, box: Box, cells: readonly Box[], words: string): void {
    if (!this.#marks.has(id)) {
      const frame = element("mark");
      const label = element("mark-label");
      frame.append(label);
      const wrong = cells.map((box) => ({ box, element: element("mark-cell") }));
      this.#root.append(frame, ...wrong.map(({ element }) => element));
      this.#marks.set(id, { box, frame, label, cells: wrong, since: performance.now() });
    }
    this.say(id, words);
    this.#placeMark(this.#marks.get(id) as Mark);
  }

  say(id: string, words: string): void {
    const mark = this.#marks.get(id);
    if (mark) mark.label.textContent = words;
  }

  isDrifted(id: string): boolean {
    return this.#marks.get(id)?.frame.classList.contains("is-healed") === false;
  }

  /**
   * Marks a drifted chunk as healed, because it is live again. Returns the milliseconds since the
   * drift was marked, or `undefined` if the chunk had no mark of a drift.
   */
  healed(id: string): number | undefined {
    const mark = this.#marks.get(id);
    if (!mark || mark.frame.classList.contains("is-healed")) return undefined;
    const took = performance.now() - mark.since;
    mark.frame.classList.add("is-healed");
    mark.label.textContent = `healed after ${(took / 1000).toFixed(1)} s`;
    for (const { element } of mark.cells) element.remove();
    setTimeout(() => {
      mark.frame.remove();
      if (this.#marks.get(id) === mark) this.#marks.delete(id);
    }, HEALED_MS);
    return took;
  }

  #placeMark({ box, frame, label, cells }: Mark): void {
    this.#place(frame, box);
    // The label stays on the screen, even if the chunk begins outside of it.
    const [left, top] = this.#view.css(box.x, box.y);
    label.style.transform = `translate(${Math.max(0, -left) + 8}px, ${Math.max(0, -top) + 8}px)`;
    for (const { box, element } of cells) this.#place(element, box);
  }

  #place(element: HTMLElement, box: Box | undefined): void {
    element.hidden = box === undefined;
    if (!box) return;
    const { ratio } = this.#view;
    const { x, y, width, height } = this.#view.device(box);
    element.style.transform = `translate(${x / ratio}px, ${y / ratio}px)`;
    element.style.width = `${width / ratio}px`;
    element.style.height = `${height / ratio}px`;
  }
}

function element(className: string): HTMLElement {
  return create("div", { className, hidden: true });
}
