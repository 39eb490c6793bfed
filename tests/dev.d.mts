export interface Ready {
  http: string;
  ingest_ws: string;
  gateway_ws: string;
  token: string;
  /** The audience that tokens must name. */
  audience: string;
}

export interface Rights {
  read?: string[];
  write?: string[];
}

export class Dev {
  readonly folder: string;
  readonly ready: Ready;
  constructor(settings?: { program?: string; flags?: string[] });
  start(settings?: { isFresh?: boolean }): Promise<void>;
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  end(): Promise<void>;
  token(sub: string, rights?: Rights & { seconds?: number }): string;
}
