// Drives two windows of a real Chromium on the page of `driftless dev`. Each window shows the
// other's strokes, nothing is lost when a window goes offline or its connections are cut, drift is
// found and healed, and the picture survives a restart of the server.
//
//   node two-windows.mjs URL OUT                       the first run
//   node two-windows.mjs URL OUT --check-still-there   after a restart of the server
//
// URL is the address that `driftless dev` prints, with its token. OUT is a folder; the second run
// needs the folder of the first. The script leaves screenshots and painted.json in OUT.
//
// Chromium is /usr/bin/chromium, or the program that the variable CHROMIUM names. The last line is
// `N passed, N failed`, and the exit code is 0 only if nothing failed.

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { FLAGS } from "../../chromium.mjs";

const DEADLINE_MS = 30_000;
const POLL_MS = 50;
const SIZE = { width: 1180, height: 780 };

const [urlText, out, mode] = process.argv.slice(2);
if (!urlText || !out || (mode && mode !== "--check-still-there")) {
  console.error("usage: node two-windows.mjs URL OUT [--check-still-there]");
  process.exit(2);
}
const url = new URL(urlText);
await mkdir(out, { recursive: true });

const results = { passed: 0, failed: 0 };

/// Runs the check of one claim and reports the result. A failure does not stop later claims, unless
/// they need this claim.
async function claim(name, check) {
  const began = Date.now();
  try {
    const said = await check();
    results.passed += 1;
    console.log(`ok    ${name} (${said ? `${said}; ` : ""}${Date.now() - began} ms)`);
    return true;
  } catch (error) {
    results.failed += 1;
    console.log(`FAIL  ${name}\n      ${error.message.split("\n").join("\n      ")}`);
    return false;
  }
}

function expect(is, message) {
  if (!is) throw new Error(message);
}

/// Waits for a condition. On failure, the error says what was seen instead. `look` returns
/// [condition, observation].
async function until(what, look) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const [is, seen] = await look();
    if (is) return seen;
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms for: ${what}\nseen: ${JSON.stringify(seen)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/// A browser window on the page.
class Window {
  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.errors = [];
    page.on("pageerror", (error) => this.errors.push(error.message));
  }

  static async open(context, name, search = {}) {
    // Each client gets a window of its own, because a browser draws a tab in the background only
    // once a second.
    const [first] = context.pages();
    const devtools = await context.newCDPSession(first);
    const opened = context.waitForEvent("page");
    await devtools.send("Target.createTarget", { url: "about:blank", newWindow: true });
    const page = await opened;
    await page.setViewportSize(SIZE);
    const window = new Window(name, page);
    const address = new URL(url);
    for (const [key, value] of Object.entries(search)) {
      if (value === null) address.searchParams.delete(key);
      else address.searchParams.set(key, value);
    }
    await page.goto(address.href);
    if (search.token === undefined) await window.looksAtAll();
    return window;
  }

  /// Waits until the first four by four chunks are on the screen, with nothing in front of them.
  async looksAtAll() {
    await until(`${this.name} shows the canvas`, async () => [await this.page.evaluate(() => globalThis.driftless !== undefined), "no canvas"]);
    await this.page.evaluate(() => {
      const { view, board } = globalThis.driftless;
      view.zoom(view.screen.height / 560 / view.scale);
      board.move();
    });
    const hint = this.page.locator("#hint-close");
    if (await hint.isVisible()) await hint.click();
  }

  /// Waits until every chunk on the screen is live.
  async isLive() {
    return until(`${this.name} is live`, async () => {
      const seen = await this.page.evaluate(() => {
        const { world, painting } = globalThis.driftless ?? {};
        const states = [...(painting?.chunks.values() ?? [])].map(({ status }) => status);
        return { status: world?.status, chunks: states.length, live: states.filter((state) => state === "live").length };
      });
      return [seen.chunks >= 16 && seen.live === seen.chunks, seen];
    });
  }

  /// Waits until none of the window's own edits is pending.
  async isSettled() {
    return until(`${this.name} has nothing pending`, async () => {
      const seen = await this.page.evaluate(() => {
        const { world, counts } = globalThis.driftless;
        return { pending: world.pending, counts, status: world.status };
      });
      return [seen.pending === 0, seen];
    });
  }

  async counts() {
    return this.page.evaluate(() => ({ ...globalThis.driftless.counts, pending: globalThis.driftless.world.pending }));
  }

  /// Returns version, hash and a digest of the drawn pixels of each chunk that the window shows. No
  /// edit may be pending.
  async committed() {
    return this.page.evaluate(async () => {
      const { painting, pixels } = globalThis.driftless;
      const found = {};
      for (const [id, chunk] of painting.chunks) {
        const rgba = pixels(id);
        if (!rgba) continue;
        const { version, hash } = chunk;
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", rgba));
        const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
        found[id] = { version, hash, pixels: hex };
      }
      return found;
    });
  }

  /// Returns the committed value of a world cell; null if the window has no content of its chunk.
  async cell([x, y]) {
    return this.page.evaluate(([x, y]) => {
      const { view, painting } = globalThis.driftless;
      const { id, cx, cy } = view.placeOf(x, y);
      const encoding = painting.chunk(id)?.encoding;
      // A grid's canonical encoding has a header of 12 bytes, and then two bytes for each cell.
      const at = 12 + 2 * (x - cx * view.width + (y - cy * view.height) * view.width);
      return encoding ? encoding[at] + 256 * encoding[at + 1] : null;
    }, [x, y]);
  }

  /// Returns the colour on the screen in the middle of a world cell, as "r,g,b".
  async onScreen([x, y]) {
    return this.page.evaluate(async ([x, y]) => {
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const canvas = document.getElementById("board");
      const at = globalThis.driftless.board.whereIs(x, y);
      const [left, top] = [Math.floor(at.x * devicePixelRatio), Math.floor(at.y * devicePixelRatio)];
      return canvas.getContext("2d").getImageData(left, top, 1, 1).data.slice(0, 3).join();
    }, [x, y]);
  }

  async colorOf(value) {
    return this.page.evaluate((value) => {
      const color = globalThis.driftless.palette.color(value);
      return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16)).join();
    }, value);
  }

  /// Clicks the nth quick colour, as a user does. Returns the colour's value in the palette.
  async choose(nth) {
    const swatch = this.page.locator("#quick button").nth(nth);
    await swatch.click();
    return Number(await swatch.getAttribute("value"));
  }

  async brush(size) {
    await this.page.locator(`#brushes button[value="${size}"]`).click();
  }

  /// Drags the mouse along world cells, which paints a stroke.
  async stroke(points) {
    const box = await this.page.locator("#board").boundingBox();
    const places = await this.page.evaluate((points) => points.map(([x, y]) => globalThis.driftless.board.whereIs(x, y)), points);
    const [first, ...rest] = places.map(({ x, y }) => [box.x + x, box.y + y]);
    await this.page.mouse.move(...first);
    await this.page.mouse.down();
    for (const place of rest) await this.page.mouse.move(...place, { steps: 2 });
    await this.page.mouse.up();
  }

  /// Moves the mouse away from the picture, so that the brush's outline is not drawn on it.
  async rest() {
    await this.page.mouse.move(SIZE.width - 40, 60);
  }

  /// Presses the page's own button for going offline or online.
  async offline(isOffline) {
    const status = await this.page.evaluate(() => globalThis.driftless.world.status);
    if ((status === "offline") !== isOffline) await this.page.locator("#offline").click();
  }

  async shot(name) {
    await this.page.screenshot({ path: join(out, name) });
  }
}

/// Waits until both windows have the same version, hash and pixels of every chunk that both show.
async function areEqual(one, other) {
  return until("both windows hold the same", async () => {
    const [a, b] = [await one.committed(), await other.committed()];
    const shared = Object.keys(a).filter((id) => b[id]);
    const differing = shared.filter((id) => JSON.stringify(a[id]) !== JSON.stringify(b[id]));
    const seen = { shared: shared.length, differing: differing.map((id) => [id, a[id], b[id]]) };
    return [shared.length >= 16 && differing.length === 0, seen];
  });
}

async function sees(window, cell, value) {
  await until(`${window.name} has ${value} at ${cell}`, async () => {
    const seen = await window.cell(cell);
    return [seen === value, seen];
  });
  const [wanted, found] = [await window.colorOf(value), await window.onScreen(cell)];
  expect(wanted === found, `on the screen of ${window.name}, ${cell} is ${found}, not ${wanted}`);
}

function circle([x, y], radius, points = 24) {
  const at = (i) => [x + Math.round(radius * Math.cos((2 * Math.PI * i) / points)), y + Math.round(radius * Math.sin((2 * Math.PI * i) / points))];
  return Array.from({ length: points + 1 }, (_, i) => at(i));
}

async function paintAndCompare(context) {
  const a = await Window.open(context, "A");
  const b = await Window.open(context, "B");
  await claim("two windows show the canvas, every chunk of it live", async () => {
    const seen = await a.isLive();
    await b.isLive();
    return `${seen.chunks} chunks`;
  });

  await claim("filling every chunk with paper clears both windows", async () => {
    const status = await a.page.evaluate(async () => {
      const { address, painting, view } = globalThis.driftless;
      const headers = { authorization: `Bearer ${address.token}` };
      const { session } = await (await fetch("/v1/sessions", { method: "POST", headers })).json();
      const command = { fill: { x: 0, y: 0, width: view.width, height: view.height, value: 0 } };
      const body = JSON.stringify({ session, seq: 1, after: 0, command });
      const json = { ...headers, "content-type": "application/json" };
      const post = (id) => fetch(`/v1/chunks/${id}/commands`, { method: "POST", headers: json, body });
      const answers = await Promise.all([...painting.chunks.keys()].map(post));
      return answers.map(({ status }) => status).find((status) => status !== 202) ?? 202;
    });
    expect(status === 202, `a fill was answered with ${status}`);
    for (const window of [a, b]) {
      await until(`${window.name} is clear`, async () => {
        const stained = await window.page.evaluate(() => [...globalThis.driftless.painting.chunks.values()].filter(({ grid }) => grid.cells.some((value) => value !== 0)).length);
        return [stained === 0, stained];
      });
    }
    await areEqual(a, b);
  });

  await claim("what A paints over four chunks is in B", async () => {
    const red = await a.choose(1);
    await a.brush(9);
    await a.stroke(circle([0, 0], 90));
    await a.isSettled();
    await a.rest();
    await areEqual(a, b);
    for (const cell of [[90, 2], [-90, 2], [2, 90], [2, -90]]) {
      await sees(a, cell, red);
      await sees(b, cell, red);
    }
  });

  await claim("what B paints back is in A", async () => {
    const blue = await b.choose(6);
    await b.brush(9);
    await b.stroke(circle([0, 0], 60));
    await b.isSettled();
    await b.rest();
    await areEqual(a, b);
    await sees(a, [60, 2], blue);
    await sees(b, [-60, 2], blue);
  });

  await claim("strokes that cross at the same time end the same in both", async () => {
    await a.choose(4);
    await a.brush(3);
    await b.choose(3);
    await b.brush(3);
    const across = Array.from({ length: 12 }, (_, i) => [-180 + i * 30, i % 2 === 0 ? -150 : 150]);
    const down = across.map(([x, y]) => [y, x]);
    await Promise.all([a.stroke(across), b.stroke(down)]);
    await Promise.all([a.isSettled(), b.isSettled()]);
    await areEqual(a, b);
  });
  await a.rest();
  await b.rest();
  await a.shot("a.png");
  await b.shot("b.png");

  await claim("edits made offline are kept, shown as uncommitted, and committed when A is back", async () => {
    await a.offline(true);
    await until("A says that it is offline", async () => {
      const seen = await a.page.evaluate(() => globalThis.driftless.world.status);
      return [seen === "offline", seen];
    });
    const before = await a.counts();
    const green = await a.choose(4);
    await a.brush(9);
    const shown = [[-200, -200], [-120, -200]];
    await a.stroke(shown);
    await a.choose(2);
    await a.stroke([[-200, -170], [-120, -170]]);
    const pending = (await a.counts()).pending;
    expect(pending >= 2, `offline edits are pending, but there are ${pending}`);
    expect((await a.cell(shown[0])) !== green, "an offline edit is not in the committed layer");
    const predicted = await a.page.evaluate(() => [...globalThis.driftless.painting.chunks.values()].reduce((sum, { grid }) => sum + grid.pending.reduce((marked, mark) => marked + mark, 0), 0));
    expect(predicted > 700, `the uncommitted cells are shown, but there are ${predicted}`);
    await until("the page to say it in words", async () => {
      // The page updates this notice once a second, so an edit appears in it with a delay.
      const notice = await a.page.locator("#notice").innerText();
      return [/offline/.test(notice) && /kept/.test(notice), notice];
    });
    await a.rest();
    await a.shot("a-offline.png");
    expect((await b.cell(shown[0])) !== green, "B cannot have it yet");
    // Window B paints in the same chunk while window A is offline.
    const purple = await b.choose(7);
    await b.brush(9);
    await b.stroke([[-200, -140], [-140, -140]]);
    await b.isSettled();
    await a.offline(false);
    const { counts } = await a.isSettled();
    expect(counts.committed - before.committed === pending, `${pending} were pending, ${counts.committed - before.committed} were committed`);
    expect(counts.unknown === 0 && counts.discarded === before.discarded, `no other outcome: ${JSON.stringify(counts)}`);
    await a.isLive();
    await b.rest();
    await areEqual(a, b);
    await sees(b, shown[1], green);
    await sees(a, [-200, -140], purple);
    return `${pending} edits, ${predicted} cells`;
  });

  await claim("an edit that came second is discarded, flashes and vanishes", async () => {
    const spot = [150, -200];
    await a.offline(true);
    await until("A is offline", async () => {
      const seen = await a.page.evaluate(() => globalThis.driftless.world.status);
      return [seen === "offline", seen];
    });
    await a.page.locator("#guarded").check();
    const before = await a.counts();
    await a.choose(3);
    await a.stroke([spot, spot]);
    const yellowPending = (await a.counts()).pending;
    expect(yellowPending > 0, "the guarded edit is pending");
    const black = await b.choose(0);
    await b.stroke([[spot[0] - 20, spot[1]], [spot[0] + 20, spot[1]]]);
    await b.isSettled();
    await b.rest();
    await a.rest();
    await a.offline(false);
    const { counts } = await a.isSettled();
    await a.shot("a-discarded.png");
    expect(counts.discarded - before.discarded === yellowPending, `discarded, not ${JSON.stringify(counts)}`);
    await a.page.locator("#guarded").uncheck();
    await areEqual(a, b);
    await until("the flash is over", async () => {
      const [wanted, found] = [await a.colorOf(black), await a.onScreen(spot)];
      return [wanted === found, found];
    });
  });

  await claim("connections that are cut while one paints lose nothing and commit nothing twice", async () => {
    const versions = async () => Object.values(await a.committed()).reduce((sum, { version }) => sum + version, 0);
    const before = { versions: await versions(), counts: await a.counts() };
    await a.brush(3);
    for (let line = 0; line < 8; line += 1) {
      await a.choose(line % 8);
      await a.stroke([[-60, 170 + line * 5], [60, 170 + line * 5]]);
      await a.page.evaluate((server) => globalThis.driftless.world.reconnect(server), line % 2 === 0 ? "ingest" : "gateway");
    }
    const { counts } = await a.isSettled();
    await a.isLive();
    const committed = counts.committed - before.counts.committed;
    const moved = (await versions()) - before.versions;
    expect(committed === moved, `${committed} edits were committed, but the versions moved by ${moved}`);
    for (const kind of ["unknown", "rejected", "discarded"]) expect(counts[kind] === before.counts[kind], `${kind}: ${JSON.stringify(counts)}`);
    await a.rest();
    await areEqual(a, b);
    return `${committed} edits, 8 cuts`;
  });

  await claim("more edits than may be unresolved wait, and all are committed in order", async () => {
    const spot = [210, 170];
    const before = await a.counts();
    await a.offline(true);
    const pending = await a.page.evaluate(([x, y]) => {
      const { painting, view, world } = globalThis.driftless;
      const { id, cx, cy } = view.placeOf(x, y);
      const chunk = painting.chunk(id);
      const place = { x: x - cx * view.width, y: y - cy * view.height };
      for (let value = 1; value <= 150; value += 1) chunk.grid.set({ ...place, value, guard: chunk.grid.get(place.x, place.y) });
      return world.pending;
    }, spot);
    expect(pending === 150, `150 wait, not ${pending}`);
    await a.offline(false);
    const { counts } = await a.isSettled();
    expect(counts.committed - before.committed === 150, `150 were committed, not ${JSON.stringify(counts)}`);
    await areEqual(a, b);
    await sees(b, spot, 150);
  });

  await claim("a copy that drifts says so, is found by a beacon, and is healed", async () => {
    const spot = [60, 60];
    const [place] = await a.page.evaluate((points) => points.map(([x, y]) => globalThis.driftless.board.whereIs(x, y)), [spot]);
    await a.page.mouse.move(place.x, place.y);
    const before = await a.committed();
    await a.page.locator("#board").press("d");
    const said = await a.page.locator(".mark-label").innerText();
    const drifted = await a.committed();
    expect(drifted["canvas/0/0"].pixels !== before["canvas/0/0"].pixels, "the wrong cell is to be seen");
    await a.shot("a-drift.png");
    await until("it is healed", async () => {
      const seen = await a.page.locator(".mark-label").allInnerTexts();
      return [seen.some((text) => /healed/.test(text)), seen];
    });
    await a.shot("a-healed.png");
    await a.rest();
    await areEqual(a, b);
    return said;
  });

  await claim("a label that A puts and drags into another chunk is where A left it in B", async () => {
    const text = `meet here ${process.pid}`;
    await a.page.locator('[data-tool="label"]').click();
    await a.stroke([[-90, 20], [-90, 20]]);
    await a.page.locator(".thing-editor input").fill(text);
    await a.page.keyboard.press("Enter");
    const label = a.page.locator(".thing > button", { hasText: text });
    const box = await label.boundingBox();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await a.page.mouse.move(x, y);
    await a.page.mouse.down();
    await a.page.mouse.move(x + 260, y + 60, { steps: 12 });
    await a.page.mouse.up();
    await a.isSettled();
    const placed = (window) => window.page.evaluate((text) => {
      const things = globalThis.driftless.world.chunks.filter(({ id }) => id.startsWith("things/"));
      return things.flatMap(({ id, map }) => map.keys().map((key) => `${id} ${map.text(key)}`)).filter((line) => line.includes(text));
    }, text);
    const [wanted, ...more] = await placed(a);
    expect(more.length === 0 && /^things\/0\/0 /.test(wanted), `one label, in things/0/0, not ${wanted} ${more}`);
    await until("B has it there", async () => {
      const seen = await placed(b);
      return [seen.length === 1 && seen[0] === wanted, seen];
    });
    await label.press("Delete");
    await until("B has it no more", async () => {
      const seen = await placed(b);
      return [seen.length === 0, seen];
    });
    await a.isSettled();
    return wanted;
  });

  await claim("the server's own pictures of the chunks are what the windows show", async () => {
    const differing = await a.page.evaluate(async () => {
      const { address, painting, pixels } = globalThis.driftless;
      const differing = [];
      for (const id of painting.chunks.keys()) {
        const response = await fetch(`/v1/chunks/${id}.png`, { headers: { authorization: `Bearer ${address.token}` } });
        const bitmap = await createImageBitmap(await response.blob());
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
        context.drawImage(bitmap, 0, 0);
        const theirs = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
        const ours = pixels(id);
        if (ours?.length !== theirs.length || ours.some((value, i) => value !== theirs[i])) differing.push(id);
      }
      return differing;
    });
    expect(differing.length === 0, `these differ: ${differing.join(", ")}`);
  });

  await claim("a page without a token, and one with a bad token, say so and name the way out", async () => {
    for (const [token, words] of [[null, /needs a token/], ["a.b.c", /token/]]) {
      const window = await Window.open(context, "C", { token });
      const text = await until("the page speaks", async () => {
        const seen = await window.page.locator("#notice-text").innerText();
        return [seen.trim() !== "", seen];
      });
      expect(words.test(text) && /driftless dev/.test(text), text);
      await window.shot(token ? "bad-token.png" : "no-token.png");
      await window.page.close();
    }
  });

  await a.shot("a-end.png");
  await b.shot("b-end.png");
  await claim("a board that gets another size is not empty for a frame", async () => {
    const { before, during } = await a.page.evaluate(async () => {
      const canvas = document.querySelector("#board");
      const context = canvas.getContext("2d");
      const middle = () => [...context.getImageData(canvas.width / 2 + 9, canvas.height / 2 + 9, 1, 1).data].join();
      const before = middle();
      // This observer runs after the board's own observer, and before the browser shows the frame.
      const during = await new Promise((resolve) => {
        let calls = 0;
        const observer = new ResizeObserver(() => {
          calls += 1;
          if (calls === 1) return void (canvas.style.width = `${canvas.clientWidth - 40}px`);
          observer.disconnect();
          resolve(middle());
        });
        observer.observe(canvas);
      });
      canvas.style.width = "";
      return { before, during };
    });
    expect(![before, during].some((color) => color.startsWith("0,0,0,")), `the middle was ${before}, and ${during} after the change`);
    return `the middle is ${during}`;
  });

  await claim("no error in either page", async () => {
    expect(a.errors.length + b.errors.length === 0, [...a.errors, ...b.errors].join("\n"));
  });
  await writeFile(join(out, "painted.json"), JSON.stringify(await b.committed(), null, 1));
}

async function checkStillThere(context) {
  const painted = JSON.parse(await readFile(join(out, "painted.json"), "utf8"));
  const window = await Window.open(context, "A after the restart");
  await claim("the page is live after the restart", async () => `${(await window.isLive()).chunks} chunks`);
  await claim("every chunk has the version, the hash and the pixels that it had", async () => {
    const found = await window.committed();
    const differing = Object.keys(painted).filter((id) => JSON.stringify(found[id]) !== JSON.stringify(painted[id]));
    expect(differing.length === 0, differing.map((id) => `${id}: ${JSON.stringify(painted[id])} became ${JSON.stringify(found[id])}`).join("\n"));
    const versions = Object.values(painted).reduce((sum, { version }) => sum + version, 0);
    expect(versions > 0, "something was painted before");
    return `${Object.keys(painted).length} chunks, ${versions} edits`;
  });
  await window.rest();
  await window.shot("after-restart.png");
}

const profile = await mkdtemp(join(tmpdir(), "driftless-chromium-"));
let context;
try {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
  });
  await (mode ? checkStillThere : paintAndCompare)(context);
} catch (error) {
  results.failed += 1;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await context?.close();
  await rm(profile, { recursive: true, force: true });
}
console.log(`${results.passed} passed, ${results.failed} failed`);
process.exit(results.failed === 0 ? 0 : 1);
