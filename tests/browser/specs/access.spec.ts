import { Window, expect, shot, test } from "../stack.ts";

test("the page says that its token expired, and continues with a new token", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann", { seconds: 6 })));
  await ann.online();
  await ann.paint([
    [12, 12],
    [20, 20],
  ]);
  await ann.settled();
  const before = await ann.drawn("canvas/0/0");
  await expect(ann.page.locator("#token")).toBeVisible();
  await shot(ann, "token-expired");
  await ann.page.locator("#token").fill(stack.token("ann"));
  await ann.page.locator("#notice-button").click();
  await ann.online();
  await expect.poll(() => ann.picture("canvas/0/0")).toEqual(before);
  await ann.paint([
    [30, 12],
    [40, 20],
  ]);
  await ann.settled();
  await expect.poll(async () => (await ann.drawn("canvas/0/0")).painted).toBeGreaterThan(before.painted);
  await shot(ann, "token-renewed");
  await ann.close();
});

test("a user without read access sees no picture of the chunk", async ({ browser, stack }) => {
  const eve = await Window.open(browser, stack.url(stack.token("eve", { write: ["things/"] })));
  await eve.online();
  await expect.poll(async () => (await eve.chunk("canvas/0/0")).status).toBe("rejected");
  expect(await eve.picture("canvas/0/0")).toBeUndefined();
  await shot(eve, "no-access");
  await eve.close();
});
