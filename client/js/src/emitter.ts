import { type DriftlessError, OverflowError } from "./errors.js";

/** Options of a call that an `AbortSignal` can end. */
export interface Abortable {
  signal?: AbortSignal | undefined;
}

/** The largest number of events that an iterator queues for a slow reader. */
const QUEUE_MAX = 1024;

/** Typed events: listeners, one-shot promises and asynchronous iterators. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();
  readonly #ends = new Set<(reason: DriftlessError) => void>();
  #endReason: DriftlessError | undefined;

  /**
   * Calls `listener` for each event of this type. The returned function removes the listener, and
   * so does the signal.
   */
  on<T extends keyof Events>(type: T, listener: (event: Events[T]) => void, { signal }: Abortable = {}): () => void {
    if (signal?.aborted) return () => {};
    let listeners = this.#listeners.get(type);
    if (!listeners) this.#listeners.set(type, (listeners = new Set()));
    listeners.add(listener);
    const off = () => {
      listeners.delete(listener);
      signal?.removeEventListener("abort", off);
    };
    signal?.addEventListener("abort", off);
    return off;
  }

  /**
   * Resolves with the next event of this type. Rejects with the signal's reason if the signal
   * fires, with {@link ClosedError} if the world has closed, and with {@link UsageError}
   * (`not_tracked`) if the chunk is not tracked any more.
   */
  once<T extends keyof Events>(type: T, { signal }: Abortable = {}): Promise<Events[T]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#endReason) return reject(this.#endReason);
      const done = () => {
        off();
        this.#ends.delete(end);
        signal?.removeEventListener("abort", abort);
      };
      const end = (reason: DriftlessError) => {
        done();
        reject(reason);
      };
      const abort = () => {
        done();
        reject(signal?.reason);
      };
      const off = this.on(type, (event) => {
        done();
        resolve(event);
      });
      this.#ends.add(end);
      signal?.addEventListener("abort", abort);
    });
  }

  /**
   * Iterates over the events of this type from now on. The iteration ends when the loop is left,
   * when the signal fires, or when the world or the chunk that emits the events has ended.
   *
   * @throws {@link OverflowError} if the reader is 1,024 events behind.
   */
  events<T extends keyof Events>(type: T, { signal }: Abortable = {}): AsyncGenerator<Events[T], void, void> {
    const waiting: Events[T][] = [];
    let isOver = (signal?.aborted ?? false) || this.#endReason !== undefined;
    let isFull = false;
    let wake = () => {};
    const done = () => {
      off();
      this.#ends.delete(end);
      signal?.removeEventListener("abort", end);
    };
    const end = () => {
      isOver = true;
      done();
      wake();
    };
    // Listens from the call on, and not from the first read on, so that no event in between is
    // lost.
    const off = this.on(type, (event) => {
      // After the first dropped event, all later ones are dropped too: the reader never sees a gap.
      if (isFull) return;
      if (waiting.length < QUEUE_MAX) waiting.push(event);
      else isFull = true;
      wake();
    });
    if (isOver) off();
    else {
      this.#ends.add(end);
      signal?.addEventListener("abort", end);
    }
    const read = async function* (): AsyncGenerator<Events[T], void, void> {
      try {
        for (;;) {
          while (waiting.length > 0) yield waiting.shift() as Events[T];
          if (isFull) {
            throw new OverflowError("overflow", `the reader of "${String(type)}" is ${QUEUE_MAX} events behind`);
          }
          if (isOver) return;
          await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        done();
      }
    };
    return read();
  }

  protected emit<T extends keyof Events>(type: T, event: Events[T]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (event: Events[T]) => void)(event);
      } catch (error) {
        // The other listeners still get the event, and the page's error handler gets the error.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  /** Ends all iterators, and rejects with `reason` every promise that waits for an event. */
  protected end(reason: DriftlessError): void {
    this.#endReason ??= reason;
    for (const end of [...this.#ends]) end(reason);
  }
}
