"""Time the parts of a training step of the `mnist` recipe beside a plain ELBO step by hand.

    python scripts/step_parts.py            # B = 128, 80 steps of each in turn
    python scripts/step_parts.py --batch 1024 --steps 20

It prints the CPU time of each part, the operations of the backward pass, and the time that traces
and score take in a loop of their own, where nothing drives them out of the processor's caches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from unweave.checks import bench_step
from unweave.objective.densities import Densities
from unweave.objective.literature import elbo
from unweave.training.trainer import Trainer

PARTS = ("batch", "networks and traces", "score", "estimator of log q(z)", "backward", "optimiser")
Times = dict[str, list[float]]


def timed(times: Times, part: str, function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns, and keep the CPU time that it took."""
    before = time.process_time()
    result = function(*args)
    times[part].append(time.process_time() - before)
    return result


def operations(loss: Tensor) -> int:
    """Count the operations of a loss's backward pass."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is not None and function not in seen:
            seen.add(function)
            waiting += [following for following, _ in function.next_functions]
    return len(seen)


def ours(trainer: Trainer, items: Tensor, times: Times) -> Tensor:
    """Take a step of ours, part by part."""
    x, labels = timed(times, "batch", trainer.train.batch, items)
    q, p = timed(times, "networks and traces", partial(trainer.model, x, **labels))
    d = trainer.densities(q, p)
    ask = d._ask_aggregate
    d._ask_aggregate = partial(timed, times, "estimator of log q(z)", ask)  # type: ignore[method-assign]
    score = timed(times, "score", d.score, trainer.recipe.objective_at(0))
    loss = -score.mean()
    trainer.optimizer.zero_grad(set_to_none=True)
    timed(times, "backward", loss.backward)
    timed(times, "optimiser", trainer.optimizer.step)
    return loss


def in_a_loop(trainer: Trainer, items: Tensor, repeats: int = 200) -> float:
    """Return the CPU seconds of densities and score of one batch, again and again."""
    x, labels = trainer.train.batch(items)
    q, p = trainer.model(x, **labels)
    objective = trainer.recipe.objective_at(0)
    seconds = []
    for _ in range(repeats):
        before = time.process_time()
        d: Densities = trainer.densities(q, p)
        d.score(objective)
        seconds.append(time.process_time() - before)
    return statistics.median(seconds)


def main(batch: int, steps: int) -> None:
    torch.set_num_threads(1)
    plan = bench_step.recipe(batch, 20_000)
    trainers = {
        "HFVAE": Trainer(plan, "cpu"),
        "ELBO": Trainer(replace(plan, objective=elbo), "cpu"),
    }
    by_hand = bench_step.by_hand(batch, bench_step.elbo_loss, 20_000)
    parts = bench_step.hand_parts()
    of_hand = operations(bench_step.elbo_loss(parts, torch.rand(batch, 784)))
    times: dict[str, Times] = {name: defaultdict(list) for name in (*trainers, "by hand")}
    counts = {}
    for number in range(steps):
        timed(times["by hand"], "whole", by_hand)
        for name, trainer in trainers.items():
            items = trainer.epoch_order(0)[number % trainer.per_epoch]
            loss = timed(times[name], "whole", ours, trainer, items, times[name])
            counts[name] = operations(loss)
    print(f"B = {batch}, medians of {steps} steps in turn, ms of CPU")
    whole = 1e3 * statistics.median(times["by hand"]["whole"])
    print(f"{'ELBO by hand, whole':32} {whole:6.2f}   {of_hand} operations back")
    for name, trainer in trainers.items():
        whole = 1e3 * statistics.median(times[name]["whole"])
        print(f"{name + ', whole':32} {whole:6.2f}   {counts[name]} operations back")
        for part in PARTS:
            if times[name][part]:
                print(f"    {part:28} {1e3 * statistics.median(times[name][part]):6.2f}")
        loop = 1e3 * in_a_loop(trainer, trainer.epoch_order(0)[0])
        print(f"    {'score, in a loop of its own':28} {loop:6.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=80)
    given = parser.parse_args()
    main(given.batch, given.steps)
