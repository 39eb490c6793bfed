// Runs examples/custom-model as its README describes it: the example's server (DRIFTLESS_BIN), its
// core (the argument), and its shop. The shop must print what the README shows.

import { execFile } from "node:child_process";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Dev } from "../../../tests/dev.mjs";

const [core] = process.argv.slice(2);
const program = process.env.DRIFTLESS_BIN;
if (!core || !program) throw new Error("usage: DRIFTLESS_BIN=PROGRAM node custom-model.mjs CORE");
const example = new URL("../../../examples/custom-model/", import.meta.url);
const dev = new Dev({ program, flags: ["--world", fileURLToPath(new URL("world.toml", example))] });
try {
  await dev.start();
  const { ready } = dev;
  const shop = fileURLToPath(new URL("shop.mjs", example));
  const run = promisify(execFile)("node", [shop, core, ready.ingest_ws, ready.gateway_ws, ready.token], {
    timeout: 60_000,
  });
  const { stdout } = await run;
  const readme = await readFile(new URL("README.md", example), "utf8");
  const printed = /prints[^\n]*:\n\n```\n(.*?)```/s.exec(readme)?.[1];
  assert.equal(stdout, printed, "the shop prints what the README says");
  console.log("the shop prints what its README says");
} finally {
  await dev.end();
}
