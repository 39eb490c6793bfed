// The labels on the canvas. A chunk of the canvas has its labels in the `things` chunk with the
// same coordinates. Dragging a label across the border of a chunk is a put and a delete: two
// commands to two chunks, which the server decides independently.

import { type Chunk, DriftlessError, type Pending, type World } from "@driftless/client";
import type { Spot } from "./tools.js";
import type { ChunkPlace, View } from "./view.js";
import { LABEL_COLORS, type Label, parseLabel } from "./label.js";
import { LabelElement } from "./label-element.js";

/** The shortest time between two commands that move a label while the user drags it. */
const DRAG_MS = 70;
/** The largest number of invisible chunks that stay tracked. */
const UNSEEN_MAX = 48;
/** Below this scale, in CSS pixels a cell, labels show no text. */
const SCALE_MIN = 0.9;

export interface LabelsHost {
  tracked(chunk: Chunk): void;
  refused(why: string): void;
  /** Takes own commands that one undo takes back together. */
  submitted(pendings: readonly Pending[]): void;
}

export class Labels {
  readonly #world: World;
  readonly #view: View;
  readonly #family: string;
  readonly #root: HTMLElement;
  readonly #host: LabelsHost;
  readonly #chunks = new Map<string, { chunk: Chunk; place: ChunkPlace }>();
  readonly #elements = new Map<string, LabelElement>();
  #color = 0;
  #dragged: { key: string; pendings: Pending[]; at: number } | undefined;

  constructor(world: World, view: View, family: string, root: HTMLElement, host: LabelsHost) {
    this.#world = world;
    this.#view = view;
    this.#family = family;
    this.#root = root;
    this.#host = host;
  }

  /** The `things` chunk with the labels of a chunk of the canvas. */
  at({ cx, cy }: ChunkPlace): Chunk | undefined {
    return this.#chunks.get(this.#id(cx, cy))?.chunk;
  }

  /** Follows the visible chunks. */
  look(places: readonly ChunkPlace[]): void {
    const seen = new Set(places.map(({ cx, cy }) => this.#id(cx, cy)));
    for (const place of places) this.#track(place);
    const unseen = [...this.#chunks.keys()].filter((id) => !seen.has(id));
    for (const id of unseen.slice(0, Math.max(0, unseen.length - UNSEEN_MAX))) {
      this.#chunks.get(id)?.chunk.untrack();
      this.#chunks.delete(id);
      for (const [key, element] of this.#elements) if (element.chunkId === id) this.#remove(key);
    }
  }

  /** Moves the labels' elements, because the view moved. */
  moved(): void {
    // When zoomed out, there is no room for texts.
    this.#root.classList.toggle("is-far", this.#view.scale / this.#view.ratio < SCALE_MIN);
    for (const element of this.#elements.values()) this.#placeElement(element);
  }

  // ---- edits ----

  /** Puts a new label on a cell, and opens its editor. */
  add(spot: Spot): void {
    const place = this.#view.placeOf(...spot);
    const chunk = place && this.#track(place);
    if (!chunk) return;
    const random = crypto.getRandomValues(new Uint8Array(6));
    const key = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const color = LABEL_COLORS[this.#color++ % LABEL_COLORS.length] ?? "ink";
    const label: Label = { ...this.#within(spot, place), text: "", color };
    this.#submit(() => [chunk.map.put(key, JSON.stringify(label), { guard: "absent" })]);
    this.#elements.get(key)?.edit();
  }

  #change(key: string, change: Partial<Label>): void {
    const found = this.#find(key);
    if (!found) return;
    const { chunk, label, raw } = found;
    const value = JSON.stringify({ ...label, ...change });
    if (value !== raw) this.#submit(() => [chunk.map.put(key, value, { guard: { holds: raw } })]);
  }

  #delete(key: string): void {
    const found = this.#find(key);
    if (found) this.#submit(() => [found.chunk.map.delete(key, { guard: { holds: found.raw } })]);
  }

  /**
   * Moves a label to a world cell: by one put within a chunk, by a put and a delete across a
   * border.
   */
  #move(key: string, spot: Spot): Pending[] {
    const found = this.#find(key);
    const place = this.#view.placeOf(...spot);
    const target = place && this.#track(place);
    if (!found || !target) return [];
    const { chunk, label, raw } = found;
    const value = JSON.stringify({ ...label, ...this.#within(spot, place) });
    if (chunk === target) return value === raw ? [] : [chunk.map.put(key, value, { guard: { holds: raw } })];
    // The put comes first, so that the label keeps its element, and the element keeps the focus.
    return [target.map.put(key, value, { guard: "absent" }), chunk.map.delete(key, { guard: { holds: raw } })];
  }

  // ---- what is shown ----

  #track(place: ChunkPlace): Chunk | undefined {
    const id = this.#id(place.cx, place.cy);
    const known = this.#chunks.get(id);
    if (known) return known.chunk;
    const chunk = this.#try(() => this.#world.track(id));
    if (!chunk) return undefined;
    this.#chunks.set(id, { chunk, place });
    this.#host.tracked(chunk);
    chunk.on("change", (change) => this.#changed(chunk, place, change.keys ?? undefined));
    chunk.on("rollback", ({ pending, outcome }) => {
      if (outcome.kind === "withdrawn") return;
      const { put, delete: deleted } = pending.command as { put?: { key: string }; delete?: { key: string } };
      const key = put?.key ?? deleted?.key;
      if (key) this.#elements.get(key)?.flash();
    });
    this.#changed(chunk, place, undefined);
    return chunk;
  }

  #changed(chunk: Chunk, place: ChunkPlace, keys: readonly string[] | undefined): void {
    for (const key of keys ?? this.#keysOf(chunk)) {
      const label = parseLabel(chunk.map.text(key), this.#view);
      const element = this.#elements.get(key);
      if (!label) {
        // If the label moved to another chunk, its element stays.
        if (element?.chunkId === chunk.id) this.#remove(key);
        continue;
      }
      if (element && element.chunkId !== chunk.id && this.#chunks.get(element.chunkId)?.chunk.map.has(key)) {
        // While a label crosses a border, both chunks have it for a moment. A pending entry is
        // newer than a committed one, so the element does not follow the committed entry.
        if (!chunk.map.isPending(key) && this.#chunks.get(element.chunkId)?.chunk.map.isPending(key)) continue;
      }
      const shown = element ?? this.#element(key);
      shown.chunkId = chunk.id;
      // A dragged label stays at the pointer.
      if (!shown.isDragged)
        shown.spot = [place.cx * this.#view.width + label.x, place.cy * this.#view.height + label.y];
      shown.show(label, chunk.map.isPending(key));
      this.#placeElement(shown);
    }
  }

  /** The keys that a chunk has now, and those of elements that still show labels of the chunk. */
  #keysOf(chunk: Chunk): Set<string> {
    const shown = [...this.#elements].filter(([, { chunkId }]) => chunkId === chunk.id).map(([key]) => key);
    return new Set([...chunk.map.keys(), ...shown]);
  }

  #element(key: string): LabelElement {
    const element = new LabelElement({
      spotAt: (x, y) => {
        const box = this.#root.getBoundingClientRect();
        const [cx, cy] = this.#view.cellAt((x - box.left) * this.#view.ratio, (y - box.top) * this.#view.ratio);
        return [Math.floor(cx), Math.floor(cy)];
      },
      drag: (spot) => this.#drag(key, spot),
      drop: (spot) => this.#drop(key, spot),
      step: (dx, dy) => {
        const [x, y] = element.spot;
        this.#submit(() => this.#move(key, [x + dx, y + dy]));
        this.#view.reveal(...element.spot);
      },
      change: (change) => this.#change(key, change),
      remove: () => this.#delete(key),
    });
    this.#elements.set(key, element);
    this.#root.append(element.root);
    return element;
  }

  #drag(key: string, spot: Spot): void {
    this.#dragged ??= { key, pendings: [], at: 0 };
    const element = this.#elements.get(key);
    if (element) {
      element.spot = spot;
      this.#placeElement(element);
    }
    const now = performance.now();
    if (now - this.#dragged.at < DRAG_MS) return;
    this.#dragged.at = now;
    this.#dragged.pendings.push(...(this.#try(() => this.#move(key, spot)) ?? []));
  }

  #drop(key: string, spot: Spot): void {
    const pendings = [...(this.#dragged?.pendings ?? []), ...(this.#try(() => this.#move(key, spot)) ?? [])];
    this.#dragged = undefined;
    this.#host.submitted(pendings);
  }

  #placeElement(element: LabelElement): void {
    const [x, y] = this.#view.css(element.spot[0] + 0.5, element.spot[1] + 0.5);
    element.place(x, y);
  }

  #remove(key: string): void {
    this.#elements.get(key)?.root.remove();
    this.#elements.delete(key);
  }

  #find(key: string): { chunk: Chunk; label: Label; raw: string } | undefined {
    const chunk = this.#chunks.get(this.#elements.get(key)?.chunkId ?? "")?.chunk;
    const raw = chunk?.map.text(key);
    const label = parseLabel(raw, this.#view);
    return chunk && raw !== undefined && label ? { chunk, label, raw } : undefined;
  }

  #within([x, y]: Spot, { cx, cy }: ChunkPlace): { x: number; y: number } {
    return { x: x - cx * this.#view.width, y: y - cy * this.#view.height };
  }

  #id(cx: number, cy: number): string {
    return `${this.#family}/${cx}/${cy}`;
  }

  #submit(submit: () => Pending[]): void {
    const pendings = this.#try(submit);
    if (pendings) this.#host.submitted(pendings);
  }

  #try<R>(action: () => R): R | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof DriftlessError)) throw error;
      this.#host.refused(error.message);
      return undefined;
    }
  }
}
