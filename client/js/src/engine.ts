/**
 * The engine below the public API. It owns the core (WebAssembly), the two sockets and the timer.
 *
 * Everything happens in turns. A turn is one input of the core and what follows from it: messages
 * to send, the next deadline, and events. The engine delivers the events after the turn, in order.
 * A listener may start the next turn. The events of that turn are queued behind those that are
 * being delivered.
 *
 * The engine identifies a chunk by the number that the core gave it. `Chunk` is the type of the
 * object that the public API registers for a chunk. The engine never looks inside such an object.
 */

import type { Core, Loaded } from "./core.js";
import type { ChunkEvent, CoreEvent } from "./engine/event.js";
import { ClosedError, ConnectionError, type DriftlessError, UsageError, usageError } from "./errors.js";
import type { Server, WorldEvents, WorldStatus } from "./events.js";
import type { WorldSettings } from "./settings.js";
import { Socket, type SocketConstructor } from "./socket.js";
import { askForToken } from "./token.js";
import { listenForWake } from "./wake.js";
import { unzstd } from "./zstd.js";

/** The largest delay that `setTimeout` takes. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1;
/** The servers, indexed by the core's socket numbers. */
const SERVERS: readonly Server[] = ["ingest", "gateway"];
/**
 * Why the core drops a connection: texts for the {@link ConnectionError}, by its code. The code is
 * the reason in the core's `reconnect` event. A reason without a text is not reported.
 */
const PROBLEMS: Readonly<Record<string, string>> = {
  dead: "sent nothing for too long",
  undecodable: "sent a message that is not a frame of this protocol",
  world: "serves another world than the gateway",
};

/** Receives the events of the whole world. */
export interface EngineHost {
  emit<T extends keyof WorldEvents>(type: T, event: WorldEvents[T]): void;
  /** There will be no more events. */
  end(reason: DriftlessError): void;
}

/** Receives the events of one tracked chunk. */
export interface ChunkListener<Chunk> {
  readonly chunk: Chunk;
  /**
   * True if the chunk was untracked. The chunk stays registered until the last own command in it
   * has an outcome.
   */
  isLeaving: boolean;
  deliver(event: ChunkEvent): void;
  /**
   * Ends all open commands as `unknown`, because the core cannot give outcomes any more. `detail`
   * is the reason.
   */
  abandon(detail: string): void;
  /** There will be no more events. */
  end(reason: DriftlessError): void;
}

type Input<R> = (core: Core, now: number) => R;

const words = (error: unknown) => (error instanceof Error ? error.message : String(error));

export class Engine<Chunk> {
  /** The tracked chunks, indexed by the numbers that the core gave them. */
  readonly chunks: (ChunkListener<Chunk> | undefined)[] = [];
  readonly loaded: Loaded;
  /** Bytes of the messages over both sockets since the world was opened. */
  readonly traffic = { received: 0, sent: 0 };
  status: WorldStatus = "connecting";
  /** Why the world has ended. `undefined` as long as the world is open. */
  closed: ClosedError | undefined;
  /**
   * The number of turns so far. A turn may move data in the core's memory, so an array over that
   * memory is valid only until the next turn.
   */
  turns = 0;
  readonly #core: Core;
  readonly #settings: WorldSettings;
  readonly #host: EngineHost;
  readonly #sockets: readonly Socket[];
  /** For each server: true if it has welcomed the client on its current connection. */
  readonly #isWelcomed = [false, false];
  readonly #stopListening: () => void;
  readonly #events: CoreEvent[] = [];
  #isDelivering = false;
  /** The server's reason text for the last connection that was closed or lost. */
  #closeReason = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #deadline = Infinity;
  #now = Date.now();
  #wall = this.#now;

  constructor(loaded: Loaded, settings: WorldSettings, host: EngineHost) {
    this.loaded = loaded;
    this.#settings = settings;
    this.#host = host;
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
    this.#sockets = SERVERS.map((server, number) => this.#socket(number, server));
    this.#stopListening = listenForWake(
      () => this.status === "connecting" && this.#startSockets(),
      () => this.#tick(),
    );
  }

  // ---- turns ----

  /** Reads from the core without starting a turn. */
  read<R>(look: (core: Core) => R): R {
    try {
      return look(this.#core);
    } catch (thrown) {
      throw this.#failed(thrown);
    }
  }

  /** Gives the core an input. If the core refuses the input, throws the refusal to the caller. */
  turn<R>(input: Input<R>): R {
    let result: R;
    try {
      result = input(this.#core, this.#time());
      this.#takeEvents();
      this.#send();
      this.#schedule();
    } catch (thrown) {
      throw this.#failed(thrown);
    }
    this.#deliver();
    return result;
  }

  throwIfClosed(): void {
    if (this.closed) throw this.closed;
  }

  /**
   * Runs a turn that a socket or a timer starts, so that there is no caller to throw an error to.
   * If the core fails, the world closes, and nothing is thrown.
   */
  #backgroundTurn(input: Input<void>): void {
    if (this.closed) return;
    try {
      this.turn(input);
    } catch (error) {
      if (!this.closed) throw error;
    }
  }

  #takeEvents(): void {
    this.turns += 1;
    const events = this.#core.events();
    if (events) this.#events.push(...(JSON.parse(events) as CoreEvent[]));
  }

  #send(): void {
    this.#sockets.forEach((socket, number) => {
      if (socket.link !== "open") return;
      let bytes: Uint8Array | undefined;
      while ((bytes = this.#core.poll_send(number))) {
        this.traffic.sent += bytes.length;
        socket.send(bytes);
      }
    });
  }

  #schedule(): void {
    const deadline = this.#core.next_deadline();
    if (deadline === this.#deadline) return;
    this.#deadline = deadline;
    clearTimeout(this.#timer);
    if (deadline === Infinity) return;
    const delay = Math.min(Math.max(deadline - this.#time(), 0), TIMEOUT_MAX_MS);
    this.#timer = setTimeout(() => this.#tick(), delay);
    // In Node.js, the timer alone must not keep a program running.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  #tick(): void {
    // `NaN` equals no deadline, so `#schedule` sets the timer again in any case.
    this.#deadline = NaN;
    this.#backgroundTurn((core, now) => core.tick(now));
  }

  /** Milliseconds since 1970. Never goes backwards, even if the system's clock does. */
  #time(): number {
    const wall = Date.now();
    this.#now += Math.max(0, wall - this.#wall);
    this.#wall = wall;
    return this.#now;
  }

  /** Turns what the core threw into an error. A failure of the core itself closes the world. */
  #failed(thrown: unknown): DriftlessError {
    const error = usageError(thrown);
    if (error.code === "core") this.close(error as ClosedError, false);
    return error;
  }

  // ---- events ----

  #deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    try {
      let event: CoreEvent | undefined;
      while ((event = this.#events.shift())) this.#handle(event);
    } finally {
      this.#isDelivering = false;
    }
  }

  #handle(event: CoreEvent): void {
    switch (event.is) {
      case "welcomed": {
        const { socket: server, world, expires } = event;
        this.#isWelcomed[SERVERS.indexOf(server)] = true;
        this.#host.emit("welcome", { server, world, tokenExpiresAt: new Date(1000 * expires) });
        if (this.#isWelcomed.every(Boolean)) this.#setStatus("online");
        return;
      }
      case "token":
        return void this.#renew();
      case "refused":
        return this.#report("refused_request", `${event.socket} refused a request: ${event.code}: ${event.message}`);
      case "reconnect": {
        const { socket: server, reason } = event;
        const number = SERVERS.indexOf(server);
        this.#forgetWelcome(number);
        this.#sockets[number]?.restart();
        const problem = PROBLEMS[reason];
        if (problem) this.#report(reason, `${server} ${problem}; the client connects again`);
        return;
      }
      case "fatal": {
        const reason = this.#closeReason && ` (${this.#closeReason})`;
        return this.close(new ClosedError("refused", event.message + reason), false);
      }
      default:
        this.chunks[event.chunk]?.deliver(event);
    }
  }

  #setStatus(status: WorldStatus): void {
    if (this.status === status) return;
    this.status = status;
    this.#host.emit("status", { status });
  }

  #report(code: string, message: string, options?: ErrorOptions): void {
    this.#host.emit("error", new ConnectionError(code, message, options));
  }

  // ---- connections ----

  goOffline(): void {
    if (this.closed) return;
    this.#setStatus("offline");
    this.#sockets.forEach((socket, number) => {
      socket.stop();
      this.#disconnected(number, 0);
    });
  }

  goOnline(): void {
    if (this.closed) return;
    if (this.status === "offline") this.#setStatus("connecting");
    this.#startSockets();
    this.#tick();
  }

  reconnect(server: Server): void {
    if (this.closed || this.status === "offline") return;
    const number = SERVERS.indexOf(server);
    this.#disconnected(number, 0);
    this.#sockets[number]?.restart();
  }

  #socket(number: number, server: Server): Socket {
    const { WebSocket, [server]: urls } = this.#settings;
    const found = WebSocket ?? (globalThis as { WebSocket?: unknown }).WebSocket;
    if (!found) {
      throw new UsageError("settings", "this platform has no WebSocket: pass the class of the package `ws`");
    }
    const list = typeof urls === "string" ? [urls] : urls;
    if (list.length === 0) throw new UsageError("settings", `${server}: no URL`);
    return new Socket(list, `driftless.${server}.v1`, {
      WebSocket: found as SocketConstructor,
      token: () => askForToken(this.#settings.token),
      opened: (token) => this.#backgroundTurn((core, now) => core.connected(now, number, token)),
      received: (bytes) => {
        this.traffic.received += bytes.length;
        this.#backgroundTurn((core, now) => core.received(now, number, bytes));
      },
      closed: (code, reason) => {
        this.#closeReason = reason;
        this.#disconnected(number, code);
      },
      tokenFailed: (error) => this.#tokenFailed(error),
      failed: (cause) => this.#report("socket", `cannot connect to ${server}: ${words(cause)}`, { cause }),
    });
  }

  #startSockets(): void {
    for (const socket of this.#sockets) socket.start();
  }

  #forgetWelcome(number: number): void {
    this.#isWelcomed[number] = false;
    if (this.status === "online") this.#setStatus("connecting");
  }

  #disconnected(number: number, code: number): void {
    this.#forgetWelcome(number);
    this.#backgroundTurn((core, now) => core.disconnected(now, number, code));
  }

  async #renew(): Promise<void> {
    try {
      const token = await askForToken(this.#settings.token);
      if (typeof token !== "string") throw new TypeError(`the token function gave ${typeof token}, not a string`);
      this.#backgroundTurn((core, now) => core.renew(now, token));
    } catch (error) {
      // The core will ask for a token again.
      this.#tokenFailed(error);
    }
  }

  #tokenFailed(cause: unknown): void {
    this.#report("token", `no token now: ${words(cause)}`, { cause });
  }

  // ---- the end ----

  /**
   * Ends the world for good. `isCoreAlive` is false if the core failed, or reported the end itself
   * (`fatal`). Then the core gets no further input.
   */
  close(error: ClosedError, isCoreAlive = true): void {
    if (this.closed) return;
    this.closed = error;
    for (const socket of this.#sockets) socket.stop();
    clearTimeout(this.#timer);
    this.#stopListening();
    if (isCoreAlive) {
      this.#core.close(this.#time());
      this.#takeEvents();
      this.#deliver();
    }
    this.chunks.forEach((chunk) => chunk?.abandon(error.message));
    this.#setStatus("closed");
    this.#host.emit("close", error);
    this.chunks.forEach((chunk) => chunk?.end(error));
    this.#host.end(error);
  }
}
