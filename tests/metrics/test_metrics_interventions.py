"""Tests of FactorVAE's and β-VAE's scores and IRS by disentanglement_lib's cases and loops."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from unweave import metrics
from unweave.metrics.held import from_generator, from_items
from unweave.metrics.interventions import least_varied
from unweave.metrics.score import cells, paired

SETTINGS = {"votes": 3000, "test_votes": 2000, "batch": 5}


def example(n=2000, seed=0):
    """Return codes that know of factors of 3, 4 and 5 values in part."""
    rng = np.random.default_rng(seed)
    v = np.stack([rng.integers(0, k, n) for k in (3, 4, 5)], 1)
    z = np.stack([v[:, 0], v[:, 1], v[:, 0] + v[:, 2], np.zeros(n)], 1) + rng.normal(
        size=(n, 4)
    ) * [0.4, 0.9, 0.5, 1]
    return z, v


def ten_factors(rng, n):
    """Draw disentanglement_lib's test data: ten independent factors, 1 to 10, also as codes."""
    return rng.integers(1, 11, (n, 10)).astype(float)


def same(first, second, n):
    """Whether shares of n votes differ by less than five standard errors.

    The largest standard error of any share is ½ / √n.
    """
    return abs(float(first) - float(second)) < 5 * np.sqrt(2 * 0.25 / n)


# groups that agree in a factor


def test_groups_agree_in_their_factor_and_are_drawn_evenly():
    _, v = example(60)
    v[:7, 1] = -1
    numbers = np.arange(60.0)[:, None]  # codes that name their items
    source, rng = from_items(paired(numbers, v)), np.random.default_rng(0)
    factors = rng.choice(source.held, 20_000)
    items = source.draw(rng, factors, 3)[..., 0].astype(int)
    values = v[items, factors[:, None]]
    assert (values == values[:, :1]).all()
    assert (values >= 0).all()
    assert (items[:, 0] != items[:, 1]).all()
    for place in range(2):
        share = np.bincount(items[factors == 0, place], minlength=60) / (factors == 0).sum()
        # five standard errors of 60 shares of some 6,700: a chance of 4 in 100,000
        assert np.abs(share - 1 / 60).max() < 5 * np.sqrt(1 / 60 / 6000)


def test_values_of_one_item_are_never_held():
    v = np.column_stack([np.arange(40) % 3, np.r_[np.arange(30), np.zeros(10, dtype=int)]])
    z = np.random.default_rng(0).normal(size=(40, 2))
    found = metrics.factor_vae_score(z, v, votes=200, test_votes=100)
    assert any("values of one item are never held (factor 1: 29)" in note for note in found.notes)
    lone = np.random.default_rng(0).permutation(40)
    with pytest.raises(ValueError, match="no value of a factor occurs twice"):
        metrics.factor_vae_score(z, lone)


def test_generated_groups_agree_in_their_factor():
    rng = np.random.default_rng(0)
    source = from_generator(lambda v: v, ten_factors, rng, 20)
    factors = rng.integers(10, size=50)
    groups = source.draw(rng, factors, 4)
    for group, k in zip(groups, factors, strict=True):
        assert np.ptp(group, 0)[k] == 0
        assert (
            np.count_nonzero(np.ptp(group, 0)) > 5
        )  # nine others stay with a probability of 1/1000 each


# FactorVAE


def test_votes_are_those_of_a_loop_with_numpys_variance():
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(200, 7, 5)) + 100
    variances = np.array([1.0, 2, 0, 0.5, 1])
    for vote, group in zip(least_varied(groups, variances), groups, strict=True):
        active = variances > 0
        relative = np.var(group, axis=0, ddof=1)[active] / variances[active]
        assert vote == np.flatnonzero(active)[np.argmin(relative)]


def loop_factor_vae(z, v, votes, test_votes, batch, seed):
    rng = np.random.default_rng(seed)
    overall = np.var(z, axis=0, ddof=1)
    active = np.sqrt(overall) >= 0.05
    tables = []
    for number in (votes, test_votes):
        table = np.zeros((v.shape[1], z.shape[1]))
        for _ in range(number):
            k = rng.integers(v.shape[1])
            there = np.flatnonzero(v[:, k] == v[rng.integers(len(v)), k])
            local = np.var(z[rng.choice(there, batch)], axis=0, ddof=1)
            table[k, np.argmin(local[active] / overall[active])] += 1
        tables.append(table)
    named = tables[0].argmax(0)
    return tables[1][named, np.arange(z.shape[1])].sum() / test_votes


def test_factor_vae_is_the_published_loop_on_the_same_codes():
    z, v = example()
    z = np.column_stack(
        [0.01 * z[:, 1], z]
    )  # pruned, so that the library's votes are numbered anew
    ours = metrics.factor_vae_score(z, v, **SETTINGS)
    loop = loop_factor_vae(z, v, 3000, 2000, 5, seed=1)
    assert same(ours, loop, 2000)
    assert 0.5 < loop < 0.95  # a score that could differ
    assert ours.parts["votes"].sum() == 3000
    assert ours.parts["votes"][:, 0].sum() == 0
    assert ours.parts["active"].tolist() == [False, True, True, True, True]
    assert "1 of 5 codes have a standard deviation below 0.05, and get no vote" in ours.notes


def test_factor_vae_of_published_cases():
    good = metrics.factor_vae_score_of(lambda v: v, ten_factors, items=2500, **SETTINGS)
    bad = metrics.factor_vae_score_of(np.zeros_like, ten_factors, items=2500, **SETTINGS)
    assert 0.9 <= min(good.value, good.parts["train"]) <= 1
    assert (bad.value, bad.parts["train"]) == (0, 0)


def test_a_set_and_its_generator_have_the_same_score():
    def draw(rng, n):
        return np.stack([rng.integers(0, k, n) for k in (3, 4, 5)], 1)

    noise = np.random.default_rng(1)

    def encode(v):
        return v + noise.normal(size=v.shape)

    v = draw(np.random.default_rng(2), 20_000)
    of_set = metrics.factor_vae_score(encode(v), v, **SETTINGS)
    assert same(of_set, metrics.factor_vae_score_of(encode, draw, **SETTINGS), 2000)


def test_factor_vae_takes_what_is_left():
    z, v = example(400)
    v = np.column_stack([v, np.zeros(400, dtype=int)])
    v[::3, 1] = -1
    found = metrics.factor_vae_score(z, v, votes=500, test_votes=500)
    assert found.parts["votes"].shape == (4, 4)
    assert found.parts["votes"][3].sum() == 0
    constant = metrics.factor_vae_score(np.ones((400, 2)), v, votes=500)
    assert constant.value == 0
    assert not constant.parts["active"].any()
    with pytest.raises(ValueError, match="batch=1: expected 2 items or more"):
        metrics.factor_vae_score(z, v, batch=1)


def test_generators_that_return_the_wrong_shapes_are_told_so():
    with pytest.raises(ValueError, match=r"expected \(n, factors\)"):
        metrics.factor_vae_score_of(lambda v: v, lambda rng, n: rng.integers(0, 3, n))
    with pytest.raises(ValueError, match="expected a row for each"):
        metrics.factor_vae_score_of(lambda v: v[:5], ten_factors)


# β-VAE


def test_beta_vae_of_the_published_case():
    found = metrics.beta_vae_score_of(
        lambda v: v, ten_factors, points=2000, test_points=2000, batch=5
    )
    assert 0.9 <= min(found.value, found.parts["train"]) <= 1


def test_beta_vae_is_the_published_loop_on_the_same_codes():
    z, v = example()
    rng, sets = np.random.default_rng(1), []
    for number in (1000, 2000):
        x, y = np.empty((number, 4)), rng.integers(3, size=number)
        for i, k in enumerate(y):
            first = rng.integers(len(v), size=4)
            second = [rng.choice(np.flatnonzero(v[:, k] == value)) for value in v[first, k]]
            x[i] = np.abs(z[first] - z[second]).mean(0)
        sets.append((x, y))
    loop = LogisticRegression(max_iter=1000).fit(*sets[0]).score(*sets[1])
    ours = metrics.beta_vae_score(z, v, points=1000, test_points=2000, batch=4)
    assert same(ours, loop, 2000)
    assert 0.4 < loop < 0.95


def test_beta_vae_refuses_one_factor():
    z, v = example(100)
    with pytest.raises(ValueError, match="factor 0 alone can be held"):
        metrics.beta_vae_score(z, v[:, 0])


# IRS


def loop_irs(z, v, quantile):
    """Compute disentanglement_lib's score value by value."""
    reach = np.max(np.abs(z - z.mean(0)), axis=0)
    matrix = np.zeros((z.shape[1], v.shape[1]))
    for k in range(v.shape[1]):
        values = np.unique(v[:, k])
        for value in values:
            group = z[v[:, k] == value]
            matrix[:, k] += np.quantile(np.abs(group - group.mean(0)), quantile, axis=0) / len(
                values
            )
    matrix = 1 - matrix / reach[:, None]
    return np.average(matrix.max(1), weights=reach), matrix


@pytest.mark.parametrize("quantile", [0, 0.5, 0.99, 1])
@pytest.mark.parametrize("bins", [None, 3, 20])
def test_irs_is_its_loop(quantile, bins):
    z, v = example(500)
    value, matrix = loop_irs(z, cells(v.astype(float), bins) if bins else v, quantile)
    found = metrics.irs(np.column_stack([z, np.ones(500)]), v, quantile=quantile, bins=bins)
    np.testing.assert_allclose(found.parts["matrix"][:4], matrix, atol=1e-12)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert np.isnan(found.parts["per_code"][4])
    assert found.parts["parents"].tolist() == [*matrix.argmax(1), -1]


def test_irs_of_published_cases():
    v = ten_factors(np.random.default_rng(0), 3000)
    assert 0.9 <= metrics.irs(v, v).value <= 1
    assert metrics.irs(np.zeros_like(v), v).value == 0


def test_irs_leaves_out_missing_items_of_their_factor():
    z, v = example(300)
    missing = v.copy()
    missing[::4, 1] = -1
    found = metrics.irs(z, missing, bins=None).parts["matrix"]
    reach = np.max(np.abs(z - z.mean(0)), axis=0)
    known = missing[:, 1] >= 0
    _, matrix = loop_irs(z[known], v[known], 0.99)
    scale = np.max(np.abs(z[known] - z[known].mean(0)), axis=0) / reach
    np.testing.assert_allclose(found[:, 1], 1 - (1 - matrix[:, 1]) * scale, atol=1e-12)
    np.testing.assert_allclose(found[:, 0], loop_irs(z, v, 0.99)[1][:, 0], atol=1e-12)


def test_irs_refuses_quantiles_that_are_none():
    z, v = example(100)
    with pytest.raises(ValueError, match="quantile 99: expected a number from 0 to 1"):
        metrics.irs(z, v, quantile=99)
