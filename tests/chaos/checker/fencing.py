"""R4: which records of `updates` are valid.

A fence is valid iff its epoch is greater than the current epoch. Its epoch then becomes the current
one. Any other record is valid iff its epoch is the current one and its n is the last valid n plus
1. So no reader counts a record that a replaced owner still writes, or a record behind a hole. A
reader that starts in the middle of the log needs the epoch and n of its position, because without
them it cannot judge any record.
"""

from dataclasses import dataclass

FENCE, VALID = "fence", "valid"


@dataclass
class Position:
    """A position in one partition: all records below `offset` are judged; `epoch` is current there, `n` is the last valid number."""

    offset: int = 0
    epoch: int = 0
    n: int = 0

    def judge(self, offset, record):
        """Judges the record at `offset`, and moves the position behind it. Returns `FENCE`,
        `VALID`, or the reason why no reader counts the record. Must be called in the order of
        offsets."""
        self.offset = offset + 1
        if record.WhichOneof("body") == "fence":
            if record.n != 0:
                return "fence with a number"
            if record.epoch <= self.epoch:
                return "late fence"
            self.epoch, self.n = record.epoch, 0
            return FENCE
        if record.epoch != self.epoch or record.epoch == 0:
            return "no fence before it" if record.epoch >= self.epoch else "zombie"
        if record.n != self.n + 1:
            return "after a hole" if record.n > self.n else "repeated"
        self.n = record.n
        return VALID
