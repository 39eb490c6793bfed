"""The model `grid`: a box of cells. Each cell is a number below the palette's size (protocol.md,
section 9).

The content is kept as its canonical encoding, so that hashing copies nothing (R10). Only the
decider checks guards, so folding a committed effect ignores them.
"""

import struct
import sys

import blake3

from messages import Unreadable, decode, model

HEADER = 12
SET_CELLS_MAX = 1024
# `cast("H")` reads numbers in the byte order of the machine.
assert sys.byteorder == "little", "canonical encodings are little-endian; this checker needs such a machine"


class Grid:
    """A grid of one size and palette."""

    revision = 1

    def __init__(self, size, palette, colors=None):
        self.size, self.palette = (tuple(size) + (1,))[:3], palette
        self.cells = self.size[0] * self.size[1] * self.size[2]

    def initial(self):
        return bytearray(struct.pack("<4s4H", b"DLG1", *self.size, 0)) + bytearray(2 * self.cells)

    def fold(self, content, effect):
        """Applies an effect, which is a `GridCommand`, or raises `Unreadable` and changes nothing."""
        command = decode(model.GridCommand, effect)
        match command.WhichOneof("body"):
            case "set":
                self._set(content, command.set)
            case "fill":
                self._fill(content, command.fill)
            case _:
                raise Unreadable("a GridCommand that neither sets nor fills")

    def _set(self, content, command):
        cells, values, guards = list(command.cells), list(command.values), list(command.guards)
        if not 1 <= len(cells) <= SET_CELLS_MAX or len(values) != len(cells) or (guards and len(guards) != len(cells)):
            raise Unreadable(f"{len(cells)} cells, {len(values)} values, {len(guards)} guards")
        if max(cells) >= self.cells or max(values) >= self.palette or (guards and max(guards) > self.palette):
            raise Unreadable(f"a cell outside of the grid of {self.cells} cells, or a value off the palette of {self.palette}")
        with memoryview(content) as view, view[HEADER:] as tail, tail.cast("H") as at:
            for cell, value in zip(cells, values):
                at[cell] = value

    def _fill(self, content, box):
        start = (box.x, box.y, box.z)
        end = [a + max(n, 1) for a, n in zip(start, (box.width, box.height, box.depth))]
        if any(e > size for e, size in zip(end, self.size)) or box.value >= self.palette or box.guard > self.palette:
            raise Unreadable(f"a box from {start} to {end} of value {box.value} does not fit {self.size}, {self.palette} values")
        row = box.value.to_bytes(2, "little") * (end[0] - box.x)
        for z in range(box.z, end[2]):
            for y in range(box.y, end[1]):
                at = HEADER + 2 * (box.x + self.size[0] * (y + self.size[1] * z))
                content[at : at + len(row)] = row

    def encode(self, content):
        return content

    def decode(self, encoding):
        """Returns the content of a canonical encoding. Raises `Unreadable` if the bytes are no such
        encoding."""
        content = self.initial()
        if len(encoding) != len(content) or encoding[:HEADER] != content[:HEADER]:
            raise Unreadable(f"{len(encoding)} bytes are not a grid of {self.size}")
        content[:] = encoding
        with memoryview(content) as view, view[HEADER:] as tail, tail.cast("H") as at:
            if max(at) >= self.palette:
                raise Unreadable(f"a value off the palette of {self.palette}")
        return content

    def hash(self, content):
        return blake3.blake3(content).digest()
