"""Agreement of the mouse's syllables between seeds: ARI of states of test sequences, run by run.

    unweave study syllables
    python scripts/syllables.py runs/syllables/*/

The runs are of the recipe `mouse` in the body's frame, and have the same test sequences.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

import unweave as uw
from unweave.recipes.mouse_measures import lawful, moves, states_by


def main() -> None:
    """Print the mean over pairs of runs, and its range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of two runs or more")
    runs = [path for path in parser.parse_args().runs if (path / "config.json").is_file()]
    torch.set_num_threads(1)
    pairs = agreements(runs)
    print(
        f"ARI of states between {len(runs)} runs, {len(pairs)} pairs: "
        f"{np.mean(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f})"
    )


def agreements(runs: Sequence[Path]) -> list[float]:
    """Return the adjusted Rand index of the states of each pair of runs."""
    states = [states_of(run) for run in runs]
    return [uw.metrics.ari(one, other) for one, other in combinations(states, 2)]


def states_of(folder: Path) -> np.ndarray:
    """Return the states of all steps of a run's test sequences, (steps,)."""
    run = uw.open(folder)
    assert run.recipe.test is not None
    steps = moves(run.model, run.recipe.test.floats())
    return states_by(lawful(run.model), steps)[steps.there.numpy()]


if __name__ == "__main__":
    main()
