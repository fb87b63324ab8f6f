// Items as points: drawn pixel by pixel, found under the pointer, encircled.

const NEAR = 12; // pixels within which a point is under the pointer

export class PointMap {
  constructor(canvas, on) {
    this.canvas = canvas;
    this.on = on; // {hover, pick, lasso}
    this.x = this.y = new Float32Array(0);
    this.colours = new Uint32Array(0);
    this.lasso = []; // in data coordinates
    this.path = null; // while it is drawn
    this.chosen = -1;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.on.hover(-1));
    canvas.addEventListener("wheel", (event) => this.zoom(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.fit());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  place(x, y) {
    [this.x, this.y] = [x, y];
    this.fit();
  }

  // Show all points, with a margin; far outliers do not squeeze the others.
  fit() {
    const ends = (values) => {
      const known = values.filter(Number.isFinite).sort();
      const at = (share) => known[Math.min(Math.floor(share * known.length), known.length - 1)];
      const [low, high] = [at(0.001), at(0.999)];
      const margin = 0.06 * (high - low || 1);
      return [low - margin, high + margin];
    };
    this.view = { x: ends(this.x), y: ends(this.y) };
    this.draw();
  }

  // Pixels are data times a scale, and shifted.
  toPixels() {
    const { width, height } = this.canvas;
    const { x, y } = this.view;
    const scale = { x: width / (x[1] - x[0]), y: -height / (y[1] - y[0]) };
    return { scale, shift: { x: -x[0] * scale.x, y: -y[1] * scale.y } };
  }

  toPixel(x, y) {
    const { scale, shift } = this.toPixels();
    return [x * scale.x + shift.x, y * scale.y + shift.y];
  }

  toData(event) {
    const box = this.canvas.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const up = 1 - (event.clientY - box.top) / box.height;
    const { x, y } = this.view;
    return [x[0] + across * (x[1] - x[0]), y[0] + up * (y[1] - y[0])];
  }

  draw() {
    if (!this.view) return;
    const ratio = devicePixelRatio || 1;
    const width = (this.canvas.width = Math.round(this.canvas.clientWidth * ratio));
    const height = (this.canvas.height = Math.round(this.canvas.clientHeight * ratio));
    if (!width) return;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const size = Math.max(2, Math.round(ratio * (this.x.length > 20000 ? 1.5 : this.x.length > 3000 ? 2.5 : 4)));
    const { scale, shift } = this.toPixels();
    for (let i = 0; i < this.x.length; i++) {
      const px = this.x[i] * scale.x + shift.x - size / 2;
      const py = this.y[i] * scale.y + shift.y - size / 2;
      if (!(px >= 0 && py >= 0 && px + size < width && py + size < height)) continue;
      const first = (py | 0) * width + (px | 0);
      for (let row = 0; row < size; row++) {
        for (let k = first + row * width, end = k + size; k < end; k++) pixels[k] = this.colours[i];
      }
    }
    context.putImageData(image, 0, 0);
    this.mark(context, ratio);
  }

  // Draw the chosen item and the lasso over the points.
  mark(context, ratio) {
    context.lineWidth = 2 * ratio;
    context.strokeStyle = context.fillStyle = getComputedStyle(this.canvas).color;
    if (this.chosen >= 0) {
      const [x, y] = this.toPixel(this.x[this.chosen], this.y[this.chosen]);
      context.beginPath();
      context.arc(x, y, 7 * ratio, 0, 7);
      context.stroke();
    }
    const path = this.path || this.lasso;
    if (path.length > 1) {
      context.lineWidth = ratio;
      context.beginPath();
      for (const point of path) context.lineTo(...this.toPixel(...point));
      context.closePath();
      context.stroke();
      context.globalAlpha = 0.07;
      context.fill();
      context.globalAlpha = 1;
    }
  }

  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const { scale, shift } = this.toPixels();
    let [nearest, least] = [-1, (NEAR * ratio) ** 2];
    for (let i = 0; i < this.x.length; i++) {
      const across = this.x[i] * scale.x + shift.x - x;
      const down = this.y[i] * scale.y + shift.y - y;
      const apart = across * across + down * down;
      if (apart < least) [nearest, least] = [i, apart];
    }
    return nearest;
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.path = [this.toData(event)];
    this.began = [event.clientX, event.clientY];
  }

  move(event) {
    if (!this.path) return this.on.hover(this.under(event), event);
    this.path.push(this.toData(event));
    this.draw();
  }

  up(event) {
    const path = this.path;
    this.path = null;
    if (!path) return;
    const moved = Math.hypot(event.clientX - this.began[0], event.clientY - this.began[1]);
    if (path.length < 8 && moved < 5) {
      const item = this.under(event);
      if (item >= 0) this.on.pick(item);
      else this.on.lasso([]);
      return;
    }
    this.on.lasso(path.map((point) => point.map((value) => Number(value.toPrecision(4)))));
  }

  zoom(event) {
    event.preventDefault();
    const at = this.toData(event);
    const factor = Math.exp(Math.sign(event.deltaY) * 0.15);
    ["x", "y"].forEach((axis, k) => {
      this.view[axis] = this.view[axis].map((end) => at[k] + factor * (end - at[k]));
    });
    this.draw();
  }

  // The numbers of the points inside a polygon.
  inside(polygon) {
    const found = [];
    for (let i = 0; i < this.x.length; i++) {
      if (isInside(this.x[i], this.y[i], polygon)) found.push(i);
    }
    return found;
  }
}

function isInside(x, y, polygon) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[xi, yi], [xj, yj]] = [polygon[i], polygon[j]];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}
