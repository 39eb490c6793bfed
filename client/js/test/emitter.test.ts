// Events: each listener gets each event once, a listener that fails does not disturb the others,
// and no promise waits for an emitter that has ended.

import { afterEach, describe, expect, test, vi } from "vitest";
import { Emitter } from "../src/emitter.js";
import { ClosedError, type DriftlessError, OverflowError } from "../src/errors.js";

interface Events {
  number: number;
  word: string;
}

/** An emitter that the test can make emit and end. */
class Source extends Emitter<Events> {
  override emit<T extends keyof Events>(type: T, event: Events[T]): void {
    super.emit(type, event);
  }

  override end(reason: DriftlessError): void {
    super.end(reason);
  }
}

const over = new ClosedError("closed", "the end");

afterEach(() => void vi.useRealTimers());

describe("on", () => {
  test("each listener gets the events of its type, in order, until it is removed", () => {
    const source = new Source();
    const heard: unknown[] = [];
    const off = source.on("number", (n) => heard.push(["a", n]));
    source.on("number", (n) => heard.push(["b", n]));
    source.on("word", (word) => heard.push(word));
    source.emit("number", 1);
    source.emit("word", "hello");
    off();
    off();
    source.emit("number", 2);
    expect(heard).toEqual([["a", 1], ["b", 1], "hello", ["b", 2]]);
  });

  test("a signal removes the listener, and a signal that has already fired adds none", () => {
    const source = new Source();
    const heard: number[] = [];
    const controller = new AbortController();
    source.on("number", (n) => heard.push(n), { signal: controller.signal });
    source.on("number", (n) => heard.push(-n), { signal: AbortSignal.abort() });
    source.emit("number", 1);
    controller.abort();
    source.emit("number", 2);
    expect(heard).toEqual([1]);
  });

  test("a listener that throws does not stop the others, and its error is reported", () => {
    vi.useFakeTimers();
    const source = new Source();
    const heard: number[] = [];
    source.on("number", () => {
      throw new Error("mine");
    });
    source.on("number", (n) => heard.push(n));
    source.emit("number", 1);
    expect(heard).toEqual([1]);
    expect(() => vi.runAllTimers()).toThrow("mine");
  });

  test("listeners that are added or removed during an event do not disturb the others", () => {
    const source = new Source();
    const heard: string[] = [];
    const off = source.on("number", () => {
      off();
      source.on("number", () => heard.push("late"));
      heard.push("first");
    });
    source.on("number", () => heard.push("second"));
    source.emit("number", 1);
    expect(heard).toEqual(["first", "second"]);
  });
});

describe("once", () => {
  test("resolves with the next event only", async () => {
    const source = new Source();
    const next = source.once("number");
    source.emit("number", 1);
    source.emit("number", 2);
    expect(await next).toBe(1);
  });

  test("rejects with the signal's reason, whether it fires before or after the call", async () => {
    const source = new Source();
    const controller = new AbortController();
    const next = source.once("number", { signal: controller.signal });
    controller.abort(new Error("no more"));
    await expect(next).rejects.toThrow("no more");
    await expect(source.once("number", { signal: controller.signal })).rejects.toThrow("no more");
  });

  test("rejects when the source has ended", async () => {
    const source = new Source();
    const next = source.once("number");
    source.end(over);
    await expect(next).rejects.toBe(over);
    await expect(source.once("number")).rejects.toBe(over);
  });
});

describe("events", () => {
  test("no event is lost between the call and the first read, nor while the reader is busy", async () => {
    const source = new Source();
    const events = source.events("number");
    source.emit("number", 1);
    source.emit("number", 2);
    const read: number[] = [];
    for await (const n of events) {
      read.push(n);
      if (n === 2) source.emit("number", 3);
      if (n === 3) break;
    }
    source.emit("number", 4);
    expect(read).toEqual([1, 2, 3]);
    expect((await events.next()).done).toBe(true);
  });

  test("the signal ends the loop after the events that came before it", async () => {
    const source = new Source();
    const controller = new AbortController();
    const events = source.events("number", { signal: controller.signal });
    source.emit("number", 1);
    controller.abort();
    source.emit("number", 2);
    const read: number[] = [];
    for await (const n of events) read.push(n);
    expect(read).toEqual([1]);
    for await (const n of source.events("number", { signal: controller.signal })) read.push(n);
    expect(read).toEqual([1]);
  });

  test("the end of the source ends a waiting loop, and a loop that starts later", async () => {
    const source = new Source();
    const waiting = source.events("number").next();
    source.end(over);
    expect((await waiting).done).toBe(true);
    expect((await source.events("number").next()).done).toBe(true);
  });

  test("a reader that is 1,024 events behind gets an error after the events before the gap", async () => {
    const source = new Source();
    const events = source.events("number");
    for (let n = 0; n < 1025; n++) source.emit("number", n);
    for (let n = 0; n < 1024; n++) {
      expect((await events.next()).value).toBe(n);
      source.emit("number", 2000 + n);
    }
    const failure = events.next();
    await expect(failure).rejects.toBeInstanceOf(OverflowError);
    await expect(failure).rejects.toMatchObject({ code: "overflow", name: "OverflowError" });
  });
});
