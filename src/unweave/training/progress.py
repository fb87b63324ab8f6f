"""The progress of training: a live bar in a terminal or a notebook, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ..terminal import console
from .recipe import Recipe

FRAME = 0.25
"""Seconds between two drawings of the bar, so that an accelerator is seldom waited for."""

LINES = 20
"""About so many lines are written, however long the run."""


class Progress:
    """The loss split into its terms (nats per item), items a second, time left."""

    def __init__(self, recipe: Recipe, step: int = 0, quiet: bool = False) -> None:
        self.batch = recipe.batch
        self.epochs = recipe.epochs
        self.per_epoch = recipe.per_epoch
        self.steps = recipe.epochs * recipe.per_epoch
        self.quiet = quiet
        self.console = console(file=sys.stderr, quiet=quiet)
        self._bar: _Bar | None = None
        self._next = 0.0
        self._held_out = ""
        if _is_live(self.console) and not quiet:
            self._bar = _bar(self.console)
            self._task = self._bar.add_task(
                recipe.name, total=self.steps, completed=step, epoch="", rate=0.0
            )

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: int, seconds: float, sums: Mapping[str, Any], counted: int) -> None:
        """Draw the bar after a step, now and then."""
        if self._bar is None or (time.monotonic() < self._next and step < self.steps):
            return
        self._next = time.monotonic() + FRAME
        if counted:
            means = {name: float(total) / counted for name, total in sums.items()}
            self._bar.terms = _words(means) + self._held_out
        self._bar.update(
            self._task,
            completed=step,
            epoch=f"{step / self.per_epoch:.1f}/{self.epochs}",
            rate=step * self.batch / max(seconds, 1e-9),
        )

    def epoch(self, lines: list[dict[str, Any]]) -> None:
        """Show the lines of the log that an epoch ends with."""
        if self.quiet or not lines:
            return
        train, *valid = lines
        self._held_out = f"  held-out loss {valid[0]['loss']:.2f}" if valid else ""
        if self._bar is not None:
            self._bar.terms = _words(train) + self._held_out
        elif train["epoch"] % max(1, self.epochs // LINES) == 0 or train["epoch"] == self.epochs:
            self._print(train)

    def _print(self, train: Mapping[str, Any]) -> None:
        step, seconds = train["step"], train["seconds"]
        rate = step * self.batch / max(seconds, 1e-9)
        left = seconds / step * (self.steps - step)
        text = f"epoch {train['epoch']}/{self.epochs}  {_words(train)}{self._held_out}"
        self.say(f"{text}  {rate:,.0f} items/s  {left:.0f} s left")

    def alarm(self, texts: Mapping[str, str]) -> None:
        """Show estimates that no exact value can be."""
        for text in texts.values():
            self.say(f"note: {text}")

    def say(self, text: str) -> None:
        """Show a line."""
        self.console.print(text, highlight=False, soft_wrap=True)


class _Bar(Bar):
    """The bar, with the terms on a line of their own: in a narrow terminal they would hide it."""

    terms = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.terms)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:,.0f} items/s")


def _bar(console: Console) -> _Bar:
    return _Bar(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=24),
        TextColumn("epoch {task.fields[epoch]}"),
        _Rate(),
        TimeRemainingColumn(compact=True),
        console=console,
    )


def _is_live(console: Console) -> bool:
    """Return true if a bar can move: in a terminal, and in a notebook that has ipywidgets."""
    if console.is_jupyter:
        return find_spec("ipywidgets") is not None
    return console.is_terminal


def _words(terms: Mapping[str, Any]) -> str:
    """Return the terms of a line of the log as text."""
    skip = ("split", "step", "epoch", "seconds")
    return "  ".join(f"{name} {value:.2f}" for name, value in terms.items() if name not in skip)
