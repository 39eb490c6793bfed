"""R8: commands are decided first in, first out for each writer and chunk.

L is the newest resolved seq of the writer, 0 at first. A command is decided iff `after ≤ L < seq`.
If `seq ≤ L`, it is a resend. If `after > L`, it is out of order. The ledger holds 1,024 writers. If
there are more, the least recently decided writer is evicted, and the floor rises to its session
time. A writer that the ledger does not know is expired unless its session time is above the floor.
No rule needs a clock.
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
        # writer → (seq, committed bits, last decided offset). A Python dict keeps the order of
        # insertion, and every decision inserts its writer anew. So the first entry is the least
        # recently decided writer.
        self._writers = {}

    @classmethod
    def from_ref(cls, stored):
        ledger = cls()
        ledger.floor_ms = stored.floor_ms
        ledger._writers = {e.writer: (e.seq, e.committed_bits, e.last_offset) for e in stored.entries}
        return ledger

    def newest(self, writer):
        """Returns L, the newest resolved seq of a writer, or None if the writer is expired."""
        known = self._writers.get(writer)
        if known is not None:
            return known[0]
        return 0 if time_ms(writer) > self.floor_ms else None

    def verdict(self, writer, seq, after):
        """Returns R8's verdict on a command with this `seq` and `after`."""
        newest = self.newest(writer)
        if newest is None:
            return EXPIRED
        if seq <= newest:
            return RESEND
        return OUT_OF_ORDER if after > newest else DECIDE

    def resolve(self, writer, seq, is_committed, offset):
        """Records a decision. Numbers between the writer's last decided number and this one count
        as skipped."""
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
        """Returns the ledger as a ref must contain it: a `Ledger` message, whose class is `kind`.
        """
        stored = kind(floor_ms=self.floor_ms)
        for writer, (seq, bits, offset) in self._writers.items():
            stored.entries.add(writer=writer, seq=seq, committed_bits=bits, last_offset=offset)
        return stored

    def __len__(self):
        return len(self._writers)
