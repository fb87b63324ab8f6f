"""The parts of an evaluation: shown while they are measured, left out where they fail."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..terminal import console

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


class Parts:
    """A progress bar in a terminal, and the reasons for which parts were left out.

    Args:
        names: The parts that are expected to take time.
        quiet: If true, show no bar.
    """

    def __init__(self, names: set[str], *, quiet: bool = False) -> None:
        self.skipped: dict[str, str] = {}
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
        """Measure a part; one that fails, as some models have no place for it, is left out.

        The reason is noted and printed.
        """
        self.show(name)
        try:
            yield
        except Exception as error:
            self.skipped[name] = str(error) or type(error).__name__
            text = f"note: {name}: left out, {self.skipped[name]}"
            self._bar.console.print(text, highlight=False, soft_wrap=True)

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
