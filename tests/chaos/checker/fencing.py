"""R4: which records of `updates` count.

A fence is valid iff its epoch is greater than the current one, which it becomes. Any other record is valid iff its epoch is
the current one and its n is the last valid n plus 1. So whatever a replaced owner still writes counts for nobody, and nor
does what comes after a hole. A position without its epoch and n cannot be judged.
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
        """`FENCE`, `VALID`, or the reason why no reader counts the record. Records come in the order of their offsets."""
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
