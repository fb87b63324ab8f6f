"""The `mnist` recipe's training step beside the same work written by hand, as ratios of times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from .. import models, terminal
from ..data import Data
from ..fused import native
from ..nets import scale
from ..objective.literature import elbo, hfvae
from ..training.recipe import Recipe
from ..training.trainer import Trainer
from .timing import interleaved, is_busy, load, machine, quartiles, ratios, verdict

GOAL = 1.10
"""The goal for our step over the same step by hand."""

ELBO_GOALS = {128: 1.15, 1024: 1.4}
"""The goals, by batch, for our HFVAE step over a plain ELBO step by hand."""

ELBO_GOAL = 1.05
"""The goal for our ELBO training over the same by hand."""

LOG_GOAL = 0.03
"""The goal for the log's share of training time."""

CLASSES = 10
TEMPERATURE = 0.66


def step(
    threads: int = 1, repeats: int = 60, batches: tuple[int, ...] = (128, 1024)
) -> dict[int, float]:
    """Time the recipe's training step against hand-written loops of the same networks and batch.

    One loop has the same objective, one the plain ELBO, which needs no estimate of log q(z).

    Returns:
        By batch, the median ratio to the loop with the same objective.
    """
    torch.set_num_threads(threads)
    console = terminal.console()
    console.print(
        "training step of the mnist recipe (784-400-200, Concrete(10) + 10 Normals, HFVAE "
        f"beta=12 gamma=4)\n{machine(threads)}, load before {load():.2f}\n"
        f"back end: {native.status()}",
        highlight=False,
    )
    table = Table("batch", "step", "ms", "unweave's over it", "goal", "", box=None, pad_edge=False)
    medians = {}
    for batch in batches:
        with torch.random.fork_rng():
            ours, hand = steps(batch)
            rivals = {"by hand": hand, "ELBO by hand": by_hand(batch, elbo_loss), "unweave": ours}
            times = interleaved(rivals, repeats, wall=threads > 1)
        medians[batch] = ratios(times["unweave"], times["by hand"])[1]
        _add_rows(table, batch, times)
    console.print(table)
    console.print(_logging_table(threads, repeats, batches))
    console.print(
        f"medians [quartiles] of {repeats} interleaved repetitions; load after {load():.2f}",
    )
    return medians


def _logging_table(threads: int, repeats: int, batches: tuple[int, ...]) -> Table:
    """Time ELBO training with and without the log's terms, and return the table."""
    table = Table(
        "ELBO", "step ms", "over by hand", "goal", "log", "goal", "", box=None, pad_edge=False
    )
    for batch in batches:
        trainer = Trainer(replace(recipe(batch, 55_000), objective=elbo), "cpu")
        every = trainer.log_every
        order = trainer.epoch_order(0)

        def one(log_every: int, trainer: Trainer = trainer, order: Tensor = order) -> None:
            trainer.log_every = log_every
            trainer.one_step(order[trainer.step % trainer.per_epoch])

        never = 10**9
        trainer.step = 1
        rivals: dict[str, Callable[[], None]] = {
            "by hand": by_hand(batch, elbo_loss),
            "silent": partial(one, never),
            "logged": partial(one, 1),
        }
        times = interleaved(rivals, repeats, wall=threads > 1)
        low, over, high = ratios(times["silent"], times["by hand"])
        _, logged, _ = ratios(times["logged"], times["silent"])
        share = (logged - 1) / every
        noisy = high - low > 0.3 or is_busy()
        told = verdict(over + share <= ELBO_GOAL and share <= LOG_GOAL, noisy)
        ratio = f"{over:.3f} [{low:.3f} to {high:.3f}]"
        cost = f"{share:.1%} (every {every} steps)"
        table.add_row(
            *(str(batch), quartiles(times["silent"]), ratio, f"{ELBO_GOAL:.2f}", cost),
            *(f"{LOG_GOAL:.0%}", told),
        )
    return table


def _add_rows(table: Table, batch: int, times: dict[str, list[float]]) -> None:
    table.add_row(str(batch), "unweave", quartiles(times["unweave"]))
    goals = {"by hand": GOAL, "ELBO by hand": ELBO_GOALS.get(batch, math.inf)}
    for name, goal in goals.items():
        low, mid, high = ratios(times["unweave"], times[name])
        noisy = low < goal < high and (high - low > 0.3 or is_busy())
        ratio = f"{mid:.3f} [{low:.3f} to {high:.3f}]"
        told = verdict(mid <= goal, noisy)
        table.add_row("", name, quartiles(times[name]), ratio, f"{goal:.2f}", told)


def recipe(batch: int, n: int) -> Recipe:
    """Return the recipe on random images: a step's cost does not depend on what they show."""
    x = np.random.default_rng(0).random((n, 28, 28), dtype=np.float32)
    return Recipe(
        "mnist",
        Data(x, np.zeros((n, 0), np.int64), (), (), (), "random images"),
        lambda: models.hfvae((28, 28)),
        hfvae(1, 12, 4),
        groups=("y", "z"),
        batch=batch,
        epochs=10**6,
    )


def steps(batch: int, n: int = 55_000) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a training step of ours, and one as a person would write it for this one model."""
    trainer = Trainer(recipe(batch, n), "cpu")
    order = trainer.epoch_order(0)

    def ours() -> None:
        trainer.one_step(order[trainer.step % trainer.per_epoch])

    log_w = log_weights(batch, n)
    return ours, by_hand(batch, lambda parts, x: hand_loss(parts, x, log_w), n)


# -- by hand ---------------------------------------------------------------------------------------


def by_hand(
    batch: int, loss_of: Callable[[nn.ModuleList, Tensor], Tensor], n: int = 55_000
) -> Callable[[], None]:
    """Return a training step of the recipe's networks, with nothing between it and torch."""
    data = torch.as_tensor(recipe(batch, n).data.x).flatten(1)  # (n, 784)
    order = torch.randperm(n).split(batch)[: n // batch]
    parts = hand_parts()
    adam = torch.optim.Adam(parts.parameters(), lr=1e-3, fused=True)
    count = 0

    def one() -> None:
        nonlocal count
        x = data.index_select(0, order[count % len(order)])
        count += 1
        loss = loss_of(parts, x)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    return one


def log_weights(batch: int, n: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return the balanced estimator's: own posterior 1/N, each other (N−1)/(N(B−1))."""
    other = math.log((n - 1) / (n * (batch - 1)))
    return torch.full((batch, batch), other, dtype=dtype).fill_diagonal_(-math.log(n))


def hand_parts() -> nn.ModuleList:
    """Return the networks: h, log-weights of y, mean and log-scale of z, decoder."""
    h = nn.Linear(784, 400)
    y = nn.Linear(400, 10)
    mean = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    log_scale = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    decoder = nn.Sequential(
        nn.Linear(20, 200), nn.ReLU(), nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 784)
    )
    return nn.ModuleList([h, y, mean, log_scale, decoder])


class Pass(NamedTuple):
    """The tensors of a forward pass on a batch of B items."""

    logits: Tensor  # (B, classes), log-weights of y
    y: Tensor  # (B, classes)
    mean: Tensor  # (B, units)
    std: Tensor  # (B, units)
    z: Tensor  # (B, units)
    recon: Tensor  # (B,), log p(x|z)
    log_py: Tensor  # (B,), log p(y)
    kl_z: Tensor  # (B,), KL(q(z|x) ‖ p(z))
    constant: float  # the logarithm of the Concrete density's normaliser


def hand_loss(
    parts: nn.ModuleList, x: Tensor, log_w: Tensor, beta: float = 12.0, gamma: float = 4.0
) -> Tensor:
    """Return HFVAE's loss on a batch (B, 784) with log-weights (B, B): tensors and closed forms."""
    logits, y, mean, std, z, recon, log_py, kl_z, constant = _forward(parts, x)
    log_y = y.clamp_min(1e-38).log()[:, None]  # (B, 1, classes)
    scores = logits - TEMPERATURE * log_y  # (B, B, classes)
    log_normaliser = CLASSES * scores.logsumexp(-1)
    pair_y = (scores - log_y).sum(-1) - log_normaliser + constant
    half_log_2pi = 0.5 * math.log(2 * math.pi)
    log_scale = (std.log() + half_log_2pi).T[:, None]
    u = (z.T[:, :, None] - mean.T[:, None]) / std.T[:, None]  # (units, B, B)
    pair_units = -0.5 * u * u - log_scale
    pair_z = pair_units.sum(0)  # (B, B)
    log_q = (pair_y + pair_z + log_w).logsumexp(-1)  # (B,)
    log_q_y = (pair_y + log_w).logsumexp(-1)
    log_q_z = (pair_z + log_w).logsumexp(-1)
    log_q_units = (pair_units + log_w).logsumexp(-1).sum(0)
    within = log_q_z - log_q_units
    across = log_q - log_q_y - log_q_z
    inference = pair_y.diagonal() - log_py + kl_z
    bound = recon - inference + log_q
    objective = bound - beta * across - gamma * within - log_q_y - log_q_units
    loss: Tensor = -objective.mean()
    return loss


def elbo_loss(parts: nn.ModuleList, x: Tensor) -> Tensor:
    """Return the plain ELBO's loss of the same networks on a batch (B, 784)."""
    logits, y, *_, recon, log_py, kl_z, constant = _forward(parts, x)
    log_y = y.clamp_min(1e-38).log()
    scores = logits - TEMPERATURE * log_y  # (B, classes)
    log_normaliser = CLASSES * scores.logsumexp(-1)
    log_qy = (scores - log_y).sum(-1) - log_normaliser + constant
    kl_y = log_qy - log_py
    bound = recon - kl_y - kl_z
    loss: Tensor = -bound.mean()
    return loss


def _forward(parts: nn.ModuleList, x: Tensor) -> Pass:
    enc_h, enc_y, enc_mean, enc_scale, dec = parts
    k, t = CLASSES, TEMPERATURE
    constant = math.lgamma(k) + (k - 1) * math.log(t)
    h = F.relu(enc_h(x))
    logits = enc_y(h)
    gumbel = -torch.empty_like(logits).exponential_().log()
    relaxed = (logits + gumbel) / t
    y = relaxed.softmax(-1)
    hy = torch.cat([h, y], -1)
    mean = enc_mean(hy)
    std = scale(enc_scale(hy))
    z = mean + std * torch.randn_like(mean)
    pixels = dec(torch.cat([y, z], -1))
    losses = F.binary_cross_entropy_with_logits(pixels, x, reduction="none")
    recon = -losses.sum(-1)
    log_y = y.clamp_min(1e-38).log()
    log_normaliser = k * (-t * log_y).logsumexp(-1)
    log_py = constant - (t + 1) * log_y.sum(-1) - log_normaliser
    kl_units = 0.5 * (mean * mean + std * std - 1) - std.log()
    kl_z = kl_units.sum(-1)
    return Pass(logits, y, mean, std, z, recon, log_py, kl_z, constant)
