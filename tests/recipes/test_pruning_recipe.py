"""Tests of the recipe `pruning`: its order of units, its numbers and its page."""

from pathlib import Path

import pytest

import unweave as uw
from unweave.pages import pictures
from unweave.runs import arrays
from unweave.runs.findings import Lines, Table, unpacked
from unweave.studies import grid


@pytest.mark.slow
def test_units_go_by_their_information_and_the_bound_falls_at_last(tmp_path: Path) -> None:
    recipe = uw.recipes.pruning(objective="elbo", epochs=30)
    run = uw.fit(recipe, out=tmp_path / "run", quick=True, quiet=True)
    found = unpacked(run.scores["findings"], arrays.flat(arrays.read(tmp_path / "run")))
    table = next(item for item in found if isinstance(item, Table))
    told = [row[2] for row in table.rows[1:]]
    assert told == sorted(told)
    bounds = [row[3] for row in table.rows]
    assert bounds[0] - bounds[-1] > 1  # nats, of about four that all units tell
    weights = [int(str(row[5]).replace(",", "")) for row in table.rows]
    assert weights == sorted(weights, reverse=True)
    curve = next(item for item in found if isinstance(item, Lines))
    assert curve.curves["test items"].tolist() == bounds
    assert pictures.curves([run.folder], tmp_path / "curves.png").stat().st_size > 10_000
    assert "What fewer units reconstruct" in (tmp_path / "run" / "report.html").read_text()


def test_the_study_has_both_objectives_on_the_same_networks() -> None:
    jobs = grid.read("pruning").jobs()
    assert {job.flags["objective"] for job in jobs} == {
        "elbo",
        "hfvae(alpha=1, beta=12, gamma=4)",
    }
    assert {job.seed for job in jobs} == set(range(5))
