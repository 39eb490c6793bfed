// Measures the browser's animation frames: the time that drawing one takes, and their number.

/** The number of frames whose times are kept. */
const KEPT = 600;

export class Frames {
  /** Milliseconds that each frame took to draw, newest last. */
  readonly work: number[] = [];
  /** The time of each frame, by `performance.now()`. */
  readonly times: number[] = [];

  /** Counts a frame that began at `at` and took `work` milliseconds to draw. */
  count(at: number, work: number): void {
    keep(this.work, work);
    keep(this.times, at);
  }

  /** The number of frames drawn in the last second. */
  get drawn(): number {
    const since = performance.now() - 1000;
    return this.times.length - 1 - this.times.findLastIndex((at) => at < since);
  }

  /**
   * Measures all frames of the browser for `ms` milliseconds, also those that the board does not
   * draw. `fps` is frames a second. `p99` and `longest` are gaps between frames, and `workP99` is
   * the board's drawing time, all in milliseconds.
   */
  async measure(ms: number): Promise<{ frames: number; fps: number; p99: number; longest: number; workP99: number }> {
    const gaps: number[] = [];
    this.work.length = 0;
    const began = await frame();
    let last = began;
    while (last - began < ms) {
      const at = await frame();
      gaps.push(at - last);
      last = at;
    }
    const sorted = gaps.toSorted((one, other) => one - other);
    return {
      frames: gaps.length,
      fps: (1000 * gaps.length) / (last - began),
      p99: percentile(sorted, 0.99),
      longest: sorted.at(-1) ?? 0,
      workP99: percentile(
        this.work.toSorted((one, other) => one - other),
        0.99,
      ),
    };
  }
}

export function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

function keep(list: number[], value: number): void {
  list.push(value);
  if (list.length > KEPT) list.splice(0, list.length - KEPT);
}

function frame(): Promise<number> {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
