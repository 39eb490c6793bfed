// The colours of the world's palette. Finds the value nearest to a colour, and converts pictures to
// the palette.

/** Red, green, blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

export function rgbOf(color: string): Rgb {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)) as unknown as Rgb;
}

export class Palette {
  readonly colors: readonly string[];
  readonly #rgb: readonly Rgb[];
  readonly #known = new Map<number, number>();

  constructor(colors: readonly string[]) {
    this.colors = colors;
    this.#rgb = colors.map(rgbOf);
  }

  color(value: number): string {
    return this.colors[value] ?? "#ff00b4";
  }

  rgb(value: number): Rgb {
    return this.#rgb[value] ?? [255, 0, 180];
  }

  /** Returns the value whose colour looks most like `color`. */
  nearest(color: string | Rgb): number {
    const [r, g, b] = typeof color === "string" ? rgbOf(color) : color;
    const key = (clamp(r) << 16) | (clamp(g) << 8) | clamp(b);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    let [best, least] = [0, Infinity];
    this.#rgb.forEach(([pr, pg, pb], value) => {
      // The "redmean" distance approximates what the eye sees
      // (https://www.compuphase.com/cmetric.htm).
      const mean = (r + pr) / 2;
      const distance = (2 + mean / 256) * (r - pr) ** 2 + 4 * (g - pg) ** 2 + (2 + (255 - mean) / 256) * (b - pb) ** 2;
      if (distance < least) [best, least] = [value, distance];
    });
    this.#known.set(key, best);
    return best;
  }

  /**
   * Converts a picture to values of the palette, and spreads the error of each pixel over its
   * neighbours (Floyd and Steinberg). Transparent pixels are -1.
   */
  reduce({ data, width, height }: ImageData): Int16Array {
    const values = new Int16Array(width * height);
    const error = new Float32Array((width + 2) * (height + 1) * 3);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const at = x + y * width;
        if ((data[4 * at + 3] ?? 0) < 128) {
          values[at] = -1;
          continue;
        }
        const spot = 3 * (x + 1 + y * (width + 2));
        // Spreads 80% of the error, because more makes plain areas noisy.
        const channel = (c: number) => clamp((data[4 * at + c] ?? 0) + 0.8 * (error[spot + c] ?? 0));
        const wanted: Rgb = [channel(0), channel(1), channel(2)];
        const value = this.nearest(wanted);
        values[at] = value;
        this.rgb(value).forEach((is, c) => {
          const off = (wanted[c] ?? 0) - is;
          for (const [dx, dy, part] of [
            [1, 0, 7],
            [-1, 1, 3],
            [0, 1, 5],
            [1, 1, 1],
          ] as const) {
            const to = spot + 3 * (dx + dy * (width + 2)) + c;
            error[to] = (error[to] ?? 0) + (off * part) / 16;
          }
        });
      }
    }
    return values;
  }

  /** All values, sorted: greys first, then by hue, each from dark to light. */
  sorted(): number[] {
    const order = (value: number) => {
      const [h, s, l] = hsl(this.rgb(value));
      return s < 0.12 || l > 0.95 ? l - 10 : Math.floor(h * 15) + l / 2;
    };
    return this.colors.map((_, value) => value).sort((one, other) => order(one) - order(other));
  }
}

function clamp(value: number): number {
  return Math.min(255, Math.max(0, Math.round(value)));
}

function hsl(color: Rgb): Rgb {
  const [r, g, b] = color.map((c) => c / 255) as unknown as Rgb;
  const [low, high] = [Math.min(r, g, b), Math.max(r, g, b)];
  const [l, c] = [(low + high) / 2, high - low];
  if (c === 0) return [0, 0, l];
  const h = high === r ? ((g - b) / c + 6) % 6 : high === g ? (b - r) / c + 2 : (r - g) / c + 4;
  return [h / 6, c / (1 - Math.abs(2 * l - 1)), l];
}
