"""The world spec, and R1: all commands of a chunk are in the partition murmur2(partition key) &
0x7fffffff % partitions.

The partition key is the Kafka key. It is the chunk id. If the chunk's family sets `region = n`, it
is the chunk id with its coordinates shifted right by n bits.
"""

import json
import pathlib
import re
from typing import NamedTuple

import grid
import map as map_model
from report import CannotCheck

MODELS = {"grid": grid.Grid, "map": map_model.Map}
CHUNK_ID = re.compile(r"([a-z][a-z0-9_-]{0,31})((?:/(?:0|-?[1-9][0-9]*)){1,3})", re.ASCII)


class Unplaced(Exception):
    """An id that names no chunk of this world."""


class Place(NamedTuple):
    """The partition and the Kafka key of a chunk, and its family."""

    key: bytes
    partition: int
    model: object


def murmur2(data):
    """Kafka's murmur2, with its seed; unsigned, 32 bits."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole != len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


class World:
    """A world spec as `world.json` holds it; the spec alone is accepted too."""

    def __init__(self, stored):
        spec = stored.get("spec", stored)
        self.name, self.generation, self.partitions = spec["name"], spec.get("generation", 1), spec["partitions"]
        self._families = {family["name"]: family for family in spec["family"]}
        self._models = {}
        for name, family in self._families.items():
            if family["model"] not in MODELS:
                raise CannotCheck(f"family {name} has the model {family['model']}; this checker knows {', '.join(MODELS)}")
            self._models[name] = MODELS[family["model"]](**family.get("parameters", {}))
        self._places = {}

    @classmethod
    def from_file(cls, path):
        return cls(json.loads(pathlib.Path(path).read_text()))

    def topic(self, what):
        return f"{self.name}.{self.generation}.{what}"

    def place(self, chunk):
        """Returns the place of a chunk. Raises `Unplaced` if the world has no chunk with this id.
        """
        place = self._places.get(chunk)
        if place is None:
            place = self._places[chunk] = self._find(chunk)
        return place

    def _find(self, chunk):
        parts = CHUNK_ID.fullmatch(chunk)
        if not parts or len(chunk) > 96:
            raise Unplaced(f"{chunk!r} is no chunk id")
        name, coordinates = parts[1], [int(c) for c in parts[2].split("/")[1:]]
        family = self._families.get(name)
        if family is None:
            raise Unplaced(f"no family is called {name!r}")
        bound = family["bounds"]
        if len(coordinates) != family.get("coordinates", 2) or any(abs(c) > bound for c in coordinates):
            raise Unplaced(f"{chunk} is out of bounds")
        region = family.get("region", 0)
        key = "/".join([name, *(str(c >> region) for c in coordinates)]).encode()
        return Place(key, partition_of(key, self.partitions), self._models[name])
