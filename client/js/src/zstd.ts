/**
 * A zstd decompressor (RFC 8878) for the frames of Driftless's servers: one frame without a
 * dictionary, whose header has the size of the content.
 *
 * The existing libraries for browsers trust their input: with the smallest one, a malicious frame
 * of 16 KB takes seconds, and a truncated frame gives zeros. This decompressor takes time in
 * proportion to the content, and returns the whole content or throws. It does not compare
 * checksums, because the core compares the content's hash.
 */

import { Bits, type Fse, type Huffman, corrupt, fse, readFse, readHuffman, single, unhuffman } from "./zstd/entropy.js";

/** The largest size of a block, compressed and decompressed (RFC 8878, 3.1.1.2.4). */
const BLOCK_BYTES_MAX = 128 * 1024;
/**
 * A frame may ask for a window of up to this many bytes, however small its content may be, as RFC
 * 8878, 3.1.1.1.2 advises for decoders.
 */
const WINDOW_BYTES_ALWAYS = 1024 * 1024;

const zeros = (count: number) => new Array<number>(count).fill(0);

interface Lengths {
  readonly bits: readonly number[];
  readonly bases: readonly number[];
}

/**
 * Makes the table of one kind of length. A code means a range of lengths: the code's base plus the
 * value of its extra bits. Each range starts where the range of the previous code ends.
 */
function lengths(base: number, bits: readonly number[]): Lengths {
  let next = base;
  return { bits, bases: bits.map((count) => (next += 2 ** count) - 2 ** count) };
}

/** The extra bits of both kinds of lengths are from RFC 8878, 3.1.1.3.2.1.1. */
const LITERAL_LENGTHS = lengths(0, [...zeros(16), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const MATCH_LENGTHS = lengths(3, [...zeros(32), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
/** The largest accepted code of an offset. Larger offsets need a larger window than is accepted. */
const OFFSET_CODE_MAX = 24;

const ones = (count: number, one = 1) => new Array<number>(count).fill(one);

/**
 * The kinds of codes in the order in which a frame describes them: literal lengths, offsets, match
 * lengths (RFC 8878, 3.1.1.3.2.2).
 */
const KINDS = [
  {
    logMax: 9,
    symbolMax: 35,
    predefined: fse(6, [4, 3, ...ones(11, 2), 1, 1, 1, ...ones(9, 2), 3, 2, ...ones(5), ...ones(4, -1)]),
  },
  { logMax: 8, symbolMax: 31, predefined: fse(5, [...ones(6), 2, 2, 2, ...ones(15), ...ones(5, -1)]) },
  { logMax: 9, symbolMax: 52, predefined: fse(6, [1, 4, 3, ...ones(6, 2), ...ones(37), ...ones(7, -1)]) },
] as const;

interface Header {
  /** The size of the window in bytes. */
  readonly window: number;
  /** The size of the decompressed content in bytes, if the header has it. */
  readonly content: number | undefined;
  readonly hasChecksum: boolean;
  /** The position of the first block. */
  readonly end: number;
}

/** Reads a frame's header (RFC 8878, 3.1.1.1). */
function header(data: Uint8Array): Header {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) throw new Error("not a zstd frame");
  const flags = data[4] ?? 0;
  if ((flags & 0b1011) !== 0) throw corrupt("it needs a dictionary or a newer decoder");
  const isSingle = (flags & 0x20) !== 0;
  let at = 5;
  let window = 0;
  if (!isSingle) {
    const descriptor = data[at++] ?? 0;
    const base = 2 ** (10 + (descriptor >> 3));
    window = base + (base / 8) * (descriptor & 7);
  }
  const width = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  const end = at + width;
  if (data.length < end) throw corrupt("truncated");
  let content: number | undefined;
  if (width === 1) content = view.getUint8(at);
  else if (width === 2) content = view.getUint16(at, true) + 256;
  else if (width === 4) content = view.getUint32(at, true);
  else if (width === 8) content = Number(view.getBigUint64(at, true));
  return { window: isSingle ? (content ?? 0) : window, content, hasChecksum: (flags & 4) !== 0, end };
}

/**
 * The decompressed content so far, and the state that the next block takes over: the last three
 * offsets and the codes.
 */
class Frame {
  readonly out: Uint8Array;
  at = 0;
  readonly #data: Uint8Array;
  readonly #offsets: [number, number, number] = [1, 4, 8];
  readonly #codes: (Fse | undefined)[] = [];
  #huffman: Huffman | undefined;

  constructor(data: Uint8Array, content: number) {
    this.#data = data;
    this.out = new Uint8Array(content);
  }

  /** Reserves the next `count` bytes of the content. Returns their position. */
  #take(count: number): number {
    const at = this.at;
    if (count > this.out.length - at) throw corrupt("more content than announced");
    this.at += count;
    return at;
  }

  raw(from: number, to: number): void {
    this.out.set(this.#data.subarray(from, to), this.#take(to - from));
  }

  repeat(byte: number, count: number): void {
    const at = this.#take(count);
    this.out.fill(byte, at, at + count);
  }

  /** Decodes a compressed block (RFC 8878, 3.1.1.3). */
  compressed(from: number, to: number): void {
    const began = this.at;
    const { literals, end } = this.#literals(from, to);
    const used = this.#sequences(literals, end, to);
    this.out.set(literals.subarray(used), this.#take(literals.length - used));
    if (this.at - began > BLOCK_BYTES_MAX) throw corrupt("too large a block");
  }

  /** Reads the literals: bytes that do not repeat earlier content (RFC 8878, 3.1.1.3.1). */
  #literals(from: number, to: number): { literals: Uint8Array; end: number } {
    const data = this.#data;
    const byte = (at: number) => (from + at < to ? (data[from + at] ?? 0) : 0);
    const word = byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24);
    const [type, format] = [word & 3, (word >> 2) & 3];
    if (type < 2) {
      const [head, size] =
        format === 1 ? [2, (word >> 4) & 0xfff] : format === 3 ? [3, (word >> 4) & 0xfffff] : [1, byte(0) >> 3];
      const start = from + head;
      const end = start + (type === 1 ? 1 : size);
      if (end > to || size > BLOCK_BYTES_MAX) throw corrupt("truncated literals");
      const literals = type === 0 ? data.subarray(start, end) : new Uint8Array(size).fill(data[start] ?? 0);
      return { literals, end };
    }
    const [head, size, bytes] =
      format < 2
        ? [3, (word >> 4) & 0x3ff, (word >> 14) & 0x3ff]
        : format === 2
          ? [4, (word >> 4) & 0x3fff, word >>> 18]
          : [5, (word >> 4) & 0x3ffff, (word >>> 22) | (byte(4) << 10)];
    let start = from + head;
    const end = start + bytes;
    if (end > to || size > BLOCK_BYTES_MAX) throw corrupt("truncated literals");
    if (type === 2) ({ table: this.#huffman, end: start } = readHuffman(data, start, end));
    const table = this.#huffman;
    if (!table) throw corrupt("no earlier Huffman code to repeat");
    const literals = new Uint8Array(size);
    if (format === 0) unhuffman(table, data, start, end, literals);
    else this.#fourStreams(table, start, end, literals);
    return { literals, end };
  }

  /** Decodes literals in four Huffman streams (RFC 8878, 4.2.2). */
  #fourStreams(table: Huffman, from: number, to: number, literals: Uint8Array): void {
    const data = this.#data;
    const part = (literals.length + 3) >> 2;
    let start = from + 6;
    for (let i = 0; i < 4; i++) {
      const end = i === 3 ? to : start + ((data[from + 2 * i] ?? 0) | ((data[from + 2 * i + 1] ?? 0) << 8));
      if (end > to || 3 * part > literals.length) throw corrupt("truncated literals");
      unhuffman(table, data, start, end, literals.subarray(i * part, i === 3 ? literals.length : (i + 1) * part));
      start = end;
    }
  }

  /**
   * Executes the sequences: each copies some literals, then repeats some earlier content (RFC 8878,
   * 3.1.1.3.2). Returns the number of literals that were used.
   */
  #sequences(literals: Uint8Array, from: number, to: number): number {
    const data = this.#data;
    if (from >= to) throw corrupt("no sequences");
    let at = from;
    let count = data[at++] ?? 0;
    if (count === 255) {
      count = (data[at] ?? 0) + ((data[at + 1] ?? 0) << 8) + 0x7f00;
      at += 2;
    } else if (count >= 128) count = ((count - 128) << 8) + (data[at++] ?? 0);
    if (count === 0) {
      if (at !== to) throw corrupt("bytes after a block's end");
      return 0;
    }
    at = this.#readCodes(at, to);
    const [literalCode, offsetCode, matchCode] = this.#codes;
    if (!literalCode || !offsetCode || !matchCode) throw corrupt("no earlier code to repeat");
    const bits = new Bits(data, at, to);
    const out = this.out;
    let literalState = bits.read(literalCode.log);
    let offsetState = bits.read(offsetCode.log);
    let matchState = bits.read(matchCode.log);
    let used = 0;
    for (let i = 0; i < count; i++) {
      const ofLiterals = literalCode.symbols[literalState] ?? 0;
      const ofOffset = offsetCode.symbols[offsetState] ?? 0;
      const ofMatch = matchCode.symbols[matchState] ?? 0;
      if (ofOffset > OFFSET_CODE_MAX) throw corrupt("too large an offset");
      const value = (1 << ofOffset) + bits.read(ofOffset);
      const match = (MATCH_LENGTHS.bases[ofMatch] ?? 0) + bits.read(MATCH_LENGTHS.bits[ofMatch] ?? 0);
      const before = (LITERAL_LENGTHS.bases[ofLiterals] ?? 0) + bits.read(LITERAL_LENGTHS.bits[ofLiterals] ?? 0);
      if (i < count - 1) {
        literalState = (literalCode.bases[literalState] ?? 0) + bits.read(literalCode.bits[literalState] ?? 0);
        matchState = (matchCode.bases[matchState] ?? 0) + bits.read(matchCode.bits[matchState] ?? 0);
        offsetState = (offsetCode.bases[offsetState] ?? 0) + bits.read(offsetCode.bits[offsetState] ?? 0);
      }
      if (bits.left < 0 || before > literals.length - used) throw corrupt("truncated sequences");
      const offset = this.#offset(value, before === 0);
      let to = this.#take(before + match);
      for (const end = used + before; used < end;) out[to++] = literals[used++] as number;
      if (offset > to) throw corrupt("an offset before the content's start");
      // Copies byte by byte, because the repeated bytes may include ones that this loop writes.
      for (const end = to + match; to < end; to++) out[to] = out[to - offset] as number;
    }
    if (bits.left !== 0) throw corrupt("sequences of wrong length");
    return used;
  }

  /**
   * Reads how the block defines each kind of code: predefined, a single symbol, described in the
   * block, or unchanged since the previous block. Returns the position after the definitions.
   */
  #readCodes(from: number, to: number): number {
    const data = this.#data;
    let at = from;
    const modes = data[at++] ?? 0;
    if ((modes & 3) !== 0) throw corrupt("an unknown mode");
    KINDS.forEach(({ logMax, symbolMax, predefined }, kind) => {
      const mode = (modes >> (6 - 2 * kind)) & 3;
      if (mode === 0) this.#codes[kind] = predefined;
      else if (mode === 1) {
        const symbol = data[at++] ?? 0;
        if (symbol > symbolMax) throw corrupt("an unknown code");
        this.#codes[kind] = single(symbol);
      } else if (mode === 2) ({ table: this.#codes[kind], end: at } = readFse(data, at, to, logMax, symbolMax));
    });
    return at;
  }

  /**
   * The offset of a sequence. Small values name one of the last three offsets (RFC 8878, 3.1.1.5).
   */
  #offset(value: number, isWithoutLiterals: boolean): number {
    const last = this.#offsets;
    const which = value > 3 ? 3 : value - 1 + (isWithoutLiterals ? 1 : 0);
    const offset = value > 3 ? value - 3 : which === 3 ? last[0] - 1 : (last[which] ?? 0);
    if (offset === 0) throw corrupt("an offset of zero");
    if (which >= 2) last[2] = last[1];
    if (which >= 1) {
      last[1] = last[0];
      last[0] = offset;
    }
    return offset;
  }
}

/**
 * Decompresses one zstd frame. Throws unless the frame's header announces a content of at most
 * `bytesMax` bytes.
 */
export function unzstd(data: Uint8Array, bytesMax: number): Uint8Array {
  const { window, content, hasChecksum, end } = header(data);
  if (content === undefined) throw new Error("a zstd frame without the size of its content");
  // A frame asks for its window as memory. A window much larger than the content is of no use.
  if (content > bytesMax || window > Math.max(2 * bytesMax, WINDOW_BYTES_ALWAYS)) {
    throw new Error(`a zstd frame that needs more than ${bytesMax} bytes`);
  }
  const frame = new Frame(data, content);
  let at = end;
  for (let isLast = false; !isLast;) {
    if (at + 3 > data.length) throw corrupt("truncated");
    const head = (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16);
    isLast = (head & 1) !== 0;
    const [type, size] = [(head >> 1) & 3, head >> 3];
    const from = at + 3;
    at = from + (type === 1 ? 1 : size);
    if (size > BLOCK_BYTES_MAX || at > data.length) throw corrupt(`truncated, or a block of ${size} bytes`);
    if (type === 0) frame.raw(from, at);
    else if (type === 1) frame.repeat(data[from] ?? 0, size);
    else if (type === 2) frame.compressed(from, at);
    else throw corrupt("an unknown block");
  }
  if (at + (hasChecksum ? 4 : 0) !== data.length) throw corrupt("a wrong length");
  if (frame.at !== content) throw corrupt("less content than announced");
  return frame.out;
}
