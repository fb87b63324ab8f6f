// A film or a strip of pictures, saved as a file: of what one did, of a unit, from A to B.

import { css, element } from "./draw.js";
import { gif } from "./gif.js";

const MOST_KEPT = 400; // views of what one did
const MOST_FRAMES = 80; // of a film
const MOST_PICTURES = 24; // of a strip
const ROW = 12; // pictures of a strip beside one another
const SIDE = 192; // pixels of a picture at least
const AT_ONCE = 64; // rows of codes that are asked for at a time
const PAUSE = 8; // hundredths of a second
export const SEQUENCE = "the sequence";

// At most so many, evenly from the first to the last.
function evenly(rows, most) {
  if (rows.length <= most) return rows;
  return [...Array(most).keys()].map((k) => rows[Math.round((k * (rows.length - 1)) / (most - 1))]);
}

export class Film {
  // `choices` gives [name, () => rows of codes] of what can be saved beside what one did; of "the sequence", a row a frame.
  constructor(place, run, pictures, decode, choices) {
    Object.assign(this, { run, pictures, decode, choices });
    this.done = [];
    this.select = element("select", { id: "film-of", ariaLabel: "what to save" });
    const button = (id, textContent, save) => {
      const made = element("button", { id, textContent });
      made.addEventListener("click", () => save());
      return made;
    };
    const buttons = [button("strip", "Strip (PNG)", () => this.strip()), button("film", "Film (GIF)", () => this.film())];
    place.append(element("label", { textContent: "save " }, this.select), ...buttons);
    this.select.addEventListener("focus", () => this.fill());
    this.fill();
  }

  // Keep a view of what one did.
  keep(codes) {
    if (this.done.at(-1)?.join() === codes.join()) return;
    this.done.push(codes);
    if (this.done.length > MOST_KEPT) this.done = this.done.filter((_, k) => k % 2 === 0);
  }

  fill() {
    const chosen = this.select.value;
    const names = ["what I did", ...this.choices().map(([name]) => name)];
    this.select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(chosen)) this.select.value = chosen;
  }

  rows() {
    const name = this.select.value;
    return name === "what I did" ? this.done : this.choices().find(([known]) => known === name)[1]();
  }

  // Canvases of the pictures, not smaller than can be seen.
  async drawn(most) {
    const rows = evenly(this.rows(), most);
    const isSequence = this.select.value === SEQUENCE;
    const found = [];
    for (let at = 0; at < rows.length; at += AT_ONCE) {
      const some = rows.slice(at, at + AT_ONCE);
      const buffer = await this.decode(some, "film");
      const { frame } = this.pictures;
      some.forEach((_, k) => {
        if (isSequence) this.pictures.frame = at + k;
        found.push(this.enlarged(buffer, k));
      });
      this.pictures.frame = frame;
    }
    return found;
  }

  enlarged(buffer, number) {
    const small = element("canvas");
    this.pictures.draw(small, buffer, number);
    const times = Math.max(1, Math.ceil(SIDE / Math.max(small.width, small.height)));
    const canvas = element("canvas", { width: small.width * times, height: small.height * times });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  async film() {
    const canvases = await this.drawn(MOST_FRAMES);
    const frames = canvases.map((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height));
    this.download(gif(frames, PAUSE), "gif");
  }

  async strip() {
    const canvases = await this.drawn(MOST_PICTURES);
    const [{ width, height }] = canvases;
    const gap = 4;
    const columns = Math.min(canvases.length, ROW);
    const rows = Math.ceil(canvases.length / ROW);
    const whole = element("canvas", { width: columns * (width + gap) - gap, height: rows * (height + gap) - gap });
    const context = whole.getContext("2d");
    context.fillStyle = css("--page");
    context.fillRect(0, 0, whole.width, whole.height);
    canvases.forEach((canvas, k) => context.drawImage(canvas, (k % ROW) * (width + gap), Math.floor(k / ROW) * (height + gap)));
    whole.toBlob((blob) => this.download(blob, "png"));
  }

  download(blob, ending) {
    const url = URL.createObjectURL(blob);
    const name = `${this.run.run} ${this.select.value}.${ending}`.replace(/[^\w.[\]-]+/g, "-");
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
