import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Hooks, Window, expect, test } from "../stack.ts";

const CHUNK = "canvas/0/0";
const CLICKS = 50;

/** What is noted in the page, for the test to read. */
interface Notes {
  notes: {
    /** When a button went down, and whether the frame of that moment showed the paint. */
    clicks: { at: number; isPainted: boolean }[];
    /** The versions that own commands were committed as, in their order. */
    committed: number[];
    /** When the chunk showed a version first. */
    shown: [version: number, at: number][];
  };
}

interface Told {
  on(type: "change", listener: (change: { version: number }) => void): void;
  on(type: "outcome", listener: (ended: { outcome: { kind: string; version?: number } }) => void): void;
}

// How fast is told and not asserted: the machine may be anybody's.
test("a click is painted in its own frame, and is committed in the other window", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await Promise.all([ann.online(), bob.online()]);
  await Promise.all([ann.drawn(CHUNK), bob.drawn(CHUNK)]);
  for (const { page } of [ann, bob]) {
    await page.evaluate((id) => {
      const { driftless } = globalThis as unknown as { driftless: Hooks };
      const notes: Notes["notes"] = { clicks: [], committed: [], shown: [] };
      (globalThis as unknown as Notes).notes = notes;
      const chunk = driftless.world.chunks.find((known) => known.id === id) as unknown as Told;
      // By one clock for all windows of a machine.
      const now = () => performance.timeOrigin + performance.now();
      chunk.on("change", ({ version }) => notes.shown.push([version, now()]));
      chunk.on("outcome", ({ outcome }) => notes.committed.push(outcome.kind === "committed" ? (outcome.version ?? 0) : 0));
      const picture = () => driftless.pixels(id)?.join() ?? "";
      let before = picture();
      // The page's own listener is further down, and has asked for its frame before this one does.
      addEventListener("pointerdown", (event) => {
        const click = { at: performance.timeOrigin + event.timeStamp, isPainted: false };
        notes.clicks.push(click);
        requestAnimationFrame(() => {
          const after = picture();
          click.isPainted = after !== before;
          before = after;
        });
      });
    }, CHUNK);
  }
  for (let i = 0; i < CLICKS; i++) {
    await ann.paint([[6 + 12 * (i % 10), 6 + 12 * Math.floor(i / 10)]]);
    await ann.settled();
  }
  const read = (window: Window) => window.page.evaluate(() => (globalThis as unknown as Notes).notes);
  const { clicks, committed } = await read(ann);
  expect(clicks.map(({ isPainted }) => isPainted)).toEqual(Array<boolean>(CLICKS).fill(true));
  expect(committed).toHaveLength(CLICKS);
  await expect.poll(async () => (await bob.chunk(CHUNK)).version).toBe((await ann.chunk(CHUNK)).version);
  const { shown } = await read(bob);
  const waited = clicks.map(({ at }, i) => (shown.find(([version]) => version >= (committed[i] ?? Infinity))?.[1] ?? NaN) - at);
  expect(waited.every((ms) => ms > 0), String(waited)).toBe(true);
  waited.sort((a, b) => a - b);
  const at = (part: number) => Math.round((waited[Math.floor(part * (CLICKS - 1))] ?? 0) * 10) / 10;
  const figures = { clicks: CLICKS, painted_in_their_frame: CLICKS, committed_in_the_other_window_ms: { p50: at(0.5), p95: at(0.95) } };
  const folder = process.env.DRIFTLESS_TEST_OUTPUT ?? "../../target/browser";
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "figures.json"), JSON.stringify(figures));
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});
