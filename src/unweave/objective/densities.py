"""Densities: the atoms of one pair of traces, and the scores of objectives on them.

>>> import torch, unweave as uw
>>> q, p = uw.Trace(), uw.Trace()
>>> z = q.normal(torch.zeros(8, 2), 0.5, name="z")
>>> z = p.normal(0.0, 1.0, value=q["z"], name="z")
>>> d = uw.Densities(q, p, aggregate=uw.minibatch(8))
>>> d.score(uw.elbo).shape, d[uw.Atom("posterior")].shape
(torch.Size([8]), torch.Size([8]))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Literal, Protocol

from torch import Tensor

from ..aggregate import Aggregate
from ..aggregate.ahead import takes_ahead
from ..trace.groups import Tree
from ..trace.leaves import Block
from ..trace.trace import Trace
from .atoms import Atom, Coefficient
from .blocks import blocks, grouping, levels
from .closed import kl_of
from .coefficients import merged, scaled, take_whole_kls, weighted_sum
from .evidence import log_evidence
from .pair import Pair
from .prior import Prior
from .schedule import Ramp


class Term(Protocol):
    """A part of an objective that is no log-density of an item: a moment, a distance, a critic.

    Called on the densities of a batch it returns one number an item, (*samples, batch), or one for
    the whole batch; its `str` is how objectives print it. Terms are compared as values (frozen
    dataclasses).
    """

    def __call__(self, d: Densities, /) -> Tensor: ...


class Form(Protocol):
    """A linear form on atoms and terms: an `Objective`."""

    @property
    def coefficients(self) -> Mapping[Atom | Term, Coefficient]: ...


class Densities:
    """The atoms of one pair of traces, each computed once, when first asked for, for loss and log.

    Latents are q's drawn sites; where a site is observed for some items only, it is latent for the
    others: at an observed entry it leaves every block, and its log p counts in `recon`, its log q
    in `label`. Where a site's prior depends on latents outside its block they are integrated: over
    enumerated ones exactly, over others by the mean over `prior`.

    Args:
        q: The encoder's trace.
        p: The decoder's trace.
        groups: A tree of latent sites or slices; by default one group a site.
        aggregate: An estimator of log q(z_block): `minibatch(n)`, `exact(posterior)`, or any
            function of (q, blocks, batch_dim). One that has a parameter named `ahead` is told the
            coefficients of the blocks.
        batch_dim: The dimension of the batch; dimensions before it are samples.
        kl: "closed" integrates KL(q(z|x) ‖ p(z)) analytically, site by site, where coefficients
            leave it whole and the pair of distributions has a closed form; "sampled" never does.
        prior: Draws of the prior such as `decoder(None, q.free(1000))`, or a function that makes
            them when first needed.

    Raises:
        KeyError: q draws a site that p lacks, or p draws one itself.
        ValueError: The objective needs an aggregate and there is none, a site cannot be
            differentiated, or a prior has to be integrated without draws.
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
        self.pair = pair = Pair(q, p, batch_dim)
        self.q = pair.q
        self.p = pair.p
        self.latents = pair.latents
        self.shapes = pair.shapes
        self.batch_dim = pair.batch_dim
        self.lead = pair.lead
        self.groups = grouping(groups, pair.shapes)
        self.levels = levels(self.groups)
        self.aggregate = aggregate
        self.kl = kl
        self._prior = Prior(pair, prior)
        self._atoms: dict[Atom, Tensor] = {}
        self._log_q: dict[Block, Tensor] = {}

    @property
    def prior(self) -> Trace | Callable[[], Trace] | None:
        """The draws of the prior, once they are made."""
        return self._prior.draws.given

    @property
    def factorises(self) -> bool:
        """True if the prior is the product of its units' priors: then its levels are one."""
        return self._prior.factorises

    def __getitem__(self, atom: Atom) -> Tensor:
        """An atom per item, (*samples, batch), in nats."""
        (resolved,) = merged({atom: 1.0}, self.groups, self._prior)
        if resolved.kind == "q":
            asked = blocks(self.groups, resolved.level, resolved.of)
            self._ask_aggregate(dict.fromkeys(asked, 1.0))
        return self.pair.mean_over_classes(self._atom(resolved))

    def score(self, objective: Form) -> Tensor:
        """Return the objective per item, (*samples, batch), in nats.

        Raises:
            ValueError: A coefficient is a schedule.
        """
        table: dict[Atom, float] = {}
        parts = []
        for term, c in objective.coefficients.items():
            if isinstance(c, Ramp):
                raise ValueError(
                    f"the coefficient of {term} is a schedule, {c}: score objective.at(step)"
                )
            if isinstance(term, Atom):
                table[term] = c
            else:
                parts.append(scaled(c, term(self)))
        table = merged(table, self.groups, self._prior)
        if self.kl == "closed":
            for atom, c in take_whole_kls(table, self.groups, self._prior).items():
                parts.append(scaled(c, self._kl(atom)))
        parts += self._weighted(table)
        total = self.pair.sum(parts)
        return self.pair.mean_over_classes(total)

    # -- atoms, (*classes, *samples, batch) --------------------------------------------------------

    def _weighted(self, table: Mapping[Atom, float]) -> list[Tensor]:
        """Return densities whose sum is that of a table's atoms by their coefficients."""
        parts = []
        of_blocks: dict[Block, float] = {}  # of log q
        for atom, c in table.items():
            if atom.kind == "q":
                for block in blocks(self.groups, atom.level, atom.of):
                    of_blocks[block] = of_blocks.get(block, 0.0) + c
            else:
                parts.append(scaled(c, self._atom(atom)))
        if of_blocks:
            self._ask_aggregate(of_blocks)
            log_q = [self._log_q[block] for block in of_blocks]
            weights = list(of_blocks.values())
            parts.append(weighted_sum(log_q, weights))
        return parts

    def _atom(self, atom: Atom) -> Tensor:
        if atom not in self._atoms:
            self._atoms[atom] = self._computed(atom)
        return self._atoms[atom]

    def _computed(self, atom: Atom) -> Tensor:
        if atom.kind == "recon":
            return self.pair.log_given(self.pair.p_nodes)
        if atom.kind == "label":
            return self.pair.log_given(self.pair.scoring_nodes)
        if atom.kind == "evidence":
            log_joint = self._atom(Atom("recon")) + self._atom(Atom("p"))
            return log_evidence(self.pair, log_joint, self._atom(Atom("posterior")))
        parts = []
        for block in blocks(self.groups, atom.level, atom.of):
            if atom.kind == "posterior":
                density = self.pair.log_marginal(self.q, block)
            elif atom.kind == "p":
                density = self._prior.log_prob(block)
            else:
                density = self._log_q[block]
            parts.append(density)
        return self.pair.sum(parts)

    def _kl(self, posterior: Atom) -> Tensor:
        """Return KL(q(z|x) ‖ p(z)) of the posterior's latents."""
        of_sites = []
        for part in chain.from_iterable(blocks(self.groups, 0, posterior.of)):
            if part[0] in self.latents:
                kl = kl_of(self.pair, self._prior, part)
                of_sites.append(kl)
        return self.pair.sum(of_sites)

    def _ask_aggregate(self, coefficients: Mapping[Block, float]) -> None:
        """Ask for those blocks of q that are not known yet at once, with their coefficients."""
        ahead = {block: c for block, c in coefficients.items() if block not in self._log_q}
        if not ahead:
            return
        if self.aggregate is None:
            raise ValueError(
                "this objective needs log q(z), the aggregate posterior: say how to estimate it, "
                "with aggregate=unweave.minibatch(n) for a data set of n items, or "
                "unweave.exact(posterior)"
            )
        wanted = list(ahead)
        told: dict[str, Any] = {}
        if takes_ahead(self.aggregate):
            share = self.pair.log_class.detach().exp() if self.pair.depth else 1.0
            by_block = ahead.values()
            shares = {c: c * share for c in by_block}  # many blocks have one coefficient
            told["ahead"] = [shares[c] for c in by_block]
        log_q = self.aggregate(self.q, wanted, self.batch_dim, **told)
        self._log_q.update(zip(wanted, log_q, strict=True))
