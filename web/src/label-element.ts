// The HTML element of a label: a button that the user can drag, move by the arrow keys, edit and
// delete.

import type { Spot } from "./tools.js";
import { create } from "./dom.js";
import { LABEL_COLORS, type Label, TEXT_MAX } from "./label.js";

export interface LabelHandlers {
  /** The world cell at a point of the window. */
  spotAt(clientX: number, clientY: number): Spot;
  drag(spot: Spot): void;
  drop(spot: Spot): void;
  step(dx: number, dy: number): void;
  change(change: Partial<Label>): void;
  remove(): void;
}

/** A press that moves further than this is a drag. In CSS pixels. */
const SLOP = 4;

export class LabelElement {
  readonly root = create("div", { className: "thing" });
  /** The label's world cell, and the `things` chunk that has the label. */
  spot: Spot = [0, 0];
  chunkId = "";
  readonly #button = create("button", { type: "button" });
  readonly #handlers: LabelHandlers;
  #label: Label | undefined;
  #editor: HTMLFormElement | undefined;
  #press: { x: number; y: number; offset: Spot; isDrag: boolean } | undefined;

  constructor(handlers: LabelHandlers) {
    this.#handlers = handlers;
    this.root.append(this.#button);
    this.#button.addEventListener("pointerdown", (event) => this.#down(event));
    this.#button.addEventListener("pointermove", (event) => this.#move(event));
    this.#button.addEventListener("pointerup", (event) => this.#up(event));
    this.#button.addEventListener("pointercancel", (event) => this.#up(event));
    this.#button.addEventListener("keydown", (event) => this.#key(event));
  }

  get isDragged(): boolean {
    return this.#press?.isDrag === true;
  }

  show(label: Label, isPending: boolean): void {
    this.#label = label;
    this.#button.textContent = label.text || "…";
    this.root.dataset.color = label.color;
    this.root.classList.toggle("is-pending", isPending);
    const name = `Label “${label.text || "empty"}”${isPending ? ", not committed yet" : ""}`;
    this.#button.setAttribute("aria-label", `${name}. Arrow keys move it, Enter edits it, Delete deletes it.`);
  }

  /** Moves the element to a point in CSS pixels. */
  place(x: number, y: number): void {
    this.root.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  }

  /** Flashes, because an edit of the label was not committed. */
  flash(): void {
    this.root.classList.remove("is-flashing");
    requestAnimationFrame(() => this.root.classList.add("is-flashing"));
    setTimeout(() => this.root.classList.remove("is-flashing"), 1000);
  }

  /** Opens the editor of the label's text and colour. */
  edit(): void {
    if (this.#editor || !this.#label) return;
    const input = this.#input(this.#label.text);
    const form = create("form", { className: "thing-editor" });
    const close = (isKept: boolean) => this.#close(form, isKept ? input.value.trim() : undefined);
    const remove = create("button", { type: "button", className: "delete", textContent: "Delete" });
    const done = create("button", { type: "submit", className: "primary", textContent: "Done" });
    const row = create("div", { className: "row" });
    row.append(...this.#swatches(input), remove, done);
    form.append(input, row);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      close(true);
      this.#button.focus();
    });
    remove.addEventListener("click", () => {
      close(false);
      this.#handlers.remove();
    });
    form.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") close(this.#label?.text === "");
    });
    form.addEventListener("focusout", (event) => {
      if (!form.contains(event.relatedTarget as Node | null)) close(true);
    });
    this.#editor = form;
    this.root.append(form);
    this.root.classList.add("is-edited");
    input.focus();
    input.select();
  }

  #input(value: string): HTMLInputElement {
    const input = create("input", { type: "text", value, maxLength: TEXT_MAX, placeholder: "write something" });
    input.setAttribute("aria-label", "Text of the label");
    return input;
  }

  #swatches(input: HTMLInputElement): HTMLElement[] {
    return LABEL_COLORS.map((color) => {
      const swatch = create("button", { type: "button", className: "dot", title: color });
      swatch.dataset.color = color;
      swatch.setAttribute("aria-label", color);
      swatch.addEventListener("click", () => this.#handlers.change({ color, text: input.value.trim() }));
      return swatch;
    });
  }

  /** Closes the editor. `text` is the label's new text, or `undefined` to keep the old one. */
  #close(form: HTMLFormElement, text: string | undefined): void {
    if (this.#editor !== form) return;
    this.#editor = undefined;
    form.remove();
    this.root.classList.remove("is-edited");
    if (text === undefined) return;
    // A label without a text is deleted.
    if (text === "") this.#handlers.remove();
    else this.#handlers.change({ text });
  }

  #down(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#button.setPointerCapture(event.pointerId);
    const at = this.#handlers.spotAt(event.clientX, event.clientY);
    const offset: Spot = [this.spot[0] - at[0], this.spot[1] - at[1]];
    this.#press = { x: event.clientX, y: event.clientY, offset, isDrag: false };
  }

  #move(event: PointerEvent): void {
    const press = this.#press;
    if (!press) return;
    press.isDrag ||= Math.hypot(event.clientX - press.x, event.clientY - press.y) > SLOP;
    if (press.isDrag) this.#handlers.drag(this.#spot(event, press.offset));
    this.root.classList.toggle("is-dragged", press.isDrag);
  }

  #up(event: PointerEvent): void {
    const press = this.#press;
    this.#press = undefined;
    this.root.classList.remove("is-dragged");
    if (!press) return;
    if (press.isDrag) this.#handlers.drop(this.#spot(event, press.offset));
    else if (event.type === "pointerup") this.edit();
  }

  #spot(event: PointerEvent, [x, y]: Spot): Spot {
    const at = this.#handlers.spotAt(event.clientX, event.clientY);
    return [at[0] + x, at[1] + y];
  }

  #key(event: KeyboardEvent): void {
    const far = event.shiftKey ? 8 : 1;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => this.#handlers.step(-far, 0),
      ArrowRight: () => this.#handlers.step(far, 0),
      ArrowUp: () => this.#handlers.step(0, -far),
      ArrowDown: () => this.#handlers.step(0, far),
      Enter: () => this.edit(),
      Delete: () => this.#handlers.remove(),
      Backspace: () => this.#handlers.remove(),
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }
}
