// The tools: what a press, a drag and a release on the canvas do.

import type { Painting } from "./painting.js";
import type { Stamp } from "./stamp.js";
import type { Box } from "./view.js";

export const TOOLS = ["brush", "fill", "pick", "stamp", "label", "hand"] as const;
export type Tool = (typeof TOOLS)[number];
/** A world cell: [x, y]. */
export type Spot = readonly [number, number];

/** The widths of the brush in cells. The size of a stamp has the same index. */
export const SIZES = [1, 3, 9] as const;

export interface ToolHost {
  /** The pick tool took a value from the canvas. */
  picked(value: number): void;
  addLabel(spot: Spot): void;
}

export class Tools {
  tool: Tool = "brush";
  /** The value that the tools paint, an index of the palette. */
  value = 1;
  /** The index of the size in {@link SIZES}. */
  size = 1;
  stamp: Stamp | undefined;
  readonly #painting: Painting;
  readonly #host: ToolHost;
  #from: Spot | undefined;
  #last: Spot | undefined;
  #using: Tool | undefined;

  constructor(painting: Painting, host: ToolHost) {
    this.#painting = painting;
    this.#host = host;
  }

  get brush(): number {
    return SIZES[this.size] ?? 1;
  }

  /** Starts a gesture with a press. `tool` replaces the chosen tool until the release. */
  down(spot: Spot, tool: Tool = this.tool): void {
    this.#from = this.#last = spot;
    this.#using = tool;
    this.#painting.begin();
    if (tool === "brush") this.#line(spot, spot);
    else if (tool === "pick") this.#pick(spot);
    else if (tool === "stamp") this.#stampAt(spot);
  }

  drag(spot: Spot): void {
    const last = this.#last;
    if (!last || (last[0] === spot[0] && last[1] === spot[1])) return;
    this.#last = spot;
    if (this.#using === "brush") this.#line(last, spot);
    else if (this.#using === "pick") this.#pick(spot);
  }

  /** Ends the gesture. If it was cancelled, the tools that act at the release do nothing. */
  up(isCancelled = false): void {
    const { box } = this;
    const from = this.#from;
    if (from && !isCancelled && this.#using === "fill") {
      if (box) this.#painting.fillBox(box, this.value);
      else this.#painting.flood(...from, this.value);
    }
    if (from && !isCancelled && this.#using === "label") this.#host.addLabel(this.#last ?? from);
    this.#painting.end();
    this.#from = this.#last = this.#using = undefined;
  }

  /** The box that the user drags with the fill tool. */
  get box(): Box | undefined {
    const [from, to] = [this.#from, this.#last];
    if (this.#using !== "fill" || !from || !to || from === to) return undefined;
    const [x, y] = [Math.min(from[0], to[0]), Math.min(from[1], to[1])];
    return { x, y, width: Math.abs(to[0] - from[0]) + 1, height: Math.abs(to[1] - from[1]) + 1 };
  }

  /** The cells that a press on a cell would change. */
  reach([x, y]: Spot): Box {
    if (this.box) return this.box;
    const { width, height } = this.tool === "stamp" && this.stamp ? this.stamp : { width: 0, height: 0 };
    if (width > 0) return { x: x - (width >> 1), y: y - (height >> 1), width, height };
    const size = this.tool === "brush" ? this.brush : 1;
    const half = (size - 1) >> 1;
    return { x: x - half, y: y - half, width: size, height: size };
  }

  #pick(spot: Spot): void {
    const value = this.#painting.at(...spot);
    if (value !== undefined) this.#host.picked(value);
  }

  /** Paints a line from one cell to another, without gaps. */
  #line(from: Spot, to: Spot): void {
    const size = this.brush;
    const half = (size - 1) >> 1;
    const steps = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
    const cells: [number, number, number][] = [];
    for (let step = 0; step <= steps; step += 1) {
      const left = Math.round(from[0] + ((to[0] - from[0]) * step) / steps) - half;
      const top = Math.round(from[1] + ((to[1] - from[1]) * step) / steps) - half;
      for (let y = top; y < top + size; y += 1) {
        for (let x = left; x < left + size; x += 1) cells.push([x, y, this.value]);
      }
    }
    this.#painting.set(cells);
  }

  #stampAt(spot: Spot): void {
    const { stamp } = this;
    if (!stamp) return;
    const { x: left, y: top } = this.reach(spot);
    const cells: [number, number, number][] = [];
    stamp.values.forEach((value, at) => {
      if (value >= 0) cells.push([left + (at % stamp.width), top + Math.floor(at / stamp.width), value]);
    });
    this.#painting.set(cells);
  }
}
