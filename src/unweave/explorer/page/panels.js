// Panels of groups: for each unit its name and information, a slider or its classes, and a row of pictures.

import { curves, element } from "./draw.js";
import { drawRow } from "./pictures.js";
import { exists, grouped, stepsOf, unitsOf } from "./sites.js";

const SHARES = [2, 12, 25, 37, 50, 63, 75, 88, 98]; // quantiles of a row, in per cent
const MOST_CLASSES = 20;

const nats = ([value, error]) => `${value.toFixed(2)}${error ? ` ± ${error.toFixed(2)}` : ""} nats`;

export class Panels {
  constructor(place, run, pictures, other, on) {
    this.run = run;
    this.other = other; // a second run, or null
    this.pictures = pictures;
    this.on = on; // {change(column, value), rename(unit)}
    this.units = unitsOf(run);
    this.steps = stepsOf(run);
    this.rows = new Map();
    this.panels = grouped(run).map(({ name, sites }) => this.panel(name, sites));
    place.append(...this.panels.map(({ panel }) => panel));
  }

  panel(name, sites) {
    const units = this.units.filter((unit) => sites.includes(unit.site));
    const held = (unit) => (unit.information ? unit.information[0] : Infinity);
    units.sort((a, b) => held(b) - held(a));
    const isIdle = (unit) => held(unit) < this.run.idle;
    const panel = element("section", { className: "panel" });
    panel.append(element("h2", {}, element("span", { textContent: name })));
    panel.append(...units.filter((unit) => !isIdle(unit)).map((unit) => this.row(unit)));
    const idle = units.filter(isIdle);
    if (idle.length) {
      const text = `${idle.length} idle ${idle.length > 1 ? "units" : "unit"}, below ${this.run.idle} nats`;
      const folded = element("details", {}, element("summary", { textContent: text }));
      folded.append(...idle.map((unit) => this.row(unit)));
      folded.addEventListener("toggle", () => this.redraw());
      panel.append(folded);
    }
    const absent = element("p", { className: "soft absent" });
    panel.append(absent);
    return { panel, absent, sites };
  }

  // Show the panels of a step, and those that are of none.
  at(step) {
    for (const { panel, sites } of this.panels) {
      const steps = sites.map((site) => this.steps.get(site.name));
      panel.hidden = !steps.some((own) => own === undefined || own === step);
    }
    this.redraw();
  }

  row(unit) {
    const name = element("button", { className: "name", title: "Name this unit" });
    name.addEventListener("click", () => this.on.rename(unit.name));
    const head = element("div", {}, name);
    if (unit.information) head.append(element("span", { className: "nats", textContent: nats(unit.information) }));
    const row = { unit, name, strip: element("div", { className: "strip" }) };
    const line = element("div", { className: "unit" }, head);
    line.dataset.unit = unit.name;
    if (unit.site.classes) {
      row.strip.classList.add("classes");
      line.append(row.strip);
    } else {
      row.input = this.slider(unit);
      row.canvas = element("canvas", { ariaHidden: "true" });
      line.append(element("div", { className: "slide" }, row.canvas, row.input), row.strip);
    }
    row.values = unit.site.classes
      ? [...Array(Math.min(unit.site.classes, MOST_CLASSES)).keys()]
      : SHARES.map((share) => unit.quantiles[share]);
    const hasPictures = unit.site.classes || !this.pictures.row;
    if (hasPictures) row.values.forEach((value, k) => row.strip.append(this.picture(unit, value, k)));
    if (this.other) line.append(...this.other.strip(unit, row.values));
    this.rows.set(unit.name, row);
    this.label(row);
    return line;
  }

  slider(unit) {
    const [min, max] = unit.ends;
    const input = element("input", { type: "range", min, max, step: (max - min) / 400 });
    input.addEventListener("input", () => this.on.change(unit.column, Number(input.value)));
    return input;
  }

  // A picture of a row, which sets the unit to its value.
  picture(unit, value, k) {
    const said = unit.site.classes ? this.className(unit, k) : `${SHARES[k]} % quantile`;
    const title = unit.site.classes ? `class ${k}, ${said} of its items` : said;
    const button = element("button", { title, ariaLabel: `${unit.name}: ${title}` });
    button.append(element("canvas"));
    if (unit.site.classes) button.append(element("small", { textContent: said }));
    button.addEventListener("click", () => this.on.change(unit.column, value));
    return button;
  }

  className(unit, k) {
    const named = unit.named[k];
    return named && named.share > 0.5 ? `“${named.label}” ${Math.floor(100 * named.share)}\u00a0%` : `class ${k}`;
  }

  label(row) {
    const kept = this.run.names[row.unit.name];
    row.name.textContent = kept?.name ? `${kept.name} (${row.unit.name})` : row.unit.name;
    row.name.title = kept?.note || "Name this unit";
    row.input?.setAttribute("aria-label", kept?.name || row.unit.name);
  }

  relabel(names) {
    this.run.names = names;
    this.rows.forEach((row) => this.label(row));
  }

  // Put sliders and chosen classes where the codes are.
  show(codes) {
    for (const { unit, input, strip, values } of this.rows.values()) {
      const value = codes[unit.column];
      if (input) {
        input.value = value;
        input.setAttribute("aria-valuetext", value.toFixed(2));
      } else {
        values.forEach((k, place) => strip.children[place].classList.toggle("chosen", k === Math.round(value)));
      }
    }
    for (const { panel, absent, sites } of this.panels) this.follow(panel, absent, sites, codes);
  }

  // A panel whose sites do not exist at these codes says so.
  follow(panel, absent, sites, codes) {
    const isThere = sites.some((site) => exists(site, codes));
    panel.classList.toggle("gone", !isThere);
    if (isThere) return;
    const [{ follows }] = sites;
    const parent = this.units.find((unit) => unit.column === follows.column);
    absent.textContent = `exists where ${parent.name} is class ${follows.classes.join(" or ")}`;
  }

  // Whether all codes are where the data have some.
  areUsed(codes) {
    const isUsed = ({ used, column }) => used[0] <= codes[column] && codes[column] <= used[1];
    return this.units.every((unit) => unit.site.classes || !exists(unit.site, codes) || isUsed(unit));
  }

  // The values of a unit from its lowest to its highest, as in its row or finer.
  values(unit, count) {
    if (unit.site.classes) return this.rows.get(unit.name).values;
    return [...Array(count).keys()].map((k) => unit.quantiles[Math.round(2 + (96 * k) / (count - 1))]);
  }

  redraw() {
    for (const { canvas, unit } of this.rows.values()) if (canvas?.clientWidth) curves(canvas, unit);
  }

  // Ask for every row that is seen: the codes with one unit at its values.
  async strips(codes, decode) {
    for (const { unit, strip, values } of this.rows.values()) {
      if (!strip.offsetParent) continue;
      const rows = values.map((value) => codes.map((code, k) => (k === unit.column ? value : code)));
      decode(rows, `strip ${unit.name}`).then((buffer) => drawRow(this.pictures, strip, buffer, values.length));
    }
  }
}
