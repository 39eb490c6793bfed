// A WebSocket without a network: the test is the server.

import type { SocketLike } from "../src/socket.js";

export class FakeSocket implements SocketLike {
  binaryType = "blob";
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly sent: Uint8Array[] = [];
  /** What the client closed it with. */
  closedWith: number | undefined;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {}

  send(data: Uint8Array): void {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(data);
    this.heard?.(data);
  }

  /** What a server does with a message. */
  heard: ((data: Uint8Array) => void) | undefined;

  close(code?: number): void {
    this.closedWith = code;
    this.readyState = 3;
  }

  // ---- the server ----

  open(): void {
    this.readyState = 1;
    this.onopen?.({} as never);
  }

  say(bytes: Uint8Array): void {
    const copy = Uint8Array.from(bytes);
    this.onmessage?.({ data: copy.buffer } as never);
  }

  lose(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason } as never);
  }
}

/** A class to give to the SDK, and all that is made of it; `made` is called with each. */
export function fakeWebSocket(made: (socket: FakeSocket) => void = () => {}) {
  const sockets: FakeSocket[] = [];
  class Made extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      sockets.push(this);
      made(this);
    }
  }
  return { WebSocket: Made, sockets };
}
