"""A run: a recipe in, a folder out; resumable bit for bit, at any moment."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .models import Model
from .ranks import alone, first, joined
from .runs.files import read_lines
from .runs.lock import held
from .training.checkpoints import load_checkpoint
from .training.device import device_of
from .training.folder import create, keep_history, reopen
from .training.loop import train
from .training.recipe import Recipe
from .training.settings import describe
from .training.trainer import Trainer


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the model, the curves, and (once evaluated) the scores."""

    folder: Path
    model: Model
    history: list[dict[str, Any]]
    scores: dict[str, Any]


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

    Raises:
        FileExistsError: If `out` holds something and neither `resume` nor `overwrite` is set.
        FileNotFoundError: If there is no run to resume.
        ValueError: If the recipe cannot be trained, or the folder is of another version or recipe.
        NonFinite: If the loss or a weight becomes NaN or infinite.
        Interrupted: After Ctrl-C, with the state saved.
        ConnectionError: If another rank is lost.
    """
    folder = Path(out)
    with joined() as (rank, ranks), torch.random.fork_rng(_gpus(device)), ExitStack() as stack:
        quiet = quiet or rank > 0
        trainer = Trainer(recipe, device)
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
        train(trainer, folder, quiet, place)
        history = first(partial(read_lines, folder / "metrics.jsonl"))
    model = trainer.model.eval()
    scores: dict[str, Any] = {}
    if evaluate and rank == 0:
        if not quiet:
            _say(f"evaluating on {len(recipe.data):,} items")
        # scikit-learn and matplotlib, which training needs not, take as long to import as torch
        from .evaluation.evaluate import evaluate as evaluate_run
        from .pages import run as report

        with alone():
            scores = evaluate_run(recipe, model, folder, quick=quick, quiet=quiet)
            report.write(folder)
        if not quiet:
            for remark in scores.get("remarks", ()):
                _say(f"note: {remark}")
            for line in report.summary(folder):
                _say(line)
    return Run(folder, model, history, scores)


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
