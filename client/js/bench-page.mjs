// The part of bench.mjs that runs in the page.

import { load } from "/dist/core.js";
import { connect } from "/dist/index.js";

const bytes = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** Lets the page run its other tasks between two runs. */
const rest = () => new Promise((resolve) => setTimeout(resolve));

function timed(run) {
  const began = performance.now();
  run();
  return performance.now() - began;
}

/** A WebSocket class that answers the first message with `welcome`, and its instances by URL. */
function fakeSockets(welcome) {
  const sockets = {};
  class FakeSocket {
    readyState = 0;
    isGreeted = false;
    constructor(url) {
      sockets[url] = this;
      queueMicrotask(() => {
        this.readyState = 1;
        this.onopen();
      });
    }
    send() {
      if (!this.isGreeted) queueMicrotask(() => this.say(bytes(welcome)));
      this.isGreeted = true;
    }
    say(frame) {
      this.onmessage({ data: frame.buffer });
    }
    close() {}
  }
  return { FakeSocket, sockets };
}

/**
 * Measures how long the client takes for each `ServerFrame` of a script. Throws unless the chunk
 * ends as the script says.
 */
async function measureFrames(world, gateway, script) {
  const chunk = world.track(script.chunkId);
  let changes = 0;
  chunk.on("change", () => (changes += 1));
  gateway.say(bytes(script.first));
  const times = [];
  for (const frame of script.rest.map(bytes)) {
    times.push(timed(() => gateway.say(frame)));
    await rest();
  }
  const seen = `${chunk.status} at ${chunk.version} with ${chunk.hash}, ${changes} changes`;
  const wanted = `live at ${script.version} with ${script.hash}, ${script.rest.length + 1} changes`;
  if (seen !== wanted) throw new Error(`the chunk is ${seen}; expected ${wanted}`);
  return times;
}

async function measureHashes(count) {
  const { Core } = await load();
  const content = crypto.getRandomValues(new Uint8Array(65_536));
  const times = [];
  for (let i = 0; i < count; i++) {
    times.push(timed(() => Array.from({ length: 10 }, () => Core.hash(content))) / 10);
    await rest();
  }
  return times;
}

async function measureEdits({ grid }, count) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const value = 251 + (i % 4);
    const edit = () => {
      grid.set({ x: i, y: 3, value });
      if (grid.get(i, 3) !== value || !grid.isPending(i, 3)) throw new Error("the view does not show the edit");
    };
    times.push(timed(edit));
    await rest();
  }
  return times;
}

/** Returns the median of each figure, without the runs that warm up. */
export async function measure({ welcome, scripts, runs, warmUp }) {
  const { FakeSocket, sockets } = fakeSockets(welcome);
  const settings = { ingest: "ws://ingest", gateway: "ws://gateway", token: "t", WebSocket: FakeSocket };
  const world = await connect(settings);
  await world.online();
  const median = (times) => times.slice(warmUp).sort((a, b) => a - b)[Math.floor(runs / 2)];
  const result = {};
  for (const [name, script] of Object.entries(scripts)) {
    result[name] = median(await measureFrames(world, sockets["ws://gateway"], script));
  }
  result.hash_64_kib_ms = median(await measureHashes(runs + warmUp));
  const chunk = world.track(Object.values(scripts)[0].chunkId);
  result.own_edit_ms = median(await measureEdits(chunk, runs + warmUp));
  return { ...result, is_isolated: crossOriginIsolated };
}
