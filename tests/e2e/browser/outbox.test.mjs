// The rules that the page keeps, without a browser: `node --test`.
//
// A small world of one chunk: a ledger as DESIGN.md has it (R8), a network that loses, doubles and delays requests and loses
// answers, a gateway whose stream breaks. One seed gives one run; a failure names it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chunk, cellsOf } from "../../../cli/page/chunk.js";
import { Outbox } from "../../../cli/page/outbox.js";

/// mulberry32
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/// The replayer's side of one writer.
class Ledger {
  newest = 0;
  bits = 0n;
  version = 0;
  /// Commands in the order in which they were committed.
  committed = [];

  /// What the author is told: ["committed", version] | ["discarded"] | ["out_of_order"] | null.
  decide({ seq, after, command }) {
    if (seq <= this.newest) return null;
    if (after > this.newest) return ["out_of_order"];
    const isCommitted = command !== null && !command.isBad;
    this.bits = ((this.bits << BigInt(seq - this.newest)) | (isCommitted ? 1n : 0n)) & 0xffff_ffff_ffff_ffffn;
    this.newest = seq;
    if (!isCommitted) return ["discarded"];
    this.version += 1;
    this.committed.push(command.id);
    return ["committed", this.version];
  }

  get resolved() {
    return { seq: this.newest, committed_bits: this.bits.toString(16).padStart(16, "0") };
  }
}

/// Runs one seed to its end; gives the outcome of each command by its id.
function run(seed, { commands = 120, faults = 0.35 } = {}) {
  const chance = random(seed);
  const outbox = new Outbox();
  const ledger = new Ledger();
  const outcomes = new Map();
  /// What is under way: [at, deliver].
  let underWay = [];
  let now = 0;
  let submitted = 0;
  let isStreaming = false;
  let openAt = 0;
  const later = (ms, deliver) => underWay.push([now + 1 + Math.floor(chance() * ms), deliver]);
  const conclude = () => {
    outbox.closeTurn(now);
    for (const [own, outcome] of outbox.conclude(ledger.version)) {
      const { id } = own.command;
      assert.ok(!outcomes.has(id), `command ${id} has two outcomes`);
      assert.ok(outcome.is !== "discarded" || own.command.isBad, `command ${id} was lost behind a later one`);
      outcomes.set(id, outcome.is);
    }
  };
  const hear = (seq, told) => {
    if (!told || !isStreaming) return;
    if (told[0] === "committed") outbox.decided(now, seq, { is: "committed", version: told[1], visibleAt: told[1] });
    else if (told[0] === "discarded") outbox.decided(now, seq, { is: "not", reason: "conflict" });
    else outbox.outOfOrder(now, seq);
  };
  const post = (batch) => {
    const items = batch.map(({ seq, after, command }) => ({ seq, after, command }));
    const isCalm = submitted === commands && now > 60_000;
    const fate = isCalm ? 1 : chance() / faults;
    const results = items.map(({ command }) => {
      if (command?.isRefused) return { is: "rejected", isFinal: true, retryAfterMs: 0, code: "bad_command", message: "no" };
      if (!isCalm && chance() < 0.05) return { is: "rejected", isFinal: false, retryAfterMs: 200, code: "rate_limited", message: "slower" };
      return { is: "accepted" };
    });
    const arrive = () => items.forEach((item, i) => results[i].is === "accepted" && hear(item.seq, ledger.decide(item)));
    const lost = items.map(() => ({ is: "unknown", retryAfterMs: 0 }));
    if (fate < 0.3) return later(50, () => outbox.answered(batch, lost, now));
    later(40, arrive);
    // A request that a proxy sent twice, or that was held up for long.
    if (fate < 0.5) later(8000, arrive);
    later(60, () => outbox.answered(batch, fate < 0.8 ? lost : results, now));
  };
  for (; now < 400_000; now += 10) {
    if (submitted < commands && chance() < 0.2) {
      submitted += 1;
      const kind = chance();
      outbox.submit({ id: submitted, isBad: kind < 0.1, isRefused: kind > 0.93 }, now);
    }
    if (chance() < 0.003) {
      for (const [own, outcome] of outbox.cancelAll()) outcomes.set(own.command.id, outcome.is);
    }
    if (isStreaming && now < 60_000 && chance() < 0.004) {
      isStreaming = false;
      outbox.interrupted();
      openAt = now + 200 + Math.floor(chance() * 2000);
    }
    if (!isStreaming && now >= openAt) {
      isStreaming = true;
      outbox.tracked(now, ledger.resolved, ledger.version);
    }
    const due = underWay.filter(([at]) => at <= now);
    underWay = underWay.filter(([at]) => at > now);
    for (const [, deliver] of due) deliver();
    conclude();
    const batch = outbox.takeBatch(now, { canSend: isStreaming, canNumber: true });
    const open = outbox.entries.filter((own) => own.isOpen).map((own) => own.seq);
    assert.ok(open.length === 0 || Math.max(...open) - Math.min(...open) < 64, "the window holds");
    if (batch) post(batch);
    if (outbox.takeStuck()) outbox.tracked(now, ledger.resolved, ledger.version);
    if (submitted === commands && outbox.entries.length === 0 && underWay.length === 0) break;
  }
  assert.equal(outbox.entries.length, 0, `something never ended: ${JSON.stringify(outbox.entries.slice(0, 3))}`);
  return { outcomes, ledger, submitted };
}

test("r8: every command ends once, as the ledger has it, at most once and in order", () => {
  const seen = {};
  for (let seed = 1; seed <= 300; seed += 1) {
    try {
      const { outcomes, ledger, submitted } = run(seed);
      assert.equal(outcomes.size, submitted);
      const sorted = ledger.committed.toSorted((one, other) => one - other);
      assert.deepEqual(ledger.committed, sorted, "committed in the user's order");
      assert.equal(new Set(ledger.committed).size, ledger.committed.length, "nothing is committed twice");
      const told = [...outcomes].filter(([, is]) => is === "committed").map(([id]) => id);
      assert.deepEqual(new Set(told), new Set(ledger.committed), "committed is said of what is committed, and of nothing else");
      for (const is of outcomes.values()) seen[is] = (seen[is] ?? 0) + 1;
    } catch (error) {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
    }
  }
  for (const is of ["committed", "discarded", "rejected", "withdrawn"]) assert.ok(seen[is] > 0, `no run ended as ${is}`);
  assert.equal(seen.unknown, undefined, "no ledger was lost, so nothing is unknown");
});

test("without faults everything goes out in order, once", () => {
  const { outcomes } = run(7, { faults: 1e-9 });
  assert.ok([...outcomes.values()].every((is) => is !== "unknown"));
});

test("at most 63 numbers are open; the others wait without one", () => {
  const outbox = new Outbox();
  outbox.tracked(0, { seq: 0, committed_bits: "0".repeat(16) }, 0);
  for (let id = 1; id <= 100; id += 1) outbox.submit({ id }, 0);
  const batch = outbox.takeBatch(0, { canSend: true, canNumber: true });
  assert.deepEqual(batch.map(({ seq, after }) => [seq, after]), Array.from({ length: 63 }, (_, i) => [i + 1, i]));
  assert.equal(outbox.takeBatch(1, { canSend: true, canNumber: true }), null, "one request at a time");
  outbox.answered(batch, batch.map(() => ({ is: "accepted" })), 5);
  assert.equal(outbox.takeBatch(6, { canSend: true, canNumber: true }), null, "a receipt makes no room");
  outbox.decided(10, 1, { is: "committed", version: 1, visibleAt: 1 });
  outbox.conclude(1);
  const next = outbox.takeBatch(11, { canSend: true, canNumber: true });
  assert.deepEqual(next.map(({ seq, after }) => [seq, after]), [[64, 63]]);
});

test("without progress everything open is sent again from the oldest, with the same numbers", () => {
  const outbox = new Outbox();
  outbox.tracked(0, { seq: 0, committed_bits: "0".repeat(16) }, 0);
  for (const id of [1, 2, 3]) outbox.submit({ id }, 0);
  const go = { canSend: true, canNumber: true };
  const batch = outbox.takeBatch(0, go);
  outbox.answered(batch, batch.map(() => ({ is: "accepted" })), 5);
  outbox.decided(10, 1, { is: "committed", version: 1, visibleAt: 1 });
  outbox.conclude(1);
  assert.equal(outbox.takeBatch(3009, go), null);
  assert.deepEqual(outbox.takeBatch(3010, go).map(({ seq, after }) => [seq, after]), [[2, 1], [3, 2]]);
});

test("a final rejection is skipped: later ones point before it", () => {
  const outbox = new Outbox();
  outbox.tracked(0, { seq: 0, committed_bits: "0".repeat(16) }, 0);
  for (const id of [1, 2, 3]) outbox.submit({ id }, 0);
  const go = { canSend: true, canNumber: true };
  const batch = outbox.takeBatch(0, go);
  const no = { is: "rejected", isFinal: true, retryAfterMs: 0, code: "bad_command", message: "no" };
  outbox.answered(batch, [{ is: "accepted" }, no, { is: "accepted" }], 5);
  assert.deepEqual(outbox.conclude(0).map(([own, { is }]) => [own.command.id, is]), [[2, "rejected"]]);
  assert.deepEqual(outbox.takeBatch(5, go).map(({ seq, after }) => [seq, after]), [[1, 0], [3, 1]]);
});

test("a ledger that has forgotten the session proves nothing: unknown, and never sent again", () => {
  const outbox = new Outbox();
  outbox.tracked(0, { seq: 0, committed_bits: "0".repeat(16) }, 0);
  outbox.submit({ id: 1 }, 0);
  outbox.takeBatch(0, { canSend: true, canNumber: true });
  outbox.interrupted();
  outbox.tracked(50, "expired", 4);
  outbox.closeTurn(50);
  assert.deepEqual(outbox.conclude(4).map(([, { is }]) => is), ["unknown"]);
  assert.equal(outbox.takeBatch(9000, { canSend: true, canNumber: true }), null);
});

// ---- the chunk ----

function chunk() {
  const seen = { reopened: [], concluded: [] };
  const host = {
    changed() {},
    concluded: (_, own, outcome) => seen.concluded.push(outcome.is),
    reopen: (why) => seen.reopened.push(why),
    sessionExpired() {},
  };
  const made = new Chunk("canvas/0/0", [0, 0], [4, 4], host);
  const resolved = { seq: 0, committed_bits: "0".repeat(16) };
  made.take("tracked", { version: 3, hash: "c3", resolved }, "me", 0);
  made.take("chunk", { version: 3, hash: "c3", model: "grid", content: { cells: new Array(16).fill(0) } }, "me", 0);
  return [made, seen];
}

const set = (x, y, value, guard) => ({ set: [{ x, y, z: 0, value, ...(guard === undefined ? {} : { guard }) }] });
const updates = (first, hash, ...effects) => ({ first_version: first, hash, entries: effects.map((effect) => ({ writer: "you", seq: 1, effect })) });

test("r3: updates are folded in order, those that are had are skipped, a gap is loaded again", () => {
  const [made, seen] = chunk();
  assert.equal(made.state, "live");
  made.take("updates", updates(4, "c5", set(1, 0, 7), { fill: { x: 2, y: 2, z: 0, width: 2, height: 2, depth: 1, value: 9 } }), "me", 1);
  assert.deepEqual([made.version, made.hash, made.cells[1], made.cells[10], made.cells[15]], [5, "c5", 7, 9, 9]);
  made.take("updates", updates(5, "c6", set(1, 0, 1), set(0, 0, 2)), "me", 2);
  assert.deepEqual([made.version, made.cells[0], made.cells[1]], [6, 2, 7]);
  made.take("updates", updates(8, "c8", set(0, 0, 3)), "me", 3);
  assert.deepEqual([made.state, made.have, seen.reopened.length], ["reloading", "", 1]);
});

test("r10, r12: another hash or a lost version is loaded again, an older state is not taken", () => {
  const resolved = { seq: 0, committed_bits: "0".repeat(16) };
  for (const [event, data] of [
    ["beacon", { version: 3, hash: "d3" }],
    ["beacon", { version: 4, hash: "c4" }],
    ["tracked", { version: 3, hash: "d3", resolved }],
  ]) {
    const [made, seen] = chunk();
    made.take(event, data, "me", 1);
    assert.deepEqual([made.state, seen.reopened.length], ["reloading", 1], `${event} ${data.version}`);
  }
  const [made, seen] = chunk();
  made.take("chunk", { version: 2, hash: "c2", model: "grid", content: { cells: new Array(16).fill(5) } }, "me", 1);
  made.take("beacon", { version: 2, hash: "d2" }, "me", 1);
  assert.deepEqual([made.version, made.cells[0], seen.reopened.length], [3, 0, 0]);
  for (let i = 0; i < 4; i += 1) {
    made.take("tracked", { version: 3, hash: "c3", resolved }, "me", 2 + i);
    made.take("chunk", { version: 3, hash: "c3", model: "grid", content: { cells: new Array(16).fill(0) } }, "me", 2 + i);
    made.take("beacon", { version: 9, hash: "c9" }, "me", 2 + i);
  }
  assert.deepEqual([made.state, seen.reopened.length], ["failed", 3], "three reloads in a minute, then it stops");
});

test("own cells are shown at once, and a guard is decided again at every change", () => {
  const [made, seen] = chunk();
  made.paint([0, 1], 5, false, 0);
  made.paint([2], 6, true, 0);
  assert.deepEqual([...made.predicted], [[0, 5], [1, 5], [2, 6]]);
  assert.equal(made.cells[0], 0, "the confirmed cells are as they were");
  made.take("updates", updates(4, "c4", set(2, 0, 8)), "me", 1);
  assert.deepEqual([...made.predicted], [[0, 5], [1, 5]], "the guard of cell 2 does not hold any more");
  made.cancel();
  assert.deepEqual([made.predicted.size, seen.concluded], [0, ["withdrawn", "withdrawn"]]);
});

test("cells of sets and fills", () => {
  assert.deepEqual(cellsOf(set(1, 2, 3, 4), 8), [{ at: 17, value: 3, guard: 4 }]);
  assert.deepEqual(cellsOf({ fill: { x: 6, y: 1, width: 2, height: 2, value: 1 } }, 8).map(({ at }) => at), [14, 15, 22, 23]);
  assert.deepEqual(cellsOf(null, 8), []);
});
