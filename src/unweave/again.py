"""A run opened again from its folder: its recipe and model, built as they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import recipes

if TYPE_CHECKING:
    from .explorer.session import Session
    from .models import Model
    from .run import Run
    from .training.recipe import Recipe


@contextlib.contextmanager
def where_it_began(run: Path) -> Iterator[Path]:
    """Work where a run was started, as relative paths in its flags begin there.

    Where that folder is gone, they begin in the current one.

    Yields:
        The run's folder, an absolute path.
    """
    from .runs.artifact import read_config
    from .training.overwrite import recover

    folder = run.absolute()
    recover(folder)
    began = Path(read_config(run).get("cwd", "."))
    with contextlib.chdir(began if began.is_dir() else "."):
        yield folder


def recipe_of(run: Path, epochs: int | None = None) -> Recipe:
    """Build the recipe that a run folder was trained from, or one of more epochs.

    Raises:
        ValueError: If the run is none of a recipe of the package, or has no flag for epochs.
    """
    from .runs.artifact import read_config
    from .runs.command import HOW
    from .studies import grid

    config = read_config(run)
    name = config.get("recipe", "").replace("-", "_")
    if not name:
        raise ValueError(
            f"{run} holds a saved model, but no run: it does not say what it was trained on"
        )
    if name not in recipes.__all__:
        raise ValueError(
            f"{run} was trained from a recipe of its author's own, {config['recipe']!r}: go on "
            "with it from Python, `unweave.fit(recipe, out, resume=True)`"
        )
    try:
        more = {} if epochs is None else {"epochs": epochs}
        flags = grid.complete(name, config.get("flags", {}) | more)
    except ValueError as error:
        raise ValueError(
            f"{run}/config.json does not fit the recipe {config['recipe']!r}: {error}"
        ) from None
    recipe: Recipe = getattr(recipes, name)(**flags)
    how = {name: config[name] for name in HOW if name in config}
    return replace(recipe, **how)


def sessions(runs: Sequence[str | Path]) -> list[Session]:
    """Return runs as the explorer sees them, all over the items of the first.

    Raises:
        ValueError: If there are more than two, or their items have other shapes.
    """
    from .explorer.session import Session
    from .runs.artifact import load

    if not 1 <= len(runs) <= 2:
        raise ValueError(f"{len(runs)} runs: expected one, or two to see side by side")
    found: list[Session] = []
    for run in runs:
        with where_it_began(Path(run)) as folder:
            recipe = recipe_of(folder)
            data, model = recipe.test or recipe.data, load(folder)
        if found and found[0].data.shape != data.shape:
            raise ValueError(
                f"{run} has items of shape {data.shape}, {runs[0]} of {found[0].data.shape}: "
                "expected two runs of the same items"
            )
        found.append(Session(model, found[0].data if found else data, folder, recipe.groups))
    return found


def open(folder: str | Path, model: Model | None = None) -> Run:
    """Return the finished run in a folder, as `fit` returned it.

    Args:
        folder: The run's folder.
        model: The model, built as for training, where it is one of your own; a model of a family is
            rebuilt from the folder.

    Raises:
        FileNotFoundError: If the folder is no run, or the run did not finish.
        ValueError: If a file is damaged or of another version, or the model is of no family.
    """
    from .run import Run
    from .runs import config
    from .runs import scores as scores_of_runs
    from .runs.artifact import load
    from .runs.files import read_lines

    folder = Path(folder)
    loaded = load(folder, model)
    settings = config.read(folder)
    if not settings.get("recipe"):
        raise ValueError(f"{folder} holds a saved model, but no run: `load` returns the model")
    scored = (folder / scores_of_runs.FILE).exists()
    scores = scores_of_runs.plain(scores_of_runs.read(folder)) if scored else {}
    history = read_lines(folder / "metrics.jsonl")
    return Run(folder, loaded, history, scores, partial(_recipe_where_it_began, folder))


def _recipe_where_it_began(run: Path) -> Recipe:
    """Build the recipe of a run, relative paths in its flags beginning where it began."""
    with where_it_began(run) as folder:
        return recipe_of(folder)
