"""What training shows while it runs: a live bar in a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from .trainer import Recipe


class Progress:
    """The loss split into its terms (nats per item), items a second, time left."""

    def __init__(self, recipe: Recipe, per_epoch: int, step: int = 0, quiet: bool = False) -> None:
        self.batch, self.epochs, self.per_epoch, self.quiet = (
            recipe.batch,
            recipe.epochs,
            per_epoch,
            quiet,
        )
        self.console = Console(file=sys.stderr, quiet=quiet)
        self._bar: _Bar | None = None
        self._next, self._held_out = 0.0, ""
        if self.console.is_terminal and not quiet:
            self._bar = _Bar(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("epoch {task.fields[epoch]}"),
                _Rate(),
                TimeRemainingColumn(compact=True),
                console=self.console,
            )
            total = self.epochs * per_epoch
            self._task = self._bar.add_task(
                recipe.name, total=total, completed=step, epoch="", rate=0.0
            )

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, step: int, seconds: float, sums: Mapping[str, Any], counted: int) -> None:
        """Called each step; draws four times a second, so that an accelerator is seldom waited
        for.
        """
        if self._bar is None or (
            time.monotonic() < self._next and step < self.epochs * self.per_epoch
        ):
            return
        self._next = time.monotonic() + 0.25
        if counted:
            self._bar.terms = (
                _words({name: float(total) / counted for name, total in sums.items()})
                + self._held_out
            )
        self._bar.update(
            self._task,
            completed=step,
            epoch=f"{step / self.per_epoch:.1f}/{self.epochs}",
            rate=step * self.batch / max(seconds, 1e-9),
        )

    def epoch(self, lines: list[dict[str, Any]]) -> None:
        """Called as an epoch ends, with its lines of the log."""
        if self.quiet or not lines:
            return
        train, valid = lines[0], lines[1:] and lines[1]
        self._held_out = f"  held-out loss {valid['loss']:.2f}" if valid else ""
        if self._bar is not None:
            self._bar.terms = _words(train) + self._held_out
            return
        if train["epoch"] % max(1, self.epochs // 20) and train["epoch"] != self.epochs:
            return  # some twenty lines, however long the run
        rate = train["step"] * self.batch / max(train["seconds"], 1e-9)
        left = train["seconds"] / train["step"] * (self.epochs * self.per_epoch - train["step"])
        text = f"epoch {train['epoch']}/{self.epochs}  {_words(train)}{self._held_out}"
        self.console.print(
            f"{text}  {rate:,.0f} items/s  {left:.0f} s left", highlight=False, soft_wrap=True
        )

    def alarm(self, texts: Mapping[str, str]) -> None:
        """Says what an estimate cannot be."""
        for text in texts.values():
            self.console.print(f"note: {text}", highlight=False, soft_wrap=True)


class _Bar(Bar):
    """The bar, and the terms on a line of their own: in a narrow terminal they would crowd it
    out.
    """

    terms = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.terms)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['rate']:,.0f} items/s")


def _words(terms: Mapping[str, Any]) -> str:
    skip = ("split", "step", "epoch", "seconds")
    return "  ".join(f"{name} {value:.2f}" for name, value in terms.items() if name not in skip)
