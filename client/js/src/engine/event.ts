import type { ChunkStatus, Server } from "../events.js";

/** The core's events about one chunk. `chunk` is the number that the core gave the chunk. */
export type ChunkEvent =
  | {
      is: "change";
      chunk: number;
      version: number;
      /** The changed boxes of cells, each as `[x, y, z, width, height, depth]`. */
      rects?: [number, number, number, number, number, number][];
      keys?: string[];
      all?: true;
    }
  | { is: "status"; chunk: number; status: ChunkStatus; code?: string; message?: string }
  | {
      is: "outcome";
      chunk: number;
      command: number;
      receipted: boolean;
      writer?: string;
      seq?: number;
      outcome: "committed" | "discarded" | "rejected" | "withdrawn" | "unknown";
      version?: number;
      reason?: string;
      code?: string;
      detail?: string;
    }
  | { is: "drift"; chunk: number; version: number; expected?: string; found: string }
  | { is: "verified"; chunk: number; version: number; hash: string }
  | { is: "history"; chunk: number; world?: string; history?: string; message: string };

/** The core's events about the connections. */
export type ConnectionEvent =
  /** `expires` is in seconds since 1970. */
  | { is: "welcomed"; socket: Server; world: string; expires: number }
  /** The token expires soon, so the core needs a new one. */
  | { is: "token" }
  | { is: "refused"; socket: Server; code: string; message: string }
  | { is: "reconnect"; socket: Server; reason: "dead" | "session" | "undecodable" | "world" }
  | { is: "fatal"; message: string };

/**
 * An event as the core reports it, in JSON. The crate in `client/wasm` writes it. The SDK ignores
 * other kinds, such as `session`.
 */
export type CoreEvent = ChunkEvent | ConnectionEvent;
