// A real `driftless dev` on a folder and a port of its own, from the binary that DRIFTLESS_BIN names, and clients of it.

import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { WebSocket } from "ws";
import { type ConnectSettings, type World, connect } from "../src/index.js";

/** Undefined: what needs a server is skipped. */
export const BINARY = process.env.DRIFTLESS_BIN;
if (!BINARY) console.warn("skipped: nothing here talks to a real server, because DRIFTLESS_BIN does not name a `driftless` binary");

const READY_WITHIN_MS = 30_000;
const DEADLINE_MS = 20_000;

/** A claim about what will be so soon; on failure says what was seen instead. */
export async function eventually<T>(what: string, look: () => T | undefined | false, ms = DEADLINE_MS): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A promise with a deadline. */
export async function soon<T>(what: string, promise: Promise<T>, ms = DEADLINE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Ready {
  ingest_ws: string;
  gateway_ws: string;
  http: string;
  token: string;
}

export interface Rights {
  read?: string[];
  write?: string[];
}

export class Stack {
  folder = "";
  ready!: Ready;
  #port = 0;
  #process: ChildProcess | undefined;
  readonly #worlds: World[] = [];

  /** Starts it, or starts it again on the same data and port. */
  async start(): Promise<void> {
    this.folder ||= mkdtempSync(join(tmpdir(), "driftless-js-"));
    this.#port ||= await freePort();
    const args = ["dev", "--http", `127.0.0.1:${this.#port}`, "--data", join(this.folder, "data"), "--json"];
    const child = spawn(BINARY as string, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    let said = "";
    child.stderr.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-4000)));
    const line = new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`driftless dev ended with ${code}:\n${said}`)));
    });
    this.ready = JSON.parse(await soon("driftless dev to be ready", line, READY_WITHIN_MS)) as Ready;
  }

  /** Ends the process, as a crash would. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async end(): Promise<void> {
    for (const world of this.#worlds.splice(0)) world.close();
    await this.kill();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }

  /** A token of the CLI. */
  async token(sub: string, { read = [], write = ["canvas/", "things/"] }: Rights = {}): Promise<string> {
    const rights = [...read.flatMap((prefix) => ["--read", prefix]), ...write.flatMap((prefix) => ["--write", prefix])];
    const args = ["token", "--key-file", join(this.folder, "data/dev.key"), "--sub", sub, ...rights];
    const { stdout } = await promisify(execFile)(BINARY as string, args);
    return stdout.trim();
  }

  /** One that lives for seconds; the CLI's live for hours. */
  shortToken(sub: string, seconds: number): string {
    const key = readFileSync(join(this.folder, "data/dev.key"), "utf8").trim();
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub, iat: now, exp: now + seconds, jti: randomUUID(), driftless: { read: [], write: ["canvas/", "things/"] } };
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
    return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
  }

  settings(token: ConnectSettings["token"]): ConnectSettings {
    return { ingest: this.ready.ingest_ws, gateway: this.ready.gateway_ws, token, WebSocket };
  }

  async open(token: ConnectSettings["token"], settings: Partial<ConnectSettings> = {}): Promise<World> {
    const world = await connect({ ...this.settings(token), ...settings });
    this.#worlds.push(world);
    return world;
  }

  /** A user with all rights, online. */
  async user(sub: string, rights?: Rights): Promise<World> {
    const world = await this.open(await this.token(sub, rights), { author: sub });
    return soon(`${sub} to be online`, world.online());
  }
}
