"""What a study shows while it runs: a sign a run, and how long the rest may take by what this start
has done.
"""

from types import SimpleNamespace

import pytest
from rich.console import Console

from unweave.studies import board
from unweave.studies.board import SIGNS, Board

JOBS = [
    SimpleNamespace(method=m, seed=s)
    for m, s in (("VAE", 0), ("VAE", 1), ("HFVAE", 0), ("HFVAE", 2))
]


class Runs(dict):
    """States by (method, seed), as a study's folders would tell them."""

    def look(self, job):
        return self.get((job.method, job.seed), ("waiting", 0.0))


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(board.time, "monotonic", lambda: now.seconds)
    return now


def shown(table):
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return [line.split() for line in captured.get().splitlines()]


def test_a_row_a_method_and_a_sign_a_seed():
    runs = Runs(
        {
            ("VAE", 0): ("finished", 1.0),
            ("VAE", 1): ("running", 0.25),
            ("HFVAE", 0): ("failed", 0.5),
        }
    )
    title, heads, *rows = shown(Board("grid", JOBS, runs.look, workers=2).table())
    assert title[0] == "grid"
    assert heads == ["method", "seed", "0", "seed", "1", "seed", "2"]
    assert rows[0] == ["VAE", "●", "◐", "25%"]
    assert rows[1] == ["HFVAE", "✕", "·"]  # seed 1 is no run of it: its cell is empty


@pytest.mark.parametrize("state", SIGNS)
def test_every_state_has_its_sign_and_shares_are_of_what_is_under_way(state):
    text = board._sign(state, 0.4).plain
    assert text == (
        f"{SIGNS[state][0]} 40%" if state in ("running", "stopped") else SIGNS[state][0]
    )


def test_what_is_left_is_reckoned_from_this_start_alone(clock):
    """Half a run was there before; in ten minutes one and a half are gained, so two more take 800
    seconds.
    """
    runs = Runs({("VAE", 0): ("stopped", 0.5)})
    seen = Board("grid", JOBS, runs.look, workers=1)
    clock.seconds += 60
    assert seen._left() == "3.5 runs left"  # too little is gained to say more
    runs |= {("VAE", 0): ("finished", 1.0), ("VAE", 1): ("finished", 1.0)}
    clock.seconds += 540
    assert seen._left() == f"about {600 / 1.5 * 2 / 60:.0f} min left"
    runs |= {("HFVAE", 0): ("finished", 1.0), ("HFVAE", 2): ("running", 0.97)}
    assert seen._left() == "less than a minute left"
    runs |= {("HFVAE", 2): ("finished", 1.0)}
    assert seen._left() == "all done"


def test_without_a_terminal_a_line_says_that_a_run_ended(capsys):
    runs = Runs({("VAE", 0): ("finished", 1.0)})
    with Board("grid", JOBS, runs.look, workers=3) as seen:
        runs |= {("VAE", 1): ("finished", 1.0), ("HFVAE", 0): ("failed", 0.2)}
        seen.ended(JOBS[1], finished=True)
        seen.ended(JOBS[2], finished=False)
    out, err = capsys.readouterr()
    begun, done, failed = err.splitlines()
    assert out == ""
    assert begun == "grid: 4 runs, 1 of them done, 3 at once"
    assert done.startswith("VAE, seed 1: done (2 of 4; ")
    assert failed.startswith("HFVAE, seed 0: not finished (2 of 4; ")


def test_a_quiet_board_says_nothing(capsys):
    with Board("grid", JOBS, Runs().look, workers=1, quiet=True) as seen:
        seen.ended(JOBS[0], finished=True)
    assert capsys.readouterr() == ("", "")
