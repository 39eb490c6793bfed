// Counts the outcomes of the user's own edits, and their latencies. Remembers the last outcomes of
// each chunk, and the time at which the chunk's hash was last compared with the log.

import type { Chunk, Outcome } from "@driftless/client";

const LATENCIES_MAX = 2000;
/** The largest number of outcomes that are remembered for each chunk. */
const LAST = 4;

export interface Ended {
  readonly outcome: Outcome;
  /** The time from `submit` to the outcome, in milliseconds. */
  readonly ms: number;
  /** The time of the outcome, by `performance.now()`. */
  readonly at: number;
}

export class Tally {
  readonly counts: Record<Outcome["kind"], number> = {
    committed: 0,
    discarded: 0,
    rejected: 0,
    withdrawn: 0,
    unknown: 0,
  };
  /** From `submit` to the commit, in milliseconds, newest last. */
  readonly latencies: number[] = [];
  /** The same commits with their outcomes and times. */
  readonly commits: Ended[] = [];
  readonly #last = new Map<string, Ended[]>();
  readonly #checked = new Map<string, { at: number; by: "loading" | "beacon" | "update"; version: number }>();

  /** Counts the outcomes of own edits of a chunk from now on. */
  follow(chunk: Chunk): void {
    const { id } = chunk;
    chunk.on("verified", ({ version }) => this.#checked.set(id, { at: performance.now(), by: "beacon", version }));
    chunk.on("status", ({ status }) => {
      if (status === "live") this.#checked.set(id, { at: performance.now(), by: "loading", version: chunk.version });
    });
    // An update names the hash of the chunk after it. The SDK compares this hash before it emits
    // `change`.
    chunk.on("change", ({ version }) => {
      const known = this.#checked.get(id);
      if (known && version > known.version) this.#checked.set(id, { at: performance.now(), by: "update", version });
    });
    chunk.on("outcome", ({ pending, outcome }) => {
      const at = performance.now();
      const ended = { outcome, at, ms: at - pending.submittedAt };
      this.counts[outcome.kind] += 1;
      const last = this.#last.get(chunk.id) ?? [];
      this.#last.set(chunk.id, [ended, ...last].slice(0, LAST));
      if (outcome.kind !== "committed") return;
      this.latencies.push(ended.ms);
      this.commits.push(ended);
      if (this.latencies.length > LATENCIES_MAX) this.latencies.shift();
      if (this.commits.length > LATENCIES_MAX) this.commits.shift();
    });
  }

  /** When the chunk's hash was last compared with the log, and with which message. */
  checked(id: string): { readonly at: number; readonly by: "loading" | "beacon" | "update" } | undefined {
    return this.#checked.get(id);
  }

  /** The last outcomes of a chunk, newest first. */
  last(id: string): readonly Ended[] {
    return this.#last.get(id) ?? [];
  }
}
