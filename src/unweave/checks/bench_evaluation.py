"""The sum over dependent sites that evaluation makes, beside a run of the encoder for each row."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from functools import partial

import torch
from rich.table import Table
from torch import Tensor

from .. import terminal
from ..evaluation.encoded import chunks
from ..evaluation.joint import joint, log_densities
from ..models import Model, hfvae
from ..trace.leaves import Block
from ..trace.trace import Trace
from .timing import interleaved, load, machine, verdict

GOALS = {"784-400-200, as on MNIST": 5.0, "convolutions of 64 x 64 x 3": 20.0}
"""The times by which the sum is meant to be faster than a run for each row, by networks."""

BLOCK: Block = (("y", (0,)), ("z", tuple(range(10))))
"""All latent units of a model: y on which z depends, and z."""


def evaluation(quick: bool = False, threads: int = 1) -> dict[str, float]:
    """Print how many times faster q(y, z) is summed than by runs row by row; return the medians.

    Raises:
        ValueError: If the two differ by more than float rounding.
    """
    torch.set_num_threads(threads)
    console = terminal.console()
    console.print(machine(threads), highlight=False)
    heads = ("networks", "rows x items", "µs a pair", "row by row", "times faster", "goal", "apart")
    table = Table(*heads, box=None)
    medians = {}
    for name, (model, x) in _settings(quick).items():
        rows = _rows(model, x, 16 if quick else 64)
        steps = {
            "together": torch.no_grad()(partial(joint, model, x, rows, BLOCK)),
            "alone": partial(_row_by_row, model, x, rows),
        }
        apart = _apart(steps)
        times = interleaved(steps, 3 if quick else 5, wall=False, warm_up=1)
        ratios = [b / a for a, b in zip(times["together"], times["alone"], strict=True)]
        medians[name] = statistics.median(ratios)
        pairs = len(x) * len(rows["y"].value)
        table.add_row(
            name,
            f"{len(rows['y'].value)} x {len(x)}",
            f"{1e6 * statistics.median(times['together']) / pairs:.2f}",
            f"{1e6 * statistics.median(times['alone']) / pairs:.2f}",
            f"{medians[name]:.1f}",
            verdict(medians[name] >= GOALS[name]),
            f"{apart:.0e}",
        )
    console.print(table)
    console.print(
        f"CPU time, medians of interleaved repetitions, random items; load {load():.2f}",
        highlight=False,
    )
    return medians


def _settings(quick: bool) -> dict[str, tuple[Model, Tensor]]:
    """Return the models, untrained, each with items."""
    plain, convolved = GOALS
    torch.manual_seed(0)
    return {
        plain: (hfvae((28, 28)), torch.rand(500 if quick else 4000, 28, 28)),
        convolved: (
            hfvae((64, 64, 3), hidden=(256, 128), net="conv"),
            torch.rand(50 if quick else 400, 64, 64, 3),
        ),
    }


@torch.no_grad()
def _rows(model: Model, x: Tensor, n: int) -> Trace:
    """Return draws of some items."""
    rows: Trace = model.encoder(x[:n])
    return rows


@torch.no_grad()
def _row_by_row(model: Model, x: Tensor, rows: Trace) -> Tensor:
    """Return log q(y_i, z_i) of rows, with a run of the encoder for each."""
    at = {site: rows[site].value.unsqueeze(1) for site, _ in BLOCK}
    sums = []
    for some in chunks(x):
        (log_q,) = log_densities(model, some, at, at, [BLOCK], together=False)
        sums.append(log_q.logsumexp(1))
    return torch.stack(sums).logsumexp(0) - math.log(len(x))


def _apart(steps: Mapping[str, Callable[[], Tensor]]) -> float:
    """Return how far apart the two results are.

    Raises:
        ValueError: If that is more than float rounding.
    """
    together, alone = steps["together"](), steps["alone"]()
    apart = float((together - alone).abs().max())
    if not apart <= 1e-3:
        raise ValueError(
            f"sums over dependent sites differ from those row by row by {apart:.2g}, above 1e-3"
        )
    return apart
