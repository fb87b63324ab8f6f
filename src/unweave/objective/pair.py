"""A pair of traces, q of an encoder and p of a decoder, and the log-densities of one batch in them.

Tensors are (*classes, *samples, batch, *units) here: each enumerated site has a dimension in front.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from ..aggregate import classes_summed, log_own
from ..trace.leaves import Block
from ..trace.marginals import log_marginals, unit_shape
from ..trace.node import Node
from ..trace.trace import Trace


class Pair:
    """Two traces of the same items, aligned, and what they say of an item.

    Attributes:
        q: The encoder's trace; `q_nodes` are its sites by name.
        p: The decoder's trace; `p_nodes` are its sites by name.
        classes: The enumerated sites; `depth` counts their dimensions, which are in front.
        batch_dim: The dimension of the batch, behind classes and samples.
        lead: The number of dimensions in front of the units.
        latents: The sites that q draws, for some items at least.
        shapes: The shape of the units of each site that q and p share.
        zero: The number 0 for each item, the sum of no densities.
    """

    def __init__(self, q: Trace, p: Trace, batch_dim: int) -> None:
        self.classes = q.classes()
        self.depth = len(self.classes)
        self.q = q.aligned()
        self.p = p.aligned(self.depth)
        self.q_nodes = dict(self.q.items())
        self.p_nodes = dict(self.p.items())
        self.batch_dim = self.depth + batch_dim
        self.lead = self.batch_dim + 1
        self.latents: dict[str, Node] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name, node in self.q_nodes.items():
            if node.dist is not None:
                if node.observed is not True:
                    self.latents[name] = node
                if name in self.p_nodes:
                    self.shapes[name] = unit_shape(node.dist, node.value, self.lead)
        self._check()
        self.zero = self._zero()

    def sum(self, densities: Iterable[Tensor]) -> Tensor:
        """Return the sum of log-densities for each item, (*classes, *samples, batch)."""
        zero = total = self.zero
        for t in densities:
            is_alone = total is zero and t.shape == zero.shape and t.dtype == zero.dtype
            total = t if is_alone else total + t  # no operation adds 0
        return total

    def log_density(self, nodes: Mapping[str, Node], block: Block) -> Tensor:
        """Return log-densities of a block's latents given the item, under the sites `nodes`."""
        parts = []
        for site, units in block:
            if site in self.latents:
                node = nodes[site]
                assert node.dist is not None
                observed = self.latents[site].observed
                drawn = ~observed if isinstance(observed, Tensor) else None
                (part,) = log_marginals(
                    node.dist, node.value, self.lead, [units], drawn, self.shapes[site]
                )
                parts.append(part)
        return self.sum(parts)

    def log_marginal(self, trace: Trace, block: Block) -> Tensor:
        """Return log-densities of a block given the item, summed over the classes outside it."""
        if self.sums_classes(trace, block):
            return log_own(self.q, trace, block, self.batch_dim)
        return self.log_density(trace, block)

    def sums_classes(self, trace: Trace, block: Block) -> bool:
        """Return true if a block's density in `trace` sums over classes of sites outside it."""
        if not self.depth:
            return False
        summed = classes_summed(self.q, trace, block, self.batch_dim)
        return bool(summed)

    def log_given(self, nodes: Mapping[str, Node]) -> Tensor:
        """Return the log-density of all that q did not draw, under the sites `nodes`."""
        parts = []
        for name, node in nodes.items():
            in_q = self.q_nodes.get(name)
            is_drawn = in_q is not None and in_q.observed is False and in_q.score is None
            if not is_drawn and node.role != "free":
                parts.append(self._log_given(name, node, in_q or node))
        return self.sum(parts)

    def _log_given(self, name: str, node: Node, in_q: Node) -> Tensor:
        """Return a site's log-density where it was given, summed over an item's units."""
        density = node.log_prob  # (*classes, *samples, batch, *units)
        given = in_q.observed
        if in_q.exists is not True:
            given = in_q.exists & given
        if isinstance(given, Tensor):
            density = torch.where(units_of(name, given, density), density, 0.0)
        if density.ndim < self.lead:
            raise ValueError(
                f"site {name!r} has log-densities of shape {tuple(density.shape)}: expected the "
                f"batch in dimension {self.batch_dim} (batch_dim={self.batch_dim}), after the "
                "samples; expand its value to that shape"
            )
        if density.ndim == self.lead:
            return density
        return density.flatten(self.lead).sum(-1)

    @cached_property
    def scoring_nodes(self) -> dict[str, Node]:
        """The sites of q that have a log-density."""
        return {
            name: node
            for name, node in self.q_nodes.items()
            if node.dist is not None or node.score is not None
        }

    # -- classes of enumerated sites ---------------------------------------------------------------

    @cached_property
    def log_class(self) -> Tensor:
        """log q(classes|x) of each combination of classes, (*classes, *samples, batch)."""
        return self.sum(self.q_nodes[name].log_weight(self.depth) for name in self.classes)

    def mean_over_classes(self, t: Tensor) -> Tensor:
        """Return Σ q(y|x) t over the classes of enumerated sites, (*samples, batch).

        A class without weight adds nothing, though log-densities are −∞ there.
        """
        if not self.depth:
            return t
        if math.prod(t.shape[: self.depth]) > 1:
            share = self.log_class.exp()
            counted = torch.where(share > 0, t, 0.0)
            weighted = share * counted
            t = weighted.sum(tuple(range(self.depth)), keepdim=True)  # (1, …, 1, *samples, batch)
        return t.reshape(t.shape[self.depth :])

    # -- on entry ----------------------------------------------------------------------------------

    def _zero(self) -> Tensor:
        for node in self.q_nodes.values():
            if node.dist is not None:
                items = node.value.shape[self.depth : self.lead]  # (*samples, batch)
                return node.value.new_zeros(*[1] * self.depth, *items)
        return torch.zeros(())

    def _check(self) -> None:
        """Refuse latents that p lacks or draws itself, and draws that carry no gradient."""
        for name, node in self.latents.items():
            if name not in self.p_nodes:
                raise KeyError(
                    f"q draws {name!r}, but p has no such site; its sites are: "
                    f"{', '.join(map(repr, self.p_nodes))}"
                )
            dist = node.dist
            is_discrete = dist and not dist.has_rsample and node.role != "enumerated"
            if torch.is_grad_enabled() and is_discrete and node.log_prob.requires_grad:
                raise ValueError(
                    f"site {name!r} draws from a {type(dist).__name__}, whose samples carry no "
                    "gradient: the objective's gradient would be biased. Use "
                    "q.categorical(logits, …), which sums over its classes, or q.concrete(logits, "
                    "temperature, …), observe the site, or evaluate under torch.no_grad()"
                )
        for name, node in self.p_nodes.items():
            if node.role in ("sampled", "enumerated"):
                hint = (
                    f"pass value=q[{name!r}]"
                    if name in self.q_nodes
                    else f"q has the sites {', '.join(map(repr, self.q_nodes))}"
                )
                raise KeyError(f"p drew its own {name!r} instead of scoring a value: {hint}")


def units_of(name: str, observed: Tensor, density: Tensor) -> Tensor:
    """Return which entries were observed in the dimensions of a density, of size one where alike.

    (*samples, batch), or finer, becomes (*samples, batch, *units).
    """
    while observed.ndim > density.ndim and observed.shape[-1] == 1:
        observed = observed.squeeze(-1)
    if observed.ndim > density.ndim:
        raise ValueError(
            f"site {name!r}: its units were observed one by one, but its density keeps an item's "
            "units together; observe whole items, or let p factorise over the units"
        )
    units = [1] * (density.ndim - observed.ndim)
    return observed.reshape(*observed.shape, *units)
