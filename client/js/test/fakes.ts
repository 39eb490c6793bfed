// A WebSocket without a network. The test plays the server.

import type { SocketLike } from "../src/socket.js";

export class FakeSocket implements SocketLike {
  binaryType = "blob";
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly sent: Uint8Array[] = [];
  /** The code with which the client closed the socket. `undefined` until then. */
  closedWith: number | undefined;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {}

  send(data: Uint8Array): void {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(data);
    this.onsent?.(data);
  }

  /** Called with each message of the client. */
  onsent: ((data: Uint8Array) => void) | undefined;

  close(code?: number): void {
    this.closedWith = code;
    this.readyState = 3;
  }

  // ---- for the test, as the server ----

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

/**
 * A class to pass to the SDK, and the list of its instances. `made` is called with each instance.
 */
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
