// The picture: confirmed cells as they are, own uncommitted ones hatched on top, discarded ones flashing red; and the
// pointer, which paints, pans and zooms.
//
// Places are world cells: cell (0, 0) is the first one of chunk 0/0, x to the right, y down. Each chunk has a small canvas
// of its own, one pixel a cell (the committed layer), so that a change costs its cells and a frame costs one image a chunk.

const FLASH_MS = 1100;
/// Device pixels a cell.
const SCALE_MAX = 64;
/// Visible chunks in each direction: 8 × 8 are as many as one stream takes.
const ACROSS_MAX = 8;

/// The host has `paint(cells: Map(chunk id → cells), value)`, `pick(value)`, `hover(place | null)`, `looksAt(ids)`.
export class Board {
  color = 1;
  brush = 3;
  #canvas;
  #context;
  #host;
  #family = null;
  #rgba = null;
  #link = null;
  #at = [-2, -2];
  #view = null;
  #layers = new Map();
  #flashes = [];
  #hover = null;
  #gesture = null;
  #isSpaceDown = false;
  #frame = 0;
  #looksAt = "";
  #hatch;

  constructor(canvas, host) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#host = host;
    this.#hatch = hatch(this.#context);
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.#listen();
  }

  /// Shows the chunks of a family, `corner` at the top left of the first four by four.
  open(link, corner) {
    this.#link = link;
    this.#family = link.family;
    this.#rgba = Uint32Array.from(link.family.colors, (color) => {
      const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
      return 0xff000000 + b * 65536 + g * 256 + r;
    });
    this.#at = corner;
    this.#view = null;
    this.#resize();
  }

  // ---- what changed ----

  /// Cells of a chunk, or all of them.
  changed(chunk, cells) {
    const layer = this.#layer(chunk.id);
    if (!chunk.cells) {
      layer.isShown = false;
    } else if (cells === null || !layer.isShown) {
      layer.isShown = true;
      for (let at = 0; at < chunk.cells.length; at += 1) layer.pixels[at] = this.#rgba[chunk.cells[at]];
      layer.isStale = true;
    } else {
      for (const at of cells) layer.pixels[at] = this.#rgba[chunk.cells[at]];
      layer.isStale ||= cells.length > 0;
    }
    this.draw();
  }

  /// An own edit was not committed: its cells flash.
  flash(chunk, cells) {
    this.#flashes.push({ chunk, cells, until: performance.now() + FLASH_MS });
    this.draw();
  }

  /// The committed layer's pixels, as they are drawn: RGBA, or null where there is none yet.
  pixels(id) {
    const layer = this.#layers.get(id);
    if (!layer?.isShown) return null;
    this.#refresh(layer);
    return layer.context.getImageData(0, 0, layer.image.width, layer.image.height).data;
  }

  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paintFrame();
    });
  }

  /// A new size empties the canvas: waiting for the next frame would show it empty.
  #drawNow() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#paintFrame();
  }

  // ---- the view ----

  fit() {
    const [width, height] = this.#family.size;
    const { width: w, height: h } = this.#canvas;
    const scale = Math.max(Math.min(w / (4 * width), h / (4 * height)) * 0.965, this.#scaleMin());
    const center = [(this.#at[0] + 2) * width, (this.#at[1] + 2) * height];
    this.#view = { scale, x: center[0] - w / 2 / scale, y: center[1] - h / 2 / scale };
    this.#moved();
  }

  zoom(factor, at = [this.#canvas.width / 2, this.#canvas.height / 2]) {
    if (!this.#view) return;
    const least = this.#scaleMin();
    const scale = Math.min(Math.max(this.#view.scale * factor, least), Math.max(SCALE_MAX, least));
    const { x, y, scale: before } = this.#view;
    this.#view = { scale, x: x + at[0] / before - at[0] / scale, y: y + at[1] / before - at[1] / scale };
    this.#moved();
  }

  #scaleMin() {
    const [width, height] = this.#family.size;
    // One less: an edge of a chunk is seen on both sides.
    const across = ACROSS_MAX - 1;
    return Math.max(this.#canvas.width / (across * width), this.#canvas.height / (across * height));
  }

  /// By cells of the screen's size: 1 is a whole screen.
  pan(across, down) {
    if (!this.#view) return;
    this.#view.x += (across * this.#canvas.width) / this.#view.scale;
    this.#view.y += (down * this.#canvas.height) / this.#view.scale;
    this.#moved();
  }

  /// Where a world cell's middle is, in CSS pixels of the canvas.
  whereIs(x, y) {
    const ratio = devicePixelRatio;
    return { x: ((x + 0.5 - this.#view.x) * this.#view.scale) / ratio, y: ((y + 0.5 - this.#view.y) * this.#view.scale) / ratio };
  }

  #moved() {
    const [width, height] = this.#family.size;
    const { coordinate_min: min, coordinate_max: max } = this.#family;
    const spanX = this.#canvas.width / this.#view.scale;
    const spanY = this.#canvas.height / this.#view.scale;
    const clamp = (low, value, high) => Math.min(Math.max(low, value), high);
    this.#view.x = clamp(min * width - spanX / 2, this.#view.x, (max + 1) * width - spanX / 2);
    this.#view.y = clamp(min * height - spanY / 2, this.#view.y, (max + 1) * height - spanY / 2);
    const visible = this.#visible();
    const key = visible.map(({ id }) => id).join();
    if (key !== this.#looksAt) {
      this.#looksAt = key;
      this.#host.looksAt(visible);
    }
    this.draw();
  }

  /// The chunks that are seen, those in the middle first.
  #visible() {
    const [width, height] = this.#family.size;
    const { coordinate_min: min, coordinate_max: max, name } = this.#family;
    const { x, y, scale } = this.#view;
    const range = (from, span, size) => [Math.floor(from / size), Math.floor((from + span) / size - 1e-9)];
    const [left, right] = range(x, this.#canvas.width / scale, width);
    const [top, bottom] = range(y, this.#canvas.height / scale, height);
    const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
    const seen = [];
    for (let cy = Math.max(top, min); cy <= Math.min(bottom, max); cy += 1) {
      for (let cx = Math.max(left, min); cx <= Math.min(right, max); cx += 1) {
        seen.push({ id: `${name}/${cx}/${cy}`, x: cx, y: cy, distance: Math.hypot(cx - middleX, cy - middleY) });
      }
    }
    return seen.sort((one, other) => one.distance - other.distance);
  }

  #resize() {
    const ratio = devicePixelRatio;
    const { clientWidth, clientHeight } = this.#canvas;
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (width === 0 || height === 0) return;
    const before = [this.#canvas.width, this.#canvas.height];
    if (before[0] !== width || before[1] !== height) Object.assign(this.#canvas, { width, height });
    if (this.#family && !this.#view) {
      this.fit();
    } else if (this.#family) {
      this.#view.x += (before[0] - width) / 2 / this.#view.scale;
      this.#view.y += (before[1] - height) / 2 / this.#view.scale;
      this.#moved();
    }
    this.#drawNow();
  }

  // ---- drawing ----

  #layer(id) {
    let layer = this.#layers.get(id);
    if (!layer) {
      const [width, height] = this.#family.size;
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      const image = context.createImageData(width, height);
      layer = { canvas, context, image, pixels: new Uint32Array(image.data.buffer), isShown: false, isStale: false };
      this.#layers.set(id, layer);
    }
    return layer;
  }

  #refresh(layer) {
    if (layer.isStale) layer.context.putImageData(layer.image, 0, 0);
    layer.isStale = false;
  }

  #paintFrame() {
    const context = this.#context;
    const style = getComputedStyle(this.#canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    context.fillStyle = color("--board");
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (!this.#view) return;
    const now = performance.now();
    for (const place of this.#visible()) {
      const box = this.#box(place);
      const chunk = this.#link.chunks.get(place.id);
      const layer = this.#layers.get(place.id);
      if (layer?.isShown) {
        this.#refresh(layer);
        context.imageSmoothingEnabled = this.#view.scale < 1;
        context.drawImage(layer.canvas, box.x, box.y, box.width, box.height);
      } else {
        context.fillStyle = color(chunk?.state === "rejected" || chunk?.state === "failed" ? "--board-refused" : "--board-empty");
        context.fillRect(box.x, box.y, box.width, box.height);
      }
      if (chunk?.predicted.size > 0) this.#drawPredicted(chunk, box);
      this.#drawFrame(chunk, box, color);
    }
    this.#drawHovered(color("--board-line-strong"));
    this.#drawFlashes(now, color("--bad"));
    this.#drawCursor();
    if (this.#flashes.length > 0) this.draw();
  }

  /// A chunk's place in device pixels.
  #box({ x, y }) {
    const [width, height] = this.#family.size;
    const left = Math.round((x * width - this.#view.x) * this.#view.scale);
    const top = Math.round((y * height - this.#view.y) * this.#view.scale);
    const right = Math.round(((x + 1) * width - this.#view.x) * this.#view.scale);
    const bottom = Math.round(((y + 1) * height - this.#view.y) * this.#view.scale);
    return { x: left, y: top, width: right - left, height: bottom - top };
  }

  #cellBox(box, at) {
    const [width, height] = this.#family.size;
    const [x, y] = [at % width, Math.floor(at / width)];
    const [stepX, stepY] = [box.width / width, box.height / height];
    const left = Math.round(box.x + x * stepX);
    const top = Math.round(box.y + y * stepY);
    const right = Math.max(left + 1, Math.round(box.x + (x + 1) * stepX));
    const bottom = Math.max(top + 1, Math.round(box.y + (y + 1) * stepY));
    return [left, top, right - left, bottom - top];
  }

  /// The colour that it will have, under a hatch that no committed cell has.
  #drawPredicted(chunk, box) {
    const context = this.#context;
    const shape = new Path2D();
    for (const [at, value] of chunk.predicted) {
      const cell = this.#cellBox(box, at);
      context.fillStyle = this.#family.colors[value];
      context.fillRect(...cell);
      shape.rect(...cell);
    }
    context.fillStyle = this.#hatch;
    context.fill(shape);
  }

  /// The edges to the left and above, and a word where there is nothing to see.
  #drawFrame(chunk, box, color) {
    const context = this.#context;
    const line = Math.max(1, Math.round(devicePixelRatio));
    context.fillStyle = color("--board-line");
    context.fillRect(box.x, box.y, box.width, line);
    context.fillRect(box.x, box.y + line, line, box.height - line);
    const isRefused = chunk?.state === "rejected" || chunk?.state === "failed";
    const isAwaited = !chunk?.cells && ["connecting", "live"].includes(this.#link.status.is);
    if (box.width < 90 * devicePixelRatio || !(isRefused || isAwaited)) return;
    context.fillStyle = color("--muted");
    context.font = `${Math.round(12 * devicePixelRatio)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const text = { rejected: "not served to you", failed: "stopped" }[chunk?.state] ?? "loading…";
    context.fillText(text, box.x + box.width / 2, box.y + box.height / 2, box.width - 8);
  }

  #drawHovered(color) {
    const place = this.#visible().find(({ id }) => id === this.#hover?.chunk);
    if (!place) return;
    const box = this.#box(place);
    this.#context.strokeStyle = color;
    this.#context.lineWidth = Math.max(1, Math.round(devicePixelRatio));
    this.#context.strokeRect(box.x + 0.5, box.y + 0.5, box.width, box.height);
  }

  #drawFlashes(now, color) {
    const context = this.#context;
    this.#flashes = this.#flashes.filter(({ until }) => until > now);
    for (const { chunk, cells, until } of this.#flashes) {
      const box = this.#box(chunk);
      const left = (until - now) / FLASH_MS;
      // Two pulses, then gone.
      context.globalAlpha = left * (0.55 + 0.45 * Math.cos(left * 4 * Math.PI));
      context.fillStyle = color;
      for (const at of cells) context.fillRect(...this.#cellBox(box, at));
    }
    context.globalAlpha = 1;
  }

  #drawCursor() {
    if (!this.#hover || this.#gesture?.is === "pan") return;
    const { x, y } = this.#hover;
    const { scale } = this.#view;
    const [left, top] = this.#corner(x, y);
    const at = [Math.round((left - this.#view.x) * scale), Math.round((top - this.#view.y) * scale)];
    const size = Math.max(3, Math.round(this.brush * scale));
    const context = this.#context;
    context.lineWidth = Math.max(1, Math.round(devicePixelRatio));
    context.strokeStyle = "#000";
    context.strokeRect(at[0] - 0.5, at[1] - 0.5, size + 1, size + 1);
    context.strokeStyle = "#fff";
    context.strokeRect(at[0] - 0.5 - context.lineWidth, at[1] - 0.5 - context.lineWidth, size + 1 + 2 * context.lineWidth, size + 1 + 2 * context.lineWidth);
  }

  // ---- the pointer ----

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.#up());
    canvas.addEventListener("pointerleave", () => this.#hoverAt(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    const space = (isDown) => (event) => {
      if (event.code !== "Space" || event.target.matches?.("input, button, summary, textarea")) return;
      event.preventDefault();
      this.#isSpaceDown = isDown;
      this.#cursor();
    };
    addEventListener("keydown", space(true));
    addEventListener("keyup", space(false));
    addEventListener("blur", () => {
      this.#isSpaceDown = false;
      this.#cursor();
    });
  }

  #cursor() {
    this.#canvas.style.cursor = this.#gesture?.is === "pan" ? "grabbing" : this.#isSpaceDown ? "grab" : "crosshair";
  }

  #down(event) {
    if (!this.#view) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const place = this.#place(event);
    if (event.altKey && event.button === 0) return this.#host.pick(place);
    const isPan = event.button !== 0 || this.#isSpaceDown;
    this.#gesture = isPan ? { is: "pan", from: this.#device(event) } : { is: "paint", at: [place.x, place.y] };
    if (!isPan) this.#stroke([place.x, place.y]);
    this.#cursor();
  }

  #move(event) {
    if (!this.#view) return;
    if (this.#gesture?.is === "pan") {
      const to = this.#device(event);
      this.#view.x -= (to[0] - this.#gesture.from[0]) / this.#view.scale;
      this.#view.y -= (to[1] - this.#gesture.from[1]) / this.#view.scale;
      this.#gesture.from = to;
      this.#moved();
    } else if (this.#gesture?.is === "paint") {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length > 0 ? events : [event]) {
        const { x, y } = this.#place(one);
        this.#stroke([x, y]);
      }
    }
    this.#hoverAt(this.#place(event));
  }

  #up() {
    this.#gesture = null;
    this.#cursor();
  }

  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp((-event.deltaY * lines) / 400), this.#device(event));
    this.#hoverAt(this.#place(event));
  }

  #device(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * devicePixelRatio, (event.clientY - box.top) * devicePixelRatio];
  }

  #place(event) {
    const [deviceX, deviceY] = this.#device(event);
    return this.#placeOf(Math.floor(this.#view.x + deviceX / this.#view.scale), Math.floor(this.#view.y + deviceY / this.#view.scale));
  }

  /// {x, y, chunk, cell}; chunk is null outside of the world.
  #placeOf(x, y) {
    const [width, height] = this.#family.size;
    const { coordinate_min: min, coordinate_max: max, name } = this.#family;
    const [cx, cy] = [Math.floor(x / width), Math.floor(y / height)];
    const isInside = [cx, cy].every((c) => c >= min && c <= max);
    return { x, y, chunk: isInside ? `${name}/${cx}/${cy}` : null, cell: x - cx * width + (y - cy * height) * width };
  }

  #hoverAt(place) {
    this.#hover = place;
    this.#host.hover(place);
    this.draw();
  }

  /// The top left cell of the brush.
  #corner(x, y) {
    const half = Math.floor((this.brush - 1) / 2);
    return [x - half, y - half];
  }

  /// Paints from where the stroke is to there, without holes.
  #stroke([toX, toY]) {
    const [fromX, fromY] = this.#gesture.at;
    const steps = Math.max(1, Math.abs(toX - fromX), Math.abs(toY - fromY));
    const cells = new Map();
    for (let step = 0; step <= steps; step += 1) {
      const [left, top] = this.#corner(Math.round(fromX + ((toX - fromX) * step) / steps), Math.round(fromY + ((toY - fromY) * step) / steps));
      for (let y = top; y < top + this.brush; y += 1) {
        for (let x = left; x < left + this.brush; x += 1) {
          const { chunk, cell } = this.#placeOf(x, y);
          if (!chunk) continue;
          if (!cells.has(chunk)) cells.set(chunk, new Set());
          cells.get(chunk).add(cell);
        }
      }
    }
    this.#gesture.at = [toX, toY];
    this.#host.paint(cells, this.color);
  }
}

/// Diagonal stripes, dark and light, so that they show on any colour. In device pixels: the same at every zoom.
function hatch(context) {
  const size = 6 * Math.max(1, Math.round(devicePixelRatio));
  const tile = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const draw = tile.getContext("2d");
  for (const [from, color] of [[0, "rgb(255 255 255 / 75%)"], [size / 2, "rgb(20 20 30 / 60%)"]]) {
    draw.fillStyle = color;
    for (const shift of [-size, 0, size]) {
      draw.beginPath();
      draw.moveTo(from + shift, size);
      draw.lineTo(from + shift + size, 0);
      draw.lineTo(from + shift + size * 1.25, 0);
      draw.lineTo(from + shift + size * 0.25, size);
      draw.fill();
    }
  }
  return context.createPattern(tile, "repeat");
}
