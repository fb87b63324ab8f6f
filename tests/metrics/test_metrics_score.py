"""Tests of the metrics' common ground: how arrays are read or refused, how intervals cover."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from unweave.metrics import battery
from unweave.metrics.information import information
from unweave.metrics.regressors import dci
from unweave.metrics.score import BINS, Score, bootstrap, cells, checked, paired
from unweave.metrics.separation import sap
from unweave.metrics.sharing import sharing

Z = np.random.default_rng(0).normal(size=(12, 2))


def classes(column, **settings):
    pairs = paired(np.arange(float(len(column))), column, least=1, **settings)
    return pairs.factors[:, 0].tolist()


def test_a_score_is_a_number_and_says_what_it_is():
    score = Score("MIG", 0.25, "ubisoft", (0, 1), interval=(0.2, 0.3), level=0.9)
    assert float(score) == 0.25
    assert str(score) == "MIG 0.250 (90% interval 0.200 to 0.300), convention ubisoft"
    assert str(Score("MIG", 0.25, "ubisoft", (0, 1))) == "MIG 0.250, convention ubisoft"


def test_vectors_are_columns():
    pairs = paired(Z[:, 0], np.arange(12) % 3)
    assert pairs.codes.shape == pairs.factors.shape == pairs.targets.shape == (12, 1)
    assert pairs.codes.dtype == np.float64
    assert pairs.notes == ()


def test_whole_numbers_are_classes_in_their_order():
    assert classes([5, 9, 5, 7]) == [0, 2, 0, 1]
    assert classes([5.0, 9.0, 5.0, 7.0]) == [0, 2, 0, 1]
    assert classes(np.array([True, False, True])) == [1, 0, 1]
    assert classes(np.array([3, 250], np.uint8)) == [0, 1]


def test_minus_one_is_missing_unless_it_is_one_of_two_signs_or_of_negative_numbers():
    assert classes([-1, 0, 2, 0]) == [-1, 0, 1, 0]
    assert classes([-1, 1, 1, -1]) == [0, 1, 1, 0]
    assert classes([-1, -2, 0, -1]) == [1, 0, 2, 1]


def test_nan_is_missing_and_infinite_too():
    assert classes([0, 1, np.nan, 1]) == [0, 1, -1, 1]
    assert classes([0, 1, np.inf, 1]) == [0, 1, -1, 1]
    assert classes([0.5, 1.5, np.nan, -1.0]) == [
        12,
        19,
        -1,
        0,
    ]  # −1 is a number among numbers: cells of 0.125


def test_continuous_factors_are_cut_and_kept():
    column = np.array([0.0, 0.1, 0.5, 0.9, 1.0] * 3)
    pairs = paired(np.arange(15.0), column)
    assert pairs.continuous.tolist() == [True]
    assert pairs.factors[:5, 0].tolist() == [0, 2, 10, 18, 19]
    np.testing.assert_array_equal(pairs.targets[:, 0], column)
    assert pairs.notes == (
        f"continuous factors are cut into {BINS} cells of equal width: factor 0",
    )
    assert classes(column[:5], bins=2) == [0, 0, 1, 1, 1]


def test_text_is_classes_by_name_none_and_empty_are_missing():
    assert classes(np.array(["b", "a", "b"])) == [1, 0, 1]
    assert classes(np.array(["b", None, "", "a", float("nan")], dtype=object)) == [1, -1, -1, 0, -1]
    assert classes(np.array([1, None, 3], dtype=object)) == [0, -1, 1]
    pairs = paired(Z, np.array([["1", "x"], ["2", "y"]] * 6))  # numbers as text are numbers
    assert pairs.targets[:2].tolist() == [[1, 0], [2, 1]]


def test_known_leaves_out_the_missing():
    pairs = paired(Z, np.stack([np.arange(12) % 3 - 1, np.arange(12) % 2], 1))
    codes, seen = pairs.known(0)
    np.testing.assert_array_equal(codes, Z[np.arange(12) % 3 > 0])
    assert seen.tolist() == [0, 1] * 4
    assert len(pairs.known(1)[0]) == 12
    assert pairs.notes == ("items whose factor is missing are left out of its part (factor 0: 4)",)


def test_constant_codes_and_single_classes_are_noted():
    pairs = paired(
        np.stack([Z[:, 0], np.ones(12)], 1), np.stack([np.arange(12) % 2, np.full(12, 4)], 1)
    )
    assert pairs.varied.tolist() == [True, False]
    assert pairs.notes == (
        "1 of 2 codes are constant",
        "factors with one class are left out: factor 1",
    )


def test_a_factor_missing_everywhere_is_left_out():
    pairs = paired(Z, np.stack([np.arange(12) % 2, np.full(12, np.nan)], 1))
    assert pairs.varied.tolist() == [True, False]
    assert (pairs.factors[:, 1] == -1).all()


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (Z, np.arange(11) % 2, "12 items of codes and 11 of factors"),
        (Z[:9], np.arange(9) % 2, "9 items: expected 10 or more"),
        (
            np.where(np.arange(24).reshape(12, 2) == 5, np.nan, Z),
            np.arange(12) % 2,
            r"in 1 of 12 items \(2\)",
        ),
        (
            np.where(np.arange(12)[:, None] < 7, np.inf, Z),
            np.arange(12) % 2,
            r"7 of 12 items \(0, 1, 2, 3, 4, …\)",
        ),
        (np.full((12, 1), "a"), np.arange(12) % 2, "expected numbers"),
        (Z[None], np.arange(12) % 2, r"codes have shape \(1, 12, 2\)"),
        (np.zeros((12, 0)), np.arange(12) % 2, r"codes have shape \(12, 0\)"),
        (Z, np.zeros((12, 0)), r"factors have shape \(12, 0\)"),
        (1.0, np.arange(12) % 2, r"codes have shape \(\)"),
        (Z, np.zeros(12), "no factor of 1 has two classes"),
        (Z, np.full((12, 2), np.nan), "no factor of 2 has two classes"),
    ],
)
def test_refused(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        paired(codes, factors)


def test_codes_alone_are_checked_alike():
    assert checked([1, 2]).tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match="NaN or infinite"):
        checked([1, np.nan])


def test_cells_are_those_of_histogram_and_digitize():
    """Cut codes as disentanglement_lib does, whose own test case is the first."""
    target = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]])
    assert (cells(target.T, 3).T + 1).tolist() == [[1, 1, 2, 2, 3, 3], [3, 3, 2, 2, 1, 1]]
    codes = np.random.default_rng(1).normal(size=(500, 3)) * (1, 1e-8, 1e8)
    for column, cut in zip(codes.T, cells(codes).T, strict=True):
        edges = np.histogram(column, BINS)[1][:-1]
        np.testing.assert_array_equal(cut + 1, np.digitize(column, edges))
    assert not cells(np.full((5, 1), 3.0)).any()
    with pytest.raises(ValueError, match="1 bins"):
        cells(codes, 1)


def mean_product(codes, factors):
    return Score("mean", float((codes * factors).mean()), "", (-math.inf, math.inf))


@pytest.mark.parametrize("level", [0.9, 0.5])
def test_intervals_cover_what_they_say(level):
    """Count 500 intervals of a mean of 100 normals that cover.

    The count lies outside the bounds once in a million by chance, on either side.
    """
    rng, runs = np.random.default_rng(2), 500
    covered = 0
    for seed in range(runs):
        draws = rng.normal(3, 2, size=100)
        score = bootstrap(mean_product, draws, np.ones(100), level=level, resamples=59, seed=seed)
        covered += score.interval[0] <= 3 <= score.interval[1]
    low, high = binom.ppf([0.5e-6, 1 - 0.5e-6], runs, level)
    assert low <= covered <= high


def test_intervals_have_the_width_of_the_sampling_distribution():
    """Compare widths with a Normal's quantiles at ±1 standard error.

    They agree to five of their own standard errors: they fail twice in a million by chance.
    """
    draws = np.random.default_rng(3).normal(size=400)
    score = bootstrap(mean_product, draws, np.ones(400), level=0.68268949, resamples=4000)
    half = (score.interval[1] - score.interval[0]) / 2
    error = draws.std() / 20
    # a quantile at ±1 deviation has a standard error of √(p (1 − p)) / φ(1) / √resamples = 1.51 /
    # √4000 deviations, the mean of two such no more
    assert abs(half / error - 1) < 5 * 1.51 / math.sqrt(4000)


def test_intervals_stay_within_the_range_keep_the_score_and_repeat():
    def capped(codes, factors):
        return Score("share", float((codes > 0).mean()), "own", (0, 1), {"part": 1}, ("a note",))

    codes = np.r_[np.ones(39), -1.0]
    score = bootstrap(capped, codes, np.zeros(40), level=0.9)
    assert score.value == capped(codes, None).value
    assert 0 <= score.interval[0] <= score.interval[1] <= 1
    assert (score.level, score.convention, score.parts, score.notes) == (
        0.9,
        "own",
        {"part": 1},
        ("a note",),
    )
    assert bootstrap(capped, codes, np.zeros(40), level=0.9) == score
    assert bootstrap(capped, codes, np.zeros(40), level=0.9, seed=1) != score


def test_settings_reach_the_metric():
    def scaled(codes, factors, *, by):
        return Score("scaled", by * float(codes.mean()), "", (-math.inf, math.inf))

    assert bootstrap(scaled, np.ones(10), np.zeros(10), by=3).interval == (3.0, 3.0)


@pytest.mark.parametrize("name", ["linear_probe", "neighbour_probe", "info_explicitness", "dci"])
def test_metrics_that_fit_see_so_many_items_at_most_and_say_so(name, monkeypatch):
    """Of the items that are drawn, the score is what it is of them alone."""
    monkeypatch.setattr("unweave.metrics.score.MOST", 120)
    rng = np.random.default_rng(0)
    v = rng.integers(0, 3, (200, 2))
    z = v + 0.5 * rng.normal(size=v.shape)
    metric = battery.METRICS[name]
    few = np.sort(np.random.default_rng(0).permutation(200)[:120])
    of_drawn, of_all = metric(z[few], v[few]), metric(z, factors=v)
    assert of_all.value == of_drawn.value
    note = "120 of 200 items, drawn at random, were fitted to and measured on"
    assert of_all.notes == (*of_drawn.notes, note)
    with pytest.raises(ValueError, match="200 items of codes and 120 of factors"):
        metric(z, v[:120])


def test_work_is_shared_within_the_context_alone():
    """Arrays are known by which they are; equal ones are others, and so are other settings."""
    v = np.arange(40)[:, None] % 4
    z = v + 0.1
    with sharing():
        pairs = paired(z, v)
        assert paired(z, v) is pairs
        assert paired(z, v, bins=5) is not pairs
        assert paired(z.copy(), v) is not pairs
        assert information(pairs) is information(pairs)
    assert paired(z, v) is not pairs


@pytest.mark.parametrize("scale", [1e300, 1e-320, 1e31])
def test_codes_whose_digits_are_lost_are_refused(scale):
    """SAP and DCI gave other values for codes in other units, without a word."""
    v = np.random.default_rng(0).integers(0, 3, (90, 2))
    z = v[:, ::-1] + np.random.default_rng(1).random((90, 2))
    for metric in (sap, dci):
        with pytest.raises(ValueError, match=r"code 1 goes to .*: divide the code by its"):
            metric(z * [1, scale], v)


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_dci_does_not_depend_on_the_unit_of_codes(scale):
    v = np.random.default_rng(0).integers(0, 3, (90, 2))
    z = v[:, ::-1] + np.random.default_rng(1).random((90, 2))
    assert float(dci(z * scale, v)) == pytest.approx(float(dci(z, v)), abs=1e-3)
