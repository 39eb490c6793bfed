/**
 * The two codes of zstd, FSE and Huffman (RFC 8878, section 4), and the bit streams that they read.
 *
 * The readers check every bound, so that the work for any bytes is limited by their number and by
 * the size of the content that they announce.
 */

export function corrupt(problem: string): Error {
  return new Error(`corrupt zstd frame: ${problem}`);
}

const highestBit = (value: number) => 31 - Math.clz32(value);

/**
 * A bit stream, read backwards. The highest set bit of the last byte marks where reading starts.
 */
export class Bits {
  /** The number of unread bits. Negative after a read past the end, which gives zero bits. */
  left: number;
  readonly #data: Uint8Array;
  readonly #from: number;

  constructor(data: Uint8Array, from: number, to: number) {
    const last = to > from ? (data[to - 1] ?? 0) : 0;
    if (last === 0) throw corrupt("an empty bit stream");
    this.#data = data;
    this.#from = from;
    this.left = 8 * (to - from - 1) + highestBit(last);
  }

  /** Returns the next `count` bits, at most 25, without consuming them. */
  peek(count: number): number {
    const at = this.left - count;
    if (at < 0) return this.left > 0 ? this.#bits(0, this.left) << -at : 0;
    return this.#bits(at, count);
  }

  read(count: number): number {
    const value = this.peek(count);
    this.left -= count;
    return value;
  }

  #bits(at: number, count: number): number {
    const data = this.#data;
    const byte = this.#from + (at >> 3);
    const low = (data[byte] ?? 0) | ((data[byte + 1] ?? 0) << 8);
    const word = low | ((data[byte + 2] ?? 0) << 16) | ((data[byte + 3] ?? 0) << 24);
    return (word >>> (at & 7)) & ((1 << count) - 1);
  }
}

/**
 * An FSE decoder: for each state, its symbol, a base, and a number of bits. The next state is the
 * base plus the value of that many bits from the stream.
 */
export interface Fse {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
  readonly bases: Uint16Array;
}

/** A decoder for one repeated symbol, which reads no bits. */
export function single(symbol: number): Fse {
  return { log: 0, symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), bases: new Uint16Array(1) };
}

/**
 * Makes a decoder of 2^`log` states. `counts` has the number of states of each symbol. A count of
 * −1 means a probability below that of one state; the symbol gets one state.
 */
export function fse(log: number, counts: readonly number[]): Fse {
  const size = 1 << log;
  const [symbols, bits, bases] = [new Uint8Array(size), new Uint8Array(size), new Uint16Array(size)];
  const next = counts.map(Math.abs);
  let high = size;
  counts.forEach((count, symbol) => {
    if (count < 0) symbols[--high] = symbol;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  counts.forEach((count, symbol) => {
    for (let i = 0; i < count; i++) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  });
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number;
    const count = next[symbol] as number;
    next[symbol] = count + 1;
    bits[state] = log - highestBit(count);
    bases[state] = (count << (bits[state] as number)) - size;
  }
  return { log, symbols, bits, bases };
}

/** Reads the description of an FSE code. The returned `end` is the position after it. */
export function readFse(
  data: Uint8Array,
  from: number,
  to: number,
  logMax: number,
  symbolMax: number,
): { table: Fse; end: number } {
  let at = 8 * from;
  const read = (count: number) => {
    const byte = at >> 3;
    const word = (data[byte] ?? 0) | ((data[byte + 1] ?? 0) << 8) | ((data[byte + 2] ?? 0) << 16);
    const value = (word >> (at & 7)) & ((1 << count) - 1);
    at += count;
    return value;
  };
  const log = read(4) + 5;
  if (log > logMax) throw corrupt("a wrong FSE table");
  const counts: number[] = [];
  let remaining = 1 << log;
  while (remaining > 0) {
    const width = highestBit(remaining + 1) + 1;
    const low = (1 << (width - 1)) - 1;
    const threshold = (1 << width) - 2 - remaining;
    let value = read(width);
    if ((value & low) < threshold) {
      at -= 1;
      value &= low;
    } else if (value > low) value -= threshold;
    counts.push(value - 1);
    remaining -= Math.abs(value - 1);
    for (let zeros = value === 1 ? 3 : 0; zeros === 3;) {
      zeros = read(2);
      for (let i = 0; i < zeros; i++) counts.push(0);
    }
    if (counts.length > symbolMax + 1 || at > 8 * to) throw corrupt("a wrong FSE table");
  }
  if (remaining < 0) throw corrupt("a wrong FSE table");
  return { table: fse(log, counts), end: (at + 7) >> 3 };
}

/** A Huffman decoder: for each value of the next `log` bits, the symbol and its number of bits. */
export interface Huffman {
  readonly log: number;
  readonly symbols: Uint8Array;
  readonly bits: Uint8Array;
}

const HUFFMAN_LOG_MAX = 11;

/** Reads the description of a Huffman code. The returned `end` is the position after it. */
export function readHuffman(data: Uint8Array, from: number, to: number): { table: Huffman; end: number } {
  const head = data[from] ?? 0;
  const weights: number[] = [];
  const isDirect = head >= 128;
  const end = from + 1 + (isDirect ? (head - 126) >> 1 : head);
  if (end > to) throw corrupt("a truncated Huffman code");
  if (isDirect) {
    for (let i = 0; i < head - 127; i++) {
      weights.push(((data[from + 1 + (i >> 1)] ?? 0) >> (i % 2 === 0 ? 4 : 0)) & 15);
    }
  } else {
    const { table, end: at } = readFse(data, from + 1, end, 6, HUFFMAN_LOG_MAX + 1);
    const bits = new Bits(data, at, end);
    const states = [bits.read(table.log), bits.read(table.log)];
    // Two states alternate until one of them reads past the end. Then the other gives the last
    // symbol.
    for (let turn = 0; bits.left >= 0; turn ^= 1) {
      const state = states[turn] as number;
      weights.push(table.symbols[state] as number);
      states[turn] = (table.bases[state] as number) + bits.read(table.bits[state] as number);
      if (bits.left < 0) weights.push(table.symbols[states[turn ^ 1] as number] as number);
      if (weights.length > 255) throw corrupt("too many Huffman weights");
    }
  }
  return { table: huffman(weights), end };
}

/**
 * Makes a decoder from the weights of all symbols but the last. The weight of the last symbol
 * follows from the others, because the sum over all symbols is a power of two.
 */
function huffman(weights: number[]): Huffman {
  const sum = weights.reduce((sum, weight) => sum + (weight > 0 ? 2 ** (weight - 1) : 0), 0);
  if (sum === 0) throw corrupt("a wrong Huffman code");
  const log = highestBit(sum) + 1;
  const rest = (1 << log) - sum;
  if (log > HUFFMAN_LOG_MAX || (rest & (rest - 1)) !== 0) throw corrupt("a wrong Huffman code");
  weights.push(highestBit(rest) + 1);
  const [symbols, bits] = [new Uint8Array(1 << log), new Uint8Array(1 << log)];
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    weights.forEach((of, symbol) => {
      if (of !== weight) return;
      const width = 1 << (weight - 1);
      symbols.fill(symbol, at, at + width);
      bits.fill(log + 1 - weight, at, at + width);
      at += width;
    });
  }
  return { log, symbols, bits };
}

/** Decodes symbols until `out` is full. Throws unless the stream ends with the last symbol. */
export function unhuffman(table: Huffman, data: Uint8Array, from: number, to: number, out: Uint8Array): void {
  const { log, symbols, bits } = table;
  const stream = new Bits(data, from, to);
  for (let i = 0; i < out.length; i++) {
    const code = stream.peek(log);
    out[i] = symbols[code] as number;
    stream.left -= bits[code] as number;
    if (stream.left < 0) break;
  }
  if (stream.left !== 0) throw corrupt("a Huffman stream of wrong length");
}
