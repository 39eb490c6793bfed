/**
 * A token, or a function that gives one. The client calls the function for every new connection,
 * and shortly before the current token expires.
 */
export type Token = string | (() => string | Promise<string>);

/** The servers of a world, and the user who opens it. */
export interface WorldSettings {
  /** URLs of ingest, `ws://…` or `wss://…`. Each new connection takes the next URL of a list. */
  ingest: string | readonly string[];
  /** URLs of gateways. Each new connection takes the next URL of a list. */
  gateway: string | readonly string[];
  token: Token;
  /**
   * The user's name. The client passes the name to the model when it predicts the effect of a
   * command. Only models that ask for the author use it.
   */
  author?: string | undefined;
  /** The user's roles, which the client passes to the model like `author`. */
  roles?: readonly string[] | undefined;
  /** The largest number of commands that may be pending in one chunk. The default is 4,096. */
  pendingMax?: number | undefined;
  /** The largest number of own commits per chunk that are kept for undo. The default is 64. */
  undoMax?: number | undefined;
  /**
   * The `WebSocket` class to use where the platform has none: in Node.js before version 22, the one
   * of the package `ws`.
   */
  WebSocket?: unknown;
}
