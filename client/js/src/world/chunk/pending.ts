import type { Chunk } from "../chunk.js";

/** Why the server's model said no. */
export type DiscardReason = "unspecified" | "conflict" | "invalid" | "full" | "undecodable" | "model_fault" | (string & {});

/** What became of a command. There is exactly one for each, and it is never taken back. */
export type Outcome =
  /** It is in the chunk, from this version on; `version` is absent where that is not known any more. */
  | { readonly kind: "committed"; readonly version?: number }
  /** The server decided against it; `detail` is for people. */
  | { readonly kind: "discarded"; readonly reason: DiscardReason; readonly detail: string }
  /** It was not taken, or never sent (then `code` is `unspecified`). */
  | { readonly kind: "rejected"; readonly code: string; readonly detail: string }
  /** It was cancelled, and not committed. */
  | { readonly kind: "withdrawn" }
  /** Nobody can say any more: access, or the server's memory of it, was lost before the client could ask. */
  | { readonly kind: "unknown"; readonly detail: string };

/** An own command, from `submit` until its outcome, and after. */
export class Pending {
  readonly chunk: Chunk;
  /** The command as it was given to `submit`. */
  readonly command: unknown;
  /** By `performance.now()`. */
  readonly submittedAt = performance.now();
  /** How it ends. Never rejects. */
  readonly outcome: Promise<Outcome>;
  /** The outcome, once there is one. */
  ended: Outcome | undefined;
  /** By `performance.now()`. */
  endedAt: number | undefined;
  /** Together with the chunk its name in the log, and for `GET /v1/chunks/…/commands/…`; known with the outcome. */
  number: { readonly writer: string; readonly seq: number } | undefined;
  /** @internal */
  readonly id: number;
  #end!: (outcome: Outcome) => void;

  /** @internal */
  constructor(chunk: Chunk, id: number, command: unknown) {
    this.chunk = chunk;
    this.id = id;
    this.command = command;
    this.outcome = new Promise((resolve) => (this.#end = resolve));
  }

  /**
   * Withdraws it: it leaves the view at once, and ends as `withdrawn`, unless it turns out to have been decided already.
   */
  cancel(): void {
    if (!this.ended) this.chunk.cancel(this);
  }

  /**
   * Takes it back after it was committed, by new commands that are pending like any other: one, or several for a large change.
   * What somebody else did there since stays, and they are discarded. Empty where it cannot be taken back: it was not committed,
   * its model has no inverse, it was taken back already, or its commit was never seen as an update.
   */
  undo(): Pending[] {
    return this.ended?.kind === "committed" ? this.chunk.takeBack(this) : [];
  }

  /** @internal */
  conclude(outcome: Outcome, number: Pending["number"]): void {
    this.ended = outcome;
    this.endedAt = performance.now();
    this.number = number;
    this.#end(outcome);
  }
}
