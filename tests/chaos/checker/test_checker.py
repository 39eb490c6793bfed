"""The checker's own tests: a valid world has no violation, and each corruption of it is reported under its rule.

The golden files of schemas/ and chunk/ tie its reading to what the services write. `python -m unittest` runs everything.
"""

import contextlib
import copy
import io
import json
import pathlib
import re
import struct
import tempfile
import unittest
from unittest import mock

import blake3

import check
import ledger as ledgers
import log as raw_log
import synthetic
from fencing import Position
from messages import PROTO, log, model, store as stored_messages
from outcomes import Outcomes
from partition import Partition
from report import Report
from store import name_of
from synthetic import CANVAS, CROWDED, THINGS, writer
from world import World, murmur2

ROOT = PROTO.parents[1]
SMALL_WORLD = synthetic.small_world()


def run(arguments):
    """Runs the checker. Returns its exit code and the JSON in its last line, or its error output.
    """
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = check.main([*arguments, "--json", "--quiet"])
    lines = output.getvalue().splitlines()
    return code, json.loads(lines[-1]) if lines else errors.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.logs = copy.deepcopy(SMALL_WORLD)

    def check(self, *more):
        return run([*self.logs.write(self.folder), *(more or ["--complete"])])

    def told(self, rule, *more, saying=""):
        """Asserts that the checker reports a corruption under this rule, with its place. Returns
        the violation."""
        code, told = self.check(*more)
        self.assertEqual(code, 1, told)
        found = [v for v in told["violations"] if v["rule"] == rule and saying in v["problem"]]
        self.assertTrue(found, f"no {rule} that says {saying!r} in {json.dumps(told['violations'], indent=1)}")
        self.assertTrue(found[0]["topic"] or found[0]["where"])
        return found[0]

    def find(self, kind, chunk=CANVAS, reason=None, number=0):
        """Finds the valid mark of a kind with this index: (partition, offset, record, mark)."""
        seen = []

        def wanted(record, mark):
            is_it = mark and record.decisions.chunk_id == chunk and mark.WhichOneof("outcome") == kind
            if is_it and (reason is None or mark.discarded.reason == synthetic.NUMBERS[reason]):
                seen.append(mark)
            return len(seen) > number

        return self.logs.find(wanted)

    def find_ref(self, chunk=CANVAS):
        partition, at, record, _ = self.logs.find(lambda r, _: r.snapshot_stored.chunk_id == chunk)
        return partition, at, record.snapshot_stored.ref

    def edit_updates(self, change, chunk=CANVAS, number=1):
        """Changes the Updates of a valid record."""
        records = [
            (p, at, r)
            for p in self.logs.updates
            for at, r in self.logs.valid(p)
            if r.decisions.chunk_id == chunk and r.decisions.updates
        ]
        partition, at, record = records[number]
        updates = log.Updates.FromString(record.decisions.updates)
        change(updates)
        record.decisions.updates = updates.SerializeToString()
        return partition, at, record

    def edit_command(self, partition, offset, change):
        record = log.CommandRecord.FromString(self.logs.commands[partition][offset][1])
        change(record)
        self.logs.commands[partition][offset][1] = record.SerializeToString()

    def line(self, outcome, chunk=CANVAS):
        return next(line for line in self.logs.outcomes if line["outcome"] == outcome and line["chunk"] == chunk)


class Valid(Case):
    def test_a_valid_world_has_no_violation(self):
        code, told = self.check()
        self.assertEqual((code, told["violations"]), (0, []))
        counted = "valid fences resends committed out_of_order expired dead_letters snapshots_checked ledgers_checked finals"
        for name in counted.split():
            self.assertGreater(told[name], 0, name)
        self.assertGreaterEqual(set(told["invalid"]), {"zombie", "after a hole"})
        self.assertEqual(set(told["discarded"]), {"CONFLICT", "INVALID", "SETTLED", "UNDECODABLE"})
        self.assertEqual(set(told["outcomes"]), {"committed", "discarded", "withdrawn", "rejected"})

    def test_it_says_so_to_people_too(self):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.assertEqual(check.main([*self.logs.write(self.folder), "--quiet"]), 0)
        self.assertIn("no violation", output.getvalue())

    def test_a_run_that_goes_on_may_have_undecided_commands(self):
        self.logs.ask(CANVAS, "bob", 11, 10, synthetic.paint((1, 1)))
        code, told = self.check("--store", str(self.folder / "store"))
        self.assertEqual((code, told["undecided"]), (0, 1))

    def test_a_staged_file_of_a_killed_put_is_no_object(self):
        self.logs.objects[f"snapshots/00/{'00' * 32}#1"] = b"half"
        self.assertEqual(self.check()[0], 0)

    def test_collected_snapshots_may_be_gone_but_for_the_five_newest(self):
        partition, _, ref = self.find_ref()
        del self.logs.objects[name_of(ref.hash)]
        self.assertEqual(self.check("--collected")[1]["violations_by_rule"], {"R6": 1})
        owner = [r for _, r in self.logs.valid(partition)][-1]
        newest = [r for _, r in self.logs.valid(partition) if r.snapshot_stored.chunk_id == CANVAS][-1]
        for i in range(4):
            again = copy.deepcopy(newest)
            again.n = owner.n + 1 + i
            self.logs.updates[partition].append([b"canvas/0/0", again])
        self.folder /= "again"
        code, told = self.check("--collected")
        self.assertEqual((code, told["snapshots_collected"]), (0, 1), told["violations"])


class Start(Case):
    """R4: the checker needs positions. If the start of `updates` is gone, it cannot judge any
    record without an epoch and an n."""

    def trim(self):
        """Cuts the partition of CANVAS just before its last ref but after the second fence; gives the triple."""
        partition = self.logs.world.place(CANVAS).partition
        records, position = self.logs.updates[partition], Position()
        last = max(at for at, r in self.logs.valid(partition) if r.snapshot_stored.chunk_id == CANVAS)
        first_ref = min(at for at, r in self.logs.valid(partition) if r.epoch == 3 and r.WhichOneof("body") == "snapshot_stored")
        cut = min(first_ref - 2, last)
        for at in range(cut):
            position.judge(at, records[at][1])
            records[at][1] = None
        return partition, position

    def test_without_a_triple_it_refuses(self):
        self.trim()
        code, told = self.check()
        self.assertEqual(code, 2)
        self.assertIn("a position without its epoch and n cannot be judged", told)

    def test_with_a_triple_the_refs_are_where_folding_begins(self):
        partition, position = self.trim()
        code, told = self.check_positions(
            partition, position, "--start", f"{partition}:{position.offset}:{position.epoch}:{position.n}"
        )
        self.assertEqual((code, told["violations"]), (0, []))
        self.assertEqual(told["chunks_not_folded"], 0)
        self.folder /= "again"
        code, told = self.check_positions(partition, position)
        self.assertEqual((code, told["violations"]), (0, []))

    def check_positions(self, partition, position, *instead):
        """Runs the checker with a position and without outcomes, because outcomes need the whole
        log."""
        arguments = self.logs.write(self.folder)
        path = self.folder / "positions.json"
        path.write_text(json.dumps({"topic": "small.2.updates", "positions": [{"partition": partition} | vars(position)]}))
        rest = [a for a in arguments if "outcomes" not in a]
        return run([*rest, "--complete", *(instead or ["--positions", str(path)])])

    def test_outcomes_need_the_whole_log(self):
        partition, position = self.trim()
        self.assertEqual(self.check("--start", f"{partition}:{position.offset}:{position.epoch}:{position.n}")[0], 2)

    def test_with_a_wrong_triple_nothing_counts(self):
        partition, position = self.trim()
        wrong = f"{partition}:{position.offset}:{position.epoch - 1}:{position.n}"
        told = self.check_positions(partition, position, "--start", wrong)[1]
        self.assertGreater(told["invalid"]["no fence before it"], 0)
        self.assertEqual(told["violations_by_rule"], {"R4": 1})
        self.assertGreater(told["finals_not_known"], 0)

    def test_commands_below_retention_are_known_by_their_marks(self):
        partition = self.logs.world.place(CANVAS).partition
        for record in self.logs.commands[partition][:9]:
            record[1] = None
        code, told = self.check()
        self.assertEqual((code, told["violations"]), (0, []))


class Corrupted(Case):
    """Each test makes a valid world wrong in one way, which the checker must report."""

    def test_r1_an_updates_record_with_another_key(self):
        partition, at, _, _ = self.find("committed")
        self.logs.updates[partition][at][0] = b"canvas/5/5"
        self.assertEqual(self.told("R1")["offset"], at)

    def test_r1_a_command_in_another_partition(self):
        partition = self.logs.world.place(CANVAS).partition
        self.logs.commands[(partition + 1) % 3].append(self.logs.commands[partition][0])
        self.assertIn(f"partition {partition}", self.told("R1")["expected"])

    def test_r1_another_number_of_partitions(self):
        arguments = self.logs.write(self.folder)
        (self.folder / "dump/small.2.updates-3.jsonl").write_text("")
        self.assertIn("R1", run(arguments)[1]["violations_by_rule"])

    def test_r2_a_command_decided_twice(self):
        partition, _, _, mark = self.find("discarded", reason="CONFLICT")
        last = self.logs.valid(partition)[-1][1]
        again = log.Decisions(chunk_id=CANVAS, marks=[mark])
        self.logs.append(partition, b"canvas/0/0", last.epoch, last.n + 1, decisions=again)
        self.told("R2", saying="decided a second time")

    def test_r2_a_number_resolved_twice(self):
        mark = self.find("discarded", reason="SETTLED")[3]
        mark.seq = 4
        self.told("R2", saying="resolved a second time")

    def test_r3_a_version_gap(self):
        _, at, _ = self.edit_updates(lambda u: setattr(u, "first_version", u.first_version + 1))
        violation = self.told("R3")
        self.assertEqual((violation["offset"], violation["expected"] + 1), (at, violation["found"]))

    def test_r3_a_version_twice(self):
        self.edit_updates(lambda u: setattr(u, "first_version", u.first_version - 1))
        self.told("R3")

    def test_r4_an_owner_that_counts_on_a_record_after_a_hole(self):
        partition = self.logs.world.place(CANVAS).partition
        records = self.logs.updates[partition]
        mine = [
            at for at, r in self.logs.valid(partition) if r.epoch == 3 and r.decisions.chunk_id == CANVAS and r.decisions.updates
        ]
        records[mine[1]][1].n += 1
        self.logs.updates[partition].insert(mine[1] + 1, [b"", log.UpdatesRecord(epoch=5, fence=log.Fence(owner="believer"))])
        for n, (_, record) in enumerate(records[mine[1] + 2 :], 1):
            record.epoch, record.n = 5, n
        self.assertIn(f"offset {mine[1]}", self.told("R4")["problem"])

    def test_r8_nobody_decided_again_what_came_after_a_hole(self):
        partition = self.logs.world.place(CANVAS).partition
        last = [(at, r) for at, r in self.logs.valid(partition) if r.WhichOneof("body") == "decisions"][-1]
        last[1].n += 1
        self.told("R8", saying=f"offset {last[0]} of updates decides it, but is not valid")

    def test_r5_an_effect_that_is_not_the_command(self):
        partition, _, _, mark = self.find("committed")
        self.edit_command(partition, mark.source_offset, lambda r: setattr(r.command, "command", synthetic.paint((0, 2))))
        self.told("R5", saying="an effect that is not the command")

    def test_r5_an_effect_that_cannot_be_folded(self):
        self.edit_updates(lambda u: setattr(u.entries[0], "effect", synthetic.paint((64, 1))))
        self.told("R5", saying="cannot be folded")

    def test_r5_a_ref_whose_ledger_forgot_a_commit(self):
        ref = self.find_ref()[2]
        ref.ledger.entries[0].committed_bits ^= 1
        self.told("R5", saying="ledger")

    def test_r5_a_ref_whose_ledger_has_another_order(self):
        ref = self.find_ref()[2]
        first = ref.ledger.entries.pop(0)
        ref.ledger.entries.append(first)
        self.told("R5", saying="ledger")

    def test_r6_a_ref_ahead_of_the_log(self):
        partition, at, ref = self.find_ref()
        ref.version += 1
        ref.through_offset += 30
        self.assertEqual(self.told("R6", saying="ahead")["offset"], at)

    def test_r6_a_ref_whose_version_is_not_that_of_its_offset(self):
        ref = self.find_ref()[2]
        ref.through_offset = 0
        self.told("R6", saying="not that of its through_offset")

    def test_r6_a_ref_without_its_object(self):
        ref = self.find_ref()[2]
        del self.logs.objects[name_of(ref.hash)]
        self.told("R6", saying="not stored")

    def test_r7_an_object_with_other_content(self):
        names = {THINGS: name_of(self.find_ref(THINGS)[2].hash), CANVAS: name_of(self.find_ref()[2].hash)}
        self.logs.objects[names[CANVAS]] = self.logs.objects[names[THINGS]]
        self.told("R7", saying="has the hash")

    def test_r7_an_object_that_is_not_zstd(self):
        self.logs.objects[name_of(self.find_ref()[2].hash)] = b"no zstd"
        self.told("R7")

    def test_r7_an_object_that_no_ref_names(self):
        self.logs.objects[f"snapshots/00/{'00' * 32}"] = next(iter(self.logs.objects.values()))
        self.assertIn("00" * 32, self.told("R7", saying="whose name is not")["where"])

    def test_r8_a_mark_for_a_resend(self):
        partition, _, record, mark = self.find("out_of_order")
        again = copy.deepcopy(mark)
        again.source_offset, again.seq = 3, 2
        self.edit_command(partition, 3, lambda r: self.assertEqual((r.command.seq, r.command.author), (2, "ann")))
        marks = (
            [m for m in record.decisions.marks if m.source_offset < 3]
            + [again]
            + [m for m in record.decisions.marks if m.source_offset > 3]
        )
        del record.decisions.marks[:]
        record.decisions.marks.extend(marks)
        self.assertEqual(self.told("R8", saying="a resend")["offset"], 3)

    def test_r8_a_missing_decision(self):
        partition, _, record, mark = self.find("discarded", reason="CONFLICT")
        record.decisions.marks.remove(mark)
        self.assertEqual(self.told("R8", saying="is not decided, but the one at")["offset"], mark.source_offset)

    def test_r8_a_missing_last_decision(self):
        self.logs.ask(CANVAS, "bob", 11, 10, synthetic.paint((1, 1)))
        self.told("R8", "--complete", saying="is not decided, and the run has come to rest")

    def test_r8_out_of_order_but_decided(self):
        mark = self.find("out_of_order")[3]
        mark.discarded.reason = log.DISCARD_REASON_CONFLICT
        self.assertEqual(self.told("R8", saying="a wrong one")["expected"], "out_of_order")

    def test_r8_in_turn_but_called_out_of_order(self):
        mark = self.find("discarded", reason="CONFLICT")[3]
        mark.out_of_order.SetInParent()
        self.told("R8", saying="a wrong one")

    def test_r8_decisions_in_another_order_than_the_commands(self):
        partition = self.logs.world.place(CROWDED).partition
        records = [r for _, r in self.logs.valid(partition) if r.decisions.chunk_id == CROWDED]
        one, other = records[0].decisions.marks[3], records[1].decisions.marks[3]
        one.source_offset, other.source_offset = other.source_offset, one.source_offset
        self.told("R8", saying="is decided after that at")

    def test_r8_a_settle_that_is_committed(self):
        mark = self.find("discarded", reason="SETTLED")[3]
        mark.committed.SetInParent()
        self.assertEqual(self.told("R8", saying="a wrong one")["expected"], "discarded SETTLED")

    def test_r8_a_settle_discarded_for_another_reason(self):
        self.find("discarded", reason="SETTLED")[3].discarded.reason = log.DISCARD_REASON_CONFLICT
        self.assertEqual(self.told("R8")["found"], "discarded CONFLICT")

    def test_r8_a_command_discarded_as_settled(self):
        self.find("discarded", reason="CONFLICT")[3].discarded.reason = log.DISCARD_REASON_SETTLED
        self.told("R8")

    def test_r8_undecodable_but_discarded_for_another_reason(self):
        self.find("discarded", reason="UNDECODABLE")[3].discarded.reason = log.DISCARD_REASON_INVALID
        self.assertEqual(self.told("R8")["expected"], "discarded UNDECODABLE")

    def test_r8_a_wrong_floor(self):
        mark = self.find("session_expired", chunk=CROWDED)[3]
        mark.session_expired.floor_ms += 1
        self.assertIn(f"floor {mark.session_expired.floor_ms - 1}", self.told("R8")["expected"])

    def test_r8_a_mark_of_another_author(self):
        self.find("committed")[3].author = "eve"
        self.told("R8", saying="another author")

    def test_r8_a_mark_without_its_command(self):
        partition = self.logs.world.place(CANVAS).partition
        self.logs.commands[partition].pop()
        self.told("R8", saying="no command")

    def test_r8_a_command_that_says_another_after(self):
        partition, _, _, mark = self.find("committed")
        self.edit_command(partition, mark.source_offset, lambda r: setattr(r.command, "after", 9))
        self.told("R8", saying="a wrong one")

    def test_r9_a_dead_letter_that_was_not_copied(self):
        # Each owner has copied this record, so all copies are removed.
        self.logs.dead = [value for value in self.logs.dead if value != b"\xff no CommandRecord"]
        self.told("R9")

    def test_r10_a_wrong_hash(self):
        _, at, _ = self.edit_updates(lambda u: setattr(u, "state_hash", bytes(32)))
        violation = self.told("R10")
        self.assertEqual((violation["offset"], violation["found"]), (at, "00" * 32))

    def test_r10_a_ref_with_another_hash(self):
        canvas, things = self.find_ref()[2], self.find_ref(THINGS)[2]
        canvas.hash = things.hash
        self.told("R10", saying="the ref's hash")

    def test_r10_a_replica_that_drifted(self):
        self.logs.finals[0]["hash"] = "00" * 32
        self.told("R10", saying="holds another state")

    def test_r10_a_replica_that_is_behind(self):
        self.logs.finals[0]["version"] -= 1
        self.told("R10", saying="holds another state")

    def test_format_a_field_that_nobody_knows(self):
        partition, at, record, _ = self.find("committed")
        self.logs.updates[partition][at][1] = record.SerializeToString() + b"\x78\x01"
        self.told("format", saying="does not know")

    def test_format_an_entry_of_another_command(self):
        self.edit_updates(lambda u: setattr(u.entries[0], "seq", 99))
        self.told("format", saying="another command")

    def test_format_an_entry_too_many(self):
        self.edit_updates(lambda u: u.entries.append(u.entries[0]))
        self.told("format", saying="differ in number")


class Lies(Case):
    """Each test makes a client's conclusion wrong. The checker must find the difference to the log.
    """

    def test_committed_but_discarded(self):
        self.line("discarded").update(outcome="committed", version=None)
        self.told("outcomes", saying="told as committed")

    def test_committed_but_undecided(self):
        self.line("withdrawn").update(outcome="committed")
        self.told("outcomes", saying="told as committed")

    def test_discarded_but_committed(self):
        self.line("committed").update(outcome="discarded")
        self.told("outcomes", saying="told as discarded")

    def test_withdrawn_or_rejected_but_committed(self):
        for outcome in ("withdrawn", "rejected"):
            self.line("committed").update(outcome=outcome)
        self.told("outcomes", saying="told as rejected")

    def test_committed_at_another_version(self):
        self.line("committed")["version"] += 1
        self.told("outcomes", saying="another version")

    def test_discarded_for_another_reason(self):
        self.line("discarded").update(reason="DISCARD_REASON_FULL")
        self.told("outcomes", saying="another reason")

    def test_receipted_but_missing(self):
        self.logs.outcomes.append(self.line("withdrawn") | {"seq": 40})
        self.told("outcomes", saying="does not stand in commands")

    def test_receipted_but_not_answered(self):
        self.logs.ask(CANVAS, "bob", 11, 10, synthetic.paint((1, 1)))
        self.logs.outcomes.append(self.line("withdrawn") | {"writer": writer("bob").hex(), "seq": 11})
        self.told("outcomes", "--store", str(self.folder / "store"), saying="neither resolved nor answered")

    def test_receipted_but_never_sent(self):
        self.line("rejected").update(is_receipted=True)
        self.told("outcomes", saying="never sent")

    def test_a_commit_that_no_line_has(self):
        self.logs.outcomes.remove(self.line("committed"))
        self.told("outcomes", saying="no line has it")

    def test_two_outcomes(self):
        self.logs.outcomes.append(self.line("committed"))
        self.told("outcomes", saying="two outcomes")

    def test_unknown_is_never_a_lie(self):
        for outcome in ("committed", "discarded"):
            self.line(outcome).update(outcome="unknown")
        code, told = self.check()
        self.assertEqual((code, told["outcomes"]["unknown"]), (0, 2))

    def test_a_file_of_no_use(self):
        self.line("committed").update(outcome="perhaps")
        self.assertEqual(self.check()[0], 2)


class Golden(unittest.TestCase):
    """The bytes that the services write."""

    def read(self, name):
        return bytes.fromhex((ROOT / name).read_text())

    def test_r1_murmur2_is_kafkas(self):
        for text, hashed in (("abc", 479470107), ("foobar", -790332482), ("", 275646681)):
            self.assertEqual(murmur2(text.encode()), hashed & 0xFFFFFFFF)

    def test_every_golden_message_of_the_log_is_read_and_written_back(self):
        kinds = {
            "command_record": log.CommandRecord,
            "updates_record": log.UpdatesRecord,
            "updates": log.Updates,
            "mark": log.Mark,
            "discarded": log.Discarded,
            "grid_command": model.GridCommand,
            "map_command": model.MapCommand,
            "ref": stored_messages.Ref,
            "index_entry": stored_messages.IndexEntry,
            "checkpoint": stored_messages.Checkpoint,
        }
        seen = set()
        for path in sorted((ROOT / "schemas/golden/1").glob("*.hex")):
            kind = kinds.get(path.name.split(".")[0])
            if kind:
                value = self.read(path)
                message = kind.FromString(value)
                message.DiscardUnknownFields()
                self.assertEqual(message.SerializeToString().hex(), value.hex(), path.name)
                seen.add(kind)
        self.assertEqual(seen, set(kinds.values()))

    def test_r10_the_golden_encodings_are_folded_to(self):
        grid, things = (
            World({"name": "g", "partitions": 1, "family": [{"name": "f", "model": m, "bounds": 9, "parameters": p}]})
            .place("f/0/0")
            .model
            for m, p in (("grid", {"size": [4, 3, 2], "palette": 65536}), ("map", {}))
        )
        content = grid.initial()
        grid.fold(content, synthetic.fill(x=1, y=1, width=2, height=2, depth=2, value=258))
        grid.fold(content, synthetic.paint((0, 65535), (3 + 4 * 2 + 12, 1), (5, 7), guards=[0, 1, 259]))
        self.assertEqual(bytes(grid.encode(content)).hex(), self.read("chunk/golden/1/grid.cells.hex").hex())
        self.assertEqual(grid.encode(grid.decode(bytes(content))), content)
        content = things.initial()
        for key, value in (
            ("é", b"last: keys are sorted by their bytes"),
            ("b", b"\x00\xff"),
            ("a", b"old"),
            ("a", b"new"),
            ("ab", b""),
            ("gone", b"x"),
        ):
            things.fold(content, synthetic.put(key, value))
        things.fold(content, model.MapCommand(delete=model.DeleteKey(key="gone")).SerializeToString())
        self.assertEqual(things.encode(content).hex(), self.read("chunk/golden/1/map.entries.hex").hex())
        self.assertEqual(things.encode(things.decode(things.encode(content))), things.encode(content))
        self.assertEqual(things.encode(things.initial()).hex(), self.read("chunk/golden/1/map.initial.hex").hex())

    def test_r5_the_golden_log_leads_to_what_it_promises(self):
        expected = json.loads((ROOT / "chunk/golden/1/expected.json").read_text())
        world, report, position = World(expected["world"]), Report(is_quiet=True), Position()
        partition = Partition(world, 0, report, None, None, position, False, False)
        partition.take_updates(golden_records(world))
        # The golden files have no commands, so the ledgers come from the marks alone. The ledger of
        # every ref is checked nevertheless.
        partition.take_commands([], low=1 << 62)
        self.assertEqual((report.violations, report.invalid.total()), ([], expected["records"]["invalid"]))
        self.assertEqual(
            [report.counts[name] for name in ("fences", "valid")], [expected["records"][name] for name in ("fences", "valid")]
        )
        self.assertEqual(vars(position), expected["position"])
        self.assertGreaterEqual(report.counts["ledgers_checked"], 4)
        found = {}
        for name, (version, content_hash) in partition.ends().items():
            chunk = partition.chunks[name]
            stored = chunk.ledger.to_ref(stored_messages.Ledger)
            found[name] = {
                "version": version,
                "hash": content_hash.hex(),
                "through_offset": chunk.through,
                "floor_ms": chunk.ledger.floor_ms,
                "ledger_writers": len(chunk.ledger),
                "ledger_hash": blake3.blake3(stored.SerializeToString()).hexdigest(),
            }
            for who, resolved in expected["chunks"][name].pop("writers").items():
                seq = chunk.ledger.newest(bytes.fromhex(who))
                self.assertEqual("expired" if seq is None else seq, resolved if seq is None else resolved["seq"], (name, who))
        self.assertEqual(found, expected["chunks"])


def golden_records(world):
    """The golden log as records; keys are not in the file."""
    file = (ROOT / "chunk/golden/1/updates.log").read_bytes()
    at, offset = file.index(b"\n") + 1, 0
    while at < len(file):
        (length,) = struct.unpack_from("<I", file, at)
        value = file[at + 4 : at + 4 + length]
        record = log.UpdatesRecord.FromString(value)
        name = record.decisions.chunk_id or record.snapshot_stored.chunk_id
        yield raw_log.Record(offset, world.place(name).key if name else b"", value)
        at, offset = at + 4 + length, offset + 1


class Reading(Case):
    """Kafka and dumps, and the document for analysts."""

    def test_a_dump_of_kafka_is_checked_like_kafka(self):
        arguments = self.logs.write(self.folder)
        with mock.patch.object(raw_log, "Consumer", lambda settings: FakeConsumer(self.folder / "dump")):
            kafka = ["--brokers", "fake:9092", *arguments[2:], "--complete"]
            code, told = run(kafka)
            self.assertEqual((code, told["violations"]), (0, []))
            self.assertEqual(check.main([*kafka, "--write-dump", str(self.folder / "again"), "--quiet"]), 0)
        for path in (self.folder / "dump").iterdir():
            self.assertEqual(path.read_text(), (self.folder / "again" / path.name).read_text())
        self.assertEqual(told["committed"], run(["--dump", str(self.folder / "again"), *arguments[2:]])[1]["committed"])

    def test_what_is_missing_is_said(self):
        self.assertEqual(run(["--dump", "/nowhere", "--world", "/nowhere"])[0], 2)

    def test_the_snippets_for_analysts_run(self):
        document = (ROOT / "docs/analytics.md").read_text()
        snippets = re.findall(r"^```python\n(.*?)^```", document, re.M | re.S)
        self.assertGreaterEqual(len(snippets), 4)
        arguments = self.logs.write(self.folder)
        settings = {"BROKERS": "fake:9092", "STORE": arguments[3]}
        output = io.StringIO()
        with (
            mock.patch("confluent_kafka.Consumer", lambda settings: FakeConsumer(self.folder / "dump")),
            contextlib.redirect_stdout(output),
        ):
            for snippet in snippets:
                # The first lines of the document set these two variables. Here they point to the
                # small world.
                exec(re.sub(r'^(BROKERS|STORE) = ".*?"', lambda m: f"{m[1]} = {settings[m[1]]!r}", snippet, flags=re.M), settings)
        ends = {line["chunk"]: line for line in self.logs.finals}
        for name, end in ends.items():
            if end["version"]:
                self.assertIn(f"{name} version {end['version']} {end['hash']}", output.getvalue())


class FakeConsumer:
    """A stand-in for confluent_kafka's Consumer that reads from a dump. It has only what the
    checker uses."""

    def __init__(self, folder):
        self.dump, self.waiting = raw_log.DumpLog(folder), []

    def list_topics(self, topic, timeout):
        partitions = self.dump.partitions(topic)
        return mock.Mock(topics={topic: mock.Mock(error=None, partitions=range(partitions))})

    def get_watermark_offsets(self, at, timeout=None, cached=False):
        return self.dump.bounds(at.topic, at.partition)

    def assign(self, places):
        at = places[0]
        self.waiting = list(self.dump.read(at.topic, at.partition, at.offset, 1 << 62))

    def consume(self, num_messages, timeout):
        taken, self.waiting = self.waiting[:num_messages], self.waiting[num_messages:]
        return [
            mock.Mock(
                **{
                    "error.return_value": None,
                    "offset.return_value": r.offset,
                    "key.return_value": r.key,
                    "value.return_value": r.value,
                }
            )
            for r in taken
        ]

    def close(self):
        self.waiting = []


class LedgerRules(unittest.TestCase):
    """R8 in small examples."""

    def test_r8_the_least_recently_decided_writer_is_evicted_and_sets_the_floor(self):
        ledger = ledgers.Ledger()
        for i in range(ledgers.WRITERS_MAX):
            ledger.resolve(writer(str(i), 1000 + i), 1, True, i)
        ledger.resolve(writer("0", 1000), 2, False, 2000)
        ledger.resolve(writer("new", 5000), 1, True, 2001)
        self.assertEqual((ledger.floor_ms, len(ledger)), (1001, ledgers.WRITERS_MAX))
        self.assertEqual(ledger.verdict(writer("1", 1001), 2, 1), ledgers.EXPIRED)
        self.assertEqual(ledger.verdict(writer("young", 1002), 1, 0), ledgers.DECIDE)
        self.assertEqual(ledger.verdict(writer("0", 1000), 2, 1), ledgers.RESEND)

    def test_r8_bits_are_shifted_by_what_was_skipped(self):
        ledger = ledgers.Ledger()
        for seq, is_committed in ((1, True), (3, True), (4, False), (67, True)):
            ledger.resolve(writer("a"), seq, is_committed, seq)
        self.assertEqual(ledger.to_ref(stored_messages.Ledger).entries[0].committed_bits, 1)
        self.assertEqual(ledger.verdict(writer("a"), 70, 68), ledgers.OUT_OF_ORDER)
        self.assertEqual(ledger.verdict(writer("a"), 70, 67), ledgers.DECIDE)


class BigOutcomes(Case):
    def test_a_line_of_a_chunk_outside_of_the_world_is_no_lie_unless_it_commits(self):
        path = self.folder / "o.jsonl"
        line = {
            "client": "c",
            "author": "a",
            "chunk": "nowhere/0/0",
            "writer": "00" * 16,
            "seq": 1,
            "outcome": "rejected",
            "version": None,
            "reason": "UNKNOWN_FAMILY",
            "is_receipted": False,
        }
        path.write_text(json.dumps(line) + "\n" + json.dumps(line | {"seq": 2, "outcome": "committed"}) + "\n")
        report = Report(is_quiet=True)
        Outcomes([path], self.logs.world, report)
        self.assertEqual(dict(report.by_rule), {"outcomes": 1})


if __name__ == "__main__":
    unittest.main()
