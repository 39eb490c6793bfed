// One chunk's own edits: rule R8 of DESIGN.md from the writer's side. No I/O, no clock: `now` is milliseconds that never
// go backwards.
//
// An edit gets its number when it is first sent; a number is never used twice. `after` is worked out anew at every
// sending: the previous number that is still open and not skipped, or the newest one that is known to be resolved. An edit
// that was cancelled, or that ingest will never take, is skipped: it is not sent again, later ones point before it, and its
// fate is read off the ledger once a later number (or a `settle`) is resolved. Facts come first, conclusions after them, and
// a conclusion is never taken back. It is `client/core/src/outbox.rs` in another language; that one has the full reasons.

/// Numbers that may be unresolved at a time; the 64th is for a `settle` alone.
const WINDOW = 63;
const LEDGER_WINDOW = 64;
/// What ingest takes as one request is 256 KiB of JSON.
const BATCH_CHARS_MAX = 192 * 1024;
/// How often ingest may refuse a `settle` for good before what it would settle is given up as unknown.
const SETTLE_TRIES = 6;
/// How long an explicit outcome may come behind the commit of a later edit. After that its reason is unknown.
const REASON_GRACE_MS = 1000;

const STALL_MS = 3000;
const STALL_MAX_MS = 30_000;
const GAP_MS = 250;
const GAP_MAX_MS = 5000;
const HOLD_MAX_MS = 60_000;
/// After that many resends in vain, only the gateway can tell.
const ASK_AFTER = 3;

/// An own edit, from the user's hand until its outcome.
export class Own {
  /// `command` is the model's JSON, or null for a `settle`, which the user does not know of.
  constructor(command, now) {
    this.command = command;
    this.submittedAt = now;
    this.seq = null;
    /// It goes out with the next request.
    this.isDue = false;
    this.sent = 0;
    /// Transmissions that ingest said are not in the log. What is not answered may be in it.
    this.rejected = 0;
    this.finals = 0;
    this.isCancelled = false;
    /// {code, message}: ingest will never take it.
    this.refused = null;
    /// {is: "committed", version, visibleAt} | {is: "not", reason} | {is: "unknown", why}
    this.fact = null;
  }

  get isSettle() {
    return this.command === null;
  }

  get isSkipped() {
    return this.isCancelled || this.refused !== null;
  }

  get isOpen() {
    return this.seq !== null && this.fact === null;
  }

  /// Whether it belongs into what the user sees.
  get isPredicted() {
    return !this.isSettle && !this.isSkipped && (this.fact === null || this.fact.is === "committed");
  }

  /// The first fact stands; a later one may only add what was not known.
  learn(fact) {
    if (this.fact === null) this.fact = fact;
    else if (fact.is === "committed" && this.fact.is === "committed") this.fact.version ??= fact.version;
    else if (fact.is === "not" && this.fact.is === "not") this.fact.reason ??= fact.reason;
  }

  /// The outcome, where it is certain. `shown` is the version of the replica that the user sees.
  outcome(shown) {
    const { fact } = this;
    if (fact?.is === "committed") return shown >= fact.visibleAt ? { is: "committed", version: fact.version } : null;
    if (fact?.is === "unknown") return { is: "unknown", why: fact.why };
    if (fact?.is === "not") {
      if (fact.reason) return { is: "discarded", why: fact.reason };
      return this.#skippedOutcome() ?? { is: "discarded", why: "not committed; the reason is not known any more" };
    }
    // No transmission is in the log, and none will follow.
    return this.seq !== null && this.sent === this.rejected ? this.#skippedOutcome() : null;
  }

  #skippedOutcome() {
    if (this.refused) return { is: "rejected", why: this.refused.message, code: this.refused.code };
    return this.isCancelled ? { is: "withdrawn" } : null;
  }
}

/// When unresolved edits are sent again: at once when something says so, but not sooner than `gap` after the last time, nor
/// before ingest allows; and after `stall` without progress. Both double as long as nothing moves. Receipts are no progress.
class Pace {
  gap = GAP_MS;
  stall = STALL_MS;
  movedAt = 0;
  resentAt = -Infinity;
  due = Infinity;
  holdUntil = 0;
  inVain = 0;

  progressed(now) {
    this.movedAt = now;
    this.gap = GAP_MS;
    this.stall = STALL_MS;
    this.inVain = 0;
    // What asked for the resend may be older than what made the progress; a real loss stops the progress.
    if (this.due !== Infinity) this.due = Math.max(this.due, now + this.gap);
  }

  want(now) {
    this.due = Math.min(this.due, Math.max(now, this.resentAt + this.gap));
  }

  hold(now, retryAfterMs) {
    const wait = retryAfterMs > 0 ? Math.min(retryAfterMs, HOLD_MAX_MS) : this.gap;
    this.holdUntil = Math.max(this.holdUntil, now + wait);
    this.due = this.holdUntil;
  }

  reconnected(now) {
    this.gap = GAP_MS;
    this.holdUntil = 0;
    this.due = now;
  }

  resent(now) {
    this.resentAt = now;
    this.movedAt = now;
    this.due = Infinity;
    this.gap = Math.min(this.gap * 2, GAP_MAX_MS);
    this.stall = Math.min(this.stall * 2, STALL_MAX_MS);
    this.inVain += 1;
  }

  get resendAt() {
    return Math.max(Math.min(this.due, this.movedAt + this.stall), this.holdUntil);
  }
}

/// All own edits of one chunk that have no outcome yet.
export class Outbox {
  /// In the user's order: first those with a number, by number, then those that wait for one.
  entries = [];
  #nextSeq = 1;
  /// The newest own number that is known to be resolved.
  #resolved = 0;
  /// The newest own number that the stream showed as decided since the last `tracked`.
  #streamSeq = 0;
  /// Whether the stream since the last `tracked` has shown everything: then a number below `#streamSeq` that it did not show
  /// as committed was not committed.
  #isContinuous = false;
  #missedAt = null;
  #expiredFloor = null;
  #pace = new Pace();
  /// The request that is on its way; there is one at a time, because two could overtake each other.
  #inFlight = null;

  /// The user's edits without an outcome.
  get pending() {
    return this.entries.filter((own) => !own.isSettle);
  }

  get hasOpenNumbers() {
    return this.entries.some((own) => own.isOpen);
  }

  // ---- the user ----

  /// The newest edit, if it has not been sent: more cells may still be added to it.
  get unsent() {
    const last = this.entries.at(-1);
    return last && last.seq === null && !last.isSkipped ? last : null;
  }

  submit(command, now) {
    const own = new Own(command, now);
    this.entries.push(own);
    return own;
  }

  /// The user does not want what is not committed. Gives those that end at once; the others end through `conclude`.
  cancelAll() {
    for (const own of this.entries) own.isCancelled ||= !own.isSettle && own.fact === null;
    return this.#take((own) => (own.isCancelled && own.seq === null ? { is: "withdrawn" } : null));
  }

  // ---- ingest ----

  /// What to send now, in order: [{own, seq, after, command}], or null. A batch is answered by `answered`; a batch that is
  /// given out while another one is on its way replaces that.
  takeBatch(now, { canSend, canNumber }) {
    if (!canSend || now < this.#pace.holdUntil) return null;
    const sendable = this.entries.filter((own) => this.#isSendable(own));
    if (sendable.length === 0) {
      this.#pace.due = Infinity;
    } else if (now >= this.#pace.resendAt) {
      for (const own of sendable) own.isDue = true;
      this.#pace.resent(now);
      this.#inFlight = null;
    }
    if (this.#inFlight) return null;
    if (canNumber) this.#numberNew(now);
    this.#settleIfNeeded(now);
    const batch = [];
    let after = this.#resolved;
    let chars = 0;
    for (const own of this.entries.filter((own) => this.#isSendable(own))) {
      if (own.isDue) {
        const item = { own, seq: own.seq, after, command: own.command };
        chars += own.command ? JSON.stringify(own.command).length : 0;
        if (chars > BATCH_CHARS_MAX && batch.length > 0) break;
        batch.push(item);
      }
      after = own.seq;
    }
    if (batch.length === 0) return null;
    for (const { own } of batch) {
      own.isDue = false;
      own.sent += 1;
    }
    this.#inFlight = batch;
    return batch;
  }

  /// Whether edits wait for the answer to a request.
  get isSending() {
    return this.#inFlight !== null;
  }

  /// The answer to a batch, one result for each: {is: "accepted"}, {is: "rejected", isFinal, retryAfterMs, code, message},
  /// or {is: "unknown", retryAfterMs} where nobody can say whether it is in the log.
  answered(batch, results, now) {
    // Its edits went out again meanwhile: what it says is not the last word on any of them.
    if (this.#inFlight !== batch) return;
    this.#inFlight = null;
    batch.forEach(({ own }, i) => {
      const result = results[i];
      if (result.is === "accepted") return;
      if (result.is === "unknown") {
        if (own.fact === null) this.#pace.hold(now, result.retryAfterMs);
        return;
      }
      if (own.fact !== null) return;
      own.rejected += 1;
      if (!result.isFinal) return this.#pace.hold(now, result.retryAfterMs);
      own.finals += 1;
      if (own.isSettle && own.finals < SETTLE_TRIES) return this.#pace.hold(now, 0);
      own.refused = { code: result.code, message: result.message };
      if (own.isSettle) {
        for (const below of this.entries) {
          if (below.isOpen && below.isSkipped && below.seq <= own.seq) {
            below.fact = { is: "unknown", why: "the server refuses to say what became of it" };
          }
        }
      }
      // Later ones that are out point at it.
      this.#pace.want(now);
    });
  }

  // ---- the gateway ----

  /// The stream shows that an own number was decided.
  decided(now, seq, fact) {
    this.#streamSeq = Math.max(this.#streamSeq, seq);
    this.#resolveUpTo(now, seq);
    this.entries.find((own) => own.seq === seq)?.learn(fact);
  }

  outOfOrder(now, seq) {
    if (seq > this.#resolved) this.#pace.want(now);
  }

  sessionExpired(floorMs) {
    this.#expiredFloor = Math.max(this.#expiredFloor ?? 0, floorMs);
  }

  /// All that was decided up to the gateway's position, which is at `version`: {seq, committed_bits} or "expired". From here
  /// on the stream shows the rest.
  tracked(now, resolved, version) {
    this.#isContinuous = true;
    this.#streamSeq = 0;
    this.#missedAt = null;
    this.#expiredFloor = null;
    if (resolved === "expired") {
      // It proves nothing: the writer may have been forgotten after it committed.
      return this.giveUp("the chunk's ledger has forgotten this session");
    }
    this.#resolveUpTo(now, resolved.seq);
    const bits = BigInt(`0x${resolved.committed_bits}`);
    for (const own of this.entries) {
      if (!own.isOpen || own.seq > resolved.seq) continue;
      const age = resolved.seq - own.seq;
      if (age >= LEDGER_WINDOW) own.learn({ is: "unknown", why: "it is beyond what the chunk's ledger remembers" });
      else if ((bits >> BigInt(age)) & 1n) own.learn({ is: "committed", version: null, visibleAt: version });
      else own.learn({ is: "not", reason: null });
    }
    this.#pace.reconnected(now);
  }

  /// The stream leaves something out from here on, until the next `tracked`.
  interrupted() {
    this.#isContinuous = false;
  }

  /// Draws the conclusions that a complete turn allows. Gives the floor for the next session where this one expired.
  closeTurn(now) {
    if (!this.#isContinuous) return null;
    const floor = this.#expiredFloor;
    this.#expiredFloor = null;
    const isOverdue = floor !== null || (this.#missedAt !== null && now >= this.#missedAt + REASON_GRACE_MS);
    let isMissed = false;
    for (const own of this.entries) {
      if (!own.isOpen || own.seq > this.#streamSeq) continue;
      // One that was not skipped has an outcome of its own, which tells the reason.
      if (own.isSkipped || isOverdue) own.fact = { is: "not", reason: null };
      else isMissed = true;
    }
    this.#missedAt = isMissed ? (this.#missedAt ?? now) : null;
    if (floor !== null) this.#expire();
    return floor;
  }

  /// What has an outcome leaves: [[own, outcome], …]. What is committed stays until the replica (at version `shown`, or -1)
  /// has it, so that it never vanishes in between.
  conclude(shown) {
    return this.#take((own) => own.outcome(shown));
  }

  /// What becomes of open numbers is not to be known any more.
  giveUp(why) {
    for (const own of this.entries) if (own.isOpen) own.fact = { is: "unknown", why };
  }

  /// Ends everything.
  abandon(why) {
    this.giveUp(why);
    const ended = this.conclude(Infinity);
    return ended.concat(this.#take(() => ({ is: "rejected", why: `it was never sent: ${why}`, code: "not_sent" })));
  }

  /// A new session: numbers count from 1 again.
  renumber() {
    this.giveUp("the session was lost");
    const ended = this.conclude(Infinity);
    this.#nextSeq = 1;
    this.#resolved = 0;
    this.#streamSeq = 0;
    this.#isContinuous = false;
    this.#missedAt = null;
    this.#inFlight = null;
    this.#pace = new Pace();
    return ended;
  }

  /// Resends do not help any more: another `tracked` may. True once for every three in vain.
  takeStuck() {
    if (this.#pace.inVain < ASK_AFTER) return false;
    this.#pace.inVain = 0;
    return true;
  }

  // ---- within ----

  #take(outcomeOf) {
    const ended = [];
    this.entries = this.entries.filter((own) => {
      const outcome = outcomeOf(own);
      if (outcome && !own.isSettle) ended.push([own, outcome]);
      return !outcome && !(own.isSettle && (own.fact || (own.isSkipped && own.sent === own.rejected)));
    });
    return ended;
  }

  /// Whether sending it may help.
  #isSendable(own) {
    return own.isOpen && !own.isSkipped && own.seq > this.#resolved;
  }

  #resolveUpTo(now, seq) {
    if (seq <= this.#resolved) return;
    this.#resolved = seq;
    this.#pace.progressed(now);
  }

  /// newest sent − oldest unresolved < window, also with the next number.
  #hasRoom(window) {
    const oldest = this.entries.find((own) => own.isOpen);
    return !oldest || this.#nextSeq - oldest.seq < window;
  }

  #number(own, now) {
    if (!this.entries.some((other) => this.#isSendable(other))) this.#pace.movedAt = now;
    own.seq = this.#nextSeq;
    own.isDue = true;
    this.#nextSeq += 1;
  }

  #numberNew(now) {
    for (const own of this.entries) {
      if (own.seq === null && this.#hasRoom(WINDOW)) this.#number(own, now);
    }
  }

  /// A skipped number that no other number above it will resolve.
  #settleIfNeeded(now) {
    const newest = (of) => Math.max(0, ...this.entries.filter((own) => own.isOpen && of(own)).map((own) => own.seq));
    const skipped = newest((own) => own.isSkipped && own.seq > this.#resolved);
    if (skipped <= newest((own) => !own.isSkipped) || !this.#hasRoom(LEDGER_WINDOW)) return;
    const settle = new Own(null, now);
    const at = this.entries.findIndex((own) => own.seq === null);
    this.entries.splice(at < 0 ? this.entries.length : at, 0, settle);
    this.#number(settle, now);
  }

  /// The ledger does not know the writer and never will: no open number is committed. They wait for a new session's numbers.
  #expire() {
    for (const own of this.entries) {
      if (!own.isOpen) continue;
      if (own.isSkipped || own.isSettle) own.fact = { is: "not", reason: null };
      else Object.assign(own, { seq: null, isDue: false, sent: 0, rejected: 0, finals: 0 });
    }
    this.#inFlight = null;
    this.#pace.due = Infinity;
  }
}
