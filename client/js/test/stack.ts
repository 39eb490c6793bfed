// A real `driftless dev`, from the binary that DRIFTLESS_BIN names, and clients of it.

import { WebSocket } from "ws";
import { Dev, type Ready, type Rights } from "../../../tests/dev.mjs";
import { type ConnectSettings, type World, connect } from "../src/index.js";

/** If undefined, the tests that need a server are skipped. */
export const BINARY = process.env.DRIFTLESS_BIN;
if (!BINARY)
  console.warn("skipped the tests against a real server: set DRIFTLESS_BIN to a `driftless` binary to run them");

const DEADLINE_MS = 20_000;

/** Polls until `look` gives a value. On a timeout, the error says what was awaited. */
export async function eventually<T>(what: string, look: () => T | undefined | false, ms = DEADLINE_MS): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits for a promise, but not longer than `ms`. On a timeout, the error names `what`. */
export async function soon<T>(what: string, promise: Promise<T>, ms = DEADLINE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A `driftless dev`, and clients of it. */
export class Stack {
  #dev: Dev | undefined;
  readonly #worlds: World[] = [];

  get #running(): Dev {
    return (this.#dev ??= new Dev());
  }

  get ready(): Ready {
    return this.#running.ready;
  }

  /**
   * Starts the server, or starts it again on the same port: on the same data, or with an empty
   * world.
   */
  async start({ isFresh = false } = {}): Promise<void> {
    await this.#running.start({ isFresh });
  }

  /** Kills the process, as a crash would. */
  async kill(): Promise<void> {
    await this.#dev?.stop("SIGKILL");
  }

  async end(): Promise<void> {
    for (const world of this.#worlds.splice(0)) world.close();
    await this.#dev?.end();
  }

  token(sub: string, rights: Rights & { seconds?: number } = {}): string {
    return this.#running.token(sub, rights);
  }

  settings(token: ConnectSettings["token"]): ConnectSettings {
    return { ingest: this.ready.ingest_ws, gateway: this.ready.gateway_ws, token, WebSocket };
  }

  async open(token: ConnectSettings["token"], settings: Partial<ConnectSettings> = {}): Promise<World> {
    const world = await connect({ ...this.settings(token), ...settings });
    this.#worlds.push(world);
    return world;
  }

  /** Opens a world for the user `sub`, by default with all rights, and waits until it is online. */
  async user(sub: string, rights?: Rights): Promise<World> {
    const world = await this.open(this.token(sub, rights), { author: sub });
    return soon(`${sub} to be online`, world.online());
  }
}
