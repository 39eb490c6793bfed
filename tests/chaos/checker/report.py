"""Counts and violations."""

import collections
import sys
import time

VIOLATIONS_SHOWN = 20


class CannotCheck(Exception):
    """An input is missing or unusable, so no verdict is possible."""


class Report:
    """The result of a check: counts by name, and violations. The first violations are kept in full,
    and all are counted by rule."""

    def __init__(self, is_quiet=False):
        self.counts = collections.Counter()
        self.invalid, self.discarded, self.outcomes = (collections.Counter() for _ in range(3))
        self.violations, self.by_rule = [], collections.Counter()
        # The forged records that the checker has found, for the JSON object.
        self.forged = []
        # The commits of lost histories, by chunk, for the JSON object.
        self.destroyed = []
        self._is_quiet, self._began, self._told = is_quiet, time.monotonic(), time.monotonic()

    def violate(
        self, rule, problem, *, topic=None, partition=None, offset=None, chunk=None, expected=None, found=None, where=None
    ):
        """Adds a violation. `where` names a line of a file, if the violation is in no topic."""
        self.by_rule[rule] += 1
        if len(self.violations) < VIOLATIONS_SHOWN:
            told = {"rule": rule, "topic": topic, "partition": partition, "offset": offset, "chunk": chunk}
            told |= {"where": where, "problem": problem, "expected": _plain(expected), "found": _plain(found)}
            self.violations.append(told)

    @property
    def violation_count(self):
        return self.by_rule.total()

    def progress(self, text, is_forced=False):
        """Prints a line to standard error, at most every two seconds unless `is_forced`."""
        now = time.monotonic()
        if not self._is_quiet and (is_forced or now - self._told > 2):
            self._told = now
            print(f"[{now - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)

    def _destroyed_commits(self):
        return sum(chunk["last"] + 1 - chunk["first"] for chunk in self.destroyed)

    def to_json(self):
        """Returns the report as a JSON object, which has a key for every count, even if the count
        is 0."""
        names = """records updates_records valid fences commands_records commands settles audits dead_letters resends
            undecided committed out_of_order expired chunks chunks_not_folded snapshots_stored snapshots_checked
            snapshots_collected objects_checked ledgers_checked hashes_checked receipted finals finals_not_known
            snapshots_of_copies"""
        told = {name: self.counts[name] for name in names.split()}
        told |= {"invalid": dict(self.invalid), "discarded": dict(self.discarded), "outcomes": dict(self.outcomes)}
        told |= {"forged": self.forged, "destroyed": self.destroyed, "destroyed_commits": self._destroyed_commits()}
        told |= {"seconds": round(time.monotonic() - self._began, 1), "violations_total": self.violation_count}
        return told | {"violations_by_rule": dict(self.by_rule), "violations": self.violations}

    def summary(self):
        """Returns the report as text for people."""
        n = lambda name: f"{self.counts[name]:,}"
        listed = lambda counter: ", ".join(f"{count:,} {name}" for name, count in sorted(counter.items())) or "none"
        lines = [
            f"updates    {n('updates_records')} records: {n('valid')} valid, {n('fences')} fences",
            f"           not valid: {listed(self.invalid)}",
            f"commands   {n('commands_records')} records: {n('commands')} commands ({n('settles')} settles)",
            f"           {n('resends')} resends, {n('undecided')} not decided yet,"
            f" {n('dead_letters')} dead letters, {n('audits')} audits",
            f"decisions  {n('committed')} committed, {n('out_of_order')} out of order, {n('expired')} expired",
            f"           discarded: {listed(self.discarded)}",
            f"chunks     {n('chunks')}, {n('chunks_not_folded')} of them not folded; {n('hashes_checked')} hashes checked",
            f"snapshots  {n('snapshots_stored')} refs, {n('snapshots_checked')} loaded, {n('ledgers_checked')} ledgers checked;"
            f" {n('objects_checked')} objects in all",
            f"outcomes   {listed(self.outcomes)}; {n('receipted')} receipted; {n('finals')} final hashes",
        ]
        if self.forged:
            lines.append(f"forged     {n('forged')} records of another program found")
        for history in sorted({chunk["history"] for chunk in self.destroyed}):
            chunks = [chunk for chunk in self.destroyed if chunk["history"] == history]
            name = f"history {history}" if history else "the first history"
            lines.append(f"destroyed  {self._destroyed_commits():,} commits of {name} in {len(chunks)} chunks")
        for v in self.violations:
            place = " ".join(str(x) for x in (v["where"], v["topic"]) if x is not None)
            place += "".join(f" {name} {v[name]}" for name in ("partition", "offset", "chunk") if v[name] is not None)
            lines.append(f"VIOLATION  {v['rule']}: {place}: {v['problem']}")
            lines += [f"           {name} {v[name]}" for name in ("expected", "found") if v[name] is not None]
        hidden = self.violation_count - len(self.violations)
        if hidden > 0:
            lines.append(f"           … and {hidden:,} more; by rule: {dict(self.by_rule)}")
        lines.append(f"{self.violation_count:,} violations" if self.violation_count else "no violation")
        return "\n".join(lines)


def _plain(value):
    return value.hex() if isinstance(value, (bytes, bytearray, memoryview)) else value
