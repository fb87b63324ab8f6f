"""Trackers: tools in which people watch runs, each told the log line by line.

A tracker is a generator that is sent the lines. It imports its package before the first, and opens
what it writes with it: by then the run's folder is there.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from ..runs import config
from ..runs.files import read_lines
from .loop import OnLog

Line: TypeAlias = dict[str, Any]
Tracker: TypeAlias = Generator[None, Line, None]

PLAIN = str.maketrans("[", ".", "]")
"""Characters of a name as MLflow allows them: tc[0] becomes tc.0."""


@contextmanager
def tracker(name: str, folder: str | Path) -> Iterator[OnLog]:
    """Open a tracker for the time of a training: `fit(recipe, folder, on_log=...)` tells it.

    A run that is resumed goes on in the same curves. `wandb`, `mlflow` and `trackio` take their
    settings (project, server, offline) from their own environment variables.

    Args:
        name: One of `TRACKERS`.
        folder: The run's folder.

    Yields:
        The function that is told each line.

    Raises:
        KeyError: If there is no such tracker.
        ModuleNotFoundError: If its package is not installed.
    """
    if name not in TRACKERS:
        raise KeyError(f"no tracker {name!r}; expected one of: {', '.join(TRACKERS)}")
    with closing(TRACKERS[name](Path(folder))) as lines:
        next(lines)
        yield lines.send


def _csv(folder: Path) -> Tracker:
    """Write metrics.csv into the run's folder: a row for each epoch and split."""
    line = yield
    known = read_lines(folder / "metrics.jsonl")
    with open(folder / "metrics.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(line))
        table.writeheader()
        table.writerows(before for before in known if before["step"] < line["step"])
        while True:
            table.writerow(line)
            file.flush()
            line = yield


def _tensorboard(folder: Path) -> Tracker:
    """Write events into the run's folder: `tensorboard --logdir runs` shows all runs."""
    import tensorboard  # noqa: F401 - torch would not say which extra brings it
    from torch.utils.tensorboard import SummaryWriter

    line = yield
    # what was drawn of this step or a later one is of a run that was replaced or stopped
    with SummaryWriter(str(folder / "tensorboard"), purge_step=line["step"]) as writer:
        while True:
            for name, value in _curves(line).items():
                writer.add_scalar(name, value, line["step"])
            writer.flush()
            line = yield


def _wandb(folder: Path) -> Tracker:
    """Log to Weights & Biases."""
    import wandb

    line = yield
    about = {"name": folder.name, "config": _settings(folder), "dir": str(folder)}
    with wandb.init(id=_id(folder), resume="allow", **about) as run:
        while True:
            run.log(_curves(line), step=line["step"])
            line = yield


def _mlflow(folder: Path) -> Tracker:
    """Log to MLflow; the run is found again by its tag."""
    import mlflow

    line = yield
    tag = {"unweave.id": _id(folder)}
    query = f"tags.`unweave.id` = '{_id(folder)}'"
    known = mlflow.search_runs(filter_string=query, output_format="list")
    again = known[0].info.run_id if known else None
    with mlflow.start_run(run_id=again, run_name=folder.name, tags=tag):
        mlflow.log_params(_settings(folder))
        while True:
            curves = {name.translate(PLAIN): value for name, value in _curves(line).items()}
            mlflow.log_metrics(curves, step=line["step"])
            line = yield


def _trackio(folder: Path) -> Tracker:
    """Log to Trackio."""
    import trackio

    line = yield
    name = f"{folder.name}-{_id(folder)[:6]}"  # trackio knows runs by their names alone
    trackio.init(project="unweave", name=name, config=_settings(folder), resume="allow")
    try:
        while True:
            trackio.log(_curves(line), step=line["step"])
            line = yield
    finally:
        trackio.finish()


TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
"""The trackers by their names."""


def _curves(line: Line) -> dict[str, float]:
    """Return a line's numbers by names such as elbo/train."""
    apart = ("split", "step")
    return {f"{name}/{line['split']}": value for name, value in line.items() if name not in apart}


def _settings(folder: Path) -> dict[str, Any]:
    """Return what a run is told apart by: its recipe with flags, objective and seed."""
    settings = config.read(folder)
    said = {name: settings[name] for name in ("recipe", "objective", "seed", "epochs", "batch")}
    return {**settings["flags"], **said}


def _id(folder: Path) -> str:
    """Return the run's own id, which a run that is resumed keeps."""
    return str(config.read(folder)["id"])
