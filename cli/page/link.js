// The page's line to the server: the world, a session, one stream of events for all chunks that are looked at, and one
// request at a time per chunk for own edits.
//
// One stream, because a browser opens six connections to a host at most. `fetch` instead of EventSource, because that hides
// from the page what the server says about a refusal, and puts the token into the URL. A stream that ends is opened again
// with `have` for each chunk, so nothing is sent twice and nothing is missed.

import { Chunk } from "./chunk.js";

/// Chunks of one stream: the server's limit.
const CHUNKS_MAX = 64;
/// Chunks whose cells are kept although nobody looks at them.
const KEPT_MAX = 256;
/// A beacon or a comment comes far more often than this; without any, the stream is dead.
const SILENCE_MAX_MS = 25_000;
/// The server itself gives up after 12 s.
const POST_TIMEOUT_MS = 15_000;
const TICK_MS = 100;
const BACKOFF_MS = 400;
const BACKOFF_MAX_MS = 8000;
/// Close codes of schemas/src/close.rs.
const CLOSED_BEHIND = 4002;
const CLOSED_TOKEN = 4502;

/// A refusal by the server, in its own words (RFC 9457).
export class Problem extends Error {
  constructor({ status, code, detail, retryAfterMs = 0, retry = null }) {
    super(detail);
    Object.assign(this, { status, code, retryAfterMs, retry });
  }

  static async of(response) {
    const body = await response.json().catch(() => ({}));
    return Problem.from({ ...body, status: response.status });
  }

  static from({ type = "", status = 0, detail, retry = null, retry_after_ms: retryAfterMs = 0 }) {
    const code = type.startsWith("urn:driftless:problem:") ? type.slice(22) : "";
    return new Problem({ status, code, detail: detail ?? `the server answered ${status}`, retry, retryAfterMs });
  }
}

/// The host has `status(link)`, `changed(chunk, cells | null)` and `concluded(chunk, own, outcome)`.
export class Link {
  /// {is: "connecting" | "live" | "offline" | "token" | "reset", why, retryAt}
  status = { is: "connecting", why: "" };
  /// {since, why}: own edits cannot be sent, although the stream is open.
  trouble = null;
  world = null;
  family = null;
  session = null;
  chunks = new Map();
  #writer = null;
  #wanted = [];
  /// Chunks of the stream that is open.
  #followed = new Set();
  #stream = null;
  #posts = new Map();
  #wake = () => {};
  #failures = 0;
  #behind = 0;
  #reopenTimer = null;
  #sessionAfterMs = 0;
  #isEndingSession = false;
  #touched = new Set();

  constructor(base, token, familyName, host) {
    Object.assign(this, { base, token, familyName, host });
  }

  /// Runs until the page is closed.
  start() {
    setInterval(() => this.#tick(), TICK_MS);
    addEventListener("offline", () => this.#stream?.abort("offline"));
    addEventListener("online", () => this.retryNow());
    this.#run();
  }

  // ---- the user ----

  /// The chunks to follow, the most important first.
  want(ids) {
    const before = new Set(this.#wanted);
    this.#wanted = ids;
    for (const id of ids) if (!before.has(id)) this.chunk(id).wantAgain();
    const isNews = this.#choose().some((id) => !this.#followed.has(id) || !before.has(id));
    if (isNews && this.#stream) this.reopen("other chunks are looked at", 120);
  }

  /// A chunk by its id, which must be one of this family.
  chunk(id) {
    let chunk = this.chunks.get(id);
    if (!chunk) {
      const place = id.split("/").slice(1).map(Number);
      const host = {
        changed: (chunk, cells) => this.host.changed(chunk, cells),
        concluded: (chunk, own, outcome) => this.host.concluded(chunk, own, outcome),
        reopen: (why, afterMs) => this.reopen(why, afterMs),
        sessionExpired: (floorMs) => this.#expire(floorMs),
      };
      chunk = new Chunk(id, place, this.family.size, host);
      this.chunks.set(id, chunk);
    }
    return chunk;
  }

  /// After edits were made.
  pump() {
    this.#touched = new Set(this.chunks.values());
    this.#endTurn();
  }

  /// Own edits everywhere that have no outcome yet.
  get pending() {
    let count = 0;
    for (const chunk of this.chunks.values()) count += chunk.outbox.pending.length;
    return count;
  }

  cancelAll() {
    for (const chunk of this.chunks.values()) chunk.cancel();
    this.pump();
  }

  retryNow() {
    this.#wake();
  }

  /// A fresh token of the same user.
  renew(token) {
    this.token = token;
    this.#wake();
  }

  get user() {
    return userOf(this.token);
  }

  /// Ends the stream and opens one anew: other chunks, or something is missing.
  reopen(why, afterMs = 0) {
    clearTimeout(this.#reopenTimer);
    this.#reopenTimer = setTimeout(() => {
      if (this.#stream) console.debug(`driftless: opening the stream again: ${why}`);
      this.#stream?.abort("reopen");
      this.#wake();
    }, afterMs);
  }

  // ---- the stream ----

  async #run() {
    for (;;) {
      try {
        await this.#begin();
        await this.#follow();
        this.#failures = 0;
      } catch (error) {
        await this.#pauseAfter(error);
      }
    }
  }

  async #begin() {
    if (!this.world) {
      const world = await this.#json("/v1/world");
      const family = world.families.find(({ name }) => name === this.familyName);
      if (family?.model !== "grid" || family.coordinates !== 2 || (family.parameters.size[2] ?? 1) !== 1) {
        const grids = world.families.filter(({ model }) => model === "grid").map(({ name }) => name);
        const detail = `the world ${world.name} has no flat grid family ${this.familyName}; it has: ${grids.join(", ") || "none"}`;
        throw new Problem({ status: 404, code: "unknown_family", detail });
      }
      this.family = { ...family, size: family.parameters.size.slice(0, 2) };
      this.world = world;
      this.host.ready(this);
    }
    if (!this.token) throw new Problem({ status: 401, code: "token_missing", detail: "this page has no token" });
    if (!this.session) {
      const body = this.#sessionAfterMs ? JSON.stringify({ session_after_ms: this.#sessionAfterMs }) : "";
      const given = await this.#json("/v1/sessions", { method: "POST", body });
      this.session = given.session;
      this.#writer = given.writer;
      this.#isEndingSession = false;
    }
  }

  /// Follows what is wanted until the stream ends.
  async #follow() {
    const ids = this.#choose();
    if (ids.length === 0) return this.#pause(500);
    const stream = new AbortController();
    this.#stream = stream;
    this.#followed = new Set(ids);
    this.#unfollow("lagging");
    const have = ids.map((id) => this.chunks.get(id).have).join(",");
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => stream.abort("silence"), SILENCE_MAX_MS);
    };
    heard();
    try {
      const path = `/v1/events?chunks=${ids.join(",")}&have=${have}&session=${this.session}`;
      const response = await fetch(this.base + path, { headers: this.#headers(), signal: stream.signal, cache: "no-store" });
      if (!response.ok) throw await Problem.of(response);
      await readEvents(response.body, heard, (events) => {
        if (stream.signal.aborted) return;
        for (const { event, data } of events) this.#take(event, data);
        this.#endTurn();
      });
      throw new TypeError("the server ended the stream");
    } catch (error) {
      if (stream.signal.reason === "reopen") return;
      throw error;
    } finally {
      clearTimeout(silence);
      stream.abort("over");
      this.#stream = null;
      this.#followed = new Set();
      this.#unfollow("offline");
    }
  }

  #take(event, data) {
    if (event === "closed") throw new Problem({ status: 0, code: `closed_${data.code}`, detail: data.reason });
    const chunk = this.chunks.get(data.chunk);
    if (!chunk) return;
    this.#failures = 0;
    this.#behind = 0;
    this.#stand({ is: "live", why: "" });
    chunk.take(event, data, this.#writer, performance.now());
    this.#touched.add(chunk);
  }

  /// Wanted and unfinished chunks: nothing is let go while an own edit is open there. One that failed is not asked for until
  /// the user comes back to it.
  #choose() {
    const unfinished = [...this.chunks.values()].filter((chunk) => chunk.outbox.entries.length > 0).map(({ id }) => id);
    const ids = [...new Set([...unfinished, ...this.#wanted])].filter((id) => this.chunk(id).state !== "failed");
    return ids.slice(0, CHUNKS_MAX);
  }

  #unfollow(state) {
    const ids = new Set(this.#choose());
    for (const chunk of this.chunks.values()) chunk.unfollow(ids.has(chunk.id) ? state : "idle");
    let excess = this.chunks.size - KEPT_MAX;
    for (const chunk of this.chunks.values()) {
      if (excess <= 0) break;
      if (ids.has(chunk.id) || chunk.outbox.entries.length > 0 || !chunk.cells) continue;
      chunk.forget();
      this.host.changed(chunk, null);
      excess -= 1;
    }
  }

  async #pauseAfter(error) {
    const code = error instanceof Problem ? error.code : "";
    if (error.status === 401 || code === `closed_${CLOSED_TOKEN}`) {
      this.#stand({ is: "token", why: error.message, code });
      return this.#pause(Infinity);
    }
    if (code === "bad_session") return this.#loseSession();
    if (code === `closed_${CLOSED_BEHIND}` && (this.#behind += 1) >= 2) {
      this.#stand({ is: "reset", why: error.message });
      return this.#pause(30_000);
    }
    // A server that closes many at once tells each another time.
    const told = Math.min(Number(/\(retry after (\d+) ms\)$/.exec(error.message)?.[1] ?? 0), BACKOFF_MAX_MS);
    const wait = Math.max(told, Math.min(BACKOFF_MS * 2 ** this.#failures, BACKOFF_MAX_MS) * (0.5 + Math.random() / 2));
    this.#failures += 1;
    const why = error instanceof Problem ? error.message : "the server does not answer";
    this.#stand({ is: "offline", why: navigator.onLine ? why : "this computer is offline", retryAt: performance.now() + wait });
    await this.#pause(wait);
  }

  #pause(ms) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (ms !== Infinity) setTimeout(resolve, ms);
    });
  }

  #stand(status) {
    const isNews = status.is !== this.status.is || status.why !== this.status.why || status.retryAt !== this.status.retryAt;
    this.status = status;
    if (isNews) this.host.status(this);
  }

  // ---- own edits ----

  #tick() {
    this.pump();
  }

  #endTurn() {
    const now = performance.now();
    const touched = this.#touched;
    this.#touched = new Set();
    for (const chunk of touched) chunk.finish(now);
    if (this.#isEndingSession && ![...this.chunks.values()].some((chunk) => chunk.outbox.hasOpenNumbers)) this.#loseSession();
    const canNumber = this.session !== null && !this.#isEndingSession;
    for (const chunk of touched) {
      const canSend = chunk.canSend && this.status.is === "live";
      const batch = chunk.outbox.takeBatch(now, { canSend, canNumber });
      if (batch) this.#post(chunk, batch);
      if (chunk.outbox.takeStuck()) this.reopen(`${chunk.id}: no decision comes`);
    }
  }

  async #post(chunk, batch) {
    this.#posts.get(chunk)?.abort();
    const request = new AbortController();
    this.#posts.set(chunk, request);
    const timeout = setTimeout(() => request.abort(), POST_TIMEOUT_MS);
    const items = batch.map(({ seq, after, command }) => (command ? { seq, after, command } : { seq, after, settle: true }));
    let results;
    try {
      const response = await fetch(`${this.base}/v1/chunks/${chunk.id}/commands`, {
        method: "POST",
        headers: { ...this.#headers(), "content-type": "application/json", "driftless-session": this.session },
        body: JSON.stringify(items),
        signal: request.signal,
      });
      results = await this.#results(response, batch);
    } catch {
      // It may have arrived all the same.
      results = batch.map(() => ({ is: "unknown", retryAfterMs: 0, message: "the server does not answer" }));
    }
    clearTimeout(timeout);
    const refused = results.find(({ is, isFinal }) => is !== "accepted" && !isFinal);
    this.trouble = refused ? { since: this.trouble?.since ?? performance.now(), why: refused.message } : null;
    if (this.#posts.get(chunk) === request) this.#posts.delete(chunk);
    chunk.outbox.answered(batch, results, performance.now());
    this.#touched.add(chunk);
    this.#endTurn();
  }

  async #results(response, batch) {
    if (response.status === 202 || response.status === 207) {
      const { results } = await response.json();
      return results.map((result) => (result.status === 202 ? { is: "accepted" } : this.#refusal(Problem.from(result))));
    }
    const problem = await Problem.of(response);
    return batch.map(() => this.#refusal(problem));
  }

  /// What a problem says about one transmission.
  #refusal(problem) {
    const { status, code, retry, retryAfterMs, message } = problem;
    if (status === 401) this.#stream?.abort(problem);
    if (code === "bad_session" || code === "session_missing") setTimeout(() => this.#loseSession());
    const isAgain = status === 401 || status === 429 || code === "bad_session" || code === "session_missing";
    const isCertain = code !== "" && code !== "not_acknowledged" && (retry !== null || status < 500);
    if (!isCertain && !isAgain) return { is: "unknown", retryAfterMs, message };
    return { is: "rejected", isFinal: retry === "final" || (retry === null && !isAgain), retryAfterMs, code, message };
  }

  /// The ledger has forgotten this session; the next one must be younger than that.
  #expire(floorMs) {
    this.#sessionAfterMs = Math.max(this.#sessionAfterMs, floorMs);
    this.#isEndingSession = true;
  }

  #loseSession() {
    this.session = null;
    this.#isEndingSession = false;
    for (const chunk of this.chunks.values()) chunk.renumber();
    this.reopen("a new session begins");
  }

  // ---- HTTP ----

  #headers() {
    return { authorization: `Bearer ${this.token}` };
  }

  async #json(path, init = {}) {
    const signal = AbortSignal.timeout(POST_TIMEOUT_MS);
    const response = await fetch(this.base + path, { ...init, headers: this.#headers(), cache: "no-store", signal });
    if (!response.ok) throw await Problem.of(response);
    return response.json();
  }
}

/// The name in a token. It is not checked here; the server does.
export function userOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (c) => c.charCodeAt(0)))).sub ?? null;
  } catch {
    return null;
  }
}

/// Reads server-sent events; gives what came together as one list: [{event, data}].
async function readEvents(body, heard, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    const events = blocks.map(parseEvent).filter((one) => one !== null);
    if (events.length > 0) take(events);
  }
}

function parseEvent(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return data.length > 0 ? { event, data: JSON.parse(data.join("\n")) } : null;
}
