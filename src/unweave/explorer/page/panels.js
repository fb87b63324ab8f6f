// Panels of groups: for each unit its name and information, a slider or its classes, and a row of pictures.

import { curves, element } from "./draw.js";

const SHARES = [2, 12, 25, 37, 50, 63, 75, 88, 98]; // quantiles of a row, in per cent
const MOST_CLASSES = 20;

const nats = ([value, error]) => `${value.toFixed(2)}${error ? ` ± ${error.toFixed(2)}` : ""} nats`;

// The sites that a tree of groups names, group by group.
function grouped(groups, sites) {
  const leaves = (tree) => (typeof tree === "string" ? [tree] : tree.flatMap(leaves));
  const found = groups.map((group) => {
    const named = new Set(leaves(group).map((leaf) => leaf.split("[")[0]));
    return { name: leaves(group).join(", "), sites: sites.filter((site) => named.has(site.name)) };
  });
  const named = new Set(found.flatMap((group) => group.sites));
  const rest = sites.filter((site) => !named.has(site));
  return rest.length ? [...found, { name: rest.map((site) => site.name).join(", "), sites: rest }] : found;
}

export class Panels {
  constructor(place, run, pictures, other, on) {
    this.run = run;
    this.other = other; // a second run, or null
    this.pictures = pictures;
    this.on = on; // {change(column, value), rename(unit)}
    this.units = run.sites.flatMap((site) => site.units.map((unit) => ({ ...unit, site })));
    this.rows = new Map();
    const shown = new Set();
    for (const group of grouped(run.groups, run.sites)) {
      const sites = group.sites.filter((site) => !shown.has(site));
      sites.forEach((site) => shown.add(site));
      if (sites.length) place.append(this.panel(group.name, sites));
    }
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
    return panel;
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
    row.values.forEach((value, k) => row.strip.append(this.picture(unit, value, k)));
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
    return named && named.share > 0.5 ? `“${named.label}” ${Math.floor(100 * named.share)} %` : `class ${k}`;
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
  }

  // Whether all codes are where the data have some.
  areUsed(codes) {
    return this.units.every(({ site, used, column }) => site.classes || (used[0] <= codes[column] && codes[column] <= used[1]));
  }

  redraw() {
    for (const { canvas, unit } of this.rows.values()) if (canvas?.clientWidth) curves(canvas, unit);
  }

  // Ask for every row that is seen: the codes with one unit at its values.
  async strips(codes, decode) {
    for (const { unit, strip, values } of this.rows.values()) {
      if (!strip.offsetParent) continue;
      const rows = values.map((value) => codes.map((code, k) => (k === unit.column ? value : code)));
      decode(rows, `strip ${unit.name}`).then((buffer) => {
        values.forEach((_, k) => this.pictures.draw(strip.children[k].firstChild, buffer, k));
      });
    }
  }
}
