// Starts and stops the worker of the bots (`bots.ts`), and tells it where to paint.

import type { Address } from "./address.js";
import type { FromBots, Start, ToBots } from "./bots.js";
import type { Box, View } from "./view.js";

const COUNT = 20;
/** The largest region that the bots paint, in cells around the middle of the view. */
const REGION_MAX = 768;

export class BotWorker {
  /** Runs when the bots start, report, or end. */
  changed: () => void = () => {};
  /** Runs when the bots end without being stopped. */
  failed: (why: string) => void = () => {};
  /** The last report of the worker. */
  state: FromBots | undefined;
  readonly #address: Address;
  readonly #view: View;
  #worker: Worker | undefined;
  #region = "";

  constructor(address: Address, view: View) {
    this.#address = address;
    this.#view = view;
  }

  get isOn(): boolean {
    return this.#worker !== undefined;
  }

  start(): void {
    if (this.#worker) return;
    const worker = new Worker(new URL("./bots.ts", import.meta.url), { type: "module", name: "bots" });
    this.#worker = worker;
    this.state = { committed: 0, perSecond: 0, pending: 0 };
    worker.addEventListener("message", ({ data }: MessageEvent<FromBots>) => {
      if (this.#worker === worker) this.state = data;
      if (data.ended !== undefined) {
        worker.terminate();
        if (this.#worker === worker) this.#worker = undefined;
        if (data.ended) this.failed(data.ended);
      }
      this.changed();
    });
    worker.addEventListener("error", (event) => {
      worker.terminate();
      if (this.#worker === worker) this.#worker = undefined;
      this.failed(event.message || "the worker of the bots did not start");
      this.changed();
    });
    const start: Start = { address: this.#address, count: COUNT, region: this.#around() };
    worker.postMessage({ start } satisfies ToBots);
    this.changed();
  }

  stop(): void {
    this.#worker?.postMessage({ stop: true } satisfies ToBots);
    this.#worker = undefined;
    this.changed();
  }

  /** Sends the worker the new region to paint, if the view moved far enough to change it. */
  look(): void {
    if (!this.#worker) return;
    const region = this.#around();
    const key = JSON.stringify(region);
    if (key === this.#region) return;
    this.#region = key;
    this.#worker.postMessage({ region } satisfies ToBots);
  }

  /** The region to paint, in whole tiles, so that a small movement does not change it. */
  #around(): Box {
    const { screen, scale } = this.#view;
    const width = Math.min(screen.width / scale, REGION_MAX);
    const height = Math.min(screen.height / scale, REGION_MAX);
    const x = this.#view.x + (screen.width / scale - width) / 2;
    const y = this.#view.y + (screen.height / scale - height) / 2;
    const tile = (value: number) => Math.floor(value / 32) * 32;
    return { x: tile(x), y: tile(y), width: tile(width) + 32, height: tile(height) + 32 };
  }
}
