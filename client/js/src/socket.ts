/** The state of a connection. */
export type Link = "down" | "connecting" | "open";

/**
 * The part of a WebSocket that the client uses. The classes of browsers, of Node.js 22 and of the
 * package `ws` have it.
 */
export interface SocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
}

/** A WebSocket class. */
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

/** The environment of a {@link Socket}: the settings that it needs, and its callbacks. */
export interface SocketHost {
  WebSocket: SocketConstructor;
  token(): Promise<string>;
  opened(token: string): void;
  received(bytes: Uint8Array): void;
  /** `code` is 0 if there was no close frame. `reason` is the server's text. */
  closed(code: number, reason: string): void;
  /** `token` rejected, or gave no string. The socket asks again after a wait. */
  tokenFailed(error: unknown): void;
  /** The platform cannot make a WebSocket of the URL. The socket tries again after a wait. */
  failed(error: unknown): void;
}

const WAIT_MIN_MS = 100;
const WAIT_MAX_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that stays open for longer than this resets the wait before the next attempt. */
const GOOD_AFTER_MS = 5_000;

/**
 * A connection of the world to one of its servers. A socket that was started connects again
 * whenever its connection is lost. The wait between attempts doubles from 0.1 s to 10 s, and is
 * jittered.
 */
export class Socket {
  link: Link = "down";
  readonly #urls: readonly string[];
  readonly #protocol: string;
  readonly #host: SocketHost;
  /** The number of connections so far. Each connection takes the next URL of the list. */
  #connections = 0;
  #socket: SocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The number of failed or short connections in a row, which determines the next wait. */
  #failures = 0;
  #openedAt = 0;
  /** The number of the current attempt. Callbacks of earlier attempts are ignored. */
  #attempt = 0;
  /** True after `start`, until `stop`. */
  #isWanted = false;

  constructor(urls: readonly string[], protocol: string, host: SocketHost) {
    this.#urls = urls;
    this.#protocol = protocol;
    this.#host = host;
  }

  /** Connects at once, and again whenever the connection is lost. */
  start(): void {
    this.#isWanted = true;
    if (this.link === "down") {
      clearTimeout(this.#timer);
      void this.#connect();
    }
  }

  /** Drops the connection, and does not connect again. Does not call {@link SocketHost.closed}. */
  stop(): void {
    this.#isWanted = false;
    this.#drop();
  }

  /**
   * Drops the connection and connects again: at once, or after a wait if earlier attempts failed
   * and this connection was open for less than 5 s. Does not call {@link SocketHost.closed}.
   */
  restart(): void {
    this.#drop();
    if (this.#isWanted) this.#wait(this.#failures++ === 0 ? 0 : this.#backoff());
  }

  send(bytes: Uint8Array): void {
    if (this.#socket?.readyState === 1) this.#socket.send(bytes);
  }

  #drop(): void {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (this.link === "open" && Date.now() - this.#openedAt > GOOD_AFTER_MS) this.#failures = 0;
    this.link = "down";
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // The package `ws` throws an `error` event that has no listener.
    socket.onerror = () => {};
    socket.close(1000);
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    const isStale = () => attempt !== this.#attempt;
    this.link = "connecting";
    let token: string;
    try {
      token = await this.#host.token();
      if (typeof token !== "string") throw new TypeError(`the token function gave ${typeof token}, not a string`);
    } catch (error) {
      if (isStale()) return;
      this.link = "down";
      this.#host.tokenFailed(error);
      return this.#again();
    }
    if (isStale()) return;
    let socket: SocketLike;
    try {
      socket = new this.#host.WebSocket(this.#urls[this.#connections++ % this.#urls.length] ?? "", [this.#protocol]);
    } catch (error) {
      this.link = "down";
      this.#host.failed(error);
      return this.#again();
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#timer = setTimeout(() => lost(0, ""), CONNECT_TIMEOUT_MS);
    const lost = (code: number, reason: string) => {
      if (isStale()) return;
      const wasOpen = this.link === "open";
      this.#drop();
      this.#host.closed(wasOpen ? code : 0, reason);
      this.#again(reason);
    };
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.link = "open";
      this.#openedAt = Date.now();
      this.#host.opened(token);
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (data instanceof ArrayBuffer) this.#host.received(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => lost(code, String(reason));
    socket.onerror = () => {};
  }

  #again(reason = ""): void {
    // A server may name the wait in the close reason.
    const named = /\(retry after (\d+) ms\)$/.exec(reason)?.[1];
    const wait = this.#backoff();
    this.#failures += 1;
    if (this.#isWanted) this.#wait(named === undefined ? wait : Math.min(Number(named), 60_000));
  }

  #backoff(): number {
    const most = Math.min(WAIT_MIN_MS * 2 ** this.#failures, WAIT_MAX_MS);
    return most * (0.5 + Math.random() / 2);
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#isWanted && this.link === "down" && void this.#connect(), ms);
  }
}
