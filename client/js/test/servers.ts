// Plays both servers for a test. The fake servers welcome every client, record its requests, and
// send the events that the test gives them.

import { type Loaded, load } from "../src/core.js";
import { type Chunk, type ConnectSettings, type Emitter, type World, connect } from "../src/index.js";
import { type FakeSocket, fakeWebSocket } from "./fakes.js";
import { type Message, decode, serverFrame } from "./frames.js";

export const CANVAS = {
  name: "canvas",
  model: "grid",
  modelRevision: 1,
  parameters: '{"size":[8,8],"palette":16}',
  coordinates: 2,
  coordinateMin: -8,
  coordinateMax: 8,
};

export const THINGS = {
  name: "things",
  model: "map",
  modelRevision: 1,
  parameters: '{"entries_max":6,"value_bytes_max":64,"bytes_max":120}',
  coordinates: 2,
  coordinateMin: -8,
  coordinateMax: 8,
};

const core: Loaded = await load();

export const hashOf = (content: Uint8Array) => Uint8Array.from(Buffer.from(core.Core.hash(content), "hex"));
export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

let sessions = 0;

export class Servers {
  readonly requests: { server: "ingest" | "gateway"; request: Message }[] = [];
  readonly sockets: FakeSocket[];
  readonly WebSocket: unknown;
  families: Message[] = [CANVAS, THINGS];
  welcome: Message = {};
  /** True if the servers leave each Hello unanswered. */
  isMute = false;
  session!: Uint8Array;
  writer!: Uint8Array;

  constructor() {
    this.newSession();
    const { WebSocket, sockets } = fakeWebSocket((socket) => {
      socket.onsent = (bytes) => this.#record(socket, bytes);
      queueMicrotask(() => socket.readyState === 0 && socket.open());
    });
    this.WebSocket = WebSocket;
    this.sockets = sockets;
  }

  newSession(): void {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(Date.now() + ++sessions));
    this.session = Uint8Array.from([...time.subarray(2), 0x70, 1, 0x80, 3, 4, 5, 6, 7, 8, 9]);
    this.writer = Uint8Array.from([...time.subarray(2), 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  }

  /** The newest socket to a server. */
  socket(server: "ingest" | "gateway"): FakeSocket {
    const socket = this.sockets.findLast(({ url }) => url === `ws://${server}`);
    if (!socket) throw new Error(`no socket to ${server}`);
    return socket;
  }

  say(server: "ingest" | "gateway", ...events: Message[]): void {
    this.socket(server).say(serverFrame(...events));
  }

  #record(socket: FakeSocket, bytes: Uint8Array): void {
    const server = socket.url.slice(5) as "ingest" | "gateway";
    for (const request of decode("ClientFrame", bytes).requests ?? []) {
      this.requests.push({ server, request });
      if (!request.hello || this.isMute) continue;
      const { session, writer, families } = this;
      const message = {
        session,
        writer,
        families,
        tokenExpiresAt: Math.floor(Date.now() / 1000) + 86_400,
        world: "test",
        ...this.welcome,
      };
      queueMicrotask(() => socket.readyState === 1 && socket.say(serverFrame({ welcome: message })));
    }
  }

  /** Removes and returns the recorded requests of one kind. */
  take(kind: string): Message[] {
    const taken = this.requests.filter(({ request }) => request[kind]);
    for (const one of taken) this.requests.splice(this.requests.indexOf(one), 1);
    return taken.map(({ request }) => request[kind] as Message);
  }

  open(settings: Partial<ConnectSettings> = {}): Promise<World> {
    return connect({
      ingest: "ws://ingest",
      gateway: "ws://gateway",
      token: "token",
      WebSocket: this.WebSocket,
      ...settings,
    });
  }
}

/** Records the events of a world or a chunk, in order. */
export function listen(target: World | Chunk, ...types: string[]): [string, Message][] {
  const heard: [string, Message][] = [];
  const emitter = target as Emitter<Record<string, Message>>;
  for (const type of types) emitter.on(type, (event) => heard.push([type, event]));
  return heard;
}

/** Runs the queued microtasks. No time passes. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** An `Updates` event of one writer. */
export function updates(
  chunkId: string,
  firstVersion: number,
  stateHash: Uint8Array,
  ...effects: Uint8Array[]
): Message {
  const writer = new Uint8Array(16).fill(7);
  return {
    updates: {
      chunkId,
      firstVersion,
      stateHash,
      entries: effects.map((effect, i) => ({ writer, seq: firstVersion + i, effect })),
    },
  };
}
