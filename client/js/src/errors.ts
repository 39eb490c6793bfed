/** The base of all errors of this package. */
export class DriftlessError extends Error {
  override readonly name: string = "DriftlessError";
  /**
   * A stable code for programs. Each subclass lists its codes. The message is for people, and may
   * change.
   */
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The client does not accept a command, a chunk or a setting. The call changed nothing. Codes:
 * `chunk_id`, `not_tracked`, `too_large`, `too_many`, `invalid_command`, `no_model`, `settings`.
 */
export class UsageError extends DriftlessError {
  override readonly name = "UsageError";
}

/**
 * The client has ended for good, and every pending command has its outcome. Codes:
 *
 * - `closed`: the application called {@link World.close}, or the signal given to `connect` fired.
 * - `refused`: a server closed the connection for good. The message says whether another token or a
 *   newer client is needed.
 * - `core`: the core failed, which is a bug in Driftless or in a model of your own.
 */
export class ClosedError extends DriftlessError {
  override readonly name = "ClosedError";
}

/**
 * A problem that the client handles itself, so the application needs to do nothing. Codes:
 *
 * - `token`: the token function failed. The client calls it again.
 * - `socket`: no WebSocket could be made. Check the URL.
 * - `undecodable`: a server sent a message that is not a frame of this protocol. The client
 *   connects again.
 * - `dead`: a server sent nothing for too long. The client connects again.
 * - `refused_request`: a server refused a request.
 */
export class ConnectionError extends DriftlessError {
  override readonly name = "ConnectionError";
}

/**
 * Why `chunk.status` is `unavailable`, `reloading`, `rejected` or `failed`. Codes:
 *
 * - `unavailable`: the gateway cannot serve the chunk at present. Nothing needs to be done.
 * - `reloading`: the chunk drifted, or a message for it cannot be used. Nothing needs to be done.
 * - `no_read_access`, `unknown_family` and other codes of the gateway: it rejected the chunk.
 * - `failed`: the chunk was reloaded too often, or this client does not know the chunk's model in
 *   the server's revision.
 */
export class ChunkError extends DriftlessError {
  override readonly name = "ChunkError";
}

/**
 * The reader of an asynchronous iterator was too slow, and events were dropped. Code: `overflow`.
 */
export class OverflowError extends DriftlessError {
  override readonly name = "OverflowError";
}

/**
 * Makes an error from a value that the core threw. To refuse an input, the core throws a JSON text
 * with a code and a message. Any other value means that the core failed.
 */
export function usageError(thrown: unknown): DriftlessError {
  if (typeof thrown === "string") {
    const { code, message } = JSON.parse(thrown) as { code: string; message: string };
    return code === "closed" ? new ClosedError(code, message) : new UsageError(code, message);
  }
  return new ClosedError("core", `the client's core failed: ${String(thrown)}`, { cause: thrown });
}
