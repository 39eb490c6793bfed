import { decompress } from "fzstd";

/** The largest block of any frame (RFC 8878, section 3.1.1.2.4). */
const BLOCK_BYTES_MAX = 128 * 1024;
/** The least window that a decoder should support (the same, section 3.1.1.1.2, rounded down). */
const WINDOW_BYTES_LEAST = 1024 * 1024;

interface Header {
  readonly window: number;
  readonly content: number | undefined;
  readonly hasChecksum: boolean;
  /** Where the blocks begin. */
  readonly end: number;
}

/** RFC 8878, section 3.1.1.1. */
function header(data: Uint8Array): Header {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) throw new Error("not a zstd frame");
  const flags = data[4] ?? 0;
  if ((flags & 3) !== 0) throw new Error("a zstd frame that needs a dictionary");
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
  if (data.length < end) throw new Error("a zstd frame that ends too early");
  let content: number | undefined;
  if (width === 1) content = view.getUint8(at);
  else if (width === 2) content = view.getUint16(at, true) + 256;
  else if (width === 4) content = view.getUint32(at, true);
  else if (width === 8) content = Number(view.getBigUint64(at, true));
  return { window: isSingle ? (content ?? 0) : window, content, hasChecksum: (flags & 4) !== 0, end };
}

/**
 * Goes from block to block, by their headers: `fzstd` gives a cut frame's end as zeros, and takes blocks of any size. The checksum is
 * not compared: whoever calls this knows the content's hash.
 */
function checkBlocks(data: Uint8Array, { end, hasChecksum }: Header): void {
  let at = end;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > data.length) throw new Error("a zstd frame that ends too early");
    const block = (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16);
    isLast = (block & 1) !== 0;
    const isRepeated = ((block >> 1) & 3) === 1;
    const bytes = block >> 3;
    if (bytes > BLOCK_BYTES_MAX) throw new Error(`a zstd block of ${bytes} bytes`);
    at += 3 + (isRepeated ? 1 : bytes);
  }
  if (at + (hasChecksum ? 4 : 0) !== data.length) throw new Error("a zstd frame that does not end where it says");
}

/** Uncompresses one frame whose header says its size, as Driftless's servers write it; of at most `bytesMax` bytes. */
export function unzstd(data: Uint8Array, bytesMax: number): Uint8Array {
  const found = header(data);
  const { window, content } = found;
  if (content === undefined) throw new Error("a zstd frame without its size");
  // A frame's window is memory: nobody needs one larger than the content by much.
  if (content > bytesMax || window > Math.max(2 * bytesMax, WINDOW_BYTES_LEAST)) throw new Error(`more than ${bytesMax} bytes`);
  checkBlocks(data, found);
  return decompress(data, new Uint8Array(content));
}
