// The demo of Driftless: a canvas that many users paint at the same time. This file connects to the
// world that the URL names; `page.ts` puts the page together.

import { connect } from "@driftless/client";
import { type Address, narrowPolicy, read, userOf } from "./address.js";
import { byId } from "./dom.js";
import { Notice } from "./notice.js";
import { openPage } from "./page.js";
import { takeToken } from "./token.js";

/** The ids of the elements that cannot be used until the world is open. */
const INERT = ["board", "tools", "dock", "zoom", "panel-body"];
/** The number of own commits in a chunk that can be undone. */
const UNDO_MAX = 256;

const url = read(new URL(location.href));
const address: Address = { ...url, token: takeToken(url) };
narrowPolicy(address);
const notice = new Notice(address.http);

function setInert(isInert: boolean): void {
  for (const id of INERT) byId(id).inert = isInert;
}

async function start(): Promise<void> {
  const { token, ws, family: name } = address;
  if (address.problem) return notice.end(address.problem);
  if (!token) return notice.noToken();
  const author = userOf(token);
  const world = await connect({
    ingest: `${ws}/v1/ingest`,
    gateway: `${ws}/v1/gateway`,
    token,
    author,
    undoMax: UNDO_MAX,
  });
  notice.follow(world);
  let worldName = "";
  world.on("welcome", ({ world }) => (worldName = world));
  // The first welcome of a gateway announces the families.
  while (world.families.length === 0) {
    await Promise.race([world.once("welcome"), world.once("close")]);
    if (world.status === "closed") return;
  }
  const family = world.families.find((family) => family.name === name);
  if (!family || world.colors(name).length === 0) {
    return notice.end(`This world has no family ${name} with colours. Name another one in the URL: &family=…`);
  }
  byId("world").textContent = `world ${worldName}${author ? ` · you are ${author}` : ""}`;
  document.body.classList.remove("is-starting");
  setInert(false);
  openPage(world, family, address, notice);
}

/** On a small screen, the panel is a sheet that the button opens and closes. */
function listenForSheet(): void {
  const button = byId("sheet");
  button.addEventListener("click", () => {
    const isOpen = document.body.classList.toggle("is-sheet-open");
    button.setAttribute("aria-expanded", String(isOpen));
    button.setAttribute("aria-label", isOpen ? "Hide the panel" : "Show the panel");
  });
}

setInert(true);
listenForSheet();
start().catch((error: unknown) => {
  notice.end(`The page could not start: ${error instanceof Error ? error.message : String(error)}`);
});
