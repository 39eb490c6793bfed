// The user's token: from the URL, from the notice's field, or from an earlier load of this tab.
//
// The page takes a token out of the address bar at once, because people copy, photograph and
// bookmark addresses. It keeps the token in `sessionStorage`, under the origin of the server that
// the token is for. So a reload of the tab finds the token again, and neither another tab, nor a
// later visit, nor another server gets it.

import type { Address } from "./address.js";

const KEY = "driftless.token ";

/** Returns the token for the server of the address. Takes the token out of the address bar. */
export function takeToken(address: Address): string | undefined {
  const { token, http } = address;
  const url = new URL(location.href);
  if (url.searchParams.has("token")) {
    url.searchParams.delete("token");
    history.replaceState(history.state, "", url);
  }
  if (address.problem) return undefined;
  if (token) keepToken(http, token);
  return token ?? keptToken(http);
}

/** Keeps a token for a server until the tab is closed. Returns false if the browser forbids it. */
function keepToken(http: string, token: string): boolean {
  try {
    sessionStorage.setItem(KEY + http, token);
    return true;
  } catch {
    return false;
  }
}

/** Opens the page again with another token for its server. */
export function openWith(http: string, token: string): void {
  if (keepToken(http, token)) return location.reload();
  const next = new URL(location.href);
  next.searchParams.set("token", token);
  location.assign(next);
}

function keptToken(http: string): string | undefined {
  try {
    return sessionStorage.getItem(KEY + http) ?? undefined;
  } catch {
    return undefined;
  }
}
