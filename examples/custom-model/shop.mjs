// A shop in JavaScript, on a core that has the model `stock`. This program is for Node.js; in a
// browser, leave `WebSocket` out.
//
//   node shop.mjs CORE INGEST GATEWAY TOKEN
//
// CORE is the folder that `cargo xtask wasm --package driftless-example-stock --out CORE` made.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { connect } from "../../client/js/dist/index.js";

const [folder, ingest, gateway, token] = process.argv.slice(2);
if (!token) {
  console.error("usage: node shop.mjs CORE INGEST GATEWAY TOKEN");
  process.exit(2);
}
// In a project of your own: import { WebSocket } from "ws". From version 22 on, Node.js has a
// WebSocket.
const { WebSocket } = createRequire(new URL("../../client/js/package.json", import.meta.url))("ws");
const at = (name) => pathToFileURL(join(resolve(folder), name));
const core = { module: await import(at("driftless_core.js").href), wasm: at("driftless_core.wasm") };

const world = await connect({ ingest, gateway, token, core, WebSocket });
const shop = await world.track("shop/1").live();
console.log(JSON.stringify(shop.json));
for (const change of [-4, -7, 20, -26]) {
  const sale = shop.submit({ change });
  // The model in the client predicts each outcome, so the view never shows a stock below zero.
  const shown = shop.json.stock;
  const { kind, detail } = await sale.outcome;
  console.log(JSON.stringify({ change, shown, kind, ...(detail && { detail }), stock: shop.json.stock }));
  if (change === 20) await Promise.all(sale.undo().map((back) => back.outcome));
}
console.log(JSON.stringify(shop.json));
world.close();
