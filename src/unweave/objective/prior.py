"""The prior p(z) of a batch: log p of a block, with what its sites depend on integrated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from ..aggregate import classes_summed, log_mixture
from ..trace.leaves import Block
from ..trace.marginals import is_factorised, unit_shape
from ..trace.trace import Trace
from .dependence import Dependence
from .pair import Pair


class Draws:
    """Draws of a prior, made when they are first needed.

    They stand by themselves: a prior that holds what holds the prior would keep a batch in memory
    until Python looks for such circles.
    """

    def __init__(self, given: Trace | Callable[[], Trace] | None) -> None:
        self.given = given

    def __call__(self) -> Trace | None:
        """Return the draws, None if there are none."""
        if self.given is not None and not isinstance(self.given, Trace):
            self.given = self.given()
        return self.given


class Prior:
    """The prior of a pair's latents.

    Args:
        pair: The traces.
        draws: Draws of the prior, or a function that makes them when they are first needed: blocks
            whose parents are elsewhere are averaged over them.
    """

    def __init__(self, pair: Pair, draws: Trace | Callable[[], Trace] | None) -> None:
        self.pair = pair
        self.draws = Draws(draws)
        self.dependence = Dependence(pair, self.draws)

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
        if not any(self.dependence.parents[site] - names for site in latents):
            return self._summed(block)
        averaged: Block = ()
        others: Block = ()
        for part in block:
            site, _ = part
            if site in latents and self.dependence.ancestors[site] - names:
                averaged += (part,)
            else:
                others += (part,)
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
            for parent in sorted(self.dependence.parents[site] & names):
                drawn = pair.latents[parent].value
                for y in summed:
                    dim = pair.classes[y]
                    if drawn.shape[dim] > 1:
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
        orphans = [site for site in sites if self.dependence.parents[site] - names]
        is_torn = any(self.dependence.ancestors[site] & names for site in sites)
        draws = self.draws()
        if draws is None or is_torn:
            raise self._refusal(names, orphans)
        pair = self.pair
        first = draws[orphans[0]]
        number = first.value.shape[0]
        log_w = -math.log(number)
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
        above = set[str]().union(*(self.dependence.ancestors[site] for site in sites))
        in_part = [site for site in pair.latents if site in above]
        if all(pair.latents[site].observed is False for site in in_part):
            return None
        is_given = [self._entries_given(site) for site in in_part]
        is_lacking = [~given for given in is_given]
        every = self._all(is_given)
        some = ~self._all(is_lacking)
        of_sites = [self._entries_given(site) for site in sites]
        asked = ~self._all(of_sites)
        is_torn = some & ~every & asked
        if bool(is_torn.any()):
            raise ValueError(
                f"the density of {_listed(sites)} under the prior depends on {_listed(in_part)}, "
                "of which some items have a part only: what they lack cannot be integrated given "
                "what they have. Say what each prior depends on, p.conditional(…), and put sites "
                "that depend on one another in one group"
            )
        return every

    def _entries_given(self, site: str) -> Tensor:
        """Return which entries of a site are given, (*classes, *samples, batch, entries)."""
        zero = self.pair.zero
        node = self.pair.latents[site]
        observed = torch.as_tensor(node.observed, device=zero.device)
        if observed.ndim == 0:
            return observed.expand(*zero.shape, 1)
        items = observed.shape[: self.pair.lead]
        return observed.reshape(*items, -1)

    @staticmethod
    def _all(masks: Sequence[Tensor]) -> Tensor:
        """Return where all entries of all masks are true, (*classes, *samples, batch)."""
        every = masks[0].all(-1)
        for mask in masks[1:]:
            every = every & mask.all(-1)
        return every

    def _refusal(self, names: set[str], orphans: Sequence[str]) -> ValueError:
        missing = set[str]()
        for site in orphans:
            missing |= self.dependence.parents[site] - names
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

    @cached_property
    def factorises(self) -> bool:
        """True if the prior is the product of its units' priors: then its levels are one."""
        return all(map(self._is_product, self.pair.latents))

    def _is_product(self, name: str) -> bool:
        """Return true if a site's units are independent of one another and of other sites."""
        node, dist, *_ = self.dependence.priors[name]
        if not is_factorised(dist):
            return False
        units = self.pair.shapes[name]
        own_units = unit_shape(dist, node.value, self.pair.lead)
        if own_units[: len(units)] != units or self.dependence.parents[name]:
            return False
        if not self.pair.depth:
            return True
        numbers = tuple(range(math.prod(units)))
        return not self.pair.sums_classes(self.trace, ((name, numbers),))


def _listed(sites: Iterable[str]) -> str:
    return " and ".join(map(repr, sorted(sites)))
