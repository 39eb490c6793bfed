import type { ClosedError, DriftlessError } from "./errors.js";

/** The two services that a world is connected to. */
export type Server = "ingest" | "gateway";

/**
 * `connecting`: at least one server has not welcomed the client yet. `online`: both servers have.
 * `offline`: {@link World.goOffline} was called. `closed`: the world has ended for good.
 */
export type WorldStatus = "connecting" | "online" | "offline" | "closed";

/** The events of a {@link World}. */
export interface WorldEvents {
  status: { readonly status: WorldStatus };
  /**
   * A problem that the client handles itself, such as a token function that failed or a request
   * that a server refused. Meant for logs.
   */
  error: DriftlessError;
  /** The world ended for good. */
  close: ClosedError;
  /** A server welcomed the client. `world` is the world's name. */
  welcome: {
    readonly server: "ingest" | "gateway";
    readonly world: string;
    readonly tokenExpiresAt: Date;
  };
}

/**
 * The state of a tracked chunk.
 *
 * - `loading`: there is nothing to show yet.
 * - `live`: the replica follows the log.
 * - `lagging`: there is a replica, but the gateway skips its updates because this client reads too
 *   slowly, or there is no connection. The replica may be old.
 * - `unavailable`: the gateway cannot serve the chunk at present. The replica, if there is one, may
 *   be old. The client tracks the chunk again by itself.
 * - `reloading`: the replica differs from the log, or a message for it cannot be used. A fresh
 *   state is on its way; do not trust what is shown meanwhile.
 * - `rejected`: the gateway does not serve the chunk to this user. Call `track` to ask again.
 * - `failed`: the client gave up, because the chunk was reloaded too often or its model is unknown.
 *   Call `track` to try again.
 */
export type ChunkStatus =
  | "loading"
  | "live"
  | "lagging"
  | "unavailable"
  | "reloading"
  | "rejected"
  | "failed";
