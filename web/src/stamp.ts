// What the stamp tool stamps: a small built-in picture, or any image, in the world's colours.

import type { Palette } from "./palette.js";
import type { Sprite } from "./pictures.js";

/** Cells of the longer side of an image, by the tool's size. */
const SIDES = [32, 64, 120] as const;
/** How many cells a pixel of a built-in picture is wide, by the tool's size. */
const SCALES = [1, 2, 4] as const;

export interface Stamp {
  readonly width: number;
  readonly height: number;
  /** Of the palette; -1: nothing. x fastest. */
  readonly values: Int16Array;
}

export type Source = { readonly sprite: Sprite } | { readonly image: ImageBitmap; readonly name: string };

/** `size` is 0, 1 or 2. */
export function make(source: Source, size: number, palette: Palette): Stamp {
  return "sprite" in source ? ofSprite(source.sprite, SCALES[size] ?? 1, palette) : ofImage(source.image, SIDES[size] ?? 32, palette);
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

/** The stamp as it will look. */
export function draw(stamp: Stamp, canvas: HTMLCanvasElement, palette: Palette): void {
  Object.assign(canvas, { width: stamp.width, height: stamp.height });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(stamp.width, stamp.height);
  stamp.values.forEach((value, at) => {
    if (value >= 0) image.data.set([...palette.rgb(value), 255], 4 * at);
  });
  context.putImageData(image, 0, 0);
}
