// A web worker with twenty painters. It has its own world and its own connections, and paints
// around the part of the world that the page shows. To the server, the worker is one more client of
// the same user.

import { connect, type World } from "@driftless/client";
import type { Address } from "./address.js";
import { Painting } from "./painting.js";
import { Palette } from "./palette.js";
import { SPRITES, type Sprite } from "./pictures.js";
import { type Box, View } from "./view.js";

export interface Start {
  readonly address: Address;
  readonly count: number;
  readonly region: Box;
}
export type ToBots = { start: Start } | { region: Box } | { stop: true };
export interface FromBots {
  readonly committed: number;
  readonly perSecond: number;
  readonly pending: number;
  /** The worker ended. The text has the reason, and is empty if the page stopped the worker. */
  readonly ended?: string;
}

/**
 * The pause of a painter between two strokes. 20 painters make about 220 commands a second, a ninth
 * of what the server takes from one user.
 */
const STEP_MS = 90;
/** The painters wait while more commands than this are pending. */
const PENDING_MAX = 500;
const TILE = 32;

type Cells = [number, number, number][];

const post = (message: FromBots) => (self as unknown as { postMessage(message: FromBots): void }).postMessage(message);
let region: Box = { x: 0, y: 0, width: 256, height: 256 };
let isStopped = false;
let moved = () => {};

addEventListener("message", ({ data }: MessageEvent<ToBots>) => {
  if ("start" in data) {
    region = data.start.region;
    paint(data.start).catch((error: unknown) => post({ committed: 0, perSecond: 0, pending: 0, ended: String(error) }));
  } else if ("region" in data) {
    region = data.region;
    moved();
  } else {
    isStopped = true;
  }
});

async function paint({ address, count }: Start): Promise<void> {
  const token = address.token ?? "";
  const world = await connect({ ingest: `${address.ws}/v1/ingest`, gateway: `${address.ws}/v1/gateway`, token });
  await world.online();
  const family = world.families.find(({ name }) => name === address.family);
  if (!family) throw new Error(`this world has no family ${address.family}`);
  const view = new View(family, address.at);
  const painting = new Painting(world, view);
  const palette = new Palette(world.colors(family.name));
  let committed = 0;
  painting.tracked = (chunk) => {
    chunk.on("outcome", ({ outcome }) => {
      if (outcome.kind === "committed") committed += 1;
    });
  };
  moved = () => painting.look(placesOf(region, view));
  moved();

  const painters = Array.from({ length: count }, (_, number) => painter(number, palette));
  let [since, before] = [performance.now(), 0];
  let next = 0;
  const timer = setInterval(() => {
    if (isStopped) return void end(world, timer, () => committed);
    if (world.pending > PENDING_MAX) return;
    painting.set(painters[next++ % count]?.next().value ?? []);
  }, STEP_MS / count);
  setInterval(() => {
    const now = performance.now();
    const perSecond = (1000 * (committed - before)) / (now - since);
    [since, before] = [now, committed];
    post({ committed, perSecond, pending: world.pending });
  }, 500);
}

/** Waits a moment for the pending commands, then closes the world and ends the worker. */
function end(world: World, timer: ReturnType<typeof setInterval>, committed: () => number): void {
  clearInterval(timer);
  const deadline = performance.now() + 3000;
  const waiting = setInterval(() => {
    if (world.pending > 0 && performance.now() < deadline) return;
    clearInterval(waiting);
    world.close();
    post({ committed: committed(), perSecond: 0, pending: 0, ended: "" });
    close();
  }, 20);
}

function placesOf({ x, y, width, height }: Box, view: View) {
  const places = [];
  for (let cy = Math.floor(y / view.height); cy * view.height < y + height; cy += 1) {
    for (let cx = Math.floor(x / view.width); cx * view.width < x + width; cx += 1) {
      const place = view.place(cx, cy);
      if (place) places.push(place);
    }
  }
  return places;
}

// ---- painters ----

const PAPERS = [
  ...["#ffd499", "#ffaa99", "#99d4ff", "#cceecc", "#ffeeaa", "#ccaaff"],
  ...["#66aacc", "#33552a", "#1f2a66", "#fafaf7", "#ffccdd", "#2a7f7f"],
];
const INKS = ["#e03131", "#ff7f00", "#ffd433", "#33aa66", "#3366ff", "#9933cc", "#ff6699", "#33aaaa"];

const RAINBOW = ["#e03131", "#ff7f00", "#ffd433", "#33aa66", "#3366ff", "#9933cc"];

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

function one<T>(list: readonly T[]): T {
  return list[random(list.length)] as T;
}

/** Four of five painters make the tiles of a quilt. The others draw ribbons across it. */
function painter(number: number, palette: Palette): Generator<Cells, void> {
  return number % 5 === 4 ? ribbons(palette) : quilt(palette);
}

function* quilt(palette: Palette): Generator<Cells, void> {
  for (;;) {
    const across = Math.max(1, Math.floor(region.width / TILE));
    const down = Math.max(1, Math.floor(region.height / TILE));
    const left = (Math.ceil(region.x / TILE) + random(across)) * TILE;
    const top = (Math.ceil(region.y / TILE) + random(down)) * TILE;
    const color = one([picture, picture, picture, four, rings, waves, sunset])();
    // 0: row by row. 1: column by column. 2: from the middle.
    const order = random(3);
    for (let step = 0; step < TILE; step += 2) {
      const cells: Cells = [];
      for (let at = 0; at < 2 * TILE; at += 1) {
        const [along, line] = [at % TILE, step + Math.floor(at / TILE)];
        const middle = line % 2 === 0 ? TILE / 2 + line / 2 : TILE / 2 - (line + 1) / 2;
        const [x, y] = order === 0 ? [along, line] : order === 1 ? [line, along] : [along, middle];
        cells.push([left + x, top + y, palette.nearest(color(x, y))]);
      }
      yield cells;
    }
  }
}

type Color = (x: number, y: number) => string;

function stamped(sprite: Sprite, scale: number, left: number, top: number, below: Color): Color {
  return (x, y) => {
    const [sx, sy] = [Math.floor((x - left) / scale), Math.floor((y - top) / scale)];
    const isInside = sx >= 0 && sy >= 0 && sx < sprite.width && sy < sprite.height;
    return (isInside && sprite.colors[sx + sy * sprite.width]) || below(x, y);
  };
}

function centered(sprite: Sprite, scale: number, side: number, below: Color, left = 0, top = 0): Color {
  const middle = (extent: number) => (side - extent * scale) >> 1;
  return stamped(sprite, scale, left + middle(sprite.width), top + middle(sprite.height), below);
}

function picture(): Color {
  const [paper, dots] = [one(PAPERS), one(PAPERS)];
  const plain: Color = () => paper;
  const dotted: Color = (x, y) => (((x >> 2) + (y >> 2)) % 4 === 0 && x % 4 < 2 && y % 4 < 2 ? dots : paper);
  const striped: Color = (x, y) => ((x + y) % 12 < 2 ? dots : paper);
  const pattern = one([plain, dotted, striped]);
  return centered(one(SPRITES), 2, TILE, pattern);
}

function four(): Color {
  const papers = [one(PAPERS), one(PAPERS)];
  const sprite = one(SPRITES);
  const half = TILE / 2;
  const paper: Color = (x, y) => papers[((x >= half ? 1 : 0) + (y >= half ? 1 : 0)) % 2] ?? "#ffffff";
  const stamp = (below: Color, at: number) => centered(sprite, 1, half, below, (at % 2) * half, (at >> 1) * half);
  return [0, 1, 2, 3].reduce(stamp, paper);
}

function rings(): Color {
  const [inks, paper] = [[one(INKS), one(PAPERS), one(INKS)], one(PAPERS)];
  return (x, y) => {
    const far = Math.hypot(x - 15.5, y - 15.5);
    return far < 15 ? (inks[Math.floor(far / 3) % 3] ?? paper) : paper;
  };
}

function waves(): Color {
  const inks = [one(INKS), one(PAPERS), one(PAPERS), one(INKS)];
  return (x, y) => inks[Math.floor((y + 3 * Math.sin(x / 5) + TILE) / 4) % 4] ?? "#ffffff";
}

function sunset(): Color {
  const sky = ["#330066", "#660066", "#993366", "#cc5566", "#ff7f66", "#ffaa66", "#ffd466"];
  return (x, y) => {
    const isGlitter = (x + 2 * y) % 7 < 3 && Math.abs(x - 15.5) < (y - 20) * 1.2;
    if (y >= 23) return isGlitter ? "#ffd466" : y & 1 ? "#002a66" : "#003399";
    return Math.hypot(x - 15.5, y - 21) < 8 ? "#ffee66" : (sky[Math.floor(y / 3.4)] ?? "#ffd466");
  };
}

/** Draws a rainbow on a random path. */
function* ribbons(palette: Palette): Generator<Cells, void> {
  for (;;) {
    const values = RAINBOW.map((color) => palette.nearest(color));
    let x = region.x + Math.random() * region.width;
    let y = region.y + Math.random() * region.height;
    let angle = Math.random() * 7;
    let turn = 0;
    for (let step = 0; step < 160; step += 1) {
      const cells: Cells = [];
      for (let little = 0; little < 4; little += 1) {
        turn = Math.max(-0.12, Math.min(0.12, turn + (Math.random() - 0.5) * 0.05));
        angle += turn;
        x += Math.cos(angle) * 0.8;
        y += Math.sin(angle) * 0.8;
        values.forEach((value, stripe) => {
          for (const part of [-0.25, 0.25]) {
            const off = stripe - 2.5 + part;
            cells.push([Math.round(x - Math.sin(angle) * off), Math.round(y + Math.cos(angle) * off), value]);
          }
        });
      }
      yield cells;
      const isInside = x > region.x && y > region.y && x < region.x + region.width && y < region.y + region.height;
      if (!isInside) break;
    }
  }
}
