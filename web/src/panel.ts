// The side panel: the chunk at the cursor, the user's own edits, and the traffic. The panel is
// updated at a fixed rate, independent of events.

import type { Chunk, World } from "@driftless/client";
import type { Board } from "./board.js";
import type { BotWorker } from "./bot-worker.js";
import { byId, create } from "./dom.js";
import { percentile } from "./frames.js";
import type { Painting } from "./painting.js";
import { Plot } from "./plot.js";
import type { Ended, Tally } from "./tally.js";
import type { Labels } from "./labels.js";
import type { ChunkPlace, View } from "./view.js";

const EVERY_MS = 150;
/** The number of newest latencies from which the median and the 95th percentile are computed. */
const SAMPLES = 200;

export interface PanelParts {
  readonly world: World;
  readonly view: View;
  readonly board: Board;
  readonly painting: Painting;
  readonly labels: Labels | undefined;
  readonly tally: Tally;
  readonly bots: BotWorker;
  /** The chunk that the panel shows. */
  place(): ChunkPlace | undefined;
}

export class Panel {
  readonly #parts: PanelParts;
  readonly #plot = new Plot(byId("plot") as HTMLCanvasElement);
  #print = "";
  #traffic: { at: number; received: number; rate: number }[] = [];

  constructor(parts: PanelParts) {
    this.#parts = parts;
    setInterval(() => !document.hidden && this.show(), EVERY_MS);
  }

  show(): void {
    const place = this.#parts.place();
    this.#showWorld();
    this.#showChunk(place, place && this.#parts.painting.chunk(place.id));
    this.#showEdits();
    this.#showWindow();
    this.#showMap(place);
  }

  #showWorld(): void {
    const { status } = this.#parts.world;
    byId("state").className = `state is-${status}`;
    text("state-text", { online: "live", connecting: "connecting", offline: "offline", closed: "ended" }[status]);
    byId("offline").setAttribute("aria-pressed", String(status === "offline"));
    text("offline", status === "offline" ? "Go online" : "Go offline", "span");
    const { isOn, state } = this.#parts.bots;
    byId("bots").setAttribute("aria-pressed", String(isOn));
    text("bots", isOn ? `Stop · ${Math.round(state?.perSecond ?? 0)}/s` : "Add 20 bots", "span");
  }

  #showChunk(place: ChunkPlace | undefined, chunk: Chunk | undefined): void {
    text("chunk-id", place?.id ?? "—");
    const status = chunk?.status ?? "loading";
    const offline = this.#parts.world.status !== "online" && status === "lagging";
    text("chunk-status", offline ? "no updates" : status);
    byId("chunk-status").className = `badge is-${status}`;
    const hash = chunk?.hash;
    text("version", hash === undefined ? "—" : (chunk?.version.toLocaleString("en") ?? "—"));
    text("hash", hash?.slice(0, 12) ?? "—");
    byId("hash").title = hash ?? "";
    this.#showPrint(hash);
    const checked = place && this.#parts.tally.checked(place.id);
    text("verified", checked ? `${age(performance.now() - checked.at)} ago, ${checked.by}` : "not yet");
    const pending = chunk?.pending.length ?? 0;
    text("pending", pending === 0 ? "none" : `${pending} command${pending === 1 ? "" : "s"}`);
    byId("pending").className = pending > 0 ? "warn" : "";
    const labels = place && this.#parts.labels?.at(place);
    text("labels", labels ? `${labels.map.keys().length}, version ${labels.version}, ${labels.status}` : "—");
    text("why", chunk?.error?.message ?? "");
    const last = place
      ? [...this.#parts.tally.last(place.id), ...(labels ? this.#parts.tally.last(labels.id) : [])]
      : [];
    this.#showOutcomes(last.sort((one, other) => other.at - one.at).slice(0, 3));
  }

  #showOutcomes(last: readonly Ended[]): void {
    const list = byId("outcomes");
    const lines = last.map(({ outcome, ms }) => [outcome.kind, describe(outcome), inMs(ms)] as const);
    const key = JSON.stringify(lines);
    if (list.dataset.key === key) return;
    list.dataset.key = key;
    list.replaceChildren(
      ...lines.map(([kind, words, ms]) => {
        const item = create("li", { className: `is-${kind}` });
        item.append(`${words} `, create("span", { textContent: ms }));
        item.title = words;
        return item;
      }),
    );
  }

  /**
   * Draws the hash as a mirrored pattern of 5 × 5 cells, which the eye can compare between windows.
   */
  #showPrint(hash: string | undefined): void {
    if (this.#print === (hash ?? "")) return;
    this.#print = hash ?? "";
    const canvas = byId("print") as HTMLCanvasElement;
    const context = canvas.getContext("2d") as CanvasRenderingContext2D;
    context.clearRect(0, 0, 5, 5);
    if (!hash) return;
    const byte = (at: number) => Number.parseInt(hash.slice(2 * at, 2 * at + 2), 16);
    const hue = Math.round((byte(31) / 256) * 360);
    for (let at = 0; at < 15; at += 1) {
      const [x, y] = [at % 3, Math.floor(at / 3)];
      const value = byte(at);
      if (value < 110) continue;
      context.fillStyle = `hsl(${hue + (value & 1) * 40} 65% ${value < 190 ? 55 : 42}%)`;
      context.fillRect(x, y, 1, 1);
      context.fillRect(4 - x, y, 1, 1);
    }
  }

  #showEdits(): void {
    const { tally, world } = this.#parts;
    const sorted = tally.latencies.slice(-SAMPLES).sort((one, other) => one - other);
    const isSome = sorted.length > 0;
    text("latency", isSome ? inMs(tally.latencies.at(-1) ?? 0) : "—");
    text("median", isSome ? inMs(percentile(sorted, 0.5)) : "—");
    text("p95", isSome ? inMs(percentile(sorted, 0.95)) : "—");
    const { counts } = tally;
    const isShown = (name: string) => name === "committed" || name === "discarded";
    const names = Object.entries(counts).filter(([name, count]) => count > 0 || isShown(name));
    const key = JSON.stringify([names, world.pending]);
    const list = byId("counts");
    if (list.dataset.key !== key) {
      list.dataset.key = key;
      list.replaceChildren(count("pending", world.pending), ...names.map(([name, number]) => count(name, number)));
    }
    if (byId("plot").clientWidth > 0) this.#plot.draw(tally.commits);
  }

  #showWindow(): void {
    const { world, board, painting } = this.#parts;
    const now = performance.now();
    const { received, sent } = world.traffic;
    this.#traffic = [...this.#traffic.filter(({ at }) => now - at < 2000), { at: now, received, rate: 0 }];
    const first = this.#traffic[0];
    const rate = first && now > first.at ? (1000 * (received - first.received)) / (now - first.at) : 0;
    text("received", `${bytes(received)}${rate > 1 ? `, ${bytes(rate)}/s` : ""}`);
    text("sent", bytes(sent));
    const chunks = [...painting.chunks.values()];
    text("chunks", `${chunks.filter(({ status }) => status === "live").length} of ${chunks.length}`);
    const work = board.frames.work.slice(-60).toSorted((one, other) => one - other);
    text("fps", work.length > 0 ? `${board.frames.drawn} frames/s, ${percentile(work, 0.5).toFixed(1)} ms` : "—");
  }

  #showMap(under: ChunkPlace | undefined): void {
    const places = this.#parts.view.visible();
    const map = byId("map");
    map.classList.toggle("is-many", places.length > 60);
    const [left, top] = [Math.min(...places.map(({ cx }) => cx)), Math.min(...places.map(({ cy }) => cy))];
    while (map.children.length > places.length) map.lastChild?.remove();
    while (map.children.length < places.length) map.append(document.createElement("i"));
    places.forEach((place, at) => {
      const chunk = this.#parts.painting.chunk(place.id);
      const dot = map.children[at] as HTMLElement;
      const isUnder = place.id === under?.id;
      const hasPending = chunk !== undefined && chunk.pending.length > 0;
      const name = `${chunk?.status ?? "loading"}${isUnder ? " is-under" : ""}${hasPending ? " has-pending" : ""}`;
      if (dot.className !== name) dot.className = name;
      const title = `${place.id}: ${chunk?.status ?? "loading"}`;
      if (dot.title !== title) dot.title = title;
      const [column, row] = [String(place.cx - left + 1), String(place.cy - top + 1)];
      if (dot.style.gridColumnStart !== column) dot.style.gridColumnStart = column;
      if (dot.style.gridRowStart !== row) dot.style.gridRowStart = row;
    });
  }
}

function text(id: string, value: string, inside?: string): void {
  const element = inside ? byId(id).querySelector(inside) : byId(id);
  if (element && element.textContent !== value) element.textContent = value;
}

function count(name: string, number: number): HTMLElement {
  const item = create("li", { className: number === 0 ? "none" : `is-${name}` });
  item.append(create("b", { textContent: number.toLocaleString("en") }), ` ${name}`);
  return item;
}

function describe(outcome: Ended["outcome"]): string {
  switch (outcome.kind) {
    case "committed":
      return outcome.version === undefined ? "committed" : `committed at version ${outcome.version}`;
    case "discarded":
      return `discarded: ${outcome.detail || outcome.reason}`;
    case "rejected":
      return `rejected: ${outcome.detail || outcome.code}`;
    case "withdrawn":
      return "withdrawn";
    case "unknown":
      return `unknown: ${outcome.detail}`;
  }
}

function inMs(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function age(ms: number): string {
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

function bytes(count: number): string {
  if (count < 1000) return `${Math.round(count)} B`;
  const [value, unit] = count < 1e6 ? [count / 1000, "kB"] : [count / 1e6, "MB"];
  return `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
}
