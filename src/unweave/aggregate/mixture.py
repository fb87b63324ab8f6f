"""Estimators of log q(z_block), where q(z) = 1/N Σ_n q(z|x_n) is the aggregate posterior of a data
set.

An aggregate is a function of a trace and of blocks of latent units. Sites of one item are taken as
independent given the parameters that its trace recorded: where a program draws z from q(z|x, y),
the posterior of item n is q(y|x_n) q(z|x_n, y_n) with the y_n that was drawn, and q(y|x_n) q(z|x_n,
y) for every y that is enumerated, or for the y of the row where z is a conditional site
(`Trace.conditional`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, OneHotCategorical
from torch.utils.checkpoint import checkpoint

from ..ranks import world
from ..trace.axes import pad
from ..trace.concrete import Concrete
from ..trace.groups import Block, Part
from ..trace.marginals import is_factorised, log_marginals, unit_shape, unwrap
from ..trace.node import Law, Node
from ..trace.parameters import lacking
from ..trace.trace import Trace
from . import pairs as fused
from .gather import gathered

Aggregate = Callable[[Trace, Sequence[Block], int], "list[Tensor]"]
"""(q, blocks, batch_dim) -> log q(block) for each block, shapes (*samples, batch), in nats."""

Ahead = Sequence["float | Tensor"]
"""For each block a number or a tensor (*classes, *samples, batch): up to a common factor, what Σ
ahead · log q(block) will be differentiated. The fused estimator then makes that gradient with the
values: a hint, never an assumption.
"""

Weights = Callable[[int, int], tuple[float, float, float]]
"""(B, N) -> weights of an item's own posterior, of the next item's, and of every other item's in
the batch.
"""


def balanced(batch: int, n: int) -> tuple[float, float, float]:
    """Own posterior 1/N, each other (N−1)/(N(B−1)): unbiased for q(z), exact at B = N (Esmaeili et
    al., 2019).
    """
    other = (n - 1) / (n * (batch - 1)) if batch > 1 else 0.0
    return 1 / n, other, other


def stratified(batch: int, n: int) -> tuple[float, float, float]:
    """Own posterior 1/N, one other (N−M)/(NM), the rest 1/M, with M = B−1: unbiased for q(z).

    Source: minibatch stratified sampling of Chen et al., "Isolating Sources of Disentanglement"
    (2018), appendix C.2, with 1/N on the diagonal as in the paper. Public implementations put it in
    column 0.
    """
    m = batch - 1
    return (1 / n, (n - m) / (n * m), 1 / m) if m else (1 / n, 0.0, 0.0)


def weighted(batch: int, n: int) -> tuple[float, float, float]:
    """All 1/(NB): minibatch weighted sampling of Chen et al. (2018).

    Biased: it estimates q(z)/N or so, and shifts a total correlation over D units by about
    (D−1)·log N nats. The gradient is of use, the value is not.
    """
    return (1 / (n * batch),) * 3


@dataclass(frozen=True)
class minibatch:
    """log q(z_block) from the batch at hand, a sample without replacement from a data set of `n`
    items.

    .. math:: \\hat q(z_i) = \\sum_j w_{ij} q(z_i | x_j)

    Unbiased for q(z) with `balanced` (default) and `stratified` weights; its logarithm is biased
    (for N ≫ B, information is overestimated, total correlations mostly underestimated): train with
    it, report `exact` values.

    Where several processes train together, the batch is that of all of them: rank r scores its B/P
    rows against the posteriors of all B items, in columns r·B/P on its own (see `gather.gathered`).
    With `gather=False` each rank keeps to its part.

    Errors: ValueError if the batch has one item, or more than `n`.
    """

    n: int
    weights: Weights = balanced
    gather: bool = True

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, ahead: Ahead | None = None
    ) -> list[Tensor]:
        value = next(node.value for node in q.values() if node.dist is not None)
        rank, ranks = world() if self.gather else (0, 1)
        rows = value.shape[batch_dim]
        batch = rows * ranks
        if batch > self.n or (batch == 1 < self.n):
            raise ValueError(
                f"minibatch(n={self.n}) got a batch of {batch}: expected 2 to {self.n} items, "
                "drawn without replacement from the data set of n items; set n to its size and "
                "drop a last batch of one"
            )
        own, following, other = (
            math.log(w) if w > 0 else -math.inf for w in self.weights(batch, self.n)
        )
        posterior = gathered(q, batch_dim) if ranks > 1 else q
        log_w = own, following, other
        return log_mixture(q, posterior, blocks, log_w, batch_dim, first=rank * rows, ahead=ahead)

    def __repr__(self) -> str:
        local = "" if self.gather else ", gather=False"
        return f"minibatch(n={self.n}, weights={self.weights.__name__}{local})"


@dataclass(frozen=True)
class exact:
    """log q(z_block) by the full sum over a data set, whose posteriors `posterior` holds (a trace
    of N items).

    .. math:: q(z_i) = \\frac{1}{N} \\sum_{n=1}^N q(z_i | x_n)

    The batch that is scored may be the data set itself or any part of it. Items are taken a few at
    a time; where a sum over classes keeps the estimator from being fused, as many as fit `budget`
    numbers in memory.
    """

    posterior: Trace
    budget: int = 2**24

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, ahead: Ahead | None = None
    ) -> list[Tensor]:
        posterior = self.posterior.aligned()
        depth = 0 if q.classes() else len(posterior.classes())  # drawn classes meet enumerated ones
        q = q.aligned(depth)
        batch_dim += depth
        n = _count(q, posterior, batch_dim)
        log_q = log_mixture(
            q, posterior, blocks, (-math.log(n),) * 3, batch_dim, self.budget, ahead=ahead
        )
        return [t.reshape(t.shape[depth:]) for t in log_q]

    def __repr__(self) -> str:
        return "exact"


def log_mixture(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    log_w: tuple[float, float, float] | None,
    batch_dim: int,
    budget: int = 2**24,
    *,
    first: int = 0,
    ahead: Ahead | None = None,
) -> list[Tensor]:
    """log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`; without
    `log_w`, j is i alone.

    `log_w` are the log-weights of an item's own component, of the next one, and of any other; the
    items are components `first`, `first` + 1, and so on. See `Ahead` for `ahead`; at most `budget`
    numbers are held at a time where a sum over classes keeps the estimator from being fused.

    The classes of an enumerated site y are components as well: a block without y sums over them,
    Σ_j w_ij Σ_k q(k|x_j) q(block_i | x_j, k), where it depends on y, and a block with y compares
    the row's y with the component's. Where y is observed it leaves its block.

    Where some components lack entries (`Trace`, `where=`), a row is compared with those that have
    all that it has. Where a block holds a conditional site (`Trace.conditional`) and what it is
    given, components are asked at the row's values.
    """
    if log_w is not None and (partial := _in_part(posterior, blocks)):
        return _of_those_that_have(
            q, posterior, blocks, partial, log_w, batch_dim, budget, first, ahead
        )
    if log_w is not None and (told := _told(q, posterior, blocks, batch_dim)):
        blocks = [
            tuple((told[block, part], (0,)) if (block, part) in told else part for part in block)
            for block in blocks
        ]
        own, other = _conditioned(q, posterior, told, batch_dim)
        return log_mixture(own, other, blocks, log_w, batch_dim, budget, first=first, ahead=ahead)
    if log_w is not None and not posterior.classes() and not q.classes():
        return list(
            fused.log_mixture(q, posterior, blocks, log_w, batch_dim, ahead=ahead, first=first)
        )
    cases = {block: _cases(q, posterior, block) for block in blocks}
    coefficients = dict(zip(blocks, ahead, strict=True)) if ahead is not None else {}
    log_q: dict[Block, Tensor] = {}
    alike: dict[tuple[tuple[str, ...], tuple[int, ...], bool], list[Block]] = {}
    for case in dict.fromkeys(case for some in cases.values() for _, case in some):
        if case:
            summed = classes_summed(q, posterior, case, batch_dim)
            drawn = _is_drawn(q, posterior, case, summed, batch_dim)
            alike.setdefault((summed, _classes_held(q, case), drawn), []).append(case)
        else:  # all that the block held was observed
            log_q[case] = (
                _weights(q, posterior, log_w, batch_dim, first).logsumexp(-1)
                if log_w
                else torch.zeros(())
            )
    for (summed, held, drawn), some in alike.items():
        known = [_of_classes(coefficients[case], held) for case in some if case in coefficients]
        given = known if len(known) == len(some) else None
        found: Iterable[Tensor]
        if drawn and log_w and len({*log_w, 0.0}) == 2:
            found = _class_by_class(q, posterior, some, summed, log_w[2], batch_dim)
        elif log_w is None or (
            summed and not all(_is_foldable(q, posterior, case, summed) for case in some)
        ):
            matrix = _weights(q, posterior, log_w, batch_dim, first) if log_w else None
            found = unfused(q, posterior, some, summed, matrix, batch_dim, budget)
        elif summed:
            found = _folded(q, posterior, some, summed, log_w, batch_dim, given, first)
        else:
            found = fused.log_mixture(
                q, posterior, some, log_w, batch_dim, ahead=given, first=first
            )
        log_q.update(zip(some, found, strict=True))
    whole = []
    for block in blocks:
        (_, case), *others = cases[block]
        total = log_q[case]
        for observed, case in others:
            total = torch.where(observed, log_q[case], total)
        whole.append(total)
    return whole


PAIRS = 2**22
"""How many numbers a conditional site's pairs of rows and components may take at a time, about."""


class _Conditional(Distribution):
    """Component j's log-density of some units of a site at the row's values of that site and of
    those it is given.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self,
        law: Law,
        shapes: Sequence[tuple[int, ...]],
        units: tuple[int, ...],
        batch: Sequence[int],
    ) -> None:
        self.law, self.shapes, self.units = law, shapes, units
        super().__init__(
            torch.Size(batch), torch.Size([sum(map(math.prod, shapes))]), validate_args=False
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """(rows, *samples, 1, numbers) -> (rows, *samples, components), so many rows at a time."""
        width = self._event_shape.numel() + sum(t.shape[-1] for t in self.law.inputs)
        parts = value.split(max(1, PAIRS // (width * self._batch_shape.numel())))
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self._log_prob(part) for part in parts])
        return torch.cat([checkpoint(self._log_prob, part, use_reentrant=False) for part in parts])

    def _log_prob(self, value: Tensor) -> Tensor:
        lead = value.ndim - 1
        columns = value.split([math.prod(shape) for shape in self.shapes], -1)
        *given, own, keep = (
            t.reshape(*t.shape[:lead], *shape)
            for t, shape in zip(columns, self.shapes, strict=True)
        )
        dist, latent = self.law.of(*given, *self.law.inputs), keep != 0
        some = (
            latent if is_factorised(dist) else latent.flatten(lead)[..., 0]
        )  # the others are there as wholes
        return log_marginals(dist, own, lead, [self.units], some)[0]


def _told(
    q: Trace, posterior: Trace, blocks: Sequence[Block], batch_dim: int
) -> dict[tuple[Block, Part], str]:
    """The parts of blocks that are given others of their block, each with a name for the site that
    compares them.

    Errors: ValueError if a block holds a site and one that it depends on, but not all that is
    between them.
    """
    told = {}
    laws = {site: law for site in posterior if (law := posterior[site].law)}
    for block in blocks if laws else ():
        held = dict(block)
        for site, units in block:
            given = laws[site].given if site in laws else ()
            counts = {
                before: math.prod(_units_of(q, posterior, before, batch_dim)) for before in given
            }
            gap = [before for before, count in counts.items() if len(held.get(before, ())) < count]
            if torn := [before for before in held if before in _origins(laws, gap)]:
                raise ValueError(
                    f"a block holds {site!r} and {torn[0]!r}, but not all of {gap[0]!r}, which "
                    f"{site!r} is given: its density under q(z) is an integral that is not known; "
                    "group sites that follow one another as wholes, or each by itself"
                )
            if given and not gap:
                told[block, (site, units)] = f"{site}{list(units)} given {', '.join(given)}"
    return told


def _origins(laws: dict[str, Law], sites: Sequence[str]) -> set[str]:
    """The sites and all that they depend on."""
    found, waiting = set[str](), list(sites)
    while waiting:
        found.add(site := waiting.pop())
        waiting += [
            before for before in (laws[site].given if site in laws else ()) if before not in found
        ]
    return found


def _units_of(q: Trace, posterior: Trace, site: str, batch_dim: int) -> tuple[int, ...]:
    """The shape of a component's units; the posterior may have no samples."""
    node = posterior[site]
    assert node.dist is not None
    return unit_shape(node.dist, node.value, batch_dim + 1 - (q[site].value.ndim - node.value.ndim))


def _conditioned(
    q: Trace, posterior: Trace, told: dict[tuple[Block, Part], str], batch_dim: int
) -> tuple[Trace, Trace]:
    """Both traces with a site for each part in `told`: values of what it is given, its own, and
    which are latent.
    """
    rows, components = dict(q), dict(posterior)
    for (_, (site, units)), name in told.items():
        law, shape = posterior[site].law, _units_of(q, posterior, site, batch_dim)
        assert law is not None
        fewer = q[site].value.ndim - posterior[site].value.ndim

        def joined(
            trace: Trace,
            lead: int,
            law: Law = law,
            site: str = site,
            shape: tuple[int, ...] = shape,
        ) -> Tensor:
            node = trace[site]
            keep = _entries(~torch.as_tensor(node.observed), node, lead - 1, shape).to(
                node.value.dtype
            )
            parts = [*(trace[before].value for before in law.given), node.value, keep]
            most = torch.broadcast_shapes(*(t.shape[:lead] for t in parts))
            return torch.cat(
                [t.expand(*most, *t.shape[lead:]).reshape(*most, -1) for t in parts], -1
            )

        tails = [q[of].value.shape[batch_dim + 1 :] for of in (*law.given, site)]
        lead = batch_dim + 1 - fewer
        batch = torch.broadcast_shapes(*(t.shape[:lead] for t in law.inputs), (1,) * lead)
        rows[name] = Node(joined(q, batch_dim + 1), "sampled")
        dist = _Conditional(law, [*map(tuple, tails), shape], units, batch)
        components[name] = Node(joined(posterior, lead), "sampled", dist)
    return Trace.of(rows, q), Trace.of(components, posterior)


class _Existence(Distribution):
    """Of a row's entries: log-probability 0 where a component has them too, −∞ where it lacks
    one.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, exists: Tensor) -> None:
        self.exists = exists
        super().__init__(exists.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_zeros(()).where(self.exists | (value == 0), -math.inf)


def _in_part(posterior: Trace, blocks: Sequence[Block]) -> dict[str, str]:
    """The sites of blocks that some components lack, each with a name for the site that says which
    do.
    """
    return {
        site: f"{site} exists"
        for block in blocks
        for site, _ in block
        if posterior[site].exists is not True
    }


def _of_those_that_have(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    partial: dict[str, str],
    log_w: tuple[float, float, float],
    batch_dim: int,
    budget: int,
    first: int,
    ahead: Ahead | None,
) -> list[Tensor]:
    """log Σ_S w_ij q(block_i | x_j) − log Σ_S w_ij / Σ_j w_ij over the components S that have all
    that row i has.

    A site beside each that exists in part is a factor of 0 or 1; blocks of such sites alone are the
    second sum.
    """
    rows, components = dict(q), dict(posterior)
    for site, exists in partial.items():
        node, other = q[site], posterior[site]
        fewer, units = node.value.ndim - other.value.ndim, _units_of(q, posterior, site, batch_dim)
        held = _entries(~torch.as_tensor(node.observed), node, batch_dim, units)
        has = _entries(torch.as_tensor(other.exists), other, batch_dim - fewer, units)
        rows[exists] = Node(held.to(node.value.dtype), "sampled")
        components[exists] = Node(has, "sampled", _Existence(has))
        components[site] = replace(other, exists=True)
    beside = [
        tuple((partial[site], units) for site, units in block if site in partial)
        for block in blocks
    ]
    joint = [block + some for block, some in zip(blocks, beside, strict=True)]
    every = list(dict.fromkeys([*joint, *filter(None, beside)]))
    known = dict(zip(joint, ahead, strict=True)) if ahead is not None else {}
    coefficients = [known.get(block, 0.0) for block in every] if known else None
    pair = Trace.of(rows, q), Trace.of(components, posterior)
    found = log_mixture(*pair, every, log_w, batch_dim, budget, first=first, ahead=coefficients)
    log_q = dict(zip(every, found, strict=True))
    n = _count(q, posterior, batch_dim)
    total = math.log(
        sum(count * math.exp(w) for count, w in zip((1, 1, n - 2), log_w, strict=True))
    )
    lowest = torch.finfo(found[0].dtype).min  # no component at all: log q is −∞
    return [
        log_q[block] - (log_q[some].clamp_min(lowest) - total) if some else log_q[block]
        for block, some in zip(joint, beside, strict=True)
    ]


def _entries(mask: Tensor, node: Node, batch_dim: int, units: tuple[int, ...]) -> Tensor:
    """A mask over a site's entries, one for each item and unit: (*classes and samples or ones,
    batch, *units).
    """
    lead = batch_dim + 1
    mask = mask.reshape(*mask.shape[:lead], *[1] * (lead - mask.ndim), *mask.shape[lead:])
    mask = mask.reshape(*mask.shape, *[1] * (lead + len(units) - mask.ndim)).to(node.value.device)
    return mask.expand(*mask.shape[:batch_dim], node.value.shape[batch_dim], *units)


def _weights(
    q: Trace, posterior: Trace, log_w: tuple[float, float, float], batch_dim: int, first: int
) -> Tensor:
    """log-weights (rows, components), or (1, components) if they are all the same."""
    value = next(node.value for node in q.values() if node.dist is not None)
    n, (own, following, other) = _count(q, posterior, batch_dim), log_w
    if own == following == other:
        return value.new_full((1, n), other)
    rows = torch.arange(value.shape[batch_dim], device=value.device)
    matrix = value.new_full((len(rows), n), other)
    matrix[rows, (first + rows + 1) % n] = following
    matrix[rows, first + rows] = own
    return matrix


def _count(q: Trace, posterior: Trace, batch_dim: int) -> int:
    """How many components there are; the posterior may have no sample dimensions."""
    name, value = next(
        (name, node.value) for name, node in posterior.items() if node.dist is not None
    )
    return value.shape[batch_dim - (q[name].value.ndim - value.ndim)]


def _classes_held(q: Trace, block: Block) -> tuple[int, ...]:
    """Sizes of the enumerated dimensions in which a block's values differ."""
    depth = len(q.classes())
    shapes = [q[site].value.shape[:depth] for site, _ in block]
    return tuple(torch.broadcast_shapes(*shapes))


def _of_classes(coefficient: float | Tensor, held: tuple[int, ...]) -> float | Tensor:
    """Summed over the classes that the block does not tell apart."""
    over = [d for d, size in enumerate(held) if size == 1]
    return (
        coefficient.sum(over, keepdim=True)
        if isinstance(coefficient, Tensor) and over
        else coefficient
    )


def _cases(q: Trace, posterior: Trace, block: Block) -> list[tuple[Tensor, Block]]:
    """The block, then for labels that are missing item by item what is left of it where they are
    there.
    """
    cases: list[tuple[Tensor, Block]] = [(torch.ones((), dtype=torch.bool), block)]
    for site, _ in block:
        observed = q[site].observed
        if "enumerated" in (q[site].role, posterior[site].role) and isinstance(observed, Tensor):
            cases += [
                (seen & observed, tuple(part for part in left if part[0] != site))
                for seen, left in cases
            ]
    return cases


def classes_summed(q: Trace, posterior: Trace, block: Block, batch_dim: int) -> tuple[str, ...]:
    """The enumerated sites whose classes a block's density sums over: what it depends on and its
    rows do not hold.
    """
    own = {dim: site for site, dim in posterior.classes().items()}
    if not own:
        return ()
    held = {site for site, _ in block if q[site].role == "enumerated"}
    mixed = {site for site, _ in block if site in own.values()} - held
    waiting = [site for site, _ in block]
    while waiting:
        needs = (
            {own[dim] for dim in _depends_on(posterior[waiting.pop()], batch_dim) if dim in own}
            - held
            - mixed
        )
        mixed |= needs
        waiting += needs
    return tuple(site for site in own.values() if site in mixed)


def _depends_on(node: Node, batch_dim: int) -> list[int]:
    """The leading dimensions in which a site's parameters differ."""
    assert node.dist is not None
    dist = unwrap(node.dist)
    missing = lacking(dist, node.value)
    return [
        missing + d
        for d, size in enumerate(dist.batch_shape)
        if size > 1 and missing + d < batch_dim
    ]


def unfused(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    mixed: Sequence[str],
    log_w: Tensor | None,
    batch_dim: int,
    budget: int,
) -> list[Tensor]:
    """Items, and the rows' classes of `mixed` sites, are moved to the front; components stand where
    they stood.

    (items, *classes, *samples, components, *units): so any distribution broadcasts without being
    rebuilt.
    """
    names = list(dict.fromkeys(site for block in blocks for site, _ in block))
    classes = posterior.classes()
    dims = [classes[site] for site in mixed]
    front = dims if log_w is None else [*dims, batch_dim]
    sizes = [max(q[name].value.shape[d] for name in names) for d in front]
    rows = {name: _rows(q[name].value, front, sizes) for name in names}
    keep = {
        name: None if (k := _keep(q[name], batch_dim)) is None else _rows(k, front, sizes)
        for name in names
    }
    drawn = {site for site in mixed if site in names}
    held = [{site for site, _ in block} for block in blocks]
    weights = [
        [posterior[site].log_weight(len(classes), given=site not in some) for site in mixed]
        for some in held
    ]
    for site in drawn:  # 0 at the row's class, −∞ at the others
        at_class = q[site].value.transpose(classes[site], -1).squeeze(-1).log()
        rows[site] = _rows(at_class, front[len(dims) :], sizes[len(dims) :])
    lead = batch_dim + 2
    if log_w is not None:
        log_w = log_w if len(log_w) == 1 else log_w.expand(*sizes[:-1], *log_w.shape).flatten(0, -2)
        log_w = log_w.reshape(len(log_w), *[1] * batch_dim, -1)
    count = max(t.shape[0] for t in (*rows.values(), *([] if log_w is None else [log_w])))
    dists = [
        (dist, value)
        for name, value in rows.items()
        if (dist := posterior[name].dist) and name not in drawn
    ]
    shapes = ((d.batch_shape, v.shape[1 : v.ndim - len(d.event_shape)]) for d, v in dists)
    terms = torch.broadcast_shapes(
        *(t.shape for t in weights[0]), () if log_w is None else log_w.shape[1:]
    )
    entries = sum(math.prod(torch.broadcast_shapes(*pair)) for pair in shapes) + len(
        blocks
    ) * math.prod(terms)
    chunk = max(1, budget // max(entries, 1))
    over = [1 + d for d in dims] + ([-1] if log_w is not None else [])
    parts = []
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        base = _ZERO if log_w is None else _part(log_w, part)
        pair: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        for name, value in rows.items():
            dist, kept = posterior[name].dist, keep[name]
            assert dist is not None
            wanted = list(
                dict.fromkeys(units for block in blocks for site, units in block if site == name)
            )
            value, some = _part(value, part), None if kept is None else _part(kept, part)
            log_q = [value] if name in drawn else log_marginals(dist, value, lead, wanted, some)
            pair.update(
                {(name, units): density for units, density in zip(wanted, log_q, strict=True)}
            )
        sums = (
            sum((*(pair[of] for of in block), *w), base)
            for block, w in zip(blocks, weights, strict=True)
        )
        log_q = [term.logsumexp(over) if over else term for term in sums]
        parts.append([t.expand(min(chunk, count - start), *t.shape[1:]) for t in log_q])
    whole = (
        parts[0] if len(parts) == 1 else [torch.cat(chunks) for chunks in zip(*parts, strict=True)]
    )
    back = [
        log_q.expand(math.prod(sizes), *log_q.shape[1:]).unflatten(0, sizes or [1])
        for log_q in whole
    ]
    return [
        log_q.movedim(list(range(len(front))), front) if front else log_q.squeeze(0)
        for log_q in back
    ]


def _folded(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    summed: Sequence[str],
    log_w: tuple[float, float, float],
    batch_dim: int,
    ahead: Ahead | None,
    first: int,
) -> Iterable[Tensor]:
    """Ask the fused estimator about (class, item) pairs: summed classes join the items."""
    names = list(dict.fromkeys(site for block in blocks for site, _ in block))
    depth, dims = len(posterior.classes()), [posterior.classes()[site] for site in summed]
    mine = [max(q[name].value.shape[d] for name in names) for d in dims]
    theirs = [posterior[site].value.shape[d] for site, d in zip(summed, dims, strict=True)]
    before = batch_dim - len(dims)

    def fold(t: Tensor, sizes: Sequence[int], lacks: int = 0) -> Tensor:
        """(*classes, *samples, batch, …) -> (*other classes, *samples, summed classes x batch, …)"""
        t = pad(t, lacks)
        shape = list(t.shape)
        for d, size in zip(dims, sizes, strict=True):
            shape[d] = size
        moved = t.expand(shape).movedim(dims, list(range(before, batch_dim)))
        return moved.flatten(before, batch_dim)

    rows, components = {}, {}
    for name in names:
        node, other = q[name], posterior[name]
        observed = False if node.role == "enumerated" else node.observed
        if isinstance(observed, Tensor):
            observed = fold(observed, mine)
        rows[name] = Node(fold(node.value, mine), "sampled", node.dist, observed)
        bare = Node(other.value, "sampled", unwrap(dist_of(other)))
        components[name] = bare.changed(lambda t, lacks: fold(t, theirs, lacks))
    weights = sum((posterior[site].log_weight(depth) for site in summed), _ZERO)
    log_v = fold(weights, theirs, batch_dim + 1 - weights.ndim)
    log_q = fused.log_mixture(
        Trace.of(rows),
        Trace.of(components),
        blocks,
        log_w,
        before,
        ahead=ahead and [fold(c, mine) if isinstance(c, Tensor) else c for c in ahead],
        first=first,
        classes=(math.prod(mine), math.prod(theirs)),
        log_v=log_v,
    )
    return (
        t.unflatten(-1, (*mine, -1)).movedim(list(range(before, batch_dim)), dims) for t in log_q
    )


def dist_of(node: Node) -> Distribution:
    assert node.dist is not None
    return node.dist


def _is_drawn(
    q: Trace, posterior: Trace, block: Block, summed: Sequence[str], batch_dim: int
) -> bool:
    """Whether a block's rows, without samples, hold drawn classes of all sites that would be summed
    over.
    """
    bare = batch_dim == len(posterior.classes()) and not q.classes()
    return bare and bool(summed) and set(summed) <= {name for name, _ in block}


def _class_by_class(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    sites: Sequence[str],
    log_w: float,
    batch_dim: int,
) -> Iterable[Tensor]:
    """Σ_j w q(y_i|x_j) q(rest_i|x_j, y_i) for drawn classes y_i: the rows of the same classes meet
    those components.
    """
    dims, depth = [posterior.classes()[site] for site in sites], len(posterior.classes())
    rest = [tuple(part for part in block if part[0] not in sites) for block in blocks]
    own = torch.stack([q[site].value.argmax(-1).flatten() for site in sites], -1)  # (rows, sites)
    log_q = [own.new_zeros(len(own), dtype=q[sites[0]].value.dtype) for _ in blocks]
    for classes in own.unique(dim=0):
        at, rows = (
            dict(zip(dims, classes.tolist(), strict=True)),
            (own == classes).all(1).nonzero().squeeze(1),
        )
        some = {}
        for name in dict.fromkeys(name for block in rest for name, _ in block):
            bare = Node(posterior[name].value, "sampled", unwrap(dist_of(posterior[name])))
            some[name] = _of_classes_at(bare, at)
        weights = [_narrowed(posterior[site].log_weight(depth, given=False), at) for site in sites]
        weight = sum(weights, _ZERO)
        mine, wanted = q.take(rows, batch_dim=batch_dim), [block for block in rest if block]
        found = iter(
            fused.log_mixture(mine, Trace.of(some), wanted, (log_w,) * 3, batch_dim, log_v=weight)
            if wanted
            else ()
        )
        for total, block in zip(log_q, rest, strict=True):
            total[rows] = next(found).flatten() if block else weight.logsumexp(-1).squeeze() + log_w
    shape = q[sites[0]].value.shape[: batch_dim + 1]
    return (total.reshape(shape) for total in log_q)


def _narrowed(t: Tensor, at: Mapping[int, int], lacks: int = 0) -> Tensor:
    """Return a tensor at one class of each of some class dimensions that it has."""
    for dim, k in at.items():
        own = dim - lacks
        if own >= 0 and t.shape[own] > 1:
            t = t.narrow(own, k, 1)
    return t


def _of_classes_at(node: Node, at: Mapping[int, int]) -> Node:
    """Return a site at one class of each of some class dimensions."""
    return node.changed(lambda t, lacks: _narrowed(t, at, lacks))


def _is_foldable(q: Trace, posterior: Trace, block: Block, summed: Sequence[str]) -> bool:
    """Whether rows hold classes as components do, or none at all, and all parameters are of a kind
    to be folded.
    """
    dists = [unwrap(dist) for site, _ in block if (dist := posterior[site].dist)]
    kinds = all(isinstance(dist, (Normal, Concrete, OneHotCategorical)) for dist in dists)
    bare = not q.classes() and not any(site in summed for site, _ in block)
    return kinds and (bare or len(q.classes()) == len(posterior.classes()))


_ZERO = torch.zeros(())


def _rows(t: Tensor, front: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """(*leading, *units) -> (rows, *leading with ones, *units); one row if all would be the same
    memory.
    """
    if not front:
        return t.unsqueeze(0)
    t = t.movedim(list(front), list(range(len(front))))
    if all(t.stride(d) == 0 or t.shape[d] == 1 for d in range(len(front))):
        t = t[(slice(0, 1),) * len(front)]
    else:
        t = t.expand(*sizes, *t.shape[len(front) :])
    t = t.flatten(0, len(front) - 1)
    for d in sorted(front):
        t = t.unsqueeze(1 + d)
    return t


def _keep(node: Node, batch_dim: int) -> Tensor | None:
    """Where a site is latent: observed entries are given, hence no part of q(z)."""
    if node.observed is False or node.role == "enumerated":
        return None
    latent = ~torch.as_tensor(node.observed, device=node.value.device)
    return latent.expand(node.value.shape[: batch_dim + 1]) if latent.ndim == 0 else latent


def _part(t: Tensor, part: slice) -> Tensor:
    return t if t.shape[0] == 1 else t[part]
