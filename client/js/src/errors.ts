/** What an error is about, for code that decides what to do. Each class lists its own codes. */
export class DriftlessError extends Error {
  override readonly name: string = "DriftlessError";
  /** Stable: for programs. The message is for people. */
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A command, a chunk or a setting that is not taken; nothing has happened. Codes: `chunk_id`, `not_tracked`, `too_large`, `too_many`,
 * `invalid_command`, `no_model`, `settings`.
 */
export class UsageError extends DriftlessError {
  override readonly name = "UsageError";
}

/**
 * The client has ended for good; every pending command has its outcome. Codes: `closed` (by {@link World.close} or its signal), `refused`
 * (a server closed the connection for good: another token or a newer client is needed; the message says which), `core` (the core
 * failed: a bug, of ours or of a model's).
 */
export class ClosedError extends DriftlessError {
  override readonly name = "ClosedError";
}

/**
 * Something went wrong that the client deals with itself. Codes: `token` (the token function failed; it is asked again), `socket` (no
 * WebSocket could be made: look at the URL), `undecodable` (a server sent what is no frame of this protocol) and `dead` (it was silent for
 * too long), both of which connect again, and `refused_request`.
 */
export class ConnectionError extends DriftlessError {
  override readonly name = "ConnectionError";
}

/**
 * A chunk is loaded again, not served, or was given up: `chunk.status` is `reloading`, `rejected` or `failed`. Codes: `reloading` (it
 * drifted, or what came cannot be used; nothing is to be done), as the server names them (`no_read_access`, `unknown_family`, …), or
 * `failed` (reloaded too often; its model is unknown here or of another revision).
 */
export class ChunkError extends DriftlessError {
  override readonly name = "ChunkError";
}

/** An asynchronous iterator whose reader took too long: events were dropped. Code: `overflow`. */
export class OverflowError extends DriftlessError {
  override readonly name = "OverflowError";
}

/** What the core throws: JSON, with a code and words. */
export function usageError(thrown: unknown): DriftlessError {
  if (typeof thrown === "string") {
    const { code, message } = JSON.parse(thrown) as { code: string; message: string };
    return code === "closed" ? new ClosedError(code, message) : new UsageError(code, message);
  }
  return new ClosedError("core", `the client's core failed: ${String(thrown)}`, { cause: thrown });
}
