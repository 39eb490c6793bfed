// The notice at the top of the page: problems with the connection and what the user can do, and
// short messages.

import type { Chunk, World } from "@driftless/client";
import { byId } from "./dom.js";

/** The notice does not mention a lost connection that is back within this time. */
const PATIENCE_MS = 1500;
/** How long a short message is shown. */
const MESSAGE_MS = 5000;
const WAY_OUT = "Open the URL that `driftless dev` prints, or make a token with `driftless token` and paste it here.";

export class Notice {
  readonly #root = byId("notice");
  readonly #text = byId("notice-text");
  readonly #token = byId("token") as HTMLInputElement;
  readonly #button = byId("notice-button") as HTMLButtonElement;
  #world: World | undefined;
  #server = "";
  #since: number | undefined;
  #end: string | undefined;
  #message: { text: string; at: number } | undefined;
  #lastError: string | undefined;

  constructor() {
    this.#button.addEventListener("click", () => this.#act());
    this.#token.addEventListener("keydown", (event) => event.key === "Enter" && this.#act());
    setInterval(() => this.#show(), 250);
  }

  follow(world: World, server: string): void {
    this.#world = world;
    this.#server = server;
    this.#since = performance.now();
    world.on("status", ({ status }) => {
      this.#since = status === "connecting" ? performance.now() : undefined;
      if (status === "online") this.#lastError = undefined;
      this.#show();
    });
    world.on("error", (error) => (this.#lastError = error.message));
    world.on("close", ({ message }) => this.end(`${sentence(message)} ${WAY_OUT}`));
  }

  /** Shows when the chunk's history changes, because edits that were committed may be gone. */
  followChunk(chunk: Chunk): void {
    chunk.on("history", ({ message }) => this.say(sentence(message)));
  }

  /** Shows why the page cannot go on, with a field for another token. */
  end(words: string): void {
    this.#end = words;
    // Once there is a world, the panel shows its status.
    if (!this.#world) {
      byId("state-text").textContent = "no access";
      byId("state").className = "state is-closed";
    }
    this.#show();
  }

  /** The URL has no token. */
  noToken(): void {
    this.end(`This page needs a token in its URL (?token=…). ${WAY_OUT}`);
  }

  /** Shows why an edit was refused. */
  refused(why: string): void {
    this.say(sentence(why));
  }

  /** Shows a short message for a moment. */
  say(words: string): void {
    this.#message = { text: words, at: performance.now() };
    this.#show();
  }

  #show(): void {
    const words = this.#words();
    if (this.#text.textContent !== words) this.#text.textContent = words;
    this.#root.hidden = words === "";
    this.#root.classList.toggle("is-bad", this.#end !== undefined);
    this.#token.hidden = this.#end === undefined;
    const label = this.#end !== undefined ? "Open" : this.#world?.status === "offline" ? "Go online" : "Try now";
    if (this.#button.textContent !== label) this.#button.textContent = label;
    this.#button.hidden = this.#end === undefined && this.#world?.status === "online";
  }

  #words(): string {
    if (this.#end !== undefined) return this.#end;
    const pending = this.#world?.pending ?? 0;
    const kept = pending > 0 ? ` Your ${pending} uncommitted edit${pending === 1 ? " is" : "s are"} kept here.` : "";
    if (this.#world?.status === "offline") {
      return `You are offline. You can go on painting: your edits show at once, and are sent when you are online again.${kept}`;
    }
    const isLong = this.#since !== undefined && performance.now() - this.#since > PATIENCE_MS;
    if (this.#world?.status === "connecting" && isLong) {
      return `${sentence(this.#lastError ?? `${this.#server} does not answer`)}${kept} Trying again…`;
    }
    if (this.#message && performance.now() - this.#message.at < MESSAGE_MS) return this.#message.text;
    return "";
  }

  #act(): void {
    if (this.#end === undefined) return this.#world?.goOnline();
    const token = this.#token.value.trim().replace(/^.*[?&]token=([^&#]*).*$/, "$1");
    if (!token) return this.#token.focus();
    const next = new URL(location.href);
    next.searchParams.set("token", token);
    location.assign(next);
  }
}

function sentence(text: string): string {
  const trimmed = text.trim().replace(/\.$/, "");
  return trimmed ? `${trimmed[0]?.toUpperCase()}${trimmed.slice(1)}.` : "";
}
