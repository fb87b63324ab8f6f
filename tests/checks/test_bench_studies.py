"""A study of many finished runs is made, counted and shown."""

import pytest

from unweave.checks import bench_studies


@pytest.mark.slow
def test_copies_of_a_run_are_finished_runs_of_their_jobs(capsys):
    seconds = bench_studies.studies(runs=8)
    assert set(seconds) == {"page", "count"}
    assert "page of 8 finished runs" in capsys.readouterr().out
