// The units of a run, the groups of its tree, and the steps of sites that come one after another.

export const unitsOf = (run) => run.sites.flatMap((site) => site.units.map((unit) => ({ ...unit, site })));

// The sites that a tree of groups names, group by group.
export function grouped({ groups, sites }) {
  const leaves = (tree) => (typeof tree === "string" ? [tree] : tree.flatMap(leaves));
  const shown = new Set();
  const found = [];
  const add = (own) => {
    own.forEach((site) => shown.add(site));
    if (own.length) found.push({ name: own.map(({ name }) => name).join(", "), sites: own });
  };
  for (const group of groups) {
    const named = new Set(leaves(group).map((leaf) => leaf.split("[")[0]));
    add(sites.filter((site) => named.has(site.name) && !shown.has(site)));
  }
  add(sites.filter((site) => !shown.has(site)));
  return found;
}

const ENDS_IN_A_NUMBER = /^(.*)_(\d+)$/;

// The step of each site of a series such as z_0, z_1, …, by the site's name; other sites have none.
export function stepsOf({ sites }) {
  const found = new Map();
  for (const { name } of sites) {
    const [, stem, step] = ENDS_IN_A_NUMBER.exec(name) ?? [];
    const isSeries = sites.some((site) => site.name !== name && ENDS_IN_A_NUMBER.exec(site.name)?.[1] === stem);
    if (stem && isSeries) found.set(name, Number(step));
  }
  return found;
}

// Groups as they change places between two items: the sites of a series are one.
export function parts(run) {
  const steps = stepsOf(run);
  const found = new Map();
  for (const { sites } of grouped(run)) {
    const stem = (site) => (steps.has(site.name) ? ENDS_IN_A_NUMBER.exec(site.name)[1] : site.name);
    const name = [...new Set(sites.map(stem))].join(", ");
    const part = found.get(name) ?? { name, columns: new Set(), isClass: true };
    for (const site of sites) {
      site.units.forEach(({ column }) => part.columns.add(column));
      part.isClass &&= site.classes > 0;
    }
    found.set(name, part);
  }
  return [...found.values()];
}

// Whether a site exists at codes, as far as a class decides it.
export const exists = ({ follows }, codes) => !follows || follows.classes.includes(Math.round(codes[follows.column]));
