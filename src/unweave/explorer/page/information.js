// The information of units about a selection of items, as the server measures it.

const POINTS = 300; // draws of z on each side of a selection

// Standard Normal numbers, the same each time.
function normals(seed = 1) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// log of the mean of the items' densities at z, but for a constant that all means share.
function logDensity(z, items, means, scales) {
  const logs = items.map((i) => -0.5 * ((z - means[i]) / scales[i]) ** 2 - Math.log(scales[i]));
  const most = logs.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(mean(logs.map((log) => Math.exp(log - most))));
}

// I(s; z) of a Normal unit, and its standard error.
function ofNormal(sides, all, means, scales) {
  const normal = normals();
  let [information, variance] = [0, 0];
  for (const side of sides) {
    const gains = [...Array(POINTS).keys()].map((k) => {
      const i = side[Math.floor(((k + 0.5) * side.length) / POINTS)];
      const z = means[i] + scales[i] * normal();
      return logDensity(z, side, means, scales) - logDensity(z, all, means, scales);
    });
    const share = side.length / all.length;
    const middle = mean(gains);
    information += share * middle;
    variance += (share ** 2 * mean(gains.map((gain) => (gain - middle) ** 2))) / POINTS;
  }
  return [information, Math.sqrt(variance)];
}

// I(s; y) of a class, exactly.
function ofClass(sides, all, probs, classes) {
  const average = (items) => [...Array(classes).keys()].map((k) => mean(items.map((i) => probs[i * classes + k])));
  const whole = average(all);
  const gains = sides.map((side) => {
    const part = average(side);
    const terms = part.map((p, k) => (p > 0 ? p * Math.log(p / whole[k]) : 0));
    return (side.length / all.length) * terms.reduce((a, b) => a + b, 0);
  });
  return gains.reduce((a, b) => a + b, 0);
}

function commonest(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0];
}

// What a selection has in common; `array` gives an array by its name, null if there is none.
export function measured(run, items, array) {
  const chosen = new Set(items);
  const all = [...Array(run.items).keys()];
  const sides = [items, all.filter((i) => !chosen.has(i))];
  if (!sides[0].length || !sides[1].length) throw new Error("expected a selection of some items, and not of all");
  const flat = array("codes");
  const columns = flat.length / run.items;
  const code = (i, column) => flat[i * columns + column];
  const found = [];
  const middle = [];
  for (const site of run.sites) {
    const [probs, scales] = [array(`probs/${site.name}`), array(`scales/${site.name}`)];
    site.units.forEach(({ name, column }, k) => {
      const own = items.map((i) => code(i, column));
      middle[column] = site.classes ? commonest(own) : mean(own);
      if (probs) found.push([name, ofClass(sides, all, probs, site.classes), 0]);
      if (!scales) return;
      const its = all.map((i) => scales[i * site.units.length + k]);
      const means = all.map((i) => code(i, column));
      found.push([name, ...ofNormal(sides, all, means, its)]);
    });
  }
  const shares = sides.map((side) => side.length / run.items);
  const entropy = -shares.reduce((sum, share) => sum + share * Math.log(share), 0);
  found.sort((a, b) => b[1] - a[1]);
  return { items: items.length, entropy, units: found, mean: middle };
}
