"""The model `map`: string keys with byte values, sorted by the UTF-8 bytes of the keys
(protocol.md, section 9).

The content keeps each entry in its encoded form, beside a sorted list of keys. So the hash of a
large map needs no more than joining these bytes (R10).
"""

import bisect
import struct

import blake3

from messages import Unreadable, decode, model


class Entries:
    """The content of a map."""

    __slots__ = ("keys", "encoded")

    def __init__(self):
        self.keys, self.encoded = [], {}

    def put(self, key, value):
        if key not in self.encoded:
            bisect.insort(self.keys, key)
        self.encoded[key] = b"".join((len(key).to_bytes(2, "little"), key, len(value).to_bytes(4, "little"), value))

    def delete(self, key):
        if self.encoded.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]


class Map:
    """A map with its limits."""

    revision = 1

    def __init__(self, entries_max=4096, key_bytes_max=256, value_bytes_max=4096, bytes_max=262_144):
        self.key_bytes_max, self.value_bytes_max = key_bytes_max, value_bytes_max

    def initial(self):
        return Entries()

    def fold(self, content, effect):
        """Applies an effect, which is a `MapCommand`, or raises `Unreadable` and changes nothing."""
        command = decode(model.MapCommand, effect)
        kind = command.WhichOneof("body")
        if kind is None:
            raise Unreadable("a MapCommand that neither puts nor deletes")
        body = getattr(command, kind)
        key = body.key.encode()
        if not 1 <= len(key) <= self.key_bytes_max:
            raise Unreadable(f"a key of {len(key)} bytes")
        if body.HasField("guard") and body.guard.WhichOneof("is") is None:
            raise Unreadable("a guard that says nothing")
        if body.guard.WhichOneof("is") == "value_hash" and len(body.guard.value_hash) != 32:
            raise Unreadable("a guard's hash that has not 32 bytes")
        if kind == "delete":
            return content.delete(key)
        if len(body.value) > self.value_bytes_max:
            raise Unreadable(f"a value of {len(body.value)} bytes")
        content.put(key, body.value)

    def encode(self, content):
        encoded = content.encoded
        return b"".join((b"DLM1", len(content.keys).to_bytes(4, "little"), *(encoded[key] for key in content.keys)))

    def decode(self, encoding):
        """Returns the content of a canonical encoding. Raises `Unreadable` if the bytes are no such
        encoding."""
        content, at = Entries(), 8
        try:
            magic, count = struct.unpack_from("<4sI", encoding)
            for _ in range(count):
                (length,) = struct.unpack_from("<H", encoding, at)
                key = bytes(encoding[at + 2 : at + 2 + length])
                (size,) = struct.unpack_from("<I", encoding, at + 2 + length)
                at += 6 + length + size
                content.put(key, bytes(encoding[at - size : at]))
        except struct.error as e:
            raise Unreadable(f"a map that ends too early: {e}") from e
        if magic != b"DLM1" or self.encode(content) != encoding:
            raise Unreadable(f"{len(encoding)} bytes are not a map: other magic, keys out of order, or another length")
        return content

    def hash(self, content):
        return blake3.blake3(self.encode(content)).digest()
