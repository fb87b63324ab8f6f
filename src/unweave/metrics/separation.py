r"""How well one code alone tells a factor by a straight line: the separated attribute predictability score (SAP).

For a discrete factor the line is scikit-learn's `LinearSVC`, one class against the rest. On one code that is a problem
in two unknowns, and the items that violate the margin are those on one side of a threshold: sorted once, with running
sums of 1, x and x² by class, each of Newton's steps is a look-up for every class, and the minimum is found exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import gap
from .score import Score, paired

Floats = NDArray[np.float64]
PENALTY = 0.01
"""Weight C of the hinge beside ½ |w|², as in disentanglement_lib."""


def sap(
    codes: ArrayLike, factors: ArrayLike, *, continuous: bool | None = None, test: float = 1 / 3, seed: int = 0
) -> Score:
    r"""Separated attribute predictability: what each factor's best code predicts that the second best does not.

    .. math:: \frac{1}{|K|} \sum_k S_{(1) k} - S_{(2) k}

    S_jk is, for a discrete factor, the accuracy on held-out items of a linear support vector classifier that sees z_j
    alone (C = 0.01, classes balanced); for a continuous one the squared correlation of z_j and v_k, 0 for a constant
    code. It takes factors to be ordered along a code: a factor that is a code's absolute value counts as unknown.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        continuous: Whether all factors are taken for continuous; as `paired` finds them if None.
        test: Share of items that accuracies are measured on; disentanglement_lib draws 10,000 items to fit and 5,000.
        seed: Of the split.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose classifiers stop at a tolerance of 1e-4
        where these are exact: accuracies may differ by the few items between the two lines. `parts` are "per_factor"
        and "predictability" (codes, factors).

    Raises:
        ValueError: As `paired`, and for a `test` share that leaves nothing to fit or to measure.

    Source: Kumar et al., "Variational inference of disentangled latent concepts from unlabeled observations" (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 30)
    >>> float(sap(v, v)) > 0.3, float(sap(v, v, continuous=True))
    (True, 1.0)
    """
    pairs = paired(codes, factors)
    held_out = np.random.default_rng(seed).permutation(len(pairs.codes)) < round(test * len(pairs.codes))
    if held_out.all() or not held_out.any():
        raise ValueError(f"test={test} of {len(held_out)} items: expected a share that leaves items to fit and to test")
    scores = np.full((pairs.codes.shape[1], len(pairs.varied)), np.nan)
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        if pairs.continuous[k] if continuous is None else continuous:
            scores[:, k] = squared_correlation(pairs.codes[known], pairs.targets[known, k])
        else:
            fit, measure = known & ~held_out, known & held_out
            if not (fit.any() and measure.any()):
                raise ValueError(f"factor {k} is known of {known.sum()} items, none of them to fit or none to test")
            scores[:, k] = [
                accuracy(code[fit], pairs.factors[fit, k], code[measure], pairs.factors[measure, k])
                for code in pairs.codes.T
            ]
    each = gap(scores)
    parts = {"per_factor": each, "predictability": scores}
    return Score("SAP", float(np.nanmean(each)), "disentanglement_lib", (0, 1), parts, pairs.notes)


def squared_correlation(codes: Floats, target: Floats) -> Floats:
    """Of each code (n, codes) with a target (n,); 0 for codes of a variance below 1e-12, as in disentanglement_lib."""
    z, v = codes - codes.mean(0), target - target.mean()
    of_codes, of_target = (z**2).sum(0), float((v**2).sum())
    dead = of_codes <= 1e-12 * (len(z) - 1)
    return np.where(dead, 0, (v @ z) ** 2 / (np.where(dead, 1, of_codes) * (of_target or 1)))


def accuracy(code: Floats, classes: NDArray[np.int64], new_code: Floats, new_classes: NDArray[np.int64]) -> float:
    """Of the classifier that is fitted on (n,) codes and classes, on new ones."""
    names, numbers = np.unique(classes, return_inverse=True)
    slope, intercept = lines(code, numbers)
    guess = (slope[:, None] * new_code + intercept[:, None]).argmax(0)
    return float((names[guess] == new_classes).mean())


def lines(code: Floats, classes: NDArray[np.int64], *, penalty: float = PENALTY) -> tuple[Floats, Floats]:
    r"""Slope w and intercept b, (classes,), of each class against the rest on one code; an item goes to the highest.

    .. math:: \arg\min_{w, b} \tfrac12 (w^2 + b^2) + \sum_i C_i \max(0, 1 - y_i (w x_i + b))^2

    with y_i = 1 in the class and −1 outside it, C_i = penalty · n / (classes · count) in the class, so that classes
    weigh alike, and penalty outside it; of two classes, both are balanced: liblinear's problem for `LinearSVC(C,
    class_weight="balanced")`. One class is a line of zeros.

    Args:
        code: (n,).
        classes: (n,) numbers from 0, each of which occurs.
        penalty: C.
    """
    hinges = _Hinges.of(code, classes, penalty)
    line = np.zeros((2, len(hinges.inside)))
    if line.shape[1] < 2:
        return line[0], line[1]
    value, best = hinges.value(line), hinges.newton(line)
    for _ in range(100):  # a handful in practice: the sets of violators are finite in number
        step = best - line
        for _ in range(40):
            new = line + step
            value_there = hinges.value(new)
            worse = value_there > value * (1 + 1e-14)
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        line, value, best = new, value_there, hinges.newton(new)
        if np.all(np.abs(best - line) <= 1e-12 * (1 + np.abs(line))):
            break
    return best[0], best[1]


@dataclass(frozen=True)
class _Hinges:
    """Squared hinges of all classes against their rests on one code, as running sums over the sorted code.

    `sums` are those of 1, x, x² over items in the code's order, (3, n + 1); `by_class` the same over items by class and
    then code, and `place` where an item stands there, class · n + rank.
    """

    code: Floats
    sums: Floats
    by_class: Floats
    place: NDArray[np.int64]
    inside: Floats
    outside: Floats

    @staticmethod
    def of(code: Floats, classes: NDArray[np.int64], penalty: float) -> _Hinges:
        order = np.argsort(code, kind="stable")
        x, y = code[order], classes[order]
        moments = np.stack([np.ones_like(x), x, x**2])
        counts = np.bincount(y)
        balanced = penalty * len(x) / (len(counts) * counts)
        return _Hinges(
            x,
            _running(moments),
            _running(moments[:, np.argsort(y, kind="stable")]),
            np.sort(y * len(x) + np.arange(len(x))),
            balanced,
            balanced[::-1] if len(counts) == 2 else np.full(len(counts), penalty),
        )

    def violators(self, line: Floats) -> tuple[Floats, Floats]:
        """Sums of 1, x, x², (3, classes), over the items inside and outside each class within their margin."""
        slope, intercept = line + 0.0  # −0 is 0: a flat line's threshold is at an infinity of the right sign
        with np.errstate(divide="ignore", invalid="ignore"):
            inner, outer = (np.searchsorted(self.code, side / slope) for side in (1 - intercept, -1 - intercept))
        n, rising, numbers = len(self.code), slope >= 0, np.arange(len(slope))
        first, last = (np.searchsorted(self.place, n * (numbers + end)) for end in (0, 1))
        below, below_outer = (
            self.by_class[:, np.searchsorted(self.place, n * numbers + cut)] - self.by_class[:, first]
            for cut in (inner, outer)
        )
        whole = self.by_class[:, last] - self.by_class[:, first]
        rest_below = self.sums[:, outer] - below_outer
        rest = self.sums[:, -1:] - whole
        return np.where(rising, below, whole - below), np.where(rising, rest - rest_below, rest_below)

    def value(self, line: Floats) -> Floats:
        """Of the objective, (classes,)."""
        slope, intercept = line
        total = (slope**2 + intercept**2) / 2
        weights = (self.inside, 1), (self.outside, -1)
        for (weight, side), (one, x, xx) in zip(weights, self.violators(line), strict=True):
            fitted = slope * x + intercept * one
            total = total + weight * (
                one - 2 * side * fitted + slope * (slope * xx + intercept * x) + intercept * fitted
            )
        return np.asarray(total, dtype=np.float64)

    def newton(self, line: Floats) -> Floats:
        """The minimum if the violators stayed who they are, (2, classes)."""
        inside, outside = self.violators(line)
        one, x, xx = 2 * (self.inside * inside + self.outside * outside)
        right_one, right_x, _ = 2 * (self.inside * inside - self.outside * outside)
        determinant = (xx + 1) * (one + 1) - x**2
        return np.stack(
            [((one + 1) * right_x - x * right_one) / determinant, ((xx + 1) * right_one - x * right_x) / determinant]
        )


def _running(moments: Floats) -> Floats:
    return np.concatenate([np.zeros((len(moments), 1)), np.cumsum(moments, axis=1)], axis=1)
