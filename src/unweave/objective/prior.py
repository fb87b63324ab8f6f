"""The prior p(z) of a batch: what each latent's depends on, and log p of a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from torch import Tensor
from torch.distributions import Distribution

from ..aggregate import log_mixture
from ..trace.groups import Block
from ..trace.marginals import is_constant, is_factorised, unit_shape, unwrap
from ..trace.node import Node
from ..trace.parameters import lacking
from ..trace.trace import Trace
from .pair import Pair


class Prior:
    """The prior of a pair's latents.

    Args:
        pair: The traces.
        draws: Draws of the prior, or a function that makes them when they are first needed: blocks
            whose parents are elsewhere are averaged over them.
    """

    def __init__(self, pair: Pair, draws: Trace | Callable[[], Trace] | None) -> None:
        self.pair = pair
        self.draws = draws

    def log_prob(self, block: Block) -> Tensor:
        """Return log p(block) per item; parents that are not in the block are integrated.

        Over enumerated parents the sum is exact, over others it is the mean over draws of the
        prior.

        Raises:
            ValueError: There are such parents and no draws of the prior, or a site has some of its
                parents in the block and others elsewhere.
        """
        names = {site for site, _ in block}
        latents = [site for site, _ in block if site in self.pair.latents]
        orphans = [site for site in latents if self.parents[site] - names]
        if not orphans:
            return self.pair.log_marginal(self.trace, block)
        is_torn = any(self.parents[site] & names for site in orphans)
        if self.draws is None or is_torn:
            raise self._refusal(names, orphans)
        if not isinstance(self.draws, Trace):
            self.draws = self.draws()
        drawn = self.draws[orphans[0]].value
        count = drawn.shape[0]
        log_w = -math.log(count)
        pair = self.pair
        (log_p,) = log_mixture(pair.q, self.draws, [block], (log_w,) * 3, pair.batch_dim)
        return log_p

    def _refusal(self, names: set[str], orphans: Sequence[str]) -> ValueError:
        missing = set[str]()
        for site in orphans:
            missing |= self.parents[site] - names
        integrated = ", ".join(sorted(map(repr, missing)))
        sites = " and ".join(map(repr, sorted(names)))
        return ValueError(
            f"the density of {sites} under the prior integrates over {integrated}, which "
            f"{orphans[0]!r} depends on: give draws of the prior, "
            "prior=decoder(None, q.free(1000)), and groups that do not split what hangs together "
            "within a block"
        )

    @cached_property
    def trace(self) -> Trace:
        """p's distributions at the sites of q, with q's values and roles."""
        nodes = {}
        for name in self.pair.shapes:
            dist = self.pair.p_nodes[name].dist
            nodes[name] = replace(self.pair.q_nodes[name], dist=dist)
        return Trace.of(nodes)

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
                if not self._is_alike(name):
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
        node, dist = self._site(name)
        if not is_factorised(dist):
            return False
        units = self.pair.shapes[name]
        own_units = unit_shape(dist, node.value, self.pair.lead)
        if own_units[: len(units)] != units or self.parents[name]:
            return False
        if not self.pair.depth:
            return True
        numbers = tuple(range(math.prod(units)))
        return not self.pair.sums_classes(self.trace, ((name, numbers),))

    @cached_property
    def fixed(self) -> set[str]:
        """The latents whose prior has one set of parameters for all classes, items and samples."""
        found = set()
        for name in self.pair.latents:
            if self._is_one(name, self._sizes(name)):
                found.add(name)
        return found

    def _is_alike(self, name: str) -> bool:
        """Whether a site's prior is the same for all items and samples, as far as can be seen."""
        if name in self.fixed:
            return True
        depth, lead = self.pair.depth, self.pair.lead
        items = self._sizes(name)[-(lead - depth) :]  # (*samples, batch)
        if self._is_one(name, items):
            return True
        node, dist = self._site(name)
        missing = lacking(dist, node.value)
        first = max(depth - missing, 0)
        return is_constant(dist, range(first, lead - missing))

    def _is_one(self, name: str, sizes: Sequence[int]) -> bool:
        """Whether parameters of these leading sizes are one for a site's many entries."""
        value = self.pair.p_nodes[name].value
        entries = value.shape[: self.pair.lead]  # (*classes, *samples, batch)
        return not sizes or math.prod(sizes) == 1 < math.prod(entries)

    def _sizes(self, name: str) -> Sequence[int]:
        """Return the sizes of a prior's parameters in front of its units, without absent ones."""
        node, dist = self._site(name)
        entries = node.value.ndim - len(dist.event_shape)
        units = entries - self.pair.lead
        leading = max(len(dist.batch_shape) - units, 0)
        return dist.batch_shape[:leading]

    def _site(self, name: str) -> tuple[Node, Distribution]:
        """Return a latent's node in p, and its distribution with units as a batch."""
        node = self.pair.p_nodes[name]
        assert node.dist is not None
        return node, unwrap(node.dist)
