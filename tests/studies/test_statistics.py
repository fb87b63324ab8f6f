"""Statistics over seeds, against closed forms, brute force and scipy; no warning at one seed or
two.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from unweave.studies import statistics as seeds
from unweave.studies.statistics import (
    Estimate,
    agreement,
    complete,
    concordance,
    differences,
    estimate,
    firsts,
    paired,
    ranks,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_is_students(n, level):
    x = np.random.default_rng(n).normal(3, 2, n)
    e = estimate(x, level)
    low, high = stats.t.interval(level, n - 1, loc=x.mean(), scale=stats.sem(x))
    assert e.interval == pytest.approx((low, high), abs=1e-10)
    assert (e.mean, e.sd, e.n) == (pytest.approx(np.mean(x)), pytest.approx(np.std(x, ddof=1)), n)


def test_at_two_seeds_the_half_width_is_that_of_a_cauchy():
    """t with one degree of freedom: tan(π/2 · level) · |x − y| / 2."""
    assert estimate([1.0, 4.0], 0.9).half == pytest.approx(
        math.tan(math.pi / 2 * 0.9) * 1.5, abs=1e-10
    )


def test_the_interval_covers_as_often_as_it_says():
    """5 seeds of a normal: 95 % of 2,000 intervals hold the mean; the standard error is 0.5 %, four
    of them fail once in 16,000.
    """
    held = [not estimate(x).excludes(0.0) for x in np.random.default_rng(1).normal(0, 1, (2000, 5))]
    assert abs(np.mean(held) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_few_seeds_have_a_defined_result():
    assert estimate([]) == Estimate(None, None, None, 0)
    assert estimate([2.0]) == Estimate(2.0, None, None, 1)
    assert estimate([np.nan, 2.0, np.inf]) == Estimate(2.0, None, None, 1)
    assert estimate([2.0, 2.0]) == Estimate(2.0, 0.0, 0.0, 2)
    assert estimate([2.0]).interval is None
    assert not estimate([2.0]).excludes(0.0)
    assert estimate([2.0, 2.0]).excludes(0.0)
    assert paired({0: 1.0}, {1: 1.0}) == Estimate(None, None, None, 0)
    assert concordance([[1, 2]]) is None
    assert concordance([[1], [1]]) is None
    assert concordance([[1.5, 1.5], [1.5, 1.5]]) is None
    assert agreement([[1, 2]]) is None
    assert firsts([[3.0, 4.0]]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([[1.0]]), r"shape \(1, 1\): expected a vector"),
        (lambda: estimate([1.0], level=95), "level 95: expected a share"),
        (lambda: ranks([[1.0, np.nan]]), "none missing"),
        (lambda: seeds.sign_flip([]), "1 to 20 finite"),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_differences_are_paired_by_seed_and_free_of_what_seeds_share():
    luck = {seed: float(v) for seed, v in enumerate(RNG.normal(0, 100, 6))}
    base = {
        seed: v + float(e) for (seed, v), e in zip(luck.items(), RNG.normal(0, 0.1, 6), strict=True)
    }
    more = {seed: v + 1 for seed, v in luck.items() if seed != 2} | {99: 5.0}
    assert list(differences(more, base)) == [0, 1, 3, 4, 5]
    e = paired(more, base)
    expected = stats.ttest_rel(
        [more[s] for s in (0, 1, 3, 4, 5)], [base[s] for s in (0, 1, 3, 4, 5)]
    )
    assert e.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-10)
    assert e.half < 1  # though values spread over hundreds


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_sign_flip_is_a_count_over_all_signs(n):
    d = np.random.default_rng(n).normal(0.5, 1, n)
    signs = list(itertools.product([-1, 1], repeat=n))
    count = sum(abs(np.dot(s, d)) >= abs(d.sum()) - 1e-12 for s in signs)
    assert seeds.sign_flip(d) == pytest.approx(count / 2**n, abs=1e-10)
    assert seeds.sign_flip(np.abs(d)) == 2.0 ** -(n - 1)  # the floor
    assert seeds.sign_flip(np.zeros(n)) == 1.0


def test_complete_keeps_what_all_methods_have():
    methods, held, table = complete(
        {"a": {0: 1.0, 2: 3.0}, "b": {0: 4.0, 1: 5.0, 2: 6.0}, "none": {}}
    )
    assert (methods, held, table.tolist()) == (["a", "b"], [0, 2], [[1.0, 4.0], [3.0, 6.0]])
    assert complete({"a": {}})[2].shape == (0, 0)
    assert complete({"a": {0: 1.0}, "b": {1: 1.0}})[2].shape == (0, 2)


def test_ranks_by_a_loop():
    x = RNG.integers(0, 4, (6, 5)).astype(float)
    for higher in (True, False):
        for row, ranked in zip(x, ranks(x, higher), strict=True):
            for value, rank in zip(row, ranked, strict=True):
                better = (row > value).sum() if higher else (row < value).sum()
                assert rank == better + ((row == value).sum() + 1) / 2


def test_concordance_is_friedmans_statistic_ties_included():
    """χ² = n (m − 1) W, in scipy's words."""
    for x in (RNG.normal(size=(7, 4)), RNG.integers(0, 3, (7, 4)).astype(float)):
        chi = stats.friedmanchisquare(*x.T).statistic
        assert concordance(ranks(x)) == pytest.approx(chi / (7 * 3), abs=1e-10)


def test_agreement_by_a_loop_and_from_concordance():
    for x in (RNG.normal(size=(5, 6)), RNG.integers(0, 4, (5, 6)).astype(float)):
        pairs = [stats.spearmanr(a, b).statistic for a, b in itertools.combinations(x, 2)]
        assert agreement(ranks(x)) == pytest.approx(np.mean(pairs), abs=1e-10)
    r = ranks(RNG.normal(size=(5, 6)))
    assert agreement(r) == pytest.approx((5 * concordance(r) - 1) / 4, abs=1e-10)


@pytest.mark.parametrize("higher", [True, False])
def test_firsts_are_a_sum_over_all_resamples(higher):
    x = (
        np.random.default_rng(3).integers(0, 5, (4, 3)).astype(float)
    )  # whole numbers: means tie now and then
    wins = np.zeros(3)
    for drawn in itertools.product(range(4), repeat=4):
        total = x[list(drawn)].sum(0) if higher else -x[list(drawn)].sum(0)
        wins += (total == total.max()) / (total == total.max()).sum()
    assert firsts(x, higher) == pytest.approx(wins / 4**4, abs=1e-10)


def test_firsts_by_draws_agree_with_the_sum(monkeypatch):
    """10,000 draws: the standard error is at most 0.005; four of them fail once in 16,000 for each
    of 3 methods.
    """
    x = RNG.normal(size=(6, 3))
    exact = firsts(x)
    monkeypatch.setattr(seeds, "EXACT", 0)
    assert np.abs(firsts(x) - exact).max() < 4 * 0.005
    assert exact.sum() == pytest.approx(1, abs=1e-10)
