"""Objectives are linear forms on a few log-densities (atoms), at (x, z) ~ q(x) q(z|x).

    recon      log p(x|z), and every other density of p that q did not sample (observed labels' log p(y), factors)
    label      log q(y|x) at observed sites of q
    evidence   log p(x), estimated by importance sampling over the sample dimensions
    posterior  log q(z|x)
    q[l]       Σ_blocks log q(z_block) over the blocks of level l of the group tree, under the aggregate posterior
    p[l]       Σ_blocks log p(z_block) likewise, under the prior

Named terms are the non-negative quantities that people plot; objectives, to be maximised, carry
minus signs:

    mi    = posterior − q[0]                  I_q(x;z)                                            −②
    kl[l] = q[l] − p[l]                       Σ_blocks KL(q(z_block) ‖ p(z_block))                −④, −Ⓑ, −ⓘⓘ
    tc[l] = kl[l] − kl[l+1]                   total correlation between levels l and l+1,
                                              less the prior's                                    −Ⓐ, −ⓘ

    >>> import unweave as uw
    >>> uw.hfvae(alpha=1, beta=1, gamma=1) == uw.elbo
    True
    >>> print(uw.beta_vae(4))
    log p(x|z) - 4·log q(z|x) + 4·log p(z)
    >>> print(uw.hfvae(alpha=1, beta=12, gamma=4).circled())
    ① + ② + ③ + 12Ⓐ + 4ⓘ + ⓘⓘ

Source: Esmaeili et al., "Structured Disentangled Representations" (2019), whose table of objectives
the aliases at the end spell out. Everything is in nats; the constant log N by which ① + ③ exceeds
`recon` is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..aggregate import Aggregate, classes_summed, exact, log_mixture, log_own, minibatch
from ..trace.groups import Block, Tree, block, chain, intersect, union
from ..trace.marginals import is_constant, is_factorised, log_marginals, unit_shape, unwrap
from ..trace.node import Node
from ..trace.parameters import lacking
from ..trace.trace import Trace
from .schedule import Ramp


class Atom(NamedTuple):
    """One log-density; `level` counts partitions of the group tree, `of` restricts it to some
    latents.
    """

    kind: Literal["recon", "label", "evidence", "posterior", "q", "p"]
    level: int = 0
    of: tuple[str, ...] = ()

    def __str__(self) -> str:
        plain = {"recon": "log p(x|z)", "label": "log q(y|x)", "evidence": "log p(x)"}
        if self.kind in plain:
            return plain[self.kind]
        z = ",".join(self.of) or "z"
        if self.kind == "posterior":
            return f"log q({z}|x)"
        index = {0: "", 1: "_d", -1: "_d,e"}.get(self.level, f"_level {self.level}")
        return f"log {'Π' if self.level else ''}{self.kind}({z}{index})"


class Term(Protocol):
    """What is no log-density of one item and yet has a place in an objective: a moment, a distance,
    a critic.

    Called on the densities of a batch it returns one number an item, (*samples, batch), or one for
    the whole batch; its `str` is how objectives print it. Terms are compared as values (frozen
    dataclasses).
    """

    def __call__(self, d: Densities, /) -> Tensor: ...


@dataclass(frozen=True, eq=True)
class Objective:
    """A linear form on atoms, and on other terms: add, subtract and scale it, print it, call it on
    traces.

    Coefficients are numbers, or schedules (`Ramp`): `at(step)` then gives the objective of that
    step.

    Called, it returns its value per item, `(*samples, batch)` in nats, to be maximised: the caller
    takes `-objective(q, p, …).mean()` as the loss. See `Densities` for the arguments.
    """

    coefficients: Mapping[Atom | Term, float | Ramp]

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        total = dict(self.coefficients)
        for atom, c in other.coefficients.items():
            total[atom] = total.get(atom, 0.0) + c
        return Objective({atom: c for atom, c in total.items() if c != 0})

    def __mul__(self, factor: float | Ramp) -> Objective:
        if not isinstance(factor, (int, float, Ramp)):
            return NotImplemented
        return Objective(
            {atom: factor * c for atom, c in self.coefficients.items() if factor * c != 0}
        )

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        return self * (1 / divisor)

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def at(self, step: int) -> Objective:
        """The objective of one step: schedules become numbers, in coefficients and in terms that
        have an `at` too.
        """
        if not self._changes:
            return self
        now = {
            atom if isinstance(atom, Atom) else getattr(atom, "at", lambda _, t=atom: t)(step): c
            for atom, c in self.coefficients.items()
        }
        return Objective({atom: c(step) if isinstance(c, Ramp) else c for atom, c in now.items()})

    @cached_property
    def _changes(self) -> bool:
        return any(
            isinstance(c, Ramp) or hasattr(atom, "at") for atom, c in self.coefficients.items()
        )

    def of(self, *latents: str) -> Objective:
        """The same form on some of the latents: `mi.of("y")` is I(x;y), `tc[-1].of("z")` the
        correlation within z.

        Latents are written as in groups ("z", "z[:5]", "z[3]"); level l of the tree keeps its
        blocks' parts.
        """
        return Objective(
            {
                atom._replace(of=latents)
                if isinstance(atom, Atom) and atom.kind in ("posterior", "q", "p")
                else atom: c
                for atom, c in self.coefficients.items()
            }
        )

    def __call__(
        self,
        q: Trace,
        p: Trace,
        *,
        groups: Tree | None = None,
        aggregate: Aggregate | None = None,
        batch_dim: int = 0,
        kl: Literal["closed", "sampled"] = "closed",
        prior: Trace | Callable[[], Trace] | None = None,
    ) -> Tensor:
        d = Densities(
            q, p, groups=groups, aggregate=aggregate, batch_dim=batch_dim, kl=kl, prior=prior
        )
        return d.score(self)

    def __str__(self) -> str:
        """The integrand."""
        return _sum_of(
            (c, str(atom), "·") for atom, c in sorted(self.coefficients.items(), key=_order)
        )

    def circled(self) -> str:
        """The objective in the circled terms of the paper, for a tree of groups and units.

        Errors: ValueError if it is no sum of those terms.
        """
        plain = {
            a: v
            for a, v in self.coefficients.items()
            if isinstance(a, Atom) and not a.of and a.kind != "label"
        }
        c = {(atom.kind, atom.level): v for atom, v in plain.items()}
        rest = {atom: v for atom, v in self.coefficients.items() if atom not in plain}
        one, evident, two = (
            c.get(("recon", 0), 0),
            c.get(("evidence", 0), 0),
            -c.get(("posterior", 0), 0),
        )
        across = c.get(("p", 0), 0)
        within, units = (
            across + c.get(("p", 1), 0),
            across + c.get(("p", 1), 0) + c.get(("p", -1), 0),
        )
        form = (
            one * recon
            + evident * evidence
            - two * mi
            - across * tc[0]
            - within * tc[1:]
            - units * kl[-1]
        )
        if not (form + Objective(rest))._is_close(self):
            raise ValueError(f"{self} is no sum of the terms ① to ④, Ⓐ, Ⓑ, ⓘ and ⓘⓘ")
        terms = [(one, "①"), (two, "②"), (one + evident, "③")]
        if across == within == units:
            terms += [(across, "④")]
        elif within == units:
            terms += [(across, "Ⓐ"), (units, "Ⓑ")]
        elif across == within and ("p", 1) not in c:
            terms += [(across, "Ⓐ*"), (units, "Ⓑ*")]
        else:
            terms += [(across, "Ⓐ"), (within, "ⓘ"), (units, "ⓘⓘ")]
        for atom, v in list(rest.items()):
            if (
                isinstance(atom, Atom)
                and atom.kind == "posterior"
                and rest.get(Atom("q", 0, atom.of)) == -v
            ):  # information in an anchor
                terms.append((-rest.pop(atom), "②ᵃ"))
                del rest[Atom("q", 0, atom.of)]
        terms += [(v, str(atom)) for atom, v in rest.items()]
        return _sum_of((v, name, "" if name[0] in "①②③④ⒶⒷⓘ" else "·") for v, name in terms)

    def _is_close(self, other: Objective) -> bool:
        gap = (self - other).coefficients.values()
        return all(_is_zero(v, 1e-9) for v in gap)


class Densities:
    """The atoms of one pair of traces, each computed once and when first asked for, shared by loss
    and log.

    `groups` is a tree of latent sites or slices (default: one group a site); `aggregate` estimates
    log q(z_block) (`minibatch(n)`, `exact(posterior)`); `batch_dim` says which dimension is the
    batch: dimensions before it are samples. `kl="closed"` integrates KL(q(z|x) ‖ p(z))
    analytically, site by site, where coefficients leave it whole and the pair of distributions has
    a closed form; `kl="sampled"` never does.

    Latents are q's drawn sites; where a site is observed for some items only, it is latent for the
    others: at an observed entry it leaves every block, and its log p counts in `recon`, its log q
    in `label`. Where a site's prior depends on latents outside its block they are integrated: over
    enumerated ones exactly, over others by the mean over `prior`, draws of the prior such as
    `decoder(None, q.free(1000))`, or a function that makes them when first needed.

    Errors: KeyError if q draws a site that p lacks, or p draws one itself; ValueError if the
    objective needs an aggregate and there is none, a site cannot be differentiated, or a prior has
    to be integrated without draws.
    """

    def __init__(
        self,
        q: Trace,
        p: Trace,
        *,
        groups: Tree | None = None,
        aggregate: Aggregate | None = None,
        batch_dim: int = 0,
        kl: Literal["closed", "sampled"] = "closed",
        prior: Trace | Callable[[], Trace] | None = None,
    ) -> None:
        self.prior = prior
        self.classes = q.classes()
        self.q, self.p, self.aggregate, self.kl = (
            q.aligned(),
            p.aligned(len(self.classes)),
            aggregate,
            kl,
        )
        q, p = self.q, self.p
        self.batch_dim = len(self.classes) + batch_dim
        self.lead = self.batch_dim + 1
        self.latents = {
            name: node
            for name, node in q.items()
            if node.dist is not None and node.observed is not True
        }
        self._check()
        sites = {name: node for name, node in q.items() if node.dist is not None and name in p}
        self.shapes = {
            name: unit_shape(node.dist, node.value, self.lead)
            for name, node in sites.items()
            if node.dist
        }
        self.levels = (
            chain(groups if groups is not None else tuple(sites), self.shapes) if sites else []
        )
        values = (node.value for node in q.values() if node.dist is not None)
        self._zero = next((v.new_zeros(v.shape[: self.lead]) for v in values), torch.zeros(()))
        if self.classes:
            self._zero = self._zero[(slice(0, 1),) * len(self.classes)]
        self._atoms: dict[Atom, Tensor] = {}
        self._log_q: dict[Block, Tensor] = {}

    def __getitem__(self, atom: Atom) -> Tensor:
        """An atom per item, (*samples, batch)."""
        return self._mean(self._atom(self._resolve(atom)))

    def _atom(self, atom: Atom) -> Tensor:
        if atom not in self._atoms:
            self._prepare({atom: 1.0})
            self._atoms[atom] = self._compute(atom)
        return self._atoms[atom]

    def _mean(self, t: Tensor) -> Tensor:
        """Σ q(y|x) t over the classes of enumerated sites."""
        if not (depth := len(self.classes)):
            return t
        if any(size > 1 for size in t.shape[:depth]):
            t = (self._log_class.exp() * t).sum(tuple(range(depth)), keepdim=True)
        return t.reshape(t.shape[depth:])

    @cached_property
    def _log_class(self) -> Tensor:
        """log-weights of the combinations of classes, (*classes, *samples, batch)."""
        return self._sum(self.q[name].log_weight(len(self.classes)) for name in self.classes)

    def score(self, objective: Objective) -> Tensor:
        """The objective per item, (*samples, batch), in nats."""
        table: dict[Atom, float] = {}
        total = self._zero
        for given, c in objective.coefficients.items():
            if isinstance(c, Ramp):
                raise ValueError(
                    f"the coefficient of {given} is a schedule, {c}: score objective.at(step)"
                )
            if isinstance(given, Atom):
                atom = self._resolve(given)
                table[atom] = table.get(atom, 0.0) + c
            else:
                total = total + c * given(self)
        table = {atom: c for atom, c in table.items() if not math.isclose(c, 0, abs_tol=1e-12)}
        if self.kl == "closed" and not any(atom.kind == "evidence" for atom in table):
            for atom, c in list(table.items()):
                prior = Atom("p", 0, atom.of)
                if (
                    atom.kind == "posterior"
                    and math.isclose(table.get(prior, 0.0), -c)
                    and self._is_whole(atom)
                ):
                    del table[atom], table[prior]
                    total = total + c * self._kl(atom.of)
        self._prepare(table)
        for atom, c in table.items():
            total = total + c * self._atom(atom)
        return self._mean(total)

    # -- atoms -------------------------------------------------------------------------------------

    def _compute(self, atom: Atom) -> Tensor:
        if atom.kind == "recon":
            return self._sum(self._given(name, node) for name, node in self.p.items())
        if atom.kind == "label":
            nodes = [
                (n, node)
                for n, node in self.q.items()
                if node.dist is not None or node.score is not None
            ]
            return self._sum(self._given(name, node) for name, node in nodes)
        if atom.kind == "posterior":
            return self._sum(self._log_marginals(self.q, b) for b in self._blocks(atom))
        if atom.kind == "p":
            return self._sum(self._log_prior(b) for b in self._blocks(atom))
        if atom.kind == "q":
            return self._sum(self._log_q[b] for b in self._blocks(atom))
        if self.batch_dim == len(self.classes):
            raise ValueError(
                "log p(x) is estimated from several samples an item, in dimensions before the "
                "batch: this trace has none; expand x to (samples, batch, …) and say batch_dim=1"
            )
        weights = (
            self._atom(Atom("recon"))
            + self._atom(Atom("p"))
            - self._atom(Atom("posterior"))
            + self._log_class
        )
        draws = weights.shape[len(self.classes) : self.batch_dim]
        mean = weights.logsumexp(tuple(range(self.batch_dim)), keepdim=True) - math.log(
            math.prod(draws)
        )
        return mean.expand(*mean.shape[: len(self.classes)], *draws, -1)

    def _given(self, name: str, node: Node) -> Tensor:
        """A site's log-density where q did not draw it, summed to one number an item."""
        q = self.q.get(name, node)
        drawn = q.observed is False and q.score is None and name in self.q
        if drawn or node.role == "free":
            return self._zero
        density, given = node.log_prob, q.observed if q.exists is True else q.exists & q.observed
        if isinstance(given, Tensor):
            density = torch.where(_align(name, given, density), density, 0.0)
        return self._per_item(name, density)

    def _per_item(self, name: str, t: Tensor) -> Tensor:
        if t.ndim < self.lead:
            raise ValueError(
                f"site {name!r} has log-densities of shape {tuple(t.shape)}: expected the batch in "
                f"dimension {self.batch_dim} (batch_dim={self.batch_dim}), after the samples; "
                "expand its value to that shape"
            )
        return t.flatten(self.lead).sum(-1) if t.ndim > self.lead else t

    def _log_marginals(self, trace: Trace, part: Block) -> Tensor:
        """log-density of a block given the item, enumerated classes outside it summed over."""
        if classes_summed(self.q, trace, part, self.batch_dim):
            return log_own(self.q, trace, part, self.batch_dim)
        return self._sum(self._log_density(trace, [part]))

    def _log_prior(self, part: Block) -> Tensor:
        """log p(block): over enumerated parents the exact sum, over other parents the mean over
        draws of the prior.
        """
        names = {site for site, _ in part}
        orphans = [name for name in names if name in self.latents and self._parents[name] - names]
        if not orphans:
            return self._log_marginals(self._prior, part)
        if self.prior is None or any(self._parents[name] & names for name in orphans):
            parents = ", ".join(
                sorted({repr(site) for name in orphans for site in self._parents[name] - names})
            )
            raise ValueError(
                f"the density of {' and '.join(map(repr, sorted(names)))} under the prior "
                f"integrates over {parents}, which {orphans[0]!r} depends on: give draws of the "
                "prior, prior=decoder(None, q.free(1000)), and groups that do not split what "
                "hangs together within a block"
            )
        if not isinstance(self.prior, Trace):
            self.prior = self.prior()
        draws = self.prior[orphans[0]].value.shape[0]
        return log_mixture(self.q, self.prior, [part], (-math.log(draws),) * 3, self.batch_dim)[0]

    @cached_property
    def _parents(self) -> dict[str, set[str]]:
        """The drawn latents that each latent's prior may depend on, be it through others.

        Those before it in p; of a `conditional`, the sites that it is given, and what these depend
        on. A prior that is the same for all items depends on none.
        """
        found: dict[str, set[str]] = {}
        for name in self.p:
            if name in self.latents:
                before = (
                    [site for site in self._before(name) if site in found]
                    if self._varies(name)
                    else []
                )
                found[name] = set(before).union(*(found[site] for site in before))
        return {name: sites - set(self.classes) for name, sites in found.items()}

    def _varies(self, name: str) -> bool:
        """Whether a site's prior differs between items, for all that one can see."""
        dist = unwrap(self._prior[name].dist or self.q[name].dist)  # type: ignore[arg-type]
        first = lacking(dist, self.p[name].value)
        lead = range(max(len(self.classes) - first, 0), self.lead - first)
        return not (self._is_fixed(name, classes=False) or is_constant(dist, lead))

    def _before(self, name: str) -> Sequence[str]:
        """The sites that a site's prior may read."""
        law = self.p[name].law
        return law.given if law else list(self.p)[: list(self.p).index(name)]

    @cached_property
    def _prior(self) -> Trace:
        """p's latent sites in the roles that q gives them."""
        nodes = {}
        for name in self.shapes:
            q = self.q[name]
            nodes[name] = replace(q, dist=self.p[name].dist)
        return Trace.of(nodes)

    def _log_density(self, nodes: Mapping[str, Node], blocks: Iterable[Block]) -> list[Tensor]:
        parts = []
        subsets: dict[str, list[tuple[int, ...]]] = {}
        for site, units in (part for b in blocks for part in b):
            if site in self.latents:
                subsets.setdefault(site, []).append(units)
        for site, wanted in subsets.items():
            node, observed = nodes[site], self.latents[site].observed
            assert node.dist is not None
            keep = ~observed if isinstance(observed, Tensor) else None
            parts += log_marginals(
                node.dist, node.value, self.lead, wanted, keep, self.shapes[site]
            )
        return parts

    def _prepare(self, atoms: Mapping[Atom, float]) -> None:
        """All blocks that the atoms need are asked of the aggregate at once, which is told their
        coefficients.
        """
        weights: dict[Block, float] = {}
        for atom, c in atoms.items():
            for b in self._blocks(atom) if atom.kind == "q" else ():
                if b not in self._log_q:
                    weights[b] = weights.get(b, 0.0) + c
        blocks = list(weights)
        if blocks and self.aggregate is None:
            raise ValueError(
                "this objective needs log q(z), the aggregate posterior: say how to estimate it, "
                "with aggregate=unweave.minibatch(n) for a data set of n items, or "
                "unweave.exact(posterior)"
            )
        if blocks and self.aggregate is not None:
            share: float | Tensor = self._log_class.detach().exp() if self.classes else 1.0
            told = (
                {"ahead": [c * share for c in weights.values()]}
                if isinstance(self.aggregate, (minibatch, exact))
                else {}
            )
            log_q = self.aggregate(self.q, blocks, self.batch_dim, **told)
            self._log_q.update(zip(blocks, log_q, strict=True))

    # -- closed-form KL ----------------------------------------------------------------------------

    def _kl(self, of: tuple[str, ...]) -> Tensor:
        """KL(q(z|x) ‖ p(z)) per item, analytic for the sites that allow it and sampled for the
        others.
        """
        parts = (part for b in self._blocks(Atom("posterior", 0, of)) for part in b)
        return self._sum(
            self._site_kl(name, units) for name, units in parts if name in self.latents
        )

    def _site_kl(self, name: str, units: tuple[int, ...]) -> Tensor:
        q, p = self.latents[name], self.p[name]
        assert q.dist is not None
        assert p.dist is not None
        whole = len(units) == math.prod(self.shapes[name])
        if (whole or (is_factorised(q.dist) and is_factorised(p.dist))) and self._is_integrable(
            name
        ):
            dist = unwrap(q.dist)
            try:
                kl = kl_divergence(dist, unwrap(p.dist))
            except NotImplementedError:
                kl = None
            if kl is not None:
                entries = q.value.shape[
                    : q.value.ndim - len(dist.event_shape)
                ]  # (*samples, batch, *units)
                kl = kl.expand(torch.broadcast_shapes(kl.shape, entries))
                if isinstance(q.observed, Tensor):
                    kl = torch.where(_align(name, q.observed, kl), 0.0, kl)
                kl = kl.flatten(self.lead) if kl.ndim > self.lead else kl.unsqueeze(-1)
                return (kl if whole else kl[..., list(units)]).sum(-1)
        part = [((name, units),)]
        return self._sum(self._log_density(self.latents, part)) - self._sum(
            self._log_density(self.p, part)
        )

    def _is_whole(self, atom: Atom) -> bool:
        """Whether no class outside the form's latents has to be summed over, in q or in the
        prior.
        """
        blocks = [union(self._blocks(atom))] if self.classes else []
        return not any(
            classes_summed(self.q, t, b, self.batch_dim)
            for b in blocks
            if b
            for t in (self.q, self._prior)
        )

    def _is_integrable(self, name: str) -> bool:
        """Whether the prior's parameters can be held while z is integrated under q(z|x).

        They can if they are the same for all items and samples, or if what they may read is all
        earlier in q too.
        """
        before = {site for site in self._before(name) if site in self.latents}
        return self._is_fixed(name) or before <= set(list(self.q)[: list(self.q).index(name)])

    def _is_fixed(self, name: str, *, classes: bool = True) -> bool:
        """Whether a site's prior is the same for all items and samples, and for all classes of
        enumerated sites.
        """
        value, dist = self.p[name].value, self.p[name].dist
        assert dist is not None
        dist = unwrap(dist)
        units = value.ndim - len(dist.event_shape) - self.lead
        lead = dist.batch_shape[: max(len(dist.batch_shape) - units, 0)]
        lead = lead if classes else lead[-(self.lead - len(self.classes)) :]
        return not lead or math.prod(lead) == 1 < math.prod(value.shape[: self.lead])

    # -- small parts -------------------------------------------------------------------------------

    def _resolve(self, atom: Atom) -> Atom:
        """Levels counted from the coarsest; levels of a factorised prior are one."""
        if atom.kind not in ("q", "p"):
            return atom
        depth = len(self.levels) or 1
        if not -depth <= atom.level < depth:
            raise ValueError(
                f"{atom}: the tree of groups has levels 0 to {depth - 1}, level {atom.level} was "
                "asked for"
            )
        level = atom.level % depth
        return atom._replace(level=0 if atom.kind == "p" and level and self.factorises else level)

    def _within(self, of: tuple[str, ...]) -> Block:
        return (
            union(block(leaf, self.shapes) for leaf in of)
            if of
            else union(self.levels[0] if self.levels else ())
        )

    def _blocks(self, atom: Atom) -> list[Block]:
        blocks = self.levels[atom.level] if self.levels else []
        if not atom.of:
            return blocks
        within = self._within(atom.of)
        return [part for b in blocks if (part := intersect(b, within))]

    def _sum(self, parts: Iterable[Tensor]) -> Tensor:
        return sum(parts, self._zero)

    @cached_property
    def factorises(self) -> bool:
        """Whether the prior is the product of its units' priors: then its levels are one."""
        for name in self.latents:
            units, dist = self.shapes[name], self.p[name].dist
            assert dist is not None
            alike = (
                is_factorised(dist)
                and unit_shape(dist, self.p[name].value, self.lead)[: len(units)] == units
            )
            alone = ((name, tuple(range(math.prod(units)))),)
            if (
                not alike
                or self._parents[name]
                or classes_summed(self.q, self._prior, alone, self.batch_dim)
            ):
                return False
        return True

    def _check(self) -> None:
        for name, node in self.latents.items():
            if name not in self.p:
                raise KeyError(
                    f"q draws {name!r}, but p has no such site; its sites are: "
                    f"{', '.join(map(repr, self.p))}"
                )
            dist = node.dist
            discrete = dist and not dist.has_rsample and node.role != "enumerated"
            if torch.is_grad_enabled() and discrete and node.log_prob.requires_grad:
                raise ValueError(
                    f"site {name!r} draws from a {type(dist).__name__}, whose samples carry no "
                    "gradient: the objective's gradient would be biased. Use "
                    "q.categorical(logits, …), which sums over its classes, or q.concrete(logits, "
                    "temperature, …), observe the site, or evaluate under torch.no_grad()"
                )
        for name, node in self.p.items():
            if node.role in ("sampled", "enumerated"):
                hint = (
                    f"pass value=q[{name!r}]"
                    if name in self.q
                    else f"q has the sites {', '.join(map(repr, self.q))}"
                )
                raise KeyError(f"p drew its own {name!r} instead of scoring a value: {hint}")


# -- terms -----------------------------------------------------------------------------------------


class _Levels:
    """A term for each level of the tree: `kl[0]`, `kl[-1]`, `tc[1]`, and `tc[a:b]`, the sum of
    levels a to b−1.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getitem__(self, level: int | slice) -> Objective:
        if self._name == "kl":
            if isinstance(level, slice):
                raise TypeError("kl takes one level, such as kl[0] or kl[-1]; slices are for tc")
            return Objective({Atom("q", level): 1.0, Atom("p", level): -1.0})
        if not isinstance(level, slice):
            return kl[_above(level)] - kl[_above(level) + 1]
        if level.step is not None:
            raise TypeError("tc takes slices without a step: add the levels that you want")
        return kl[_above(level.start or 0)] - kl[-1 if level.stop is None else _above(level.stop)]

    def __repr__(self) -> str:
        return f"{self._name}[level]"


def _above(level: int) -> int:
    """The partition above tc[level]: counted from the end, there is one partition more than there
    are tcs.
    """
    return level if level >= 0 else level - 1


recon = Objective({Atom("recon"): 1.0})
label = Objective({Atom("label"): 1.0})
evidence = Objective({Atom("evidence"): 1.0})
mi = Objective({Atom("posterior"): 1.0, Atom("q"): -1.0})
kl = _Levels("kl")
tc = _Levels("tc")


# -- the literature's table ------------------------------------------------------------------------

elbo = recon - mi - kl[0]
"""① + ② + ③ + ④: the evidence lower bound (Kingma and Welling, 2014; Rezende et al., 2014)."""


def beta_vae(beta: float | Ramp) -> Objective:
    """① + ③ + β(② + ④): β-VAE (Higgins et al., 2017)."""
    return recon - beta * (mi + kl[0])


def dip_vae(lam: float | Ramp) -> Objective:
    """① + ② + ③ + λ④: DIP-VAE (Kumar et al., 2018) as a linear form; the paper trains on matched
    moments.
    """
    return recon - mi - lam * kl[0]


def info_vae(lam: float | Ramp) -> Objective:
    """① + ③ + λ④: InfoVAE (Zhao et al., 2017) at its α = 1, with the KL divergence as D."""
    return recon - lam * kl[0]


def corex(lam: float | Ramp, anchor: str) -> Objective:
    """① + ② + ③ + ④ − λ②ᵃ: information in the anchored latents is rewarded (Gao et al., 2018)."""
    return elbo + lam * mi.of(anchor)


def bottleneck(beta: float | Ramp, gamma: float | Ramp) -> Objective:
    """① + ③ + β② + γⒶ*: information dropout (Achille and Soatto, 2018); Ⓐ* is over single units."""
    return recon - beta * mi - gamma * tc[:]


def tc_vae(beta: float | Ramp) -> Objective:
    """① + ② + ③ + Ⓑ* + βⒶ*: FactorVAE (Kim and Mnih, 2018), β-TCVAE (Chen et al., 2018), over
    single units.
    """
    return recon - mi - beta * tc[:] - kl[-1]


def hfvae(
    alpha: float | Ramp = 1.0, beta: float | Ramp = 1.0, gamma: float | Ramp = 1.0
) -> Objective:
    """① + ③ + ⓘⓘ + α② + βⒶ + γⓘ: HFVAE (Esmaeili et al., 2019).

    β weighs the correlation between the top groups, γ that of every level below: for a coefficient
    of its own for each level write `recon - alpha*mi - b0*tc[0] - b1*tc[1] - … - kl[-1]`.
    """
    return recon - alpha * mi - beta * tc[0] - gamma * tc[1:] - kl[-1]


def _align(name: str, observed: Tensor, density: Tensor) -> Tensor:
    """What was observed, (*samples, batch) or finer, with sizes of one for the density's further
    dimensions.
    """
    while observed.ndim > density.ndim and observed.shape[-1] == 1:
        observed = observed.squeeze(-1)
    if observed.ndim > density.ndim:
        raise ValueError(
            f"site {name!r}: its units were observed one by one, but its density keeps an item's "
            "units together; observe whole items, or let p factorise over the units"
        )
    return observed.reshape(*observed.shape, *[1] * (density.ndim - observed.ndim))


def _order(item: tuple[Atom | Term, float | Ramp]) -> tuple[int, int, tuple[str, ...]]:
    atom = item[0]
    kinds = ["recon", "label", "evidence", "posterior", "q", "p"]
    return (
        (kinds.index(atom.kind), atom.level % 1000, atom.of)
        if isinstance(atom, Atom)
        else (len(kinds), 0, ())
    )


def _is_zero(c: float | Ramp, tol: float) -> bool:
    return all(abs(v) < tol for _, v in c.knots) if isinstance(c, Ramp) else abs(c) < tol


def _sum_of(terms: Iterable[tuple[float | Ramp, str, str]]) -> str:
    text = ""
    for c, name, dot in terms:
        if _is_zero(c, 1e-12):
            continue
        if isinstance(c, Ramp) and _is_zero(c - c.knots[0][1], 1e-12):
            c = c.knots[0][1]
        minus = all(v <= 0 for _, v in c.knots) if isinstance(c, Ramp) else c < 0
        size = -c if minus else c
        shown = (
            f"{size}·"
            if isinstance(size, Ramp)
            else ""
            if math.isclose(size, 1)
            else f"{size:g}{dot}"
        )
        text += (("-" if minus else "") if not text else (" - " if minus else " + ")) + shown + name
    return text or "0"
