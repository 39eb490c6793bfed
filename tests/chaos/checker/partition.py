"""Checks one partition of a world: first its `updates`, then its `commands`.

All rules except those about clients are rules about single chunks, and all records of a chunk are
in one partition. So the checker holds only one partition in memory at a time.
"""

from dataclasses import replace

from chunk import Chunk
from fencing import FENCE, VALID
from history import History
from messages import Unreadable, decode_known, log
from replay import Replay
from world import Unplaced


class Chunks(dict):
    """The chunks of a partition by id."""

    def __init__(self, make):
        super().__init__()
        self._make = make

    def open(self, name):
        chunk = self.get(name)
        if chunk is None:
            chunk = self[name] = self._make(name)
        return chunk


class Partition:
    """Reads and checks one partition. `position` is the position of R4 at which reading `updates`
    begins."""

    def __init__(self, world, number, report, store, outcomes, position, is_complete, is_collected):
        self.number, self._world, self._report, self._store, self._outcomes = number, world, report, store, outcomes
        self._position, self._is_complete, self._is_collected = position, is_complete, is_collected
        self._where = {"topic": world.topic("updates"), "partition": number}
        is_whole = position.epoch == 0
        self.chunks = Chunks(
            lambda name: Chunk(name, world.place(name), self._where, report, is_whole and self.lost is None)
        )
        # source_offset → Mark, from `updates`. The replay of `commands` removes each mark that it
        # has compared.
        self._marks = {}
        # Invalid records claim to decide commands, and these claims explain missing decisions:
        # source_offset → offset, and (chunk, version) → offset.
        self._claims = {}
        self._valid = []
        self.dead = []
        # Finds the records of other programs; None if it is not asked for.
        self.foreign = None
        # The states of each chunk from which a new history may begin (history.py); None if the
        # history of this log is the first one.
        self.lost = None
        # The history of the partition at the end of the log, 32 hex digits; empty for the first
        # one.
        self.history = ""

    def take_updates(self, records, commands_end=None):
        """Reads `updates` in two passes. The first judges every record (R4) and notes the versions
        that refs name. The second folds the valid records. `commands_end` is the offset after the
        last record of `commands`, for finding foreign records."""
        counts, start, seen, epochs, owner = self._report.counts, replace(self._position), None, set(), ""
        for offset, key, value in records:
            seen = offset
            counts["records"] += 1
            counts["updates_records"] += 1
            self._report.progress(f"updates of partition {self.number}: offset {offset:,}")
            try:
                record = decode_known(log.UpdatesRecord, value)
                body = record.WhichOneof("body")
                if body is None:
                    raise Unreadable("an UpdatesRecord without a body that this checker knows: update it")
            except Unreadable as e:
                if not self._is_foreign(offset, None, epochs, commands_end):
                    self._violate("format", offset, str(e))
                continue
            judged = self._position.judge(offset, record)
            if body == "fence":
                epochs.add(record.epoch)
            is_foreign = self._is_foreign(offset, record, epochs, commands_end)
            if judged == FENCE:
                counts["fences"] += 1
                owner = record.fence.owner.rpartition("/")[0]
                self.history = max(self.history, record.fence.history.hex())
                continue
            if body == "fence":
                self._report.invalid[judged] += 1
                continue
            if not self._is_placed(offset, key, getattr(record, body).chunk_id):
                continue
            if judged == VALID:
                counts["valid"] += 1
                self._valid.append((offset, value, owner))
                if body == "snapshot_stored":
                    self.chunks.open(record.snapshot_stored.chunk_id).want(record.snapshot_stored.ref.version)
            else:
                self._report.invalid[judged] += 1
                if body == "decisions" and not is_foreign:
                    self._note_claims(offset, record.decisions)
        if seen is not None and (start.epoch, start.n) == (self._position.epoch, self._position.n):
            self._violate(
                "R4", start.offset, f"no record from here to {seen} counts: the position does not fit", found=vars(start)
            )
        if self.lost is not None:
            self._begin_at_bases()
        for offset, value, owner in self._valid:
            self._report.progress(f"folding partition {self.number}: offset {offset:,}")
            self._fold(offset, log.UpdatesRecord.FromString(value), owner)
        self._valid.clear()

    def _is_placed(self, offset, key, name):
        """R1: checks that a record of `updates` has the key of its chunk and is in the partition of
        its chunk."""
        try:
            place = self._world.place(name)
        except Unplaced as e:
            self._violate("R1", offset, str(e))
            return False
        if place.partition != self.number or key != place.key:
            self._violate(
                "R1",
                offset,
                "a record in another partition or with another key than its chunk's",
                chunk=name,
                expected=f"partition {place.partition}, key {place.key.decode()}",
                found=f"key {key!r}",
            )
        return True

    def _note_claims(self, offset, decisions):
        for mark in decisions.marks:
            self._claims.setdefault(mark.source_offset, offset)
        try:
            updates = decode_known(log.Updates, decisions.updates)
        except Unreadable:
            return
        if updates.entries:
            self._claims.setdefault((decisions.chunk_id, updates.first_version + len(updates.entries) - 1), offset)

    def bases(self):
        """The states of each chunk from which a new history may begin, if this one is lost. Must be called at the end."""
        return {name: History(chunk, self._store) for name, chunk in self.chunks.items()}

    def _begin_at_bases(self):
        """Lets each chunk begin with the state of the lost history on which the new one builds."""
        firsts = {}
        for offset, value, _ in self._valid:
            decisions = log.UpdatesRecord.FromString(value).decisions
            if decisions.updates:
                firsts.setdefault(decisions.chunk_id, (offset, log.Updates.FromString(decisions.updates).first_version))
        for name, history in self.lost.items():
            offset, first = firsts.get(name, (None, history.version + 1))
            base = history.at(first - 1)
            if base is None:
                problem = f"the new history begins with version {first}, and the lost one has no stored state at version {first - 1}"
                self._violate("R5", offset, problem, chunk=name)
            else:
                self.chunks.open(name).begin_at(*base)

    def count_destroyed(self, before):
        """Reports the commits of a lost history on which the new one does not build."""
        for name, history in self.lost.items():
            chunk = self.chunks.get(name)
            kept = chunk.adopted.version if chunk is not None and chunk.adopted is not None else history.version
            if kept < history.version:
                lines = self._outcomes.committed_above(name, before.history, kept) if self._outcomes else 0
                self._report.destroyed.append(
                    {"history": before.history, "partition": self.number, "chunk": name}
                    | {"first": kept + 1, "last": history.version, "outcomes": lines}
                )

    def _is_foreign(self, offset, record, epochs, commands_end):
        foreign = self.foreign
        return foreign is not None and foreign.look_at_updates(self._where, offset, record, epochs, commands_end)

    def _fold(self, offset, record, owner):
        if record.WhichOneof("body") == "decisions":
            chunk = self.chunks.open(record.decisions.chunk_id)
            chunk.fold(offset, record.decisions, self._marks, self._claims)
        else:
            chunk = self.chunks.open(record.snapshot_stored.chunk_id)
            is_known = chunk.is_whole or chunk.through >= 0
            store = self._store.of(owner) if self._store else None
            self._report.counts["snapshots_of_copies"] += store is not self._store
            chunk.stored(offset, record.snapshot_stored.ref, store, is_known)

    def take_commands(self, records, low):
        """Replays `commands` (R8). Then compares the clients' conclusions about this partition's
        chunks with the log."""
        outcomes = self._outcomes
        for chunk in self.chunks.values():
            chunk.finish(self._is_collected)
        marks = outcomes.marks_of_known_writers(self._marks.values()) if outcomes else {}
        replay = Replay(self._world, self.number, self._report, self.chunks, self._marks, self._claims, low)
        replay.foreign = self.foreign
        standing = set()
        for offset, key, value in records:
            self._report.counts["records"] += 1
            self._report.progress(f"commands of partition {self.number}: offset {offset:,}")
            command = replay.take(offset, key, value)
            if outcomes and command in outcomes.receipted:
                standing.add(command)
        replay.finish(self._is_complete)
        self.dead = replay.dead
        counts = self._report.counts
        counts["chunks"] += len(self.chunks)
        counts["chunks_not_folded"] += sum(chunk.content is None for chunk in self.chunks.values())
        if outcomes:
            outcomes.check(self._where, self.history, self.chunks, marks, standing, low > 0)

    def ends(self):
        """Version and hash of each chunk at the log's end."""
        return {c.id: (c.version, c.place.model.hash(c.content)) for c in self.chunks.values() if c.content is not None}

    def _violate(self, rule, offset, problem, **more):
        self._report.violate(rule, problem, offset=offset, **self._where, **more)
