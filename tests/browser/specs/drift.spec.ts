import { type Hooks, Window, showAlike, expect, shot, test } from "../stack.ts";

const CHUNK = "canvas/0/0";

test("a damaged chunk is found by the next update, and healed", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await Promise.all([ann.online(), bob.online()]);
  await bob.paint([
    [20, 20],
    [40, 40],
  ]);
  await bob.settled();
  await showAlike(ann, bob, CHUNK);
  // The key D damages the chunk at the pointer.
  const board = (await ann.page.locator("#board").boundingBox()) ?? { x: 0, y: 0 };
  const place = await ann.page.evaluate(() => {
    const { driftless } = globalThis as unknown as { driftless: Hooks };
    return driftless.board.whereIs(30, 30);
  });
  await ann.page.mouse.move(board.x + place.x, board.y + place.y);
  await expect(ann.page.locator("#chunk-id")).toHaveText(CHUNK);
  await ann.page.keyboard.press("d");
  // The picture shows the damaged cells at once. The hash is compared only with the next update or
  // beacon.
  const healthy = await bob.picture(CHUNK);
  await expect.poll(() => ann.picture(CHUNK), { message: "the damaged cells are drawn" }).not.toEqual(healthy);
  await shot(ann, "drifted");
  await bob.paint([
    [60, 20],
    [60, 40],
  ]);
  await bob.settled();
  await expect.poll(() => ann.chunk(CHUNK), { message: "the chunk is healed" }).toEqual(await bob.chunk(CHUNK));
  await showAlike(ann, bob, CHUNK);
  await shot(ann, "healed");
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});
