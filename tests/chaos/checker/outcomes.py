"""The clients' conclusions, compared with the log: no acknowledged edit is missing, no commit is lost, no client was told a lie.

An outcomes file has one JSON object per command and line:

    {"client": str, "author": str, "chunk": "canvas/0/0", "writer": "<32 hex or null>", "seq": int|null,
     "outcome": "committed"|"discarded"|"rejected"|"withdrawn"|"unknown", "version": int|null, "reason": str,
     "is_receipted": bool}

(writer, seq) is the number under which the command was sent last, null if it never was. A finals file has one line per replica
at rest: {"who": str, "chunk": str, "version": int, "hash": hex} (R10).
"""

import json
import sys
from typing import NamedTuple

from chunk import COMMITTED, DISCARDED
from messages import REASONS
from report import CannotCheck
from world import Unplaced

OUTCOMES = ("committed", "discarded", "rejected", "withdrawn", "unknown")
REASON_NAMES = set(REASONS.values())


class Line(NamedTuple):
    """A line of an outcomes file: one client's conclusion about one command."""

    where: str
    client: str
    author: str
    chunk: str
    writer: bytes
    seq: int
    outcome: str
    version: int
    reason: str
    is_receipted: bool
    history: str


class Outcomes:
    """The lines of all outcomes files, by the command that each is about."""

    def __init__(self, paths, world, report):
        self._report = report
        self._lines, self._by_history, self._checked = {}, {}, set()
        self.writers, self.receipted, self.authors = set(), set(), set()
        for path in paths:
            for where, told in _lines(path):
                try:
                    self._take(world, _read(where, told))
                except (KeyError, TypeError, ValueError, AttributeError) as e:
                    raise CannotCheck(f"{where}: not an outcome: {e!r}") from e

    def _take(self, world, line):
        report = self._report
        report.outcomes[line.outcome] += 1
        self.authors.add(line.author)
        report.counts["receipted"] += line.is_receipted
        if not line.writer or not line.seq:
            if line.outcome == "committed" or line.is_receipted:
                self._violate(line, f"{line.outcome}{', receipted' * line.is_receipted}, but it was never sent")
            return
        number = (line.chunk, line.writer, line.seq)
        if number in self._lines:
            problem = f"number {line.seq} has two outcomes, here {line.outcome}"
            self._violate(line, problem, expected=f"only {self._lines[number].where}")
            return
        try:
            partition = world.place(line.chunk).partition
        except Unplaced as e:
            if line.outcome == "committed" or line.is_receipted:
                self._violate(line, f"{line.outcome}{', receipted' * line.is_receipted}, but {e}")
            return
        self._lines[number] = line
        self._by_history.setdefault((partition, line.history), []).append(number)
        self.writers.add(line.writer)
        if line.is_receipted:
            self.receipted.add(number)

    def marks_of_known_writers(self, marks):
        """Returns the valid marks with which a line of an outcomes file must agree, by (chunk,
        writer, seq)."""
        writers = self.writers
        return {(m.chunk, m.writer, m.seq): m for m in marks if m.writer in writers and m.kind in (COMMITTED, DISCARDED)}

    def committed_above(self, chunk, history, version):
        """The number of lines that tell of a commit of this chunk above this version in this history."""
        lines = (line for line in self._lines.values() if line.chunk == chunk and line.history == history)
        return sum(line.outcome == "committed" and (line.version or 0) > version for line in lines)

    def finish(self):
        """Reports the lines of a history that no log has."""
        for (_, history), numbers in self._by_history.items():
            if history and history not in self._checked:
                self._violate(self._lines[numbers[0]], f"{len(numbers)} outcomes name history {history}, which no log has")

    def check(self, where, history, chunks, marks, standing, is_trimmed):
        """Compares the lines about one history of a partition's chunks with the log. `marks` comes from
        `marks_of_known_writers`. `standing` holds the receipted commands that were found in
        `commands`. `is_trimmed` is True if retention has removed the beginning of `commands`."""
        self._checked.add(history)
        for number in self._by_history.get((where["partition"], history), ()):
            line, mark = self._lines[number], marks.get(number)
            chunk = chunks.get(line.chunk)
            place = where | {"offset": mark.at if mark else None}
            is_committed = mark is not None and mark.kind == COMMITTED
            if line.outcome == "committed":
                if not is_committed:
                    self._violate(
                        line,
                        f"number {line.seq} is told as committed",
                        expected="a Committed mark",
                        found=_found(mark, chunk, line),
                        **place,
                    )
                elif line.version is not None and line.version != mark.version:
                    self._violate(
                        line,
                        f"number {line.seq} is told as committed at another version",
                        expected=mark.version,
                        found=line.version,
                        **place,
                    )
            elif line.outcome != "unknown" and is_committed:
                self._violate(
                    line,
                    f"number {line.seq} is told as {line.outcome}",
                    expected=f"committed at version {mark.version}",
                    found=line.outcome,
                    **place,
                )
            if line.outcome == "discarded" and mark is not None and mark.kind == DISCARDED:
                reason = line.reason.upper().removeprefix("DISCARD_REASON_")
                if reason in REASON_NAMES and reason != REASONS.get(mark.detail):
                    self._violate(
                        line,
                        f"number {line.seq} is told with another reason",
                        expected=REASONS.get(mark.detail),
                        found=reason,
                        **place,
                    )
            if mark is not None and line.author and mark.author != line.author:
                problem = f"number {line.seq} has another author in the log"
                self._violate(line, problem, expected=line.author, found=mark.author, **place)
            if line.is_receipted:
                self._check_receipted(number, line, chunk, standing, is_trimmed, place)
        for number, mark in marks.items():
            if mark.kind == COMMITTED and number not in self._lines:
                self._report.violate(
                    "outcomes",
                    f"number {mark.seq} of writer {mark.writer.hex()} is committed, but no line has it",
                    chunk=mark.chunk,
                    expected="a line that says committed or unknown",
                    **where,
                    offset=mark.at,
                )

    def _check_receipted(self, number, line, chunk, standing, is_trimmed, place):
        newest, answered = (chunk.newest.get(line.writer, 0), chunk.answered) if chunk else (0, ())
        resolved = line.seq <= newest or (line.writer, line.seq) in answered
        if number not in standing and not (is_trimmed and resolved):
            self._violate(line, f"number {line.seq} is receipted, but does not stand in commands", **place)
        elif not resolved:
            self._violate(line, f"number {line.seq} is receipted, but neither resolved nor answered", **place)

    def _violate(self, line, problem, **more):
        self._report.violate("outcomes", f"{line.client}: {problem}", where=line.where, **{"chunk": line.chunk} | more)


def check_finals(paths, world, ends, started, report):
    """R10: compares every replica at rest with the content at the log's end. `started` holds the
    partitions whose log was not read from its start."""
    for path in paths:
        for where, told in _lines(path):
            report.counts["finals"] += 1
            name = told["chunk"]
            place = world.place(name)
            if name not in ends and place.partition in started:
                report.counts["finals_not_known"] += 1
                continue
            version, found = ends.get(name) or (0, place.model.hash(place.model.initial()))
            if (told["version"], told["hash"]) != (version, found.hex()):
                report.violate(
                    "R10",
                    f"{told['who']} holds another state at rest",
                    where=where,
                    chunk=name,
                    topic=world.topic("updates"),
                    partition=place.partition,
                    expected=f"version {version}, {found.hex()}",
                    found=f"version {told['version']}, {told['hash']}",
                )


def _lines(path):
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}:{number}", json.loads(line)


def _read(where, told):
    if told["outcome"] not in OUTCOMES:
        raise ValueError(f"outcome {told['outcome']!r}")
    writer = bytes.fromhex(told["writer"]) if told["writer"] else b""
    # The same few names occur in very many lines, so each is stored only once.
    client, author, chunk, outcome = (sys.intern(told.get(name) or "") for name in ("client", "author", "chunk", "outcome"))
    return Line(
        where,
        client,
        author,
        chunk,
        writer,
        told["seq"],
        outcome,
        told.get("version"),
        told.get("reason") or "",
        bool(told.get("is_receipted")),
        sys.intern(told.get("history") or ""),
    )


def _found(mark, chunk, line):
    if mark is not None:
        return f"discarded {REASONS.get(mark.detail)} at offset {mark.at}"
    newest = chunk.newest.get(line.writer, 0) if chunk else 0
    return f"no decision; the writer's newest resolved number is {newest}"
