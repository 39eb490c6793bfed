// The notice at the top of the page: problems with the connection and what the user can do, and
// short messages.

import type { Chunk, World } from "@driftless/client";
import { byId } from "./dom.js";
import { openWith } from "./token.js";

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
  readonly #send = byId("notice-send") as HTMLButtonElement;
  /** `http(s)://host[:port]` */
  readonly #http: string;
  #world: World | undefined;
  #since: number | undefined;
  #end: string | undefined;
  #message: { text: string; at: number } | undefined;
  #lastError: string | undefined;
  /** The pasted token about which the page asks whether to send it to the server. */
  #asked: string | undefined;

  /** `http` is the server to which the page sends the token: `http(s)://host[:port]`. */
  constructor(http: string) {
    this.#http = http;
    this.#button.addEventListener("click", () => this.#act());
    this.#send.addEventListener("click", () => this.#asked !== undefined && openWith(http, this.#asked));
    this.#token.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      // The question moves the focus, and the key would press the focused button.
      event.preventDefault();
      this.#act();
    });
    this.#root.addEventListener("keydown", (event) => event.key === "Escape" && this.#doNotSend());
    setInterval(() => this.#show(), 250);
  }

  follow(world: World): void {
    this.#world = world;
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
    const isAsking = this.#asked !== undefined;
    this.#root.classList.toggle("is-bad", this.#end !== undefined);
    this.#token.hidden = this.#end === undefined || isAsking;
    this.#send.hidden = !isAsking;
    const label = this.#label();
    if (this.#button.textContent !== label) this.#button.textContent = label;
    this.#button.hidden = this.#end === undefined && this.#world?.status === "online";
  }

  get #host(): string {
    return new URL(this.#http).host;
  }

  #label(): string {
    if (this.#asked !== undefined) return "Do not send it";
    if (this.#end !== undefined) return "Open";
    return this.#world?.status === "offline" ? "Go online" : "Try now";
  }

  #words(): string {
    if (this.#asked !== undefined) {
      return (
        `Send this token to ${this.#host}? The link of this page names that server, and this page is from ` +
        `${location.host}. The server can then do everything that the token allows. Send it only if it is yours.`
      );
    }
    if (this.#end !== undefined) return this.#end;
    const pending = this.#world?.pending ?? 0;
    const kept = pending > 0 ? ` Your ${pending} uncommitted edit${pending === 1 ? " is" : "s are"} kept here.` : "";
    if (this.#world?.status === "offline") {
      return `You are offline. You can go on painting: your edits show at once, and are sent when you are online again.${kept}`;
    }
    const isLong = this.#since !== undefined && performance.now() - this.#since > PATIENCE_MS;
    if (this.#world?.status === "connecting" && isLong) {
      return `${sentence(this.#lastError ?? `${this.#host} does not answer`)}${kept} Trying again…`;
    }
    if (this.#message && performance.now() - this.#message.at < MESSAGE_MS) return this.#message.text;
    return "";
  }

  #act(): void {
    if (this.#asked !== undefined) return this.#doNotSend();
    if (this.#end === undefined) return this.#world?.goOnline();
    const token = this.#token.value.trim().replace(/^.*[?&]token=([^&#]*).*$/, "$1");
    if (!token) return this.#token.focus();
    if (this.#http === location.origin) return openWith(this.#http, token);
    // A link can name any server, so a pasted token goes to another one than the page's own only
    // after a question.
    this.#asked = token;
    this.#show();
    this.#button.focus();
  }

  #doNotSend(): void {
    if (this.#asked === undefined) return;
    this.#asked = undefined;
    this.#token.value = "";
    this.#show();
    this.#token.focus();
  }
}

function sentence(text: string): string {
  const trimmed = text.trim().replace(/\.$/, "");
  return trimmed ? `${trimmed[0]?.toUpperCase()}${trimmed.slice(1)}.` : "";
}
