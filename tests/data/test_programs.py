"""Simulated counts have the moments that the docstring states."""

import numpy as np

import unweave as uw


def test_a_cells_counts_have_the_means_and_variances_of_the_equation():
    """Means of 20,000 cells are within five standard errors; by chance, once in 1e5 runs."""
    data = uw.data.programs(20_000, genes=8, programs=1, batches=2, batch=0.3, seed=1)
    x = data.floats()[:, :8]
    of_batch = data.factors[:, -1]
    np.testing.assert_array_equal(data.floats()[:, 8:], np.eye(2)[of_batch])
    rng = np.random.default_rng(1)
    level, batch = rng.integers(0, 4, (20_000, 1)), rng.integers(0, 2, 20_000)
    base = rng.gamma(1.0, 1.0, 8) + 0.05
    weights = (rng.random((1, 8)) < 0.1) * rng.gamma(2.0, 3.0, (1, 8))
    effect = 0.3 * rng.normal(size=(2, 8))
    rate = base + level / 3 * weights
    share = rate / rate.sum(1, keepdims=True) * np.exp(effect[batch])
    # sizes are 16 e^(0.4 ε): their mean and mean square
    first, second = 16 * np.exp(0.08), 256 * np.exp(0.32)
    mean = first * share
    square = second * share**2 * 1.25 + mean  # E x² = E μ² (1 + 1/4) + E μ
    error = x.std(0) / np.sqrt(len(x))
    assert (abs((x - mean).mean(0)) < 5 * error).all()
    error = (x**2).std(0) / np.sqrt(len(x))
    assert (abs((x**2 - square).mean(0)) < 5 * error).all()


def test_the_same_seed_gives_the_same_cells():
    one, other = (uw.data.programs(50, genes=10, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.floats(), other.floats())
    assert one.names[-1] == "batch"
