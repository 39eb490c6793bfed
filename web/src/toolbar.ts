// The buttons for tools, colours, sizes and stamps, and their keys.

import { byId, create } from "./dom.js";
import type { Palette } from "./palette.js";
import { SPRITES } from "./pictures.js";
import { draw, make, type Source } from "./stamp.js";
import { SIZES, TOOLS, type Tool, type Tools } from "./tools.js";

/**
 * The colours that have a button each. The toolbar replaces each by the nearest colour of the
 * palette. The first nine have the keys 1 to 9.
 */
const QUICK = [
  ...["#1f2430", "#e03131", "#ff7f00", "#ffd433", "#33aa33", "#33aacc", "#3366ff", "#9933cc", "#fafaf7"],
  ...["#808080", "#ff99cc", "#995500", "#ffd499", "#99d466", "#99d4ff", "#003399"],
];
const TOOL_KEYS: Readonly<Record<string, Tool>> = {
  b: "brush",
  g: "fill",
  i: "pick",
  s: "stamp",
  t: "label",
  h: "hand",
};

export class Toolbar {
  /** Runs when the tool, the colour, the size or the stamp changed. */
  changed: () => void = () => {};
  /** Runs when a picture cannot be used, with the reason. */
  failed: (why: string) => void = () => {};
  readonly #tools: Tools;
  readonly #palette: Palette;
  readonly #ghost: HTMLCanvasElement;
  #source: Source = { sprite: SPRITES[0] as (typeof SPRITES)[number] };
  #before: Tool = "brush";

  constructor(tools: Tools, palette: Palette, ghost: HTMLCanvasElement) {
    this.#tools = tools;
    this.#palette = palette;
    this.#ghost = ghost;
    this.#fillTools();
    this.#fillPalette();
    this.#fillStamps();
    this.choose(palette.nearest(QUICK[1] ?? "#e03131"));
    this.size(1);
    this.tool("brush");
  }

  tool(tool: Tool): void {
    if (tool !== "pick") this.#before = tool;
    this.#tools.tool = tool;
    for (const button of byId("tools").querySelectorAll<HTMLElement>("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
    byId("stamps").hidden = tool !== "stamp";
    this.changed();
  }

  /** Chooses a colour that was picked from the canvas, and goes back to the previous tool. */
  picked(value: number): void {
    this.choose(value);
    if (this.#tools.tool === "pick") this.tool(this.#before);
  }

  choose(value: number): void {
    this.#tools.value = value;
    for (const swatch of document.querySelectorAll<HTMLButtonElement>(".swatches button")) {
      swatch.setAttribute("aria-pressed", String(Number(swatch.value) === value));
    }
    (byId("more").firstElementChild as HTMLElement).style.background = this.#palette.color(value);
    this.changed();
  }

  /** Chooses a size by its index. */
  size(size: number): void {
    this.#tools.size = Math.min(Math.max(size, 0), SIZES.length - 1);
    for (const button of byId("brushes").children) {
      button.setAttribute("aria-pressed", String(Number((button as HTMLButtonElement).value) === this.#tools.brush));
    }
    this.#makeStamp();
  }

  /** Makes a stamp of an image file that was dropped, pasted or chosen. */
  async image(file: Blob, name = "picture"): Promise<void> {
    try {
      this.#source = { image: await createImageBitmap(file), name };
    } catch {
      return this.failed(`this browser cannot read ${name} as a picture`);
    }
    this.#makeStamp();
    this.tool("stamp");
    this.#markStamps(undefined);
  }

  /** Handles a key. Returns false if the toolbar does not use the key. */
  key(event: KeyboardEvent): boolean {
    const digit = "123456789".indexOf(event.key);
    const swatch = byId("quick").children[digit] as HTMLButtonElement | undefined;
    const tool = TOOL_KEYS[event.key.toLowerCase()];
    if (digit >= 0 && swatch) this.choose(Number(swatch.value));
    else if (event.key === "[") this.size(this.#tools.size - 1);
    else if (event.key === "]") this.size(this.#tools.size + 1);
    else if (tool) this.tool(tool);
    else return false;
    return true;
  }

  #fillTools(): void {
    for (const button of byId("tools").querySelectorAll<HTMLElement>("[data-tool]")) {
      const tool = TOOLS.find((name) => name === button.dataset.tool);
      if (tool) button.addEventListener("click", () => this.tool(tool));
    }
    SIZES.forEach((size, at) => {
      const title = `${size} × ${size} cells; stamps ${["small", "middle", "large"][at]}`;
      const button = create("button", { type: "button", value: String(size), title });
      button.setAttribute("aria-label", `Size ${size}`);
      const dot = document.createElement("i");
      dot.style.width = dot.style.height = `${[4, 8, 14][at]}px`;
      button.append(dot);
      button.addEventListener("click", () => this.size(at));
      byId("brushes").append(button);
    });
  }

  #fillPalette(): void {
    const quick = [...new Set(QUICK.map((color) => this.#palette.nearest(color)))];
    byId("quick").replaceChildren(...quick.map((value, at) => this.#swatch(value, at < 9 ? ` (${at + 1})` : "")));
    const more = byId("more");
    const all = byId("palette");
    const toggle = (isOpen: boolean) => {
      if (isOpen && all.childElementCount === 0) {
        all.replaceChildren(...this.#palette.sorted().map((value) => this.#swatch(value, "")));
      }
      all.hidden = !isOpen;
      more.setAttribute("aria-expanded", String(isOpen));
      this.choose(this.#tools.value);
    };
    more.addEventListener("click", () => toggle(all.hidden));
    byId("board").addEventListener("pointerdown", () => !all.hidden && toggle(false));
    addEventListener("keydown", (event) => event.key === "Escape" && !all.hidden && toggle(false));
  }

  #swatch(value: number, key: string): HTMLButtonElement {
    const color = this.#palette.color(value);
    const title = `${value}: ${color}${key}`;
    const button = create("button", { type: "button", value: String(value), title });
    button.setAttribute("aria-label", `Colour ${value}, ${color}`);
    button.style.background = color;
    button.addEventListener("click", () => {
      this.choose(value);
      if (this.#tools.tool !== "fill") this.tool("brush");
    });
    return button;
  }

  #fillStamps(): void {
    const list = byId("stamps");
    SPRITES.forEach((sprite, at) => {
      const button = create("button", { type: "button", title: sprite.name });
      button.setAttribute("aria-label", `Stamp: ${sprite.name}`);
      const canvas = document.createElement("canvas");
      draw(make({ sprite }, 0, this.#palette), canvas, this.#palette);
      button.append(canvas);
      button.addEventListener("click", () => {
        this.#source = { sprite };
        this.#makeStamp();
        this.#markStamps(at);
      });
      list.append(button);
    });
    const input = create("input", { type: "file", accept: "image/*" });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) void this.image(file, file.name);
      input.value = "";
    });
    const label = create("label", { className: "file", title: "Choose a picture, or drop one on the canvas" });
    label.append(input, "Picture…");
    list.append(label);
    this.#markStamps(0);
  }

  #markStamps(chosen: number | undefined): void {
    const buttons = [...byId("stamps").querySelectorAll("button")];
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === chosen)));
  }

  #makeStamp(): void {
    this.#tools.stamp = make(this.#source, this.#tools.size, this.#palette);
    draw(this.#tools.stamp, this.#ghost, this.#palette);
    this.changed();
  }
}
