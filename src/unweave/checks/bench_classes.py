"""An objective that sums over enumerated classes beside the same objective without them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor

from .. import terminal
from ..aggregate import minibatch
from ..objective.densities import Densities
from ..objective.literature import hfvae
from ..trace.trace import Trace
from .timing import interleaved, load, machine, quartiles, ratios

BATCH = 128

UNITS = 10

N = 50_000
"""Items of the data set that the batch stands for."""

NONE = "none"

CASES = {
    NONE: (0, False),
    "2": (2, False),
    "10": (10, False),
    "100": (100, False),
    "2, on which z depends": (2, True),
    "10, on which z depends": (10, True),
}
"""By name, the number of classes, and whether z depends on them."""


def classes(threads: int = 1, repeats: int = 40) -> dict[str, float]:
    """Time HFVAE's objective and its gradient, with an enumerated y beside 10 Normals z.

    There are no networks: logits of y, and means and standard deviations of z, are leaves. Where z
    depends on y, each unit of z is summed over pairs of classes as well.

    Returns:
        By case, the median of times over that without classes.
    """
    torch.set_num_threads(threads)
    console = terminal.console()
    console.print(
        f"HFVAE's objective and its gradient, {UNITS} Normals and enumerated classes, "
        f"B={BATCH}\n{machine(threads)}, load before {load():.2f}",
        highlight=False,
    )
    steps = {name: objective(count, dependent) for name, (count, dependent) in CASES.items()}
    times = interleaved(steps, repeats, wall=threads > 1)
    table = Table("classes", "ms", "times none", box=None, pad_edge=False)
    medians = {}
    for name, seconds in times.items():
        low, mid, high = ratios(seconds, times[NONE])
        medians[name] = mid
        table.add_row(name, quartiles(seconds), f"{mid:.2f} [{low:.2f} to {high:.2f}]")
    console.print(table)
    console.print(
        f"medians [quartiles] of {repeats} interleaved repetitions; load after {load():.2f}"
    )
    return medians


def objective(count: int, dependent: bool) -> Callable[[], Tensor]:
    """Return a function that gives the loss of a batch with so many classes, and differentiates it.

    Args:
        count: The number of classes.
        dependent: Whether z depends on y.
    """
    draw = torch.Generator().manual_seed(0)
    by_class = max(count, 1) if dependent else 1
    mean = torch.randn(BATCH, by_class, UNITS, generator=draw).requires_grad_()
    log_std = torch.randn(BATCH, by_class, UNITS, generator=draw).mul_(0.1).requires_grad_()
    logits = torch.randn(BATCH, count, generator=draw).requires_grad_()
    leaves = [mean, log_std, logits] if count else [mean, log_std]
    aggregate = minibatch(N)
    form = hfvae(1, 12, 4)

    def step() -> Tensor:
        q, p = _traces(logits, mean, log_std)
        d = Densities(q, p, aggregate=aggregate)
        loss = -d.score(form).mean()
        torch.autograd.grad(loss, leaves)
        return loss.detach()

    return step


def _traces(logits: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Trace, Trace]:
    """Return the traces of an encoder and a decoder; without classes z has one mean an item."""
    q, p = Trace(), Trace()
    by_class = mean.shape[1] > 1
    if logits.shape[-1]:
        y = q.categorical(logits, name="y")  # (classes, B, classes)
        p.categorical(torch.zeros_like(logits), value=q["y"], name="y")
    if by_class:
        chosen = y.unsqueeze(-1)  # (classes, B, classes, 1)
        mean, log_std = (chosen * mean).sum(-2), (chosen * log_std).sum(-2)  # (classes, B, units)
    else:
        mean, log_std = mean[:, 0], log_std[:, 0]
    q.normal(mean, log_std.exp(), name="z")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    return q, p
