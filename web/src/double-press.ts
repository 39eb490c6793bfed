// Two presses on the same cell put a label there, with any tool that paints.

import type { Cursor } from "./cursor.js";
import type { Painting } from "./painting.js";
import type { Spot, Tools } from "./tools.js";

/** The longest time between the two presses. */
const BETWEEN_MS = 350;
/** The largest distance between the two presses, in cells. */
const APART_MAX = 1.5;

interface Press {
  readonly at: number;
  readonly spot: Spot | undefined;
  /** The number of strokes before the press. */
  readonly strokes: number;
}

const NONE: Press = { at: -Infinity, spot: undefined, strokes: 0 };

export interface DoublePressParts {
  readonly cursor: Cursor;
  readonly tools: Tools;
  readonly painting: Painting;
  addLabel(spot: Spot): void;
}

export function listenForDoublePress(canvas: HTMLElement, parts: DoublePressParts): void {
  const { cursor, tools, painting } = parts;
  let last = NONE;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary || tools.tool === "hand" || tools.tool === "label") return;
    const before = last;
    const { spot } = cursor;
    last = { at: performance.now(), spot, strokes: painting.made };
    if (!spot || !isSecond(before, last.at, spot)) return;
    last = NONE;
    const finish = () => {
      // Both presses painted. The user meant a label, so the paint of both is undone.
      painting.undoSince(before.strokes);
      parts.addLabel(spot);
    };
    canvas.addEventListener("pointerup", finish, { once: true });
  });
}

function isSecond(before: Press, now: number, spot: Spot): boolean {
  if (!before.spot || now - before.at >= BETWEEN_MS) return false;
  return Math.hypot(spot[0] - before.spot[0], spot[1] - before.spot[1]) < APART_MAX;
}
