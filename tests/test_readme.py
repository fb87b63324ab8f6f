"""Tests of the README: its code runs, and the library prints its table of objectives."""

import math
import re
from pathlib import Path

import pytest
import torch

import unweave as uw

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
ROWS = re.findall(r"^\| `(uw\.[^`]+)` \| ([^|]*[①②③④ⒶⒷⓘ][^|]*) \|", README, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("code", BLOCKS)
def test_blocks_run(code: str) -> None:
    names: dict = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(code, "README.md", "exec"), names)
    assert float(names["loss"].detach()) < 64 * math.log(2), (
        "no better than grey pixels: the program learnt nothing"
    )


def test_there_are_blocks_and_rows() -> None:
    assert len(BLOCKS) == 1
    assert len(ROWS) == 8


@pytest.mark.parametrize(("code", "circled"), ROWS)
def test_objectives_print_as_the_table_says(code: str, circled: str) -> None:
    assert eval(code, {"uw": uw}).circled() == circled.strip()


def test_both_commands_are_named() -> None:
    assert "make demo" in README
    assert "make test" in README
