import { Window, showAlike, expect, shot, test } from "../stack.ts";

const CHUNK = "canvas/0/0";

test("two windows that paint at the same time converge to the same pixels", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await Promise.all([ann.online(), bob.online()]);
  await Promise.all([
    ann.paint([
      [4, 4],
      [40, 8],
      [60, 40],
    ]),
    bob.paint([
      [90, 10],
      [50, 50],
      [8, 60],
    ]),
  ]);
  await Promise.all([ann.settled(), bob.settled()]);
  await showAlike(ann, bob, CHUNK);
  expect((await ann.drawn(CHUNK)).painted).toBeGreaterThan(20);
  const one = await ann.chunk(CHUNK);
  expect(one).toMatchObject({ status: "live", pending: 0 });
  await expect.poll(() => bob.chunk(CHUNK)).toEqual(one);
  await shot(ann, "two-windows-ann");
  await shot(bob, "two-windows-bob");
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});

test("edits made offline are hatched, and committed when the connection is back", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await Promise.all([ann.online(), bob.online()]);
  const before = await bob.drawn(CHUNK);
  await ann.page.locator("#offline").click();
  await expect(ann.page.locator("#state-text")).toHaveText("offline");
  await ann.paint([
    [70, 70],
    [90, 90],
  ]);
  expect(await ann.pending()).toBeGreaterThan(0);
  await shot(ann, "offline");
  expect(await bob.picture(CHUNK), "the other window does not show it").toEqual(before);
  await ann.page.locator("#offline").click();
  await ann.online();
  await ann.settled();
  await expect.poll(async () => (await bob.drawn(CHUNK)).hash).not.toBe(before.hash);
  await showAlike(bob, ann, CHUNK);
  await shot(ann, "online-again");
  expect([...ann.errors, ...bob.errors]).toEqual([]);
  await Promise.all([ann.close(), bob.close()]);
});

test("a server that is killed and restarted loses nothing, and windows reconnect by themselves", async ({
  browser,
  stack,
}) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  await ann.online();
  await ann.paint([
    [10, 100],
    [30, 110],
  ]);
  await ann.settled();
  const before = await ann.drawn(CHUNK);
  await stack.stop("SIGKILL");
  await expect(ann.page.locator("#state-text")).not.toHaveText("live");
  await ann.paint([
    [100, 100],
    [110, 110],
  ]);
  await stack.start();
  await ann.online();
  await ann.settled();
  const bob = await Window.open(browser, stack.url(stack.token("bob")));
  await bob.online();
  await showAlike(bob, ann, CHUNK);
  await expect.poll(async () => (await bob.drawn(CHUNK)).painted).toBeGreaterThan(before.painted);
  await shot(bob, "after-a-kill");
  await Promise.all([ann.close(), bob.close()]);
});
