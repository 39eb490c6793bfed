// The demo of Driftless: a canvas that everybody paints on. This file puts the parts together.
//
// `address.ts` reads the URL. `view.ts`, `layer.ts` and `board.ts` draw; `overlay.ts`, `things.ts` and `thing.ts` are what lies above.
// `pointer.ts` and `tools.ts` are the hands, `painting.ts` makes commands of what they do. `panel.ts`, `notice.ts` and `tally.ts`
// say what is going on. `crowd.ts` and `bots.ts` are twenty others.

import { type Chunk, connect, type World } from "@driftless/client";
import { narrowPolicy, read, userOf } from "./address.js";
import { Board } from "./board.js";
import { BotWorker } from "./bot-worker.js";
import { pixelsOf } from "./layer.js";
import { byId, Notice } from "./notice.js";
import { Overlay } from "./overlay.js";
import { boxesOfCommand, Painting } from "./painting.js";
import { Palette } from "./palette.js";
import { Panel } from "./panel.js";
import { Pointer } from "./pointer.js";
import { Tally } from "./tally.js";
import { Labels } from "./labels.js";
import { Toolbar } from "./toolbar.js";
import { type Spot, Tools } from "./tools.js";
import { type ChunkPlace, View } from "./view.js";

/** Two presses on the same cell within this time put a label. */
const TWICE_MS = 350;
/** What nobody can use before there is a world. */
const INERT = ["board", "tools", "dock", "zoom", "panel-body"];
const HINT_SEEN = "driftless.hint";

const address = read(new URL(location.href));
narrowPolicy(address);
const notice = new Notice();
for (const id of INERT) byId(id).inert = true;

async function begin(): Promise<void> {
  const { token, ws, http, family } = address;
  if (address.problem) return notice.end(address.problem);
  if (!token) return notice.noToken();
  const world = await connect({
    ingest: `${ws}/v1/ingest`,
    gateway: `${ws}/v1/gateway`,
    token,
    author: userOf(token),
    undoMax: 256,
  });
  notice.follow(world, new URL(http).host);
  let name = "";
  world.on("welcome", (welcome) => (name = welcome.world));
  // The families come with a gateway's welcome.
  while (world.families.length === 0) {
    await Promise.race([world.once("welcome"), world.once("close")]);
    if (world.status === "closed") return;
  }
  if (world.colors(family).length === 0) {
    return notice.end(`There is no family ${family} with colours in this world: the URL names it with &family=…`);
  }
  byId("world").textContent = `world ${name}${userOf(token) ? ` · you are ${userOf(token)}` : ""}`;
  open(world);
}

function open(world: World): void {
  const family = world.families.find(({ name }) => name === address.family);
  if (!family) return;
  document.body.classList.remove("is-starting");
  for (const id of INERT) byId(id).inert = false;
  const canvas = byId("board") as HTMLCanvasElement;
  const palette = new Palette(world.colors(family.name));
  const view = new View(family, address.at);
  const painting = new Painting(world, view);
  const board = new Board(canvas, view, pixelsOf(palette.colors), (id) => painting.chunk(id));
  const overlay = new Overlay(byId("overlay"), view);
  const tally = new Tally();
  const bots = new BotWorker(address, view);

  const labelFamily = world.families.find(({ name, model }) => model === "map" && name === "things");
  const labels = labelFamily && new Labels(world, view, labelFamily.name, byId("overlay"), {
    tracked: (chunk) => tally.follow(chunk),
    refused: (why) => notice.refused(why),
    submitted: (pendings) => painting.remember(pendings),
  });

  let spot: Spot | undefined;
  let lastPlace: ChunkPlace | undefined;
  const tools = new Tools(painting, {
    picked: (value) => toolbar.picked(value),
    addLabel: (at) => {
      labels?.add(at);
      toolbar.tool("brush");
    },
  });
  const toolbar = new Toolbar(tools, palette, overlay.ghost);

  // ---- chunks ----

  painting.refused = (why) => notice.refused(why);
  painting.tracked = (chunk) => follow(chunk);
  painting.untracked = (id) => board.forget(id);

  function follow(chunk: Chunk): void {
    tally.follow(chunk);
    chunk.on("change", (change) => board.changed(chunk, change));
    chunk.on("rollback", ({ pending, outcome }) => {
      if (outcome.kind !== "withdrawn") board.flash(chunk.id, boxesOfCommand(pending.command));
    });
    chunk.on("drift", ({ expected, found }) => {
      const place = placeOf(chunk.id);
      const words = `drift found: ${found.slice(0, 6)} is not ${expected?.slice(0, 6) ?? "the log's"}; loading again`;
      if (place) overlay.drifted(chunk.id, view.chunkBox(place), [], words);
    });
    chunk.on("status", ({ status }) => {
      board.touched(chunk.id);
      if (status === "live") overlay.healed(chunk.id);
    });
    board.changed(chunk, { version: chunk.version, all: true });
  }

  function placeOf(id: string): ChunkPlace | undefined {
    const [, cx, cy] = id.split("/");
    return view.place(Number(cx), Number(cy));
  }

  /** Flips a bit, and shows where. */
  function drift(): void {
    const place = under();
    const chunk = place && painting.chunk(place.id);
    if (!chunk || overlay.isDrifted(chunk.id)) return;
    const box = view.chunkBox(place);
    const wrong: { x: number; y: number; width: number; height: number }[] = [];
    const off = chunk.on("change", ({ rects }) => {
      for (const { x, y, width, height } of rects ?? []) wrong.push({ x: box.x + x, y: box.y + y, width, height });
    });
    const isDone = chunk.corrupt();
    off();
    if (!isDone) return notice.refused(`there is nothing of ${chunk.id} here yet`);
    const [cell] = wrong;
    if (cell) {
      view.reveal(cell.x, cell.y);
      board.move();
    }
    const where = cell ? `cell ${cell.x - box.x}, ${cell.y - box.y} is wrong here` : "a cell is wrong here";
    overlay.drifted(chunk.id, box, wrong, `${where}; the next beacon or edit will show it`);
  }

  /** Cuts the connection that brings updates, and says how long it took to be in step again. */
  async function dropGateway(): Promise<void> {
    const status = () => world.status;
    if (status() !== "online") return;
    const began = performance.now();
    world.reconnect("gateway");
    const isLive = () => status() === "online" && view.visible().every(({ id }) => painting.chunk(id)?.status === "live");
    while (!isLive()) {
      if (status() === "offline" || status() === "closed") return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    notice.say(`The gateway's connection was cut. ${view.visible().length} chunks went on from where they were, ${Math.round(performance.now() - began)} ms later.`);
  }

  // ---- the view ----

  function under(): ChunkPlace | undefined {
    const { width, height } = view.screen;
    const [x, y] = view.cellAt(width / 2, height / 2);
    const place = spot ? view.placeOf(...spot) : undefined;
    return place ?? lastPlace ?? view.placeOf(Math.floor(x), Math.floor(y));
  }

  function showCursor(): void {
    const isHand = tools.tool === "hand";
    overlay.cursor(spot && !isHand ? tools.reach(spot) : undefined, tools.tool === "stamp");
    const place = spot && view.placeOf(...spot);
    if (place) lastPlace = place;
    overlay.outline(place && view.chunkBox(place));
  }

  let looked = "";
  board.moved = () => {
    const visible = view.visible();
    const key = visible.map(({ id }) => id).join();
    if (key !== looked) {
      looked = key;
      if (lastPlace && !visible.some(({ id }) => id === lastPlace?.id)) lastPlace = undefined;
      painting.look(visible);
      labels?.look(visible);
    }
    overlay.moved();
    labels?.moved();
    bots.look();
  };

  let lastPress = { at: 0, spot: undefined as Spot | undefined, made: 0 };
  const pointer = new Pointer(canvas, view, tools, {
    moved: () => board.move(),
    hover: (at) => {
      spot = at;
      showCursor();
    },
  });
  canvas.addEventListener("pointerdown", (event) => {
    closeHint();
    if (event.button !== 0 || !event.isPrimary || tools.tool === "hand" || tools.tool === "label") return;
    const before = lastPress;
    lastPress = { at: performance.now(), spot, made: painting.made };
    const isTwice = spot && before.spot && lastPress.at - before.at < TWICE_MS && Math.hypot(spot[0] - before.spot[0], spot[1] - before.spot[1]) < 1.5;
    if (!isTwice || !spot || !labels) return;
    // The first press painted: a label was meant.
    const at = spot;
    lastPress = { at: 0, spot: undefined, made: 0 };
    canvas.addEventListener("pointerup", () => {
      painting.undoSince(before.made);
      labels.add(at);
    }, { once: true });
  });
  toolbar.changed = () => {
    pointer.cursor();
    showCursor();
  };
  toolbar.failed = (why) => notice.refused(why);
  pointer.cursor();
  board.move();

  // ---- buttons and keys ----

  const toggleOffline = () => (world.status === "offline" ? world.goOnline() : world.goOffline());
  const toggleBots = () => (bots.isOn ? bots.stop() : bots.start());
  const undo = () => void painting.undo();
  const fit = () => {
    view.fit();
    board.move();
  };
  const zoom = (factor: number) => {
    view.zoom(factor);
    board.move();
  };
  const help = byId("help") as HTMLDialogElement;
  const press = (id: string, action: () => void) => byId(id).addEventListener("click", action);
  press("zoom-in", () => zoom(1.5));
  press("zoom-out", () => zoom(1 / 1.5));
  press("zoom-fit", fit);
  press("undo", undo);
  press("offline", toggleOffline);
  press("drift", drift);
  press("drop", () => void dropGateway());
  press("bots", toggleBots);
  press("help-open", () => help.showModal());
  byId("guarded").addEventListener("change", (event) => (painting.isGuarded = (event.target as HTMLInputElement).checked));
  bots.failed = (why) => notice.refused(`the bots ended: ${why}`);

  addEventListener("keydown", (event) => {
    const target = event.target as Element;
    if (target.closest("input[type=text], dialog[open]") || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "z" || event.shiftKey) return;
      event.preventDefault();
      return undo();
    }
    const keys: Record<string, () => void> = {
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      f: fit,
      o: toggleOffline,
      d: drift,
      "?": () => help.showModal(),
      Escape: () => world.chunks.forEach((chunk) => chunk.pending.forEach((pending) => pending.cancel())),
    };
    const action = keys[event.key];
    if (action) action();
    else if (!toolbar.key(event)) return;
    event.preventDefault();
  });

  for (const type of ["dragover", "drop"] as const) {
    addEventListener(type, (event) => {
      event.preventDefault();
      const file = [...(event.dataTransfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
      if (type === "drop" && file) void toolbar.image(file, file.name);
    });
  }
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (file) void toolbar.image(file, "the picture");
  });
  addEventListener("beforeunload", (event) => world.pending > 0 && event.preventDefault());

  // ---- the hint ----

  const hint = byId("hint");
  hint.hidden = recall(HINT_SEEN) !== null;
  function closeHint(): void {
    if (hint.hidden) return;
    hint.hidden = true;
    remember(HINT_SEEN, "seen");
  }
  press("hint-close", closeHint);
  press("hint-window", () => window.open(location.href, "_blank", "noopener,popup,width=1000,height=760"));
  press("hint-bots", () => {
    bots.start();
    closeHint();
  });

  new Panel({ world, view, board, painting, labels, tally, bots, place: under }).show();
  // For tests and for the console: everything that the page knows.
  Object.assign(globalThis, {
    driftless: {
      world, view, board, painting, things: labels, overlay, tools, palette, crowd: bots, address,
      pixels: (id: string) => board.pixels(id),
      counts: tally.counts,
      latencies: tally.latencies,
      frames: board.frames,
    },
  });
}

/** Storage may be forbidden. */
function recall(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Then the hint comes again.
  }
}

const sheet = byId("sheet");
sheet.addEventListener("click", () => {
  const isOpen = document.body.classList.toggle("is-sheet-open");
  sheet.setAttribute("aria-expanded", String(isOpen));
  sheet.setAttribute("aria-label", isOpen ? "Hide the panel" : "Show the panel");
});

begin().catch((error: unknown) => notice.end(`The page could not start: ${error instanceof Error ? error.message : String(error)}`));
