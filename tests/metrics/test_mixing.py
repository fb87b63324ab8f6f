"""Mixing is 1 where classes are drawn regardless of codes, and 0 where they lie apart."""

import numpy as np
import pytest

from unweave.metrics import mixing


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_mixing_at_random_and_apart(share):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(3000, 3))
    classes = rng.random(3000) < share
    assert abs(mixing(codes, classes).value - 1) < 0.03
    assert mixing(codes + 50 * classes[:, None], classes).value < 1e-12


def test_mixing_is_a_loop_over_neighbours():
    rng = np.random.default_rng(1)
    codes, classes = rng.normal(size=(40, 2)), rng.integers(0, 3, 40)
    codes[:, 0] += classes
    values = []
    for n in range(40):
        away = np.square(codes - codes[n]).sum(1)
        away[n] = np.inf
        near = classes[np.argsort(away)[:7]]
        different = [a != b for i, a in enumerate(near) for b in np.delete(near, i)]
        values.append(np.mean(different))  # pairs of two neighbours
    apart = 1 - np.square(np.bincount(classes) / 40).sum()
    assert mixing(codes, classes, neighbours=7).value == pytest.approx(np.mean(values) / apart)


def test_what_cannot_mix_is_refused():
    with pytest.raises(ValueError, match="one class alone"):
        mixing(np.zeros((50, 2)), np.zeros(50))
    with pytest.raises(ValueError, match="50 items: expected more than the 50 neighbours"):
        mixing(np.zeros((50, 2)), np.arange(50) % 2, neighbours=50)
