// The quick start as a newcomer takes it: the packed SDK in a fresh project with Vite and
// TypeScript. A real Chromium opens the project, built and in Vite's dev mode, beside a real
// `driftless dev`. A click paints a cell, and the server commits it.
//
//   DRIFTLESS_BIN=… node test/quick-start.mjs [--json] [--out FOLDER]
//
// DRIFTLESS_TEST_CHROMIUM is the browser (default: /usr/bin/chromium). With --out, the program
// saves a screenshot of each page in FOLDER. The exit code is 0 only if every check passed.

import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { FLAGS } from "../../../tests/chromium.mjs";
import { Dev } from "../../../tests/dev.mjs";

const DEADLINE_MS = 30_000;
const SDK = fileURLToPath(new URL("..", import.meta.url));
const EXAMPLE = fileURLToPath(new URL("../../../examples/quick-start", import.meta.url));
const LINES_MAX = 20;

const { values } = parseArgs({ options: { json: { type: "boolean" }, out: { type: "string" } } });
const say = (...words) => values.json || console.log(...words);
const dev = new Dev();
const folder = mkdtempSync(join(tmpdir(), "driftless-quick-start-"));
const app = join(folder, "app");
const children = [];
const result = { lines: 0, built: undefined, dev: undefined };

const npm = (args, cwd) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

function start(command, args, cwd) {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  child.output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (data) => (child.output = (child.output + data).slice(-4000)));
  children.push(child);
  return child;
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Polls a condition. On a timeout, the error says what was awaited, and its cause what was seen.
 */
async function until(what, look) {
  const deadline = Date.now() + DEADLINE_MS;
  for (let seen; ;) {
    try {
      if (await look()) return;
    } catch (error) {
      seen = error;
    }
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms for ${what()}`, { cause: seen });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Opens the page, clicks a cell, and checks the canvas and the state on the server. */
async function paints(browser, { page: url, ready, name, at: [x, y], version }) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("requestfailed", (request) => problems.push(`${request.url()}: ${request.failure()?.errorText}`));
  const server = ready.http.replace("http", "ws");
  await page.goto(`${url}?server=${server}&token=${ready.token}`);
  const canvas = page.locator("canvas");
  await until(
    () => `the canvas of ${name} to be 128 cells wide; ${problems.join("; ")}`,
    () => canvas.evaluate(({ width, onclick }) => width === 128 && onclick !== null),
  );
  const began = Date.now();
  // The border of the canvas is 1 pixel wide, and a cell is 4 pixels wide.
  await canvas.click({ position: { x: 1 + 4 * x + 2, y: 1 + 4 * y + 2 } });
  await until(
    () => `the commit; ${problems.join("; ")}`,
    async () => (await page.locator("output").textContent()) === "committed",
  );
  const ms = Date.now() - began;
  const chunk = await fetch(`${ready.http}/v1/chunks/canvas/0/0`, {
    headers: { authorization: `Bearer ${ready.token}`, accept: "application/octet-stream" },
  });
  const cells = new DataView(await chunk.arrayBuffer(), 12);
  const value = cells.getUint16(2 * (x + 128 * y), true);
  if (value !== 9) throw new Error(`the server has ${value} at ${x}, ${y}, not 9: ${chunk.status}`);
  const pixel = ([x, y]) =>
    canvas.evaluate((canvas, [x, y]) => [...canvas.getContext("2d").getImageData(x, y, 1, 1).data], [x, y]);
  const [painted, other] = [await pixel([x, y]), await pixel([x + 1, y])];
  if (String(painted) === String(other))
    throw new Error(`the pixel at ${x}, ${y} has the colour of its neighbour, ${painted}: the cell was not painted`);
  if (values.out) await page.screenshot({ path: join(values.out, `quick-start-${name}.png`) });
  await context.close();
  if (problems.length > 0) throw new Error(`errors in the page of ${name}: ${problems.join("; ")}`);
  say(`ok    ${name}: a cell is painted, and committed as version ${version}; ${ms} ms`);
  return { committed_ms: ms };
}

let browser;
try {
  if (values.out) mkdirSync(values.out, { recursive: true });
  result.lines = readFileSync(join(EXAMPLE, "src/main.ts"), "utf8").trimEnd().split("\n").length;
  if (result.lines > LINES_MAX) throw new Error(`the quick start has ${result.lines} lines, but may have ${LINES_MAX}`);

  npm(["run", "--silent", "build"], SDK);
  const packed = npm(["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], SDK)
    .trim()
    .split("\n")
    .at(-1);
  cpSync(EXAMPLE, app, { recursive: true, filter: (path) => !/node_modules|dist$/.test(path) });
  npm(["install", "--silent", "--ignore-scripts", "--prefer-offline", join(folder, packed)], app);
  npm(["run", "--silent", "build"], app);
  say("ok    the packed SDK is installed, the types fit, and the project builds");

  await dev.start();
  const { ready } = dev;
  browser = await chromium.launch({
    executablePath: process.env.DRIFTLESS_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
  let version = 0;
  for (const [name, ...args] of [["built", "preview"], ["dev"]]) {
    const port = await freePort();
    const vite = start(
      process.execPath,
      [
        join(app, "node_modules/vite/bin/vite.js"),
        ...args,
        "--host",
        "127.0.0.1",
        "--port",
        String(port),
        "--strictPort",
      ],
      app,
    );
    const page = `http://127.0.0.1:${port}/`;
    await until(
      () => `vite: ${vite.output}`,
      async () => (await fetch(page)).ok,
    );
    version += 1;
    result[name] = await paints(browser, { page, ready, name, at: [10 * version, 5], version });
  }
} catch (error) {
  console.error(`FAIL  ${error.stack}${error.cause ? `\n${error.cause}` : ""}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  for (const child of children) {
    if (child.exitCode !== null) continue;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
  await dev.end();
  rmSync(folder, { recursive: true, force: true });
}
if (values.json && !process.exitCode) console.log(JSON.stringify(result));
