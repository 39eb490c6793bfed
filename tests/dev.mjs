// Starts a `driftless dev` with its own data folder and port, for tests in JavaScript and
// TypeScript.

import { spawn } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const READY_MS = 60_000;
/** What the data folder holds of the world. */
const WORLD = ["store", "log.db", "log.db-wal", "log.db-shm", "log.json"];

export class Dev {
  folder = mkdtempSync(join(tmpdir(), "driftless-dev-"));
  /**
   * The JSON that the program printed when it was ready: `http`, `ingest_ws`, `gateway_ws`,
   * `token`, …
   */
  ready;
  #program;
  #flags;
  #port = 0;
  #process;

  constructor({ program = process.env.DRIFTLESS_BIN, flags = [] } = {}) {
    if (!program) throw new Error("set DRIFTLESS_BIN to a `driftless` binary");
    this.#program = program;
    this.#flags = flags;
  }

  /**
   * Starts the program, or starts it again on the same port. With `isFresh`, the world is empty and
   * has another id. The key that signs tokens stays, so that clients stay admitted.
   */
  async start({ isFresh = false } = {}) {
    for (const name of isFresh ? WORLD : []) rmSync(join(this.folder, "data", name), { recursive: true, force: true });
    const flags = ["--http", `127.0.0.1:${this.#port}`, "--data", join(this.folder, "data"), "--json", ...this.#flags];
    const child = spawn(this.#program, ["dev", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    let log = "";
    child.stderr.on("data", (data) => (log = (log + data).slice(-4_000)));
    let timer;
    this.ready = await new Promise((resolve, reject) => {
      createInterface(child.stdout).once("line", (line) => resolve(JSON.parse(line)));
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`driftless dev ended with ${code} before it was ready:\n${log}`)));
      const late = () => reject(new Error(`driftless dev was not ready within ${READY_MS} ms:\n${log}`));
      timer = setTimeout(late, READY_MS);
    }).finally(() => clearTimeout(timer));
    this.#port = Number(new URL(this.ready.http).port);
  }

  async stop(signal = "SIGTERM") {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  /** Kills the program and removes its data folder. */
  async end() {
    await this.stop("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Makes a token for a user, by default with the rights that the page needs. */
  token(sub, { seconds = 3600, read = [], write = ["canvas/", "things/"] } = {}) {
    const key = readFileSync(join(this.folder, "data/dev.key"), "utf8").trim();
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now, exp: now + seconds };
    const claims = { sub, aud: this.ready.audience, ...times, jti: randomUUID(), driftless: { read, write } };
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
  }
}
