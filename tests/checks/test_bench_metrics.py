"""What is timed is the same work: references and ours agree, and the table says how far."""

import pytest

from unweave.checks import bench_metrics


def test_ours_are_the_references():
    z, v = bench_metrics.arrays(1500, 6)
    for match in bench_metrics.matches(z, v):
        if match.within is not None:
            assert match.ours() == pytest.approx(match.theirs(), abs=match.within), match.name


def test_the_table_has_a_row_for_each(monkeypatch, capsys):
    monkeypatch.setattr(
        bench_metrics, "interleaved", lambda ours, theirs, repeats: ([1.0, 1.0], [20.0, 20.0])
    )
    ratios = bench_metrics.metrics(quick=True)
    assert list(ratios)[:4] == ["MIG", "modularity", "SAP", "IRS"]
    assert ratios["MIG"] == 20
    assert ratios[list(ratios)[-1]] == 20 * bench_metrics.TREES / bench_metrics.TIMED_TREES
    assert "not compared" in capsys.readouterr().out


def test_values_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(bench_metrics, "loop_mig", lambda z, v: 0.5)
    with pytest.raises(ValueError, match="MIG differs"):
        bench_metrics.metrics(quick=True)


def test_metrics_that_share_halves_are_timed_beside_each_by_itself(monkeypatch):
    """One call of the battery for all, one for each with an interval, and one for these."""
    asked = []
    monkeypatch.setattr(
        bench_metrics.battery, "scores", lambda z, v, which=None, **settings: asked.append(which)
    )
    assert bench_metrics.together(quick=True) > 0
    names = bench_metrics.QUICK
    assert asked == [None, *([name] for name in names), names]
