"""A small valid world for the checker's tests. Owners decide commands, one owner is replaced
without noticing, and a record is lost.

The world contains everything that the tests corrupt: two epochs, a zombie, a hole, resends,
out-of-order and expired commands, a ledger that overflows, settles, undecodable records, refs and
their objects, clients' outcomes and final hashes.
"""

import base64
import copy
import json
import pathlib

import blake3
import zstandard

import ledger as ledgers
from fencing import VALID, Position
from grid import HEADER
from messages import REASONS, Unreadable, log, model, store as stored_messages
from store import name_of
from world import World

SESSION_MS = 1_763_900_000_000
WORLD = {
    "revision": 1,
    "spec": {
        "name": "small",
        "generation": 2,
        "partitions": 3,
        "family": [
            {
                "name": "canvas",
                "model": "grid",
                "coordinates": 2,
                "bounds": 99,
                "region": 1,
                "parameters": {"size": [8, 8], "palette": 16},
            },
            {"name": "things", "model": "map", "coordinates": 2, "bounds": 99},
        ],
    },
}
CANVAS, NEIGHBOUR, FAR, THINGS, CROWDED = "canvas/0/0", "canvas/1/1", "canvas/-3/5", "things/1/1", "things/9/9"
NUMBERS = {name: number for number, name in REASONS.items()}


def writer(author, time_ms=SESSION_MS):
    return time_ms.to_bytes(6, "big") + blake3.blake3(author.encode()).digest()[:10]


def paint(*cells, guards=()):
    """Returns a GridCommand that sets these (cell, value) pairs."""
    return model.GridCommand(
        set=model.SetCells(cells=[c for c, _ in cells], values=[v for _, v in cells], guards=guards)
    ).SerializeToString()


def fill(**box):
    return model.GridCommand(fill=model.FillBox(**box)).SerializeToString()


def put(key, value, is_new=False):
    guard = model.MapGuard(absent=model.Absent()) if is_new else None
    return model.MapCommand(put=model.PutKey(key=key, value=value, guard=guard)).SerializeToString()


class Owner:
    """An owner of one partition. It decides all commands from the start of `commands`, and
    publishes the decisions that the valid log does not have yet."""

    def __init__(self, logs, partition, epoch):
        self.logs, self.partition, self.epoch, self.n, self.next = logs, partition, epoch, 0, 0
        self.states = {}
        self.decided = logs.valid_marks(partition)
        logs.append(partition, b"", epoch, 0, fence=log.Fence(owner=f"replayer-{epoch}"))

    def decide(self, poll=4):
        """Decides the undecided records of `commands`, one record per chunk and poll."""
        commands = self.logs.commands[self.partition]
        while self.next < len(commands):
            published = {}
            for offset in range(self.next, min(self.next + poll, len(commands))):
                self._decide(offset, commands[offset][1], published)
            self.next = min(self.next + poll, len(commands))
            for name, (marks, entries) in published.items():
                state, updates = self.states[name], b""
                if entries:
                    first = state.version + 1 - len(entries)
                    updates = log.Updates(
                        chunk_id=name, first_version=first, entries=entries, state_hash=state.hash()
                    ).SerializeToString()
                self._append(name, decisions=log.Decisions(chunk_id=name, updates=updates, marks=marks))

    def _decide(self, offset, value, published):
        try:
            record = log.CommandRecord.FromString(value)
        except Exception:
            return self.logs.dead.append(value)
        command, name = record.command, record.chunk_id
        if len(command.writer) != 16:
            return None
        body = command.WhichOneof("body")
        if body is None and value not in self.logs.dead:
            self.logs.dead.append(value)
        state = self.states.setdefault(name, State(self.logs.world.place(name).model))
        verdict = state.ledger.verdict(command.writer, command.seq, command.after)
        if verdict == ledgers.RESEND:
            return None
        mark = log.Mark(
            source_offset=offset,
            author=command.author,
            received_at_ms=command.received_at_ms,
            writer=command.writer,
            seq=command.seq,
        )
        effect = None
        if verdict == ledgers.OUT_OF_ORDER:
            mark.out_of_order.SetInParent()
        elif verdict == ledgers.EXPIRED:
            mark.session_expired.floor_ms = state.ledger.floor_ms
        else:
            reason = {"settle": "SETTLED", None: "UNDECODABLE"}.get(body) or state.ask(command.command)
            if reason:
                mark.discarded.reason = NUMBERS[reason]
            else:
                mark.committed.SetInParent()
                effect = command.command
            state.ledger.resolve(command.writer, command.seq, reason is None, offset)
        state.through = offset
        if offset not in self.decided:
            marks, entries = published.setdefault(name, ([], []))
            marks.append(mark)
            if effect is not None:
                entries.append(log.Entry(writer=command.writer, seq=command.seq, effect=effect))
        return None

    def store(self, name):
        """Stores a snapshot and announces it."""
        state = self.states[name]
        encoding = bytes(state.model.encode(state.content))
        self.logs.objects[name_of(state.hash())] = zstandard.compress(encoding)
        ref = stored_messages.Ref(
            version=state.version,
            hash=state.hash(),
            object=stored_messages.StoredObject(),
            through_offset=state.through,
            model_revision=1,
            bytes=len(encoding),
            ledger=state.ledger.to_ref(stored_messages.Ledger),
        )
        self._append(name, snapshot_stored=log.SnapshotStored(chunk_id=name, ref=ref))

    def _append(self, name, **body):
        self.n += 1
        self.logs.append(self.partition, self.logs.world.place(name).key, self.epoch, self.n, **body)


class State:
    """A chunk in the memory of an owner."""

    def __init__(self, of):
        self.model, self.content, self.version, self.ledger, self.through = of, of.initial(), 0, ledgers.Ledger(), -1

    def hash(self):
        return self.model.hash(self.content)

    def ask(self, command):
        """Folds a command's effect if the model allows it. Returns None, or the discard reason."""
        after = copy.deepcopy(self.content)
        try:
            self.model.fold(after, command)
        except Unreadable:
            return "INVALID"
        if isinstance(self.content, bytearray):
            cells = model.GridCommand.FromString(command).set
            if any(g and self.content[HEADER + 2 * cell] != g - 1 for cell, g in zip(cells.cells, cells.guards)):
                return "CONFLICT"
        else:
            asked = model.MapCommand.FromString(command).put
            if asked.guard.HasField("absent") and asked.key.encode() in self.content.encoded:
                return "CONFLICT"
        self.content, self.version = after, self.version + 1
        return None


class Logs:
    """Topics, objects, and the clients' conclusions. Tests change them before they are written."""

    def __init__(self):
        self.world = World(WORLD)
        partitions = range(self.world.partitions)
        # Lists of [key, value] and of [key, UpdatesRecord], by partition. An offset is an index in
        # its list.
        self.commands, self.updates = {p: [] for p in partitions}, {p: [] for p in partitions}
        self.dead, self.objects, self.outcomes, self.finals = [], {}, [], []

    def ask(self, name, author, seq, after, body=None, is_settle=False, who=None):
        who = who or writer(author)
        command = log.Command(writer=who, author=author, seq=seq, after=after, received_at_ms=SESSION_MS + seq)
        if is_settle:
            command.settle.SetInParent()
        elif body is not None:
            command.command = body
        place = self.world.place(name)
        self.commands[place.partition].append([place.key, log.CommandRecord(chunk_id=name, command=command).SerializeToString()])

    def append(self, partition, key, epoch, n, **body):
        self.updates[partition].append([key, log.UpdatesRecord(epoch=epoch, n=n, **body)])

    def valid(self, partition):
        """Returns (offset, record) of the records of `updates` that are valid by R4, without
        fences."""
        position = Position()
        return [(at, r) for at, (_, r) in enumerate(self.updates[partition]) if position.judge(at, r) == VALID]

    def valid_marks(self, partition):
        decisions = [r.decisions for _, r in self.valid(partition) if r.WhichOneof("body") == "decisions"]
        return {mark.source_offset: (d.chunk_id, mark) for d in decisions for mark in d.marks}

    def find(self, test):
        """Returns (partition, offset, record, mark) of the first valid mark that passes a test. For
        a record without marks, mark is None."""
        for partition in self.updates:
            for at, record in self.valid(partition):
                for mark in record.decisions.marks or [None]:
                    if test(record, mark):
                        return partition, at, record, mark
        raise LookupError("no such record")

    def write(self, folder):
        """Writes the dump, the store, the outcomes and the finals into a folder. Returns the
        arguments with which the checker reads them."""
        folder = pathlib.Path(folder)
        topics = {"commands": self.commands, "updates": self.updates, "dead-letter": {0: [[b"", value] for value in self.dead]}}
        pack = lambda data: base64.b64encode(data).decode()
        (folder / "dump").mkdir(parents=True)
        for what, partitions in topics.items():
            for partition, records in partitions.items():
                topic, lines = self.world.topic(what), []
                for offset, (key, value) in enumerate(records):
                    value = value if isinstance(value, bytes) else value.SerializeToString() if value is not None else None
                    if value is not None:
                        lines.append(
                            json.dumps(
                                {"topic": topic, "partition": partition, "offset": offset, "key": pack(key), "value": pack(value)}
                            )
                            + "\n"
                        )
                (folder / f"dump/{topic}-{partition}.jsonl").write_text("".join(lines))
        for key, data in self.objects.items():
            path = folder / "store" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "store/world.json").write_text(json.dumps(WORLD))
        for name, lines in (("outcomes", self.outcomes), ("finals", self.finals)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return [
            "--dump",
            str(folder / "dump"),
            "--store",
            str(folder / "store"),
            "--outcomes",
            str(folder / "outcomes.jsonl"),
            "--finals",
            str(folder / "finals.jsonl"),
        ]


def small_world():
    """Makes the small world. Each partition has two owners, one after the other, and for some time
    both write."""
    logs = Logs()
    first = [Owner(logs, p, 1) for p in logs.updates]
    for author in ("ann", "bob"):
        logs.ask(CANVAS, author, 1, 0, paint((0, 7), (9, 3)))
        logs.ask(CANVAS, author, 2, 1, fill(x=2, y=2, width=3, height=2, value=5))
        logs.ask(CANVAS, author, 3, 2, paint((0, 1), guards=[9]))  # a guard that does not hold
        logs.ask(CANVAS, author, 2, 1, fill(x=2, y=2, width=3, height=2, value=5))  # a resend
        logs.ask(CANVAS, author, 5, 4, paint((1, 1)))  # out of order
        logs.ask(CANVAS, author, 4, 3, paint((63, 15), (1, 2)))
        logs.ask(NEIGHBOUR, author, 1, 0, paint((5, 5)))
        logs.ask(THINGS, author, 1, 0, put("door", b"open", is_new=True))
        logs.ask(THINGS, author, 2, 1, put("é", author.encode()))
        logs.ask(FAR, author, 1, 0, b"\xff no GridCommand")
    for owner in first:
        owner.decide()
    first[logs.world.place(CANVAS).partition].store(CANVAS)
    first[logs.world.place(THINGS).partition].store(THINGS)

    # A record is lost, so no reader counts the later records of its owner. The next owner decides
    # their commands again.
    for seq in range(6, 18):
        logs.ask(CANVAS, "ann", seq, seq - 1 if seq > 6 else 4, paint((seq, 9)))
        logs.ask(FAR, "ann", seq, 1 if seq == 6 else seq - 1, paint((seq, 4)))
    for owner in first:
        whole = len(logs.updates[owner.partition])
        owner.decide()
        if len(logs.updates[owner.partition]) > whole + 2:
            del logs.updates[owner.partition][whole + 1]

    second = [Owner(logs, p, 3) for p in logs.updates]
    logs.ask(CANVAS, "bob", 6, 4, is_settle=True)
    logs.ask(CANVAS, "bob", 7, 6)  # no body
    logs.ask(CANVAS, "bob", 8, 7, paint((8, 8)))
    logs.commands[logs.world.place(CANVAS).partition].append([b"", b"\xff no CommandRecord"])
    for zombie, owner in zip(first, second):
        zombie.decide()
        owner.decide()
    # Sends commands of more writers than a ledger holds. The first writers are evicted and set the
    # floor.
    for i in range(1027):
        logs.ask(CROWDED, "p", 1, 0, put("n", b"%d" % i), who=writer(f"p{i}", SESSION_MS - i))
    for i in (0, 1026):
        logs.ask(CROWDED, "p", 2, 1, is_settle=True, who=writer(f"p{i}", SESSION_MS - i))
    for owner in second:
        owner.decide(poll=100)
        for name in owner.states:
            owner.store(name)
    for seq in (9, 10):
        logs.ask(CANVAS, "bob", seq, seq - 1, paint((60 + seq % 3, seq)))
    for owner in second:
        owner.decide()
    _tell(logs, second)
    return logs


def _tell(logs, owners):
    """Adds the conclusions of honest clients and the final states of honest replicas."""
    told = {}
    for partition, owner in enumerate(owners):
        versions = {}
        for _, record in logs.valid(partition):
            if record.decisions.updates:
                updates = log.Updates.FromString(record.decisions.updates)
                for i, e in enumerate(updates.entries):
                    versions[updates.chunk_id, e.writer, e.seq] = updates.first_version + i
        for name, mark in logs.valid_marks(partition).values():
            number = (name, mark.writer, mark.seq)
            outcome = mark.WhichOneof("outcome")
            if outcome not in ("committed", "discarded") or mark.author == "p":
                continue
            reason = REASONS.get(mark.discarded.reason, "")
            told[number] = {
                "client": f"{mark.author}'s",
                "author": mark.author,
                "chunk": name,
                "writer": mark.writer.hex(),
                "seq": mark.seq,
                "outcome": outcome,
                "version": versions.get(number),
                "reason": reason,
                "is_receipted": True,
            }
        for name, state in owner.states.items():
            logs.finals.append({"who": "gateway", "chunk": name, "version": state.version, "hash": state.hash().hex()})
    # Number 5 was taken back, so number 6 has `after` 4.
    gone = {"client": "ann's", "author": "ann", "chunk": CANVAS, "writer": writer("ann").hex(), "version": None, "reason": ""}
    logs.outcomes = [*told.values(), gone | {"seq": 5, "outcome": "withdrawn", "is_receipted": True}]
    logs.outcomes.append(gone | {"seq": None, "writer": None, "outcome": "rejected", "is_receipted": False})
