// Items as people see them: images, films of frames, words, or the columns of a table.

import { css, element } from "./draw.js";

const MOST_BARS = 24; // columns of an item that are named
const MOST_WORDS = 24; // words of an item
const MOST_OF_A_LINE = 9; // words that rise along a row, or fall
const SMALLEST = 0.1; // the share of the largest weight below which a word of a row is left out
const MOST_MOVES = 6; // columns of a row that are named
const LEAST = 0.1; // standard deviations by which such a column moves at least
const WRITTEN = 140; // pixels of width from which on a drawing has numbers, or several words a line
const NAMED = 220; // pixels of width from which on bars have names
const WIDTH = 360; // of a drawing that is not on the page

const largest = (values, count, by) => [...values.keys()].sort((a, b) => by(b) - by(a)).slice(0, count);
export const shortened = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));

// A canvas with as many pixels as it is shown with, in units of the page.
function drawing(canvas, height) {
  const ratio = canvas.clientWidth ? devicePixelRatio || 1 : 1;
  const width = canvas.clientWidth || WIDTH;
  const high = height(width);
  [canvas.width, canvas.height] = [width * ratio, high * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = css("--page");
  context.fillRect(0, 0, width, high);
  return [context, width, high];
}

const font = (size, weight = 400) => `${weight} ${size}px system-ui, sans-serif`;

class Images {
  isBytes = true;

  constructor({ shape }) {
    this.shape = shape.slice(-3);
    this.bytes = shape.reduce((a, b) => a * b, 1);
  }

  // Draw the number-th of the pictures in a buffer.
  draw(canvas, buffer, number = 0) {
    this.image(canvas, new Uint8Array(buffer, number * this.bytes, this.bytes));
  }

  image(canvas, values) {
    const [height, width, colours] = this.shape;
    canvas.width = width;
    canvas.height = height;
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[colours === 1 ? i : 3 * i + c];
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

class Films extends Images {
  constructor({ shape }) {
    super({ shape });
    this.frames = shape[0];
    this.each = this.bytes / this.frames;
    this.frame = 0; // the frame that all films show
    this.shown = new Map(); // canvases to their frames
  }

  draw(canvas, buffer, number = 0) {
    const values = new Uint8Array(buffer, number * this.bytes, this.bytes);
    if (canvas.isConnected) this.shown.set(canvas, values);
    this.at(canvas, values);
  }

  at(canvas, values) {
    this.image(canvas, values.subarray(this.frame * this.each, (this.frame + 1) * this.each));
  }

  show(frame) {
    this.frame = frame;
    for (const [canvas, values] of this.shown) {
      if (canvas.isConnected) this.at(canvas, values);
      else this.shown.delete(canvas);
    }
  }
}

// Pictures of numbers, a float for each.
class Numbers {
  isBytes = false;

  constructor({ names, middle, spread }) {
    [this.names, this.middle, this.spread] = [names, middle, spread];
  }

  values(buffer, number) {
    return new Float32Array(buffer, number * 4 * this.names.length, this.names.length);
  }
}

// Bars from the columns' means, in standard deviations.
class Columns extends Numbers {
  draw(canvas, buffer, number = 0) {
    const values = this.values(buffer, number);
    const away = this.away(values);
    const shown = largest(away, MOST_BARS, (k) => Math.abs(away[k]) || 0).sort((a, b) => a - b);
    const isWritten = (canvas.clientWidth || WIDTH) >= WRITTEN;
    const [context, width, height] = drawing(canvas, (wide) => (isWritten ? 17 * shown.length + 4 : wide));
    const left = width >= NAMED ? 0.42 * width : 0;
    const right = width - (isWritten ? 52 : 0);
    const [middle, unit] = [(left + right) / 2, (right - left) / 6.4]; // 3.2 standard deviations a side
    const each = (height - 4) / shown.length;
    context.fillStyle = css("--rule");
    context.fillRect(middle, 0, 1, height);
    context.font = font(11.5);
    context.textBaseline = "middle";
    shown.forEach((k, row) => {
      const y = 2 + row * each;
      const length = unit * Math.min(Math.max(away[k], -3.2), 3.2);
      context.fillStyle = css(away[k] < 0 ? "--below" : "--accent");
      context.fillRect(Math.min(middle, middle + length), y + 0.15 * each, Math.abs(length), 0.7 * each);
      if (!isWritten) return;
      context.fillStyle = css("--ink");
      context.textAlign = "right";
      if (left) context.fillText(this.names[k], left - 6, y + each / 2, left - 8);
      context.fillText(Number.isFinite(values[k]) ? shortened(values[k]) : "missing", width - 2, y + each / 2, 48);
    });
    canvas.title = shown.map((k) => `${this.names[k]} ${shortened(values[k])}`).join(", ");
  }

  away(values) {
    return values.map((value, k) => (value - this.middle[k]) / this.spread[k]);
  }

  // The columns that move most along a row of pictures, each with its course.
  row(place, buffer, count) {
    const rows = [...Array(count).keys()].map((k) => this.values(buffer, k));
    const away = rows.map((values) => this.away(values));
    const course = (k) => away.map((values) => values[k]);
    const moved = this.names.map((_, k) => Math.max(...course(k)) - Math.min(...course(k)));
    const order = largest(moved, moved.length, (k) => moved[k] || 0);
    const shown = order.filter((k) => moved[k] >= LEAST).slice(0, MOST_MOVES);
    const lines = shown.map((k) => {
      const canvas = element("canvas", { ariaHidden: "true" });
      const ends = `${shortened(rows[0][k])} → ${shortened(rows.at(-1)[k])}`;
      const line = element("div", { className: "move" });
      line.append(element("span", { textContent: this.names[k], title: this.names[k] }), canvas, element("span", { className: "soft", textContent: ends }));
      return [line, canvas, course(k)];
    });
    const others = order[shown.length];
    const said = others === undefined ? "" : `others move by ${(moved[others] || 0).toFixed(2)} sd at most`;
    place.replaceChildren(...lines.map(([line]) => line), element("div", { className: "soft", textContent: said }));
    lines.forEach(([, canvas, values]) => sparkline(canvas, values));
  }
}

// A curve about the mean, 3 standard deviations high each way.
function sparkline(canvas, values) {
  const [context, width, height] = drawing(canvas, () => 18);
  const y = (value) => height / 2 - ((height / 2 - 2) * Math.min(Math.max(value, -3), 3)) / 3;
  context.fillStyle = css("--rule");
  context.fillRect(0, height / 2, width, 1);
  context.strokeStyle = css("--accent");
  context.lineWidth = 1.8;
  context.beginPath();
  values.forEach((value, k) => context.lineTo((k * width) / (values.length - 1), y(value)));
  context.stroke();
}

// Words sized by p log(p / p̄), their share of the divergence of an item from all items.
class Words extends Numbers {
  shares(values, from) {
    const total = values.reduce((a, b) => a + b, 0) || 1;
    const share = (p, k) => (p > 0 ? p * Math.log(p / (from[k] || 1e-9)) : 0);
    return values.map((value, k) => share(value / total, k));
  }

  draw(canvas, buffer, number = 0) {
    const shares = this.shares(this.values(buffer, number), this.middle);
    const isSmall = (canvas.clientWidth || WIDTH) < WRITTEN;
    const words = largest(shares, isSmall ? 5 : MOST_WORDS, (k) => shares[k]).filter((k) => shares[k] > 0);
    const [context, width, height] = drawing(canvas, (wide) => (wide < NAMED ? wide : 0.55 * wide));
    context.fillStyle = css("--ink");
    context.textBaseline = "alphabetic";
    let [x, y] = [4, isSmall ? 14 : 26];
    for (const k of words) {
      const size = (isSmall ? 8 : 11) + (isSmall ? 6 : 13) * Math.sqrt(shares[k] / shares[words[0]]);
      context.font = font(size, 500);
      const long = context.measureText(this.names[k]).width;
      if (x > 4 && (isSmall || x + long > width - 4)) [x, y] = [4, y + (isSmall ? 14 : 27)];
      if (y > height - 2) break;
      context.fillText(this.names[k], x, y, width - 8);
      x += long + 9;
    }
    canvas.title = words.map((k) => this.names[k]).join(", ");
  }

  // The words that rise from the first picture of a row to the last, and those that fall.
  row(place, buffer, count) {
    const [first, last] = [this.values(buffer, 0), this.values(buffer, count - 1)];
    const shareOf = (values) => values.map((value) => value / (values.reduce((a, b) => a + b, 0) || 1));
    const ways = [["more", this.shares(last, shareOf(first))], ["less", this.shares(first, shareOf(last))]];
    const most = Math.max(...ways.map(([, shares]) => shares.reduce((a, b) => Math.max(a, b))));
    place.replaceChildren(...ways.map(([said, shares]) => this.line(said, shares, most)));
  }

  line(said, shares, most) {
    const words = largest(shares, MOST_OF_A_LINE, (k) => shares[k]).filter((k) => shares[k] > SMALLEST * most);
    const spans = words.map((k) => {
      const made = element("span", { textContent: this.names[k], title: `${shares[k].toFixed(3)} nats` });
      made.style.fontSize = `${0.75 + 0.5 * Math.sqrt(shares[k] / most)}rem`;
      return made;
    });
    const line = element("div", { className: "words", hidden: !spans.length });
    line.append(element("span", { className: "soft", textContent: said }), ...spans);
    return line;
  }
}

const KINDS = { image: Images, film: Films, words: Words, columns: Columns };

export const picturesOf = ({ pictures }) => new KINDS[pictures.kind](pictures);

// Draw a row of pictures, each on its canvas, or what changes along it.
export function drawRow(pictures, place, buffer, count) {
  if (pictures.row && !place.classList.contains("classes")) return pictures.row(place, buffer, count);
  place.querySelectorAll("canvas").forEach((canvas, k) => pictures.draw(canvas, buffer, k));
}
