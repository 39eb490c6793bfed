import { type DriftlessError, OverflowError } from "./errors.js";

/** Takes an `AbortSignal`: when it fires, what was begun ends. */
export interface Abortable {
  signal?: AbortSignal | undefined;
}

/** Events that an iterator's reader may be behind. */
const BEHIND_MAX = 1024;

/** Typed events: listeners, one-shot promises and asynchronous iterators. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();
  readonly #ends = new Set<(reason: DriftlessError) => void>();
  #over: DriftlessError | undefined;

  /** Calls `listener` for each event of this type. Gives the function that ends that; so does the signal. */
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
   * The next event of this type. Rejects with the signal's reason, or where there will be no more events: with {@link ClosedError}, or
   * {@link UsageError} (`not_tracked`) of a chunk that is not tracked any more.
   */
  once<T extends keyof Events>(type: T, { signal }: Abortable = {}): Promise<Events[T]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (this.#over) return reject(this.#over);
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
   * The events of this type from now on, until the loop is left, the signal fires, or there will be no more.
   *
   * @throws {@link OverflowError} where the reader is 1,024 events behind.
   */
  events<T extends keyof Events>(type: T, { signal }: Abortable = {}): AsyncGenerator<Events[T], void, void> {
    const waiting: Events[T][] = [];
    let isOver = (signal?.aborted ?? false) || this.#over !== undefined;
    let isLate = false;
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
    // Now, not when the first event is asked for: what comes in between is not lost.
    const off = this.on(type, (event) => {
      // Behind a gap nothing is told.
      if (isLate) return;
      if (waiting.length < BEHIND_MAX) waiting.push(event);
      else isLate = true;
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
          if (isLate) throw new OverflowError("overflow", `the reader of "${String(type)}" is ${BEHIND_MAX} events behind`);
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
        // A listener's failure is its own: the others hear the event, and the page's error handler hears of the failure.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  /** Ends all iterators, and rejects every promise that waits for an event. */
  protected end(reason: DriftlessError): void {
    this.#over ??= reason;
    for (const end of [...this.#ends]) end(reason);
  }
}
