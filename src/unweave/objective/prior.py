"""The prior p(z) of a batch: what each latent's depends on, and log p of a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from torch import Tensor

from ..aggregate import log_mixture
from ..trace.groups import Block
from ..trace.marginals import is_constant, is_factorised, unit_shape, unwrap
from ..trace.parameters import lacking
from ..trace.trace import Trace
from .pair import Pair


class Prior:
    """The prior of a pair's latents.

    Args:
        pair: the traces.
        draws: draws of the prior, or a function that makes them when they are first needed: blocks
            whose parents are elsewhere are averaged over them.
    """

    def __init__(self, pair: Pair, draws: Trace | Callable[[], Trace] | None) -> None:
        self.pair = pair
        self.draws = draws

    def log_prob(self, block: Block) -> Tensor:
        """Return log p(block) per item, its parents elsewhere integrated.

        Over enumerated parents the sum is exact, over others it is the mean over draws of the
        prior.

        Raises:
            ValueError: There are other parents, and no draws of the prior; or a block holds a site
                and some of its parents, but not all.
        """
        pair, names = self.pair, {site for site, _ in block}
        latents = [site for site, _ in block if site in pair.latents]
        orphans = [site for site in latents if self.parents[site] - names]
        if not orphans:
            return pair.log_marginal(self.trace, block)
        if self.draws is None or any(self.parents[name] & names for name in orphans):
            raise self._refusal(names, orphans)
        if not isinstance(self.draws, Trace):
            self.draws = self.draws()
        count = self.draws[orphans[0]].value.shape[0]
        log_w = (-math.log(count),) * 3
        (log_p,) = log_mixture(pair.q, self.draws, [block], log_w, pair.batch_dim)
        return log_p

    def _refusal(self, names: set[str], orphans: Sequence[str]) -> ValueError:
        missing = set[str]().union(*(self.parents[name] - names for name in orphans))
        return ValueError(
            f"the density of {' and '.join(map(repr, sorted(names)))} under the prior "
            f"integrates over {', '.join(sorted(map(repr, missing)))}, which {orphans[0]!r} "
            "depends on: give draws of the prior, prior=decoder(None, q.free(1000)), and groups "
            "that do not split what hangs together within a block"
        )

    @cached_property
    def trace(self) -> Trace:
        """p's distributions at the sites of q, with q's values and roles."""
        q, p = self.pair.q_nodes, self.pair.p_nodes
        return Trace.of({name: replace(q[name], dist=p[name].dist) for name in self.pair.shapes})

    # -- which depends on which --------------------------------------------------------------------

    @cached_property
    def parents(self) -> dict[str, set[str]]:
        """The drawn latents that each latent's prior may depend on, be it through others.

        Those are the ones before it in p; of a `conditional`, the sites that it is given, and what
        these depend on. A prior that is the same for all items depends on none.
        """
        found: dict[str, set[str]] = {}
        for name in self.pair.p_nodes:
            if name in self.pair.latents:
                parents = set[str]()
                if name not in self.fixed and not self._is_alike(name):
                    for site in self._readable(name):
                        if site in found:
                            parents |= {site, *found[site]}
                found[name] = parents
        for parents in found.values():
            parents.difference_update(self.pair.classes)
        return found

    def _readable(self, name: str) -> Sequence[str]:
        """List the sites that a site's prior may read."""
        law = self.pair.p_nodes[name].law
        if law:
            return law.given
        sites = list(self.pair.p_nodes)
        return sites[: sites.index(name)]

    def is_held(self, name: str) -> bool:
        """Whether a site's prior stays as it is while the site is integrated under q(z|x).

        It does if it is the same for all items and samples, or if what it may read is all earlier
        in q too.
        """
        if name in self.fixed:
            return True
        sites = list(self.pair.q_nodes)
        earlier = sites[: sites.index(name)]
        read = [site for site in self._readable(name) if site in self.pair.latents]
        return set(read) <= set(earlier)

    # -- what is the same for all ------------------------------------------------------------------

    @cached_property
    def factorises(self) -> bool:
        """Whether the prior is the product of its units' priors: then its levels are one."""
        return all(map(self._is_product, self.pair.latents))

    def _is_product(self, name: str) -> bool:
        """Whether a site's units are independent of one another and of other sites."""
        pair = self.pair
        units, node = pair.shapes[name], pair.p_nodes[name]
        assert node.dist is not None
        if not is_factorised(node.dist):
            return False
        own_units = unit_shape(node.dist, node.value, pair.lead)
        if own_units[: len(units)] != units or self.parents[name]:
            return False
        whole = ((name, tuple(range(math.prod(units)))),)
        return not pair.depth or not pair.sums_classes(self.trace, whole)

    @cached_property
    def fixed(self) -> set[str]:
        """The latents whose prior has one set of parameters for all classes, items and samples."""
        return {name for name in self.pair.latents if self._is_one(name, self._sizes(name))}

    def _is_alike(self, name: str) -> bool:
        """Whether a site's prior is the same for all items and samples, as far as can be seen."""
        depth, lead = self.pair.depth, self.pair.lead
        items = self._sizes(name)[-(lead - depth) :]  # (*samples, batch)
        if self._is_one(name, items):
            return True
        node = self.pair.p_nodes[name]
        assert node.dist is not None
        dist = unwrap(node.dist)
        missing = lacking(dist, node.value)
        return is_constant(dist, range(max(depth - missing, 0), lead - missing))

    def _is_one(self, name: str, sizes: Sequence[int]) -> bool:
        entries = self.pair.p_nodes[name].value.shape[: self.pair.lead]
        return not sizes or math.prod(sizes) == 1 < math.prod(entries)

    def _sizes(self, name: str) -> Sequence[int]:
        """Return the sizes of a prior's parameters in front of its units, without absent ones."""
        node = self.pair.p_nodes[name]
        assert node.dist is not None
        dist = unwrap(node.dist)
        units = node.value.ndim - len(dist.event_shape) - self.pair.lead
        return dist.batch_shape[: max(len(dist.batch_shape) - units, 0)]
