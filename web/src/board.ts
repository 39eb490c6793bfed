// Draws the cells of each chunk, a hatch on uncommitted cells, and red flashes where an edit was
// discarded. The board draws only what changed, at most once in each animation frame of the
// browser. The cursor, the marks and the labels above the cells are HTML elements, and not drawn
// here.

import type { Change, Chunk } from "@driftless/client";
import { create } from "./dom.js";
import { Frames } from "./frames.js";
import { Layer, union } from "./layer.js";
import type { Box, ChunkPlace, View } from "./view.js";

const FLASH_MS = 1000;
/** The largest number of boxes of a chunk that a frame draws one by one. More are joined to one. */
const BOXES_MAX = 6;

/** The text that the board writes on a chunk, by the chunk's status. */
const STATUS_TEXTS: Partial<Record<Chunk["status"], string>> = {
  loading: "loading…",
  unavailable: "unavailable now",
  rejected: "not served to you",
  failed: "given up",
};

interface Flash {
  readonly place: ChunkPlace;
  /** The cells that flash, in world coordinates. */
  readonly boxes: readonly Box[];
  readonly until: number;
}

export class Board {
  readonly frames = new Frames();
  /** Runs in an animation frame, before drawing, if the {@link View} was panned or zoomed. */
  moved: () => void = () => {};
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #view: View;
  readonly #palette: Uint32Array;
  readonly #chunkOf: (id: string) => Chunk | undefined;
  readonly #layers = new Map<string, Layer>();
  /** Boxes to draw again, in world cells, by chunk. */
  readonly #dirty = new Map<string, Box[]>();
  #isAllDirty = true;
  #hasMoved = true;
  #flashes: Flash[] = [];
  #frame = 0;
  #colors: Record<string, string> = {};
  #hatch: CanvasPattern | undefined;

  constructor(canvas: HTMLCanvasElement, view: View, palette: Uint32Array, chunkOf: (id: string) => Chunk | undefined) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false }) as CanvasRenderingContext2D;
    this.#view = view;
    this.#palette = palette;
    this.#chunkOf = chunkOf;
    this.#readColors();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#readColors();
      this.draw();
    });
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
  }

  // ---- what changed ----

  /** Draws the changed cells of a chunk in the next frame. */
  changed(chunk: Chunk, change: Change): void {
    const place = this.#placeOf(chunk.id);
    if (!place) return;
    let layer = this.#layers.get(chunk.id);
    if (!layer) this.#layers.set(chunk.id, (layer = new Layer(this.#view.width, this.#view.height, this.#palette)));
    const { x, y } = this.#view.chunkBox(place);
    for (const box of layer.take(chunk, change)) this.#touch(chunk.id, { ...box, x: box.x + x, y: box.y + y });
  }

  /** Draws a whole chunk again, because its status changed. */
  touched(id: string): void {
    const place = this.#placeOf(id);
    if (place) this.#touch(id, this.#view.chunkBox(place));
  }

  forget(id: string): void {
    this.#layers.delete(id);
  }

  /** Lets the boxes, in cells of the chunk, flash, because an own edit was not committed. */
  flash(id: string, boxes: readonly Box[]): void {
    const place = this.#placeOf(id);
    if (!place || boxes.length === 0) return;
    const { x, y } = this.#view.chunkBox(place);
    const inWorld = boxes.map((box) => ({ ...box, x: box.x + x, y: box.y + y }));
    this.#flashes.push({ place, boxes: inWorld, until: performance.now() + FLASH_MS });
    this.#request();
  }

  /** Draws everything again in the next frame, because the {@link View} was panned or zoomed. */
  move(): void {
    this.#hasMoved = true;
    this.draw();
  }

  draw(): void {
    this.#isAllDirty = true;
    this.#request();
  }

  /** The RGBA values of a chunk as drawn. */
  pixels(id: string): Uint8ClampedArray | undefined {
    return this.#layers.get(id)?.rgba();
  }

  /** The middle of a world cell, in CSS pixels of the canvas. */
  whereIs(x: number, y: number): { x: number; y: number } {
    const [left, top] = this.#view.css(x + 0.5, y + 0.5);
    return { x: left, y: top };
  }

  // ---- frames ----

  #touch(id: string, box: Box): void {
    if (this.#isAllDirty) return this.#request();
    const boxes = this.#dirty.get(id);
    if (!boxes) this.#dirty.set(id, [box]);
    else if (boxes.length < BOXES_MAX) boxes.push(box);
    else boxes.splice(0, boxes.length, boxes.reduce(union, box));
    this.#request();
  }

  #request(): void {
    this.#frame ||= requestAnimationFrame((at) => {
      this.#frame = 0;
      const began = performance.now();
      this.#paint(began);
      this.frames.count(at, performance.now() - began);
    });
  }

  /**
   * Draws at once, because a new size empties the canvas and the next frame would show it empty.
   */
  #resize(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#view.resize(width, height, ratio);
    this.#hatch = undefined;
    this.#hasMoved = this.#isAllDirty = true;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#paint(performance.now());
  }

  #paint(now: number): void {
    if (this.#hasMoved) {
      this.#hasMoved = false;
      this.moved();
    }
    for (const flash of this.#flashes) this.#dirtyFlash(flash);
    this.#flashes = this.#flashes.filter(({ until }) => until > now);
    const visible = this.#view.visible();
    if (this.#isAllDirty) this.#paintAll(visible, now);
    else for (const place of visible) this.#paintDirty(place, now);
    this.#dirty.clear();
    this.#isAllDirty = false;
    if (this.#flashes.length > 0) this.#request();
  }

  #paintAll(visible: readonly ChunkPlace[], now: number): void {
    const { width, height } = this.#view.screen;
    this.#context.fillStyle = this.#color("--board");
    this.#context.fillRect(0, 0, width, height);
    for (const place of visible) this.#paintChunk(place);
    this.#paintFlashes(now);
  }

  #paintDirty(place: ChunkPlace, now: number): void {
    for (const box of this.#dirty.get(place.id) ?? []) this.#paintBox(place, box, now);
  }

  #paintBox(place: ChunkPlace, box: Box, now: number): void {
    const { x, y, width, height } = this.#view.device(box);
    this.#context.save();
    this.#context.beginPath();
    // Adds a pixel on each side, because a scaled image bleeds over its edges.
    this.#context.rect(x - 1, y - 1, width + 2, height + 2);
    this.#context.clip();
    for (const near of this.#touching(place, box)) this.#paintChunk(near);
    this.#paintFlashes(now);
    this.#context.restore();
  }

  /**
   * The chunk of a box, and the neighbours that share an edge with the box and may bleed into it.
   */
  #touching(place: ChunkPlace, box: Box): ChunkPlace[] {
    const own = this.#view.chunkBox(place);
    const steps = (from: number, extent: number, whole: number, wholeExtent: number) => [
      ...(from <= whole ? [-1] : []),
      0,
      ...(from + extent >= whole + wholeExtent ? [1] : []),
    ];
    const across = steps(box.x, box.width, own.x, own.width);
    const down = steps(box.y, box.height, own.y, own.height);
    const places = down.flatMap((dy) => across.map((dx) => this.#view.place(place.cx + dx, place.cy + dy)));
    return places.filter((near) => near !== undefined);
  }

  #paintChunk(place: ChunkPlace): void {
    const context = this.#context;
    const box = this.#view.device(this.#view.chunkBox(place));
    const layer = this.#layers.get(place.id);
    const chunk = this.#chunkOf(place.id);
    const status = chunk?.status ?? "loading";
    if (layer?.isShown) {
      context.imageSmoothingEnabled = this.#view.scale < 1;
      context.drawImage(layer.image(), box.x, box.y, box.width, box.height);
      if (layer.pending.length > 0) this.#paintPending(layer, place);
    } else {
      const isRefused = status === "rejected" || status === "failed";
      context.fillStyle = this.#color(isRefused ? "--board-refused" : "--board-empty");
      context.fillRect(box.x, box.y, box.width, box.height);
    }
    const line = Math.max(1, Math.round(this.#view.ratio));
    context.fillStyle = this.#color("--board-line");
    context.fillRect(box.x, box.y, box.width, line);
    context.fillRect(box.x, box.y + line, line, box.height - line);
    const text = status === "loading" && layer?.isShown ? "" : STATUS_TEXTS[status];
    if (text && box.width > 90 * this.#view.ratio) this.#write(text, box);
  }

  #write(text: string, box: Box): void {
    const context = this.#context;
    context.fillStyle = this.#color("--muted");
    context.font = `${Math.round(12 * this.#view.ratio)}px ui-monospace, monospace`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, box.x + box.width / 2, box.y + box.height / 2, box.width - 8);
  }

  /** Hatches the uncommitted cells. The image below has their colours already. */
  #paintPending(layer: Layer, place: ChunkPlace): void {
    const { x, y } = this.#view.chunkBox(place);
    const context = this.#context;
    context.fillStyle = this.#hatch ??= hatch(context, this.#view.ratio);
    for (const box of layer.pending) {
      const { x: left, y: top, width, height } = this.#view.device({ ...box, x: box.x + x, y: box.y + y });
      context.fillRect(left, top, width, height);
    }
  }

  #dirtyFlash({ place, boxes }: Flash): void {
    if (boxes.length > 0) this.#touch(place.id, boxes.reduce(union));
  }

  #paintFlashes(now: number): void {
    const context = this.#context;
    context.fillStyle = this.#color("--flash");
    for (const { boxes, until } of this.#flashes) {
      const left = Math.max(0, (until - now) / FLASH_MS);
      // Two pulses, which fade out.
      context.globalAlpha = left * (0.6 + 0.4 * Math.cos(left * 4 * Math.PI));
      for (const box of boxes) {
        const { x, y, width, height } = this.#view.device(box);
        context.fillRect(x, y, width, height);
      }
    }
    context.globalAlpha = 1;
  }

  #placeOf(id: string): ChunkPlace | undefined {
    const [family, cx, cy] = id.split("/");
    return family === this.#view.family ? this.#view.place(Number(cx), Number(cy)) : undefined;
  }

  #color(name: string): string {
    return this.#colors[name] ?? "#808080";
  }

  #readColors(): void {
    const style = getComputedStyle(this.#canvas);
    const names = ["--board", "--board-empty", "--board-refused", "--board-line", "--muted", "--flash"];
    this.#colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(name).trim()]));
  }
}

/**
 * Diagonal stripes, dark and light, so that they show on any colour. The stripes have the same
 * width at every zoom.
 */
function hatch(context: CanvasRenderingContext2D, ratio: number): CanvasPattern {
  const size = 6 * Math.max(1, Math.round(ratio));
  const tile = create("canvas", { width: size, height: size });
  const draw = tile.getContext("2d") as CanvasRenderingContext2D;
  for (const [from, color] of [
    [0, "rgb(255 255 255 / 75%)"],
    [size / 2, "rgb(20 20 30 / 60%)"],
  ] as const) {
    draw.fillStyle = color;
    for (const shift of [-size, 0, size]) {
      draw.beginPath();
      draw.moveTo(from + shift, size);
      draw.lineTo(from + shift + size, 0);
      draw.lineTo(from + shift + size * 1.25, 0);
      draw.lineTo(from + shift + size * 0.25, size);
      draw.fill();
    }
  }
  return context.createPattern(tile, "repeat") as CanvasPattern;
}
