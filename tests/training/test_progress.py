"""A bar moves where something can redraw it."""

from importlib.machinery import ModuleSpec

import pytest
from rich.console import Console

from unweave.training import progress


@pytest.mark.parametrize(
    ("where", "widgets", "live"),
    [
        ({"force_terminal": True}, False, True),
        ({"force_terminal": False}, True, False),
        ({"force_jupyter": True}, True, True),
        ({"force_jupyter": True}, False, False),
    ],
)
def test_a_bar_moves_in_a_terminal_and_in_a_notebook_with_widgets(
    monkeypatch, where, widgets, live
):
    spec = ModuleSpec("ipywidgets", None) if widgets else None
    monkeypatch.setattr(progress, "find_spec", lambda name: spec)
    assert progress._is_live(Console(**where)) == live
