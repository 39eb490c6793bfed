// One grid chunk: the confirmed cells at a version, the own edits on top, and where it stands with the gateway.
//
// It takes the events of the stream (`gateway/src/events.rs`) and keeps R3 (dense versions), R8 (`outbox.js`), R10 (equal
// hashes at equal versions) and R12 (never back in time) from the reader's side. It has no BLAKE3, so it compares the hashes
// that the server names for the versions it is at; it does not work them out. No I/O: it tells `host` what it needs.

import { Outbox } from "./outbox.js";

/// Reloads within a minute; the next one is an error.
const RELOADS_MAX = 3;
const RELOAD_WINDOW_MS = 60_000;
/// Until a chunk that the gateway cannot load now is asked for again.
const UNAVAILABLE_RETRY_MS = 2000;
/// Edits that may wait in one chunk.
const PENDING_MAX = 4096;
/// Cells of one `set`.
const SET_CELLS_MAX = 1024;

/// The host has `changed(chunk, cells | null)` (null: all cells), `concluded(chunk, own, outcome)`, `reopen(why, afterMs)`
/// and `sessionExpired(floorMs)`.
export class Chunk {
  outbox = new Outbox();
  /// Confirmed: Uint16Array, x fastest; null until the first state came.
  cells = null;
  version = 0;
  hash = "";
  /// loading | live | lagging | offline | idle (not looked at) | reloading | rejected | failed
  state = "loading";
  /// In words, where the state needs some.
  why = "";
  lastOutcome = null;
  /// As far as is known, the cells are what the log says.
  #isHealthy = false;
  /// `tracked` came on this stream, and no `lagging` since.
  #isFollowed = false;
  /// Where the gateway stood at the last `tracked`.
  #target = 0;
  #reloads = [];
  #predicted = null;

  constructor(id, [x, y], [width, height], host) {
    Object.assign(this, { id, x, y, width, height, host });
  }

  // ---- reading ----

  /// For `have`: what a new stream need not send again.
  get have() {
    return this.#isHealthy ? `${this.version}:${this.hash}` : "";
  }

  get canSend() {
    return this.#isFollowed;
  }

  get canPaint() {
    return this.cells !== null && this.state !== "rejected" && this.state !== "failed";
  }

  /// Own uncommitted cells, decided again in order on top of the confirmed ones: Map(cell → value).
  get predicted() {
    if (this.#predicted) return this.#predicted;
    this.#predicted = new Map();
    for (const own of this.outbox.entries) {
      if (!own.isPredicted) continue;
      const cells = cellsOf(own.command, this.width);
      const holds = ({ at, guard }) => guard === undefined || (this.#predicted.get(at) ?? this.cells?.[at]) === guard;
      if (cells.every(holds)) for (const { at, value } of cells) this.#predicted.set(at, value);
    }
    return this.#predicted;
  }

  /// What the user sees in a cell.
  seen(cell) {
    return this.predicted.get(cell) ?? this.cells?.[cell];
  }

  // ---- the user ----

  /// Paints cells: shown at once, sent when there is room. `isGuarded`: only if each is still what is seen now.
  paint(cells, value, isGuarded, now) {
    if (!this.canPaint || this.outbox.entries.length >= PENDING_MAX) return false;
    const painted = [...new Set(cells)].filter((cell) => this.seen(cell) !== value);
    for (let from = 0; from < painted.length; from += SET_CELLS_MAX) {
      this.#set(painted.slice(from, from + SET_CELLS_MAX), value, isGuarded, now);
    }
    this.#forecast(painted);
    return true;
  }

  #set(cells, value, isGuarded, now) {
    const made = cells.map((at) => {
      const cell = { x: at % this.width, y: Math.floor(at / this.width), value };
      return isGuarded ? { ...cell, guard: this.seen(at) } : cell;
    });
    // What has not left yet takes more cells: one command for many. Guards speak of the state before their own command, so
    // guarded ones stay apart.
    const open = isGuarded ? null : this.outbox.unsent?.command.set;
    const canJoin = open && open.length + made.length <= SET_CELLS_MAX && open[0].guard === undefined;
    if (!canJoin) this.outbox.submit({ set: made }, now);
    else {
      const twice = new Set(cells);
      const kept = open.filter(({ x, y }) => !twice.has(x + y * this.width));
      open.splice(0, open.length, ...kept, ...made);
    }
  }

  /// Takes back what is not committed.
  cancel() {
    this.#tell(this.outbox.cancelAll());
    this.#forecast(null);
  }

  // ---- the stream ----

  /// A new stream was asked for; nothing of the old one comes any more.
  unfollow(state, why = "") {
    this.#isFollowed = false;
    this.outbox.interrupted();
    if (this.state !== "rejected" && this.state !== "failed") this.#stand(this.cells ? state : "loading", why);
  }

  /// Frees what can be loaded again. The numbers stay: they are not used again in this session.
  forget() {
    this.cells = null;
    this.#isHealthy = false;
    this.#predicted = null;
    this.version = 0;
    this.hash = "";
    this.unfollow("loading");
  }

  /// The user looks at it again: what was refused is asked for once more.
  wantAgain() {
    if (this.state === "rejected" || this.state === "failed") {
      this.#reloads = [];
      this.#stand("loading");
    }
  }

  take(event, data, writer, now) {
    switch (event) {
      case "tracked":
        return this.#tracked(data, now);
      case "chunk":
        return this.#chunk(data, now);
      case "updates":
        return this.#updates(data, writer, now);
      case "outcomes":
        return this.#outcomes(data, now);
      case "beacon":
        return this.#beacon(data, now);
      case "lagging":
        return this.unfollow("lagging", "the connection is slow: updates are skipped until it has caught up");
      case "rejected":
        return this.#rejected(data);
    }
  }

  /// The end of a turn: draws conclusions.
  finish(now) {
    const floor = this.outbox.closeTurn(now);
    const isOver = this.state === "rejected" || this.state === "failed";
    this.#tell(this.outbox.conclude(isOver ? Infinity : this.#isHealthy ? this.version : -1));
    if (floor !== null) this.host.sessionExpired(floor);
  }

  /// A new session: what was numbered in the old one has no other way to be known.
  renumber() {
    this.#tell(this.outbox.renumber());
  }

  #tracked({ version, hash, resolved }, now) {
    this.#isFollowed = true;
    this.#target = version;
    this.outbox.tracked(now, resolved, version);
    this.#compare(version, hash, now);
    this.#settle();
  }

  #chunk({ version, hash, model, content }, now) {
    if (!this.#isFollowed) return;
    if (this.#isHealthy && version <= this.version) {
      this.#compare(version, hash, now);
      return this.#settle();
    }
    const count = this.width * this.height;
    if (model !== "grid" || content?.cells?.length !== count) return this.#fail(`its content is no grid of ${count} cells`);
    Object.assign(this, { cells: Uint16Array.from(content.cells), version, hash });
    this.#isHealthy = true;
    this.#forecast(null);
    this.#settle();
  }

  #updates({ first_version: first, entries, hash }, writer, now) {
    entries.forEach((entry, i) => {
      const version = first + i;
      if (entry.writer === writer) this.outbox.decided(now, entry.seq, { is: "committed", version, visibleAt: version });
    });
    if (!this.#isFollowed) return;
    const last = first + entries.length - 1;
    if (!this.#isHealthy) return this.#reload("updates came before the state that they belong to", now);
    if (last <= this.version) return;
    if (first > this.version + 1) return this.#reload(`versions ${this.version + 1} to ${first - 1} did not come`, now);
    const changed = [];
    for (const { effect } of entries.slice(this.version + 1 - first)) {
      for (const { at, value } of cellsOf(effect, this.width)) {
        this.cells[at] = value;
        changed.push(at);
      }
    }
    this.version = last;
    this.hash = hash;
    this.#forecast(changed);
    this.#settle();
  }

  #outcomes({ outcomes }, now) {
    for (const { seq, outcome } of outcomes) {
      if (outcome?.discarded) this.outbox.decided(now, seq, { is: "not", reason: inWords(outcome.discarded) });
      else if (outcome?.out_of_order) this.outbox.outOfOrder(now, seq);
      else if (outcome?.session_expired) this.outbox.sessionExpired(outcome.session_expired.floor_ms);
    }
  }

  /// A beacon names the version last sent on this stream: a higher one than ours is a loss.
  #beacon({ version, hash }, now) {
    if (!this.#isFollowed || !this.#isHealthy) return;
    if (version > this.version) return this.#reload(`the server sent version ${version}, this page has ${this.version}`, now);
    this.#compare(version, hash, now);
  }

  #rejected({ code, message }) {
    const name = code.replace("TRACK_REJECT_CODE_", "").toLowerCase();
    if (name === "unavailable") {
      this.unfollow("lagging", message);
      return this.host.reopen(message, UNAVAILABLE_RETRY_MS);
    }
    this.#end("rejected", message);
  }

  /// R10.
  #compare(version, hash, now) {
    if (this.#isHealthy && version === this.version && hash !== this.hash) {
      this.#reload(`version ${version} has the hash ${hash.slice(0, 8)}…, but this page had ${this.hash.slice(0, 8)}…`, now);
    }
  }

  #settle() {
    if (this.#isFollowed && this.#isHealthy && this.version >= this.#target) this.#stand("live");
  }

  #reload(why, now) {
    this.#isHealthy = false;
    this.#isFollowed = false;
    this.outbox.interrupted();
    this.#reloads = this.#reloads.filter((at) => now < at + RELOAD_WINDOW_MS);
    if (this.#reloads.length >= RELOADS_MAX) {
      return this.#fail(`reloaded ${RELOADS_MAX} times within a minute, and again: ${why}`);
    }
    this.#reloads.push(now);
    this.#stand("reloading", why);
    this.host.reopen(`${this.id}: ${why}`);
  }

  #fail(why) {
    this.#end("failed", why);
  }

  #end(state, why) {
    this.#isFollowed = false;
    this.#isHealthy = false;
    this.cells = null;
    this.#stand(state, why);
    this.#tell(this.outbox.abandon(why));
    this.#forecast(null);
  }

  #stand(state, why = "") {
    this.state = state;
    this.why = why;
  }

  #forecast(cells) {
    this.#predicted = null;
    this.host.changed(this, cells);
  }

  #tell(ended) {
    if (ended.length > 0) this.#predicted = null;
    for (const [own, outcome] of ended) {
      this.lastOutcome = outcome;
      this.host.concluded(this, own, outcome);
    }
  }
}

/// The cells that a grid command or effect sets: [{at, value, guard}].
export function cellsOf(command, width) {
  if (command?.set) return command.set.map(({ x, y, value, guard }) => ({ at: x + y * width, value, guard }));
  const { x = 0, y = 0, width: w = 0, height: h = 0, value, guard } = command?.fill ?? {};
  const cells = [];
  for (let row = y; row < y + h; row += 1) {
    for (let column = x; column < x + w; column += 1) cells.push({ at: column + row * width, value, guard });
  }
  return cells;
}

function inWords({ reason, detail }) {
  const name = reason.replace("DISCARD_REASON_", "").toLowerCase().replaceAll("_", " ");
  return detail ? `${name}: ${detail}` : name;
}
