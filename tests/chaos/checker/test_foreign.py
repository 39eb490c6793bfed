"""The checker's tests about other programs: forged records, and a replayer with a copy of the store."""

import json
import unittest

from messages import log
from store import name_of
from synthetic import CANVAS, writer
from test_checker import Case


class Forged(Case):
    """Records of a program that is no member of the world. The checker finds them and no others."""

    def setUp(self):
        super().setUp()
        for partition in self.logs.updates.values():
            for _, record in partition:
                if record.WhichOneof("body") == "fence":
                    record.fence.owner += "/0123456789abcdef"
        self.partition = self.logs.world.place(CANVAS).partition
        self.forged = []
        # No client of the small world has sent these commands.
        for offset, (_, value) in enumerate(self.logs.commands[self.partition]):
            if value in self.logs.dead:
                self.name("commands", offset)
        self.known = len(self.forged)

    def name(self, topic, offset):
        """Names a record in the file of forged records."""
        place = {"topic": f"small.2.{topic}", "partition": self.partition, "offset": offset}
        self.forged.append(place | {"what": "a forged record"})

    def forge(self, topic, record):
        """Appends a record to the partition of CANVAS, and names it in the file of forged records."""
        records = (self.logs.updates if topic == "updates" else self.logs.commands)[self.partition]
        records.append([b"canvas/0/0", record])
        self.name(topic, len(records) - 1)

    def check_forged(self):
        path = self.folder / "forged.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in self.forged))
        # The writers of the crowded chunk have no outcomes.
        self.logs.outcomes.append(self.line("rejected") | {"author": "p"})
        return self.check("--complete", "--forged", str(path), "--members", "replayer-1", "replayer-3")

    def stranger(self, **body):
        epoch = self.logs.valid(self.partition)[-1][1].epoch
        return log.UpdatesRecord(epoch=epoch - 1, n=1, **body)

    def impossible(self):
        mark = log.Mark(source_offset=1 << 40, writer=writer("ghost"), seq=1)
        mark.committed.SetInParent()
        return self.stranger(decisions=log.Decisions(chunk_id=CANVAS, marks=[mark]))

    def test_forged_records_that_do_not_count_are_found_and_are_no_violation(self):
        far = self.impossible()
        far.epoch = 1 << 60
        fence = self.stranger(fence=log.Fence(owner="forger/0123456789abcdef"))
        fence.epoch, fence.n = fence.epoch + 2, 0
        for record in (self.impossible(), far, fence):
            self.forge("updates", record)
        code, told = self.check_forged()
        self.assertEqual((code, told["violations"]), (0, []))
        end = len(self.logs.updates[self.partition])
        found = [found["offset"] for found in told["forged"] if found["topic"].endswith("updates")]
        self.assertEqual(found, [end - 3, end - 2, end - 1])

    def test_a_forged_command_is_found(self):
        self.logs.dead.append(b"\xff rubbish")
        self.forge("commands", b"\xff rubbish")
        code, told = self.check_forged()
        self.assertEqual((code, len(told["forged"])), (0, self.known + 1), told["violations"])

    def test_a_foreign_record_that_nobody_has_forged_is_a_violation(self):
        self.logs.updates[self.partition].append([b"canvas/0/0", self.impossible()])
        code, told = self.check_forged()
        self.assertEqual((code, told["violations_by_rule"]), (1, {"foreign": 1}))

    def test_a_forged_record_that_looks_like_a_members_is_a_violation(self):
        self.forge("updates", self.stranger(decisions=self.logs.valid(self.partition)[0][1].decisions))
        self.logs.updates[self.partition][-1][1].epoch = 1
        code, told = self.check_forged()
        self.assertEqual((code, told["violations_by_rule"]), (1, {"foreign": 1}))


class Copies(Case):
    def test_r6_a_snapshot_of_a_replayer_with_a_copy_of_the_store_is_in_the_copy(self):
        partition, at, ref = self.find_ref()
        name = name_of(ref.hash)
        epoch = self.logs.updates[partition][at][1].epoch
        for _, record in self.logs.updates[partition]:
            if record.WhichOneof("body") == "fence" and record.epoch == epoch:
                record.fence.owner = "stranger-1/0123456789abcdef"
        copy = self.folder / "stranger-1" / name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(self.logs.objects.pop(name))
        code, told = self.check("--complete", "--copies", str(self.folder / "stranger-1"))
        self.assertEqual((code, told["snapshots_of_copies"]), (0, 1), told["violations"])
        self.folder /= "again"
        self.told("R6", saying="not stored")


if __name__ == "__main__":
    unittest.main()
