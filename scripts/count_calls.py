"""Count the calls that a training step of digits-hfvae makes into each room of the package.

    python scripts/count_calls.py                            # of the tree on PYTHONPATH
    python scripts/count_calls.py --modules --logged 1000    # by module, of a step that is logged

Calls are Python's own, as cProfile counts them: a generator counts once for each item it gives.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections import Counter
from dataclasses import replace
from pathlib import Path

import unweave
from unweave.recipes import digits_hfvae

try:
    from unweave.training.trainer import Trainer
except ModuleNotFoundError:  # a tree from before the package had rooms
    from unweave.train import Trainer

ROOT = Path(unweave.__file__).parent
CORE = ("groups", "objective", "trace")
APART = ("groups", "marginals")
"""Files that are counted as rooms of their own, wherever they are."""


def profiled_step(discrete: str, logged: int, warm: int = 3) -> pstats.Stats:
    """Return the profile of one training step, after `warm` others."""
    recipe = replace(digits_hfvae(discrete=discrete), logged=logged)
    trainer = Trainer(recipe, "cpu")
    batches = trainer.epoch_order(0)
    for items in batches[:warm]:
        trainer.one_step(items)
    profile = cProfile.Profile()
    profile.enable()
    trainer.one_step(batches[warm])
    profile.disable()
    return pstats.Stats(profile)


def calls_by_module(stats: pstats.Stats) -> Counter[str]:
    """Return the number of calls into each file of the package, by its path from the root."""
    calls: Counter[str] = Counter()
    for (file, _, _), (_, count, *_) in stats.stats.items():  # type: ignore[attr-defined]
        path = Path(file)
        if path.is_relative_to(ROOT):
            calls[str(path.relative_to(ROOT))] += count
    return calls


def room(module: str) -> str:
    """Return the part of the package that a file belongs to."""
    path = Path(module).with_suffix("")
    return path.name if path.name in APART else path.parts[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--discrete", default="concrete", choices=("concrete", "categorical"))
    parser.add_argument("--logged", type=int, default=0, help="steps of an epoch that are logged")
    parser.add_argument("--modules", action="store_true", help="print modules, not rooms")
    flags = parser.parse_args()
    stats = profiled_step(flags.discrete, flags.logged)
    modules = calls_by_module(stats)
    rooms: Counter[str] = Counter()
    for module, count in modules.items():
        rooms[room(module)] += count
    for name, count in (modules if flags.modules else rooms).most_common():
        print(f"{count:5}  {name}")
    print(f"{sum(rooms[name] for name in CORE):5}  {' + '.join(CORE)}")


if __name__ == "__main__":
    main()
