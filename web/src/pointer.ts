// Input on the canvas: mouse and pen, fingers (one paints, two pan and zoom), the wheel, and the
// arrow keys.

import type { Spot, Tool, Tools } from "./tools.js";
import type { View } from "./view.js";

/**
 * A first finger paints as soon as it moved this far, in CSS pixels. Until then, a second finger
 * may follow and make the gesture a pinch.
 */
const SLOP = 5;
/** A first finger that rests for this time paints, and waits no longer for a second one. */
const ALONE_MS = 120;

export interface PointerHost {
  /** The view was panned or zoomed. */
  moved(): void;
  /** The pointer moved to the world cell `spot`, or out of the canvas (`undefined`). */
  hover(spot: Spot | undefined): void;
}

interface Finger {
  readonly startX: number;
  readonly startY: number;
  x: number;
  y: number;
}

export class Pointer {
  readonly #canvas: HTMLCanvasElement;
  readonly #view: View;
  readonly #tools: Tools;
  readonly #host: PointerHost;
  readonly #fingers = new Map<number, Finger>();
  #gesture: "paint" | "pan" | "pinch" | "wait" | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isSpaceDown = false;
  #spot: Spot | undefined;

  constructor(canvas: HTMLCanvasElement, view: View, tools: Tools, host: PointerHost) {
    this.#canvas = canvas;
    this.#view = view;
    this.#tools = tools;
    this.#host = host;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event, false));
    canvas.addEventListener("pointercancel", (event) => this.#up(event, true));
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch" && this.#gesture === undefined) this.#hover(undefined);
    });
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    const space = (isDown: boolean) => (event: KeyboardEvent) => {
      const usesSpace = "input, button, summary, textarea, a, dialog";
      if (event.code !== "Space" || (event.target as Element).closest(usesSpace)) return;
      event.preventDefault();
      this.#isSpaceDown = isDown;
      this.cursor();
    };
    addEventListener("keydown", space(true));
    addEventListener("keyup", space(false));
    addEventListener("blur", () => {
      this.#isSpaceDown = false;
      this.cursor();
    });
  }

  /** Sets the mouse cursor that shows the effect of a press. */
  cursor(): void {
    const isHand = this.#isSpaceDown || this.#tools.tool === "hand";
    this.#canvas.dataset.cursor = this.#gesture === "pan" ? "grabbing" : isHand ? "grab" : this.#tools.tool;
  }

  #down(event: PointerEvent): void {
    this.#canvas.setPointerCapture(event.pointerId);
    const { clientX: x, clientY: y } = event;
    this.#fingers.set(event.pointerId, { startX: x, startY: y, x, y });
    if (this.#fingers.size === 2) return this.#pinch();
    if (this.#fingers.size > 2) return;
    const isPan = event.button !== 0 || this.#isSpaceDown || this.#tools.tool === "hand";
    const spot = this.#at(event);
    if (isPan) {
      this.#gesture = "pan";
    } else if (event.pointerType === "touch") {
      this.#gesture = "wait";
      this.#timer = setTimeout(() => this.#press(spot), ALONE_MS);
    } else {
      this.#press(spot, event.altKey ? "pick" : undefined);
    }
    this.#hover(spot);
    this.cursor();
  }

  #press(spot: Spot, tool?: Tool): void {
    clearTimeout(this.#timer);
    this.#gesture = "paint";
    this.#tools.down(spot, tool);
  }

  #pinch(): void {
    clearTimeout(this.#timer);
    if (this.#gesture === "paint") this.#tools.up(true);
    this.#gesture = "pinch";
    this.#hover(undefined);
  }

  #move(event: PointerEvent): void {
    const finger = this.#fingers.get(event.pointerId);
    if (this.#gesture === "pinch" && finger) return this.#pinchMove(finger, event);
    if (this.#gesture === "wait" && finger) {
      if (Math.hypot(event.clientX - finger.startX, event.clientY - finger.startY) < SLOP) return;
      this.#press(this.#spotOf(finger.startX, finger.startY));
    }
    if (this.#gesture === "pan" && finger) {
      this.#view.pan((event.clientX - finger.x) * this.#view.ratio, (event.clientY - finger.y) * this.#view.ratio);
      this.#host.moved();
    } else if (this.#gesture === "paint" && finger) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length > 0 ? events : [event]) this.#tools.drag(this.#at(one));
    }
    if (finger) Object.assign(finger, { x: event.clientX, y: event.clientY });
    this.#hover(this.#at(event));
  }

  #pinchMove(finger: Finger, event: PointerEvent): void {
    const measure = () => {
      const [one, other] = [...this.#fingers.values()] as [Finger, Finger];
      const apart = Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
      return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, apart };
    };
    if (this.#fingers.size < 2) return;
    const before = measure();
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    const after = measure();
    const { ratio } = this.#view;
    this.#view.pan((after.x - before.x) * ratio, (after.y - before.y) * ratio);
    this.#view.zoom(after.apart / before.apart, this.#device(after.x, after.y));
    this.#host.moved();
  }

  #up(event: PointerEvent, isCancelled: boolean): void {
    const finger = this.#fingers.get(event.pointerId);
    this.#fingers.delete(event.pointerId);
    // The finger was lifted before `ALONE_MS` and without moving, so this is a tap, which paints.
    if (this.#gesture === "wait" && finger && !isCancelled) this.#press(this.#spotOf(finger.startX, finger.startY));
    clearTimeout(this.#timer);
    if (this.#gesture === "paint") this.#tools.up(isCancelled);
    // After a pinch, the remaining finger does nothing.
    if (this.#fingers.size === 0) this.#gesture = undefined;
    else this.#gesture = "pinch";
    this.#hover(event.pointerType === "touch" ? undefined : this.#at(event));
    this.cursor();
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const step = event.deltaMode === 1 ? 16 : 1;
    const isPan = !event.ctrlKey && (event.shiftKey || event.deltaX !== 0);
    if (isPan) {
      const factor = -step * this.#view.ratio;
      this.#view.pan(factor * (event.deltaX || event.deltaY), event.deltaX === 0 ? 0 : factor * event.deltaY);
    } else {
      const factor = Math.exp((-event.deltaY * step) / (event.ctrlKey ? 120 : 400));
      this.#view.zoom(factor, this.#device(event.clientX, event.clientY));
    }
    this.#host.moved();
    this.#hover(this.#at(event));
  }

  /**
   * The arrow keys move the cursor by one cell, or by eight with shift, and the view follows. Enter
   * is a press.
   */
  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps: Record<string, Spot> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    const spot = this.#spot ?? this.#middle();
    if (step) {
      const far = event.shiftKey ? 8 : 1;
      const next: Spot = [spot[0] + far * step[0], spot[1] + far * step[1]];
      this.#view.reveal(...next);
      this.#host.moved();
      this.#hover(next);
    } else if (event.key === "Enter") {
      this.#hover(spot);
      this.#tools.down(spot);
      this.#tools.up();
    } else {
      return;
    }
    event.preventDefault();
  }

  #middle(): Spot {
    const { width, height } = this.#view.screen;
    const [x, y] = this.#view.cellAt(width / 2, height / 2);
    return [Math.floor(x), Math.floor(y)];
  }

  #hover(spot: Spot | undefined): void {
    this.#spot = spot;
    this.#host.hover(spot);
  }

  #device(x: number, y: number): [number, number] {
    const box = this.#canvas.getBoundingClientRect();
    return [(x - box.left) * this.#view.ratio, (y - box.top) * this.#view.ratio];
  }

  #at(event: MouseEvent): Spot {
    return this.#spotOf(event.clientX, event.clientY);
  }

  #spotOf(clientX: number, clientY: number): Spot {
    const [x, y] = this.#view.cellAt(...this.#device(clientX, clientY));
    return [Math.floor(x), Math.floor(y)];
  }
}
