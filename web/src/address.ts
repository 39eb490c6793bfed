// The parameters of the page's URL: `?token=…`, `&server=HOST` (default: the page's own
// host), `&at=X,Y` (the chunk in the middle), `&family=NAME` (default: canvas).

export interface Address {
  readonly token: string | undefined;
  /** `http(s)://host[:port]` */
  readonly http: string;
  /** `ws(s)://host[:port]` */
  readonly ws: string;
  readonly family: string;
  readonly at: readonly [number, number];
  /** The problem with the URL, as a text for the user. */
  readonly problem: string | undefined;
}

export function read(location: URL): Address {
  const token = location.searchParams.get("token")?.trim() || undefined;
  const family = location.searchParams.get("family") ?? "canvas";
  const corner = (location.searchParams.get("at") ?? "0,0").split(",").map(Number);
  const [x, y] = corner.length === 2 && corner.every(Number.isInteger) ? corner : [0, 0];
  const named = location.searchParams.get("server");
  let http = location.origin;
  let problem: string | undefined;
  if (named) {
    try {
      const url = new URL(/^\w+:\/\//.test(named) ? named : `${location.protocol}//${named}`);
      const scheme = { "http:": "http", "https:": "https", "ws:": "http", "wss:": "https" }[url.protocol];
      if (!scheme) throw new TypeError(url.protocol);
      http = `${scheme}://${url.host}`;
    } catch {
      problem = `?server=${named} is not a server. Write it as host:port, or as https://host.`;
    }
  }
  return { token, http, ws: http.replace(/^http/, "ws"), family, at: [x ?? 0, y ?? 0], problem };
}

/**
 * Restricts this page to connections with its own host and the server of the URL. The policy in
 * `index.html` allows any websocket, because it cannot know the server. A second policy can only
 * narrow the first one.
 */
export function narrowPolicy({ http, ws }: Address): void {
  const policy = document.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = `connect-src 'self' ${http} ${ws}`;
  document.head.append(policy);
}

/** The user's name in a token. The token is not verified, so only show the name. */
export function userOf(token: string): string | undefined {
  try {
    const part = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof sub === "string" ? sub : undefined;
  } catch {
    return undefined;
  }
}
