"""Where the real data sets lie; tests that need one skip where it is missing."""

import os
from pathlib import Path

import pytest


def real(*path: str) -> Path:
    """The data directory that holds a file: UNWEAVE_DATA, else one shared by checkouts that lie
    side by side.
    """
    root = Path(os.environ.get("UNWEAVE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not root.joinpath(*path).exists():
        pytest.skip(f"{'/'.join(path)} is not in {root}: set UNWEAVE_DATA to try this")
    return root
