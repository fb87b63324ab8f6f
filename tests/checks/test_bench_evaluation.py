"""Sums over dependent sites are timed against the same sums, and imports in fresh processes."""

import pytest
import torch

from unweave.checks import bench_evaluation, bench_import


@pytest.fixture
def small(monkeypatch):
    """The models and repetitions of the bench, cut down to what a test takes."""
    torch.manual_seed(0)
    model = bench_evaluation.hfvae((8, 8), hidden=(8, 6))
    settings = {name: (model, torch.rand(30, 8, 8)) for name in bench_evaluation.GOALS}
    monkeypatch.setattr(bench_evaluation, "_settings", lambda quick: settings)


@pytest.mark.usefixtures("small")
def test_both_ways_of_the_sum_are_timed_in_turn(monkeypatch, capsys):
    times = {"together": [1.0, 1.0, 1.0], "alone": [8.0, 7.0, 6.0]}
    monkeypatch.setattr(bench_evaluation, "interleaved", lambda steps, *args, **settings: times)
    found = bench_evaluation.evaluation(quick=True)
    assert found == dict.fromkeys(bench_evaluation.GOALS, 7.0)
    assert "pass" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_sums_that_differ_are_refused(monkeypatch):
    joint = bench_evaluation.joint
    monkeypatch.setattr(bench_evaluation, "joint", lambda *args: joint(*args) + 0.01)
    with pytest.raises(ValueError, match=r"differ from those row by row by 0\.01"):
        bench_evaluation.evaluation(quick=True)


def test_imports_are_ratios_to_that_of_torch(monkeypatch, capsys):
    seconds = dict(zip(bench_import.CODE.values(), [2.0, 2.2, 3.0, 4.0], strict=True))
    monkeypatch.setattr(bench_import, "_seconds", seconds.__getitem__)
    found = bench_import.imports(repeats=5)
    assert list(found.values()) == pytest.approx([1.0, 1.1, 1.5, 2.0])
    assert "goal 1.15: pass" in capsys.readouterr().out
