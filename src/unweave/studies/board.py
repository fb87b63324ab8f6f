"""What a study shows while it runs: a table of its runs in a terminal, a line a finished run
elsewhere.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

SIGNS = {
    "finished": ("●", "green"),
    "running": ("◐", "yellow"),
    "stopped": ("◌", "yellow"),
    "failed": ("✕", "bold red"),
    "waiting": ("·", "dim"),
}
"""A run's state as a sign."""


class Board:
    """A row a method, a sign a seed; how many runs are done, and how long the rest may take.

    `look(job)` gives a run's state and the share of it that is done, 1 of a finished one; jobs have
    a `method` and a `seed`.
    """

    def __init__(
        self,
        name: str,
        jobs: Sequence[Any],
        look: Callable[[Any], tuple[str, float]],
        workers: int,
        quiet: bool = False,
    ) -> None:
        self.name, self.jobs, self.look, self.workers = name, jobs, look, workers
        self.console = Console(file=sys.stderr, quiet=quiet)
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
        """Called as a run ends."""
        if self._live is None:
            what = "done" if finished else "not finished"
            self._say(
                f"{job.method}, seed {job.seed}: {what} ({self._done()} of {len(self.jobs)}; "
                f"{self._left()})"
            )

    def table(self) -> Table:
        """The runs as they stand."""
        looks = {(job.method, job.seed): self.look(job) for job in self.jobs}
        methods, seeds = (list(dict.fromkeys(column)) for column in zip(*looks, strict=True))
        drawn = Table(
            box=None, pad_edge=False, title=f"{self.name}   {self._left()}", title_justify="left"
        )
        drawn.add_column("method")
        for seed in seeds:
            drawn.add_column(f"seed {seed}", justify="center")
        for method in methods:
            cells = [looks.get((method, seed)) for seed in seeds]
            drawn.add_row(method, *(Text() if cell is None else _sign(*cell) for cell in cells))
        return drawn

    def _done(self) -> int:
        return sum(self.look(job)[0] == "finished" for job in self.jobs)

    def _shares(self) -> float:
        return sum(share for _, share in map(self.look, self.jobs))

    def _left(self) -> str:
        """What is left, by how long the runs of this start took."""
        shares = self._shares()
        gained, missing = shares - self.before, len(self.jobs) - shares
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
    return Text(
        f"{sign} {share:.0%}" if state in ("running", "stopped") and share else sign, style=style
    )
