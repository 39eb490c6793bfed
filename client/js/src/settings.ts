/**
 * A token, or a function that gives one. The client calls the function for every new connection,
 * and shortly before the last token expires.
 */
export type Token = string | (() => string | Promise<string>);

/** The servers of a world, and the user who opens it. */
export interface WorldSettings {
  /** URLs of ingest, `ws://…` or `wss://…`. Each new connection takes the next URL of a list. */
  ingest: string | readonly string[];
  /** URLs of gateways. Each new connection takes the next URL of a list. */
  gateway: string | readonly string[];
  token: Token;
  /** The user's name as predictions see it, for models that ask for the author. */
  author?: string | undefined;
  /** The user's roles as predictions see them. */
  roles?: readonly string[] | undefined;
  /** The number of commands that may be pending in one chunk (4,096). */
  pendingMax?: number | undefined;
  /** The number of own commits in a chunk that can be undone (64). */
  undoMax?: number | undefined;
  /**
   * The `WebSocket` class to use where the platform has none: in Node.js before version 22, the one
   * of the package `ws`.
   */
  WebSocket?: unknown;
}
