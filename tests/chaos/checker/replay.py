"""R8: replays `commands` through the checker's own ledger. Compares each verdict with the decision
that the valid log has for the command's offset.

The replay does not repeat the decisions of a model, so a command whose turn it is may be committed
or discarded. But a resend must have no mark. A Settle must be discarded as SETTLED, and a command
that cannot be decoded as UNDECODABLE. No other command may lack a mark. R5: the ledger in each ref
must equal the checker's ledger at the ref's `through_offset`. R9: a record that cannot be placed
must be in `dead-letter`.
"""

import ledger as ledgers
from chunk import COMMITTED, DISCARDED, EXPIRED, OUT_OF_ORDER
from messages import REASONS, Unreadable, decode, log, store as stored_messages
from world import Unplaced

COMMAND_BYTES_MAX = 16 * 1024
AUTHOR_BYTES_MAX = 256
SETTLED, UNDECODABLE = log.DISCARD_REASON_SETTLED, log.DISCARD_REASON_UNDECODABLE
BY_MODEL = {number for number in REASONS if number not in (SETTLED, UNDECODABLE)}


class Replay:
    """Replays the commands of one partition."""

    def __init__(self, world, partition, report, chunks, marks, claims, low):
        self._world, self._report, self._chunks, self._marks, self._claims = world, report, chunks, marks, claims
        self._where = {"topic": world.topic("commands"), "partition": partition}
        # Finds the records of other programs; None if it is not asked for.
        self.foreign = None
        # The records that must have a copy in `dead-letter`: (offset, value, why).
        self.dead = []
        for chunk in chunks.values():
            if chunk.adopted is not None:
                chunk.ledger, chunk.replayed_through = ledgers.Ledger.from_ref(chunk.adopted.ledger), chunk.adopted.through_offset
            elif chunk.is_whole:
                chunk.ledger = ledgers.Ledger()
        # Commands that retention has removed are known only by their marks.
        for offset in sorted(offset for offset in marks if offset < low):
            mark = marks.pop(offset)
            chunk = chunks[mark.chunk]
            if chunk.ledger is not None and offset > chunk.replayed_through:
                self._check_refs(chunk, offset)
                self._note(chunk, offset, mark)

    def take(self, offset, key, value):
        """Takes the next record of `commands`. Returns (chunk id, writer, seq) if it is a command that has them."""
        counts = self._report.counts
        counts["commands_records"] += 1
        try:
            record = decode(log.CommandRecord, value)
            name = record.chunk_id
            place = self._world.place(name)
        except (Unreadable, Unplaced) as e:
            return self._bury(offset, value, str(e))
        if place.partition != self._where["partition"] or key != place.key:
            self._violate(
                "R1",
                offset,
                name,
                "a record in another partition or with another key than its chunk's",
                expected=f"partition {place.partition}, key {place.key.decode()}",
                found=f"key {key!r}",
            )
            if place.partition != self._where["partition"]:
                return self._bury(offset, value, "R1")
        body = record.WhichOneof("body")
        if body == "audit":
            counts["audits"] += 1
            return None
        if body is None:
            return self._bury(offset, value, "it has no body")
        command = record.command
        writer, seq = command.writer, command.seq
        if len(writer) != 16 or seq == 0:
            return self._bury(offset, value, "its writer or seq cannot be read")
        counts["commands"] += 1
        if self.foreign:
            self.foreign.look_at_command(self._where, offset, command.author, None)
        chunk = self._chunks.get(name) or self._chunks.open(name)
        if chunk.ledger is None and chunk.is_whole:
            chunk.ledger = ledgers.Ledger()
        mark = self._marks.pop(offset, None)
        if chunk.ledger is not None and offset > chunk.replayed_through:
            self._check(chunk, offset, command, mark, value)
        elif mark is not None and mark.chunk != name:
            self._violate("R8", offset, name, f"the log decides a command of {mark.chunk} here")
        return name, writer, seq

    def _check(self, chunk, offset, command, mark, value):
        if chunk.refs:
            self._check_refs(chunk, offset)
        body, author = command.WhichOneof("body"), command.author
        if len(author.encode()) > AUTHOR_BYTES_MAX:
            body, author = None, ""
        elif body == "command" and len(command.command) > COMMAND_BYTES_MAX:
            body = None
        if body is None:
            self._bury(offset, value, "it can be read no further than its numbers")
        elif body == "settle":
            self._report.counts["settles"] += 1
        verdict = chunk.ledger.verdict(command.writer, command.seq, command.after)
        if verdict == ledgers.RESEND:
            self._report.counts["resends"] += 1
            if mark is not None:
                problem = f"a resend of {command.seq} has a mark at offset {mark.at} of updates"
                self._violate("R8", offset, chunk.id, problem, expected="no mark", found=mark.kind)
            return
        if mark is None:
            chunk.undecided.append((offset, verdict))
            return
        for skipped, wanted in chunk.undecided:
            self._missing(chunk, skipped, wanted, f"but the one at offset {offset} is")
        chunk.undecided.clear()
        if self._compare(chunk, offset, command, mark, self._expected(chunk, verdict, body), author):
            self._note(chunk, offset, mark)
        if mark.kind == DISCARDED and mark.detail == log.DISCARD_REASON_MODEL_FAULT:
            self._bury(offset, value, "the model failed on it")

    def _compare(self, chunk, offset, command, mark, outcomes, author):
        """Compares a command with its mark. Returns False if the mark is of another command."""

        def is_same(rule, what, expected, found):
            if expected != found:
                problem = f"number {command.seq}, after {command.after}: the mark at offset {mark.at} of updates {what}"
                self._violate(rule, offset, chunk.id, problem, expected=expected, found=found)
            return expected == found

        if (mark.kind, mark.detail) not in outcomes:
            expected = " or ".join(_told(*outcome) for outcome in outcomes)
            is_same("R8", "is a wrong one", expected, _told(mark.kind, mark.detail))
        number = f"{chunk.id} {command.writer.hex()} {command.seq}"
        if not is_same("R8", "is of another command", number, f"{mark.chunk} {mark.writer.hex()} {mark.seq}"):
            return False
        is_same("R8", "names another author", author, mark.author)
        is_same("R8", "names another time", command.received_at_ms, mark.received_at_ms)
        if mark.kind == COMMITTED and command.WhichOneof("body") == "command":
            is_same("R5", "has an effect that is not the command", command.command, mark.effect)
        return True

    def _expected(self, chunk, verdict, body):
        if verdict == ledgers.OUT_OF_ORDER:
            return [(OUT_OF_ORDER, 0)]
        if verdict == ledgers.EXPIRED:
            return [(EXPIRED, chunk.ledger.floor_ms)]
        if body == "settle":
            return [(DISCARDED, SETTLED)]
        return _DECIDED if body else [(DISCARDED, UNDECODABLE)]

    def _note(self, chunk, offset, mark):
        """Continues with the log's decision and not with the checker's verdict, so that one
        violation does not cause others."""
        chunk.replayed_through = offset
        chunk.replayed_version += mark.kind == COMMITTED
        if mark.kind in (COMMITTED, DISCARDED) and mark.seq > (chunk.ledger.newest(mark.writer) or 0):
            chunk.ledger.resolve(mark.writer, mark.seq, mark.kind == COMMITTED, offset)

    def _check_refs(self, chunk, before):
        """Checks the refs whose `through_offset` is below `before`. Their ledgers must equal the
        checker's ledger now."""
        while chunk.refs and chunk.refs[0][1].through_offset < before:
            at, ref = chunk.refs.pop(0)
            if chunk.adopted is not None and ref.through_offset <= chunk.adopted.through_offset:
                continue
            self._report.counts["ledgers_checked"] += 1
            if chunk.is_whole and ref.version != chunk.replayed_version:
                chunk.violate(
                    "R6",
                    at,
                    f"the ref's version is not that of its through_offset {ref.through_offset}",
                    expected=chunk.replayed_version,
                    found=ref.version,
                )
            own = chunk.ledger.to_ref(stored_messages.Ledger)
            if own != ref.ledger:
                chunk.violate(
                    "R5",
                    at,
                    f"the ref's ledger is not what the decisions through offset {ref.through_offset} lead to",
                    expected=_ledger(own, ref.ledger),
                    found=_ledger(ref.ledger, own),
                )

    def finish(self, is_complete):
        """Reports what is left at the end: undecided commands, refs that were not checked yet, and
        marks of commands that do not exist."""
        for chunk in self._chunks.values():
            self._report.counts["undecided"] += len(chunk.undecided)
            for offset, verdict in chunk.undecided if is_complete else ():
                self._missing(chunk, offset, verdict, "and the run has come to rest")
            if chunk.ledger is not None:
                self._check_refs(chunk, float("inf"))
        for offset, mark in self._marks.items():
            chunk = self._chunks[mark.chunk]
            chunk.violate("R8", mark.at, f"a mark of offset {offset} of commands, where this chunk has no command")

    def _missing(self, chunk, offset, verdict, why):
        claimed = self._claims.get(offset)
        hint = "" if claimed is None else f" (offset {claimed} of updates decides it, but is not valid)"
        problem = f"the command is not decided, {why}{hint}"
        self._violate("R8", offset, chunk.id, problem, expected=f"a mark: {verdict}", found="none")

    def _bury(self, offset, value, why):
        if self.foreign:
            self.foreign.look_at_command(self._where, offset, None, why)
        self._report.counts["dead_letters"] += 1
        self.dead.append((offset, value, why))

    def _violate(self, rule, offset, chunk, problem, **more):
        self._report.violate(rule, problem, offset=offset, chunk=chunk, **self._where, **more)


_DECIDED = [(COMMITTED, 0), *((DISCARDED, reason) for reason in sorted(BY_MODEL))]


def _told(kind, detail):
    if kind == DISCARDED:
        return f"discarded {REASONS.get(detail, detail)}"
    return f"{kind} (floor {detail})" if kind == EXPIRED else kind


def _ledger(one, other):
    """Describes a ledger by the entries that another ledger lacks."""
    entry = lambda e: (e.writer.hex(), e.seq, f"{e.committed_bits:x}", e.last_offset)
    known = {entry(e) for e in other.entries}
    differing = [entry(e) for e in one.entries if entry(e) not in known]
    return f"floor {one.floor_ms}, {len(one.entries)} writers, differing {differing[:3]}"
