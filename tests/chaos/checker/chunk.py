"""One chunk as the valid records of the log describe it. The chunk's decisions are folded, and
checked meanwhile.

R2: no command and no (writer, seq) is decided twice. R3: versions are 1, 2, 3, … in the order of
the log. R5, R10: the folded content has the hash that each record and each ref gives. R6: a ref
contains only decisions that come before it in the log. R7: the object that a ref names has the
ref's content.
"""

from typing import NamedTuple

from messages import REASONS, Unreadable, decode_known, log
from store import Damaged, Missing

COMMITTED, DISCARDED, OUT_OF_ORDER, EXPIRED = "committed", "discarded", "out_of_order", "session_expired"
# The limit on the refs of a chunk that the index keeps: the newest and four older ones. Garbage
# collection spares the objects of these refs.
REFS_KEPT = 5


class Mark(NamedTuple):
    """The valid log's decision on one command."""

    chunk: str
    kind: str
    # The reason of a discard, or the floor of an expired session; 0 for other kinds.
    detail: int
    writer: bytes
    seq: int
    author: str
    received_at_ms: int
    # The offset in `updates` of the record with this mark.
    at: int
    # The version that a committed command made; 0 for other kinds.
    version: int = 0
    effect: bytes = b""


class Chunk:
    """A chunk at the current offset of the log: its content, version, and resolved numbers."""

    def __init__(self, name, place, where, report, is_whole):
        self.id, self.place, self._report = name, place, report
        self._where = where | {"chunk": name}
        # True if the log was read from its start. If not, the content is unknown until a ref comes.
        self.is_whole = is_whole
        self.version = 0 if is_whole else None
        self.through = -1
        # `resolved`: (writer, seq) → version, or 0 if the command was discarded. `newest`: writer →
        # its highest resolved seq. `answered`: (writer, seq) of commands that were refused.
        self.resolved, self.newest, self.answered = {}, {}, set()
        self.content, self.folded = (place.model.initial(), 0) if is_whole else (None, 0)
        self.is_drifted = False
        # `wanted`: the versions that refs name. `hashes`: the hash of the content at these
        # versions.
        self.wanted, self.hashes = set(), {}
        self.refs, self.missing, self._pending = [], [], []
        # All refs that the log announced, in its order.
        self.announced = []
        # The fields below belong to the replay of `commands` (replay.py).
        self.ledger, self.adopted = None, None
        self.replayed_version, self.replayed_through, self.undecided = 0, -1, []

    def violate(self, rule, offset, problem, **more):
        self._report.violate(rule, problem, offset=offset, **self._where, **more)

    def want(self, version):
        """Remembers that a ref names this version, so that `fold` keeps the version's hash. Must be
        called before anything is folded."""
        self.wanted.add(version)
        if version == 0 and self.is_whole:
            self.hashes[0] = self.place.model.hash(self.content)

    def fold(self, offset, decisions, marks, claims):
        """Folds a valid `Decisions` record. Adds its marks to `marks`, by `source_offset`. `claims`
        holds what invalid records claim to decide, to explain a gap."""
        entries, first = self._read_updates(offset, decisions, claims)
        if not decisions.marks:
            self.violate("format", offset, "decisions without a mark")
        taken = 0
        for mark in decisions.marks:
            kind = mark.WhichOneof("outcome")
            writer, seq = mark.writer, mark.seq
            detail, version, effect = self._detail(offset, kind, mark), 0, b""
            if kind == COMMITTED:
                if taken < len(entries):
                    entry, version = entries[taken], first + taken
                    effect = entry.effect
                    if entry.writer != writer or entry.seq != seq:
                        found = f"{entry.writer.hex()} {entry.seq}"
                        problem = f"entry {taken} belongs to another command than its mark"
                        self.violate("format", offset, problem, expected=f"{writer.hex()} {seq}", found=found)
                taken += 1
            if kind in (COMMITTED, DISCARDED):
                self._resolve(offset, writer, seq, version)
            else:
                self.answered.add((writer, seq))
            told = Mark(self.id, kind, detail, writer, seq, mark.author, mark.received_at_ms, offset, version, effect)
            self._place_mark(offset, mark.source_offset, told, marks)
        if taken != len(entries):
            self.violate("format", offset, "entries and committed marks differ in number", expected=taken, found=len(entries))

    def _detail(self, offset, kind, mark):
        """Counts a mark. Returns its discard reason, its floor, or 0 if it has neither."""
        report = self._report
        if kind == DISCARDED:
            reason = mark.discarded.reason
            report.discarded[REASONS.get(reason, str(reason))] += 1
            if reason not in REASONS:
                self.violate("format", offset, f"an unknown discard reason {reason}: update this checker")
            return reason
        if kind is None:
            self.violate("format", offset, "a mark without an outcome that this checker knows: update it")
            return 0
        report.counts["expired" if kind == EXPIRED else kind] += 1
        return mark.session_expired.floor_ms if kind == EXPIRED else 0

    def _resolve(self, offset, writer, seq, version):
        """R2: records that a number is resolved. Reports a number that was resolved before."""
        number = (writer, seq)
        if number in self.resolved:
            self.violate("R2", offset, f"number {seq} of writer {writer.hex()} is resolved a second time")
            version = version or self.resolved[number]
        self.resolved[number] = version
        self.newest[writer] = max(seq, self.newest.get(writer, 0))

    def _place_mark(self, offset, source, mark, marks):
        """Adds a mark to `marks`. R2: a command is decided once. R8: commands are decided in the
        order of `commands`."""
        if source in marks:
            problem = f"the command at offset {source} of commands is decided a second time"
            self.violate("R2", offset, problem, expected=f"only the mark at offset {marks[source].at}")
            return
        if source <= self.through:
            self.violate("R8", offset, f"the command at offset {source} is decided after that at {self.through}")
        self.through = max(self.through, source)
        marks[source] = mark

    def _read_updates(self, offset, decisions, claims):
        if not decisions.updates:
            return (), 0
        try:
            updates = decode_known(log.Updates, decisions.updates)
        except Unreadable as e:
            self.violate("format", offset, str(e))
            return (), 0
        first, entries = updates.first_version, updates.entries
        if updates.chunk_id != self.id or not entries or len(updates.state_hash) != 32:
            problem = f"updates of {updates.chunk_id!r}, {len(entries)} entries, {len(updates.state_hash)} bytes of hash"
            self.violate("format", offset, problem)
        if self.version is not None and first != self.version + 1:
            claimed = claims.get((self.id, first - 1)) if first > self.version else None
            if claimed is not None:
                self.violate(
                    "R4",
                    offset,
                    f"the owner counts on the record at offset {claimed}, which is not valid",
                    expected=f"version {self.version + 1}",
                    found=f"version {first}",
                )
            else:
                self.violate("R3", offset, "versions are not dense", expected=self.version + 1, found=first)
            # Later hashes cannot agree either, so only the first difference is reported.
            self.is_drifted, self.folded = True, first - 1
        if self.version is None and first == 1:
            self.content = self.place.model.initial()
        self.version = first + len(entries) - 1
        if self.content is None:
            self._pending.append((offset, updates))
        else:
            self._apply(offset, updates)
        return entries, first

    def _apply(self, offset, updates):
        """R5, R10: folds the new entries of an `Updates`, and compares the hash after the last
        entry."""
        model, content, version = self.place.model, self.content, updates.first_version - 1
        last = version + len(updates.entries)
        for entry in updates.entries:
            version += 1
            if version <= self.folded:
                continue
            try:
                model.fold(content, entry.effect)
            except Unreadable as e:
                self.violate("R5", offset, f"the effect of version {version} cannot be folded: {e}")
            self.folded = version
            if version in self.wanted and version != last:
                self.hashes[version] = model.hash(content)
        if last < self.folded:
            return
        found = model.hash(content)
        self._report.counts["hashes_checked"] += 1
        if last in self.wanted:
            self.hashes[last] = found
        if found == updates.state_hash:
            self.is_drifted = False
        elif not self.is_drifted:
            self.is_drifted = True
            self.violate(
                "R10",
                offset,
                f"the log's hash of version {last} is not that of the folded content",
                expected=found,
                found=updates.state_hash,
            )

    def stored(self, offset, ref, store, is_known_at_start):
        """Checks the ref in a valid `SnapshotStored` (R6, R7, R10). `is_known_at_start` is False
        before any decision of the chunk was read from a log without its start."""
        model, counts = self.place.model, self._report.counts
        counts["snapshots_stored"] += 1
        self.refs.append((offset, ref))
        self.announced.append(ref)
        is_ahead = self.version is not None and ref.version > self.version
        if is_ahead or (is_known_at_start and ref.through_offset > self.through):
            self.violate(
                "R6",
                offset,
                "the ref is ahead of the valid decisions before it",
                expected=f"at most version {self.version}, offset {self.through}",
                found=f"version {ref.version}, offset {ref.through_offset}",
            )
        if ref.WhichOneof("location") is None or not ref.HasField("ledger") or ref.model_revision != model.revision:
            problem = f"a ref without location or ledger, or of model revision {ref.model_revision}"
            self.violate("format", offset, problem)
        own = self.hashes.get(ref.version)
        if own is not None and own != ref.hash:
            self.violate(
                "R10",
                offset,
                f"the ref's hash of version {ref.version} is not that of the folded content",
                expected=own,
                found=ref.hash,
            )
        if store is None:
            return
        try:
            encoding = store.load(ref)
            content = model.decode(encoding)
        except Missing as e:
            self.missing.append((len(self.refs), offset, str(e)))
            return
        except (Damaged, Unreadable) as e:
            self.violate("R7", offset, str(e))
            return
        counts["snapshots_checked"] += 1
        if len(encoding) != ref.bytes:
            self.violate("R7", offset, "the ref names another length", expected=len(encoding), found=ref.bytes)
        if self.content is None:
            self._adopt(ref, content)

    def _adopt(self, ref, content):
        """Takes over the content of a ref, because the log was not read from its start. From here
        on the content and the ledger are known (R5)."""
        self.content, self.folded = content, ref.version
        self.hashes[ref.version] = ref.hash
        self.version = ref.version if self.version is None else self.version
        self.adopted = ref
        for offset, updates in self._pending:
            self._apply(offset, updates)
        self._pending.clear()

    def begin_at(self, ref, content):
        """Begins with a state of a lost history. Must be called before anything is folded."""
        self._adopt(ref, content)
        self.through = ref.through_offset

    def finish(self, is_collected):
        """R6: reports refs whose objects are missing. If `is_collected`, spares the objects that
        garbage collection may have removed."""
        for number, offset, problem in self.missing:
            if is_collected and number <= len(self.refs) - REFS_KEPT:
                self._report.counts["snapshots_collected"] += 1
            else:
                self.violate("R6", offset, f"a ref is visible, but its object is not stored: {problem}")
