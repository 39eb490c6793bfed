// Gives each scenario a `driftless dev` of its own, tokens for this server, and windows of its
// page.

import { type Browser, type Page, test as base, expect } from "@playwright/test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Dev } from "../dev.mjs";

/** A `driftless dev`: all services in one process, with a data folder of their own. */
export class Stack extends Dev {
  url(token: string, search: Record<string, string> = {}): string {
    return `${this.ready.http}/?${new URLSearchParams({ token, ...search })}`;
  }
}

interface Chunk {
  id: string;
  status: string;
  version: number;
  hash?: string;
  pending: unknown[];
}

/** The members of the page's `globalThis.driftless` that the scenarios use. */
export interface Hooks {
  world: {
    status: string;
    pending: number;
    chunks: Chunk[];
    track(id: string): Chunk;
  };
  board: { whereIs(x: number, y: number): { x: number; y: number } };
  pixels(chunk: string): Uint8ClampedArray | null;
  counts: Record<string, number>;
  latencies: number[];
}

/** A window of the page, and the errors in it. */
export class Window {
  readonly page: Page;
  readonly errors: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && this.errors.push(message.text()));
  }

  /** Opens a window in a browser context of its own, so that windows share only the world. */
  static async open(browser: Browser, url: string): Promise<Window> {
    const context = await browser.newContext();
    // Without this, the hint would cover the canvas.
    await context.addInitScript(() => localStorage.setItem("driftless.hint", "closed"));
    const window = new Window(await context.newPage());
    await window.page.goto(url);
    return window;
  }

  async online(): Promise<this> {
    await expect(this.page.locator("#state-text")).toHaveText("live");
    return this;
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }

  /** Presses the brush on a cell of the world, and drags it to the other cells. */
  async paint(cells: readonly (readonly [number, number])[]): Promise<void> {
    const box = (await this.page.locator("#board").boundingBox()) ?? { x: 0, y: 0 };
    const places = await this.page.evaluate(
      (all) => all.map(([x, y]) => (globalThis as unknown as { driftless: Hooks }).driftless.board.whereIs(x, y)),
      cells.map(([x, y]) => [x, y] as [number, number]),
    );
    const [first, ...rest] = places;
    if (!first) return;
    await this.page.mouse.move(box.x + first.x, box.y + first.y);
    await this.page.mouse.down();
    for (const place of rest) await this.page.mouse.move(box.x + place.x, box.y + place.y, { steps: 4 });
    await this.page.mouse.up();
  }

  /**
   * A chunk as drawn: the hash of its pixels, and the number of pixels that differ from the first
   * one.
   */
  async picture(chunk: string): Promise<{ hash: string; painted: number } | undefined> {
    return this.page.evaluate(async (id) => {
      const pixels = (globalThis as unknown as { driftless: Hooks }).driftless.pixels(id);
      if (!pixels) return undefined;
      const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(pixels));
      const hash = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
      const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.length / 4);
      return { hash, painted: words.reduce((count, word) => count + Number(word !== words[0]), 0) };
    }, chunk);
  }

  /** Waits until a chunk is drawn. Returns its picture. */
  async drawn(chunk: string): Promise<{ hash: string; painted: number }> {
    await expect.poll(() => this.picture(chunk), { message: `${chunk} is drawn` }).toBeDefined();
    return (await this.picture(chunk)) ?? { hash: "gone", painted: 0 };
  }

  async chunk(id: string): Promise<{ status: string; version: number; hash: string | undefined; pending: number }> {
    return this.page.evaluate((chunk) => {
      const { world } = (globalThis as unknown as { driftless: Hooks }).driftless;
      // Tracking a rejected chunk asks the gateway again.
      const found = world.chunks.find(({ id: known }) => known === chunk) ?? world.track(chunk);
      const { status, version, hash, pending } = found;
      return { status, version, hash, pending: pending.length };
    }, id);
  }

  /** The number of own commands without an outcome. */
  async pending(): Promise<number> {
    return this.page.evaluate(() => (globalThis as unknown as { driftless: Hooks }).driftless.world.pending);
  }

  /** Waits until all own commands of this window have outcomes. */
  async settled(): Promise<void> {
    await expect.poll(() => this.pending(), { message: "all commands have outcomes" }).toBe(0);
  }
}

/** Waits until two windows show the same pixels of a chunk. */
export async function showAlike(one: Window, other: Window, chunk: string): Promise<void> {
  const compare = async () => expect(await one.drawn(chunk)).toEqual(await other.drawn(chunk));
  await expect(compare).toPass({ timeout: 10_000 });
}

/** Saves a screenshot, which CI keeps. */
export async function shot(window: Window, name: string): Promise<void> {
  const folder = join(process.env.DRIFTLESS_TEST_OUTPUT ?? "../../target/browser", "pictures");
  mkdirSync(folder, { recursive: true });
  await window.page.screenshot({ path: join(folder, `${name}.png`) });
}

export const test = base.extend<{ stack: Stack }>({
  // Each scenario has its own server. On a shared one, its pictures would show the paint of others.
  stack: async ({}, use) => {
    const stack = new Stack();
    await stack.start();
    await use(stack);
    await stack.end();
  },
});

export { expect };
