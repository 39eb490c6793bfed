import { Chunk, type ChunkStatus } from "./world/chunk.js";
import type { Core, Loaded } from "./core.js";
import { type Abortable, Emitter } from "./emitter.js";
import { ClosedError, ConnectionError, type DriftlessError, UsageError, usageError } from "./errors.js";
import { type Outcome, Pending } from "./world/chunk/pending.js";
import { Socket, type SocketConstructor } from "./socket.js";
import { unzstd } from "./zstd.js";

/** A token, or where to get one: asked at every connect, and shortly before the last one expires. */
export type Token = string | (() => string | Promise<string>);

/** Where a world is, and who comes. */
export interface WorldSettings {
  /** Where ingest listens, `ws://…` or `wss://…`; with several, every new connection takes the next one. */
  ingest: string | readonly string[];
  /** Where gateways listen. */
  gateway: string | readonly string[];
  token: Token;
  /** The user's name as predictions see it, for models that ask for the author. */
  author?: string | undefined;
  /** The user's roles as predictions see them. */
  roles?: readonly string[] | undefined;
  /** Commands that may be pending in one chunk (4,096). */
  pendingMax?: number | undefined;
  /** Own commits of a chunk that can be undone (64). */
  undoMax?: number | undefined;
  /** Where the platform has none: the class of the package `ws` in Node.js before version 22. */
  WebSocket?: unknown;
}

/** A family of chunks, as the server announced it. */
export interface Family {
  readonly name: string;
  readonly model: string;
  readonly revision: number;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** How many coordinates a chunk's id has, each from `min` to `max`. */
  readonly coordinates: number;
  readonly min: number;
  readonly max: number;
}

/** `online`: both servers have welcomed the client. `offline`: by {@link World.goOffline}. `closed`: for good. */
export type WorldStatus = "connecting" | "online" | "offline" | "closed";

/** What a {@link World} tells. */
export interface WorldEvents {
  status: { readonly status: WorldStatus };
  /** Something that the client deals with itself: a token function that failed, a request that a server refused. For logs. */
  error: DriftlessError;
  /** The client ended for good. */
  close: ClosedError;
  /** A server welcomed the client, with what it announces. */
  welcome: { readonly server: "ingest" | "gateway"; readonly world: string; readonly tokenExpiresAt: Date };
}

/** What the core tells, by its number of a chunk. */
interface Told {
  is: string;
  chunk: number;
  command: number;
  [member: string]: unknown;
}

/** Bytes that came and went, since the world was opened. */
export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

/** setTimeout takes no longer times. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1;
const SOCKETS = ["ingest", "gateway"] as const;
const TOKEN_TIMEOUT_MS = 10_000;
/** Why the core gives up a connection, in words: by the codes of the error. */
const PROBLEMS: Readonly<Record<string, string>> = {
  dead: "was not heard for too long",
  undecodable: "sent what is no frame of this protocol",
};

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** One user's view of a world: two connections, the tracked chunks, and the user's own commands. Made by {@link connect}. */
export class World extends Emitter<WorldEvents> {
  readonly #core: Core;
  readonly #loaded: Loaded;
  readonly #settings: WorldSettings;
  readonly #sockets: readonly [Socket, Socket];
  readonly #chunks: (Chunk | undefined)[] = [];
  readonly #welcomed = [false, false];
  readonly #untell: () => void;
  #queue: Told[] = [];
  /** Of the last close, in the server's words. */
  #reason = "";
  #isTelling = false;
  #status: WorldStatus = "connecting";
  #closed: ClosedError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  #now = Date.now();
  #wall = this.#now;
  #received = 0;
  #sent = 0;
  /** Counts what may have moved the core's memory. @internal */
  turns = 0;

  /** @internal */
  constructor(loaded: Loaded, settings: WorldSettings) {
    super();
    this.#loaded = loaded;
    this.#settings = settings;
    const json = {
      author: settings.author,
      roles: settings.roles,
      can_renew: typeof settings.token === "function",
      pending_max: settings.pendingMax,
      undo_max: settings.undoMax ?? 64,
    };
    try {
      this.#core = new loaded.Core(JSON.stringify(json), { unzstd });
    } catch (thrown) {
      throw usageError(thrown);
    }
    this.#sockets = [this.#socket(0, settings.ingest), this.#socket(1, settings.gateway)];
    this.#untell = this.#listen();
    this.goOnline();
  }

  get status(): WorldStatus {
    return this.#status;
  }

  get traffic(): Traffic {
    return { received: this.#received, sent: this.#sent };
  }

  /** Own commands without an outcome, in all chunks. */
  get pending(): number {
    return this.core((core) => core.pending());
  }

  /** The families that the servers announced; none before the first welcome. */
  get families(): Family[] {
    const families = JSON.parse(this.core((core) => core.families())) as Record<string, string>[];
    return families.map(({ parameters, min, max, ...family }) => {
      return { ...family, parameters: JSON.parse(parameters || "{}"), min: Number(min), max: Number(max) } as unknown as Family;
    });
  }

  /** The colours of a family's values, as `#rrggbb`; none where values have no colours. */
  colors(family: string): string[] {
    const rgb = this.core((core) => core.colors(family)) ?? [];
    const hex = (at: number) => (rgb[at] ?? 0).toString(16).padStart(2, "0");
    return Array.from({ length: rgb.length / 3 }, (_, i) => `#${hex(3 * i)}${hex(3 * i + 1)}${hex(3 * i + 2)}`);
  }

  /**
   * Follows a chunk. The same chunk is the same object, as long as it is tracked.
   *
   * @throws {@link UsageError} where `id` is not a chunk's id; {@link ClosedError}.
   */
  track(id: string, { signal }: Abortable = {}): Chunk {
    this.throwIfClosed();
    signal?.throwIfAborted();
    const chunk = this.#turn((core, now) => {
      const number = core.track(now, id);
      const chunk = (this.#chunks[number] ??= new Chunk(this, id, number));
      chunk.isLeaving = false;
      return chunk;
    });
    // It may have been about to leave.
    chunk.isLeaving = false;
    signal?.addEventListener("abort", () => chunk.untrack(), { once: true });
    return chunk;
  }

  /** The tracked chunks. */
  get chunks(): Chunk[] {
    return this.#chunks.filter((chunk) => chunk !== undefined);
  }

  /** Resolves when both servers have welcomed the client. Rejects with {@link ClosedError} or the signal's reason. */
  async online({ signal }: Abortable = {}): Promise<this> {
    while (this.#status !== "online") {
      this.throwIfClosed();
      await this.once("status", { signal });
    }
    return this;
  }

  /** Drops both connections. Commands can be submitted all the same: they wait here, in the view and uncommitted. */
  goOffline(): void {
    if (this.#closed) return;
    this.#setStatus("offline");
    this.#sockets.forEach((socket, number) => {
      socket.stop();
      this.#lost(number, 0);
    });
  }

  /** Connects again, at once: after {@link World.goOffline}, or without waiting for the next attempt. */
  goOnline(): void {
    if (this.#closed) return;
    if (this.#status === "offline") this.#setStatus("connecting");
    for (const socket of this.#sockets) socket.start();
    this.#tick();
  }

  /** Drops one connection and opens it again, as when a server is restarted. */
  reconnect(server: "ingest" | "gateway"): void {
    if (this.#closed || this.#status === "offline") return;
    const number = SOCKETS.indexOf(server);
    this.#lost(number, 0);
    this.#sockets[number]?.restart();
  }

  /**
   * Ends the client: what was never sent is withdrawn; what is open ends as unknown, though it may well be committed. To lose nothing,
   * wait for the outcomes first.
   */
  close(): void {
    this.#end(new ClosedError("closed", "the client was closed"));
  }

  // ---- for the other parts of the SDK ----

  /** Reads from the core. @internal */
  core<R>(read: (core: Core) => R): R {
    try {
      return read(this.#core);
    } catch (thrown) {
      throw this.#failed(thrown);
    }
  }

  /** @internal */
  get memory(): WebAssembly.Memory {
    return this.#loaded.memory;
  }

  /** @internal */
  throwIfClosed(): void {
    if (this.#closed) throw this.#closed;
  }

  /** @internal */
  submit(chunk: Chunk, command: object | Uint8Array): Pending {
    this.throwIfClosed();
    return this.#turn((core, now) => {
      const isBytes = command instanceof Uint8Array;
      const id = isBytes
        ? core.submit(now, chunk.number, command)
        : core.submit_json(now, chunk.number, JSON.stringify(command));
      return this.#pending(chunk, id, command);
    });
  }

  /** @internal */
  cancel(pending: Pending): void {
    if (!this.#closed) this.#turn((core, now) => core.cancel(now, pending.chunk.number, pending.id));
  }

  /** @internal */
  takeBack(pending: Pending): Pending[] {
    this.throwIfClosed();
    const { chunk, id } = pending;
    return this.#turn((core, now) =>
      Array.from(core.take_back(now, chunk.number, id), (taken) => this.#pending(chunk, taken, { undo: pending.command })),
    );
  }

  /** @internal */
  untrack(chunk: Chunk): void {
    if (this.#closed || this.#chunks[chunk.number] !== chunk) return;
    this.#turn((core, now) => core.untrack(now, chunk.number));
    if (chunk.pendings.size === 0) this.#forget(chunk);
    else chunk.isLeaving = true;
  }

  /** @internal */
  corrupt(chunk: Chunk): boolean {
    return this.#turn((core, now) => core.damage(now, chunk.number));
  }

  /** @internal */
  hashOf(bytes: Uint8Array): string {
    return this.#loaded.Core.hash(bytes);
  }

  // ---- turns ----

  /** One input of the core, and everything that follows from it. */
  #turn<R>(input: (core: Core, now: number) => R): R {
    let result: R;
    try {
      result = input(this.#core, this.#time());
      this.#after();
    } catch (thrown) {
      throw this.#failed(thrown);
    }
    this.#tell();
    return result;
  }

  /** An input that nobody called for: where the core fails, `close` tells, and neither a socket nor a timer throws. */
  #hear(input: (core: Core, now: number) => void): void {
    if (this.#closed) return;
    try {
      this.#turn(input);
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  /** What the core has to tell is told next. */
  #hearCore(): void {
    this.turns += 1;
    const told = this.#core.events();
    if (told) this.#queue.push(...(JSON.parse(told) as Told[]));
  }

  #after(): void {
    this.#hearCore();
    this.#sockets.forEach((socket, number) => {
      if (socket.link !== "open") return;
      for (let bytes = this.#core.poll_send(number); bytes; bytes = this.#core.poll_send(number)) {
        this.#sent += bytes.length;
        socket.send(bytes);
      }
    });
    this.#schedule();
  }

  #schedule(): void {
    const at = this.#core.next_deadline();
    if (at === this.#timerAt) return;
    this.#timerAt = at;
    clearTimeout(this.#timer);
    if (at === Infinity) return;
    this.#timer = setTimeout(() => this.#tick(), Math.min(Math.max(at - this.#time(), 0), TIMEOUT_MAX_MS));
    // In Node.js a timer must not keep a program alive that has nothing else to do.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  #tick(): void {
    this.#timerAt = NaN;
    this.#hear((core, now) => core.tick(now));
  }

  /** Milliseconds since the Unix epoch that never go backwards. */
  #time(): number {
    const wall = Date.now();
    this.#now += Math.max(0, wall - this.#wall);
    this.#wall = wall;
    return this.#now;
  }

  /** What the core threw: a refusal is the caller's; a failure of the core is the end. */
  #failed(thrown: unknown): DriftlessError {
    const error = usageError(thrown);
    if (error.code === "core" && !this.#closed) this.#end(error as ClosedError, false);
    return error;
  }

  // ---- events ----

  #tell(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    try {
      for (let told = this.#queue.shift(); told; told = this.#queue.shift()) this.#tellOne(told);
    } finally {
      this.#isTelling = false;
    }
  }

  #tellOne(told: Told): void {
    const chunk = this.#chunks[told.chunk];
    switch (told.is) {
      case "change": {
        const rects = (told.rects as number[][] | undefined)?.map(([x, y, z, width, height, depth]) => ({ x, y, z, width, height, depth }));
        const { version, keys, all } = told;
        chunk?.emit("change", { version, ...(rects && { rects }), ...(keys !== undefined && { keys }), ...(all !== undefined && { all }) } as never);
        return;
      }
      case "status":
        return chunk?.setStatus(told.status as ChunkStatus, told.code as string | undefined, told.message as string | undefined);
      case "outcome":
        return chunk && this.#outcome(chunk, told);
      case "drift":
        chunk?.emit("drift", { version: told.version as number, expected: told.expected as string | undefined, found: told.found as string });
        return;
      case "verified":
        if (!chunk) return;
        chunk.verifiedAt = performance.now();
        return chunk.emit("verified", { version: told.version as number, hash: told.hash as string });
      case "welcomed": {
        const server = told.socket as "ingest" | "gateway";
        this.#welcomed[SOCKETS.indexOf(server)] = true;
        this.emit("welcome", { server, world: told.world as string, tokenExpiresAt: new Date(1000 * (told.expires as number)) });
        if (this.#welcomed.every(Boolean)) this.#setStatus("online");
        return;
      }
      case "token":
        return void this.#renew();
      case "refused":
        return this.emit("error", new ConnectionError("refused_request", `${told.socket} refused a request: ${told.code}: ${told.message}`));
      case "reconnect": {
        const number = SOCKETS.indexOf(told.socket as "ingest" | "gateway");
        this.#parted(number);
        this.#sockets[number]?.restart();
        const problem = PROBLEMS[told.reason as string];
        if (problem) this.emit("error", new ConnectionError(told.reason as string, `${told.socket} ${problem}: it is connected again`));
        return;
      }
      case "fatal":
        return this.#end(new ClosedError("refused", `${told.message}${this.#reason && ` (${this.#reason})`}`), false);
    }
  }

  #outcome(chunk: Chunk, told: Told): void {
    const pending = chunk.pendings.get(told.command);
    if (!pending) return;
    chunk.pendings.delete(told.command);
    const { outcome: kind, version, reason, code, detail, writer, seq } = told;
    const outcome = {
      kind,
      ...(version != null && { version }),
      ...(reason !== undefined && { reason }),
      ...(code !== undefined && { code }),
      ...(detail !== undefined && { detail }),
    } as unknown as Outcome;
    pending.conclude(outcome, writer === undefined ? undefined : { writer: writer as string, seq: seq as number });
    chunk.emit("outcome", { pending, outcome });
    if (kind !== "committed") chunk.emit("rollback", { pending, outcome });
    if (chunk.isLeaving && chunk.pendings.size === 0) this.#forget(chunk);
  }

  #pending(chunk: Chunk, id: number, command: unknown): Pending {
    const pending = new Pending(chunk, id, command);
    chunk.pendings.set(id, pending);
    return pending;
  }

  #forget(chunk: Chunk): void {
    this.#chunks[chunk.number] = undefined;
    chunk.end(new UsageError("not_tracked", `${chunk.id} is not tracked any more`));
  }

  #setStatus(status: WorldStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.emit("status", { status });
  }

  // ---- connections ----

  #socket(number: 0 | 1, urls: string | readonly string[]): Socket {
    const platform = (globalThis as { WebSocket?: unknown }).WebSocket;
    const WebSocket = (this.#settings.WebSocket ?? platform) as SocketConstructor | undefined;
    if (!WebSocket) throw usageError(JSON.stringify({ code: "settings", message: "there is no WebSocket here: pass the class of the package `ws`" }));
    const list = typeof urls === "string" ? [urls] : urls;
    if (list.length === 0) throw new UsageError("settings", `${SOCKETS[number]}: no URL`);
    return new Socket(list, `driftless.${SOCKETS[number]}.v1`, {
      WebSocket,
      token: () => this.#token(),
      opened: (token) => this.#hear((core, now) => core.connected(now, number, token)),
      received: (bytes) => {
        this.#received += bytes.length;
        this.#hear((core, now) => core.received(now, number, bytes));
      },
      closed: (code, reason) => {
        this.#reason = reason;
        this.#lost(number, code);
      },
      tokenFailed: (error) => this.#tokenFailed(error),
      failed: (error) => this.emit("error", new ConnectionError("socket", `no connection now: ${words(error)}`, { cause: error })),
    });
  }

  #parted(number: number): void {
    this.#welcomed[number] = false;
    if (this.#status === "online") this.#setStatus("connecting");
  }

  #lost(number: number, code: number): void {
    this.#parted(number);
    this.#hear((core, now) => core.disconnected(now, number, code));
  }

  async #token(): Promise<string> {
    const { token } = this.#settings;
    if (typeof token === "string") return token;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it gave none within ${TOKEN_TIMEOUT_MS / 1000} s`)), TOKEN_TIMEOUT_MS);
    });
    try {
      return await Promise.race([token(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #renew(): Promise<void> {
    try {
      const token = await this.#token();
      if (typeof token !== "string") throw new TypeError(`the token function gave ${typeof token}, not a string`);
      this.#hear((core, now) => core.renew(now, token));
    } catch (error) {
      // The core asks again.
      this.#tokenFailed(error);
    }
  }

  #tokenFailed(error: unknown): void {
    this.emit("error", new ConnectionError("token", `no token now: ${words(error)}`, { cause: error }));
  }

  /** The platform knows when it is back from sleep, and when the network is. */
  #listen(): () => void {
    const { addEventListener, removeEventListener } = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
    if (typeof addEventListener !== "function" || typeof removeEventListener !== "function") return () => {};
    const online = () => {
      if (this.#status !== "connecting") return;
      for (const socket of this.#sockets) socket.start();
    };
    const awake = () => this.#tick();
    addEventListener("online", online);
    addEventListener("visibilitychange", awake);
    addEventListener("pageshow", awake);
    return () => {
      removeEventListener("online", online);
      removeEventListener("visibilitychange", awake);
      removeEventListener("pageshow", awake);
    };
  }

  #end(error: ClosedError, canAsk = true): void {
    if (this.#closed) return;
    this.#closed = error;
    for (const socket of this.#sockets) socket.stop();
    clearTimeout(this.#timer);
    this.#untell();
    if (canAsk) {
      this.#core.close(this.#time());
      this.#hearCore();
      this.#tell();
    }
    // Of a core that failed nothing can be asked any more.
    for (const chunk of this.chunks) {
      for (const pending of chunk.pending) pending.conclude({ kind: "unknown", detail: error.message }, undefined);
      chunk.pendings.clear();
    }
    this.#setStatus("closed");
    this.emit("close", error);
    for (const chunk of this.chunks) chunk.end(error);
    this.end(error);
  }
}
