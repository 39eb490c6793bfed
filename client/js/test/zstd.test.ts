// The zstd decompressor: any bytes give a content of the announced size, or an error. The
// decompressor never takes more memory than announced, and never hangs. For changed frames, the
// tests do not check the content, because the core compares the state hash.

import { describe, expect, test } from "vitest";
import { unzstd } from "../src/zstd.js";

const LIMIT = 1 << 20;

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

const TEXT = "Many clients edit one chunked world at once; a log decides. ".repeat(30);

/** {@link TEXT}, compressed by the zstd command line tool, version 1.5.4. */
const FRAMES = {
  "at level 3":
    "28b52ffd6008061d020084034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206163653b2061206c6f6720646563696465732e20020093fdea43919d64",
  "at level 3 with a checksum":
    "28b52ffd6408061d020084034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206163653b2061206c6f6720646563696465732e20020093fdea43919d641a5501d7",
  "at level 19, with Huffman codes":
    "28b52ffd600806d50100c2030c10c0eb74bb10c25c6f9124ef6ecfa0eb9e06e959f0e9b1c7e770d4b53ae741cb9c37ba08faba5625efa4f4e5a09b9e0801009cecff1514",
};

/** 600 pseudo-random letters at level 19: Huffman codes and few repetitions. */
const LETTERS =
  "28b52ffd6058014507008625390bc0a731db5cd2a6cdaa7a58380032003300e0230b72229eab0c2b41d6c6401b896d304e08c4edd30ff9a400e2cd28002885849500b1b910c147d486962032ae6bc9c802e6fac0121a0b2227257f907c86c078572f9566aac7e4def3209353324a18011e1bd6cf0c265c3b71e5fcd958c9d2ca458eaf1852bf402c210b21105e1c433f0bd0e3d2991cfbcc848e30a04c19c53181bcc154ebb2a4155aea64f7a09d0d4f8299a70cb8240ef30d524e3d3777849f51d14c8717255b3a0d4f0c310c040089bd8a198f151cc9199348874114256d0340822c41034028d728ea0e8b6bb6bcaca700";

/**
 * 64 × 64 cells of two bytes, x · y / 8 modulo 11: four Huffman streams, and Huffman weights in
 * FSE.
 */
const GRIDS = {
  "at level 3":
    "28b52ffd60001f8d1e00d24b16891212221211ebab65e2c4452288ec8dab9197e5aca9d127090b5540bda39baf12476a190aad8f4fc0338507d0cdc527e02a4465" +
    "a233d3634825218ce3e2b25ecb6706e5a528e69e403757999154180707650c8ae6e2320610826ca8a2f507e20a1006c301b10f124091488a90f18824083de5531e" +
    "2576d201687d3c4469e41716eb0cb4266f856f997eb986828b0c6bf453df99fa9e7912597565c5cf3beb246be04119ea4d644ea95dec5b5086e208af5067cfc370" +
    "8b3cc06bf4e283707cc4b972bcde4cc4537f8c475dc8f316d1491f7dbef0e84166022bc135edfe8928ddf63925a93d9132434dcb446fd05276a31cc7b7710adf1b" +
    "1e7ceeff9c99f4900e5cf19922d0545b0664f40b89da856f825783b7035e81790dc41348818b29717eb3c8fcf7e2ee4066d2370d4dca2637115dd8f44b20098a28" +
    "c962f675290b760cc6c146c17b9c025f8b3399b369d7f3c97b3a52b9317668e6d37d5cca379668114c66b13c10e113d97b083ab1bde35ed8ab46de87ccaa43fd94" +
    "be324fdc2c6e34d0bb4c7faa98844026f9fa5e8e7f5041eb9ff607684a66543732fec6beda9b37e103f89417bcfecb06838073537e4e40c9d7a0e2f13a2af1099f" +
    "0b3700fae955b50becfc17f2cd48a5bc6a99ba78a3263e9e1d214e7beaa7fba8d74b338af8a732150e3611eb95e7ee6a47bcbe49735ee8387c795078f39e87f4ff" +
    "aca270246878684090f0708586d89cc6c2dc532e6cdc84675fbceaa05dc6d91c1cd9aea03414a2ab4634dea32c4e8d35bb818b7e73c919d3992b10b9174056037c" +
    "6fc75ab7602a07e58781340e3403f091ebc40761f42b4c3df2e39e4cde06c825ba325988ce13321f088ddcfa0857f6865ca519ee3bbf3b1af669ddf5a0fe5118b0" +
    "8cc365c979d3c5767bec66038b7a4a8a170a43a56e514b109f697668e65fce66187427daf64fddb44d2f4e5db1db8ba0ff6d6d5b496a372ddb6516aa47e11e42a0" +
    "f76ca0410c7f7f5fe9e6d8b73d598fea4cafed44b4c081b4b023f7e640059875b6372921599b4a4b8ea6df034aeae433d4d457ca5a51ad47b68bc7ccf650d84e87" +
    "7321b3c1c1db412cc3c5ca7cb5b7062a6bc468b22bb9c6fcae8e1d99c7ce9e767e5b125c6f6ef97ea48f25fbfeb9815717b43b9a2417077d7af9db0ad1fe8c6c6a" +
    "835d6bd26469d6ed7ae0ff7345e343f24ef842f263cce752a34fd071f26703fbc560adcc69e85cd8e07e464b85bc306fb29cb44b66d44d97e7ce615c5ca6c4afcc" +
    "f17d52449f1fca83ce0d55321ec7a2b0befca982fc82793cdc36fac321e0ca1cd6eef491b479b331be6d03e53f3c3e0525355d0a8a486d261df1ec439f7adcf27e" +
    "168f1c8748e98fb068595b01",
  "at level 19":
    "28b52ffd60001f151900969f218952222121121f0022001700e51fcb032079cac72bfe7f99f8ff3fe75aeffd74f5ff0bf03f5ef1c140d1c8f7965e2bef4b08b8b1" +
    "1f46d0fdff8cfe83815af40216442aebfcb954f87fb1ffff27ff3fbdb75ffe5fe0ffffffffff755103fd7f5e0024ffff9feceb7ff8484c90ff619b03229e7e92f1" +
    "bf0491aec6ba2d861008f7b7c18dfdff0381d7a881e88b03e108218ab33e124010e08021a080a508ba83e4ffa9a4380fa196bf4957524f3072be99ebb55927377f" +
    "47eaa75c2ce52d3f5a6ee87f476b28accf145c9189b75cea596c47f359ec7f3e74725862e82666d811f6a99b73d0e88c2f081928fde51197e53425f43c9b3ce0d5" +
    "b05539dd9637138367e06df14a91cb6d37049a2b5f8b148f97fbc4f3e2e385c36b929d88f6814625836c3a7312da8476c436611bd61cf8971d97cf3e63856532f4" +
    "256c42dd7025b38d58619ee1d7d3164113f04c102d74bdef4ffcca90b379af0cde7dd279bf8e719c765302baf80c8fa23b38597c6f94d69fd92b584ec71f2ea9ba" +
    "7e5eb350f871bfdb961932e9884513b89b2bfcdad0acd7d64a93abf78f982e9b5d279979fa85562e7c55d94ffb9659bd68bfc59cc4ed4e67ae41e27f7927f16afe" +
    "a1057201235e7d037fe3a84f6eb3fc9d415aa4808a9b37f6080f47c9b9ef8f79cd7a96884467d70293fbe640c8547841a36f8470c7ee265fcde5b5b56252e1679e" +
    "4ae9b9848e35c31b654833e13b48820b33f2f61e7e20cede5413efa39a33e714270ead6c63c40f5edd9efd435eae0c42a1d6fbd448ca1893d299ff1cec3faad495" +
    "8cbec895a77ebfe811c31e34a602b21dac59aecd8ec7f29a2410eda7937035be04f8e8b80d841f142d61b599895f5cef7503a36e919b029992e88f86a096999c5b" +
    "fa85ca7671d7a35a2466f27e1fca7ad9e28dd8c11e2349ba1c9967e6f2288d3933cfde4c38ea7635df1799f3356bbe9d97e36e1e38ffe3ec691b1aec002b6ef889" +
    "cedc961f4ca445e84b43c56db267600a5699e1e41b771e1ef555b5fd9ff311a9fb41f941655e16a23d1d7ecdec932fb2998f2d76360957a4e22d36efa7a1e9a200" +
    "199d0be3aceb3b865b1dcdd4255f9c4987a779e156ebbceb33f103e962b4d62e",
};

const WITHOUT_SIZE =
  "28b52ffd00582d0200c4034d616e7920636c69656e74732065646974206f6e65206368756e6b656420776f726c64206174206f6e63653b2061206c6f6720646563696465732e2001009cecff1514";

/** A raw block, or a block that repeats one byte. */
function block(content: Uint8Array | { byte: number; times: number }, isLast = true): Uint8Array {
  const isRaw = content instanceof Uint8Array;
  const size = isRaw ? content.length : content.times;
  const header = (size << 3) | (isRaw ? 0 : 2) | (isLast ? 1 : 0);
  const body = isRaw ? content : [content.byte];
  return Uint8Array.from([header & 255, (header >> 8) & 255, header >> 16, ...body]);
}

interface Form {
  /** Bytes of the size field. 1 is possible only in a single segment. */
  width: 0 | 1 | 2 | 4 | 8;
  /** The window descriptor. Absent in a single segment. */
  window?: number;
  checksum?: boolean;
  dictionary?: boolean;
}

/** A frame with a header of this form. */
function frame(
  { width, window, checksum, dictionary }: Form,
  size: number | bigint,
  ...blocks: Uint8Array[]
): Uint8Array {
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

  test.each(Object.entries(GRIDS))("%s, a grid", (_, hex) => {
    const cells = Uint16Array.from({ length: 64 * 64 }, (_, i) => (((i % 64) * (i >> 6)) >> 3) % 11);
    expect(unzstd(bytes(hex), LIMIT)).toEqual(new Uint8Array(cells.buffer));
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
    expect(unzstd(frame({ width: 2 }, 1000, block({ byte: 9, times: 1000 })), LIMIT)).toEqual(
      new Uint8Array(1000).fill(9),
    );
  });

  test("within a larger buffer", () => {
    const inner = bytes(FRAMES["at level 3"]);
    const outer = new Uint8Array(inner.length + 20);
    outer.set(inner, 13);
    expect(unzstd(outer.subarray(13, 13 + inner.length), LIMIT).length).toBe(TEXT.length);
  });
});

describe("an untrustworthy frame is an error", () => {
  const small = block(Uint8Array.of(1, 2, 3));
  const bad: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(), /not a zstd frame/],
    ["another magic number", bytes("1f8b0800000000000000"), /not a zstd frame/],
    ["a skippable frame", bytes("502a4d180400000001020304"), /not a zstd frame/],
    ["a frame without the size of its content", bytes(WITHOUT_SIZE), /without the size/],
    ["a frame that needs a dictionary", frame({ width: 1, dictionary: true }, 3, small), /dictionary/],
    ["a size above the limit", frame({ width: 4 }, LIMIT + 1, small), /more than/],
    ["a size of 4 GiB", frame({ width: 4 }, 0xffffffff, small), /more than/],
    ["a size of 2^64 - 1", frame({ width: 8 }, 2n ** 64n - 1n, small), /more than/],
    ["a small size with a window of 4 MiB", frame({ width: 2, window: window(12) }, 300, small), /more than/],
    ["the largest window there is", frame({ width: 8, window: 255 }, 3, small), /more than/],
    ["a truncated header", frame({ width: 8 }, 3).subarray(0, 9), /truncated/],
    ["no block", frame({ width: 1 }, 3), /truncated|not a zstd/],
    ["no last block", frame({ width: 1 }, 3, block(Uint8Array.of(1, 2, 3), false)), /truncated/],
    ["a truncated checksum", frame({ width: 1, checksum: true }, 3, small).subarray(0, -1), /a wrong length/],
    ["a byte after the frame", Uint8Array.from([...frame({ width: 1 }, 3, small), 0]), /a wrong length/],
    [
      "a frame after the frame",
      Uint8Array.from([...frame({ width: 1 }, 3, small), ...frame({ width: 1 }, 3, small)]),
      /a wrong length/,
    ],
    [
      "a block above the largest size",
      frame({ width: 4 }, LIMIT, block({ byte: 1, times: (1 << 21) - 1 })),
      /a block of 2097151/,
    ],
    ["more content than the size says", frame({ width: 1 }, 2, small), /more content/],
    ["less content than the size says", frame({ width: 1 }, 4, small), /less content/],
    ["a reserved block type", frame({ width: 1 }, 3, Uint8Array.of(7, 0, 0)), /unknown block/],
  ];
  test.each(bad)("%s", (_, data, message) => {
    expect(() => unzstd(data, LIMIT)).toThrow(message);
  });

  test.each(Object.entries(FRAMES))("a frame %s, truncated anywhere", (_, hex) => {
    const whole = bytes(hex);
    for (let length = 0; length < whole.length; length++)
      expect(() => unzstd(whole.subarray(0, length), LIMIT)).toThrow();
  });

  test("a frame that announces 4 GiB takes no memory", () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++)
      expect(() => unzstd(frame({ width: 4 }, 0xfffffff0 + (i & 7), small), LIMIT)).toThrow();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });

  // Each sequence takes two bytes and repeats 65 KiB. A decoder that does not check the announced
  // size copies for minutes.
  test("a small frame that copies gigabytes is an error at once", () => {
    const count = 60_000 - 0x7f00;
    const codes = [0, 255, count & 255, count >> 8, 0x54, 0, 0, 52];
    const sequences = new Uint8Array(2 * 60_000 + 1).fill(255);
    sequences[2 * 60_000] = 1;
    const size = codes.length + sequences.length;
    const head = (size << 3) | 5;
    const compressed = Uint8Array.of(head & 255, (head >> 8) & 255, head >> 16, ...codes, ...sequences);
    for (const before of [new Uint8Array(), block({ byte: 1, times: 10 }, false)]) {
      expect(() => unzstd(frame({ width: 4 }, LIMIT, before, compressed), LIMIT)).toThrow(
        /more content|before the content's start/,
      );
    }
  }, 1_000);

  // 6,000 frames with some bytes changed. The generator is seeded, so that a failure can be
  // reproduced.
  test("any changed frame gives a content of the announced size, or an error", () => {
    let state = 6;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const frames = [...Object.values(FRAMES), LETTERS, ...Object.values(GRIDS)].map(bytes);
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
