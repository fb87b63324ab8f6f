"""The sums that estimators ask for, as a pipeline.

1. Masks and conditional sites become extra sites (`rewrite`).
2. Blocks are grouped by the classes that they sum over (`classes`).
3. Each group is summed over all pairs of rows and components: fused (`pairs`, `folding`), or not
   (`unfused`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..trace.leaves import Block
from ..trace.trace import Trace
from .classes import (
    cases_of,
    choose_case,
    classes_held,
    classes_summed,
    holds_drawn_classes,
    is_foldable,
    sum_over_classes,
)
from .folding import sum_class_by_class, sum_folded
from .pairs import log_mixture_fused
from .question import BUDGET, Coefficient, LogWeights, Question
from .rewrite import has_class_parents, with_conditionals, with_masks
from .unfused import log_mixture_unfused


def log_mixture(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    log_w: LogWeights,
    batch_dim: int,
    budget: int = BUDGET,
    *,
    first: int = 0,
    ahead: Sequence[Coefficient] | None = None,
) -> list[Tensor]:
    """Return log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`.

    The classes of an enumerated site y are components as well: a block without y sums over them,
    Σ_j w_ij Σ_k q(k|x_j) q(block_i | x_j, k), where it depends on y, and a block with y compares
    the row's y with the component's. Where y is observed it leaves its block.

    Where some components lack entries (`Trace`, `where=`), a row is compared with those that have
    all that it has. Where a block holds a conditional site (`Trace.conditional`) and what it is
    given, components are asked at the row's values.

    Args:
        q: The rows.
        posterior: The components; their sample dimensions may be missing.
        blocks: Blocks of latent units.
        log_w: log-weights of an item's own component, of the next one, and of any other.
        batch_dim: The dimension of the items in the values of `q`.
        budget: How many numbers are held at a time where a sum over classes keeps the estimator
            from being fused.
        first: The items are components `first`, `first` + 1, and so on.
        ahead: A hint of what will be differentiated (see `ahead.Ahead`).

    Returns:
        A tensor (*classes, *samples, batch) for each block, in nats.
    """
    return answer(Question(q, posterior, blocks, log_w, batch_dim, budget, first, ahead))


def log_own(
    q: Trace, posterior: Trace, block: Block, batch_dim: int, budget: int = BUDGET
) -> Tensor:
    """Return log q(block_i | x_i), each item under its own component, with classes summed over.

    Where y is observed it leaves its block. `posterior` may be any trace of the same items: of the
    prior p it gives log p(block_i).
    """
    cases = cases_of(q, posterior, block)
    log_q = {}
    for _, case in cases:
        if case:
            summed = classes_summed(q, posterior, case, batch_dim)
            (log_q[case],) = log_mixture_unfused(
                q, posterior, [case], summed, None, batch_dim, budget
            )
        else:  # all that the block held was observed
            log_q[case] = torch.zeros(())
    return choose_case(cases, log_q)


def answer(question: Question) -> list[Tensor]:
    """Return the answer to a question: a tensor (*classes, *samples, batch) for each block."""
    masked = with_masks(question)
    plain = with_conditionals(question if masked is None else masked.question)
    has_classes = plain.rows.classes() or plain.components.classes()
    log_q = _sum_classes(plain) if has_classes else _sum_fused(plain, plain.blocks, plain.ahead)
    return log_q if masked is None else masked.undo(log_q)


class _Group(NamedTuple):
    """The traits that blocks share which are summed together."""

    summed: tuple[str, ...]  # the sites whose classes are summed over
    held: tuple[int, ...]  # sizes of the classes that rows tell apart
    drawn: bool  # whether rows hold drawn classes of all sites that are summed over


def _sum_classes(question: Question) -> list[Tensor]:
    """Return the answers where some sites are enumerated: blocks that are alike are one sum."""
    rows, components = question.rows, question.components
    cases = [cases_of(rows, components, block) for block in question.blocks]
    every = dict.fromkeys(case for some in cases for _, case in some)
    log_q: dict[Block, Tensor] = {}
    group_of: dict[tuple[str, ...], _Group] = {}  # by the sites of a block
    groups: dict[_Group, list[Block]] = {}
    for case in every:
        if not case:  # all that the block held was observed
            log_q[case] = question.log_weights().logsumexp(-1)
            continue
        sites = tuple([site for site, _ in case])
        if sites not in group_of:
            group_of[sites] = _group(question, case)
        groups.setdefault(group_of[sites], []).append(case)
    known: dict[Block, Coefficient] = {}
    if question.ahead is not None:
        known.update(zip(question.blocks, question.ahead, strict=True))
    for group, blocks in groups.items():
        ahead = None
        if known.keys() >= set(blocks):
            of_blocks = [known[block] for block in blocks]
            of_rows = {id(c): sum_over_classes(c, group.held) for c in of_blocks}
            ahead = [of_rows[id(c)] for c in of_blocks]
        sums = _sum_group(question, group, blocks, ahead)
        log_q.update(zip(blocks, sums, strict=True))
    return [choose_case(some, log_q) for some in cases]


def _group(question: Question, block: Block) -> _Group:
    """Return the traits of a block, which are those of its sites."""
    rows, components, batch_dim = question.rows, question.components, question.batch_dim
    summed = classes_summed(rows, components, block, batch_dim)
    held = classes_held(rows, block)
    drawn = holds_drawn_classes(rows, components, block, summed, batch_dim)
    drawn = drawn and not any(has_class_parents(components[site]) for site, _ in block)
    return _Group(summed, held, drawn)


def _sum_group(
    question: Question, group: _Group, blocks: list[Block], ahead: list[Coefficient] | None
) -> list[Tensor]:
    """Return the sums of blocks that are alike, by the cheapest way that there is."""
    rows, components, log_w = question.rows, question.components, question.log_w
    batch_dim, summed = question.batch_dim, group.summed
    if not summed:
        return _sum_fused(question, blocks, ahead)
    if group.drawn and len(set(log_w)) == 1:
        return sum_class_by_class(rows, components, blocks, summed, log_w[0], batch_dim)
    if is_foldable(rows, components, blocks, summed):
        return sum_folded(rows, components, blocks, summed, log_w, batch_dim, ahead, question.first)
    weights, budget = question.log_weights(), question.budget
    return log_mixture_unfused(rows, components, blocks, summed, weights, batch_dim, budget)


def _sum_fused(
    question: Question, blocks: Sequence[Block], ahead: Sequence[Coefficient] | None
) -> list[Tensor]:
    """Return the sums of blocks that depend on no class."""
    log_q = log_mixture_fused(
        question.rows,
        question.components,
        blocks,
        question.log_w,
        question.batch_dim,
        ahead=ahead,
        first=question.first,
    )
    return list(log_q)
