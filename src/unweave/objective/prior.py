"""The prior p(z) of a batch: what each latent's depends on, and log p of a block."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..aggregate import classes_summed, log_mixture
from ..trace.groups import Block
from ..trace.marginals import is_factorised, unit_shape, unwrap
from ..trace.node import Node
from ..trace.parameters import stays, varies
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
        prior. Where an item's parents are known, as a label is, they are given instead:
        log p(block|parents).

        Raises:
            ValueError: There are such parents and no draws of the prior, a site has some of its
                parents in the block and others elsewhere, or an item has some of the parents that
                are elsewhere and lacks others.
        """
        names = {site for site, _ in block}
        latents = [site for site in names if site in self.pair.latents]
        if not any(self.parents[site] - names for site in latents):
            return self._summed(block)
        is_open = {site: bool(self.ancestors[site] - names) for site in latents}
        averaged = tuple(part for part in block if is_open.get(part[0]))
        others = tuple(part for part in block if not is_open.get(part[0]))
        log_p = self._averaged(block, averaged)
        if others:
            log_p = log_p + self._summed(others)
        return log_p

    def _summed(self, block: Block) -> Tensor:
        """Return log p of a block whose drawn parents are in it, summed over classes outside it.

        Raises:
            ValueError: A parent was drawn given a class that is summed over: a prior is known at
                each class's own draw only.
        """
        pair = self.pair
        summed = classes_summed(pair.q, self.trace, block, pair.batch_dim) if pair.depth else ()
        names = {site for site, _ in block if site in pair.latents}
        for site in names:
            for parent in sorted(self.parents[site] & names):
                for y in summed:
                    if pair.latents[parent].value.shape[pair.classes[y]] > 1:
                        raise ValueError(
                            f"the density of {_listed(names)} under the prior sums over the "
                            f"classes of {y!r}, and {site!r} depends on {parent!r}, which q drew "
                            f"given {y!r}: put {y!r} and {parent!r} in one group, or {site!r} and "
                            f"{parent!r} in two"
                        )
        return pair.log_marginal(self.trace, block)

    def _averaged(self, block: Block, part: Block) -> Tensor:
        """Return log p of the part of a block that has parents elsewhere."""
        names = {site for site, _ in block}
        sites = [site for site, _ in part]
        orphans = [site for site in sites if self.parents[site] - names]
        is_torn = any(self.ancestors[site] & names for site in sites)
        draws = self._made()
        if draws is None or is_torn:
            raise self._refusal(names, orphans)
        pair = self.pair
        log_w = -math.log(draws[orphans[0]].value.shape[0])
        (log_p,) = log_mixture(pair.q, draws, [part], (log_w,) * 3, pair.batch_dim)
        given = self._given(sites)
        if given is None:
            return log_p
        return torch.where(given, pair.log_density(self.trace, part), log_p)

    def _given(self, sites: Sequence[str]) -> Tensor | None:
        """Return which items have all that some sites depend on; None if none may have.

        Raises:
            ValueError: An item has some of it, but not all.
        """
        pair = self.pair
        above = set[str]().union(*(self.ancestors[site] for site in sites))
        in_part = [site for site in pair.latents if site in above]
        if all(pair.latents[site].observed is False for site in in_part):
            return None
        is_given = [self._entries_given(site) for site in in_part]
        every, some = self._all(is_given), ~self._all([~given for given in is_given])
        asked = ~self._all([self._entries_given(site) for site in sites])
        if bool((some & ~every & asked).any()):
            raise ValueError(
                f"the density of {_listed(sites)} under the prior depends on {_listed(in_part)}, "
                "of which some items have a part only: what they lack cannot be integrated given "
                "what they have. Say what each prior depends on, p.conditional(…), and put sites "
                "that depend on one another in one group"
            )
        return every

    def _entries_given(self, site: str) -> Tensor:
        """Return which entries of a site are given, (*classes, *samples, batch, entries)."""
        observed = torch.as_tensor(self.pair.latents[site].observed, device=self.pair.zero.device)
        if observed.ndim == 0:
            return observed.expand(*self.pair.zero.shape, 1)
        return observed.reshape(*observed.shape[: self.pair.lead], -1)

    @staticmethod
    def _all(masks: Sequence[Tensor]) -> Tensor:
        """Return where all entries of all masks are true, (*classes, *samples, batch)."""
        every = masks[0].all(-1)
        for mask in masks[1:]:
            every = every & mask.all(-1)
        return every

    def _made(self) -> Trace | None:
        """Return the draws of the prior, made when they are first needed."""
        if self.draws is not None and not isinstance(self.draws, Trace):
            self.draws = self.draws()
        return self.draws

    def _refusal(self, names: set[str], orphans: Sequence[str]) -> ValueError:
        missing = set[str]()
        for site in orphans:
            missing |= self.parents[site] - names
        return ValueError(
            f"the density of {_listed(names)} under the prior integrates over {_listed(missing)}, "
            f"which {orphans[0]!r} depends on, as far as can be seen: give draws of the prior, "
            "prior=decoder(None, q.free(1000)), and groups that do not split what hangs together "
            "within a block; p.conditional says what a prior depends on"
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
        for name in self.pair.p_nodes:
            if name in self.pair.latents:
                ancestors = set[str]()
                for site in self._depends_on(name):
                    if site in found:
                        ancestors |= {site, *found[site]}
                found[name] = ancestors
        return found

    @cached_property
    def parents(self) -> dict[str, set[str]]:
        """The drawn latents among the ancestors."""
        return {name: above.difference(self.pair.classes) for name, above in self.ancestors.items()}

    def _depends_on(self, name: str) -> list[str]:
        """List the sites that a site's prior depends on, as far as can be seen."""
        readable = self._readable(name)
        drawn = [site for site in readable if site not in self.pair.classes]
        classes = [site for site in readable if site in self.pair.classes]
        has_classes = [site for site in classes if self._has_classes_of(name, site)]
        if name in self.itemless:
            return has_classes
        if self.pair.p_nodes[name].law:
            return [*drawn, *has_classes]
        latents = [site for site in drawn if site in self.pair.latents]
        seen = [site for site in latents if self._may_depend(name, site)]
        return [*seen, *has_classes]

    def _may_depend(self, name: str, site: str) -> bool:
        """Whether a site's prior varies, or nothing shows that it does not vary with another."""
        lead = range(self.pair.depth, self.pair.lead)
        if name not in self._constant:
            return True
        if varies(self.pair.p_nodes[site].value, lead):
            return False
        draws = self._made()
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
        for name in self.pair.latents:
            node, dist = self._site(name)
            if stays(dist, node.value, lead):
                found.add(name)
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
        for name in self.itemless:
            if not any(self._has_classes_of(name, site) for site in self.pair.classes):
                found.add(name)
        return found

    @cached_property
    def itemless(self) -> set[str]:
        """The latents whose parameters have no dimension of items and samples, or one for many."""
        depth, lead = self.pair.depth, self.pair.lead
        found = set()
        for name in self.pair.latents:
            sizes = self._sizes(name)[-(lead - depth) :]  # (*samples, batch)
            entries = self.pair.p_nodes[name].value.shape[depth:lead]
            if not sizes or math.prod(sizes) == 1 < math.prod(entries):
                found.add(name)
        return found

    def _has_classes_of(self, name: str, site: str) -> bool:
        """Whether parameters have an enumerated site's dimension of classes."""
        sizes = self._sizes(name)
        own = self.pair.classes[site] - self.pair.lead + len(sizes)
        return own >= 0 and sizes[own] > 1

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


def _listed(sites: Iterable[str]) -> str:
    return " and ".join(map(repr, sorted(sites)))
