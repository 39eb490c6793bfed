// The keys of the page. The toolbar has more keys, and the canvas and the labels have their own.

import type { World } from "@driftless/client";
import { byId, onClick } from "./dom.js";
import type { Lab } from "./lab.js";
import type { Painting } from "./painting.js";
import type { Toolbar } from "./toolbar.js";
import type { View } from "./view.js";

export interface ShortcutParts {
  readonly world: World;
  readonly view: View;
  readonly painting: Painting;
  readonly toolbar: Toolbar;
  readonly lab: Lab;
  /** Runs after a key or a button moved the view. */
  moved(): void;
}

const ZOOM_STEP = 1.5;

/** Connects the buttons for zoom, undo and help, and the keys of the page. */
export function listenForShortcuts({ world, view, painting, toolbar, lab, moved }: ShortcutParts): void {
  const help = byId("help") as HTMLDialogElement;
  const openHelp = () => help.showModal();
  const undo = () => void painting.undo();
  const zoom = (factor: number) => () => {
    view.zoom(factor);
    moved();
  };
  const [zoomIn, zoomOut] = [zoom(ZOOM_STEP), zoom(1 / ZOOM_STEP)];
  const fit = () => {
    view.fit();
    moved();
  };
  onClick("zoom-in", zoomIn);
  onClick("zoom-out", zoomOut);
  onClick("zoom-fit", fit);
  onClick("undo", undo);
  onClick("help-open", openHelp);
  const keys: Record<string, () => void> = {
    "+": zoomIn,
    "=": zoomIn,
    "-": zoomOut,
    f: fit,
    o: () => lab.toggleOffline(),
    d: () => lab.drift(),
    "?": openHelp,
    Escape: () => world.chunks.forEach((chunk) => chunk.pending.forEach((pending) => pending.cancel())),
  };
  addEventListener("keydown", (event) => {
    const target = event.target as Element;
    if (target.closest("input[type=text], dialog[open]") || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "z" || event.shiftKey) return;
      event.preventDefault();
      return undo();
    }
    const action = keys[event.key];
    if (action) action();
    else if (!toolbar.key(event)) return;
    event.preventDefault();
  });
}
