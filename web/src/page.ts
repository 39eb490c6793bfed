// The page of an open world: makes the parts, and connects them.

import type { Family, World } from "@driftless/client";
import type { Address } from "./address.js";
import { Board } from "./board.js";
import { BotWorker } from "./bot-worker.js";
import { displayChunk } from "./chunk-display.js";
import { Cursor } from "./cursor.js";
import { byId } from "./dom.js";
import { listenForDoublePress } from "./double-press.js";
import { Hint } from "./hint.js";
import { listenForImages } from "./image-input.js";
import { Lab } from "./lab.js";
import { Labels, type LabelsHost } from "./labels.js";
import { pixelsOf } from "./layer.js";
import type { Notice } from "./notice.js";
import { Overlay } from "./overlay.js";
import { Painting } from "./painting.js";
import { Palette } from "./palette.js";
import { Panel } from "./panel.js";
import { Pointer } from "./pointer.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Tally } from "./tally.js";
import { Toolbar } from "./toolbar.js";
import { type Spot, Tools } from "./tools.js";
import { View } from "./view.js";

/** The family that keeps the labels, if the world has it. */
const LABEL_FAMILY = "things";

/** Opens the page on a family of chunks, whose cells have colours. */
export function openPage(world: World, family: Family, address: Address, notice: Notice): void {
  const canvas = byId("board") as HTMLCanvasElement;
  const palette = new Palette(world.colors(family.name));
  const view = new View(family, address.at);
  const painting = new Painting(world, view);
  const board = new Board(canvas, view, pixelsOf(palette.colors), (id) => painting.chunk(id));
  const overlay = new Overlay(byId("overlay"), view);
  const tally = new Tally();
  const bots = new BotWorker(address, view);
  const refused = (why: string) => notice.refused(why);
  const labels = openLabels(world, view, {
    tracked: (chunk) => {
      tally.follow(chunk);
      notice.followChunk(chunk);
    },
    refused,
    submitted: (pendings) => painting.remember(pendings),
  });
  const addLabel = (spot: Spot) => labels?.add(spot);

  const tools = new Tools(painting, {
    picked: (value) => toolbar.picked(value),
    addLabel: (spot) => {
      addLabel(spot);
      toolbar.tool("brush");
    },
  });
  const toolbar = new Toolbar(tools, palette, overlay.ghost);
  const cursor = new Cursor(view, tools, overlay);
  const lab = new Lab({ world, view, board, overlay, painting, bots, cursor, notice });

  painting.refused = refused;
  painting.tracked = (chunk) => {
    displayChunk(chunk, { view, board, overlay, tally });
    notice.followChunk(chunk);
  };
  painting.untracked = (id) => board.forget(id);
  board.moved = whenMoved({ view, painting, overlay, labels, bots, cursor });

  const moved = () => board.move();
  const pointer = new Pointer(canvas, view, tools, { moved, hover: (spot) => cursor.move(spot) });
  toolbar.changed = () => {
    pointer.cursor();
    cursor.show();
  };
  toolbar.failed = refused;
  const hint = new Hint(() => bots.start());
  canvas.addEventListener("pointerdown", () => hint.close());
  if (labels) listenForDoublePress(canvas, { cursor, tools, painting, addLabel });
  listenForShortcuts({ world, view, painting, toolbar, lab, moved });
  listenForImages(toolbar);
  addEventListener("beforeunload", (event) => world.pending > 0 && event.preventDefault());
  pointer.cursor();
  board.move();

  new Panel({ world, view, board, painting, labels, tally, bots, place: () => cursor.chunk }).show();
  // For tests, and for the browser's console.
  const { counts, latencies } = tally;
  Object.assign(globalThis, {
    driftless: {
      ...{ world, view, board, painting, things: labels, overlay, tools, palette, crowd: bots, address },
      ...{ pixels: (id: string) => board.pixels(id), counts, latencies, frames: board.frames },
    },
  });
}

function openLabels(world: World, view: View, host: LabelsHost): Labels | undefined {
  const family = world.families.find(({ name, model }) => model === "map" && name === LABEL_FAMILY);
  return family && new Labels(world, view, family.name, byId("overlay"), host);
}

interface MovedParts {
  readonly view: View;
  readonly painting: Painting;
  readonly overlay: Overlay;
  readonly labels: Labels | undefined;
  readonly bots: BotWorker;
  readonly cursor: Cursor;
}

/** Makes the function that runs in the animation frame after the {@link View} moved. */
function whenMoved({ view, painting, overlay, labels, bots, cursor }: MovedParts): () => void {
  let lastVisible = "";
  return () => {
    const visible = view.visible();
    const ids = visible.map(({ id }) => id).join();
    if (ids !== lastVisible) {
      lastVisible = ids;
      cursor.look(visible);
      painting.look(visible);
      labels?.look(visible);
    }
    overlay.moved();
    labels?.moved();
    bots.look();
  };
}
