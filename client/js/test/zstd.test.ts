// The decompressor in front of the core: any bytes are a content of the size that the header says, or an error; never more memory than
// that, and never a hang. That the content is the right one is the state hash's business.

import { describe, expect, test } from "vitest";
import { unzstd } from "../src/zstd.js";

const LIMIT = 1 << 20;

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

const TEXT = "Many clients edit one chunked world at once; a log decides. ".repeat(30);

/** Of the zstd command line tool, version 1.5.4. */
const FRAMES = {
  "at level 3":
    "28b52ffd6008061d020084034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206163653b2061206c6f6720646563696465732e20020093fdea43919d64",
  "at level 3 with a checksum":
    "28b52ffd6408061d020084034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206163653b2061206c6f6720646563696465732e20020093fdea43919d641a5501d7",
  "at level 19, with Huffman codes":
    "28b52ffd600806d50100c2030c10c0eb74bb10c25c6f9124ef6ecfa0eb9e06e959f0e9b1c7e770d4b53ae741cb9c37ba08faba5625efa4f4e5a09b9e0801009cecff1514",
};

/** 600 letters that look drawn, at level 19: Huffman codes and few repetitions. */
const LETTERS =
  "28b52ffd6058014507008625390bc0a731db5cd2a6cdaa7a58380032003300e0230b72229eab0c2b41d6c6401b896d304e08c4edd30ff9a400e2cd28002885849500b1b910c147d486962032ae6bc9c802e6fac0121a0b2227257f907c86c078572f9566aac7e4def3209353324a18011e1bd6cf0c265c3b71e5fcd958c9d2ca458eaf1852bf402c210b21105e1c433f0bd0e3d2991cfbcc848e30a04c19c53181bcc154ebb2a4155aea64f7a09d0d4f8299a70cb8240ef30d524e3d3777849f51d14c8717255b3a0d4f0c310c040089bd8a198f151cc9199348874114256d0340822c41034028d728ea0e8b6bb6bcaca700";

const WITHOUT_SIZE =
  "28b52ffd00582d0200c4034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206174206f6e63653b2061206c6f6720646563696465732e2001009cecff1514";

/** A block of some content as it is, or of one byte many times. */
function block(content: Uint8Array | { byte: number; times: number }, isLast = true): Uint8Array {
  const isRaw = content instanceof Uint8Array;
  const size = isRaw ? content.length : content.times;
  const header = (size << 3) | (isRaw ? 0 : 2) | (isLast ? 1 : 0);
  const body = isRaw ? content : [content.byte];
  return Uint8Array.from([header & 255, (header >> 8) & 255, header >> 16, ...body]);
}

interface Form {
  /** Bytes of the size: 1 only where the frame is a single segment. */
  width: 0 | 1 | 2 | 4 | 8;
  /** The window descriptor; absent in a single segment. */
  window?: number;
  checksum?: boolean;
  dictionary?: boolean;
}

/** A frame with a header of this form. */
function frame({ width, window, checksum, dictionary }: Form, size: number | bigint, ...blocks: Uint8Array[]): Uint8Array {
  const isSingle = window === undefined;
  const code = { 0: 0, 1: 0, 2: 1, 4: 2, 8: 3 }[width];
  const flags = (code << 6) | (isSingle ? 0x20 : 0) | (checksum ? 4 : 0) | (dictionary ? 1 : 0);
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt(size) - (width === 2 ? 256n : 0n));
  return Uint8Array.from([
    ...[0x28, 0xb5, 0x2f, 0xfd, flags],
    ...(isSingle ? [] : [window]),
    ...(dictionary ? [7] : []),
    ...field.subarray(0, width),
    ...blocks.flatMap((block) => [...block]),
    ...(checksum ? [1, 2, 3, 4] : []),
  ]);
}

/** A window of 1 KiB × 2^n. */
const window = (n: number) => n << 3;

describe("frames of every form are read", () => {
  test.each(Object.entries(FRAMES))("%s", (_, hex) => {
    expect(Buffer.from(unzstd(bytes(hex), LIMIT)).toString()).toBe(TEXT);
  });

  test("at level 19, letters", () => {
    let state = 1;
    const letters = Uint8Array.from({ length: 600 }, () => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return 65 + ((state >> 16) % 7) * ((state >> 20) % 3);
    });
    expect(unzstd(bytes(LETTERS), LIMIT)).toEqual(letters);
  });

  const content = Uint8Array.from({ length: 300 }, (_, i) => (i * 7) & 255);
  const forms: [string, Form][] = [
    ["a size of 2 bytes", { width: 2 }],
    ["a size of 4 bytes", { width: 4 }],
    ["a size of 8 bytes", { width: 8 }],
    ["a window and a size", { width: 2, window: window(3) }],
    ["a checksum", { width: 4, checksum: true }],
  ];
  test.each(forms)("%s", (_, form) => {
    expect(unzstd(frame(form, 300, block(content)), LIMIT)).toEqual(content);
    const halves = [block(content.subarray(0, 100), false), block(content.subarray(100))];
    expect(unzstd(frame(form, 300, ...halves), LIMIT)).toEqual(content);
  });

  test("a size of 1 byte, also none at all", () => {
    expect(unzstd(frame({ width: 1 }, 3, block(Uint8Array.of(1, 2, 3))), LIMIT)).toEqual(Uint8Array.of(1, 2, 3));
    expect(unzstd(frame({ width: 1 }, 0, block(new Uint8Array())), LIMIT)).toEqual(new Uint8Array());
  });

  test("one byte, repeated", () => {
    expect(unzstd(frame({ width: 2 }, 1000, block({ byte: 9, times: 1000 })), LIMIT)).toEqual(new Uint8Array(1000).fill(9));
  });

  test("within a larger buffer", () => {
    const inner = bytes(FRAMES["at level 3"]);
    const outer = new Uint8Array(inner.length + 20);
    outer.set(inner, 13);
    expect(unzstd(outer.subarray(13, 13 + inner.length), LIMIT).length).toBe(TEXT.length);
  });
});

describe("what cannot be trusted is an error", () => {
  const small = block(Uint8Array.of(1, 2, 3));
  const bad: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(), /not a zstd frame/],
    ["another magic number", bytes("1f8b0800000000000000"), /not a zstd frame/],
    ["a skippable frame", bytes("502a4d180400000001020304"), /not a zstd frame/],
    ["a frame without its size", bytes(WITHOUT_SIZE), /without its size/],
    ["a frame that needs a dictionary", frame({ width: 1, dictionary: true }, 3, small), /dictionary/],
    ["a size above the limit", frame({ width: 4 }, LIMIT + 1, small), /more than/],
    ["a size of 4 GiB", frame({ width: 4 }, 0xffffffff, small), /more than/],
    ["a size of 2^64 - 1", frame({ width: 8 }, 2n ** 64n - 1n, small), /more than/],
    ["a small size with a window of 4 MiB", frame({ width: 2, window: window(12) }, 300, small), /more than/],
    ["the largest window there is", frame({ width: 8, window: 255 }, 3, small), /more than/],
    ["a header that is cut", frame({ width: 8 }, 3).subarray(0, 9), /ends too early/],
    ["no block", frame({ width: 1 }, 3), /ends too early|not a zstd/],
    ["no last block", frame({ width: 1 }, 3, block(Uint8Array.of(1, 2, 3), false)), /ends too early/],
    ["a checksum that is cut", frame({ width: 1, checksum: true }, 3, small).subarray(0, -1), /does not end/],
    ["something behind the frame", Uint8Array.from([...frame({ width: 1 }, 3, small), 0]), /does not end/],
    ["a frame behind the frame", Uint8Array.from([...frame({ width: 1 }, 3, small), ...frame({ width: 1 }, 3, small)]), /does not end/],
    ["a block that is larger than blocks are", frame({ width: 4 }, LIMIT, block({ byte: 1, times: (1 << 21) - 1 })), /a zstd block of/],
    ["more content than the size says", frame({ width: 1 }, 2, small), /./],
    ["a reserved block type", frame({ width: 1 }, 3, Uint8Array.of(7, 0, 0)), /./],
  ];
  test.each(bad)("%s", (_, data, message) => {
    expect(() => unzstd(data, LIMIT)).toThrow(message);
  });

  test.each(Object.entries(FRAMES))("a frame %s, cut anywhere", (_, hex) => {
    const whole = bytes(hex);
    for (let length = 0; length < whole.length; length++) expect(() => unzstd(whole.subarray(0, length), LIMIT)).toThrow();
  });

  test("what says that it is of 4 GiB takes no memory", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) expect(() => unzstd(frame({ width: 4 }, 0xfffffff0 + (i & 7), small), LIMIT)).toThrow();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });

  // 6,000 frames with some bytes changed: seeded, so that a failure can be looked at.
  test("any change of a frame ends, and gives the size that the header says or an error", () => {
    let state = 6;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const frames = [...Object.values(FRAMES), LETTERS].map(bytes);
    let read = 0;
    for (let i = 0; i < 6000; i++) {
      const changed = Uint8Array.from(frames[i % frames.length] ?? []);
      for (let n = random(4); n >= 0; n--) changed[5 + random(changed.length - 5)] = random(256);
      const size = 256 + (changed[5] ?? 0) + 256 * (changed[6] ?? 0);
      try {
        expect(unzstd(changed, LIMIT).length).toBe(size);
        read += 1;
      } catch (error) {
        if ((error as Error).name === "AssertionError") throw error;
      }
    }
    expect(read).toBeGreaterThan(0);
  });
});
