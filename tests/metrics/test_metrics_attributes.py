"""Tests of TAD: loops over pairs of items, attributes that tell one another, arrays it refuses."""

import numpy as np
import pytest

from unweave.metrics import bootstrap, tad

RNG = np.random.default_rng(0)


def example(n=200):
    """Five attributes, of which the last is nearly a copy, and codes that tell some of them."""
    v = RNG.integers(0, 2, (n, 5))
    v[:, 4] = np.where(RNG.random(n) < 0.9, v[:, 3], 1 - v[:, 3])
    noise = RNG.normal(size=(n, 6))
    z = np.stack([v[:, 0], -v[:, 1], v[:, 1], v[:, 3], v[:, 2], 0 * v[:, 0]], 1)
    z = z + noise * [0.3, 0.5, 0.9, 0.5, 3.0, 1.0]
    return z.round(1), v  # rounded, so that there are ties


def area(code, attribute):
    """Compare every item that has the attribute with every one that has not."""
    wins = [
        (one > other) + 0.5 * (one == other)
        for one in code[attribute == 1]
        for other in code[attribute == 0]
    ]
    return max(np.mean(wins), 1 - np.mean(wins))


def told(attribute, other):
    """Return the share of an attribute's entropy that another one tells."""

    def entropy(*columns):
        _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
        p = counts / counts.sum()
        return -(p * np.log(p)).sum()

    own = entropy(attribute)
    return (own + entropy(other) - entropy(attribute, other)) / own


def loop(z, v, convention):
    """Sum the differences of the attributes that count, one at a time."""
    found = np.array([[area(code, attribute) for attribute in v.T] for code in z.T])
    total, counted, of_code = 0.0, 0, {}
    for k in range(v.shape[1]):
        second, first = sorted(found[:, k])[-2:]
        others = [told(v[:, k], v[:, j]) for j in range(v.shape[1]) if j != k]
        if first < 0.75:
            continue
        if convention == "yeats":
            if max(others) <= 0.2:
                total, counted = total + first - second, counted + 1
            continue
        code = int(found[:, k].argmax())
        of_code[code] = max(of_code.get(code, (0, 0)), (first, first - second))
    if convention == "once":
        return sum(apart for _, apart in of_code.values()), len(of_code)
    return total, counted


@pytest.mark.parametrize("convention", ["yeats", "once"])
def test_it_is_the_sum_of_a_loop_over_pairs_of_items(convention):
    z, v = example()
    score = tad(z, v, convention=convention)
    total, counted = loop(z, v, convention)
    assert score.value == pytest.approx(total, abs=1e-12)
    assert score.parts["attributes"] == counted
    assert counted > 1
    assert score.parts["auroc"][0, 0] == pytest.approx(area(z[:, 0], v[:, 0]), abs=1e-12)


def test_attributes_that_tell_one_another_are_left_out_or_counted_once():
    z, v = example()
    apart = tad(z, v)
    assert apart.parts["counted"].tolist() == [True, True, False, False, False]
    once = tad(z, v, convention="once")
    assert once.parts["counted"].tolist() == [True, True, False, True, False]


def test_signs_scales_and_missing_attributes_change_nothing_else():
    z, v = example()
    known = v.copy()
    known[:20, 0] = -1
    expected = tad(z, v).value
    assert tad(-3 * z + 1, v).value == pytest.approx(expected, abs=1e-12)
    some = tad(z, known)
    assert some.parts["auroc"][0, 0] == pytest.approx(area(z[20:, 0], v[20:, 0]), abs=1e-12)
    np.testing.assert_allclose(some.parts["auroc"][:, 1], tad(z, v).parts["auroc"][:, 1])


def test_one_code_has_chance_for_a_second():
    z, v = example()
    score = tad(z[:, 0], v[:, :1])
    assert score.value == pytest.approx(area(z[:, 0], v[:, 0]) - 0.5, abs=1e-12)


def test_factors_of_more_values_are_left_out_and_none_is_refused():
    z, v = example()
    three = np.arange(len(v)) % 3
    score = tad(z, np.column_stack([v, three]))
    assert score.value == pytest.approx(tad(z, v).value, abs=1e-12)
    assert "factors without exactly two values, left out: 1 of 6" in score.notes
    with pytest.raises(ValueError, match="no factor has two values"):
        tad(z, three)
    with pytest.raises(ValueError, match="'ours': expected 'yeats' or 'once'"):
        tad(z, v, convention="ours")


def test_bootstrap_gives_it_an_interval():
    score = bootstrap(tad, *example(), resamples=50)
    low, high = score.interval
    assert low < score.value < high
