"""Timing, honestly: the library beside the same work written by hand, interleaved in one process, as ratios.

Times are the process's own CPU time where one thread is used (a busy machine then does not count), wall time
otherwise; medians of interleaved repetitions, with the quartiles beside them.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from . import models
from .data import Data
from .nets import scale
from .objective import hfvae
from .train import Recipe, Trainer

GOAL = 1.10


def step(threads: int = 1, repeats: int = 60, batches: tuple[int, ...] = (128, 1024)) -> dict[int, float]:
    """The `mnist` recipe's training step against a hand-written loop of the same networks, batch and objective."""
    torch.set_num_threads(threads)
    console = Console()
    console.print(
        f"training step of the mnist recipe (784-400-200, Concrete(10) + 10 Normals, HFVAE beta=12 gamma=4)\n"
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {threads} thread(s), torch "
        f"{torch.__version__}, load before {os.getloadavg()[0]:.2f}",
        highlight=False,
    )
    table = Table("batch", "by hand, ms", "unweave, ms", "ratio", f"goal {GOAL:.2f}", box=None, pad_edge=False)
    ratios = {}
    for batch in batches:
        with torch.random.fork_rng():
            ours, hand = steps(batch)
            times = _interleaved({"hand": hand, "ours": ours}, repeats, wall=threads > 1)
        pairs = [a / b for a, b in zip(times["ours"], times["hand"], strict=True)]
        low, ratios[batch], high = statistics.quantiles(pairs, n=4)
        noisy = high - low > 0.3 or os.getloadavg()[0] > (os.cpu_count() or 1)
        verdict = "inconclusive: noisy" if noisy else "pass" if ratios[batch] <= GOAL else "fail"
        hand_ms, ours_ms = (_quartiles(times[name]) for name in ("hand", "ours"))
        table.add_row(str(batch), hand_ms, ours_ms, f"{ratios[batch]:.3f} [{low:.3f} to {high:.3f}]", verdict)
    console.print(table)
    console.print(
        f"medians [quartiles] of {repeats} interleaved repetitions; load after {os.getloadavg()[0]:.2f}", markup=False
    )
    return ratios


def _quartiles(seconds: list[float]) -> str:
    low, mid, high = (1e3 * t for t in statistics.quantiles(seconds, n=4))
    return f"{mid:.2f} [{low:.2f} to {high:.2f}]"


def _interleaved(steps: dict[str, Callable[[], Any]], repeats: int, *, wall: bool) -> dict[str, list[float]]:
    clock = time.perf_counter if wall else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 5):
        for name in steps if turn % 2 else reversed(steps):
            before = clock()
            steps[name]()
            if turn >= 5:  # the first turns warm up
                times[name].append(clock() - before)
    return times


def recipe(batch: int, n: int) -> Recipe:
    """The mnist recipe on random images: a step's cost does not depend on what they show."""
    x = np.random.default_rng(0).random((n, 28, 28), dtype=np.float32)
    data = Data(x, np.zeros((n, 0), np.int64), (), (), (), "random images")
    return Recipe(
        "mnist", data, lambda: models.hfvae((28, 28)), hfvae(1, 12, 4), groups=("y", "z"), batch=batch, epochs=10**6
    )


def steps(batch: int, n: int = 55_000) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step of ours, and one as a person would write it for this one model."""
    trainer = Trainer(recipe(batch, n), "cpu")
    order = trainer.epoch_order(0)

    def ours() -> None:
        trainer.one_step(order[trainer.step % trainer.per_epoch])

    data, log_w, parts = trainer.train.x.flatten(1), log_weights(batch, n), hand_parts()
    adam = torch.optim.Adam(parts.parameters(), lr=1e-3, fused=True)
    count = 0

    def by_hand() -> None:
        nonlocal count
        x = data.index_select(0, order[count % len(order)])
        count += 1
        loss = hand_loss(parts, x, log_w)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    return ours, by_hand


def log_weights(batch: int, n: int) -> Tensor:
    """The balanced estimator's: own posterior 1/N, each other (N−1)/(N(B−1))."""
    return torch.full((batch, batch), math.log((n - 1) / (n * (batch - 1)))).fill_diagonal_(-math.log(n))


def hand_parts() -> nn.ModuleList:
    """The mnist recipe's networks: h, log-weights of y, mean and log-scale of z, decoder."""
    h, y = nn.Linear(784, 400), nn.Linear(400, 10)
    mean = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    log_scale = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    decoder = nn.Sequential(nn.Linear(20, 200), nn.ReLU(), nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 784))
    return nn.ModuleList([h, y, mean, log_scale, decoder])


def hand_loss(parts: nn.ModuleList, x: Tensor, log_w: Tensor, beta: float = 12.0, gamma: float = 4.0) -> Tensor:
    """HFVAE's loss on a batch (B, 784) with log-weights (B, B): tensors, closed forms, no abstractions."""
    enc_h, enc_y, enc_mean, enc_scale, dec = parts
    k, t = 10, 0.66
    constant = math.lgamma(k) + (k - 1) * math.log(t)
    half_log_2pi = 0.5 * math.log(2 * math.pi)
    h = F.relu(enc_h(x))
    logits = enc_y(h)
    gumbel = -torch.empty_like(logits).exponential_().log()
    y = ((logits + gumbel) / t).softmax(-1)
    hy = torch.cat([h, y], -1)
    mean, std = enc_mean(hy), scale(enc_scale(hy))
    z = mean + std * torch.randn_like(mean)
    pixels = dec(torch.cat([y, z], -1))
    recon = -F.binary_cross_entropy_with_logits(pixels, x, reduction="none").sum(-1)
    log_y, log_std = y.clamp_min(1e-38).log(), std.log()
    log_py = constant - (t + 1) * log_y.sum(-1) - k * (-t * log_y).logsumexp(-1)
    kl_z = (0.5 * (mean * mean + std * std - 1) - log_std).sum(-1)
    scores = logits - t * log_y[:, None]
    pair_y = (scores - log_y[:, None]).sum(-1) - k * scores.logsumexp(-1) + constant
    u = (z.T[:, :, None] - mean.T[:, None]) / std.T[:, None]
    pair_units = -0.5 * u * u - (log_std + half_log_2pi).T[:, None]
    pair_z = pair_units.sum(0)
    log_q = (pair_y + pair_z + log_w).logsumexp(-1)
    log_q_y = (pair_y + log_w).logsumexp(-1)
    log_q_z = (pair_z + log_w).logsumexp(-1)
    log_q_units = (pair_units + log_w).logsumexp(-1).sum(0)
    within = log_q_z - log_q_units
    across = log_q - log_q_y - log_q_z
    inference = pair_y.diagonal() - log_py + kl_z
    loss: Tensor = -(recon - inference + log_q - beta * across - gamma * within - log_q_y - log_q_units).mean()
    return loss
