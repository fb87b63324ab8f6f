// A second run over the same items, whose matched units follow the sliders of the first.

import { element } from "./draw.js";
import { drawRow, picturesOf } from "./pictures.js";
import { unitsOf } from "./sites.js";

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// The share of the data below a value, by a unit's 101 quantiles.
function shareOf(quantiles, value) {
  const above = quantiles.findIndex((quantile) => quantile > value);
  if (above === 0) return 0;
  if (above < 0) return 1;
  const [low, high] = [quantiles[above - 1], quantiles[above]];
  return (above - 1 + (value - low) / (high - low)) / 100;
}

function valueAt(quantiles, share) {
  const at = clamp(share, 0, 1) * 100;
  const below = Math.min(Math.floor(at), 99);
  return quantiles[below] + (at - below) * (quantiles[below + 1] - quantiles[below]);
}

export class Other {
  // `flat` and `own` are the items' codes, of the other run and of the first.
  constructor(place, run, flat, own, decode) {
    this.run = run.other;
    this.pictures = picturesOf(run.other);
    this.units = unitsOf(run.other);
    this.decode = decode;
    this.ownUnits = unitsOf(run);
    this.own = (item) => own.subarray(item * this.ownUnits.length, (item + 1) * this.ownUnits.length);
    this.its = (item) => Array.from(flat.subarray(item * this.units.length, (item + 1) * this.units.length));
    this.matches = new Map(run.matched.map((match) => [match.unit, match]));
    this.strips = new Map();
    this.decoded = element("canvas", { id: "other-decoded", role: "img", ariaLabel: `Decoded by ${this.run.run}` });
    this.rebuilt = element("canvas", { role: "img", ariaLabel: `Reconstruction by ${this.run.run}` });
    const figure = (canvas, said) => element("figure", {}, canvas, element("figcaption", { textContent: said }));
    place.append(figure(this.decoded, `decoded by ${this.run.run}`), figure(this.rebuilt, "its reconstruction"));
    place.hidden = false;
  }

  // Where the matched unit is when a unit has a value: at the same share of the data, or class for class.
  value(match, value) {
    if (match.classes) return match.classes[Math.round(value)] ?? 0;
    const share = shareOf(this.ownUnits[match.unit].quantiles, value);
    return valueAt(this.units[match.other].quantiles, match.alike < 0 ? 1 - share : share);
  }

  // Its codes of an item, with the matches of those units that were moved.
  codes(codes, item) {
    const [own, its] = [this.own(item), this.its(item)];
    for (const match of this.matches.values()) {
      const isMoved = Math.abs(codes[match.unit] - own[match.unit]) > 1e-5 * (1 + Math.abs(own[match.unit]));
      if (isMoved) its[match.other] = this.value(match, codes[match.unit]);
    }
    return its;
  }

  // A row of pictures for the match of a unit, empty if there is none.
  strip(unit, values) {
    const match = this.matches.get(unit.column);
    if (!match) return [];
    const sign = match.classes ? "shared information" : "ρ";
    const said = `${this.units[match.other].name} of ${this.run.run}, ${sign} ${match.alike.toFixed(2)}`;
    const label = element("div", { className: "soft match", textContent: said });
    const strip = element("div", { className: unit.site.classes ? "strip classes" : "strip" });
    if (unit.site.classes || !this.pictures.row) strip.append(...values.map(() => element("canvas")));
    this.strips.set(unit.name, { strip, match, values });
    return [label, strip];
  }

  show(codes, item) {
    const its = this.codes(codes, item);
    this.decode([its], "other").then((buffer) => {
      this.pictures.draw(this.decoded, buffer);
      this.decoded.dataset.codes = its.join(" ");
    });
  }

  rows(codes, item) {
    const its = this.codes(codes, item);
    this.decode([this.its(item)], "other rebuilt").then((buffer) => this.pictures.draw(this.rebuilt, buffer));
    for (const [name, { strip, match, values }] of this.strips) {
      if (!strip.offsetParent) continue;
      const rows = values.map((value) => its.map((code, k) => (k === match.other ? this.value(match, value) : code)));
      this.decode(rows, `other ${name}`).then((buffer) => drawRow(this.pictures, strip, buffer, values.length));
    }
  }
}
