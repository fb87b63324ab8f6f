"""Tests of information by the exact q(z): loops, integrals, closed forms, the KL's parts."""

import tracemalloc

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

from unweave import metrics
from unweave.metrics import posteriors
from unweave.metrics.posteriors import aggregate, draws


def example(n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    v = np.stack([rng.integers(0, k, n) for k in (2, 3)], 1)
    means = np.column_stack(
        [2.0 * v[:, 0], v[:, 1] + 0.3 * rng.normal(size=n), rng.normal(size=(n, d - 2))]
    )
    return means, 0.3 + rng.random((n, d)), v


def loop_aggregate(z, means, scales):
    of_codes = np.array(
        [
            [
                logsumexp(norm.logpdf(x, m, s))
                for x, m, s in zip(row, means.T, scales.T, strict=True)
            ]
            for row in z
        ]
    )
    of_whole = [logsumexp(norm.logpdf(row, means, scales).sum(1)) for row in z]
    return of_codes - np.log(len(means)), np.array(of_whole) - np.log(len(means))


def entropy(means, scales):
    """Integrate the entropy of a mixture of Normals on a line."""

    def integrand(x):
        p = norm.pdf(x, means, scales).mean()
        return -p * np.log(p) if p > 0 else 0.0

    low, high = (means - 12 * scales).min(), (means + 12 * scales).max()
    return quad(integrand, low, high, limit=500, epsabs=1e-9)[0]


@pytest.mark.parametrize("held", [1, 50, 2**20])
def test_the_aggregate_is_a_loop_whatever_is_held_at_a_time(held, monkeypatch):
    monkeypatch.setattr(posteriors, "NUMBERS", held)
    means, scales, _ = example(20)
    z = np.vstack([means[:5], means[:2] + 60])  # far from all items, where densities underflow
    for ours, loop in zip(
        aggregate(z, means, scales), loop_aggregate(z, means, scales), strict=True
    ):
        np.testing.assert_allclose(ours, loop, atol=1e-10)


def test_information_is_a_loop_over_its_draws():
    means, scales, _ = example()
    found = metrics.posterior_information(means, scales, points=90, seed=4)
    items, z = draws(means, scales, 90, 4)
    of_codes, of_whole = loop_aggregate(z, means, scales)
    own = norm.logpdf(z, means[items], scales[items])
    np.testing.assert_allclose(found.parts["per_code"], (own - of_codes).mean(0), atol=1e-10)
    assert found.value == pytest.approx((own.sum(1) - of_whole).mean(), abs=1e-10)
    assert found.parts["standard_error"] == pytest.approx(
        (own.sum(1) - of_whole).std() / np.sqrt(90), abs=1e-10
    )


def test_draws_visit_items_evenly():
    means, scales, _ = example(20)
    counts = np.bincount(draws(means, scales, 50, 0)[0], minlength=20)
    assert set(counts) == {2, 3}


def test_the_kl_decomposes():
    means, scales, _ = example()
    parts = metrics.posterior_information(means, scales).parts
    whole = metrics.posterior_information(means, scales).value
    kl = ((means**2 + scales**2 - 1) / 2 - np.log(scales)).mean(0)
    np.testing.assert_allclose(parts["kl"], kl, atol=1e-12)
    assert whole + parts["total_correlation"] + parts["dimension_kl"].sum() == pytest.approx(
        kl.sum(), abs=1e-10
    )


def test_one_code_agrees_with_numerical_integration():
    means, scales, v = example()
    mu, sigma = means[:, 1], scales[:, 1]
    within = np.mean(np.log(sigma) + 0.5 * np.log(2 * np.pi * np.e))
    exact = entropy(mu, sigma) - within
    found = metrics.posterior_information(mu, sigma, points=20_000)
    assert (
        abs(found.value - exact) < 5 * found.parts["standard_error"]
    )  # fails once in two million seeds
    share = np.bincount(v[:, 1]) / len(v)
    exact_v = entropy(mu, sigma) - sum(
        p * entropy(mu[v[:, 1] == k], sigma[v[:, 1] == k]) for k, p in enumerate(share)
    )
    found_v = metrics.factor_information(mu, sigma, v[:, 1], points=20_000)[0, 0]
    items, z = draws(mu[:, None], sigma[:, None], 20_000, 0)
    ratio = -aggregate(z, mu[:, None], sigma[:, None])[1]
    for k in range(3):
        here, there = v[items, 1] == k, v[:, 1] == k
        ratio[here] += aggregate(z[here], mu[there, None], sigma[there, None])[1]
    assert abs(found_v - exact_v) < 5 * ratio.std() / np.sqrt(20_000)


def test_the_kl_of_a_code_to_the_prior_agrees_with_numerical_integration():
    means, scales, _ = example()
    mu, sigma = means[:, 0], scales[:, 0]
    cross = 0.5 * np.log(2 * np.pi) + (mu**2 + sigma**2).mean() / 2
    found = metrics.posterior_information(mu, sigma, points=20_000)
    error = abs(found.parts["dimension_kl"][0] - (cross - entropy(mu, sigma)))
    assert error < 5 * found.parts["standard_error"]


def test_information_ends_at_its_bounds():
    apart = metrics.posterior_information(1000 * np.arange(12.0), np.ones(12))
    alike = metrics.posterior_information(np.ones((12, 2)), np.ones((12, 2)))
    assert apart.value == pytest.approx(np.log(12), abs=1e-10)
    assert alike.value == pytest.approx(0, abs=1e-10)
    copies = metrics.posterior_information(
        1000 * np.arange(12.0)[:, None] * [1, 1], np.ones((12, 2))
    )
    assert copies.parts["total_correlation"] == pytest.approx(np.log(12), abs=1e-10)


def test_factor_information_is_a_loop_over_its_draws():
    means, scales, v = example()
    v = np.column_stack([v, np.zeros(len(v), dtype=int)])
    v[::7, 1] = -1
    found = metrics.factor_information(means, scales, v, points=80, seed=2)
    for k in range(2):
        known = v[:, k] >= 0
        mu, sigma, classes = means[known], scales[known], v[known, k]
        items, z = draws(mu, sigma, 80, 2)
        marginal, total = loop_aggregate(z, mu, sigma)[0], np.zeros(3)
        for item, row, log_q in zip(items, z, marginal, strict=True):
            there = classes == classes[item]
            total += loop_aggregate(row[None], mu[there], sigma[there])[0][0] - log_q
        np.testing.assert_allclose(found[:, k], total / 80, atol=1e-10)
    assert np.isnan(found[:, 2]).all()


def test_mig_is_chens_gap_of_that_information():
    means, scales, v = example()
    mutual = np.maximum(metrics.factor_information(means, scales, v, seed=1), 0)
    ordered = np.sort(mutual / np.log([2, 3]), axis=0)
    found = metrics.mig_exact(means, scales, v, seed=1)
    assert found.value == pytest.approx((ordered[-1] - ordered[-2]).mean(), abs=1e-12)
    np.testing.assert_array_equal(found.parts["mutual_information"], mutual)


def test_noise_about_means_lowers_the_exact_gap_and_not_that_of_means():
    v = np.array([[i, j] for i in range(4) for j in range(4)] * 4)
    sharp, vague = (metrics.mig_exact(v, np.full((64, 2), s), v).value for s in (0.01, 1.0))
    assert sharp == pytest.approx(1, abs=1e-6)
    assert vague < 0.5
    assert metrics.mig(v, v).value == pytest.approx(1)


def test_memory_does_not_grow_with_items():
    means = np.random.default_rng(0).normal(size=(20_000, 10))
    scales = np.ones_like(means)
    tracemalloc.start()
    metrics.posterior_information(means, scales, points=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


def test_posteriors_that_are_none_are_refused():
    means, scales, v = example()
    with pytest.raises(ValueError, match=r"scales are not positive .* exp\(0.5 \* log_variance\)"):
        metrics.posterior_information(means, np.log(scales))
    with pytest.raises(ValueError, match=r"means have shape \(60, 3\) and scales \(60, 2\)"):
        metrics.factor_information(means, scales[:, :2], v)
    with pytest.raises(ValueError, match="points=0: expected 1 or more"):
        metrics.mig_exact(means, scales, v, points=0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        metrics.posterior_information(np.full((60, 3), np.nan), scales)
