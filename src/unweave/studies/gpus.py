"""The GPUs of this machine, one for each run that works at the time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from .grid import Job

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""The environment's list of GPUs that a process may see."""


def visible() -> list[str]:
    """Return the names of the GPUs that this process may use, without torch.

    They are those of CUDA_VISIBLE_DEVICES, or else all that the driver's `nvidia-smi` lists.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    names = [line.strip() for line in done.stdout.splitlines()]
    return [name for name in names if name.startswith("GPU-")]


def one_each(work: Callable[..., bool], gpus: Sequence[str], workers: int) -> Callable[[Job], bool]:
    """Return the work on a run with a GPU that is free; more workers than GPUs share them evenly.

    Args:
        work: A function of a run and of variables for its environment.
        gpus: The GPUs' names.
        workers: Runs at once.
    """
    free: SimpleQueue[str] = SimpleQueue()
    for worker in range(workers):
        free.put(gpus[worker % len(gpus)])

    def on_a_free_one(job: Job) -> bool:
        gpu = free.get()
        try:
            return work(job, {VARIABLE: gpu})
        finally:
            free.put(gpu)

    return on_a_free_one
