// The first page of `driftless dev`: a shared canvas to look at and to paint on.
//
// This file puts the parts together and fills the panel. `link.js` talks to the server, `chunk.js` and `outbox.js` keep the
// rules, `board.js` draws.
//
// The URL: `?token=…` (needed), `&at=X,Y` (the chunk at the top left; -2,-2), `&family=NAME` (canvas).

import { Board } from "./board.js";
import { cellsOf } from "./chunk.js";
import { Link, userOf } from "./link.js";

const BRUSHES = [1, 3, 9];
/// For the digits 1 to 9, and as many more in a second row; the palette's nearest are taken.
const QUICK = [
  ...["#000000", "#e03131", "#f76707", "#fcc419", "#2f9e44", "#15aabf", "#1c5fe0", "#9c36b5", "#fafaf7"],
  ...["#808080", "#ffa8a8", "#a0522d", "#ffec99", "#8ce99a", "#99e9f2", "#74a0ff", "#f06595", "#c0c0c0"],
];
const LATENCIES_MAX = 200;
/// How long edits must be refused before the page says so.
const TROUBLE_MS = 1500;

const $ = (id) => document.getElementById(id);
const url = new URL(location.href);
const board = new Board($("board"), { paint, pick, hover, looksAt });
const link = new Link(location.origin, url.searchParams.get("token"), url.searchParams.get("family") ?? "canvas", {
  ready,
  status: showStatus,
  changed,
  concluded,
});

let hovered = null;
let visible = [];
let shownStatus = "";
const latencies = [];
const counts = { committed: 0, discarded: 0, rejected: 0, withdrawn: 0, unknown: 0 };
/// The panel is set at most that often: it lays itself out anew each time.
const PANEL_MS = 80;
let isPanelDue = false;
let shownEdits = "";

// ---- from the server ----

function ready() {
  const { family, world } = link;
  const corner = (url.searchParams.get("at") ?? "").split(",").map(Number);
  const isCorner = corner.length === 2 && corner.every(Number.isInteger) && url.searchParams.has("at");
  const { coordinate_min: min, coordinate_max: max } = family;
  const clamped = corner.map((c) => Math.min(Math.max(c, min), max));
  $("world").textContent = `World ${world.name}, family ${family.name}. ${link.user ? `You are ${link.user}.` : ""}`;
  fillPalette(family.colors);
  choose(nearest(family.colors, QUICK[1]));
  board.open(link, isCorner ? clamped : [-2, -2]);
}

function changed(chunk, cells) {
  board.changed(chunk, cells);
  panel();
}

function concluded(chunk, own, outcome) {
  counts[outcome.is] += 1;
  if (outcome.is === "committed") {
    latencies.push(performance.now() - own.submittedAt);
    if (latencies.length > LATENCIES_MAX) latencies.shift();
  } else if (outcome.is !== "withdrawn") {
    board.flash(chunk, cellsOf(own.command, chunk.width).map(({ at }) => at));
  }
  panel();
}

// ---- from the user ----

function paint(cells, color) {
  const now = performance.now();
  for (const [id, ofChunk] of cells) link.chunk(id).paint(ofChunk, color, $("guarded").checked, now);
  link.pump();
}

function pick(place) {
  const value = place.chunk ? link.chunk(place.chunk).seen(place.cell) : undefined;
  if (value !== undefined) choose(value);
}

function hover(place) {
  hovered = place?.chunk ? place : null;
  panel();
}

function looksAt(places) {
  visible = places;
  link.want(places.map(({ id }) => id));
  panel();
}

function choose(value) {
  board.color = value;
  for (const swatch of document.querySelectorAll(".swatches button")) {
    swatch.setAttribute("aria-pressed", String(Number(swatch.value) === value));
  }
}

function chooseBrush(size) {
  board.brush = size;
  for (const button of $("brushes").children) button.setAttribute("aria-pressed", String(Number(button.value) === size));
  board.draw();
}

for (const size of BRUSHES) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", value: size, textContent: size, title: `A brush of ${size} × ${size} cells` });
  button.addEventListener("click", () => chooseBrush(size));
  $("brushes").append(button);
}
chooseBrush(BRUSHES[1]);

$("zoom-in").addEventListener("click", () => board.zoom(1.5));
$("zoom-out").addEventListener("click", () => board.zoom(1 / 1.5));
$("zoom-fit").addEventListener("click", () => link.family && board.fit());
$("notice-button").addEventListener("click", act);
$("token").addEventListener("keydown", (event) => event.key === "Enter" && act());

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input[type=text]") || !link.family) return;
  const brush = BRUSHES.indexOf(board.brush);
  const keys = {
    "[": () => chooseBrush(BRUSHES[Math.max(0, brush - 1)]),
    "]": () => chooseBrush(BRUSHES[Math.min(BRUSHES.length - 1, brush + 1)]),
    "+": () => board.zoom(1.5),
    "=": () => board.zoom(1.5),
    "-": () => board.zoom(1 / 1.5),
    f: () => board.fit(),
    Escape: () => link.cancelAll(),
    ArrowLeft: () => board.pan(-0.1, 0),
    ArrowRight: () => board.pan(0.1, 0),
    ArrowUp: () => board.pan(0, -0.1),
    ArrowDown: () => board.pan(0, 0.1),
  };
  const digit = "123456789".indexOf(event.key);
  if (digit >= 0) choose(Number($("quick").children[digit].value));
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

addEventListener("beforeunload", (event) => {
  if (link.pending > 0) event.preventDefault();
});

// ---- the palette ----

function fillPalette(colors) {
  const quick = [...new Set(QUICK.map((color) => nearest(colors, color)))];
  $("quick").replaceChildren(...quick.map((value, i) => swatch(colors, value, i < 9 ? ` (${i + 1})` : "")));
  $("all").hidden = colors.length <= quick.length;
  $("palette-size").textContent = colors.length;
  // Greys first, then around the colour circle, dark to light.
  const order = (value) => {
    const [h, s, l] = hsl(colors[value]);
    return s < 0.12 || l > 0.95 ? l - 10 : Math.floor(h * 15) + l / 2;
  };
  const sorted = colors.map((_, value) => value).sort((one, other) => order(one) - order(other));
  $("palette").replaceChildren(...sorted.map((value) => swatch(colors, value, "")));
}

function swatch(colors, value, key) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", value, title: `${value}: ${colors[value]}${key}` });
  button.setAttribute("aria-label", `Colour ${value}, ${colors[value]}`);
  button.style.background = colors[value];
  button.addEventListener("click", () => choose(value));
  return button;
}

function rgb(color) {
  return [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255);
}

function nearest(colors, wanted) {
  const target = rgb(wanted);
  const distance = (color) => Math.hypot(...rgb(color).map((c, i) => c - target[i]));
  return colors.reduce((best, color, value) => (distance(color) < distance(colors[best]) ? value : best), 0);
}

function hsl(color) {
  const [r, g, b] = rgb(color);
  const [low, high] = [Math.min(r, g, b), Math.max(r, g, b)];
  const [l, c] = [(low + high) / 2, high - low];
  if (c === 0) return [0, 0, l];
  const h = high === r ? ((g - b) / c + 6) % 6 : high === g ? (b - r) / c + 2 : (r - g) / c + 4;
  return [h / 6, c / (1 - Math.abs(2 * l - 1)), l];
}

// ---- words about the connection ----

function showStatus() {
  const { is, why, code, retryAt } = link.status;
  const name = { connecting: "connecting", live: "live", offline: "offline", token: "no access", reset: "out of step" }[is];
  $("state").className = `state is-${is}`;
  $("state-text").textContent = name;
  const left = retryAt ? Math.max(0, Math.ceil((retryAt - performance.now()) / 1000)) : 0;
  const kept = link.pending > 0 ? ` Your ${link.pending} uncommitted edit${link.pending === 1 ? " is" : "s are"} kept here.` : "";
  const texts = {
    connecting: "",
    live: troubleText(),
    offline: `${sentence(why)}${kept} ${left > 0 ? `Trying again in ${left} s.` : "Trying again…"}`,
    token: tokenText(code, why) + kept,
    reset: `The server is behind what this page has seen; its data may have been reset. Reload the page to go on from what the server has.${kept}`,
  };
  const text = texts[is];
  if (text === shownStatus) return;
  shownStatus = text;
  $("notice").hidden = text === "";
  $("notice").className = is === "token" || is === "reset" ? "is-bad" : "";
  $("notice-text").textContent = text;
  $("token").hidden = is !== "token";
  $("notice-button").hidden = is === "live";
  $("notice-button").textContent = { token: "Open", reset: "Reload" }[is] ?? "Try now";
}

function troubleText() {
  const { trouble, pending } = link;
  if (!trouble || pending === 0 || performance.now() - trouble.since < TROUBLE_MS) return "";
  const edits = pending === 1 ? "1 edit" : `${pending} edits`;
  return `What you paint cannot be sent now: ${trouble.why.trim().replace(/\.$/, "")}. Your ${edits} not committed yet will be sent again until the server takes them.`;
}

function tokenText(code, why) {
  const wayOut = "Open the URL that `driftless dev` prints, or make a token with `driftless token` and paste it here.";
  if (code === "token_missing") return `This page needs a token in its URL (?token=…). ${wayOut}`;
  return `${sentence(why)} ${wayOut}`;
}

function sentence(text) {
  const trimmed = text.trim().replace(/\.$/, "");
  return trimmed ? `${trimmed[0].toUpperCase()}${trimmed.slice(1)}.` : "";
}

function act() {
  const token = $("token").value.trim().replace(/^.*[?&]token=([^&#]*).*$/, "$1");
  if (link.status.is === "reset") return location.reload();
  if (link.status.is !== "token") return link.retryNow();
  if (!token) return $("token").focus();
  const next = new URL(location.href);
  next.searchParams.set("token", token);
  $("token").value = "";
  // Another user is another writer: what waits here is not theirs.
  if (link.session && userOf(token) !== link.user) return location.assign(next);
  history.replaceState(null, "", next);
  link.renew(token);
}

// ---- the panel ----

function panel() {
  if (isPanelDue) return;
  isPanelDue = true;
  setTimeout(() => {
    isPanelDue = false;
    showChunk();
    showMap();
    showEdits();
  }, PANEL_MS);
}

function showChunk() {
  const chunk = hovered && link.chunks.get(hovered.chunk);
  const text = (id, value) => {
    if ($(id).textContent !== value) $(id).textContent = value;
  };
  if (!chunk) {
    text("chunk-id", "");
    for (const id of ["version", "hash", "pending", "outcome"]) text(id, "—");
    $("cell").replaceChildren(hovered ? "—" : "point at the canvas");
    $("outcome").className = "";
    return text("why", "");
  }
  const value = chunk.seen(hovered.cell);
  text("chunk-id", chunk.id);
  const sample = document.createElement("i");
  sample.style.background = link.family.colors[value] ?? "transparent";
  const place = `${hovered.cell % chunk.width}, ${Math.floor(hovered.cell / chunk.width)}`;
  $("cell").replaceChildren(value === undefined ? place : `${place}  is ${value}`, ...(value === undefined ? [] : [sample]));
  text("version", chunk.cells ? String(chunk.version) : "—");
  text("hash", chunk.hash ? `${chunk.hash.slice(0, 12)}…` : "—");
  $("hash").title = chunk.hash;
  const { pending } = chunk.outbox;
  const waiting = pending.filter((own) => own.seq === null).length;
  const unsent = waiting === 0 ? "" : waiting === pending.length ? ", not sent" : `, ${waiting} not sent`;
  text("pending", pending.length === 0 ? "none" : `${pending.length}${unsent}`);
  const { lastOutcome: outcome } = chunk;
  const words = outcome && { ...outcome, at: outcome.version ? `, version ${outcome.version}` : "", because: outcome.why ? `: ${outcome.why}` : "" };
  text("outcome", words ? `${words.is}${words.at}${words.because}` : "none yet");
  $("outcome").className = outcome ? { committed: "good", withdrawn: "warn" }[outcome.is] ?? "bad" : "";
  $("outcome").title = $("outcome").textContent;
  text("why", chunk.why ? sentence(chunk.why) : "");
}

function showMap() {
  const [left, top] = [Math.min(...visible.map(({ x }) => x)), Math.min(...visible.map(({ y }) => y))];
  const dots = $("map");
  const states = Object.groupBy(visible, ({ id }) => link.chunks.get(id)?.state ?? "loading");
  $("map-text").textContent = Object.entries(states).map(([state, places]) => `${places.length} ${state}`).join(", ");
  while (dots.children.length > visible.length) dots.lastChild.remove();
  while (dots.children.length < visible.length) {
    dots.append(Object.assign(document.createElement("button"), { type: "button", tabIndex: -1 }));
  }
  visible.forEach(({ id, x, y }, i) => {
    const chunk = link.chunks.get(id);
    const dot = dots.children[i];
    const pending = chunk?.outbox.pending.length ?? 0;
    const state = chunk?.state ?? "loading";
    dot.className = [state, hovered?.chunk === id ? "is-under" : "", pending > 0 && state === "live" ? "has-pending" : ""].join(" ");
    dot.title = `${id}: ${state}${chunk?.cells ? `, version ${chunk.version}` : ""}${pending > 0 ? `, ${pending} pending` : ""}${chunk?.why ? `; ${chunk.why}` : ""}`;
    dot.style.gridColumn = x - left + 1;
    dot.style.gridRow = y - top + 1;
  });
}

function showEdits() {
  const edits = JSON.stringify([counts, link.pending, $("spark").clientWidth]);
  if (edits === shownEdits) return;
  shownEdits = edits;
  const sorted = latencies.toSorted((one, other) => one - other);
  $("latency").textContent = inMs(latencies.at(-1));
  $("median").textContent = inMs(sorted[sorted.length >> 1]);
  $("median-of").textContent = latencies.length > 1 ? `median of ${latencies.length}` : "median";
  const names = Object.keys(counts).filter((name) => counts[name] > 0 || name === "committed" || name === "discarded");
  const item = (text, count, className) => {
    const entry = Object.assign(document.createElement("li"), { className });
    entry.append(Object.assign(document.createElement("b"), { textContent: count }), ` ${text}`);
    return entry;
  };
  const style = { committed: "good", withdrawn: "warn" };
  $("counts").replaceChildren(
    item("pending", link.pending, link.pending > 0 ? "warn" : "none"),
    ...names.map((name) => item(name, counts[name], counts[name] === 0 ? "none" : (style[name] ?? "bad"))),
  );
  spark();
}

/// The newest latencies as bars; the square root, so that a slow one does not hide the others.
function spark() {
  const canvas = $("spark");
  const ratio = devicePixelRatio;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(36 * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--accent");
  const step = Math.round(4 * ratio);
  const shown = latencies.slice(-Math.floor(width / step));
  const most = Math.max(...shown);
  shown.forEach((latency, i) => {
    const tall = Math.max(ratio, Math.sqrt(latency / most) * height);
    context.fillRect(i * step, height - tall, step - ratio, tall);
  });
}

function inMs(latency) {
  if (latency === undefined) return "—";
  return latency < 10 ? `${latency.toFixed(1)} ms` : latency < 9999 ? `${Math.round(latency)} ms` : `${(latency / 1000).toFixed(1)} s`;
}

setInterval(() => {
  showStatus();
  panel();
}, 250);

showStatus();
link.start();

/// For tests and for the console: everything the page knows, and the committed layer's pixels of a chunk.
globalThis.driftless = { link, board, pixels: (id) => board.pixels(id), latencies, counts };
