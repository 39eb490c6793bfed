// Shows what happens to a tracked chunk of the canvas: on the board, in the overlay, and in the
// tally.

import type { Chunk } from "@driftless/client";
import type { Board } from "./board.js";
import type { Overlay } from "./overlay.js";
import { boxesOfCommand } from "./painting.js";
import type { Tally } from "./tally.js";
import type { View } from "./view.js";

export interface Displays {
  readonly view: View;
  readonly board: Board;
  readonly overlay: Overlay;
  readonly tally: Tally;
}

/** Draws a chunk, and draws it again whenever it changes. */
export function displayChunk(chunk: Chunk, { view, board, overlay, tally }: Displays): void {
  tally.follow(chunk);
  chunk.on("change", (change) => board.changed(chunk, change));
  chunk.on("rollback", ({ pending, outcome }) => {
    if (outcome.kind !== "withdrawn") board.flash(chunk.id, boxesOfCommand(pending.command));
  });
  chunk.on("drift", ({ expected, found }) => {
    const [, cx, cy] = chunk.id.split("/");
    const place = view.place(Number(cx), Number(cy));
    const logs = expected?.slice(0, 6) ?? "the log's hash";
    const words = `drift found: ${found.slice(0, 6)} is not ${logs}; loading the chunk again`;
    if (place) overlay.drifted(chunk.id, view.chunkBox(place), [], words);
  });
  chunk.on("status", ({ status }) => {
    board.touched(chunk.id);
    if (status === "live") overlay.healed(chunk.id);
  });
  board.changed(chunk, { version: chunk.version, all: true });
}
