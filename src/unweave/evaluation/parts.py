"""The parts of an evaluation: shown while they are measured, kept or left out where they fail."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..runs.seal import Part
from ..terminal import console, is_refusal

SHARES = {
    "codes of all items": 6,
    "scores of test items": 2,
    "information and the terms of the bound": 52,
    "information about factors": 2,
    "codes of test items": 1,
    "metrics of codes against factors": 10,
    "what latent units do": 2,
    "the codes of the data": 23,
    "the recipe's own findings": 20,
}
"""Each part's share in the time that an evaluation takes, about, in percent of one on MNIST."""


class Found(NamedTuple):
    """Scores and arrays that a part of an evaluation gave, by the names of their files."""

    scores: dict[str, Any]
    arrays: dict[str, Any]

    def of(self, part: Part) -> Found:
        """Return what one part gave; a file leaves out what is empty."""
        scores = {name: self.scores[name] for name in part.scores if name in self.scores}
        arrays = {name: self.arrays[name] for name in part.arrays if name in self.arrays}
        return Found(scores, arrays)


class Parts:
    """Scores and arrays of an evaluation, part by part, with a progress bar.

    Args:
        names: The parts that are expected to take time.
        kept: What parts gave in an earlier evaluation; these are not measured again.
        quiet: If true, show no bar.
    """

    def __init__(
        self, names: set[str], kept: Mapping[str, Found] | None = None, *, quiet: bool = False
    ) -> None:
        self.kept = kept or {}
        self.scores: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self.measured: dict[str, Part] = {}
        self.skipped: dict[str, str] = {}
        self.failed: list[str] = []
        self.shares = {name: share for name, share in SHARES.items() if name in names}
        shown = console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("[bold]evaluation"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            _Left(),
            console=shown,
            transient=True,
            disable=quiet or not shown.is_terminal,
        )
        self._began = time.monotonic()
        self._running = ""
        self._task = self._bar.add_task("", total=sum(self.shares.values()), end=None)

    def __enter__(self) -> Parts:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Do a part; one that the model has no place for, or that fails, is left out.

        The reason is noted and printed.
        """
        self.show(name)
        try:
            yield
        except Exception as error:
            self.skipped[name] = str(error) or type(error).__name__
            how = "left out"
            if not is_refusal(error):
                how = "failed"
                self.failed.append(name)
            text = f"note: {name}: {how}, {self.skipped[name]}"
            self._bar.console.print(text, highlight=False, soft_wrap=True)

    def measure(self, name: str, make: Callable[[], Mapping[str, Any]]) -> None:
        """Add to the scores what a part gives, unless it is kept."""
        self.add(name, lambda: Found(dict(make()), {}))

    def draw(self, name: str, make: Callable[[], Mapping[str, Any]]) -> None:
        """Add to the arrays what a part gives, unless it is kept."""
        self.add(name, lambda: Found({}, dict(make())))

    def add(self, name: str, make: Callable[[], Found]) -> None:
        """Add what a part gives, unless it is kept."""
        found = self.kept.get(name)
        if found is None:
            with self(name):
                found = make()
        if found is not None:
            self.scores |= found.scores
            self.arrays |= found.arrays
            self.measured[name] = Part(tuple(found.scores), tuple(found.arrays))

    def show(self, name: str) -> None:
        """Show that a part begins, and the time that is left if parts take their shares of it."""
        self._bar.advance(self._task, self.shares.get(self._running, 0))
        self._running = name
        done = self._bar.tasks[0].completed
        whole = sum(self.shares.values())
        end = None
        if done:
            end = self._began + (time.monotonic() - self._began) * whole / done
        self._bar.update(self._task, description=name, end=end)


class _Left(ProgressColumn):
    """The seconds that are left, if it is known by then."""

    def render(self, task: Task) -> Text:
        end = task.fields["end"]
        if end is None:
            return Text()
        seconds = max(0.0, end - time.monotonic())
        return Text(f"about {seconds:.0f} s left")
