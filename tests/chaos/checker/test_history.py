"""The checker's tests about a lost history: `updates` was made anew, and a new history builds on stored states."""

import unittest

from messages import log
from synthetic import CANVAS, Owner
from test_checker import Case, run

HISTORY = bytes(range(1, 17))


class Lost(Case):
    def setUp(self):
        super().setUp()
        self.lost = self.logs.write(self.folder / "lost")[1]
        # No chunk was stored, so the new owners decide every command again.
        for partition in self.logs.updates.values():
            partition.clear()
        self.logs.finals = []
        for partition in self.logs.updates:
            owner = Owner(self.logs, partition, 9)
            self.logs.updates[partition][0][1].fence.history = HISTORY
            owner.decide()
            for name, state in owner.states.items():
                state_now = {"version": state.version, "hash": state.hash().hex()}
                self.logs.finals.append({"who": "gateway", "chunk": name} | state_now)

    def check_lost(self):
        return run([*self.logs.write(self.folder / "now"), "--complete", "--lost", self.lost])

    def test_destroyed_commits_are_named_by_history_and_are_no_violation(self):
        code, told = self.check_lost()
        self.assertEqual((code, told["violations"]), (0, []))
        canvas = next(chunk for chunk in told["destroyed"] if chunk["chunk"] == CANVAS)
        committed = [line for line in self.logs.outcomes if line["chunk"] == CANVAS and line["outcome"] == "committed"]
        self.assertEqual((canvas["history"], canvas["first"], canvas["outcomes"]), ("", 1, len(committed)))
        self.assertGreaterEqual(told["destroyed_commits"], len(committed))

    def test_an_outcome_is_compared_with_its_own_history(self):
        line = self.line("committed")
        self.logs.outcomes.append(line | {"history": HISTORY.hex(), "seq": 4_000, "is_receipted": False})
        code, told = self.check_lost()
        self.assertEqual((code, told["violations_by_rule"]), (1, {"outcomes": 1}))

    def test_an_outcome_of_a_history_that_no_log_has_is_a_violation(self):
        self.line("committed")["history"] = "ff" * 16
        code, told = self.check_lost()
        self.assertEqual((code, told["violations_by_rule"]), (1, {"outcomes": 1}))

    def test_r5_a_new_history_begins_with_a_state_of_the_lost_one(self):
        partition = self.logs.world.place(CANVAS).partition
        for _, record in self.logs.updates[partition]:
            if record.decisions.chunk_id == CANVAS and record.decisions.updates:
                updates = log.Updates.FromString(record.decisions.updates)
                updates.first_version += 1
                record.decisions.updates = updates.SerializeToString()
        self.logs.finals = [line for line in self.logs.finals if line["chunk"] != CANVAS]
        code, told = self.check_lost()
        self.assertEqual(code, 1)
        self.assertIn("no stored state at version 1", [v["problem"] for v in told["violations"] if v["rule"] == "R5"][0])


if __name__ == "__main__":
    unittest.main()
