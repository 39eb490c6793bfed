import { decompress } from "fzstd";

/** Header bytes of a window descriptor, by the frame header's flags (RFC 8878, section 3.1.1.1). */
function sizes(data: Uint8Array): { window: number; content: number | undefined } {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) throw new Error("not a zstd frame");
  const flags = data[4] ?? 0;
  const isSingle = (flags & 0x20) !== 0;
  let at = 5;
  let window = 0;
  if (!isSingle) {
    const descriptor = data[at++] ?? 0;
    const base = 2 ** (10 + (descriptor >> 3));
    window = base + (base / 8) * (descriptor & 7);
  }
  at += [0, 1, 2, 4][flags & 3] ?? 0;
  const width = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  if (data.length < at + width) throw new Error("a zstd frame that ends too early");
  let content: number | undefined;
  if (width === 1) content = view.getUint8(at);
  else if (width === 2) content = view.getUint16(at, true) + 256;
  else if (width === 4) content = view.getUint32(at, true);
  else if (width === 8) content = Number(view.getBigUint64(at, true));
  return { window: isSingle ? (content ?? 0) : window, content };
}

/** Uncompresses one frame whose header says its size, as Driftless's servers write it; of at most `bytesMax` bytes. */
export function unzstd(data: Uint8Array, bytesMax: number): Uint8Array {
  const { window, content } = sizes(data);
  if (content === undefined) throw new Error("a zstd frame without its size");
  // A frame's window is memory: nobody needs one larger than the content by much.
  if (content > bytesMax || window > Math.max(2 * bytesMax, 1 << 20)) throw new Error(`more than ${bytesMax} bytes`);
  const bytes = decompress(data, new Uint8Array(content));
  if (bytes.length !== content) throw new Error(`${bytes.length} bytes instead of ${content}`);
  return bytes;
}
