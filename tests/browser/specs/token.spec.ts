import { Window, expect, shot, test } from "../stack.ts";

/** The servers for which a window keeps tokens. */
const kept = (window: Window) => window.page.evaluate(() => Object.keys(sessionStorage).sort());

test("the token leaves the address bar, and a reload finds it", async ({ browser, stack }) => {
  const token = stack.token("ann");
  const ann = await Window.open(browser, stack.url(token, { family: "canvas" }));
  await ann.online();
  expect(ann.page.url()).toBe(`${stack.ready.http}/?family=canvas`);
  await ann.page.reload();
  await ann.online();
  expect(ann.page.url()).not.toContain("token");
  // The browser goes back to pages that it came from, not to the address with the token.
  expect(await ann.page.evaluate(() => history.length)).toBeLessThanOrEqual(2);
  expect(await ann.page.evaluate(() => Object.keys(localStorage).join())).not.toContain("token");
  await ann.close();
});

test("a second window gets the token, and a window of another visit does not", async ({ browser, stack }) => {
  const ann = await Window.open(browser, stack.url(stack.token("ann")));
  await ann.online();
  await ann.page.evaluate(() => localStorage.removeItem("driftless.hint"));
  const opened = ann.page.waitForEvent("popup");
  await ann.page.evaluate(() => document.getElementById("hint-window")?.click());
  const second = await opened;
  await expect(second.locator("#state-text")).toHaveText("live");
  expect(second.url()).not.toContain("token");
  const other = await ann.page.context().newPage();
  await other.goto(stack.ready.http);
  await expect(other.locator("#notice-text")).toContainText("needs a token");
  await ann.close();
});

test("a token goes to another server only after a question", async ({ browser, stack }) => {
  const token = stack.token("ann");
  const ann = await Window.open(browser, stack.url(token));
  await ann.online();
  const own = await kept(ann);
  const asked: string[] = [];
  ann.page.on("request", (request) => asked.push(request.url()));
  ann.page.on("websocket", (socket) => asked.push(socket.url()));
  const elsewhere = () => asked.filter((url) => new URL(url).host === "elsewhere.test");

  // The token of the page's own server is not for another one.
  await ann.page.goto(`${stack.ready.http}/?server=elsewhere.test`);
  await expect(ann.page.locator("#notice-text")).toContainText("needs a token");
  await ann.page.locator("#token").fill(token);
  await ann.page.locator("#token").press("Enter");
  await expect(ann.page.locator("#notice-text")).toContainText("Send this token to elsewhere.test?");
  await shot(ann, "token-question");
  // The focused button is the one that does not send the token.
  await expect(ann.page.locator("#notice-button")).toBeFocused();
  await ann.page.keyboard.press("Enter");
  await expect(ann.page.locator("#notice-text")).toContainText("needs a token");
  await expect(ann.page.locator("#token")).toHaveValue("");
  expect(elsewhere()).toEqual([]);
  expect(await kept(ann)).toEqual(own);

  await ann.page.locator("#token").fill(token);
  await ann.page.locator("#notice-button").click();
  await ann.page.keyboard.press("Escape");
  await expect(ann.page.locator("#notice-send")).toBeHidden();
  expect(await kept(ann)).toEqual(own);

  await ann.page.locator("#token").fill(token);
  await ann.page.locator("#notice-button").click();
  await ann.page.locator("#notice-send").click();
  await expect.poll(() => kept(ann)).toEqual([...own, "driftless.token http://elsewhere.test"].sort());
  await expect(ann.page.locator("#notice-text")).not.toContainText("needs a token");
  await ann.close();
});

test("the page's own server needs no question, under another spelling neither", async ({ browser, stack }) => {
  const host = new URL(stack.ready.http).host;
  for (const server of [host, `ws://${host}`, `HTTP://${host}/`]) {
    const ann = await Window.open(browser, `${stack.ready.http}/?${new URLSearchParams({ server })}`);
    await ann.page.locator("#token").fill(stack.token("ann"));
    await ann.page.locator("#notice-button").click();
    await ann.online();
    await ann.close();
  }
});
