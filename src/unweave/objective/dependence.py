"""The latents that each latent's prior depends on, as far as the program and a batch show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from torch.distributions import Distribution

from ..trace.marginals import unwrap
from ..trace.node import Node
from ..trace.parameters import stays, varies
from ..trace.trace import Trace
from .pair import Pair


class SitePrior(NamedTuple):
    """The prior of one latent.

    Attributes:
        node: The site in p.
        dist: Its distribution, without `Independent` around it.
        classes: The enumerated sites whose dimension of classes its parameters have.
        is_itemless: Whether its parameters lack the dimensions of samples and items, or have sizes
            of one there where there are many entries.
        is_fixed: Whether there is one set of parameters for all classes, samples and items.
    """

    node: Node
    dist: Distribution
    classes: list[str]
    is_itemless: bool
    is_fixed: bool


class Dependence:
    """The dependence of latents on one another under the prior of a pair.

    Args:
        pair: The traces.
        draws: A function that gives draws of the prior, or None if there are none.
    """

    def __init__(self, pair: Pair, draws: Callable[[], Trace | None]) -> None:
        self.pair = pair
        self.draws = draws

    @cached_property
    def priors(self) -> dict[str, SitePrior]:
        """The prior of each latent, in the order of p."""
        pair = self.pair
        found = {}
        for name, node in pair.p_nodes.items():
            if name not in pair.latents:
                continue
            assert node.dist is not None
            dist = unwrap(node.dist)
            units = node.value.ndim - len(dist.event_shape) - pair.lead
            leading = max(len(dist.batch_shape) - units, 0)
            sizes = dist.batch_shape[:leading]  # (*classes, *samples, batch), or the last of them
            lacks = pair.lead - leading
            classes = [y for y, d in pair.classes.items() if d >= lacks and sizes[d - lacks] > 1]
            of_items = sizes[max(pair.depth - lacks, 0) :]
            entries = node.value.shape[pair.depth : pair.lead]
            is_itemless = not of_items or math.prod(of_items) == 1 < math.prod(entries)
            is_fixed = is_itemless and not classes
            found[name] = SitePrior(node, dist, classes, is_itemless, is_fixed)
        return found

    @cached_property
    def ancestors(self) -> dict[str, set[str]]:
        """The latents that each latent's prior depends on, be it through others.

        Dependence belongs to the program; the values of a batch show it in part. In this order:

        1. Parameters that lack the dimension of items (or have size one where there are many
           entries) depend on no drawn site. Those that lack an enumerated site's dimension of
           classes do not depend on that site.
        2. A `conditional` depends on the sites that it is given.
        3. Any other prior may depend on each drawn site before it in p, unless it is seen to stay
           the same while all entries of that site vary, among the items and samples at hand, or
           else among the draws of the prior. In one item nothing varies.

        A dependence that is assumed without need changes no number: the mean over draws of a
        density that is the same for all is that density.
        """
        found: dict[str, set[str]] = {}
        for name, prior in self.priors.items():
            ancestors = set[str]()
            for site in () if prior.is_fixed else self._depends_on(name, prior):
                if site in found:
                    ancestors |= {site, *found[site]}
            found[name] = ancestors
        return found

    @cached_property
    def parents(self) -> dict[str, set[str]]:
        """The drawn latents among the ancestors."""
        return {name: above.difference(self.pair.classes) for name, above in self.ancestors.items()}

    def is_held(self, name: str) -> bool:
        """Return true if a site's prior stays as it is while the site is integrated under q(z|x).

        It does if it is the same for all items and samples, or if what it may read is all earlier
        in q too.
        """
        if self.priors[name].is_fixed:
            return True
        sites = list(self.pair.q_nodes)
        earlier = sites[: sites.index(name)]
        read = [site for site in self._readable(name) if site in self.pair.latents]
        return set(read) <= set(earlier)

    def _readable(self, name: str) -> Sequence[str]:
        """List the sites that a site's prior may read."""
        law = self.pair.p_nodes[name].law
        if law:
            return law.given
        sites = list(self.pair.p_nodes)
        return sites[: sites.index(name)]

    def _depends_on(self, name: str, prior: SitePrior) -> list[str]:
        """List the sites that a site's prior depends on, as far as can be seen."""
        readable = self._readable(name)
        classes = [site for site in readable if site in prior.classes]
        if prior.is_itemless:
            return classes
        drawn = [site for site in readable if site not in self.pair.classes]
        if not prior.node.law:
            latents = [site for site in drawn if site in self.pair.latents]
            drawn = [site for site in latents if self._may_depend(name, site)]
        return [*drawn, *classes]

    def _may_depend(self, name: str, site: str) -> bool:
        """True if a site's prior varies, or nothing shows that it does not vary with another."""
        lead = range(self.pair.depth, self.pair.lead)
        if name not in self._constant:
            return True
        if varies(self.pair.p_nodes[site].value, lead):
            return False
        draws = self.draws()
        if draws is None:
            return True
        prior = draws[name]
        assert prior.dist is not None
        is_alike = stays(prior.dist, prior.value, range(1))
        return not (is_alike and varies(draws[site].value, range(1)))

    @cached_property
    def _constant(self) -> set[str]:
        """The latents whose prior is the same for all items and samples."""
        lead = range(self.pair.depth, self.pair.lead)
        found = set()
        for name, prior in self.priors.items():
            if stays(prior.dist, prior.node.value, lead):
                found.add(name)
        return found
