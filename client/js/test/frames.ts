// Messages of the wire protocol, encoded and decoded by protobufjs from the .proto files. An
// independent implementation: no code of the SDK or of the core is used.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

const root = new protobuf.Root();
root.resolvePath = (_, target) => (target.startsWith("/") ? target : at(`schemas/proto/${target}`));
root.loadSync(["driftless/v1/wire.proto", "driftless/v1/model.proto"]);

/** The members are named as in the .proto files, in camel case. */
export type Message = Record<string, any>;

export function encode(type: string, message: Message): Uint8Array {
  const found = root.lookupType(`driftless.v1.${type}`);
  return Uint8Array.from(found.encode(found.fromObject(message)).finish());
}

/** Decodes 64-bit integers as numbers and enums as names. Absent members stay absent. */
export function decode(type: string, bytes: Uint8Array): Message {
  const found = root.lookupType(`driftless.v1.${type}`);
  return found.toObject(found.decode(bytes), { longs: Number, enums: String, bytes: Uint8Array }) as Message;
}

/** A ServerFrame of events such as `{ tracked: {…} }` and `{ updates: {…} }`. */
export function serverFrame(...events: Message[]): Uint8Array {
  const bodies = events.map(({ updates, ...event }) =>
    updates && !(updates instanceof Uint8Array)
      ? { updates: encode("Updates", updates) }
      : updates
        ? { updates }
        : event,
  );
  return encode("ServerFrame", { events: bodies });
}

export function golden(path: string): Uint8Array {
  return Uint8Array.from(Buffer.from(readFileSync(at(path), "utf8").trim(), "hex"));
}

export function fileOf(path: string): Buffer {
  return readFileSync(at(path));
}

/** A zstd frame with uncompressed blocks. */
export function rawZstd(content: Uint8Array): Uint8Array {
  const header = Buffer.alloc(9);
  header.writeUInt32LE(0xfd2fb528);
  header[4] = 0xa0;
  header.writeUInt32LE(content.length, 5);
  const blocks: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < content.length; from += 65_536) {
    const piece = content.subarray(from, from + 65_536);
    const head = (piece.length << 3) | (from + 65_536 >= content.length ? 1 : 0);
    blocks.push(Uint8Array.of(head & 255, (head >> 8) & 255, head >> 16), piece);
  }
  return Uint8Array.from(Buffer.concat([header, ...blocks]));
}

/** The canonical encoding of a grid. */
export function gridEncoding(
  [x, y, z]: readonly [number, number, number],
  cells: (index: number) => number,
): Uint8Array {
  const bytes = Buffer.alloc(12 + 2 * x * y * z);
  bytes.write("DLG1");
  [x, y, z].forEach((extent, i) => bytes.writeUInt16LE(extent, 4 + 2 * i));
  for (let i = 0; i < x * y * z; i++) bytes.writeUInt16LE(cells(i), 12 + 2 * i);
  return Uint8Array.from(bytes);
}

/** The command that sets cells of a grid. The effect has the same encoding. */
export function setCells(...cells: [index: number, value: number][]): Uint8Array {
  return encode("GridCommand", {
    set: { cells: cells.map(([cell]) => cell), values: cells.map(([, value]) => value) },
  });
}
