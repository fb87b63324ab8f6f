"""Tests of all metrics by name: values, reasons where there are none, and documents."""

import math
from functools import partial

import numpy as np
import pytest

from unweave.metrics import Score, battery, bootstrap, mig, sap
from unweave.metrics.battery import METRICS, SLOW, scores


@pytest.fixture
def arrays():
    i = np.arange(240)
    v = np.stack([i % 3, (i // 3) % 4], 1)
    return np.stack(
        [v[:, 0] + 0.3 * np.sin(i), v[:, 1] + 0.8 * np.cos(1.7 * i), np.sin(0.37 * i)], 1
    ), v


def test_all_metrics_in_order(arrays):
    found = scores(*arrays)
    assert len(found) == len(METRICS)
    assert len({score.name for score in found}) == len(found)
    for score in found:
        assert math.isfinite(score.value), score
        assert score.range[0] <= score.value <= score.range[1], score
        assert score.interval is None


def test_dci_is_boosted_by_lightgbm_unless_told(arrays):
    (score,) = scores(*arrays, which=["dci"])
    assert "lightgbm" in score.convention
    (score,) = scores(*arrays, which=["dci"], estimator="lasso")
    assert "lasso" in score.convention


def test_some_metrics_in_the_order_asked_for(arrays):
    first, second = scores(*arrays, which=["sap", "mig"], seed=5)
    assert (first.name, second.name) == ("SAP", "MIG")
    assert (first.value, second.value) == (sap(*arrays, seed=5).value, mig(*arrays).value)


def test_intervals_where_they_are_affordable(arrays):
    plain = bootstrap(mig, *arrays, level=0.8, resamples=20, seed=3)
    quick, slow = scores(
        *arrays, which=["mig", "info_explicitness"], level=0.8, resamples=20, seed=3
    )
    assert quick.interval == plain.interval
    assert quick.level == 0.8
    assert slow.interval is None
    assert slow.notes[-1] == "no interval: info_explicitness takes too long for 20 resamples"
    assert set(METRICS) > SLOW


def test_a_metric_that_cannot_be_computed_stops_no_other(arrays):
    z, v = arrays
    failed, fine = scores(z, v[:, 0], which=["modularity", "mig"])
    assert (failed.name, fine.name) == ("modularity", "MIG")
    assert math.isnan(failed.value)
    assert "two or more" in failed.notes[0]
    assert fine.value > 0


def test_one_factor_leaves_out_what_it_would_make_1_for_any_codes(arrays):
    """Codes of noise, and of the factor itself: no score is 1 for both."""
    _, v = arrays
    noise = np.random.default_rng(0).normal(size=(len(v), 3))
    good = np.column_stack([v[:, 0], noise])
    for one in (v[:, 0], np.column_stack([v[:, 0], np.zeros(len(v))])):  # the other does not vary
        pairs = list(zip(scores(noise, one), scores(good, one), strict=True))
        assert not [a.name for a, b in pairs if a.value == b.value == 1]
        found = {key: a for key, (a, _) in zip(METRICS, pairs, strict=True)}
        for key in ("dci", "factor_vae_score", "beta_vae_score", "modularity", "info_modularity"):
            assert math.isnan(found[key].value)
            assert "expected two or more" in found[key].notes[-1]
        parts = found["dci"].parts
        assert math.isnan(parts["disentanglement"])
        assert np.isnan(parts["per_code"]).all()
        assert 0 <= parts["completeness"] < 1
        assert 0 < parts["informativeness"] < 1


def test_what_no_metric_can_be_computed_on_is_refused(arrays):
    z, v = arrays
    with pytest.raises(ValueError, match="NaN or infinite"):
        scores(np.where(z == z[0, 0], np.nan, z), v)


def test_unknown_names_are_refused_with_the_known_ones(arrays):
    with pytest.raises(KeyError, match="'MIGG', 'sapp'; there are: mig, mig_sup, "):
        scores(*arrays, which=["MIGG", "mig", "sapp"])


def test_settings_reach_the_metrics_that_take_them(arrays):
    first, second = scores(*arrays, which=["mig", "sap"], bins=7, convention="ubisoft")
    assert first.convention == "ubisoft, 7 bins"
    assert second.value == sap(*arrays).value
    with pytest.raises(TypeError, match="no metric takes bin"):
        scores(*arrays, bin=7)


def test_metrics_of_codes_alone_ignore_factors(arrays):
    z, v = arrays
    name = "gaussian_total_correlation"
    assert scores(z, v, which=[name])[0].value == scores(z, v[::-1], which=[name])[0].value


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name, arrays):
    score = METRICS[name](*arrays)
    assert isinstance(score, Score)
    assert score.name
    assert score.convention
    document = METRICS[name].__doc__
    assert "Raises:" in document or "errors\n    are those of" in document
    assert "Source:" in document or "Source:" in battery.inspect.getmodule(METRICS[name]).__doc__
    assert ">>>" in document


def test_metrics_that_share_their_work_score_as_each_does_by_itself(arrays):
    """Intervals too: all metrics see the same halves."""
    quick = [name for name in METRICS if name not in SLOW]
    together = scores(*arrays, which=quick, level=0.9, resamples=10, seed=2)
    for name, found in zip(quick, together, strict=True):
        metric = METRICS[name]
        if "seed" in battery._settings(metric):
            metric = partial(metric, seed=2)
        alone = bootstrap(metric, *arrays, level=0.9, resamples=10, seed=2)
        assert (found.value, found.interval) == (alone.value, alone.interval)
