// A man in the middle for tests: a WebSocket (of the package `ws`) that looks at each message. It
// can break the connection there, hold messages back, double them, or answer in the server's place.

import { WebSocket } from "ws";
import type { SocketLike } from "../src/socket.js";
import { type Message, decode, encode, serverFrame } from "./frames.js";

export type Server = "ingest" | "gateway";
export type Kind = "submit" | "receipt" | "updates";

const KINDS: Record<Kind, (part: Message) => boolean> = {
  submit: ({ submit }) => submit !== undefined,
  receipt: ({ receipt }) => receipt !== undefined,
  updates: ({ updates, outcomes }) => updates !== undefined || outcomes !== undefined,
};

/** The faults that a test sets for the messages of one client, and counters of these faults. */
export class Wire {
  readonly WebSocket: unknown;
  /** The number of times that each event happened: `cut`, `put_off`, `receipt`, `drift`. */
  readonly counts: Record<string, number> = {};
  readonly #barred = new Set<Server>();
  readonly #held: { kind: Kind; queue: (() => void)[] } = { kind: "updates", queue: [] };
  readonly #putOff = new Set<number>();
  #cut: { server: Server; isBefore: boolean; kind: Kind; bars: boolean } | undefined;
  #isHolding = false;
  #isDoubling = false;
  #afterMs = 0;

  constructor() {
    const wire = this;
    this.WebSocket = class extends WiredSocket {
      constructor(url: string, protocols: string[]) {
        super(wire, url, protocols);
      }
    };
  }

  cut(server: Server, at: string, bars: boolean): void {
    const [when, kind] = at.split(" ");
    if (!/^(before|after) (submit|receipt|updates)$/.test(at))
      throw new Error(`cut at ${at}: expected "before KIND" or "after KIND"`);
    this.#cut = { server, isBefore: when === "before", kind: kind as Kind, bars };
    this.counts.cut = 0;
  }

  admit(): void {
    this.#barred.clear();
  }

  hold(kind: Kind): void {
    this.#held.kind = kind;
    this.#isHolding = true;
  }

  release(): void {
    this.#isHolding = false;
    for (const pass of this.#held.queue.splice(0)) pass();
  }

  double(): void {
    this.#isDoubling = true;
  }

  putOff(seqs: number[], afterMs: number): void {
    for (const seq of seqs) this.#putOff.add(seq);
    this.#afterMs = afterMs;
    this.counts.put_off = 0;
  }

  // ---- for the sockets ----

  isBarred(server: Server): boolean {
    return this.#barred.has(server);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** Passes a message on by `pass`, holds it back, or breaks the connection before or after it. */
  judge(server: Server, parts: Message[], socket: WiredSocket, pass: () => void): void {
    const is = (kind: Kind) => parts.some(KINDS[kind]);
    if (is("receipt")) this.count("receipt");
    const cut = this.#cut;
    if (cut && cut.server === server && is(cut.kind)) {
      this.#cut = undefined;
      if (cut.bars) this.#barred.add(server);
      if (!cut.isBefore) pass();
      socket.break(!cut.isBefore);
      this.count("cut");
      return;
    }
    const { kind, queue } = this.#held;
    if (this.#isHolding && (is(kind) || queue.length > 0)) queue.push(pass);
    else pass();
  }

  /**
   * Applies the faults to a message for ingest. Returns the bytes to send to ingest instead (`up`),
   * and the events with which the wire answers in ingest's place (`down`).
   */
  change(parts: Message[], bytes: Uint8Array): { up: Uint8Array; down: Message[] } {
    const down: Message[] = [];
    const kept = parts.filter(({ submit }) => {
      if (!submit || !this.#putOff.delete(submit.seq as number)) return true;
      this.count("put_off");
      const { chunkId, seq } = submit as Message;
      down.push({
        rejected: {
          chunkId,
          seq,
          code: "REJECT_CODE_RATE_LIMITED",
          retry: "RETRY_AFTER",
          retryAfterMs: this.#afterMs,
          message: "later",
        },
      });
      return false;
    });
    if (down.length === 0 && !this.#isDoubling) return { up: bytes, down };
    const requests = kept.flatMap((request) => (request.submit && this.#isDoubling ? [request, request] : [request]));
    return { up: encode("ClientFrame", { requests }), down };
  }
}

class WiredSocket implements SocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  binaryType = "arraybuffer";
  readonly #wire: Wire;
  readonly #server: Server;
  readonly #socket: WebSocket;

  constructor(wire: Wire, url: string, protocols: string[]) {
    this.#wire = wire;
    this.#server = protocols[0] === "driftless.ingest.v1" ? "ingest" : "gateway";
    // Nothing listens on port 1.
    this.#socket = new WebSocket(wire.isBarred(this.#server) ? "ws://127.0.0.1:1" : url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = (event) => this.onopen?.(event as never);
    this.#socket.onerror = (event) => this.onerror?.(event as never);
    this.#socket.onclose = (event) => this.onclose?.(event as never);
    this.#socket.onmessage = ({ data }) => {
      const events = decode("ServerFrame", new Uint8Array(data as ArrayBuffer)).events ?? [];
      this.#wire.judge(this.#server, events as Message[], this, () => this.onmessage?.({ data } as never));
    };
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  send(data: Uint8Array): void {
    const requests = (decode("ClientFrame", data).requests ?? []) as Message[];
    this.#wire.judge(this.#server, requests, this, () => {
      const { up, down } = this.#server === "ingest" ? this.#wire.change(requests, data) : { up: data, down: [] };
      if (this.#socket.readyState === 1) this.#socket.send(up);
      // The client does not expect a message during its own `send`.
      if (down.length > 0) queueMicrotask(() => this.onmessage?.({ data: serverFrame(...down).buffer } as never));
    });
  }

  close(code?: number): void {
    this.#socket.close(code);
  }

  /** Ends the connection without a close frame, after flushing the sent messages if asked to. */
  break(isFlushed: boolean): void {
    if (isFlushed) this.#socket.send(new Uint8Array(), () => this.#socket.terminate());
    else this.#socket.terminate();
  }
}
