import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Hooks, Window, expect, test } from "../stack.ts";

const CHUNK = "canvas/0/0";
const CLICKS = 50;

/** The observations that each page records, for the test to read. */
interface Notes {
  notes: {
    /** The time of each press, and whether the next frame showed the paint. */
    clicks: { at: number; isPainted: boolean }[];
    /** The versions of the own commands, in the order of their outcomes. */
    committed: number[];
    /** The time of each change event, with the version that it showed. */
    shown: [version: number, at: number][];
  };
}

interface ChunkEvents {
  on(type: "change", listener: (change: { version: number }) => void): void;
  on(type: "outcome", listener: (ended: { outcome: { kind: string; version?: number } }) => void): void;
}

// The latency is reported and not asserted, because it depends on the machine.
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
      const chunk = driftless.world.chunks.find((known) => known.id === id) as unknown as ChunkEvents;
      // This clock is the same in all windows of a machine, so the test can compare their times.
      const now = () => performance.timeOrigin + performance.now();
      chunk.on("change", ({ version }) => notes.shown.push([version, now()]));
      chunk.on("outcome", ({ outcome }) => {
        notes.committed.push(outcome.kind === "committed" ? (outcome.version ?? 0) : 0);
      });
      const picture = () => driftless.pixels(id)?.join() ?? "";
      let before = picture();
      // The page's own listener is on the canvas and runs first, so its frame is requested before
      // this one.
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
  const waited = clicks.map(({ at }, i) => {
    const first = shown.find(([version]) => version >= (committed[i] ?? Infinity));
    return (first?.[1] ?? NaN) - at;
  });
  expect(
    waited.every((ms) => ms > 0),
    String(waited),
  ).toBe(true);
  waited.sort((a, b) => a - b);
  const at = (part: number) => Math.round((waited[Math.floor(part * (CLICKS - 1))] ?? 0) * 10) / 10;
  const latency = { p50: at(0.5), p95: at(0.95) };
  const figures = { clicks: CLICKS, painted_in_their_frame: CLICKS, committed_in_the_other_window_ms: latency };
  const folder = process.env.DRIFTLESS_TEST_OUTPUT ?? "../../target/browser";
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "figures.json"), JSON.stringify(figures));
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});
