"""What several seeds say of methods: means and paired differences with their intervals, ranks and
how stable they are.

Values are one score of one run. What is compared between methods is compared within seeds: methods
that share a seed share the order of their data, and its luck cancels in differences and ranks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

EXACT = 8
"""Seeds up to which the bootstrap is a sum over all resamples, and no draw: 6,435 of them at
eight.
"""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its standard deviation, and the half width of its interval.

    With one seed there is neither spread nor interval: both are None. With none, the mean is None
    too.
    """

    mean: float | None
    sd: float | None
    half: float | None
    n: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """The two ends, None without an interval."""
        return (
            None
            if self.mean is None or self.half is None
            else (self.mean - self.half, self.mean + self.half)
        )

    def excludes(self, value: float) -> bool:
        """Whether there is an interval, and `value` lies outside it."""
        return self.interval is not None and not self.interval[0] <= value <= self.interval[1]


def estimate(values: ArrayLike, level: float = 0.95) -> Estimate:
    r"""The mean over seeds with Student's interval.

    .. math:: \bar x \pm t_{(1 + \text{level}) / 2,\, n - 1} \; s / \sqrt n, \quad
              s^2 = \tfrac{1}{n - 1} \sum_i (x_i - \bar x)^2

    It covers what the mean over many more seeds would be, for values that are about normal; of data
    sets other than this one it says nothing. At two seeds t is 12.7: such an interval is honest,
    and wide.

    Args:
        values: (seeds,); those that are NaN or infinite (a score that a run could not have) are
        left out. level: Of the interval.

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
    if len(x) < 2:
        return Estimate(float(x[0]) if len(x) else None, None, None, len(x))
    sd = float(x.std(ddof=1))
    return Estimate(
        float(x.mean()),
        sd,
        float(stats.t.ppf((1 + level) / 2, len(x) - 1) * sd / math.sqrt(len(x))),
        len(x),
    )


def differences(values: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """By seed, what a method has more than the baseline, over the seeds that both have.

    >>> differences({0: 3.0, 1: 5.0, 7: 1.0}, {0: 1.0, 1: 2.0, 2: 9.0})
    {0: 2.0, 1: 3.0}
    """
    common = [seed for seed in values if seed in baseline]
    return {seed: values[seed] - baseline[seed] for seed in common}


def paired(
    values: Mapping[int, float], baseline: Mapping[int, float], level: float = 0.95
) -> Estimate:
    """The mean of `differences` with Student's interval, see `estimate`: the paired t interval.

    >>> paired({0: 3.0, 1: 5.0, 2: 4.0}, {0: 1.0, 1: 3.0, 2: 2.0})
    Estimate(mean=2.0, sd=0.0, half=0.0, n=3)
    """
    return estimate(list(differences(values, baseline).values()), level)


def sign_flip(differences: ArrayLike) -> float:
    r"""The exact p-value, two-sided, of differences that are symmetric about 0 where methods do not
    differ.

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
    for one in d:  # (2^n,): every way to sign them
        sums = np.concatenate([sums + one, sums - one])
    return float((np.abs(sums) >= abs(d.sum()) - 1e-12 * np.abs(d).sum()).mean())


# -- ranks -----------------------------------------------------------------------------------------


def complete(values: Mapping[str, Mapping[int, float]]) -> tuple[list[str], list[int], Floats]:
    """Methods that have values, the seeds that all of these share, and the values (seeds, methods).

    >>> complete({"a": {0: 1.0, 1: 2.0}, "b": {1: 4.0, 0: 3.0, 2: 5.0}, "c": {}})
    (['a', 'b'], [0, 1], array([[1., 3.],
           [2., 4.]]))
    """
    methods = [method for method, held in values.items() if held]
    seeds = (
        [seed for seed in values[methods[0]] if all(seed in values[m] for m in methods)]
        if methods
        else []
    )
    table = [[values[method][seed] for method in methods] for seed in seeds]
    return methods, seeds, np.array(table, dtype=np.float64).reshape(len(seeds), len(methods))


def ranks(values: ArrayLike, higher: bool = True) -> Floats:
    """Ranks of methods within each seed, (seeds, methods): 1 is the best, ties share the mean of
    their places.

    >>> ranks([[0.1, 0.3, 0.2], [0.5, 0.5, 0.1]])
    array([[3. , 1. , 2. ],
           [1.5, 1.5, 3. ]])
    """
    x = _table(values)
    return np.asarray(stats.rankdata(-x if higher else x, axis=1), dtype=np.float64).reshape(
        x.shape
    )


def concordance(ranks: ArrayLike) -> float | None:
    r"""Kendall's W, how far seeds agree on the order of methods: 1 if all say the same, 1 / n on
    average by chance.

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
    ties = sum(
        float((t**3 - t).sum())
        for t in (np.unique(row, return_counts=True)[1].astype(float) for row in r)
    )
    most = n**2 * (m**3 - m) - n * ties
    return float(12 * ((r.sum(0) - n * (m + 1) / 2) ** 2).sum() / most) if most > 0 else None


def agreement(ranks: ArrayLike) -> float | None:
    r"""Spearman's correlation of the orders that two seeds give, the mean over pairs of seeds.

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
    length = np.sqrt((centred**2).sum(1))
    unit = centred[length > 0] / length[length > 0, None]
    if len(unit) < 2:
        return None
    pairs = np.triu_indices(len(unit), 1)
    return float((unit @ unit.T)[pairs].mean())


def firsts(values: ArrayLike, higher: bool = True, *, draws: int = 10_000, seed: int = 0) -> Floats:
    r"""How often each method would come first by its mean, were the study's seeds drawn again from
    these.

    .. math:: P(j = \arg\max_k \textstyle\sum_i w_i x_{ik}), \quad w \sim \text{Multinomial}(n; 1/n, \dots, 1/n)

    The sum over all resamples for up to `EXACT` seeds, else `draws` of them. Methods that tie
    share. With one seed it says who was first, and no more.

    Args:
        values: (seeds, methods).
        higher: Whether more is better.
        draws: Of resamples, for more than `EXACT` seeds.
        seed: Of the draws.

    Returns:
        (methods,), shares that add up to 1.

    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).

    >>> firsts([[1.0, 0.0], [0.0, 2.0]])  # resamples: the first seed twice 1/4, both 1/2, the second twice 1/4
    array([0.25, 0.75])
    """
    x = _table(values) if higher else -_table(values)
    n = len(x)
    if n <= EXACT:
        counts = np.array(list(_compositions(n, n)), dtype=np.float64)  # (resamples, seeds)
        chance = (
            np.exp([math.lgamma(n + 1) - sum(math.lgamma(c + 1) for c in row) for row in counts])
            / n**n
        )
    else:
        counts = (
            np.random.default_rng(seed)
            .multinomial(n, np.full(n, 1 / n), size=draws)
            .astype(np.float64)
        )
        chance = np.full(draws, 1 / draws)
    means = counts @ x / n
    best = means >= means.max(1, keepdims=True) - 1e-12 * np.abs(x).max()
    return np.asarray(chance @ (best / best.sum(1, keepdims=True)))


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as a sum of `parts` whole numbers from 0: bars between stars."""
    for bars in itertools.combinations(range(total + parts - 1), parts - 1):
        edges: Sequence[int] = (-1, *bars, total + parts - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def _table(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise ValueError(
            f"an array of shape {x.shape}: expected (seeds, methods) of finite numbers, none "
            "missing"
        )
    return x
