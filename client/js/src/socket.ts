/** Where a connection stands, for the world's status. */
export type Link = "down" | "connecting" | "open";

/** The least of a WebSocket that is needed; the browser's, Node.js 22's, or that of the package `ws`. */
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

/** Makes a WebSocket. */
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

export interface SocketHost {
  WebSocket: SocketConstructor;
  token(): Promise<string>;
  opened(token: string): void;
  received(bytes: Uint8Array): void;
  /** `code` is 0 where there was no close frame; `reason` is the server's, for people. */
  closed(code: number, reason: string): void;
  /** There is no token; it is asked for again. */
  tokenFailed(error: unknown): void;
  /** The platform makes no WebSocket of this URL; it is tried again. */
  failed(error: unknown): void;
}

const WAIT_MIN_MS = 100;
const WAIT_MAX_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that lived this long was a good one. */
const GOOD_AFTER_MS = 5_000;

/** One of the world's two connections: opened, kept and opened again, with a growing, jittered wait in between. */
export class Socket {
  link: Link = "down";
  readonly #urls: readonly string[];
  readonly #protocol: string;
  readonly #host: SocketHost;
  #turn = 0;
  #socket: SocketLike | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #openedAt = 0;
  /** Counts attempts: what an earlier one still brings is not heard. */
  #attempt = 0;
  #isWanted = false;

  constructor(urls: readonly string[], protocol: string, host: SocketHost) {
    this.#urls = urls;
    this.#protocol = protocol;
    this.#host = host;
  }

  get bufferedBytes(): number {
    return (this.#socket as { bufferedAmount?: number } | undefined)?.bufferedAmount ?? 0;
  }

  /** Connects, now, and whenever the connection is lost. */
  start(): void {
    this.#isWanted = true;
    if (this.link === "down") {
      clearTimeout(this.#timer);
      void this.#connect();
    }
  }

  /** Drops the connection, and does not connect again. The host is not told. */
  stop(): void {
    this.#isWanted = false;
    this.#drop();
  }

  /** Drops the connection and connects again at once, or after a wait if that was tried just before. The host is not told. */
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
    // `ws` throws an error nobody listens to.
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
      socket = new this.#host.WebSocket(this.#urls[this.#turn++ % this.#urls.length] ?? "", [this.#protocol]);
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
    // Whoever closes says, if it likes, when to come again.
    const told = /\(retry after (\d+) ms\)$/.exec(reason)?.[1];
    const wait = this.#backoff();
    this.#failures += 1;
    if (this.#isWanted) this.#wait(told === undefined ? wait : Math.min(Number(told), 60_000));
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
