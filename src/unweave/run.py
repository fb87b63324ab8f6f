"""A run: a recipe in, a folder out; resumable bit for bit, at any moment.

A checkpoint is whole or absent; the last good one is found, and training goes on from it as if
nothing had happened. Where several ranks train together (see `distributed`), rank 0 alone reads and
writes the folder.
"""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from .evaluation.evaluate import evaluate as evaluate_run
from .models import Model
from .pages import run as report
from .ranks import agreed, alone, first, joined, share, world
from .runs import artifact
from .runs.files import append, read_json, read_lines, replacing, sweep
from .training.progress import Progress
from .training.settings import describe
from .training.trainer import NonFinite, Recipe, Trainer, device_of


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the trained model, the curves, and (once evaluated) the
    scores.
    """

    folder: Path
    model: Model
    history: list[dict[str, Any]]
    scores: dict[str, Any]


class Interrupted(Exception):
    """Training was asked to stop and saved its state first."""


def fit(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    evaluate: bool = True,
    device: str | None = None,
    quiet: bool = False,
) -> Run:
    """Trains `recipe` into the folder `out`; then evaluates it and writes its report.

    `resume` goes on from the last good checkpoint of `out`. Errors: FileExistsError if `out` holds
    something and neither `resume` nor `overwrite` is set; ValueError for a folder of another
    version or recipe; NonFinite; Interrupted after Ctrl-C, with the state saved. What cannot be
    trained is refused before the folder is touched.

    Started by `torchrun`, its processes train together, `recipe.batch` items a step in all; all
    return the same model and curves, rank 0 alone the scores. A run goes on bit for bit with as
    many ranks as before, and with another number from the same weights. Errors then also:
    ConnectionError if another rank is lost.
    """
    folder = Path(out)
    with joined() as (rank, ranks), torch.random.fork_rng(_gpus(device)):
        quiet = quiet or rank > 0
        trainer = Trainer(recipe, device)
        settings = _settings(trainer)
        first(partial(_open, folder, settings, resume, overwrite))
        last = first(partial(load_checkpoint, folder)) if resume else None
        if last is not None:
            trainer.restore(last)
            before = 1 + len(last.get("noise_elsewhere", ()))
            if before != ranks and not quiet:
                text = f"{before} trained before, now {ranks}: other noise than without the stop, but as good"
                print(f"note: ranks: {text}", file=sys.stderr, flush=True)
        first(partial(_keep_history, folder, trainer.step))
        _train(trainer, folder, quiet)
        history = first(partial(read_lines, folder / "metrics.jsonl"))
    model = trainer.model.eval()
    scores: dict[str, Any] = {}
    if evaluate and rank == 0:
        if not quiet:
            print(
                f"evaluating on {len(recipe.data):,} items: a minute or a few",
                file=sys.stderr,
                flush=True,
            )
        with alone():
            scores = evaluate_run(recipe, model, folder)
            report.write(folder)
    return Run(folder, model, history, scores)


def _gpus(device: str | None) -> list[torch.device]:
    """The one that is used, if one is: others' random states are none of ours."""
    place = device_of(device)
    return [place] if place.type == "cuda" else []


def _train(trainer: Trainer, folder: Path, quiet: bool) -> None:
    recipe = trainer.recipe
    with (
        _interruptible() as asked,
        Progress(recipe, trainer.per_epoch, trainer.step, quiet) as progress,
    ):

        def stop() -> bool:
            return agreed(asked())

        while not trainer.done:
            started, before = time.perf_counter(), trainer.seconds

            def shown(trainer: Trainer, started: float = started, before: float = before) -> None:
                trainer.seconds = before + time.perf_counter() - started
                progress.show(trainer.step, trainer.seconds, trainer.sums, trainer.counted)

            try:
                trainer.run_epoch(stop, shown)
                if trainer.step % trainer.per_epoch == 0:
                    lines = list(trainer.close_epoch())
                    text = "".join(json.dumps(line) + "\n" for line in lines)
                    first(lambda text=text: append(folder / "metrics.jsonl", text))  # type: ignore[misc]
                    progress.epoch(lines)
                    progress.alarm(trainer.alarms)
                save_checkpoint(folder, trainer)
            except NonFinite as error:
                first(partial(_give_up, folder, _first_fault(trainer, folder) or str(error)))
            except ConnectionError as error:
                raise ConnectionError(
                    f"{error}. {_last_good(folder)}; go on with: {_resume(folder)}"
                ) from error
            if stop() and not trainer.done:
                raise Interrupted(
                    f"stopped at step {trainer.step} and saved; go on with: {_resume(folder)}"
                )
    if trainer.best is not None:
        trainer.model.load_state_dict(trainer.best["model"])
    share(
        trainer.model.state_dict().values()
    )  # batch normalisation has seen other items at other ranks
    first(partial(_finish, folder, trainer))


def _finish(folder: Path, trainer: Trainer) -> None:
    config = artifact.read_config(folder)
    seconds = round(trainer.seconds, 1)
    artifact.save(
        trainer.model.eval(), folder, {**config, "seconds": seconds, "epochs": trainer.epoch}
    )


def _give_up(folder: Path, fault: str) -> NoReturn:
    raise NonFinite(f"{fault}. {_last_good(folder)}") from None


def _resume(folder: Path) -> str:
    """The command that goes on with a run, by as many ranks."""
    ranks = world()[1]
    start = ["torchrun", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    return shlex.join([*start, "unweave", "resume", str(folder)])


def _first_fault(trainer: Trainer, folder: Path) -> str | None:
    """Where losses are read now and then: goes over the steps since the last checkpoint again,
    reading each.
    """
    if trainer.check_every == 1:
        return None
    again, last = (
        Trainer(trainer.recipe, str(trainer.device)),
        first(partial(load_checkpoint, folder)),
    )
    again.check_every = 1
    if last is not None:
        again.restore(last)
    try:
        while again.step <= trainer.step:
            again.run_epoch(lambda: again.step > trainer.step, lambda _: None)
    except NonFinite as error:
        return str(error)
    return None


# -- the run folder --------------------------------------------------------------------------------


SETTINGS = (
    "recipe",
    "flags",
    "model",
    "groups",
    "objective",
    "estimator",
    "data",
    "seed",
    "batch",
    "lr",
)
"""What must not change between a run and its resumption; it may be given more epochs."""

FILES = (
    "model.safetensors",
    "metrics.jsonl",
    "scores.json",
    "evaluation.npz",
    "README.md",
    "report.html",
)
"""A run's files: beside its checkpoints, all that --overwrite removes."""


def _settings(trainer: Trainer) -> dict[str, Any]:
    """What config.json says of the run before it has begun."""
    settings = describe(trainer.recipe, trainer.model) | {
        "estimator": trainer.estimator,
        "device": str(trainer.device),
    }
    settings |= {"ranks": world()[1], "gather": trainer.recipe.gather}
    ours: dict[str, Any] = json.loads(json.dumps(settings))
    return ours


def _open(folder: Path, ours: dict[str, Any], resume: bool, overwrite: bool) -> None:
    if resume:
        sweep(folder)
        config = artifact.read_config(folder)
        for key in SETTINGS:
            if config.get(key) != ours[key]:
                raise ValueError(
                    f"{folder} was trained with {key} = {config.get(key)!r}, not {ours[key]!r}: "
                    "resume it as it was, or train into another folder"
                )
        return
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        is_run = _is_run(folder)
        if not overwrite or not is_run:
            fix = (
                "go on with `unweave resume`, replace it with --overwrite, or choose another --out"
                if is_run
                else "it is no unweave run, so it is left alone: choose another --out"
            )
            raise FileExistsError(f"{folder} already exists and is not empty: {fix}")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    artifact.write_config(folder, ours)


def _is_run(folder: Path) -> bool:
    """Whether training wrote the folder, in whatever version."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"format", "unweave", "recipe"} <= config.keys()


def _keep_history(folder: Path, step: int) -> None:
    """Drops lines written after the checkpoint that training goes on from."""
    with replacing(folder / "metrics.jsonl") as draft:
        draft.write_text(
            "".join(
                json.dumps(line) + "\n"
                for line in read_lines(folder / "metrics.jsonl")
                if line["step"] <= step
            )
        )


def save_checkpoint(folder: Path, trainer: Trainer, keep: int = 2) -> Path:
    """Writes the trainer's state, whole or not at all, and leaves the last `keep`."""
    return first(partial(_save, folder, trainer.state(), keep))


def _save(folder: Path, state: dict[str, Any], keep: int) -> Path:
    if not all(
        bool(torch.isfinite(t).all()) for t in state["model"].values() if t.is_floating_point()
    ):
        raise NonFinite(
            f"the weights became NaN or infinite by step {state['step']}. {_last_good(folder)}"
        )
    path = folder / "checkpoints" / f"{state['step']:09d}.pt"
    with replacing(path) as draft:
        buffer = io.BytesIO()  # torch's own writer does not say that a disk is full
        torch.save(state, buffer)
        draft.write_bytes(buffer.getbuffer())
    for old in sorted(path.parent.glob("*.pt"))[:-keep]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint that can be read; None if there is none yet (training begins anew, from
    the same seed).

    Errors: ValueError if there are checkpoints and all are damaged, or a finished model without
    any.
    """
    paths = sorted((folder / "checkpoints").glob("*.pt"), reverse=True)
    for path in paths:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            continue
        if isinstance(state, dict) and state.get("format") == artifact.FORMAT:
            return state
    if paths:
        raise ValueError(
            f"no checkpoint in {paths[0].parent} can be read ({', '.join(p.name for p in paths)}): "
            "they are damaged or of another version; train again with --overwrite, or into "
            "another folder"
        )
    if (folder / "model.safetensors").exists():
        raise ValueError(
            f"{folder} holds a finished model without its checkpoints: there is nothing to go on "
            f"from; `unweave evaluate {folder}` scores it again"
        )
    return None


def _last_good(folder: Path) -> str:
    paths = sorted((folder / "checkpoints").glob("*.pt"))
    return f"The last good checkpoint is {paths[-1]}" if paths else "There is no checkpoint yet"


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C is remembered, the second is Python's own."""
    asked: list[int] = []

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not in the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)
