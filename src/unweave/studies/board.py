"""The progress of a study: a table of its runs in a terminal, a line a finished run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..terminal import console

SIGNS = {
    "finished": ("●", "green"),
    "running": ("◐", "yellow"),
    "stopped": ("◌", "yellow"),
    "failed": ("✕", "bold red"),
    "waiting": ("·", "dim"),
}
"""The sign and the style of each state of a run."""


class Board:
    """A table with a row a method and a sign a seed, and the time that the rest may take.

    Args:
        name: The study's name.
        jobs: The runs, each with a `method` and a `seed`.
        look: Returns a run's state and the share of it that is done, 1 of a finished one.
        workers: Runs at once.
        quiet: Show nothing.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[Any],
        look: Callable[[Any], tuple[str, float]],
        workers: int,
        quiet: bool = False,
    ) -> None:
        self.name = name
        self.jobs = jobs
        self.look = look
        self.workers = workers
        self.console = console(file=sys.stderr, quiet=quiet)
        self.began = time.monotonic()
        self.before = self._shares()
        self._live: Live | None = None
        if self.console.is_terminal and not quiet:
            self._live = Live(get_renderable=self.table, console=self.console, refresh_per_second=1)

    def __enter__(self) -> Board:
        if self._live:
            self._live.start()
        else:
            self._say(
                f"{self.name}: {len(self.jobs)} runs, {self._done()} of them done, {self.workers} "
                "at once"
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def ended(self, job: Any, finished: bool) -> None:
        """Say that a run has ended, unless the table shows it."""
        if self._live is None:
            how = "done" if finished else "not finished"
            count = f"{self._done()} of {len(self.jobs)}; {self._left()}"
            self._say(f"{job.method}, seed {job.seed}: {how} ({count})")

    def table(self) -> Table:
        """Return the table of the runs as they stand."""
        looks = {(job.method, job.seed): self.look(job) for job in self.jobs}
        methods = list(dict.fromkeys(method for method, _ in looks))
        seeds = list(dict.fromkeys(seed for _, seed in looks))
        title = f"{self.name}   {self._left()}"
        drawn = Table(box=None, pad_edge=False, title=title, title_justify="left")
        drawn.add_column("method")
        for seed in seeds:
            drawn.add_column(f"seed {seed}", justify="center")
        for method in methods:
            cells = [looks.get((method, seed)) for seed in seeds]
            drawn.add_row(method, *(_sign(*cell) if cell else Text() for cell in cells))
        return drawn

    def _done(self) -> int:
        return sum(self.look(job)[0] == "finished" for job in self.jobs)

    def _shares(self) -> float:
        return sum(self.look(job)[1] for job in self.jobs)

    def _left(self) -> str:
        """Say how long the rest may take, judged by what was gained since this start."""
        shares = self._shares()
        gained = shares - self.before
        missing = len(self.jobs) - shares
        if missing <= 0:
            return "all done"
        if gained < 0.3:
            return f"{missing:.1f} runs left"
        minutes = (time.monotonic() - self.began) / gained * missing / 60
        return f"about {minutes:.0f} min left" if minutes >= 1 else "less than a minute left"

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


def _sign(state: str, share: float) -> Text:
    sign, style = SIGNS[state]
    if share and state in ("running", "stopped"):
        sign = f"{sign} {share:.0%}"
    return Text(sign, style=style)
