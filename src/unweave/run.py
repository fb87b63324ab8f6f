"""A run: a recipe in, a folder out; resumable bit for bit, at any moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .models import Model
from .ranks import alone, first, joined
from .runs import config
from .runs.files import read_lines
from .runs.lock import held
from .shown import as_html, as_text
from .training.checkpoints import load_checkpoint
from .training.device import device_of
from .training.folder import create, keep_history, reopen
from .training.loop import OnLog, train
from .training.recipe import Recipe
from .training.settings import describe
from .training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .runs.scores import Scores


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run: its folder, the model, the curves, and (once evaluated) the scores.

    Attributes:
        folder: The run's folder.
        model: The trained model.
        history: The lines of the log, a dict each.
        scores: The scores as scores.json has them; empty before evaluation.
        build: A function that returns the recipe, and reads the data anew where the run was opened.
    """

    folder: Path
    model: Model
    history: list[dict[str, Any]]
    scores: dict[str, Any]
    build: Callable[[], Recipe] = field(compare=False)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with its data; an opened run reads them when they are first asked for.

        Raises:
            ValueError: If the recipe of an opened run is its author's own.
        """
        return self.build()

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run: the recipe with its flags, the objective, data and machine."""
        return config.read(self.folder)

    @property
    def measured(self) -> Scores:
        """The scores by their types, as `run.measured.test["elbo"].value`."""
        from .runs.scores import typed

        return typed(self.scores)

    def frame(self) -> Any:
        """Return the history as a data frame of pandas, a row for each epoch and split.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(self.history)

    def figures(self) -> dict[str, Figure]:
        """Return the curves of training, one figure for each term in nats, by the terms' names."""
        from .pages.diagrams import figures

        return figures(self.history)

    def __repr__(self) -> str:
        return as_text(f"Run({str(self.folder)!r})", self._rows())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the settings and the scores as a table."""
        return as_html(str(self.folder), self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        """Return what a reader wants first, as names and values."""
        rows = []
        if (self.folder / config.FILE).exists():  # a folder may be gone by now
            settings = self.config
            data = settings["data"]
            rows += [
                ("recipe", f"{settings['recipe']}, seed {settings['seed']}"),
                ("data", f"{data['name']}, {data['n']:,} items"),
                ("objective", settings["objective"]),
                ("seconds", f"{settings.get('seconds') or 0:.0f}"),
            ]
        if self.history:
            rows.append(("epochs", str(self.history[-1]["epoch"])))
        for term, (value, error) in self.measured.test.items():
            spread = "" if error is None else f" ± {error:.2f}"
            rows.append((term, f"{value:.2f}{spread} nats, test"))
        for name, metric in self.measured.metrics.items():
            if metric.value is not None:
                rows.append((name, f"{metric.value:.3f}"))
        return rows


def fit(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    evaluate: bool = True,
    quick: bool = False,
    device: str | None = None,
    quiet: bool = False,
    on_log: OnLog | None = None,
) -> Run:
    """Train `recipe` into a folder; then evaluate it and write its report.

    A recipe that cannot be trained is refused before the folder is touched.

    Started by `torchrun`, its processes train together, `recipe.batch` items a step in all; all
    return the same model and curves, rank 0 alone the scores. A run goes on bit for bit with as
    many ranks as before, and with another number from the same weights.

    Args:
        recipe: The plan of the training.
        out: The folder.
        resume: If true, go on from the last good checkpoint of the folder.
        overwrite: If true, replace a run that is there.
        evaluate: If true, evaluate the model and write the report.
        quick: If true, evaluate on fewer items, sooner and with larger errors.
        device: The name of the device, by default a GPU where there is one.
        quiet: If true, say nothing.
        on_log: A function that is called with each line of the log, at rank 0 and once the line is
            written: one of the training items after each epoch, and one of those held out. A run
            that goes on from a checkpoint calls it for the lines that are new.

    Raises:
        FileExistsError: If `out` holds something and neither `resume` nor `overwrite` is set.
        FileNotFoundError: If there is no run to resume.
        ValueError: If the recipe cannot be trained, or the folder is of another version or recipe.
        NonFinite: If the loss or a weight becomes NaN or infinite.
        Interrupted: After Ctrl-C, with the state saved.
        ConnectionError: If another rank is lost.
    """
    folder = Path(out)
    with ExitStack() as stack:  # the folder is held until its page is written
        with joined() as (rank, ranks), torch.random.fork_rng(_gpus(device)):
            quiet = quiet or rank > 0
            trainer = Trainer(recipe, device)
            if recipe.from_run is not None and not resume:
                trainer.begin()  # weights that do not fit are refused
            settings = describe(recipe, trainer.model, trainer.device)
            first(partial(stack.enter_context, held(folder)))
            place = folder
            if resume:
                notes = first(partial(reopen, folder, settings))
                for note in () if quiet else notes:
                    _say(f"note: {note}")
                _restore(trainer, folder, ranks, quiet)
            else:
                place = first(partial(create, folder, settings, overwrite))
            first(partial(keep_history, place, trainer.step))
            train(trainer, folder, quiet, place, on_log)
            history = first(partial(read_lines, folder / "metrics.jsonl"))
        model = trainer.model.eval()
        scores: dict[str, Any] = {}
        if evaluate and rank == 0:
            scores = _score(recipe, model, folder, quick, quiet)
    return Run(folder, model, history, scores, lambda: recipe)


def _score(recipe: Recipe, model: Model, folder: Path, quick: bool, quiet: bool) -> dict[str, Any]:
    """Evaluate the model, write the report, and return the scores."""
    if not quiet:
        _say(f"evaluating on {len(recipe.data):,} items")
    # scikit-learn and matplotlib, which training needs not, take as long to import as torch
    from .evaluation.evaluate import evaluate
    from .pages import run as report

    with alone():
        scores = evaluate(recipe, model, folder, quick=quick, quiet=quiet)
        report.write(folder)
    if not quiet:
        for remark in scores.get("remarks", ()):
            _say(f"note: {remark}")
        for line in report.summary(folder):
            _say(line)
    return scores


def _restore(trainer: Trainer, folder: Path, ranks: int, quiet: bool) -> None:
    """Put the trainer into the state of the last good checkpoint, if there is one."""
    last = first(partial(load_checkpoint, folder))
    if last is None:
        return
    trainer.restore(last)
    before = 1 + len(last.get("noise_elsewhere", ()))
    if before != ranks and not quiet:
        _say(
            f"note: ranks: {before} trained before, now {ranks}: other noise than without the "
            "stop, but as good"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _gpus(device: str | None) -> list[torch.device]:
    """Return the GPU that is used, if one is; the random states of others are left alone."""
    place = device_of(device)
    return [place] if place.type == "cuda" else []
