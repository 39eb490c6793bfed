"""Finds the records that no member of the world wrote: records that another program forged.

The checker knows the names of the replayers and the authors of all edits. A record is foreign

* in `updates`: if it cannot be read, if it is a fence whose owner text begins with no member's name, if no fence of the
  log began its epoch, or if a mark names an offset that `commands` does not have;
* in `commands`: if it cannot be read or placed, or if its author made no edit of the outcomes files.

A foreign record that R4 makes invalid is no violation of R1 to R12, and neither is a foreign command. But the checker
must find exactly the records that the run has forged.
"""

import json

from report import CannotCheck


class Foreign:
    """The foreign records of a world, and the forged ones that a file names."""

    def __init__(self, path, members, authors, report):
        self._members, self._authors, self._report = frozenset(members), authors, report
        self._forged, self._found = {}, {}
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                told = json.loads(line)
                try:
                    self._forged[told["topic"], told["partition"], told["offset"]] = told["what"]
                except KeyError as e:
                    raise CannotCheck(f"{path}:{number}: a forged record without {e}") from e

    def look_at_updates(self, where, offset, record, epochs, commands_end):
        """Looks at a record of `updates`; `record` is None if it cannot be read. `epochs` holds the epochs of the fences
        up to here. `commands_end` is the offset after the last record of `commands`. Returns True if the record is
        foreign."""
        if record is None:
            why = "it cannot be read"
        elif record.WhichOneof("body") == "fence":
            name = record.fence.owner.rpartition("/")[0]
            why = None if name in self._members else f"its owner text is {record.fence.owner!r}"
        elif record.epoch not in epochs:
            why = f"no fence began epoch {record.epoch}"
        elif any(mark.source_offset >= commands_end for mark in record.decisions.marks):
            why = f"it decides a command at offset {record.decisions.marks[0].source_offset}, which does not exist"
        else:
            why = None
        return self._note(where, offset, why)

    def look_at_command(self, where, offset, author, why):
        """Looks at a record of `commands`. `why` says why it cannot be read or placed; None if it can. `author` is None for
        a record that has none."""
        if why is None and author is not None and author not in self._authors:
            why = f"its author is {author!r}"
        return self._note(where, offset, why)

    def _note(self, where, offset, why):
        if why is not None:
            self._found[where["topic"], where["partition"], offset] = why
        return why is not None

    def finish(self):
        """Compares the foreign records with the forged ones. Returns both as one list for the report."""
        for (topic, partition, offset), why in self._found.items():
            if (topic, partition, offset) not in self._forged:
                place = {"topic": topic, "partition": partition, "offset": offset}
                self._report.violate("foreign", f"no member of the world wrote this record: {why}", **place)
        for (topic, partition, offset), what in self._forged.items():
            if (topic, partition, offset) not in self._found:
                place = {"topic": topic, "partition": partition, "offset": offset}
                self._report.violate("foreign", f"a forged record looks like one of a member: {what}", **place)
        found = [(place, why) for place, why in sorted(self._found.items()) if place in self._forged]
        self._report.counts["forged"] = len(found)
        self._report.forged = [
            {"topic": topic, "partition": partition, "offset": offset, "what": self._forged[topic, partition, offset], "why": why}
            for (topic, partition, offset), why in found
        ]
