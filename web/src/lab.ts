// The buttons of "Try to break it": bots, offline, drift, and a lost connection to the gateway.

import type { Chunk, World } from "@driftless/client";
import type { Board } from "./board.js";
import type { BotWorker } from "./bot-worker.js";
import type { Cursor } from "./cursor.js";
import { byId, onClick } from "./dom.js";
import type { Notice } from "./notice.js";
import type { Overlay } from "./overlay.js";
import type { Painting } from "./painting.js";
import type { Box, View } from "./view.js";

export interface LabParts {
  readonly world: World;
  readonly view: View;
  readonly board: Board;
  readonly overlay: Overlay;
  readonly painting: Painting;
  readonly bots: BotWorker;
  readonly cursor: Cursor;
  readonly notice: Notice;
}

const POLL_MS = 5;

export class Lab {
  readonly #parts: LabParts;

  constructor(parts: LabParts) {
    this.#parts = parts;
    const { bots, painting, notice } = parts;
    onClick("bots", () => (bots.isOn ? bots.stop() : bots.start()));
    onClick("offline", () => this.toggleOffline());
    onClick("drift", () => this.drift());
    onClick("drop", () => void this.dropGateway());
    byId("guarded").addEventListener("change", (event) => {
      painting.isGuarded = (event.target as HTMLInputElement).checked;
    });
    bots.failed = (why) => notice.refused(`the bots ended: ${why}`);
  }

  toggleOffline(): void {
    const { world } = this.#parts;
    if (world.status === "offline") world.goOnline();
    else world.goOffline();
  }

  /** Flips a bit in the chunk at the cursor, and marks the wrong cell. */
  drift(): void {
    const { view, board, overlay, painting, cursor, notice } = this.#parts;
    const place = cursor.chunk;
    const chunk = place && painting.chunk(place.id);
    if (!chunk || overlay.isDrifted(chunk.id)) return;
    const wrong = corrupt(chunk);
    if (!wrong) return notice.refused(`${chunk.id} is not loaded yet`);
    const chunkBox = view.chunkBox(place);
    const boxes = wrong.map((box) => ({ ...box, x: chunkBox.x + box.x, y: chunkBox.y + box.y }));
    const [cell, box] = [wrong[0], boxes[0]];
    if (box) {
      view.reveal(box.x, box.y);
      board.move();
    }
    const where = cell ? `cell ${cell.x}, ${cell.y} is wrong here` : "a cell is wrong here";
    overlay.drifted(chunk.id, chunkBox, boxes, `${where}; the next beacon or edit will find it`);
  }

  /**
   * Breaks the connection to the gateway, and says how long it took until all chunks were live
   * again.
   */
  async dropGateway(): Promise<void> {
    const { world, view, painting, notice } = this.#parts;
    // A function, because TypeScript assumes that a property keeps the value found by a comparison.
    const status = () => world.status;
    if (status() !== "online") return;
    const began = performance.now();
    world.reconnect("gateway");
    const isLive = () => view.visible().every(({ id }) => painting.chunk(id)?.status === "live");
    while (status() !== "online" || !isLive()) {
      if (status() === "offline" || status() === "closed") return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const ms = Math.round(performance.now() - began);
    const { length } = view.visible();
    notice.say(`The connection to the gateway broke. ${length} chunks went on from where they were, ${ms} ms later.`);
  }
}

/** Flips a bit of a chunk. Returns the cells that changed, or `undefined` if nothing is loaded. */
function corrupt(chunk: Chunk): Box[] | undefined {
  const wrong: Box[] = [];
  const off = chunk.on("change", ({ rects }) => {
    for (const { x, y, width, height } of rects ?? []) wrong.push({ x, y, width, height });
  });
  const isDone = chunk.corrupt();
  off();
  return isDone ? wrong : undefined;
}
