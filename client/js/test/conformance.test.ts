// Runs the scenarios that every client must pass (tests/conformance).

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Chunk, Outcome, Pending, World } from "../src/index.js";
import { fileOf } from "./frames.js";
import type { Rights } from "../../../tests/dev.mjs";
import { BINARY, Stack, eventually, soon } from "./stack.js";
import { type Kind, type Server, Wire } from "./wire.js";

type Step = Record<string, unknown>;

interface Scenario {
  name: string;
  chunk: string;
  steps: Step[];
}

interface Client {
  world: World;
  wire: Wire;
  /** The kinds of the outcomes that the client reported, in order. */
  outcomes: string[];
  /** The number of times that the client reported another history. */
  histories: number;
}

/** One run of a scenario. Keeps the clients and the edits by the names that the steps give them. */
class Story {
  readonly #clients = new Map<string, Client>();
  readonly #edits = new Map<string, Pending[]>();

  constructor(
    readonly stack: Stack,
    readonly chunk: string,
  ) {}

  end(): void {
    for (const { world } of this.#clients.values()) world.close();
  }

  async run(step: Step): Promise<void> {
    const [[verb, about] = ["nothing", ""]] = Object.entries(step);
    const found = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!found) throw new Error(`unknown step ${JSON.stringify(step)}`);
    const unknown = Object.keys(step).filter((member) => member !== verb && !found.members.includes(member));
    if (unknown.length > 0) throw new Error(`${verb} has no ${unknown.join(", ")}`);
    await found.run(this, about, step);
  }

  client(name: unknown): Client {
    const client = this.#clients.get(name as string);
    if (!client) throw new Error(`there is no client ${String(name)}`);
    return client;
  }

  async join(name: string, rights: Rights): Promise<void> {
    const wire = new Wire();
    const world = await this.stack.open(this.stack.token(name, rights), { WebSocket: wire.WebSocket, author: name });
    this.#clients.set(name, { world, wire, outcomes: [], histories: 0 });
    await soon(`${name} to be online`, world.online());
  }

  /** The client's tracked chunk that the step names, or else the scenario's chunk. */
  of(name: unknown, step: Step): Chunk {
    const id = (step.chunk as string | undefined) ?? this.chunk;
    const found = this.client(name).world.chunks.find((chunk) => chunk.id === id);
    if (!found) throw new Error(`${String(name)} does not track ${id}`);
    return found;
  }

  track(name: unknown, step: Step): Chunk {
    const client = this.client(name);
    const { world, wire, outcomes } = client;
    const chunk = world.track((step.chunk as string | undefined) ?? this.chunk);
    chunk.on("outcome", ({ outcome }) => outcomes.push(outcome.kind));
    chunk.on("drift", () => wire.count("drift"));
    chunk.on("history", () => (client.histories += 1));
    return chunk;
  }

  label(step: Step, pendings: Pending[]): void {
    if (typeof step.as !== "string" || this.#edits.has(step.as))
      throw new Error(`an edit needs a name of its own, not ${String(step.as)}`);
    this.#edits.set(step.as, pendings);
  }

  edits(label: unknown): Pending[] {
    const pendings = this.#edits.get(label as string);
    if (!pendings) throw new Error(`there is no edit ${String(label)}`);
    return pendings;
  }

  submit(name: unknown, step: Step, ...commands: (object | Uint8Array)[]): void {
    const { wire } = this.client(name);
    wire.counts.receipt = 0;
    const chunk = this.of(name, step);
    this.label(
      step,
      commands.map((command) => chunk.submit(command)),
    );
  }
}

interface Verb {
  members: string[];
  run(story: Story, about: unknown, step: Step): void | Promise<unknown>;
}

const VERBS: Record<string, Verb> = {
  client: {
    members: ["read", "write"],
    run: (story, name, { read, write }) =>
      story.join(
        name as string,
        { ...(read !== undefined && { read }), ...(write !== undefined && { write }) } as Rights,
      ),
  },
  track: {
    members: ["chunk", "rejected"],
    async run(story, name, step) {
      const chunk = story.track(name, step);
      const live = soon(`${chunk.id} to be live`, chunk.live());
      if (step.rejected === undefined) await live;
      else await expect(live).rejects.toMatchObject({ name: "ChunkError", code: step.rejected });
    },
  },
  submit: {
    members: ["chunk", "command", "bytes", "as"],
    run: (story, name, step) =>
      story.submit(
        name,
        step,
        step.bytes === undefined ? (step.command as object) : Uint8Array.from(Buffer.from(step.bytes as string, "hex")),
      ),
  },
  fill: {
    members: ["chunk", "value", "as"],
    run(story, name, step) {
      const [width, height, depth] = story.of(name, step).grid.size;
      story.submit(name, step, { fill: { x: 0, y: 0, width, height, depth, value: step.value } });
    },
  },
  burst: {
    members: ["chunk", "cell", "count", "as"],
    run(story, name, step) {
      const [x, y] = step.cell as [number, number];
      const commands = Array.from({ length: step.count as number }, (_, i) => ({
        set: [{ x, y, value: i + 1, guard: i }],
      }));
      story.submit(name, step, ...commands);
    },
  },
  cancel: { members: [], run: (story, label) => story.edits(label).forEach((pending) => pending.cancel()) },
  undo: {
    members: ["as"],
    run(story, label, step) {
      const pendings = story.edits(label).flatMap((pending) => pending.undo());
      expect(pendings).not.toHaveLength(0);
      story.label(step, pendings);
    },
  },
  corrupt: {
    members: ["chunk"],
    run(story, name, step) {
      story.client(name).wire.counts.drift = 0;
      expect(story.of(name, step).corrupt()).toBe(true);
    },
  },
  offline: { members: [], run: (story, name) => story.client(name).world.goOffline() },
  online: { members: [], run: (story, name) => story.client(name).world.goOnline() },

  expect: {
    members: ["outcome", "version", "reason", "code"],
    async run(story, label, { outcome: kind, version, reason, code }) {
      const outcomes = await soon(
        `the outcome of ${String(label)}`,
        Promise.all(story.edits(label).map(({ outcome }): Promise<Outcome> => outcome)),
      );
      const wanted = {
        kind,
        ...(version !== undefined && { version }),
        ...(reason !== undefined && { reason }),
        ...(code !== undefined && { code }),
      };
      for (const outcome of outcomes) expect(outcome).toMatchObject(wanted);
    },
  },
  converge: {
    members: ["chunk", "version"],
    async run(story, names, step) {
      const chunks = (names as string[]).map((name) => story.of(name, step));
      const seen = () => chunks.map(({ status, version, hash }) => `${status} at ${version} with ${hash}`);
      const is = () =>
        new Set(seen()).size === 1 &&
        chunks.every(({ status, version }) => status === "live" && version === step.version);
      await eventually(`all of ${String(names)} to be at ${String(step.version)}`, is).catch((error: Error) => {
        throw new Error(`${error.message}; seen: ${seen().join("; ")}`);
      });
    },
  },
  cell: {
    members: ["chunk", "at", "is"],
    async run(story, name, step) {
      const [x, y] = step.at as [number, number];
      const { grid } = story.of(name, step);
      await eventually(
        `cell ${x}, ${y} of ${String(name)} to be ${String(step.is)}, it is ${grid.get(x, y)}`,
        () => grid.get(x, y) === step.is,
      );
    },
  },
  entry: {
    members: ["chunk", "key", "is"],
    async run(story, name, step) {
      const { map } = story.of(name, step);
      await eventually(
        `${String(step.key)} to be ${String(step.is)}, it is ${map.text(step.key as string)}`,
        () => (map.text(step.key as string) ?? null) === step.is,
      );
    },
  },
  told: {
    members: ["outcomes", "histories"],
    run(story, name, { outcomes, histories = 0 }) {
      const client = story.client(name);
      expect([client.outcomes, client.histories]).toEqual([outcomes, histories]);
    },
  },

  cut: {
    members: ["server", "at", "until_admitted"],
    run: (story, name, step) =>
      story.client(name).wire.cut(step.server as Server, step.at as string, step.until_admitted === true),
  },
  admit: { members: [], run: (story, name) => story.client(name).wire.admit() },
  hold: { members: ["event"], run: (story, name, { event }) => story.client(name).wire.hold(event as Kind) },
  release: { members: [], run: (story, name) => story.client(name).wire.release() },
  double: { members: [], run: (story, name) => story.client(name).wire.double() },
  put_off: {
    members: ["seqs", "after_ms"],
    run: (story, name, step) => story.client(name).wire.putOff(step.seqs as number[], step.after_ms as number),
  },
  await: {
    members: ["event", "count"],
    async run(story, name, { event, count = 1 }) {
      const { counts } = story.client(name).wire;
      await eventually(
        `${String(event)} at ${String(name)}, ${String(count)} times`,
        () => (counts[event as string] ?? 0) >= (count as number),
      );
    },
  },
  kill: { members: [], run: (story) => story.stack.kill() },
  start: { members: ["fresh"], run: (story, _, { fresh }) => story.stack.start({ isFresh: fresh === true }) },
};

const { format, scenarios } = JSON.parse(fileOf("tests/conformance/scenarios.json").toString()) as {
  format: number;
  scenarios: Scenario[];
};

test("the list has format 1, its scenarios share neither names nor chunks, and its verbs are known", () => {
  expect(format).toBe(1);
  const chunks = scenarios.flatMap(({ chunk, steps }) => [
    ...new Set([
      chunk,
      ...steps.flatMap((step) => (typeof step.chunk === "string" && !("rejected" in step) ? [step.chunk] : [])),
    ]),
  ]);
  expect(new Set(chunks).size).toBe(chunks.length);
  expect(new Set(scenarios.map(({ name }) => name)).size).toBe(scenarios.length);
  for (const step of scenarios.flatMap(({ steps }) => steps))
    expect(VERBS).toHaveProperty(Object.keys(step)[0] ?? "nothing");
});

describe.skipIf(!BINARY)("conformance", () => {
  const stack = new Stack();
  beforeAll(() => stack.start());
  afterAll(() => stack.end());

  test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))("%s", async (_, { chunk, steps }) => {
    const story = new Story(stack, chunk);
    try {
      for (const [i, step] of steps.entries()) {
        await story.run(step).catch((error: Error) => {
          error.message = `step ${i + 1}, ${JSON.stringify(step)}: ${error.message}`;
          throw error;
        });
      }
    } finally {
      story.end();
    }
  });
});
