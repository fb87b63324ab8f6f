"""Steps of two ranks on this machine beside steps of one: wall and CPU time, and their messages.

The parent starts each rank as ``python -m unweave.checks.bench_ranks REPEATS``; rank 0 prints the
times as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
from rich.table import Table
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from .. import terminal
from ..ranks import alone, joined
from ..training.trainer import Trainer
from .bench_step import recipe
from .timing import load, machine

BATCHES = (128, 1024)

N = 20_000
"""Items of the recipe."""

ONE = "one rank"
OURS = "two ranks"
LOCAL = "two ranks, local estimator"
DDP = "two ranks, torch's DDP"


class Times(NamedTuple):
    """Seconds of a rank's steps, taken in turn with the other ways."""

    wall: list[float]
    cpu: list[float]


def ranks(repeats: int = 40) -> None:
    """Time a training step of the `mnist` recipe by one rank and by two, of one thread each.

    Two ranks have half of the batch each. Gathering is the difference to ranks that estimate
    log q(z) from their own items: messages, and twice as many pairs. DistributedDataParallel stands
    in the place of `mean_gradients`.

    Raises:
        ConnectionError: If a rank ends early.
    """
    console = terminal.console()
    console.print(
        f"training step of the mnist recipe, by ranks of one thread\n{machine(1)}, load before "
        f"{load():.2f}",
        highlight=False,
    )
    table = Table(
        "batch", "step", "wall ms", "times one rank", "CPU ms", "CPU of one", box=None,
        pad_edge=False,
    )  # fmt: skip
    for batch, ways in _by_two(repeats).items():
        one = ways[ONE]
        for name, (wall, cpu) in ways.items():
            faster = statistics.median(a / b for a, b in zip(one.wall, wall, strict=True))
            share = statistics.median(a / b for a, b in zip(cpu, one.cpu, strict=True))
            table.add_row(batch, name, _ms(wall), f"{faster:.2f}", _ms(cpu), f"{share:.2f}")
        gathering = _ms([a - b for a, b in zip(ways[OURS].cpu, ways[LOCAL].cpu, strict=True)])
        table.add_row(batch, "of which gathering", "", "", gathering, "")
    console.print(table)
    console.print(
        f"medians of {repeats} interleaved repetitions; CPU is rank 0's; wall time means little "
        f"where other processes work; load after {load():.2f}",
        markup=False,
    )


def _ms(seconds: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.2f}"


def _by_two(repeats: int) -> dict[str, dict[str, Times]]:
    """Start two ranks, and return rank 0's times by batch and way."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = []
    for rank in range(2):
        environment = {**os.environ, **where, "RANK": str(rank), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", __name__, str(repeats)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise ConnectionError("a rank ended early; its own message, above, says why")
    found: dict[str, dict[str, Times]] = {}
    for batch, ways in json.loads(said[0]).items():
        found[batch] = {name: Times(*times) for name, times in ways.items()}
    return found


# -- in a rank -------------------------------------------------------------------------------------


def _work(repeats: int) -> None:
    torch.set_num_threads(1)
    found = {}
    with joined() as (rank, _):
        for batch in BATCHES:
            found[batch] = _times(_ways(batch, rank), repeats)
    if rank == 0:
        print(json.dumps(found))


def _ways(batch: int, rank: int) -> dict[str, Callable[[], None]]:
    """Return the ways to take a step, each a function that both ranks call."""
    plan = recipe(batch, N)
    with alone():
        single = Trainer(plan, "cpu")
    whole = single.epoch_order(0)
    half = whole.chunk(2, 1)[rank]
    by_ddp = Trainer(plan, "cpu")
    wrapped = DistributedDataParallel(by_ddp.model, gradient_as_bucket_view=True)

    def one() -> None:
        if rank == 0:
            with alone():
                _step(single, whole)

    def ddp() -> None:
        with (
            patch.object(by_ddp, "model", wrapped),
            patch("unweave.training.trainer.mean_gradients", _left_to_ddp),
        ):
            _step(by_ddp, half)

    ways: dict[str, Callable[[], None]] = {ONE: one, DDP: ddp}
    for name, gather in ((OURS, True), (LOCAL, False)):
        ways[name] = _stepping(Trainer(replace(plan, gather=gather), "cpu"), half)
    return ways


def _left_to_ddp(_: object, *more: Tensor) -> list[Tensor]:
    return list(more)


def _stepping(trainer: Trainer, order: Tensor) -> Callable[[], None]:
    return lambda: _step(trainer, order)


def _step(trainer: Trainer, order: Tensor) -> None:
    trainer.one_step(order[trainer.step % trainer.per_epoch])


def _times(ways: dict[str, Callable[[], None]], repeats: int, warm_up: int = 3) -> dict[str, Times]:
    """Return the times of each way, taken in turn; ranks begin each together."""
    times = {name: Times([], []) for name in (ONE, OURS, LOCAL, DDP)}
    for turn in range(warm_up + repeats):
        for name, (wall, cpu) in times.items():
            dist.barrier()
            before = time.perf_counter(), time.process_time()
            ways[name]()
            after = time.perf_counter(), time.process_time()
            if turn >= warm_up:
                wall.append(after[0] - before[0])
                cpu.append(after[1] - before[1])
    return times


if __name__ == "__main__":
    _work(int(sys.argv[1]))
