"""Items read from a file beside items in memory: items a second, and the speed of the disk."""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from rich.table import Table

from .. import models, terminal
from ..data import Data
from ..objective.literature import tc_vae
from ..training.items import Items
from ..training.recipe import Recipe
from ..training.trainer import Trainer
from .timing import load, machine

Array: TypeAlias = np.ndarray[Any, Any]

ITEM = (64, 64, 3)

BATCH = 128

STEPS = 60
"""Steps of training that are timed."""


def streaming(threads: int = 1, repeats: int = 5, megabytes: int = 250) -> None:
    """Time batches in a random order, alone and in training, from memory and from a file.

    Before it is read, the file is put out of the system's cache, so that the disk is asked; rows
    that say "cached" read it from there.

    Args:
        threads: Threads that torch may use.
        repeats: The times that each way is timed, in turn with the others.
        megabytes: The size of the file, which lies in the folder of temporary files.

    Raises:
        OSError: If the system cannot put a file out of its cache.
    """
    if not hasattr(os, "posix_fadvise"):
        raise OSError("bench streaming needs posix_fadvise, which this system does not have")
    torch.set_num_threads(threads)
    console = terminal.console()
    n = megabytes * 10**6 // math.prod(ITEM)
    console.print(
        f"{n:,} items of {ITEM} bytes, {megabytes} MB, in random batches of {BATCH}\n"
        f"{machine(threads)}, load before {load():.2f}",
        highlight=False,
    )
    table = Table("what", "items/s", "MB/s", "of memory's", box=None, pad_edge=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.npy"
        _write(path, n)
        times = _times(path, n, repeats)
    for name, rates in times.items():
        middle = statistics.median(rates)
        of_memory = middle / statistics.median(times[f"{name.split()[0]} from memory"])
        megabytes_a_second = middle * math.prod(ITEM) / 1e6
        table.add_row(name, f"{middle:,.0f}", f"{megabytes_a_second:,.0f}", f"{of_memory:.2f}")
    console.print(table)
    console.print(
        f"medians of {repeats}, by wall time: other processes on the disk or the cores count; load "
        f"after {load():.2f}",
        markup=False,
    )


def _times(path: Path, n: int, repeats: int) -> dict[str, list[float]]:
    """Return the items a second of each way to read them, taken in turn."""
    in_memory = np.load(path)
    some = min(n, STEPS * BATCH)
    ways: dict[str, tuple[int, bool, Callable[[], Callable[[], None]]]] = {
        "batches from memory": (n, False, lambda: batches(in_memory)),
        "batches from the file, cached": (n, False, lambda: batches(_mapped(path))),
        "batches from the file": (n, True, lambda: batches(_mapped(path))),
        "batches not asked for ahead": (n, True, lambda: batches(_mapped(path), asks=False)),
        "batches: the file from end to end": (n, True, lambda: partial(_read, path)),
        "training from memory": (some, False, lambda: training(in_memory)),
        "training from the file": (some, True, lambda: training(_mapped(path))),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (items, is_cold, prepare) in ways.items():
            work = prepare()
            if is_cold:
                _put_out_of_the_cache(path)
            before = time.perf_counter()
            work()
            rates[name].append(items / (time.perf_counter() - before))
    return rates


def _write(path: Path, n: int) -> None:
    """Write items of noise, some at a time."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *ITEM))
    generator = np.random.default_rng(0)
    for start in range(0, n, 1000):
        part = array[start : start + 1000]
        part[:] = generator.integers(0, 256, part.shape, dtype=np.uint8)
    array.flush()


def batches(x: Array, asks: bool = True) -> Callable[[], None]:
    """Return an epoch of batches that are read and not used.

    Args:
        x: The items.
        asks: Whether the system is asked for items some batches ahead.
    """
    recipe = _recipe(x)
    items = Items("training", recipe.data, recipe)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split(BATCH)

    def epoch() -> None:
        for numbers in items.ahead(order) if asks else order:
            items.batch(numbers)

    return epoch


def training(x: Array) -> Callable[[], None]:
    """Return the first steps of an epoch of training."""
    trainer = Trainer(_recipe(x), "cpu")
    return partial(trainer.run_epoch, lambda: trainer.step >= STEPS, lambda _: None)


def _recipe(x: Array) -> Recipe:
    return Recipe(
        "noise",
        Data(x, np.zeros((len(x), 0), np.int64), (), (), (), "noise"),
        lambda: models.vae(ITEM, hidden=(64, 32)),
        tc_vae(6),
        batch=BATCH,
        epochs=1,
    )


def _mapped(path: Path) -> Array:
    return np.asarray(np.load(path, mmap_mode="r"))


def _read(path: Path) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(2**22):
            pass


def _put_out_of_the_cache(path: Path) -> None:
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
