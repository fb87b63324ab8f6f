// The page: one state, which the address holds, and its parts.

import { classColour, element, ramp } from "./draw.js";
import { Embedded } from "./embedded.js";
import { between, Exchange } from "./exchange.js";
import { Film, SEQUENCE } from "./film.js";
import { PointMap } from "./map.js";
import { Other } from "./other.js";
import { Panels } from "./panels.js";
import { picturesOf } from "./pictures.js";
import { Selection } from "./selection.js";
import { Server } from "./server.js";
import { stepsOf, unitsOf } from "./sites.js";
import { TimeLine } from "./time.js";

const $ = (id) => document.getElementById(id);
const stopped = () => say("the server has stopped: start it again, and load this page again");
const source = Embedded.isHere() ? await Embedded.open() : new Server(stopped);
const [run, flat, labels] = await Promise.all([source.run(), source.numbers("codes"), source.numbers("labels")]);
const units = unitsOf(run);
const column = (k) => Float32Array.from({ length: run.items }, (_, i) => flat[i * units.length + k]);
const codesOf = (i) => Array.from(flat.subarray(i * units.length, (i + 1) * units.length));
const pictures = picturesOf(run);
const decode = (rows, channel) => source.decode(rows, channel);
const decodeOther = (rows, channel) => source.decode(rows, channel, 1);
const other = run.other ? new Other($("other"), run, await source.numbers("codes/other"), flat, decodeOther) : null;

// -- the state, which the address holds -----------------------------------------------------------

const informative = units.filter((unit) => !unit.site.classes);
informative.sort((a, b) => (b.information?.[0] ?? 0) - (a.information?.[0] ?? 0));
const axes = informative.length > 1 ? informative : units;
const state = {
  codes: codesOf(run.start),
  item: run.start,
  b: null,
  across: axes[0].name,
  up: axes[Math.min(1, axes.length - 1)].name,
  colour: run.factors.length ? `label ${run.factors[0].name}` : "one colour",
  lasso: [],
  time: 0,
};

// Items that are some of all keep the numbers that they have among all.
const numberOf = (item) => run.numbers?.[item] ?? item;
const itemOf = (number) => (run.numbers ? run.numbers.indexOf(number) : Number.isInteger(number) && number >= 0 && number < run.items ? number : -1);

function restore() {
  try {
    const kept = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}");
    const isRow = (codes) => Array.isArray(codes) && codes.length === units.length && codes.every(Number.isFinite);
    if (isRow(kept.codes)) state.codes = kept.codes;
    if (isRow(kept.b)) state.b = kept.b;
    if (kept.item === null || itemOf(kept.item) >= 0) state.item = kept.item === null ? null : itemOf(kept.item);
    if (Number.isInteger(kept.time)) state.time = kept.time;
    for (const name of ["across", "up", "colour"]) if (typeof kept[name] === "string") state[name] = kept[name];
    if (Array.isArray(kept.lasso) && kept.lasso.every((point) => point.length === 2)) state.lasso = kept.lasso;
  } catch {
    say("the address holds no view of this run: this is the typical item");
  }
}

let keeping = 0;
function keep() {
  clearTimeout(keeping);
  keeping = setTimeout(() => {
    const codes = state.codes.map((code) => Number(code.toPrecision(6)));
    const item = state.item === null ? null : numberOf(state.item);
    history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify({ ...state, codes, item }))}`);
  }, 150);
}

function say(text) {
  $("said").textContent = text;
}

const titleOf = (unit) => (run.names[unit]?.name ? `${run.names[unit].name} (${unit})` : unit);

// -- codes and pictures ----------------------------------------------------------------------------

let idle = 0;
function show() {
  panels.show(state.codes);
  $("decoded").classList.toggle("outside", !panels.areUsed(state.codes));
  $("decoded-of").textContent = panels.areUsed(state.codes) ? "decoded" : "decoded, where no data are";
  decode([state.codes], "stage").then((buffer) => {
    pictures.draw($("decoded"), buffer);
    document.body.dataset.shown = state.codes.join(" ");
  });
  other?.show(state.codes, state.item ?? run.start);
  film.keep(state.codes);
  clearTimeout(idle);
  idle = setTimeout(rows, 90); // the rows follow when the slider rests
  keep();
}

function rows() {
  panels.strips(state.codes, decode);
  other?.rows(state.codes, state.item ?? run.start);
  $("beside").hidden = !state.b;
  if (state.b) exchange.show(state.codes, state.b, decode);
  selection.means(state.codes);
}

async function take(item) {
  state.item = item;
  state.codes = codesOf(item);
  map.chosen = item;
  map.draw();
  show();
  await showItem();
}

async function showItem() {
  if (state.item === null) return;
  const [x, rebuilt] = await Promise.all([source.item(state.item), decode([codesOf(state.item)], "rebuilt")]);
  pictures.draw($("item"), x);
  pictures.draw($("rebuilt"), rebuilt);
  $("item-of").textContent = `item ${numberOf(state.item)}${labelOf(state.item)}`;
}

function labelOf(item) {
  const said = run.factors.map(({ name, values }, f) => {
    const k = labels[item * run.factors.length + f];
    return k < 0 ? "" : `${name} ${values[k]}`;
  });
  const known = said.filter(Boolean).join(", ");
  return known ? `: ${known}` : "";
}

const panels = new Panels($("panels"), run, pictures, other, {
  change(k, value) {
    state.codes = state.codes.map((code, c) => (c === k ? value : code));
    show();
  },
  rename,
});

function takeCodes(codes) {
  state.codes = codes;
  show();
}

const exchange = new Exchange($("exchanges"), run, pictures, {
  take: takeCodes,
  swapped(a, b) {
    state.b = b;
    takeCodes(a);
  },
});

const film = new Film($("films"), run, pictures, decode, () => {
  const found = pictures.frames ? [[SEQUENCE, () => Array(pictures.frames).fill(state.codes)]] : [];
  if (state.b) found.push(["A to B", () => between(state.codes, state.b, exchange.all, exchange.isClass, 33)]);
  for (const unit of panels.units) {
    const moved = (value) => state.codes.map((code, k) => (k === unit.column ? value : code));
    found.push([titleOf(unit.name), () => panels.values(unit, 33).map(moved)]);
  }
  return found;
});

const selection = new Selection($("selection"), run, pictures, {
  select: (items) => source.select(items),
  decode,
  take: takeCodes,
  title: titleOf,
});

const steps = Math.max(0, ...[...stepsOf(run).values()].map((step) => step + 1));
const time = new TimeLine($("time"), pictures.frames ? pictures : null, steps, (now) => {
  state.time = now;
  panels.at(now);
  clearTimeout(idle);
  idle = setTimeout(rows, 90);
  keep();
});

async function rename(unit) {
  const kept = run.names[unit] || { name: "", note: "" };
  const name = prompt(`A name for ${unit}, such as “slant” (empty: none)`, kept.name);
  if (name === null) return;
  const note = prompt("A note beside it (may stay empty)", kept.note);
  try {
    const answer = await source.name(unit, name, note ?? kept.note);
    panels.relabel(answer.names);
    fillAxes();
    say(name ? `${unit} is now called “${name}”; the run keeps it` : `${unit} has no name`);
  } catch (error) {
    say(error.message);
  }
}

// -- the map ---------------------------------------------------------------------------------------

const map = new PointMap($("map"), {
  hover: hovered,
  pick: take,
  lasso(path) {
    state.lasso = map.lasso = path;
    map.draw();
    select();
    keep();
  },
});

function select() {
  return selection.show(state.lasso.length ? map.inside(state.lasso) : [], state.codes);
}

let hoveredItem = -1;
async function hovered(item, event) {
  const shown = $("hover");
  hoveredItem = item;
  shown.hidden = item < 0;
  if (item < 0) return;
  const box = $("map").getBoundingClientRect();
  const left = event.clientX - box.left;
  shown.style.left = `${left + 90 > box.width ? left - 86 : left + 14}px`;
  shown.style.top = `${Math.max(event.clientY - box.top - 80, 0)}px`;
  const buffer = await source.item(item);
  if (hoveredItem === item) pictures.draw(shown, buffer);
}

function fillAxes() {
  const planes = run.sites.filter((site) => site.units.length > 2);
  const kinds = { pca: "components", tsne: "t-SNE" };
  const planar = planes.flatMap(({ name }) => run.planes.map((kind) => [`${kind} ${name}`, `${kinds[kind]} of ${name}`]));
  const named = units.map(({ name }) => [name, titleOf(name)]);
  const colours = [
    ["one colour", "one colour"],
    ...run.factors.map(({ name }) => [`label ${name}`, name]),
    ["bound elbo", "ELBO"],
    ["bound recon", "log p(x|z)"],
    ...units.map(({ name }) => [`unit ${name}`, titleOf(name)]),
  ];
  const choices = { across: [...named, ...planar], up: named, colour: colours };
  for (const [id, options] of Object.entries(choices)) {
    $(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (!options.some(([value]) => value === state[id])) state[id] = options[0][0];
    $(id).value = state[id];
  }
  if (!$("across").onchange) {
    for (const id of ["across", "up", "colour"]) {
      $(id).onchange = () => {
        state[id] = $(id).value;
        if (id === "colour") return colour().then(keep);
        state.lasso = map.lasso = [];
        select();
        return place().then(keep);
      };
    }
  }
}

async function place() {
  const [kind, site] = state.across.split(" ");
  $("up").disabled = site !== undefined;
  try {
    if (site) {
      say(kind === "tsne" ? "t-SNE of 2,000 items: some seconds" : "");
      const flatPlaces = await source.numbers(`plane/${site}/${kind}`);
      say("");
      map.place(flatPlaces.filter((_, i) => i % 2 === 0), flatPlaces.filter((_, i) => i % 2 === 1));
    } else {
      const at = (name) => column(units.findIndex((unit) => unit.name === name));
      map.place(spread(at(state.across), state.across), spread(at(state.up), state.up));
    }
  } catch (error) {
    say(error.message);
  }
}

// Classes lie side by side: their points are spread by a hash of the item, the same each time.
function spread(values, name) {
  const { site } = units.find((unit) => unit.name === name);
  if (!site.classes) return values;
  return values.map((value, i) => value + (((i * 2654435761) % 1000) / 1000 - 0.5) * 0.7);
}

async function colour() {
  const [kind, ...rest] = state.colour.split(" ");
  const name = rest.join(" ");
  const legend = [];
  let of = () => classColour(0);
  const scaled = (values) => {
    const sorted = Float32Array.from(values).sort();
    const [low, high] = [sorted[Math.floor(0.02 * sorted.length)], sorted[Math.floor(0.98 * (sorted.length - 1))]];
    of = (i) => ramp((values[i] - low) / (high - low || 1));
    legend.push(rampLegend(low, high));
  };
  const classes = (values, words) => {
    of = (i) => classColour(values[i]);
    words.slice(0, 12).forEach((word, k) => legend.push(dotLegend(k, word)));
  };
  if (kind === "label") {
    const f = run.factors.findIndex((factor) => factor.name === name);
    classes(Float32Array.from({ length: run.items }, (_, i) => labels[i * run.factors.length + f]), run.factors[f].values);
  } else if (kind === "unit") {
    const unit = units.find((one) => one.name === name);
    const values = column(unit.column);
    if (unit.site.classes) classes(values, [...Array(unit.site.classes).keys()].map((k) => panels.className(unit, k)));
    else scaled(values);
  } else if (kind === "bound") {
    say("scoring each item…");
    scaled(await source.numbers(`bounds/${name}`));
    say("");
  }
  map.colours = Uint32Array.from({ length: run.items }, (_, i) => {
    const [r, g, b] = of(i);
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
  $("legend").replaceChildren(...legend);
  map.draw();
}

function dotLegend(k, word) {
  const item = document.createElement("span");
  const dot = document.createElement("i");
  dot.style.background = `rgb(${classColour(k)})`;
  item.append(dot, word);
  return item;
}

function rampLegend(low, high) {
  const item = document.createElement("span");
  const bar = document.createElement("span");
  bar.className = "ramp";
  bar.style.background = `linear-gradient(90deg, ${[0, 0.5, 1].map((t) => `rgb(${ramp(t)})`)})`;
  item.append(low.toPrecision(3), bar, high.toPrecision(3));
  return item;
}

// -- buttons and keys ------------------------------------------------------------------------------

function python() {
  const sites = run.sites.map(({ name, classes, units: own }) => {
    const codes = own.map((unit) => (classes ? Math.round(state.codes[unit.column]) : Number(state.codes[unit.column].toFixed(4))));
    return `${name}=${classes && own.length === 1 ? `[${codes[0]}]` : `[[${codes.join(", ")}]]`}`;
  });
  return `uw.load(${JSON.stringify(run.folder)}).decode(${sites.join(", ")})`;
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say(text);
  }
}

const actions = {
  typical: () => take(run.start),
  random: () => take(Math.floor(Math.random() * run.items)),
  keep() {
    state.b = state.codes;
    say("kept as B; pick another item");
    show();
  },
  link: () => copy(location.href, "the link"),
  python: () => copy(python(), "a line of Python"),
  "help-open": () => $("help").showModal(),
};
for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, dialog *")) return;
  const keys = { "?": "help-open", r: "random", t: "typical", b: "keep" };
  if (keys[event.key]) actions[keys[event.key]]();
});
function redraw() {
  panels.redraw();
  map.draw();
  show();
  showItem();
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// -- the beginning ---------------------------------------------------------------------------------

$("run").textContent = document.title = other ? `${run.run} beside ${other.run.run}` : run.run;
const many = (n) => n.toLocaleString("en");
const shownItems = run.numbers ? `${many(run.items)} of ${many(run.all)}` : many(run.items);
$("about").textContent = `${shownItems} items of ${run.data}, ${units.length} latent units`;
if (source.note) $("about").append(element("span", { className: "warning", textContent: `; ${source.note}` }));
if (!units.some((unit) => unit.information)) say(`no information is measured yet: unweave evaluate ${run.folder}`);
document.body.dataset.kind = run.pictures.kind;
restore();
fillAxes();
time.length > 1 && time.to(state.time);
panels.redraw();
await Promise.all([place(), colour()]);
map.lasso = state.lasso;
map.chosen = state.item ?? -1;
map.draw();
show();
await showItem();
select();
document.body.dataset.ready = "yes";
