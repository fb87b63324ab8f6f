"""Masks (`where=`) and conditional sites, written as extra sites that are compared like any other.

After a question is rewritten, each entry exists everywhere, and each site is independent of the
others given the component: what is left to do is a sum of products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils.checkpoint import checkpoint

from ..trace.leaves import Block, Part
from ..trace.marginals import is_factorised, log_marginals
from ..trace.node import Law, Node
from ..trace.trace import Trace
from .question import Coefficient, Question, sites_of

PAIRS = 2**22
"""The numbers that a conditional site's pairs of rows and components take at a time, about."""


# -- masks -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Masked:
    """A question whose blocks hold a mask beside each site that exists in part.

    With S the components that have all that row i has, the answer to the question as it was asked
    is log Σ_S w_ij q(block_i | x_j) − log Σ_S w_ij / Σ_j w_ij. A mask is a factor of 0 or 1, so the
    first sum is that of the block and its masks, and the second that of the masks alone.

    A class y may say what exists, as a count does. In a block that holds y too, the entries are
    given to exist for that y: log q(block_i, masks) − log q(masks, y_i) + log q(y_i), so that
    nothing is divided out that the class says already.
    """

    question: Question
    joint: list[Block]  # each block with its masks
    masks: list[Block]  # its masks, with the classes in it that they depend on; or empty
    given: list[Block]  # those classes alone

    def undo(self, log_q: Sequence[Tensor]) -> list[Tensor]:
        """Return the answers for the blocks as they were asked, from those to `question`."""
        found = dict(zip(self.question.blocks, log_q, strict=True))
        own, following, other = [math.exp(log_w) for log_w in self.question.log_w]
        others = self.question.n_components - 2
        sum_of_weights = own + following + others * other
        total = math.log(sum_of_weights)
        lowest = torch.finfo(log_q[0].dtype).min  # no component at all: log q is −∞
        answers = []
        for block, masks, given in zip(self.joint, self.masks, self.given, strict=True):
            answer = found[block]
            if masks:
                whole = found[given] if given else total
                complete = found[masks].clamp_min(lowest)
                answer = answer - (complete - whole)
            answers.append(answer)
        return answers


def with_masks(question: Question) -> Masked | None:
    """Return the question with a mask beside each site that some components lack, None if none."""
    names: dict[str, str] = {}  # of each site that exists in part, its mask's
    for site in sites_of(question.blocks):
        if question.components[site].exists is not True:
            names[site] = f"{site} exists"
    if not names:
        return None
    joint = list[Block]()
    masks = list[Block]()
    given = list[Block]()
    for block in question.blocks:
        masked = tuple([part for part in block if part[0] in names])
        mask = [(names[site], units) for site, units in masked]
        classes = _classes_of_masks(question, sites_of([masked]))
        its_classes = tuple([part for part in block if part[0] in classes])
        joint.append((*block, *mask))
        masks.append((*its_classes, *mask) if mask else ())
        given.append(its_classes)
    whole = _add_masks(question, names)
    divisors = [block for block in (*masks, *given) if block]
    blocks: dict[Block, Coefficient] = dict.fromkeys([*joint, *divisors], 0.0)
    ahead = None
    if question.ahead is not None:
        known = zip(joint, question.ahead, strict=True)
        blocks.update(known)
        ahead = list(blocks.values())
    asked = replace(whole, blocks=list(blocks), ahead=ahead)
    return Masked(asked, joint, masks, given)


def _add_masks(question: Question, names: Mapping[str, str]) -> Question:
    """Return the question with the sites that exist in part made whole, and their masks by name."""
    rows, components = dict(question.rows), dict(question.components)
    for site, name in names.items():
        rows[name], components[name] = _mask_sites(question, site)
        components[site] = replace(components[site], exists=True)
    return replace(
        question,
        rows=Trace.of(rows, question.rows),
        components=Trace.of(components, question.components),
    )


def _classes_of_masks(question: Question, sites: Sequence[str]) -> set[str]:
    """Return the enumerated sites whose classes differ in what exists of some sites."""
    classes = question.components.classes()
    found = set[str]()
    for site in sites:
        exists = question.components[site].exists
        if isinstance(exists, Tensor):
            for y, dim in classes.items():
                if exists.shape[dim] > 1:
                    found.add(y)
    return found


def _mask_sites(question: Question, site: str) -> tuple[Node, Node]:
    """Return which entries the rows hold, and which the components have, as two nodes."""
    row, component = question.rows[site], question.components[site]
    units, batch_dim = question.units(site), question.batch_dim
    latent = ~torch.as_tensor(row.observed)
    held = _entries(latent, row, batch_dim, units)
    held = held.to(row.value.dtype)
    exists = torch.as_tensor(component.exists)
    item_dim = batch_dim - question.missing(site)
    has = _entries(exists, component, item_dim, units)
    return Node(held, "sampled"), Node(has, "sampled", _Existence(has))


class _Existence(Distribution):
    """The existence of entries: log-probability 0 of those that exist or are not asked, else −∞."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, exists: Tensor) -> None:
        self.exists = exists
        super().__init__(exists.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        not_asked = value == 0
        agrees = self.exists | not_asked
        zero = value.new_zeros(())
        return zero.where(agrees, -math.inf)


def _entries(mask: Tensor, node: Node, batch_dim: int, units: tuple[int, ...]) -> Tensor:
    """Expand a mask over a site's entries to one number for each item and unit."""
    n_items = node.value.shape[batch_dim]
    full = batch_dim + 1 + len(units)
    missing = max(full - mask.ndim, 0)
    ones = (1,) * missing
    mask = mask.to(node.value.device)
    mask = mask.reshape(*mask.shape, *ones)
    before_items = mask.shape[:batch_dim]  # classes and samples, or ones
    return mask.expand(*before_items, n_items, *units)


# -- conditional sites -----------------------------------------------------------------------------


def with_conditionals(question: Question) -> Question:
    """Return the question with conditional sites compared at the row's values of their parents.

    That is done where a block holds a conditional site and all that it is given. Its place in the
    block is taken by a site whose values are those of the parents and its own.

    Raises:
        ValueError: If a block holds a site and one that it depends on, but not all that is between
            them.
    """
    laws: dict[str, Law] = {}
    for site, node in question.components.items():
        if node.law is not None:
            laws[site] = node.law
    if not laws:
        return question
    _refuse_torn(question, laws)
    rows, components = dict(question.rows), dict(question.components)
    blocks = []
    for block in question.blocks:
        held = dict(block)
        parts = list[Part]()
        for site, units in block:
            given = _given(laws, site)
            if not given or _lacking(question, held, given):
                parts.append((site, units))
                continue
            parents = ", ".join(given)
            name = f"{site}{list(units)} given {parents}"
            parts.append((name, (0,)))
            if name not in rows:
                pair = _conditional_sites(question, site, units, laws[site])
                rows[name], components[name] = pair
        blocks.append(tuple(parts))
    if len(rows) == len(question.rows):
        return question
    compared = replace(
        question,
        rows=Trace.of(rows, question.rows),
        components=Trace.of(components, question.components),
        blocks=blocks,
    )
    _refuse_torn(compared, laws)  # a site that is left may be given one that is compared now
    return compared


def _given(laws: Mapping[str, Law], site: str) -> tuple[str, ...]:
    """Return the sites that a site is given, none if it is not conditional."""
    return laws[site].given if site in laws else ()


def _refuse_torn(question: Question, laws: Mapping[str, Law]) -> None:
    """Raise a ValueError if a block holds a site and an ancestor, but not all that is between."""
    for block in question.blocks:
        held = dict(block)
        for site in held:
            given = _given(laws, site)
            gap = _lacking(question, held, given)
            ancestors = _ancestors(laws, gap)
            torn = [before for before in held if before in ancestors]
            if torn:
                raise ValueError(
                    f"a block holds {site!r} and {torn[0]!r}, but not all of {gap[0]!r}, which "
                    f"{site!r} is given: its density under q(z) is an integral that is not known; "
                    "group sites that follow one another as wholes, or each by itself"
                )


def _lacking(
    question: Question, held: Mapping[str, tuple[int, ...]], given: Sequence[str]
) -> list[str]:
    """Return the sites in `given` of which a block does not hold all units."""
    lacking = []
    for site in given:
        shape = question.units(site)
        units = held.get(site, ())
        if len(units) < math.prod(shape):
            lacking.append(site)
    return lacking


def _ancestors(laws: Mapping[str, Law], sites: Sequence[str]) -> set[str]:
    """Return the sites and all that they depend on."""
    found = set[str]()
    waiting = list(sites)
    while waiting:
        site = waiting.pop()
        found.add(site)
        given = _given(laws, site)
        waiting += [before for before in given if before not in found]
    return found


def _conditional_sites(
    question: Question, site: str, units: tuple[int, ...], law: Law
) -> tuple[Node, Node]:
    """Return the nodes of rows and components that compare some units of a conditional site.

    What a row was given of the parents, a label, leaves the block: there components keep values of
    their own.
    """
    row_lead = question.batch_dim + 1
    lead = row_lead - question.missing(site)
    own = question.units(site)
    shapes = []
    for name in (*law.given, site):
        value = question.rows[name].value
        shapes.append(tuple(value.shape[row_lead:]))
    shapes.append(own)
    ones = (1,) * lead
    leads = [t.shape[:lead] for t in law.inputs]
    in_part = {}
    for of in law.given:
        if _may_be_given(question.rows[of]):
            in_part[of] = question.components[of].value
            shapes.append(question.units(of))
            leads.append(in_part[of].shape[:lead])
    batch = torch.broadcast_shapes(*leads, ones)
    dist = _Conditional(law, shapes, units, in_part, batch)
    asked = _side_by_side(question, question.rows, site, law, row_lead, in_part)
    joined = _side_by_side(question, question.components, site, law, lead, in_part)
    return Node(asked, "sampled"), Node(joined, "sampled", dist)


def _may_be_given(node: Node) -> bool:
    """Return true if some entries of a site may have been given, rather than drawn or absent."""
    is_absent_only = node.role == "sampled" and node.exists is not True
    return node.observed is not False and not is_absent_only


def has_class_parents(node: Node) -> bool:
    """Return true if a site compares rows with a law whose inputs differ between classes."""
    if not isinstance(node.dist, _Conditional):
        return False
    *leading, _ = node.dist.batch_shape
    return any(size > 1 for size in leading)


def _side_by_side(
    question: Question, trace: Trace, site: str, law: Law, lead: int, in_part: Iterable[str]
) -> Tensor:
    """Return the values of the sites given, the site's own and which are latent, in one row each.

    Behind them is which entries of the sites given in part are latent. The shape is
    (*leading, numbers).
    """
    parts = [trace[before].value for before in law.given]
    parts.append(trace[site].value)
    for of in (site, *in_part):
        node = trace[of]
        latent = ~torch.as_tensor(node.observed)
        latent = _entries(latent, node, lead - 1, question.units(of))
        parts.append(latent.to(node.value.dtype))
    leads = [t.shape[:lead] for t in parts]
    most = torch.broadcast_shapes(*leads)
    flat = []
    for t in parts:
        entries = t.shape[lead:]
        t = t.expand(*most, *entries)
        flat.append(t.reshape(*most, -1))
    return torch.cat(flat, -1)


class _Conditional(Distribution):
    """A component's law of some units of a site, asked at rows' values of it and of its parents.

    `shapes` are those of the values that lie side by side in a row: of each site given, of the site
    itself, of its mask, and of the masks of the parents `in_part`, which hold the components' own
    values.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self,
        law: Law,
        shapes: Sequence[tuple[int, ...]],
        units: tuple[int, ...],
        in_part: Mapping[str, Tensor],
        batch: Sequence[int],
    ) -> None:
        self.law, self.shapes, self.units, self.in_part = law, shapes, units, in_part
        self.sizes = [math.prod(shape) for shape in shapes]
        event = torch.Size([sum(self.sizes)])
        super().__init__(torch.Size(batch), event, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return (rows, *samples, components) of (rows, *samples, 1, numbers), in parts of rows."""
        inputs = [t.shape[-1] for t in self.law.inputs]
        width = sum(self.sizes) + sum(inputs)
        numbers = width * self._batch_shape.numel()
        step = max(1, PAIRS // numbers)
        parts = value.split(step)
        remade = len(parts) > 1 and torch.is_grad_enabled()
        found = []
        for part in parts:
            if remade:  # on the way back, rather than held
                log_q = checkpoint(self._log_prob, part, use_reentrant=False)
            else:
                log_q = self._log_prob(part)
            found.append(log_q)
        return torch.cat(found)

    def _log_prob(self, value: Tensor) -> Tensor:
        lead = value.ndim - 1
        columns = value.split(self.sizes, -1)
        parts = []
        for t, shape in zip(columns, self.shapes, strict=True):
            leading = t.shape[:lead]
            parts.append(t.reshape(*leading, *shape))
        n_given = len(self.law.given)
        given = dict(zip(self.law.given, parts[:n_given], strict=True))
        own, keep, *masks = parts[n_given:]
        for (of, value), mask in zip(self.in_part.items(), masks, strict=True):
            event = [1] * (given[of].ndim - mask.ndim)
            is_latent = mask.reshape(*mask.shape, *event) != 0
            given[of] = torch.where(is_latent, given[of], value)
        dist = self.law.of(*given.values(), *self.law.inputs)
        latent = keep != 0
        if not is_factorised(dist):  # it is latent as a whole
            latent = latent.flatten(lead)[..., 0]
        (log_q,) = log_marginals(dist, own, lead, [self.units], latent)
        return log_q
