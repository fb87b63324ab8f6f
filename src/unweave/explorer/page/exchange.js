// Two items, A and B: groups change places, and A turns into B step by step.

const STEPS = 9;

// Rows of codes between A and B: numbers in equal steps, classes at the middle.
function between(a, b, isClass) {
  return [...Array(STEPS).keys()].map((k) => {
    const t = k / (STEPS - 1);
    return a.map((code, c) => (isClass[c] ? (t < 0.5 ? code : b[c]) : code + t * (b[c] - code)));
  });
}

export class Exchange {
  constructor(place, run, pictures, on) {
    this.place = place;
    this.pictures = pictures;
    this.on = on; // {take(codes)}
    const units = run.sites.flatMap((site) => site.units.map((unit) => ({ ...unit, site })));
    this.isClass = units.map((unit) => unit.site.classes > 0);
    this.groups = run.sites.map((site) => ({ name: site.name, columns: new Set(site.units.map((unit) => unit.column)) }));
  }

  async show(a, b, decode) {
    const lines = this.groups.map(({ name, columns }) => {
      const swap = (one, other) => one.map((code, k) => (columns.has(k) ? other[k] : code));
      return [`${name} changed`, [swap(a, b), swap(b, a)], ["A, with B's", "B, with A's"]];
    });
    lines.unshift(["as they are", [a, b], ["A", "B"]]);
    lines.push(["A to B", between(a, b, this.isClass), []]);
    this.place.replaceChildren();
    for (const [name, rows, said] of lines) this.line(name, rows, said, decode);
  }

  line(name, rows, said, decode) {
    const line = document.createElement("div");
    line.className = "exchange";
    const strip = document.createElement("div");
    strip.className = "strip";
    const label = document.createElement("span");
    label.className = "soft";
    label.textContent = name;
    line.append(label, strip);
    this.place.append(line);
    for (const [k, codes] of rows.entries()) {
      const button = document.createElement("button");
      button.title = button.ariaLabel = said[k] || `step ${k + 1} of ${rows.length}`;
      const small = document.createElement("small");
      small.textContent = said[k] || "";
      button.append(document.createElement("canvas"), small);
      button.addEventListener("click", () => this.on.take(codes));
      strip.append(button);
    }
    decode(rows, `exchange ${name}`).then((buffer) => {
      rows.forEach((_, k) => this.pictures.draw(strip.children[k].firstChild, buffer, k));
    });
  }
}
