// Runs the example with `EventSource` of docs/protocol.md, word by word, in a page of a real
// Chromium. The example must show painted cells, resume by itself after its connection broke, and
// end when its token expires.
//
//   node event-source.mjs URL SHORT
//
// URL is the address that `driftless dev` prints, with its token. SHORT is a token that expires
// soon. Chromium is /usr/bin/chromium, or the program that the variable CHROMIUM names. The last
// line is `N passed, N failed`.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { FLAGS } from "../../chromium.mjs";

const DEADLINE_MS = 30_000;
const url = new URL(process.argv[2]);
const short = process.argv[3];
const token = url.searchParams.get("token");
const document_ = await readFile(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
const example = document_.match(/^```js events\n(.*?)^```/ms)[1];
const results = { passed: 0, failed: 0 };

async function claim(name, check) {
  try {
    await check();
    results.passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    results.failed += 1;
    console.log(`FAIL  ${name}\n      ${error.stack}`);
  }
}

/// Starts the document's example in the page.
function start(page, token) {
  return page.evaluate(
    ([code, http, token]) => {
      window.example = new Function("http", "token", `${code}; return { events, cell: (x, y) => cells?.[x + width * y] };`)(http, token);
    },
    [example, url.origin, token],
  );
}

let session;
/// Paints a cell through the HTTP API, without the page.
async function paint(seq, x, y, value) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const post = (path, body) => fetch(url.origin + path, { method: "POST", headers, body: JSON.stringify(body) });
  session ??= (await (await post("/v1/sessions", {})).json()).session;
  const command = { session, seq, after: seq - 1, command: { set: [{ x, y, value }] } };
  const answer = await post("/v1/chunks/canvas/0/0/commands", command);
  if (answer.status !== 202) throw new Error(await answer.text());
}

const shows = (page, x, y, value) =>
  page.waitForFunction(([x, y, value]) => window.example.cell(x, y) === value, [x, y, value], { timeout: DEADLINE_MS });

const profile = await mkdtemp(join(tmpdir(), "driftless-chromium-"));
let context;
try {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
  });
  const page = await context.newPage();
  // Any page of this origin will do, so the test opens one that always exists.
  await page.goto(`${url.origin}/v1/world`);
  await start(page, token);
  await claim("the example shows what is painted", async () => {
    await paint(1, 5, 6, 7);
    await shows(page, 5, 6, 7);
  });
  await claim("and what was painted while it was offline", async () => {
    await context.setOffline(true);
    await paint(2, 9, 6, 8);
    await context.setOffline(false);
    await shows(page, 9, 6, 8);
  });
  await claim("it closes when its token ends", async () => {
    const other = await context.newPage();
    await other.goto(`${url.origin}/v1/world`);
    await start(other, short);
    await other.waitForFunction(() => window.example.events.readyState === EventSource.CLOSED, undefined, { timeout: DEADLINE_MS });
  });
} catch (error) {
  results.failed += 1;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await context?.close();
  await rm(profile, { recursive: true, force: true });
}
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exitCode = results.passed === 3 && results.failed === 0 ? 0 : 1;
