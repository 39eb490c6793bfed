// A label as a `things` chunk stores it: an entry of a `map`, with a random key and JSON as its
// value.

import type { View } from "./view.js";

export const LABEL_COLORS = ["coral", "amber", "teal", "blue", "plum", "ink"] as const;
/** Characters of a label's text. */
export const TEXT_MAX = 40;

export interface Label {
  /** The cell within the chunk. */
  readonly x: number;
  readonly y: number;
  readonly text: string;
  readonly color: (typeof LABEL_COLORS)[number];
}

/** Reads a value of a `things` chunk. Returns `undefined` if the value is not a label. */
export function parseLabel(value: string | undefined, { width, height }: View): Label | undefined {
  try {
    const { x, y, text, color } = JSON.parse(value ?? "") as Record<string, unknown>;
    if (!isBelow(x, width) || !isBelow(y, height) || typeof text !== "string") return undefined;
    const known = LABEL_COLORS.find((name) => name === color) ?? "ink";
    return { x, y, text: text.slice(0, TEXT_MAX), color: known };
  } catch {
    return undefined;
  }
}

/** Whether a value is a whole number from 0 to `extent` - 1. */
function isBelow(value: unknown, extent: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < extent;
}
