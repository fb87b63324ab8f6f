"""Times that can be compared: repetitions interleaved in one process, medians and quartiles.

Times are the process's own CPU time where one thread is used (a busy machine then does not count),
wall time otherwise.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch


def interleaved(
    steps: Mapping[str, Callable[[], Any]], repeats: int, *, wall: bool, warm_up: int = 5
) -> dict[str, list[float]]:
    """Return the seconds of each step, taken in turn; each goes first in every other turn."""
    clock = time.perf_counter if wall else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(warm_up + repeats):
        for name in steps if turn % 2 else reversed(list(steps)):
            before = clock()
            steps[name]()
            seconds = clock() - before
            if turn >= warm_up:
                times[name].append(seconds)
    return times


def timed(
    steps: Mapping[str, Callable[[], Any]], repeats: int, *, wall: bool
) -> dict[str, list[float]]:
    """Return the seconds of a call of each step.

    A time is of as many calls as take 10 ms, so that small steps are as warm as large ones.
    """
    calls = {name: _calls(step) for name, step in steps.items()}
    batches = {name: partial(_repeat, step, calls[name]) for name, step in steps.items()}
    times = interleaved(batches, repeats, wall=wall, warm_up=1)
    for name, seconds in times.items():
        times[name] = [t / calls[name] for t in seconds]
    return times


def _calls(step: Callable[[], Any], least: float = 0.01) -> int:
    """Return the number of calls that take at least so many seconds."""
    step()
    before = time.perf_counter()
    step()
    return max(1, math.ceil(least / (time.perf_counter() - before)))


def _repeat(step: Callable[[], Any], calls: int) -> None:
    for _ in range(calls):
        step()


def ratios(over: list[float], under: list[float]) -> list[float]:
    """Return the quartiles of the ratios of times that were taken in turn."""
    return statistics.quantiles([a / b for a, b in zip(over, under, strict=True)], n=4)


def quartiles(seconds: list[float]) -> str:
    """Return a median with its quartiles, in milliseconds.

    >>> quartiles([0.001, 0.002, 0.003])
    '2.00 [1.00 to 3.00]'
    """
    low, mid, high = (1e3 * t for t in statistics.quantiles(seconds, n=4))
    return f"{mid:.2f} [{low:.2f} to {high:.2f}]"


def verdict(met: bool, noisy: bool = False) -> str:
    """Return the verdict on a goal: noise decides nothing."""
    if noisy:
        return "inconclusive: noisy"
    return "pass" if met else "fail"


def load() -> float:
    """Return the machine's load, NaN where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def is_busy(*loads: float) -> bool:
    """Return whether some load, by default that of now, is more than the cores can carry."""
    return max(loads or (load(),)) > (os.cpu_count() or 1)


def machine(threads: int) -> str:
    """Return the machine's processor, cores and threads, and the version of torch."""
    processor = platform.processor() or platform.machine()
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"{processor}, {os.cpu_count()} cores, {threads} thread(s), torch {torch.__version__} "
        f"({capability})"
    )
