"""Statistics of methods over seeds: means, paired differences, intervals, ranks, their stability.

A value is one score of one run. Methods are compared within seeds: methods that share a seed share
the order of their data, and its luck cancels in differences and ranks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

EXACT = 8
"""The most seeds whose bootstrap is a sum over all resamples: 6,435 of them at eight."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its standard deviation, and the half width of its interval.

    With one seed there is neither spread nor interval: both are None. With no seed, the mean is
    None too.
    """

    mean: float | None
    sd: float | None
    half: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The two ends of the interval, None without one."""
        if self.mean is None or self.half is None:
            return None
        return self.mean - self.half, self.mean + self.half

    def excludes(self, value: float) -> bool:
        """Return whether there is an interval, and `value` lies outside it."""
        if self.interval is None:
            return False
        low, high = self.interval
        return not low <= value <= high


def estimate(values: ArrayLike, level: float = 0.95) -> Estimate:
    r"""Return the mean over seeds with Student's interval.

    .. math:: \bar x \pm t_{(1 + \text{level}) / 2,\, n - 1} \; s / \sqrt n, \quad
              s^2 = \tfrac{1}{n - 1} \sum_i (x_i - \bar x)^2

    For values that are about normal, the interval covers the mean over many more seeds; it says
    nothing of other data sets. At two seeds t is 12.7: such an interval is honest, and wide.

    Args:
        values: (seeds,); those that are NaN or infinite (a score that a run could not have) are
            left out.
        level: How often such an interval covers the mean.

    Raises:
        ValueError: For values that are no vector, or a level outside (0, 1).

    Source: Student, "The probable error of a mean" (1908).

    >>> e = estimate([1.0, 2.0, 3.0])
    >>> e.mean, e.sd, round(e.half, 3), e.n
    (2.0, 1.0, 2.484, 3)
    >>> estimate([0.5])
    Estimate(mean=0.5, sd=None, half=None, n=1)
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"values of shape {x.shape}: expected a vector, a value a seed")
    if not 0 < level < 1:
        raise ValueError(f"level {level}: expected a share between 0 and 1, such as 0.95")
    x = x[np.isfinite(x)]
    n = len(x)
    if n == 0:
        return Estimate(None, None, None, 0)
    mean = float(x.mean())
    if n == 1:
        return Estimate(mean, None, None, 1)
    sd = float(x.std(ddof=1))
    t = stats.t.ppf((1 + level) / 2, n - 1)
    half = float(t * sd / math.sqrt(n))
    return Estimate(mean, sd, half, n)


def differences(values: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Return by how much a method exceeds the baseline, at each seed that both have.

    >>> differences({0: 3.0, 1: 5.0, 7: 1.0}, {0: 1.0, 1: 2.0, 2: 9.0})
    {0: 2.0, 1: 3.0}
    """
    common = [seed for seed in values if seed in baseline]
    return {seed: values[seed] - baseline[seed] for seed in common}


def paired(
    values: Mapping[int, float], baseline: Mapping[int, float], level: float = 0.95
) -> Estimate:
    """Return the mean of `differences` with Student's interval: the paired t interval.

    See `estimate` for the interval and its `level`.

    >>> paired({0: 3.0, 1: 5.0, 2: 4.0}, {0: 1.0, 1: 3.0, 2: 2.0})
    Estimate(mean=2.0, sd=0.0, half=0.0, n=3)
    """
    return estimate(list(differences(values, baseline).values()), level)


def sign_flip(differences: ArrayLike) -> float:
    r"""Return the exact two-sided p-value of differences, by flipping their signs.

    Where methods do not differ, differences are symmetric about 0, and all signs are as likely:

    .. math:: p = 2^{-n} \, \#\{ s \in \{-1, 1\}^n : |\textstyle\sum_i s_i d_i| \geq |\sum_i d_i| \}

    It asks for no normal values, and has a floor: with n seeds it is never below 2^-(n-1), 0.0625
    at five. A p of 0.05 or less takes six seeds.

    Args:
        differences: (seeds,), at most 20 of them.

    Raises:
        ValueError: Without differences, for ones that are not finite, or for more than 20.

    Source: Fisher, "The design of experiments" (1935), section 21.

    >>> sign_flip([1.0, 2.0, 1.5, 0.5, 3.0]), sign_flip([1.0, -1.0])
    (0.0625, 1.0)
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or not 1 <= len(d) <= 20 or not np.isfinite(d).all():
        raise ValueError(
            f"differences of shape {d.shape}: expected a vector of 1 to 20 finite numbers"
        )
    sums = np.zeros(1)
    for one in d:
        sums = np.concatenate([sums + one, sums - one])  # (2^n,): every way to sign them
    rounding = 1e-12 * np.abs(d).sum()
    as_large = np.abs(sums) >= abs(d.sum()) - rounding
    return float(as_large.mean())


# -- ranks -----------------------------------------------------------------------------------------


def complete(values: Mapping[str, Mapping[int, float]]) -> tuple[list[str], list[int], Floats]:
    """Return the methods that have values, the seeds that they share, and a table of the values.

    The table's shape is (seeds, methods).

    >>> complete({"a": {0: 1.0, 1: 2.0}, "b": {1: 4.0, 0: 3.0, 2: 5.0}, "c": {}})
    (['a', 'b'], [0, 1], array([[1., 3.],
           [2., 4.]]))
    """
    held = {method: by_seed for method, by_seed in values.items() if by_seed}
    methods = list(held)
    seeds = list(held[methods[0]]) if held else []
    for by_seed in held.values():
        seeds = [seed for seed in seeds if seed in by_seed]
    table = np.empty((len(seeds), len(methods)))
    for column, by_seed in enumerate(held.values()):
        table[:, column] = [by_seed[seed] for seed in seeds]
    return methods, seeds, table


def ranks(values: ArrayLike, higher: bool = True) -> Floats:
    """Return the ranks of methods within each seed, (seeds, methods).

    Rank 1 is the best; ties share the mean of their places.

    >>> ranks([[0.1, 0.3, 0.2], [0.5, 0.5, 0.1]])
    array([[3. , 1. , 2. ],
           [1.5, 1.5, 3. ]])
    """
    x = _table(values)
    ranked = stats.rankdata(-x if higher else x, axis=1)
    return np.asarray(ranked, dtype=np.float64).reshape(x.shape)


def concordance(ranks: ArrayLike) -> float | None:
    r"""Return Kendall's W, how far seeds agree on the order of methods.

    W is 1 if all seeds say the same, and 1 / n on average by chance.

    .. math:: W = \frac{12 \sum_j (R_j - n (m + 1) / 2)^2}{n^2 (m^3 - m) - n \sum_i T_i},
              \quad T_i = \sum_{\text{ties}} t^3 - t

    with R_j the sum of a method's ranks over n seeds, m methods, and t the sizes of the groups of
    ties in a seed.

    Args:
        ranks: (seeds, methods), see `ranks`.

    Returns:
        W in [0, 1]; None where there is nothing to agree on: fewer than two seeds or methods, or
        ties alone.

    Source: Kendall and Babington Smith, "The problem of m rankings" (1939).

    >>> concordance([[1, 2, 3], [1, 2, 3]]), concordance([[1, 2, 3], [3, 2, 1]])
    (1.0, 0.0)
    """
    r = _table(ranks)
    n, m = r.shape
    if n < 2 or m < 2:
        return None
    ties = 0.0
    for row in r:
        t = np.unique(row, return_counts=True)[1].astype(float)
        ties += float((t**3 - t).sum())
    most = n**2 * (m**3 - m) - n * ties
    if most <= 0:
        return None
    sums = r.sum(0)  # (methods,)
    expected = n * (m + 1) / 2
    spread = ((sums - expected) ** 2).sum()
    return float(12 * spread / most)


def agreement(ranks: ArrayLike) -> float | None:
    r"""Return Spearman's correlation of the orders of two seeds, the mean over pairs of seeds.

    Without ties it is (n W - 1) / (n - 1), with W of `concordance`; unlike W it is 0 by chance at
    any n.

    Args:
        ranks: (seeds, methods), see `ranks`.

    Returns:
        A number in [-1 / (n - 1), 1]; None without two seeds in each of which methods differ.

    Source: Spearman, "The proof and measurement of association between two things" (1904).

    >>> agreement([[1, 2, 3], [1, 2, 3], [1, 3, 2]])
    0.666...
    """
    r = _table(ranks)
    centred = r - r.mean(1, keepdims=True)
    length = np.sqrt((centred**2).sum(1))  # (seeds,)
    differ = length > 0
    unit = centred[differ] / length[differ, None]
    if len(unit) < 2:
        return None
    correlations = unit @ unit.T  # (seeds, seeds)
    pairs = np.triu_indices(len(unit), 1)
    return float(correlations[pairs].mean())


def firsts(values: ArrayLike, higher: bool = True, *, draws: int = 10_000, seed: int = 0) -> Floats:
    r"""Return how often each method would come first by its mean, were seeds drawn anew from these.

    .. math:: P(j = \arg\max_k \textstyle\sum_i w_i x_{ik}),
              \quad w \sim \text{Multinomial}(n; 1/n, \dots, 1/n)

    The chance is a sum over all resamples for up to `EXACT` seeds, else a mean over `draws` of
    them. Methods that tie share. One seed says who was first, and no more.

    Args:
        values: (seeds, methods).
        higher: Whether more is better.
        draws: The number of resamples, for more than `EXACT` seeds.
        seed: The seed of the draws.

    Returns:
        (methods,), shares that add up to 1.

    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).

    The resamples of two seeds: the first twice 1/4, both 1/2, the second twice 1/4.

    >>> firsts([[1.0, 0.0], [0.0, 2.0]])
    array([0.25, 0.75])
    """
    x = _table(values) if higher else -_table(values)
    n = len(x)
    if n <= EXACT:
        counts = np.array(list(_compositions(n, n)), dtype=np.float64)  # (resamples, seeds)
        chance = np.exp([_log_ways(row) for row in counts]) / n**n
    else:
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(n, np.full(n, 1 / n), size=draws)
        counts = drawn.astype(np.float64)  # (draws, seeds)
        chance = np.full(draws, 1 / draws)
    means = counts @ x / n  # (resamples, methods)
    rounding = 1e-12 * np.abs(x).max()
    best = means >= means.max(1, keepdims=True) - rounding
    shares = best / best.sum(1, keepdims=True)
    return np.asarray(chance @ shares)


def _log_ways(counts: Floats) -> float:
    """Return the log of the number of sequences in which each seed occurs as often as counted."""
    log_repeats = sum(math.lgamma(count + 1) for count in counts)
    return math.lgamma(counts.sum() + 1) - log_repeats


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways to write `total` as a sum of `parts` whole numbers: bars between stars."""
    for bars in itertools.combinations(range(total + parts - 1), parts - 1):
        edges = (-1, *bars, total + parts - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def _table(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(
            f"an array of shape {x.shape}: expected (seeds, methods) of finite numbers, none "
            "missing"
        )
    return x
