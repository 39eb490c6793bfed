// The hint for a first visit. The page shows it until the user closes it or paints.

import { byId, onClick } from "./dom.js";

const SEEN = "driftless.hint";

export class Hint {
  readonly #root = byId("hint");

  /** `addBots` runs when the user asks for bots in the hint. */
  constructor(addBots: () => void) {
    this.#root.hidden = wasSeen();
    onClick("hint-close", () => this.close());
    // Without "noopener", so that the window gets a copy of this tab's token (`token.ts`).
    onClick("hint-window", () => window.open(location.href, "_blank", "popup,width=1000,height=760"));
    onClick("hint-bots", () => {
      addBots();
      this.close();
    });
  }

  close(): void {
    if (this.#root.hidden) return;
    this.#root.hidden = true;
    try {
      localStorage.setItem(SEEN, "seen");
    } catch {
      // The browser forbids storage, so the hint is shown again at the next visit.
    }
  }
}

function wasSeen(): boolean {
  try {
    return localStorage.getItem(SEEN) !== null;
  } catch {
    return false;
  }
}
