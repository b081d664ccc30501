"use strict";
// The map of the vocabulary: every token as a dot of its own, drawn pixel by pixel, because a
// hundred thousand elements or a graphics card cannot be counted on. No dot is left out: where
// several lie on one pixel the last is seen, and groups are drawn from the largest to the smallest.
(() => {
  const MAGIC = 0x4d4f5349; // ISOM
  const VERSION = 1;
  const PLACES = 1;
  const CODES = 2;
  const NO_NUMBER = 255;

  // What the server sends: a head of sixteen bytes, and as much as it says.
  const opened = (buffer, kind, n) => {
    const head = new DataView(buffer);
    const count = buffer.byteLength >= 16 ? head.getUint32(8, true) : -1;
    const size = kind === PLACES ? 8 : 1;
    const fits =
      count >= 0 &&
      head.getUint32(0, true) === MAGIC &&
      head.getUint16(4, true) === VERSION &&
      head.getUint16(6, true) === kind &&
      buffer.byteLength === 16 + size * count &&
      (n === undefined || n === count);
    if (!fits) throw new Error("the map's data are not what this page expects; reload it");
    return kind === PLACES ? new Float32Array(buffer, 16) : new Uint8Array(buffer, 16);
  };

  const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  // As a pixel of an ImageData is stored on every machine that browsers run on.
  const pixel = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
  const between = (scale, share) => {
    const at = share * (scale.length - 1);
    const low = Math.min(Math.floor(at), scale.length - 2);
    const [a, b] = [rgb(scale[low]), rgb(scale[low + 1])];
    return a.map((value, n) => Math.round(value + (b[n] - value) * (at - low)));
  };
  // Round numbers, some five of them.
  const ticks = (low, high) => {
    const step = 10 ** Math.floor(Math.log10((high - low) / 4));
    const wide = [1, 2, 5, 10].find((n) => (high - low) / (step * n) <= 6) * step;
    const found = [];
    for (let n = Math.ceil(low / wide); n * wide <= high; n += 1) found.push(n * wide);
    return found.map((value) => [value, Number(value.toPrecision(6)).toString()]);
  };

  class TokenMap {
    // element: an empty one with a size. places: of `opened`. hovered: called with an id, −1 of none.
    // picked: called with an id, or with −1 and the place where there is none.
    constructor(element, places, { picked, hovered }) {
      this.element = element;
      this.places = places;
      this.n = places.length / 2;
      this.picked = picked;
      this.hovered = hovered;
      this.canvas = document.createElement("canvas");
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "application");
      this.canvas.setAttribute(
        "aria-label",
        `Map of ${this.n.toLocaleString("en")} tokens. Arrow keys move it, plus and minus zoom, ` +
          "zero shows all, Enter goes to the token in the middle. The search finds tokens by text.",
      );
      element.replaceChildren(this.canvas);
      this.context = this.canvas.getContext("2d");
      this.colours = new Int32Array(256).fill(pixel([123, 126, 152]));
      this.codes = new Uint8Array(this.n);
      this.order = Uint32Array.from({ length: this.n }, (_, i) => i);
      this.own = -1;
      this.seen = [];
      this.draws = 0;
      this.asked = false;
      this.measure();
      this.reset();
      this.listen();
      new ResizeObserver(() => {
        this.measure();
        this.redraw();
      }).observe(element);
    }

    measure() {
      const { clientWidth, clientHeight } = this.element;
      this.ratio = Math.min(devicePixelRatio || 1, 2);
      this.width = Math.max(1, Math.round(clientWidth * this.ratio));
      this.height = Math.max(1, Math.round(clientHeight * this.ratio));
      this.canvas.width = this.width;
      this.canvas.height = this.height;
      this.image = this.context.createImageData(this.width, this.height);
      this.pixels = new Int32Array(this.image.data.buffer);
    }

    // All tokens with a place, and a little room around them.
    reset() {
      let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
      for (let i = 0; i < this.places.length; i += 2) {
        const [x, y] = [this.places[i], this.places[i + 1]];
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < low) low = y;
        if (y > high) high = y;
      }
      if (!(left <= right)) [left, right, low, high] = [-1, 1, -1, 1];
      const room = this.ratio * 34;
      const scales = [(this.width - 2 * room) / (right - left || 1), (this.height - 2 * room) / (high - low || 1)];
      this.scale = Math.max(1e-30, Math.min(...scales));
      this.x = (left + right) / 2;
      this.y = (low + high) / 2;
      this.whole = this.scale;
      this.redraw();
    }

    // Lines are those of a globe, with null between them: there are no ticks then.
    place(places, lines) {
      this.places = places;
      this.lines = lines;
      this.reset();
    }

    redraw() {
      if (this.asked) return;
      this.asked = true;
      requestAnimationFrame(() => {
        this.asked = false;
        this.draw();
      });
    }

    draw() {
      const { pixels, places, codes, colours, order, width, height, scale } = this;
      pixels.fill(0);
      const right = width / 2 - this.x * scale;
      const down = height / 2 + this.y * scale;
      // A dot has two pixels a side, three where one has zoomed in, each on a screen of one.
      const side = Math.max(1, Math.round(this.ratio * (this.scale > 4 * this.whole ? 3 : 2)));
      const most = order.length;
      for (let at = 0; at < most; at += 1) {
        const i = order[at];
        const x = (places[2 * i] * scale + right) | 0;
        const y = (down - places[2 * i + 1] * scale) | 0;
        if (x < 0 || y < 0 || x > width - side || y > height - side) continue;
        // NaN becomes 0 above; a row without a place has no dot.
        if (x === 0 && y === 0 && places[2 * i] !== places[2 * i]) continue;
        const colour = colours[codes[i]];
        for (let row = y * width + x, end = row + side * width; row < end; row += width)
          for (let column = row; column < row + side; column += 1) pixels[column] = colour;
      }
      this.context.putImageData(this.image, 0, 0);
      this.marks();
      this.draws += 1;
    }

    at(i) {
      return [
        (this.places[2 * i] - this.x) * this.scale + this.width / 2,
        (this.y - this.places[2 * i + 1]) * this.scale + this.height / 2,
      ];
    }

    marks() {
      const { context, ratio } = this;
      const style = getComputedStyle(this.element);
      context.font = `${12 * ratio}px ${style.fontFamily}`;
      context.fillStyle = style.color;
      context.textAlign = "center";
      if (this.lines) this.globe();
      else this.scales(context, ratio);
      context.lineWidth = 1.5 * ratio;
      context.strokeStyle = style.color;
      for (const i of this.seen) this.ring(i, 4);
      if (this.own >= 0) {
        context.lineWidth = 2.5 * ratio;
        this.ring(this.own, 8);
      }
    }

    globe() {
      const { context } = this;
      const { x, y } = this.lines;
      context.lineWidth = this.ratio;
      context.strokeStyle = "rgba(123, 126, 152, 0.45)";
      context.beginPath();
      let on = false;
      for (let n = 0; n < x.length; n += 1) {
        const place = [(x[n] - this.x) * this.scale + this.width / 2, (this.y - y[n]) * this.scale + this.height / 2];
        if (x[n] === null) on = false;
        else if (on) context.lineTo(...place);
        else context.moveTo(...place);
        on = x[n] !== null;
      }
      context.stroke();
    }

    scales(context, ratio) {
      const [w, h] = [this.width / 2 / this.scale, this.height / 2 / this.scale];
      for (const [value, text] of ticks(this.x - w, this.x + w)) {
        const x = (value - this.x) * this.scale + this.width / 2;
        context.fillRect(x, this.height - 4 * ratio, ratio, 4 * ratio);
        context.fillText(text, x, this.height - 7 * ratio);
      }
      context.textAlign = "left";
      for (const [value, text] of ticks(this.y - h, this.y + h)) {
        const y = (this.y - value) * this.scale + this.height / 2;
        context.fillRect(0, y, 4 * ratio, ratio);
        context.fillText(text, 7 * ratio, y + 4 * ratio);
      }
    }

    ring(i, radius) {
      const [x, y] = this.at(i);
      if (x !== x) return;
      this.context.beginPath();
      this.context.arc(x, y, radius * this.ratio, 0, 2 * Math.PI);
      this.context.stroke();
    }

    // The nearest dot within some pixels, the one that is seen where several are as near.
    nearest(x, y, within) {
      const { places, order, scale } = this;
      const [px, py] = [this.x + (x - this.width / 2) / scale, this.y - (y - this.height / 2) / scale];
      let best = (within / scale) ** 2;
      let found = -1;
      for (let at = 0; at < order.length; at += 1) {
        const i = order[at];
        const [dx, dy] = [places[2 * i] - px, places[2 * i + 1] - py];
        const square = dx * dx + dy * dy;
        if (square <= best) [best, found] = [square, i];
      }
      return found;
    }

    colour(codes, colours, sizes) {
      this.codes = codes;
      this.colours.set(colours.map(pixel));
      const rank = new Int32Array(256);
      if (sizes) {
        const byCount = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a]);
        byCount.forEach((code, n) => (rank[code] = n));
        // Counting sort: by group, and within one by id.
        const starts = new Uint32Array(257);
        for (let i = 0; i < this.n; i += 1) starts[rank[codes[i]] + 1] += 1;
        for (let n = 1; n < 257; n += 1) starts[n] += starts[n - 1];
        for (let i = 0; i < this.n; i += 1) this.order[starts[rank[codes[i]]]++] = i;
      }
      this.redraw();
    }

    mark(own, seen) {
      this.own = own;
      this.seen = seen;
      this.redraw();
    }

    zoom(factor, x = this.width / 2, y = this.height / 2) {
      const scale = Math.min(Math.max(this.scale * factor, this.whole / 4), this.whole * 1e5);
      const [dx, dy] = [x - this.width / 2, y - this.height / 2];
      this.x += dx / this.scale - dx / scale;
      this.y -= dy / this.scale - dy / scale;
      this.scale = scale;
      this.redraw();
    }

    pan(dx, dy) {
      this.x -= dx / this.scale;
      this.y += dy / this.scale;
      this.redraw();
    }

    listen() {
      const { canvas } = this;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
      };
      const held = new Map();
      let moved = 0;
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        held.set(event.pointerId, place(event));
        moved = 0;
      });
      canvas.addEventListener("pointermove", (event) => {
        const [x, y] = place(event);
        const before = held.get(event.pointerId);
        if (!before) {
          this.hovered(this.nearest(x, y, 10 * this.ratio), event);
          return;
        }
        const others = [...held].filter(([id]) => id !== event.pointerId);
        if (others.length) {
          // Two fingers: by how much they have moved apart.
          const [[, [ox, oy]]] = others;
          const factor = Math.hypot(x - ox, y - oy) / (Math.hypot(before[0] - ox, before[1] - oy) || 1);
          this.zoom(factor, (x + ox) / 2, (y + oy) / 2);
        } else {
          this.pan(x - before[0], y - before[1]);
        }
        moved += Math.hypot(x - before[0], y - before[1]);
        held.set(event.pointerId, [x, y]);
      });
      const release = (event) => {
        const was = held.delete(event.pointerId);
        if (!was || event.type !== "pointerup" || moved > 5 * this.ratio) return;
        const [x, y] = place(event);
        const on = [this.x + (x - this.width / 2) / this.scale, this.y - (y - this.height / 2) / this.scale];
        this.picked(this.nearest(x, y, 10 * this.ratio), ...on);
      };
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => this.hovered(-1));
      canvas.addEventListener(
        "wheel",
        (event) => {
          // Without a key the page scrolls, as everywhere else on it.
          if (!event.ctrlKey && !event.metaKey && !event.shiftKey && document.activeElement !== canvas) return;
          event.preventDefault();
          const by = event.deltaY || event.deltaX;
          this.zoom(Math.exp(-Math.sign(by) * Math.min(Math.abs(by), 100) / 300), ...place(event));
        },
        { passive: false },
      );
      canvas.addEventListener("keydown", (event) => {
        const step = 60 * this.ratio;
        const does = {
          ArrowLeft: () => this.pan(step, 0),
          ArrowRight: () => this.pan(-step, 0),
          ArrowUp: () => this.pan(0, step),
          ArrowDown: () => this.pan(0, -step),
          "+": () => this.zoom(1.5),
          "=": () => this.zoom(1.5),
          "-": () => this.zoom(1 / 1.5),
          0: () => this.reset(),
          Enter: () => {
            const found = this.nearest(this.width / 2, this.height / 2, this.width);
            if (found >= 0) this.picked(found);
          },
        }[event.key];
        if (!does || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        does();
      });
    }
  }

  window.IsologitMap = { TokenMap, opened, between, rgb, PLACES, CODES, NO_NUMBER };
})();
