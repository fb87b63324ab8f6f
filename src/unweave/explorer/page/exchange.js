// Two items, A and B: groups change places by drag, and A turns into B, group by group.

import { element } from "./draw.js";
import { parts } from "./sites.js";

const STEPS = 9;

// Rows of codes as some columns of A turn into B's: numbers in equal steps, classes at the middle.
export function between(a, b, columns, isClass, steps = STEPS) {
  return [...Array(steps).keys()].map((k) => {
    const t = k / (steps - 1);
    const moved = (code, c) => (isClass[c] ? (t < 0.5 ? code : b[c]) : code + t * (b[c] - code));
    return a.map((code, c) => (columns.has(c) ? moved(code, c) : code));
  });
}

export class Exchange {
  // `on` has take(codes), and swapped(a, b).
  constructor(place, run, pictures, on) {
    Object.assign(this, { place, pictures, on });
    const units = run.sites.flatMap((site) => site.units.map(() => site));
    this.isClass = units.map((site) => site.classes > 0);
    this.parts = parts(run);
    this.all = new Set(units.keys());
  }

  show(a, b, decode) {
    const lines = [this.pair(a, b)];
    const several = this.parts.length > 1;
    for (const part of several ? this.parts : []) {
      const rows = between(a, b, part.columns, this.isClass, part.isClass ? 2 : STEPS);
      lines.push(this.line(`${part.name}: A's to B's`, rows));
    }
    lines.push(this.line("all: A to B", between(a, b, this.all, this.isClass)));
    this.place.replaceChildren(...lines.map(({ line }) => line));
    lines.forEach(({ rows, canvases }, k) => {
      decode(rows, `exchange ${k}`).then((buffer) => canvases.forEach((canvas, at) => this.pictures.draw(canvas, buffer, at)));
    });
  }

  // A and B, each with its groups, which can be dragged to the other.
  pair(a, b) {
    const swap = (part) => {
      const given = (one, other) => one.map((code, k) => (part.columns.has(k) ? other[k] : code));
      this.on.swapped(given(a, b), given(b, a));
    };
    const canvases = [];
    const figures = ["A", "B"].map((name, k) => {
      const canvas = element("canvas", { title: name });
      const figure = element("figure", { className: "item" }, canvas, element("figcaption", { textContent: name }));
      figure.dataset.name = name;
      canvases.push(canvas);
      for (const part of this.parts) figure.append(this.chip(part, name, swap));
      figure.addEventListener("dragover", (event) => event.preventDefault());
      figure.addEventListener("drop", (event) => {
        event.preventDefault();
        const [from, number] = event.dataTransfer.getData("text/plain").split(" ");
        if (from !== name && this.parts[number]) swap(this.parts[number]);
      });
      return figure;
    });
    return { line: element("div", { className: "pair" }, ...figures), rows: [a, b], canvases };
  }

  chip(part, name, swap) {
    const said = `${part.name} of ${name}: drag it to the other, or click, and both change places`;
    const chip = element("button", { className: "chip", draggable: true, textContent: part.name, title: said });
    chip.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", `${name} ${this.parts.indexOf(part)}`));
    chip.addEventListener("click", () => swap(part));
    return chip;
  }

  line(name, rows) {
    const buttons = rows.map((codes, k) => {
      const button = element("button", { title: `${name}, step ${k + 1} of ${rows.length}` }, element("canvas"));
      button.addEventListener("click", () => this.on.take(codes));
      return button;
    });
    const strip = element("div", { className: "strip" }, ...buttons);
    const line = element("div", { className: "exchange" }, element("span", { className: "soft", textContent: name }), strip);
    return { line, rows, canvases: buttons.map((button) => button.firstChild) };
  }
}
