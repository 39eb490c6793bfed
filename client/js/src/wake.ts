/**
 * Listens to the platform's events about sleep and network. `online` runs when the network is back,
 * `awake` when the page is shown again. Returns a function that removes the listeners. Does nothing
 * where the platform has no such events (Node.js).
 */
export function listenForWake(online: () => void, awake: () => void): () => void {
  const { addEventListener, removeEventListener } = globalThis as {
    addEventListener?: unknown;
    removeEventListener?: unknown;
  };
  if (typeof addEventListener !== "function" || typeof removeEventListener !== "function") {
    return () => {};
  }
  const listeners = { online, visibilitychange: awake, pageshow: awake };
  for (const [type, listener] of Object.entries(listeners)) addEventListener(type, listener);
  return () => {
    for (const [type, listener] of Object.entries(listeners)) removeEventListener(type, listener);
  };
}
