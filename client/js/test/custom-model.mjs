// examples/custom-model as its README says: the example's server (DRIFTLESS_BIN), its core (the argument), and its shop, whose lines
// are those of the README.

import { execFile, spawn } from "node:child_process";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const [core] = process.argv.slice(2);
const program = process.env.DRIFTLESS_BIN;
if (!core || !program) throw new Error("usage: DRIFTLESS_BIN=PROGRAM node custom-model.mjs CORE");
const example = new URL("../../../examples/custom-model/", import.meta.url);
const folder = await mkdtemp(join(tmpdir(), "driftless-shop-"));
const world = new URL("world.toml", example).pathname;
const server = spawn(program, ["dev", "--world", world, "--data", join(folder, "data"), "--http", "127.0.0.1:0", "--json"], {
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const ready = await new Promise((resolve, reject) => {
    createInterface(server.stdout).on("line", (line) => resolve(JSON.parse(line)));
    server.on("exit", (code) => reject(new Error(`the example's server ended with ${code} before it was ready`)));
  });
  const shop = new URL("shop.mjs", example).pathname;
  const run = promisify(execFile)("node", [shop, core, ready.ingest_ws, ready.gateway_ws, ready.token], { timeout: 60_000 });
  const { stdout } = await run;
  const readme = await readFile(new URL("README.md", example), "utf8");
  const printed = /compares\):\n\n```\n(.*?)```/s.exec(readme)?.[1];
  assert.equal(stdout, printed, "the shop prints what the README says");
  console.log("the shop prints what its README says");
} finally {
  server.kill("SIGTERM");
  await new Promise((resolve) => (server.exitCode === null ? server.on("exit", resolve) : resolve()));
  await rm(folder, { recursive: true, force: true });
}
