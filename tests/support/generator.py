"""Random programs of every kind of site, and their terms by loops over items and classes.

`program(seed)` is a pair of an encoder and a decoder, and `batch(seed)` one batch of it as the
library sees it and by loops. `Twin` holds its terms by their definitions, one number at a time: it
takes from the library the values that were drawn, and the sites that a prior is averaged over.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform, ExpTransform

import unweave as uw

VECTORS = ("normal", "independent", "bernoulli", "lognormal", "shifted", "multivariate")
"""Families with one unit a number."""
WHOLE = ("concrete", "one-hot", "enumerated")
"""Families with one unit, a variable on some classes."""
ONE_BY_ONE = ("normal", "bernoulli", "lognormal", "shifted")
"""Families whose units are observed and exist one by one."""
TEMPERATURE = 0.7
BELOW = 0.4
"""What a multivariate normal has below the diagonal of its Cholesky factor."""
SPREAD = 0.8
"""The standard deviation of x."""


@dataclass
class Site:
    """A latent site: q(site | x, sites above in q) and p(site | sites above in p)."""

    name: str
    family: str
    size: int  # units, or classes
    above_q: tuple[str, ...]
    above_p: tuple[str, ...]
    q_is_conditional: bool
    p_is_conditional: bool
    p_is_wide: bool  # whether the prior's parameters are written out for every item
    observed: np.ndarray | None = None  # (items,) or (items, units)
    exists: np.ndarray | None = None  # likewise, or (classes, 1) of the site `counts`
    counts: str = ""

    @property
    def units(self) -> int:
        return self.size if self.family in VECTORS else 1


@dataclass
class Program:
    """An encoder and a decoder whose parameters are tables of random numbers."""

    items: int
    sites: dict[str, Site]
    table: dict[str, Tensor]
    x: Tensor
    x_observed: Tensor
    groups: tuple
    random: random.Random = field(repr=False)

    # -- the library's form ------------------------------------------------------------------------

    def encode(self, samples: int = 0) -> uw.Trace:
        q, values = uw.Trace(), {}
        lead = (samples, self.items) if samples else (self.items,)

        def of_items(t: Tensor) -> Tensor:
            return t.expand(*lead, *t.shape[1:])

        for name, site in self.sites.items():
            base, scale = of_items(self.table[name]), of_items(self.table[f"{name} scale"])
            where = self._where(site, values, of_items)
            weights = [self.table[f"{above} > {name}"] for above in site.above_q]
            above = [values[other] for other in site.above_q]
            if site.q_is_conditional:

                def law(*given: Tensor, site: Site = site, weights: list = weights) -> object:
                    *parents, base, scale = given
                    loc = base
                    for value, w in zip(parents, weights, strict=True):
                        loc = loc + value.tanh() @ w
                    return made(site.family, loc, scale)

                values[name] = q.conditional(law, site.above_q, base, scale, name=name, where=where)
                continue
            loc = base
            for value, w in zip(above, weights, strict=True):
                loc = loc + value.tanh() @ w
            given, observed = None, None
            if site.observed is not None:
                observed = of_items(torch.as_tensor(site.observed))
                given = of_items(self.table[f"{name} value"])
                if site.family in WHOLE:
                    given, observed = torch.where(observed, given, -1), None
            if site.family == "enumerated":
                values[name] = q.categorical(loc, given, name=name)
            else:
                dist = made(site.family, loc, scale)
                values[name] = q.sample(dist, given, name=name, observed=observed, where=where)
        return q

    def _where(self, site: Site, values: dict[str, Tensor], of_items) -> Tensor | None:
        if site.exists is None:
            return None
        if site.counts:
            return (values[site.counts] @ torch.as_tensor(site.exists).double()).squeeze(-1) > 0.5
        return of_items(torch.as_tensor(site.exists))

    def decode(self, q: uw.Trace, items: list[int] | None, samples: int = 0) -> uw.Trace:
        """The decoder at the values of q, with the data of some items; None for no data."""
        p, total = uw.Trace(), torch.zeros(())
        values = {}
        for name, site in self.sites.items():
            base, scale = self.table[f"{name} prior"], self.table[f"{name} prior scale"]
            weights = [self.table[f"{above} > {name} prior"] for above in site.above_p]

            def law(*parents: Tensor, site=site, base=base, scale=scale, weights=weights) -> object:
                loc = base
                for value, w in zip(parents, weights, strict=True):
                    loc = loc + value.tanh() @ w
                return made(site.family, loc, scale)

            if site.p_is_conditional:
                values[name] = p.conditional(law, site.above_p, name=name, value=q[name])
            else:
                dist = law(*[values[above] for above in site.above_p])
                if site.p_is_wide:
                    lead = q[name].value.shape[q[name].classes : -1]
                    dist = made(site.family, base.expand(*lead, -1), scale.expand(*lead, -1))
                values[name] = p.sample(dist, q[name], name=name)
            total = total + values[name].tanh() @ self.table[f"{name} > x"]
        if items is not None:
            x, observed = self.x[items], self.x_observed[items]
            lead = (samples, len(items)) if samples else (len(items),)
            p.normal(total, SPREAD, x.expand(*lead, 2), name="x",
                     observed=observed.expand(*lead, 2))  # fmt: skip
        return p


def made(family: str, loc: Tensor, scale: Tensor) -> torch.distributions.Distribution:
    if family == "normal":
        return Normal(loc, scale)
    if family == "independent":
        return Independent(Normal(loc, scale), 1)
    if family == "bernoulli":
        return Bernoulli(logits=loc, validate_args=False)
    if family == "lognormal":
        return TransformedDistribution(Normal(loc, scale), ExpTransform())
    if family == "shifted":
        return TransformedDistribution(Normal(torch.zeros_like(scale), scale),
                                       AffineTransform(loc, 1.0))  # fmt: skip
    if family == "multivariate":
        below = torch.full(scale.shape[-1:] * 2, BELOW).tril(-1)
        return MultivariateNormal(loc, scale_tril=scale.diag_embed() + below)
    if family == "concrete":
        return uw.Concrete(loc, TEMPERATURE)
    return OneHotCategorical(logits=loc)


# -- drawing a program -----------------------------------------------------------------------------


def program(seed: int) -> Program:
    """Return the random program of a seed."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    items = rng.choice([1, 2, 2, 3, 3, 4])

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def chance(p: float) -> bool:
        return rng.random() < p

    sites: dict[str, Site] = {}
    table: dict[str, Tensor] = {}
    combinations = 1
    for name in "abcd"[: rng.choice([2, 3, 3, 4])]:
        family = rng.choice((*VECTORS, "normal", *WHOLE, "enumerated"))
        size = rng.choice([1, 2, items, 3]) if family in VECTORS else rng.choice([2, 3])
        size = min(size, 3)
        if family == "multivariate" or family == "independent":
            size = max(size, 2)
        if family == "enumerated":
            if combinations * size > 6:
                family = "concrete"
            else:
                combinations *= size
        before = list(sites)
        above_q = tuple(other for other in before if chance(0.4))
        above_p = tuple(other for other in before if chance(0.35))
        site = Site(name, family, size, above_q, above_p,
                    bool(above_q) and family != "enumerated" and chance(0.4),
                    bool(above_p) and chance(0.5),
                    not above_p and chance(0.3))  # fmt: skip
        one_by_one = family in ONE_BY_ONE and not site.q_is_conditional and chance(0.4)
        entries = (items, size) if one_by_one else (items,)
        if not site.q_is_conditional and chance(0.3):
            site.observed = np.array([chance(0.5) for _ in range(math.prod(entries))])
            site.observed = site.observed.reshape(entries)
        elif family != "enumerated" and chance(0.25):
            counts = [other for other in before if sites[other].family == "enumerated"]
            if counts and chance(0.5):
                site.counts = rng.choice(counts)
                exists = [chance(0.6) for _ in range(sites[site.counts].size)]
                site.exists = np.array(exists)[:, None]
            else:
                site.exists = np.array([chance(0.7) for _ in range(math.prod(entries))])
                site.exists = site.exists.reshape(entries)
        sites[name] = site
        table[name], table[f"{name} scale"] = normal(items, size), normal(items, size).exp()
        table[f"{name} prior"] = normal(size)
        table[f"{name} prior scale"] = normal(size).mul(0.3).exp()
        table[f"{name} > x"] = normal(size, 2)
        table[f"{name} value"] = normal(items, size)
        if family == "lognormal":
            table[f"{name} value"] = table[f"{name} value"].exp()
        elif family == "bernoulli":
            table[f"{name} value"] = (table[f"{name} value"] > 0).double()
        elif family in WHOLE:
            table[f"{name} value"] = torch.tensor([rng.randrange(size) for _ in range(items)])
        for other in above_q:
            table[f"{other} > {name}"] = normal(sites[other].size, size)
        for other in above_p:
            table[f"{other} > {name} prior"] = normal(sites[other].size, size)
    x_observed = torch.rand(items, 2, generator=generator) < 0.8
    groups = _tree(rng, sites)
    return Program(items, sites, table, normal(items, 2), x_observed, groups, rng)


def _tree(rng: random.Random, sites: dict[str, Site]) -> tuple:
    """Return groups of whole sites, of one or two levels, in any order."""
    names = list(sites)
    rng.shuffle(names)
    groups: list = []
    while names:
        count = rng.choice([1, 1, 2, 3])
        some, names = names[:count], names[count:]
        groups.append(some[0] if len(some) == 1 else tuple(some))
    return tuple(groups)


# -- the same by loops -----------------------------------------------------------------------------


def density(family: str, loc, scale, value, units) -> float:
    """log p of some units, from the formulas."""
    if family in ("normal", "independent", "shifted", "lognormal"):
        total = 0.0
        for u in units:
            v = value[u]
            if family == "lognormal":
                v = math.log(v)
                total -= v
            t = (v - loc[u]) / scale[u]
            total += -0.5 * t * t - math.log(scale[u]) - 0.5 * math.log(2 * math.pi)
        return total
    if family == "bernoulli":
        return sum(value[u] * loc[u] - np.logaddexp(0, loc[u]) for u in units)
    if family == "multivariate":
        some = list(units)
        factor = np.diag(scale) + np.tril(np.full((len(scale),) * 2, BELOW), -1)
        covariance = (factor @ factor.T)[np.ix_(some, some)]
        r = (value - loc)[some]
        log_det = np.linalg.slogdet(2 * math.pi * covariance)[1]
        return float(-0.5 * (r @ np.linalg.solve(covariance, r) + log_det))
    if family == "concrete":
        k, t = len(loc), TEMPERATURE
        log_y = np.log(np.maximum(value, np.finfo(float).tiny))
        return float(math.lgamma(k) + (k - 1) * math.log(t) + (loc - (t + 1) * log_y).sum()
                     - k * np.logaddexp.reduce(loc - t * log_y))  # fmt: skip
    return mass(loc, value)


def mass(loc, value) -> float:
    """log p of a class, one-hot."""
    return float(loc[int(value.argmax())] - np.logaddexp.reduce(loc))


class View:
    """The values of a trace, one item and one combination of classes at a time."""

    def __init__(self, program: Program, q: uw.Trace, items: list[int], samples: int) -> None:
        self.program, self.items, self.samples = program, items, samples
        self.names = list(q.classes())
        self.depth = len(self.names)
        self.dims = q.classes()
        aligned = q.aligned()
        self.values = {name: aligned[name].value.detach().numpy() for name in program.sites}
        sizes = [program.sites[name].size for name in self.names]
        self.combinations = [dict(zip(self.names, k, strict=True))
                             for k in itertools.product(*map(range, sizes))]  # fmt: skip

    def value(self, name: str, s: int, i: int, k: dict[str, int]) -> np.ndarray:
        v = self.values[name]
        at: list[int] = [0] * self.depth
        for y, dim in self.dims.items():
            at[dim] = k[y] if v.shape[dim] > 1 else 0
        index = (*at, s, i) if self.samples else (*at, i)
        return v[index]

    def observed(self, name: str, i: int, k: dict[str, int], s: int, u: int) -> bool:
        """Whether a unit was given, or does not exist."""
        site = self.program.sites[name]
        n = self.items[i]
        if site.observed is not None:
            return bool(site.observed[n] if site.observed.ndim == 1 else site.observed[n, u])
        return not self.exists(name, i, k, s, u)

    def exists(self, name: str, i: int, k: dict[str, int], s: int, u: int) -> bool:
        site = self.program.sites[name]
        n = self.items[i]
        if site.exists is None:
            return True
        if site.counts:
            return bool(site.exists[int(self.value(site.counts, s, i, k).argmax()), 0])
        return bool(site.exists[n] if site.exists.ndim == 1 else site.exists[n, u])

    def latent(self, block, s: int, i: int, k: dict[str, int]):
        """A block's units that this item drew."""
        kept = [(name, [u for u in units if not self.observed(name, i, k, s, u)])
                for name, units in block]  # fmt: skip
        return [(name, units) for name, units in kept if units]

    def loc_q(self, name: str, s: int, i: int, k: dict[str, int], given: dict) -> np.ndarray:
        """The location of q(site|x_i, classes, the sites above): those in `given`, or its own."""
        site, table = self.program.sites[name], self.program.table
        loc = table[name][self.items[i]].numpy()
        for other in site.above_q:
            v = given[other] if other in given else self.value(other, s, i, k)
            loc = loc + np.tanh(v) @ table[f"{other} > {name}"].numpy()
        return loc

    def log_class(self, y: str, s: int, i: int, k: dict[str, int], labels: bool = True) -> float:
        site = self.program.sites[y]
        if labels and site.observed is not None and site.observed[self.items[i]]:
            at = int(self.program.table[f"{y} value"][self.items[i]])
            return 0.0 if at == k[y] else -math.inf
        loc = self.loc_q(y, s, i, k, {})
        return float(loc[k[y]] - np.logaddexp.reduce(loc))


class Twin:
    """Terms of a batch by loops: rows under components, with `weights(i)` for each row."""

    def __init__(self, program: Program, rows: View, components: View, weights, d, draws) -> None:
        self.program, self.rows, self.components = program, rows, components
        self.weights, self.levels, self.draws = weights, d.levels, draws
        self.ancestors = d._prior.dependence.ancestors

    # -- q -----------------------------------------------------------------------------------------

    def log_q(self, block, s, i, k) -> float:
        """log Σ_j w_ij q(block_i|x_j), over the components that have what the row has."""
        asked, block = block, self.rows.latent(block, s, i, k)
        masked = [(name, units) for name, units in block
                  if self.program.sites[name].exists is not None]  # fmt: skip
        counts = {self.program.sites[name].counts for name, _ in asked}
        classes = [part for part in block if part[0] in counts]
        joint = self._mixture(block, masked, s, i, k, asked)
        if not masked:
            return joint
        return (
            joint
            - self._mixture(classes, masked, s, i, k, ())
            + self._mixture(classes, [], s, i, k, ())
        )

    def _mixture(self, block, masked, s, i, k, asked) -> float:
        terms = []
        for j, w in enumerate(self.weights(i)):
            if w > 0:
                at = s if self.components.samples else 0
                log_q = self._under(self.components, block, masked, (s, i, k), (at, j), asked)
                terms.append(math.log(w) + log_q)
        return float(np.logaddexp.reduce(terms))

    def _under(self, view: View, block, masked, row, component, asked) -> float:
        """log q(block of a row | x of a component), summed over the component's classes."""
        s, i, k = row
        at, j = component
        names = {name for name, _ in block}
        values = {name: self.rows.value(name, s, i, k) for name in self.program.sites}
        terms = []
        for other in view.combinations:
            if any(values[y].argmax() != other[y] for y in view.names if y in names):
                continue
            if not all(view.exists(name, j, other, at, u) for name, units in masked for u in units):
                continue
            total = 0.0
            for y in view.names:
                total += view.log_class(y, at, j, other, labels=y not in names)
            for name, units in block:
                site = self.program.sites[name]
                if name not in view.names:
                    given = {}
                    if site.q_is_conditional and self._holds(asked, site.above_q):
                        own = {above: view.value(above, at, j, other) for above in site.above_q}
                        given = {above: self._mixed(above, values[above], own[above], s, i, k)
                                 for above in site.above_q}  # fmt: skip
                    loc = view.loc_q(name, at, j, other, given)
                    scale = self.program.table[f"{name} scale"][view.items[j]].numpy()
                    total += density(site.family, loc, scale, values[name], units)
            terms.append(total)
        return float(np.logaddexp.reduce(terms)) if terms else -math.inf

    def _mixed(self, name: str, value, own, s, i, k):
        """The row's value where it was drawn, the component's where the row's was given."""
        if self.program.sites[name].observed is None:
            return value
        units = range(self.program.sites[name].units)
        given = [self.rows.observed(name, i, k, s, u) for u in units]
        return np.where(given, own, value)

    def _holds(self, block, names) -> bool:
        """Whether a block holds all units of some sites."""
        held = dict(block)
        return all(len(held.get(name, ())) == self.program.sites[name].units for name in names)

    def posterior(self, block, s, i, k) -> float:
        """log q(block_i|x_i)."""
        asked, block = block, self.rows.latent(block, s, i, k)
        return self._under(self.rows, block, [], (s, i, k), (s, i), asked)

    # -- p -----------------------------------------------------------------------------------------

    def log_p(self, block, s, i, k) -> float:
        """log p(block_i); what it depends on and does not hold is summed, averaged, or known."""
        names = {name for name, _ in block}
        part = self.rows.latent(block, s, i, k)
        values = {name: self.rows.value(name, s, i, k) for name in self.program.sites}
        above = {name: self.ancestors.get(name, set()) for name, _ in block}
        whole = set(self.program.sites)
        drawn = whole - set(self.rows.names)
        if not any(above[name] & drawn - names for name in names & whole):
            return self._exact(part, values, s, i, k)
        apart = {name for name in names if above[name] & whole - names}
        closed = [each for each in part if each[0] not in apart]
        opened = [each for each in part if each[0] in apart]
        total = self._exact(closed, values, s, i, k)
        if not opened:
            return total
        needed = set().union(*(above[name] & whole for name, _ in opened))
        if all(self._is_known(name, s, i, k) for name in needed):
            return total + self._exact(opened, values, s, i, k)
        terms = []
        for draw in self.draws:
            each = [self._prior(name, units, values[name], draw) for name, units in opened]
            terms.append(sum(each))
        return total + float(np.logaddexp.reduce(terms)) - math.log(len(terms))

    def _is_known(self, name: str, s, i, k) -> bool:
        units = range(self.program.sites[name].units)
        return all(self.rows.observed(name, i, k, s, u) for u in units)

    def _exact(self, part, values, s, i, k) -> float:
        """log p(part), summed over the classes outside it, of labels that are known those."""
        names = {name for name, _ in part}
        terms = []
        for other in self.rows.combinations:
            if any(k[y] != other[y] for y in self.rows.names if y in names):
                continue
            at = dict(values)
            for y in self.rows.names:
                at[y] = np.eye(self.program.sites[y].size)[other[y]]
            total = 0.0
            for y in self.rows.names:
                site = self.program.sites[y]
                if site.observed is not None and site.observed[self.rows.items[i]]:
                    label = int(self.program.table[f"{y} value"][self.rows.items[i]])
                    total += 0.0 if other[y] == label else -math.inf
                else:
                    total += self._prior(y, (0,), at[y], at)
            for name, units in part:
                if name not in self.rows.names:
                    total += self._prior(name, units, at[name], at)
            terms.append(total)
        return float(np.logaddexp.reduce(terms))

    def _prior(self, name, units, value, given, label: bool = False) -> float:
        site, table = self.program.sites[name], self.program.table
        loc, scale = table[f"{name} prior"].numpy(), table[f"{name} prior scale"].numpy()
        for other in site.above_p:
            loc = loc + np.tanh(given[other]) @ table[f"{other} > {name} prior"].numpy()
        return mass(loc, value) if label else density(site.family, loc, scale, value, units)

    # -- what was given ----------------------------------------------------------------------------

    def recon(self, s, i, k) -> float:
        """log p(x|z), and log p of what q was given."""
        table, n = self.program.table, self.rows.items[i]
        values = {name: self.rows.value(name, s, i, k) for name in self.program.sites}
        total, loc = 0.0, 0.0
        for name, site in self.program.sites.items():
            loc = loc + np.tanh(values[name]) @ table[f"{name} > x"].numpy()
            units = self._given(name, s, i, k)
            if units:
                total += self._prior(name, units, values[name], values, site.family in WHOLE)
        seen = [u for u in range(2) if self.program.x_observed[n, u]]
        return total + density("normal", loc, [SPREAD] * 2, self.program.x[n].numpy(), seen)

    def label(self, s, i, k) -> float:
        """log q of what q was given."""
        total = 0.0
        for name, site in self.program.sites.items():
            units = self._given(name, s, i, k)
            if units:
                loc = self.rows.loc_q(name, s, i, k, {})
                scale = self.program.table[f"{name} scale"][self.rows.items[i]].numpy()
                value = self.rows.value(name, s, i, k)
                total += (mass(loc, value) if site.family in WHOLE
                          else density(site.family, loc, scale, value, units))  # fmt: skip
        return total

    def _given(self, name, s, i, k) -> list[int]:
        site, units = self.program.sites[name], range(self.program.sites[name].units)
        if site.observed is None:
            return []
        return [u for u in units if self.rows.observed(name, i, k, s, u)]

    # -- one number an item ------------------------------------------------------------------------

    def atom(self, kind: str, level: int = 0) -> np.ndarray:
        """An atom per item, (*samples, items), averaged over the row's classes."""
        shape = (max(self.rows.samples, 1), len(self.rows.items))
        found = np.zeros(shape)
        for s, i in np.ndindex(shape):
            for k in self.rows.combinations:
                log_w = sum(self.rows.log_class(y, s, i, k) for y in self.rows.names)
                if log_w > -math.inf:
                    found[s, i] += math.exp(log_w) * self._atom(kind, level, s, i, k)
        return found if self.rows.samples else found[0]

    def _atom(self, kind: str, level: int, s, i, k) -> float:
        if kind == "recon":
            return self.recon(s, i, k)
        if kind == "label":
            return self.label(s, i, k)
        of = {"posterior": self.posterior, "q": self.log_q, "p": self.log_p}[kind]
        return sum(of(block, s, i, k) for block in self.levels[level])


# -- one batch of a program ------------------------------------------------------------------------

MODES = ("exact", "some", "one", "drawn", "minibatch", "stratified", "samples", "samples exact")
"""All items under all, some or one of them, drawn classes, a batch, and samples in front."""
DRAWS = 7
"""Draws of the prior."""


@dataclass
class Batch:
    """A batch of a random program: what the library and the loops say of it."""

    program: Program
    mode: str
    densities: uw.Densities
    twin: Twin


def batch(seed: int) -> Batch:
    """Return the batch of a seed, without gradients."""
    made_of = program(seed)
    torch.manual_seed(seed)
    rng, n = made_of.random, made_of.items
    mode = rng.choice(MODES)
    samples = 2 if mode.startswith("samples") else 0
    whole = list(range(n))
    with torch.no_grad():
        q = made_of.encode(samples)
        posterior = made_of.encode() if mode == "samples exact" else q
        rows, items = q, whole
        if mode in ("some", "one", "drawn"):
            items = sorted(rng.sample(whole, 1 if mode == "one" else rng.randint(1, n)))
            rows = q.take(torch.tensor(items))
        if mode == "drawn":
            rows = rows.draw()
        p = made_of.decode(rows, items, samples)
        prior = made_of.decode(rows.free(DRAWS, batch_dim=1 if samples else 0), None)
    aggregate, weights = uw.exact(posterior), [[1 / n] * n for _ in whole]
    if mode in ("minibatch", "stratified", "samples"):
        data = n if n == 1 else n + rng.choice([0, 3])
        rule = uw.stratified if mode == "stratified" else uw.balanced
        aggregate = uw.minibatch(data, rule)
        own, following, other = rule(n, data)
        for i in whole:
            weights[i] = [other] * n
            weights[i][(i + 1) % n] = following
            weights[i][i] = own
    d = uw.Densities(rows, p, groups=made_of.groups, aggregate=aggregate, kl="sampled",
                     prior=prior, batch_dim=1 if samples else 0)  # fmt: skip
    of_rows = View(made_of, rows, items, samples)
    components = View(made_of, posterior, whole, 0 if mode == "samples exact" else samples)
    draws = [{name: prior[name].value[t].numpy() for name in made_of.sites} for t in range(DRAWS)]
    return Batch(
        made_of, mode, d, Twin(made_of, of_rows, components, weights.__getitem__, d, draws)
    )
