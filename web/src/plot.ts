// Plots the latencies of the last half minute over time, on a logarithmic scale, so that a slow
// edit does not flatten the others.

import type { Ended } from "./tally.js";

const SPAN_MS = 30_000;
const LINES_MS = [1, 10, 100, 1000, 10_000];

export class Plot {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #newest = -1;
  #wasEmpty = false;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d") as CanvasRenderingContext2D;
  }

  draw(commits: readonly Ended[]): void {
    const now = performance.now();
    const seen = commits.filter(({ at }) => now - at < SPAN_MS);
    const newest = seen.at(-1)?.at ?? -1;
    // An empty plot does not change.
    if (seen.length === 0 && this.#wasEmpty && newest === this.#newest && this.#canvas.width > 300) return;
    this.#newest = newest;
    this.#wasEmpty = seen.length === 0;
    const ratio = devicePixelRatio;
    const [width, height] = [
      Math.round(this.#canvas.clientWidth * ratio),
      Math.round(this.#canvas.clientHeight * ratio),
    ];
    if (width === 0) return;
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    const context = this.#context;
    const style = getComputedStyle(this.#canvas);
    const color = (name: string) => style.getPropertyValue(name);
    context.clearRect(0, 0, width, height);
    const most = Math.max(100, ...seen.map(({ ms }) => ms)) * 1.4;
    const scale = (height - 8 * ratio) / Math.log10(most);
    const y = (ms: number) => height - 3 * ratio - Math.log10(Math.max(ms, 1)) * scale;
    context.font = `${Math.round(9.5 * ratio)}px ui-monospace, monospace`;
    context.textBaseline = "bottom";
    for (const line of LINES_MS.filter((ms) => y(ms) > 12 * ratio)) {
      context.fillStyle = color("--line");
      context.fillRect(0, Math.round(y(line)), width, Math.max(1, Math.round(ratio / 2)));
      context.fillStyle = color("--muted");
      context.fillText(line < 1000 ? `${line} ms` : `${line / 1000} s`, 2 * ratio, y(line) - ratio);
    }
    context.fillStyle = color("--accent");
    const radius = 2 * ratio;
    for (const { at, ms } of seen) {
      context.globalAlpha = 0.85 - 0.6 * ((now - at) / SPAN_MS);
      context.beginPath();
      context.arc(width - ((now - at) / SPAN_MS) * width - radius, y(ms), radius, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }
}
