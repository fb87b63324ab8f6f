"""The pairwise estimator of log q(z) beside the naive one: time, memory, error, growth, goals.

Each state of the heap is measured in a process of its own.
"""

from __future__ import annotations

import ctypes
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from json import dumps, loads
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from .. import terminal
from ..fused import native, pure
from .problem import Estimator, Problem, errors, estimators, loss
from .timing import is_busy, load, machine, quartiles, ratios, timed, verdict

GOALS = {
    "pure": {
        (128, 10, "cold"): 3.5,
        (1024, 10, "cold"): 12.0,
        (1024, 50, "cold"): 12.0,
        (1024, 10, "warm"): 4.5,
    },
    "native": {
        (128, 10, "cold"): 9.0,
        (1024, 10, "cold"): 50.0,
        (1024, 50, "cold"): 50.0,
        (1024, 10, "warm"): 15.0,
    },
}
"""By estimator, and by (B, D, heap): how many times as fast as the naive one it is to be."""

GROWTH = {
    "B=1024 D=10": ("", 1.0),
    "B=4096 D=10": ("B 1024 to 4096", 17.0),
    "B=1024 D=50": ("D 10 to 50", 5.5),
    "B=1024 D=10 S=8": ("8 samples", 8.5),
}
"""By size, what grows from the first of them, and how many times the time it may take at most."""

WARM = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""Settings with which glibc keeps what was freed.

Page faults, two thirds of the naive estimator's time, do not count then.
"""


Goal = dict[str, Any]


def marginal(
    threads: int = 1,
    repeats: int | None = None,
    quick: bool = False,
    full: bool = False,
    json: Path | None = None,
) -> dict[str, Any]:
    """Measure the pairwise estimator, forward and backward, beside the naive one.

    Args:
        threads: Threads of torch.
        repeats: Timed repetitions.
        quick: Take under a minute.
        full: Take sizes up to B = 4,096 as well.
        json: A file that the figures are written to as well.

    Returns:
        Times, memory, errors, growth and goals. Cold and warm heap are two child processes.
    """
    repeats = repeats or (5 if quick else 11)
    console = terminal.console()
    out: dict[str, Any] = {
        "machine": machine(threads),
        "back end": native.status(),
        "load before": load(),
    }
    console.print(
        "estimator of log q(z) of the joint, groups of 2, 3 and 5 units, and units; forward and "
        f"backward\n{out['machine']}, load before {out['load before']:.2f}\nback end: "
        f"{out['back end']}",
        highlight=False,
    )
    task = {"sizes": _sizes(quick, full), "repeats": repeats, "threads": threads}
    for heap in ("cold", "warm"):
        out[heap] = _child(heap, task)
    out["growth"] = _child("cold", {**task, "sizes": [], "growth": True})["growth"]
    out["error"] = {f"{scale:g}": errors(scale) for scale in (1.0, 0.1, 1e-2, 1e-3, 1e-4)}
    out["load after"] = load()
    out["goals"] = list(_goals(out))
    _show(console, out)
    if json:
        json.write_text(dumps(out, indent=1), encoding="utf-8")
    return out


def _sizes(quick: bool, full: bool) -> list[tuple[int, int]]:
    """Return the sizes (B, D) to measure."""
    sizes = {(128, 10), (1024, 10)}
    if not quick:
        sizes.add((1024, 50))
    if full:
        sizes |= {(512, 10), (2048, 10), (4096, 10)}
        sizes |= {(128, 50), (512, 50), (2048, 50), (4096, 50)}
    return sorted(sizes, key=lambda size: (size[1], size[0]))


# -- the child -------------------------------------------------------------------------------------


def _child(heap: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return what a process of its own measures.

    The heap's mode is read when a process starts, and what others left in memory does not count.
    """
    extra = WARM if heap == "warm" else {}
    done = subprocess.run(
        [sys.executable, "-c", "from unweave.checks import bench_marginal as b; b._measure()"],
        input=dumps(task),
        env={**os.environ, "OMP_NUM_THREADS": str(task["threads"]), **extra},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last_words = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"the process with a {heap} heap failed: {last_words}")
    result: dict[str, Any] = loads(done.stdout)
    return result


def _measure() -> None:
    """Read a task from standard input, and write what was measured to standard output."""
    task = loads(sys.stdin.read())
    torch.set_num_threads(task["threads"])
    rows = [_row(batch, units, task) for batch, units in task["sizes"]]
    growth = _growth(task) if task.get("growth") else {}
    print(dumps({"rows": rows, "growth": growth}))


def _row(batch: int, units: int, task: dict[str, Any]) -> dict[str, Any]:
    """Return the times and the memory of all estimators that fit into memory at a size."""
    found = estimators()
    if 34 * batch**2 * units >= _available():
        found = _fused(found)
    x = Problem.random(batch, units)
    steps = {name: partial(loss, x, estimate) for name, estimate in found.items()}
    times = timed(steps, task["repeats"], wall=task["threads"] > 1)
    memory = {name: _peak(step) for name, step in steps.items()}
    return {"B": batch, "D": units, "seconds": times, "memory": memory}


def _growth(task: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the times of the fused estimators at the sizes of `GROWTH`."""
    sizes = ((1024, 10, 0), (4096, 10, 0), (1024, 50, 0), (1024, 10, 8))
    problems = dict(zip(GROWTH, (Problem.random(*size) for size in sizes), strict=True))
    growth = {}
    for name, estimate in _fused(estimators()).items():
        steps = {label: partial(loss, x, estimate) for label, x in problems.items()}
        growth[name] = timed(steps, task["repeats"], wall=task["threads"] > 1)
    return growth


def _fused(found: Mapping[str, Estimator]) -> dict[str, Estimator]:
    """Leave out the estimators that hold all pairs at once."""
    return {name: found[name] for name in found if name not in ("naive", "plain")}


# -- memory ----------------------------------------------------------------------------------------


def _available() -> float:
    """Return the bytes of memory that are free, as far as the system says."""
    try:
        return _kilobytes("/proc/meminfo", "MemAvailable")
    except (OSError, KeyError, ValueError):
        return 4e9


def _peak(run: Callable[[], Any]) -> int | None:
    """Return the bytes by which the process grows at most, beyond what it has when warm.

    Where the system does not say, it is None.
    """
    try:
        pure.forget()  # what is kept from call to call counts as well
        ctypes.CDLL(None).malloc_trim(0)  # what others freed would be used again unseen
        Path("/proc/self/clear_refs").write_text("5")
        before = _kilobytes("/proc/self/status", "VmRSS")
        run()
        return _kilobytes("/proc/self/status", "VmHWM") - before
    except (OSError, KeyError, AttributeError):
        return None


def _kilobytes(path: str, key: str) -> int:
    """Return a number of kilobytes that the system says, in bytes."""
    lines = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return 1024 * int(lines[key].split()[0])


# -- goals -----------------------------------------------------------------------------------------


def _goals(out: dict[str, Any]) -> Iterator[Goal]:
    """Yield each goal with what was measured.

    It is inconclusive where times are noisy and the limit is between their quartiles.
    """
    busy = is_busy(out["load before"], out["load after"])
    yield from _goals_of_speed(out, busy)
    yield from _goals_of_memory(out["cold"]["rows"])
    yield from _goals_of_growth(out["growth"], busy)
    yield from _goals_of_precision(out["error"])


def _goal(text: str, value: float, limit: float, met: bool, noisy: bool = False) -> Goal:
    return {"goal": text, "measured": value, "limit": limit, "verdict": verdict(met, noisy)}


def _is_noisy(low: float, mid: float, high: float, limit: float, busy: bool) -> bool:
    return low < limit < high and (busy or high - low > 0.3 * mid)


def _goals_of_speed(out: dict[str, Any], busy: bool) -> Iterator[Goal]:
    seconds = {}
    for heap in ("cold", "warm"):
        for row in out[heap]["rows"]:
            seconds[row["B"], row["D"], heap] = row["seconds"]
    for name, wanted in GOALS.items():
        for size, least in wanted.items():
            times = seconds.get(size, {})
            if name in times and "naive" in times:
                batch, units, heap = size
                low, mid, high = ratios(times["naive"], times[name])
                noisy = _is_noisy(low, mid, high, least, busy)
                where = f"{name}, B={batch} D={units}, {heap} heap"
                text = f"{where}: at least {least:g} times as fast as naive"
                yield _goal(text, mid, least, mid >= least, noisy)


def _goals_of_memory(rows: list[dict[str, Any]]) -> Iterator[Goal]:
    for row in rows:
        batch, units = row["B"], row["D"]
        most = 8e6 + 64 * 2 * batch * units
        for name, peak in row["memory"].items():
            if name in GOALS and peak is not None:
                text = f"{name}, B={batch} D={units}: at most 8 MB + 64 (S+1) B D bytes"
                yield _goal(text, peak / 1e6, most / 1e6, peak <= most)


def _goals_of_growth(growth: dict[str, Any], busy: bool) -> Iterator[Goal]:
    first, *others = GROWTH
    for name, times in growth.items():
        for label in others:
            text, most = GROWTH[label]
            low, mid, high = ratios(times[label], times[first])
            noisy = _is_noisy(low, mid, high, most, busy)
            whole = f"{name}, {text}: at most {most:g} times the time"
            yield _goal(whole, mid, most, mid <= most, noisy)


def _goals_of_precision(error: dict[str, Any]) -> Iterator[Goal]:
    for name in GOALS:
        found = [by_name[name] for by_name in error.values() if name in by_name]
        if not found:
            continue
        for kind, most in (("value", 1e-4), ("gradient", 1e-6)):
            worst = max(errors[kind] for errors in found)
            text = f"{name}, std 1e-4 to 1: float32 error in {kind}s at most {most:g}"
            yield _goal(text, worst, most, worst <= most)


# -- in the terminal -------------------------------------------------------------------------------


def _show(console: Console, out: dict[str, Any]) -> None:
    for heap in ("cold", "warm"):
        console.print(_times(heap, out[heap]["rows"]))
    console.print(_precision(out["error"]))
    for name, times in out["growth"].items():
        console.print(_growth_in_words(name, times), highlight=False)
    table = Table("goal", "measured", "", box=None, pad_edge=False)
    for goal in out["goals"]:
        table.add_row(goal["goal"], f"{goal['measured']:.3g}", goal["verdict"])
    console.print(table)
    console.print(f"medians [quartiles]; load after {out['load after']:.2f}")


def _times(heap: str, rows: list[dict[str, Any]]) -> Table:
    heads = ("B", "D", "", f"ms, {heap} heap", "times naive", "peak, MB")
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        slowest = row["seconds"].get("naive")
        for name, seconds in row["seconds"].items():
            times = f"{ratios(slowest, seconds)[1]:.1f}" if slowest else "not run: memory"
            peak = row["memory"][name]
            size = "-" if peak is None else f"{peak / 1e6:.1f}"
            table.add_row(str(row["B"]), str(row["D"]), name, quartiles(seconds), times, size)
    return table


def _precision(error: dict[str, Any]) -> Table:
    table = Table("float32 error, std", *error, box=None, pad_edge=False)
    for name in next(iter(error.values())):
        for kind in ("value", "gradient"):
            cells = [f"{by_name[name][kind]:.0e}" for by_name in error.values()]
            table.add_row(f"{name}, {kind}", *cells)
    return table


def _growth_in_words(name: str, times: dict[str, list[float]]) -> str:
    base, larger, wider, drawn = (statistics.median(seconds) for seconds in times.values())
    return (
        f"{name}: time grows as B^{math.log(larger / base, 4):.2f} and "
        f"D^{math.log(wider / base, 5):.2f}, 8 samples take {drawn / base:.2f} times as long as one"
    )
