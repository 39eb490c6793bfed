import type { Chunk } from "../chunk.js";

/** Why the server's model decided against a command. */
export type DiscardReason =
  "unspecified" | "conflict" | "invalid" | "full" | "undecodable" | "model_fault" | (string & {});

/** How a command ended. Every command has exactly one outcome, which never changes. */
export type Outcome =
  /**
   * The chunk has the command's effect from `version` on. `version` is absent if the client
   * learned of the commit from the gateway's answer to `track`, which names no versions.
   */
  | { readonly kind: "committed"; readonly version?: number }
  /** The server's model decided against the command. `detail` is for people. */
  | { readonly kind: "discarded"; readonly reason: DiscardReason; readonly detail: string }
  /** Ingest refused the command, or it was never sent (then `code` is `unspecified`). */
  | { readonly kind: "rejected"; readonly code: string; readonly detail: string }
  /** The command was cancelled, and was not committed. */
  | { readonly kind: "withdrawn" }
  /**
   * The outcome cannot be found out: the user lost access, the server forgot the command, or the
   * chunk's history changed, before the client could ask. `detail` says why.
   */
  | { readonly kind: "unknown"; readonly detail: string };

/** Actions of a pending command, which its chunk carries out. */
export interface PendingActions {
  cancel(): void;
  takeBack(): Pending[];
}

/** A command that this client submitted. The object remains usable after the outcome. */
export class Pending {
  readonly chunk: Chunk;
  /** The command as it was given to `submit`. */
  readonly command: unknown;
  /** The time of `submit`, by `performance.now()`. */
  readonly submittedAt = performance.now();
  /** Resolves with the outcome. Never rejects. */
  readonly outcome: Promise<Outcome>;
  /** The outcome, once there is one. */
  ended: Outcome | undefined;
  /** The time of the outcome, by `performance.now()`. */
  endedAt: number | undefined;
  /**
   * The writer and the sequence number, known with the outcome. Together with the chunk's id, they
   * name the command in the log and for `GET /v1/chunks/…/commands/…`.
   */
  number: { readonly writer: string; readonly seq: number } | undefined;
  readonly #actions: PendingActions;

  /** @hideconstructor */
  constructor(chunk: Chunk, command: unknown, outcome: Promise<Outcome>, actions: PendingActions) {
    this.chunk = chunk;
    this.command = command;
    this.outcome = outcome;
    this.#actions = actions;
  }

  /**
   * Withdraws the command. It leaves the view at once, and ends as `withdrawn` unless the server
   * had decided it already.
   */
  cancel(): void {
    if (!this.ended) this.#actions.cancel();
  }

  /**
   * Takes a committed command back, by new commands that are pending like any other: one, or
   * several for a large change. Cells and keys that another user changed since keep their value,
   * and the commands for them are discarded.
   *
   * Returns nothing if the command cannot be taken back: it was not committed, its model has no
   * inverse, it was taken back before, or the client did not see its commit as an update.
   */
  undo(): Pending[] {
    return this.ended?.kind === "committed" ? this.#actions.takeBack() : [];
  }
}
