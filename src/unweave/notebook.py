"""The explorer in a notebook: its page in a frame, its server in this process."""

from __future__ import annotations

import weakref
from html import escape
from pathlib import Path

from .again import sessions
from .data import Data
from .explorer.server import Explorer, in_background
from .explorer.session import Session
from .run import Run
from .runs.artifact import load


class Explored:
    """An explorer that answers in the background, which notebooks show as a frame.

    Attributes:
        address: The address of its page, for a browser on this machine.
        height: Pixels of the frame.
    """

    def __init__(self, explorer: Explorer, height: int) -> None:
        self.address, end = in_background(explorer)
        self.height = height
        self._end = weakref.finalize(self, end)

    def close(self) -> None:
        """End the server; the page answers no more."""
        self._end()

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        allowed = "clipboard-write"
        return (
            f'<iframe src="{escape(self.address)}" title="unweave explorer" style="{style}" '
            f'allow="{allowed}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"explorer: {self.address} (close() ends it)"


def explore(*runs: Run | str | Path, data: Data | None = None, height: int = 900) -> Explored:
    """Open one run, or two side by side, in a notebook.

    The page is that of `unweave explore`. Its server runs in this process and answers to browsers
    on this machine alone; for a notebook whose kernel is elsewhere, `unweave explore RUN --export`
    writes the page as one file.

    Args:
        runs: Finished runs, or their folders.
        data: The items that are shown, where a run's recipe is your own; by default the items that
            the recipe tests on.
        height: Pixels of the frame.

    Raises:
        ValueError: If there are more than two runs, their items have other shapes, or a recipe is
            its author's own and no data are given.

    >>> import unweave as uw
    >>> page = uw.explore("runs/digits")  # doctest: +SKIP
    >>> page  # doctest: +SKIP
    explorer: http://127.0.0.1:40123/ (close() ends it)
    """
    folders = [run.folder if isinstance(run, Run) else Path(run) for run in runs]
    if data is None:
        found = sessions(folders)
    else:
        models = [run.model if isinstance(run, Run) else load(run) for run in runs]
        pairs = zip(models, folders, strict=True)
        found = [Session(model, data, folder) for model, folder in pairs]
    return Explored(Explorer(*found), height)
