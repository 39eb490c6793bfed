import { Window, expect, shot, test } from "../stack.ts";

/** How long the bots paint. */
const PAINTING_MS = 60_000;

test("20 bots paint for a minute without an exception or a memory leak", async ({ browser, stack }) => {
  test.setTimeout(PAINTING_MS + 120_000);
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  await ann.online();
  await ann.page.locator("#bots").click();
  const version = async (id: string) => (await ann.chunk(id)).version;
  await expect.poll(async () => (await version("canvas/0/0")) + (await version("canvas/-1/-1"))).toBeGreaterThan(50);
  const heap = async () => {
    const session = await ann.page.context().newCDPSession(ann.page);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    await session.detach();
    return usedSize;
  };
  // In this time the page allocates palettes, layers and plots once. They must not count as growth.
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
