// Measures the built SDK in a real Chromium, with a fake WebSocket that delivers messages made in
// advance.
//
//   npm run build && npm run bench [-- --json]
//
// DRIFTLESS_TEST_CHROMIUM is the browser (default: /usr/bin/chromium). The figures are medians of
// 20 runs, after 5 runs to warm up. The exit code is 1 if a figure is above its target.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { runnerImport } from "vite";
import { FLAGS } from "../../tests/chromium.mjs";
import { load } from "./dist/core.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const RUNS = 20;
const WARM_UP = 5;
const UPDATES = 1000;
const SIZE = [64, 64, 1];

/** The targets, in milliseconds: a slower median makes the program fail. */
const TARGETS = { updates_ms: 5, entries_ms: 5, hash_64_kib_ms: 0.5 };
const WORDS = {
  updates_ms: `${UPDATES} updates to a 64×64 chunk, each of one edit, in one frame`,
  entries_ms: `one update of ${UPDATES} edits to a 64×64 chunk`,
  hash_64_kib_ms: "hash of a 64 KiB content, copied into the core",
  own_edit_ms: "an own edit, until the view shows it",
};

const { values } = parseArgs({ options: { json: { type: "boolean" } } });
const { module: frames } = await runnerImport(join(HERE, "test/frames.ts"));
const { Core } = await load();

const base64 = (bytes) => Buffer.from(bytes).toString("base64");

/**
 * Makes the gateway's messages: an empty chunk first, then one `ServerFrame` for each run. With
 * `isOneUpdate`, a frame has one update of many edits; otherwise one update for each edit.
 */
function script(isOneUpdate) {
  const chunkId = isOneUpdate ? "canvas/0/1" : "canvas/0/0";
  const cells = new Uint16Array(SIZE[0] * SIZE[1]);
  const encoding = () => frames.gridEncoding(SIZE, (i) => cells[i]);
  const hashNow = () => Uint8Array.from(Buffer.from(Core.hash(encoding()), "hex"));
  const writer = new Uint8Array(16).fill(7);
  const state = { chunkId, version: 1, hash: hashNow() };
  const first = frames.serverFrame(
    { tracked: { ...state, ledger: {} } },
    { chunk: { ...state, model: "grid", revision: 1, data: frames.rawZstd(encoding()) } },
  );
  let version = 1;
  const rest = Array.from({ length: RUNS + WARM_UP }, () => {
    const entries = Array.from({ length: UPDATES }, () => {
      version += 1;
      const [cell, value] = [(version * 1031) % cells.length, version % 250];
      cells[cell] = value;
      return { writer, seq: version, effect: frames.setCells([cell, value]) };
    });
    const [firstVersion, stateHash] = [version - UPDATES + 1, hashNow()];
    // The client compares only the last hash of a frame's updates, so the other hashes may be
    // empty.
    if (isOneUpdate) return frames.serverFrame({ updates: { chunkId, firstVersion, entries, stateHash } });
    return frames.serverFrame(
      ...entries.map((entry, i) => ({
        updates: { chunkId, firstVersion: firstVersion + i, entries: [entry], stateHash },
      })),
    );
  });
  return {
    chunkId,
    version,
    hash: Buffer.from(hashNow()).toString("hex"),
    first: base64(first),
    rest: rest.map(base64),
  };
}

const now = Math.floor(Date.now() / 1000);
const time = Buffer.alloc(8);
time.writeBigUInt64BE(BigInt(Date.now()));
const welcome = frames.serverFrame({
  welcome: {
    session: Uint8Array.from([...time.subarray(2), 0x70, 1, 0x80, 3, 4, 5, 6, 7, 8, 9]),
    writer: Uint8Array.from([...time.subarray(2), 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    families: [
      {
        name: "canvas",
        model: "grid",
        modelRevision: 1,
        parameters: JSON.stringify({ size: SIZE, palette: 256 }),
        coordinates: 2,
        coordinateMin: 0,
        coordinateMax: 9,
      },
    ],
    tokenExpiresAt: now + 86_400,
    world: "bench",
  },
});

/** The measurement, executed inside the page. */
async function measure(settings) {
  const page = await import("/bench-page.mjs");
  return page.measure(settings);
}

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".mjs": "text/javascript" };
const PAGE = '<!doctype html><link rel="icon" href="data:,">';

/** The headers isolate the page from other origins. Otherwise its clock is too coarse. */
const server = createServer((request, response) => {
  const headers = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
  const path = normalize(new URL(request.url, "http://x").pathname);
  if (path === "/") return response.writeHead(200, { ...headers, "content-type": "text/html" }).end(PAGE);
  try {
    const body = readFileSync(join(HERE, path));
    response
      .writeHead(200, { ...headers, "content-type": TYPES[extname(path)] ?? "application/octet-stream" })
      .end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

let browser;
try {
  browser = await chromium.launch({
    executablePath: process.env.DRIFTLESS_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: FLAGS,
  });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const scripts = { updates_ms: script(false), entries_ms: script(true) };
  const { is_isolated, ...figures } = await page.evaluate(measure, {
    welcome: base64(welcome),
    scripts,
    runs: RUNS,
    warmUp: WARM_UP,
  });
  if (!is_isolated) throw new Error("the page is not cross-origin isolated, so its clock is too coarse");
  for (const name of Object.keys(figures)) figures[name] = Number(figures[name].toFixed(3));
  const tooSlow = Object.keys(TARGETS).filter((name) => !(figures[name] <= TARGETS[name]));
  if (values.json)
    console.log(
      JSON.stringify({ ...figures, runs: RUNS, targets: TARGETS, too_slow: tooSlow, browser: browser.version() }),
    );
  else {
    for (const [name, ms] of Object.entries(figures)) {
      const target =
        TARGETS[name] === undefined ? "" : `, at most ${TARGETS[name]}${tooSlow.includes(name) ? "  TOO SLOW" : ""}`;
      console.log(`${WORDS[name].padEnd(68)} ${ms.toFixed(3).padStart(7)} ms${target}`);
    }
    console.log(`medians of ${RUNS} runs, Chromium ${browser.version()}`);
  }
  process.exitCode = tooSlow.length > 0 ? 1 : 0;
} finally {
  await browser?.close();
  server.close();
}
