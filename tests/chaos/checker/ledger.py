"""R8: first in, first out per writer and chunk.

With L the newest resolved seq of the writer (0 at first), a command is decided iff `after ≤ L < seq`; `seq ≤ L` is a resend;
`after > L` is out of order. The ledger holds 1,024 writers; the least recently decided one is evicted and raises the floor
to its session time, and a writer that is not known and not younger than the floor is expired. No clock is needed.
"""

WRITERS_MAX = 1024
BITS = (1 << 64) - 1

DECIDE, RESEND, OUT_OF_ORDER, EXPIRED = "decide", "resend", "out of order", "expired"


def time_ms(writer):
    """A writer's session time: its first 48 bits."""
    return int.from_bytes(writer[:6], "big")


class Ledger:
    """The ledger of one chunk."""

    __slots__ = ("floor_ms", "_writers")

    def __init__(self):
        self.floor_ms = 0
        # writer → (seq, committed bits, last decided offset). Python's dicts keep the order of
        # insertion, and every decision inserts anew: the first one is the least recently decided.
        self._writers = {}

    @classmethod
    def from_ref(cls, stored):
        ledger = cls()
        ledger.floor_ms = stored.floor_ms
        ledger._writers = {e.writer: (e.seq, e.committed_bits, e.last_offset) for e in stored.entries}
        return ledger

    def newest(self, writer):
        """L, or None if the writer is expired."""
        known = self._writers.get(writer)
        if known is not None:
            return known[0]
        return 0 if time_ms(writer) > self.floor_ms else None

    def verdict(self, writer, seq, after):
        """The verdict on a command with these numbers."""
        newest = self.newest(writer)
        if newest is None:
            return EXPIRED
        if seq <= newest:
            return RESEND
        return OUT_OF_ORDER if after > newest else DECIDE

    def resolve(self, writer, seq, is_committed, offset):
        """Records a decision: the numbers between the last one and this one were skipped."""
        known = self._writers.pop(writer, None)
        if known is not None:
            distance = seq - known[0]
            bits = known[1] << distance & BITS if distance < 64 else 0
        else:
            bits = 0
            while len(self._writers) >= WRITERS_MAX:
                evicted = next(iter(self._writers))
                del self._writers[evicted]
                self.floor_ms = max(self.floor_ms, time_ms(evicted))
        self._writers[writer] = (seq, bits | is_committed, offset)

    def to_ref(self, kind):
        """The ledger as a ref has it: a `Ledger` message (`kind` is its class)."""
        stored = kind(floor_ms=self.floor_ms)
        for writer, (seq, bits, offset) in self._writers.items():
            stored.entries.add(writer=writer, seq=seq, committed_bits=bits, last_offset=offset)
        return stored

    def __len__(self):
        return len(self._writers)
