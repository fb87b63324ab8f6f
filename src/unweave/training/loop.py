"""Training into a folder: epochs, their log, a checkpoint after each, and whatever stops it.

A checkpoint is whole or absent, and training goes on from the last good one as if nothing had
happened, bit for bit. Where several ranks train together (see `ranks`), rank 0 alone reads and
writes the folder.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import torch

from ..ranks import agreed, first, share, world
from ..runs.files import append
from ..signals import heard
from .checkpoints import last_good, load_checkpoint, save_checkpoint
from .faults import NonFinite
from .folder import as_lines, complete
from .overwrite import exchange
from .trainer import Trainer

if TYPE_CHECKING:
    from .progress import Progress


OnLog: TypeAlias = Callable[[dict[str, Any]], None]
"""A function that is told each line of the log."""

MINUTE = 60.0
"""Seconds after which a checkpoint is written within an epoch."""


class Interrupted(Exception):
    """Training was asked to stop and saved its state first."""


def train(
    trainer: Trainer,
    folder: Path,
    quiet: bool = False,
    place: Path | None = None,
    on_log: OnLog | None = None,
) -> None:
    """Train to the end, or until it is stopped; in the end the folder holds the model.

    Args:
        trainer: The model in training.
        folder: The run's folder.
        quiet: If true, show nothing.
        place: The folder that is written until the first checkpoint, where another run is replaced.
        on_log: A function that rank 0 calls with each line of the log, once it is written and a
            run that is replaced has gone.

    Raises:
        NonFinite: If the loss or a weight becomes NaN or infinite.
        Interrupted: After Ctrl-C, SIGTERM or SIGHUP, with the state saved.
        ConnectionError: If another rank is lost.
    """
    from .progress import Progress  # rich is of use to whoever trains, not to all who import

    place = place or folder
    with _interruptible() as asked, Progress(trainer.recipe, trainer.step, quiet) as progress:
        if trainer.recipe.start and not trainer.step:
            progress.say("giving the model its start")
        trainer.begin()
        while not trainer.done:
            due = time.monotonic() + MINUTE

            def stop(due: float = due) -> bool:
                return agreed(bool(asked()) or time.monotonic() > due)

            try:
                lines = _train_epoch(trainer, place, progress, stop)
            except NonFinite as error:
                fault = _first_fault(trainer, place) or str(error)
                first(partial(_give_up, place, fault))
            except ConnectionError as error:
                raise ConnectionError(
                    f"{error}. {last_good(place)}; go on with: {_resume(folder)}"
                ) from error
            if place != folder:
                first(partial(exchange, folder))
                place = folder
            if on_log is not None:
                first(partial(_tell, on_log, lines))
            if agreed(asked()) and not trainer.done:
                raise Interrupted(
                    f"stopped at step {trainer.step} and saved; go on with: {_resume(folder)}"
                )
    if trainer.best is not None:
        trainer.model.load_state_dict(trainer.best["model"])
    trainer.finish()
    # Batch normalisation has seen other items at other ranks.
    share(trainer.model.state_dict().values())
    first(partial(complete, folder, trainer.model, trainer.seconds, trainer.epoch))


def _train_epoch(
    trainer: Trainer, folder: Path, progress: Progress, stop: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Train to the end of the epoch or until `stop()`; write a checkpoint, and an epoch's lines.

    Returns:
        The lines; none if the epoch is not over.
    """
    began = time.perf_counter() - trainer.seconds

    def shown(trainer: Trainer) -> None:
        trainer.seconds = time.perf_counter() - began
        progress.show(trainer.step, trainer.seconds, trainer.sums, trainer.counted)

    lines: list[dict[str, Any]] = []
    trainer.run_epoch(stop, shown)
    if trainer.step % trainer.per_epoch == 0:
        lines = list(trainer.close_epoch())
        first(partial(append, folder / "metrics.jsonl", as_lines(lines)))
        progress.epoch(lines)
        progress.alarm(trainer.alarms)
    save_checkpoint(folder, trainer)
    return lines


def _tell(on_log: OnLog, lines: list[dict[str, Any]]) -> None:
    """Hand over lines of the log; what is drawn meanwhile does not change training's noise."""
    with torch.random.fork_rng():
        for line in lines:
            on_log(line)


def _first_fault(trainer: Trainer, folder: Path) -> str | None:
    """Go over the steps since the last checkpoint again, and return the first fault among them.

    This is needed only where losses are read now and then.
    """
    if trainer.check_every == 1:
        return None
    again = Trainer(trainer.recipe, str(trainer.device))
    again.check_every = 1
    last = first(partial(load_checkpoint, folder))
    if last is not None:
        again.restore(last)
    try:
        while again.step <= trainer.step:
            again.run_epoch(lambda: again.step > trainer.step, lambda _: None)
    except NonFinite as error:
        return str(error)
    return None


def _give_up(folder: Path, fault: str) -> NoReturn:
    raise NonFinite(f"{fault}. {last_good(folder)}") from None


def _resume(folder: Path) -> str:
    """Return the command that goes on with a run, by as many ranks."""
    ranks = world()[1]
    start = ["torchrun", "--nproc-per-node", str(ranks), "-m"] if ranks > 1 else []
    return shlex.join([*start, "unweave", "resume", str(folder)])


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Remember the first signal; the second does what it did before."""
    asked: list[int] = []
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: Any) -> None:
        asked.append(number)
        restore()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        for number in heard():
            previous[number] = signal.signal(number, ask)
    except ValueError:  # not in the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        restore()
