import { Window, expect, shot, test } from "../stack.ts";

/** A minute, as the issue wants it. */
const PAINTING_MS = 60_000;

test("20 bots paint for a minute without an exception and without a leak", async ({ browser, stack }) => {
  test.setTimeout(PAINTING_MS + 120_000);
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  await ann.online();
  await ann.page.locator("#bots").click();
  await expect.poll(async () => (await ann.chunk("canvas/0/0")).version + (await ann.chunk("canvas/-1/-1")).version).toBeGreaterThan(50);
  const heap = async () => {
    const session = await ann.page.context().newCDPSession(ann.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize;
  };
  // What is reached only once must not be taken for growth: palettes, layers, plots.
  await ann.page.waitForTimeout(PAINTING_MS / 3);
  const early = await heap();
  await ann.page.waitForTimeout((PAINTING_MS * 2) / 3);
  const late = await heap();
  await shot(ann, "twenty-bots");
  expect(late, `the page's heap: ${early} bytes after a third, ${late} at the end`).toBeLessThan(early * 1.3 + 4e6);
  await ann.page.locator("#bots").click();
  await ann.settled();
  expect(ann.errors).toEqual([]);
  await ann.close();
});
