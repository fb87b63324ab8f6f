"""Information of units about a selection, against integrals and counts."""

import numpy as np
from scipy.stats import norm

from unweave.explorer.selection import class_information, normal_information


def test_normal_information_is_the_integral():
    """Against the integral of q(z|s) log q(z|s)/q(z) on a fine grid."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(50, 2)) * [2.0, 0.5]
    scales = rng.uniform(0.2, 0.7, size=(50, 2))
    inside = means[:, 0] > 0.5
    grid = np.linspace(-10, 10, 20001)
    expected = []
    for unit in range(2):
        density = norm.pdf(grid[:, None], means[:, unit], scales[:, unit])  # (grid, items)
        whole = density.mean(1)
        total = 0.0
        for side in (inside, ~inside):
            part = density[:, side].mean(1)
            held = part > 0
            ratio = np.log(part[held] / whole[held])
            total += side.mean() * np.trapezoid(part[held] * ratio, grid[held])
        expected.append(total)
    found, errors = normal_information(means, scales, inside)
    assert (np.abs(found - expected) < 4 * errors).all()
    assert (errors < 0.03).all()
    assert expected[0] > 0.3


def test_one_selected_item_of_many_keeps_its_error_small():
    means = np.arange(1000.0)[:, None]
    inside = np.arange(1000) == 500
    found, errors = normal_information(means, np.full((1000, 1), 0.01), inside)
    entropy = -0.001 * np.log(0.001) - 0.999 * np.log(0.999)
    np.testing.assert_allclose(found, entropy, atol=4 * errors.max() + 1e-6)


def test_class_information_counts():
    probs = np.eye(3)[[0, 0, 1, 2]]
    inside = np.array([True, True, False, False])
    assert class_information(probs, inside) == np.log(2)
    assert class_information(np.full((4, 3), 1 / 3), inside) == 0
