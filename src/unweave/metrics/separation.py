r"""The separated attribute predictability score (SAP): how well one code alone tells a factor.

For a discrete factor the line is scikit-learn's `LinearSVC`, one class against the rest. On one
code that is a problem in two unknowns, and the items that violate the margin are those on one side
of a threshold. The items are sorted once, with running sums of 1, x and x² by class; each of
Newton's steps is then a look-up for every class, and finds the minimum exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import gap
from .probes import held_out
from .score import Score, paired

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
PENALTY = 0.01
"""The weight C of the hinge beside ½ |w|², as in disentanglement_lib."""


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: bool | None = None,
    test: float = 1 / 3,
    seed: int = 0,
) -> Score:
    r"""Separated attribute predictability: how far is a factor's best code ahead of the second?

    .. math:: \frac{1}{|K|} \sum_k S_{(1) k} - S_{(2) k}

    For a discrete factor, S_jk is the accuracy on held-out items of a linear support vector
    classifier that sees z_j alone (C = 0.01, classes balanced). For a continuous factor it is the
    squared correlation of z_j and v_k, 0 for a constant code. SAP takes factors to be ordered along
    a code: a factor that is a code's absolute value counts as unknown.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        continuous: True to take all factors for continuous, False for none, None for those that
            `paired` finds.
        test: Share of items that accuracies are measured on; disentanglement_lib draws 10,000 items
            to fit and 5,000 to measure.
        seed: Seed of the split.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib". That library's classifiers
        stop at a tolerance of 1e-4, and these are exact: accuracies may differ by the few items
        between the two lines. `parts` are "per_factor" and "predictability" (codes, factors).

    Raises:
        ValueError: If `paired` refuses the arrays, or the `test` share leaves nothing to fit or to
            measure.

    Source: Kumar et al., "Variational inference of disentangled latent concepts from unlabeled
    observations" (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 30)
    >>> float(sap(v, v)) > 0.3, float(sap(v, v, continuous=True))
    (True, 1.0)
    """
    pairs = paired(codes, factors)
    hidden = held_out(len(pairs.codes), test, seed)
    as_numbers = pairs.varied & (pairs.continuous if continuous is None else continuous)
    scores = np.full(pairs.shape, np.nan)
    for k in np.flatnonzero(as_numbers):
        known = pairs.factors[:, k] >= 0
        target = pairs.targets[known, k]
        scores[:, k] = squared_correlation(pairs.codes[known], target)
    classes = np.flatnonzero(pairs.varied & ~as_numbers)
    if classes.size:
        fit = pairs.factors[~hidden][:, classes]
        measure = pairs.factors[hidden][:, classes]
        if not ((fit >= 0).any(0) & (measure >= 0).any(0)).all():
            raise ValueError(
                "a factor is known of no item to fit or of none to test: expected both with "
                f"test={test}"
            )
        for j, code in enumerate(pairs.codes.T):
            scores[j, classes] = accuracy(code[~hidden], fit, code[hidden], measure)
    each = gap(scores)
    value = float(np.nanmean(each))
    return Score(
        "SAP",
        value,
        "disentanglement_lib",
        range=(0, 1),
        parts={"per_factor": each, "predictability": scores},
        notes=pairs.notes,
    )


def squared_correlation(codes: Floats, target: Floats) -> Floats:
    """Compute the squared correlation of each code (n, codes) with a target (n,).

    As in disentanglement_lib, it is 0 for codes of a variance below 1e-12.
    """
    z = codes - codes.mean(0)
    v = target - target.mean()
    of_codes = (z**2).sum(0)
    of_target = float((v**2).sum())
    dead = of_codes <= 1e-12 * (len(z) - 1)
    scale = np.where(dead, 1, of_codes) * (of_target or 1)
    return np.where(dead, 0, (v @ z) ** 2 / scale)


def accuracy(code: Floats, classes: Classes, new_code: Floats, new_classes: Classes) -> Floats:
    """Measure classifiers of factors (n, factors), fitted on a code (n,), on new items.

    A factor's accuracy is the share of the new items that its classifier names, (factors,), among
    those whose factor is known.
    """
    slope, intercept, of = lines(code, classes)
    found = np.zeros(classes.shape[1])
    for k, new in enumerate(new_classes.T):
        here = np.flatnonzero(of[0] == k)
        top = highest(slope[here], intercept[here], new_code)
        guess = of[1, here][top]
        right = guess == new
        found[k] = right.sum() / (new >= 0).sum()
    return found


def highest(slope: Floats, intercept: Floats, at: Floats) -> Classes:
    """Find the highest line at each place, the first of equal ones, in the lines' upper envelope.

    >>> highest(np.array([1.0, -1.0, 0.0]), np.zeros(3), np.array([-2.0, 3.0])).tolist()
    [1, 0]
    """
    envelope: list[int] = []
    starts: list[float] = []
    w, b = slope.tolist(), intercept.tolist()
    for k in np.lexsort((-np.arange(len(w)), intercept, slope)).tolist():
        start = -np.inf
        while envelope:
            top = envelope[-1]
            rise = w[k] - w[top]
            start = (b[top] - b[k]) / rise if rise > 0 else -np.inf
            if start > starts[-1]:
                break
            envelope.pop(), starts.pop()
        envelope.append(k)
        starts.append(start if len(envelope) > 1 else -np.inf)
    return np.array(envelope)[np.searchsorted(starts[1:], at)]


def lines(
    code: Floats, classes: Classes, *, penalty: float = PENALTY
) -> tuple[Floats, Floats, Classes]:
    r"""Fit a line to each class of each factor against the rest, on one code.

    .. math:: \arg\min_{w, b} \tfrac12 (w^2 + b^2) + \sum_i C_i \max(0, 1 - y_i (w x_i + b))^2

    An item goes to the class of the highest line. y_i is 1 in the class and −1 outside it. C_i is
    penalty · n / (classes · count) in the class, so that classes weigh alike, and penalty outside
    it; if there are two classes, both are balanced. This is liblinear's problem for
    `LinearSVC(C, class_weight="balanced")`.

    Args:
        code: (n,).
        classes: (n, factors) class numbers, −1 where missing.
        penalty: The weight C.

    Returns:
        Slopes w and intercepts b, (lines,), and each line's factor and class, (2, lines).
    """
    hinges = _Hinges.of(code, classes, penalty)
    line = np.zeros((2, len(hinges.inside)))
    value, best = hinges.look(line)
    for _ in range(100):  # a handful suffices: there are finitely many sets of violators
        step = best - line
        for _ in range(40):
            value_there, best_there = hinges.look(line + step)
            worse = value_there > value * (1 + 1e-14)
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        line, value, best = line + step, value_there, best_there
        if np.all(np.abs(best - line) <= 1e-12 * (1 + np.abs(line))):
            break
    return best[0], best[1], hinges.names


@dataclass(frozen=True)
class _Hinges:
    """Squared hinges of classes against their rests, as running sums over the sorted code."""

    code: Floats
    """The sorted code, (n,)."""
    sums: Floats
    """Running sums of 1, x, x² over items in the code's order, (3, n + 1)."""
    by_class: Floats
    """The same over items by factor, class (the missing are one) and then code,
    (3, factors · n + 1)."""
    place: Classes
    """Number of the item's class · n + rank, for each item in the order of `by_class`."""
    names: Classes
    """Factor and class of each line, (2, lines)."""
    own: Classes
    """The number of each line's class, (lines,)."""
    missing: Classes
    """The number of the class of missing items of each line's factor, (lines,)."""
    inside: Floats
    """The weight of items in each line's class, (lines,)."""
    outside: Floats
    """The weight of items outside it, (lines,)."""

    @staticmethod
    def of(code: Floats, classes: Classes, penalty: float) -> _Hinges:
        n, order = len(code), np.argsort(code)
        x = code[order]
        most = int(classes.max()) + 2
        # small integers sort by radix
        number = (classes[order] + 1).astype(np.min_scalar_type(most)).T  # (factors, n)
        groups = np.argsort(number, axis=1, kind="stable")
        first = np.arange(len(number)) * most
        group = np.take_along_axis(number, groups, 1) + first[:, None]  # (factors, n)
        place = group * n + groups
        counts = np.stack([np.bincount(row, minlength=most) for row in number])  # (factors, most)
        counts[:, 0] = 0  # missing items are no class
        factor, own = np.nonzero(counts)
        count = counts[factor, own]  # (lines,), as all that follow
        known = counts.sum(1)[factor]
        kinds = (counts > 0).sum(1)[factor]
        inside = penalty * known / (kinds * count)
        rest = np.maximum(known - count, 1)
        balanced_rest = penalty * known / (kinds * rest)
        moments = np.stack([np.ones(n), x, x**2])
        return _Hinges(
            x,
            _running(moments),
            _running(moments[:, groups.ravel()]),
            place.ravel(),
            np.stack([factor, own - 1]),
            first[factor] + own,
            first[factor],
            inside,
            np.where(kinds == 2, balanced_rest, penalty),
        )

    @cached_property
    def firsts(self) -> tuple[Floats, Floats]:
        """The running sums in front of each line's class, and of its missing items, (3, lines)."""
        return self._until(self.own, 0), self._until(self.missing, 0)

    @cached_property
    def wholes(self) -> tuple[Floats, Floats]:
        """The sums over each line's class, and over its missing items, (3, lines)."""
        of_class, of_missing = self.firsts
        n = len(self.code)
        return self._until(self.own, n) - of_class, self._until(self.missing, n) - of_missing

    def _until(self, group: Classes, cut: Classes | int) -> Floats:
        """Return the running sums at a group's items among the first `cut` of the code."""
        last = np.searchsorted(self.place, group * len(self.code) + cut)
        return np.asarray(self.by_class[:, last], dtype=np.float64)

    def violators(self, line: Floats) -> tuple[Floats, Floats]:
        """Sum 1, x, x² over the items in and outside each class that violate its margin.

        Returns:
            Both sums, (3, lines).
        """
        # adding 0 turns −0 into 0: a flat line's threshold is at an infinity of the right sign
        slope, intercept = line + 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.searchsorted(self.code, (1 - intercept) / slope)
            outer = np.searchsorted(self.code, (-1 - intercept) / slope)
        of_class, of_missing = self.firsts
        all_inside, all_missing = self.wholes
        inside = self._until(self.own, inner) - of_class
        missing = self._until(self.missing, outer) - of_missing
        rest = self.sums[:, outer] - (self._until(self.own, outer) - of_class) - missing
        all_rest = self.sums[:, -1:] - all_inside - all_missing
        rising = slope >= 0
        within = np.where(rising, inside, all_inside - inside)
        beyond = np.where(rising, all_rest - rest, rest)
        return within, beyond

    def look(self, line: Floats) -> tuple[Floats, Floats]:
        """Evaluate the objective, (lines,), and minimise it for these violators, (2, lines)."""
        slope, intercept = line
        inside, outside = self.violators(line)
        weighted_in = self.inside * inside
        weighted_out = self.outside * outside
        one, x, xx = 2 * (weighted_in + weighted_out)
        y, yx, _ = 2 * (weighted_in - weighted_out)
        of_slope, of_intercept = xx + 1, one + 1  # the penalty adds 1
        by_slope = slope * (slope * of_slope + 2 * intercept * x)
        quadratic = by_slope + intercept**2 * of_intercept
        value = (quadratic + one) / 2 - slope * yx - intercept * y
        determinant = of_slope * of_intercept - x**2
        best_slope = of_intercept * yx - x * y
        best_intercept = of_slope * y - x * yx
        best = np.stack([best_slope, best_intercept]) / determinant
        return np.asarray(value, dtype=np.float64), np.asarray(best, dtype=np.float64)


def _running(moments: Floats) -> Floats:
    start = np.zeros((len(moments), 1))
    return np.concatenate([start, np.cumsum(moments, axis=1)], axis=1)
