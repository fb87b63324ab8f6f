// What a selection of items has in common: the units that tell of it, and its mean decoded.

import { element } from "./draw.js";
import { parts } from "./sites.js";

const MOST_UNITS = 6;

export class Selection {
  // `on` has select(items), decode(rows, channel), take(codes), title(unit).
  constructor(place, run, pictures, on) {
    Object.assign(this, { place, run, pictures, on });
    this.parts = parts(run);
  }

  // Measure some items; `codes` gives those of the sliders.
  async show(items, codes) {
    this.found = null;
    if (!items.length) return this.place.replaceChildren();
    this.place.textContent = `${items.length.toLocaleString("en")} items selected: measuring…`;
    try {
      this.found = await this.on.select(items);
      this.strip = element("div", { className: "strip classes" });
      this.place.replaceChildren(...this.table(this.found), this.strip);
      this.means(codes);
    } catch (error) {
      this.place.textContent = error.message;
    }
  }

  table({ items, entropy, units }) {
    const said = `${items.toLocaleString("en")} items selected. I(selection; unit), of at most ${entropy.toFixed(3)} nats:`;
    const table = element("table");
    for (const [unit, value, error] of units.slice(0, MOST_UNITS)) {
      const line = table.insertRow();
      line.insertCell().textContent = this.on.title(unit);
      line.insertCell().textContent = `${value.toFixed(3)}${error ? ` ± ${(1.96 * error).toFixed(3)}` : ""}`;
      const bar = element("span", { className: "bar" });
      bar.style.width = `${Math.max(0, (100 * value) / entropy)}%`;
      line.insertCell().append(bar);
    }
    return [element("p", { textContent: said }), table];
  }

  // The mean codes decoded, and A with each group of them.
  means(codes) {
    if (!this.found) return;
    const { mean } = this.found;
    const tiles = [["Its mean codes", mean]];
    if (this.parts.length > 1) {
      const withMean = ({ columns }) => codes.map((code, k) => (columns.has(k) ? mean[k] : code));
      for (const part of this.parts) tiles.push([`A with its ${part.name}`, withMean(part)]);
    }
    const buttons = tiles.map(([said, row]) => {
      const button = element("button", { title: said }, element("canvas"), element("small", { textContent: said }));
      button.addEventListener("click", () => this.on.take(row));
      return button;
    });
    this.strip.replaceChildren(...buttons);
    this.on.decode(tiles.map(([, row]) => row), "selection").then((buffer) => {
      buttons.forEach((button, k) => this.pictures.draw(button.firstChild, buffer, k));
    });
  }
}
