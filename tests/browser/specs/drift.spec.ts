import { Window, alike, expect, shot, test } from "../stack.ts";

const CHUNK = "canvas/0/0";

test("a page whose copy was damaged is told by the next update, and healed", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await Promise.all([ann.online(), bob.online()]);
  await bob.paint([[20, 20], [40, 40]]);
  await bob.settled();
  await alike(ann, bob, CHUNK);
  // The chunk under the pointer is the one that is damaged.
  const board = (await ann.page.locator("#board").boundingBox()) ?? { x: 0, y: 0 };
  const place = await ann.page.evaluate(() => (globalThis as never as { driftless: { board: { whereIs(x: number, y: number): { x: number; y: number } } } }).driftless.board.whereIs(30, 30));
  await ann.page.mouse.move(board.x + place.x, board.y + place.y);
  await expect(ann.page.locator("#chunk-id")).toHaveText(CHUNK);
  await ann.page.keyboard.press("d");
  // The replica's hash is the remembered one until somebody names another; the picture is of the bytes as they are.
  await expect.poll(() => ann.picture(CHUNK), { message: "its cells differ now" }).not.toEqual(await bob.picture(CHUNK));
  await shot(ann, "drifted");
  await bob.paint([[60, 20], [60, 40]]);
  await bob.settled();
  await expect.poll(() => ann.chunk(CHUNK), { message: "healed" }).toEqual(await bob.chunk(CHUNK));
  await alike(ann, bob, CHUNK);
  await shot(ann, "healed");
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});
