"""Items left out by a predicate on their factors, against loops over items."""

import numpy as np
import pytest

import unweave as uw
from unweave.data import leave_out, matching


@pytest.fixture(scope="module")
def data():
    return uw.data.sprites(500, uw.data.Scene(size=8), seed=0)


def test_items_are_left_out_one_by_one(data):
    rest, out = leave_out(data, lambda posX, shape: (shape == 1) & (posX < 9))
    expected = [i for i, row in enumerate(data.factors) if row[0] == 1 and row[3] < 9]
    assert 0 < len(expected) < len(data)
    np.testing.assert_array_equal(out.factors, data.factors[expected])
    np.testing.assert_array_equal(out.floats(), data.floats(expected))
    others = np.delete(np.arange(len(data)), expected)
    np.testing.assert_array_equal(rest.factors, data.factors[others])


def test_matching_items_have_a_combination_of_the_others(data):
    rest, out = leave_out(data, lambda shape, scale, posX: (shape == scale) & (posX > 20))
    names = ("shape", "scale")
    cells = {tuple(row[:2]) for row in out.factors}
    expected = [i for i, row in enumerate(rest.factors) if tuple(row[:2]) in cells]
    assert 0 < len(expected) < len(rest)
    np.testing.assert_array_equal(matching(rest, out, names).factors, rest.factors[expected])


def test_a_missing_class_is_a_class_of_its_own():
    values = (("a", "b"), ("c", "d"))
    x = np.zeros((4, 1), np.float32)
    factors = np.array([[0, 1], [-1, 1], [1, -1], [1, 0]])
    data = uw.data.Data(x, factors, ("one", "two"), (2, 2), values, "rows")
    wanted = data.subset([1])
    assert matching(data, wanted, ["one", "two"]).factors.tolist() == [[-1, 1]]


def test_errors_say_what_is_expected(data):
    with pytest.raises(KeyError, match=r"no factor 'colour'; its factors are: 'shape'"):
        leave_out(data, lambda colour: colour == 0)
    with pytest.raises(KeyError, match="no factor 'colour'"):
        matching(data, data, ["colour"])
    with pytest.raises(ValueError, match="returned int64 of shape"):
        leave_out(data, lambda shape: shape)
    with pytest.raises(ValueError, match="true of 500 of 500 items"):
        leave_out(data, lambda shape: shape >= 0)
