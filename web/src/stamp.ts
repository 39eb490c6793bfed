// Makes stamps: built-in pictures or other images, converted to the world's colours.

import type { Palette } from "./palette.js";
import type { Sprite } from "./pictures.js";

/** The longer side of an image in cells, by the tool's size. */
const SIDES = [32, 64, 120] as const;
/** The width of a built-in picture's pixel in cells, by the tool's size. */
const SCALES = [1, 2, 4] as const;

export interface Stamp {
  readonly width: number;
  readonly height: number;
  /** Values of the palette, or -1 for transparent. x fastest. */
  readonly values: Int16Array;
}

export type Source = { readonly sprite: Sprite } | { readonly image: ImageBitmap; readonly name: string };

/** Makes a stamp. `size` is 0, 1 or 2. */
export function make(source: Source, size: number, palette: Palette): Stamp {
  if ("sprite" in source) return ofSprite(source.sprite, SCALES[size] ?? 1, palette);
  return ofImage(source.image, SIDES[size] ?? 32, palette);
}

function ofSprite(sprite: Sprite, scale: number, palette: Palette): Stamp {
  const [width, height] = [sprite.width * scale, sprite.height * scale];
  const values = new Int16Array(width * height);
  for (let at = 0; at < values.length; at += 1) {
    const [x, y] = [Math.floor((at % width) / scale), Math.floor(at / width / scale)];
    const color = sprite.colors[x + y * sprite.width];
    values[at] = color === undefined ? -1 : palette.nearest(color);
  }
  return { width, height, values };
}

function ofImage(image: ImageBitmap, side: number, palette: Palette): Stamp {
  const scale = side / Math.max(image.width, image.height);
  const width = Math.max(1, Math.round(image.width * scale));
  const height = Math.max(1, Math.round(image.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d") as OffscreenCanvasRenderingContext2D;
  context.imageSmoothingQuality = "high";
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(image, 0, 0, width, height);
  return { width, height, values: palette.reduce(context.getImageData(0, 0, width, height)) };
}

/** Draws a stamp on a canvas, one pixel for each cell. */
export function draw(stamp: Stamp, canvas: HTMLCanvasElement, palette: Palette): void {
  Object.assign(canvas, { width: stamp.width, height: stamp.height });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(stamp.width, stamp.height);
  stamp.values.forEach((value, at) => {
    if (value >= 0) image.data.set([...palette.rgb(value), 255], 4 * at);
  });
  context.putImageData(image, 0, 0);
}
