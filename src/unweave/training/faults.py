"""Faults: where a loss stopped being finite, in words."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..objective.densities import Densities
from ..ranks import everyone
from ..trace.node import Node
from .items import Items

LARGE = 1e3
"""Weights beyond it have grown without bound: the learning rate is too high."""


class NonFinite(ValueError):
    """A loss that became NaN or infinite; the message says at which site and for which items."""


def diagnose(
    model: nn.Module, d: Densities, part: Items, items: Tensor, *, step: int, lr: float
) -> str:
    """Say where a loss stopped being finite, at whichever rank that is; all ranks call it.

    Args:
        model: The model that gave the traces.
        d: The batch's atoms.
        part: The part of the data that the batch is from.
        items: The numbers of the batch's items.
        step: The number of the step.
        lr: Its learning rate, which the advice names.

    Returns:
        A sentence that names weights, items or a site, by the first rank that is sure.
    """
    where = f"the loss is not finite at step {step}"
    advice = f"try a lower learning rate than {lr:g}"
    said = everyone(_fault(model, d, part, items, advice))
    guess, _ = said[0]
    certain = [fault for fault, is_sure in said if is_sure]
    return where + (certain[0] if certain else guess)


@torch.no_grad()
def _fault(
    model: nn.Module, d: Densities, part: Items, items: Tensor, advice: str
) -> tuple[str, bool]:
    """Return this rank's fault, and whether it is more than a guess."""
    broken = []
    for name, w in model.named_parameters():
        if not bool(torch.isfinite(w).all()):
            broken.append(name)
    if broken:
        text = "had become NaN or infinite in the step before, from a gradient that was"
        return f": the weights {', '.join(broken[:3])} {text}; {advice}", True
    x = part.x[items]
    allowed = ~x.isinf() if part.missing else x.isfinite()
    fine = allowed.flatten(1).all(1)  # (items,)
    if not bool(fine.all()):
        bad = _few(items[~fine.cpu()])
        return f": the data has NaN or infinite values in items {bad} of the {part.name} part", True
    grown = _grown(model, advice)
    for text, fine in _sites(d, len(items)):
        if not bool(fine.all()):
            bad = f"for items {_few(items[~fine.cpu()])} of the {part.name} part"
            return f": {text} that is NaN or infinite, {bad}{grown}", True
    text = "though every site's log-density is: a term of the objective overflows"
    return f", {text}{grown}", False


def _sites(d: Densities, n: int) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor of the traces in words, and which of the n items are finite in it."""
    for side, trace in (("q", d.q), ("p", d.p)):
        for name, node in trace.items():
            site = f"site {name!r} of {side}"
            yield f"{site} has a value", _fine(node.value, d.batch_dim, n)
            yield f"{site} has a log-density", _fine(_scored(node), d.batch_dim, n)


def _scored(node: Node) -> Tensor:
    has_density = node.dist is not None or node.score is not None
    return node.log_prob if has_density else node.value


def _fine(t: Tensor, batch_dim: int, n: int) -> Tensor:
    """Return which items are finite, (n,); where `t` has no dimension of items, all or none are."""
    finite = torch.isfinite(t)
    if finite.ndim > batch_dim and finite.shape[batch_dim] == n:
        return finite.movedim(batch_dim, 0).reshape(n, -1).all(1)
    return finite.all().expand(n)


def _grown(model: nn.Module, advice: str) -> str:
    """Name the largest weights if they are very large."""
    sizes = []
    for name, w in model.named_parameters():
        if w.numel():
            sizes.append((float(w.abs().max()), name))
    largest, name = max(sizes)
    if largest <= LARGE:
        return ""
    return f"; the weights {name} have grown to {largest:.0e}: {advice}"


def _few(items: Tensor) -> str:
    numbers = items.tolist()
    listed = ", ".join(map(str, numbers[:5]))
    more = len(numbers) - 5
    return f"{listed} and {more} more" if more > 0 else listed
