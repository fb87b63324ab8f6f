r"""How well one code alone tells a factor by a straight line: the separated attribute
predictability score (SAP).

For a discrete factor the line is scikit-learn's `LinearSVC`, one class against the rest. On one
code that is a problem in two unknowns, and the items that violate the margin are those on one side
of a threshold: sorted once, with running sums of 1, x and x² by class, each of Newton's steps is a
look-up for every class, and the minimum is found exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import gap
from .probes import held_out
from .score import Score, paired

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
PENALTY = 0.01
"""Weight C of the hinge beside ½ |w|², as in disentanglement_lib."""


def sap(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    continuous: bool | None = None,
    test: float = 1 / 3,
    seed: int = 0,
) -> Score:
    r"""Separated attribute predictability: what each factor's best code predicts that the second
    best does not.

    .. math:: \frac{1}{|K|} \sum_k S_{(1) k} - S_{(2) k}

    S_jk is, for a discrete factor, the accuracy on held-out items of a linear support vector
    classifier that sees z_j alone (C = 0.01, classes balanced); for a continuous one the squared
    correlation of z_j and v_k, 0 for a constant code. It takes factors to be ordered along a code:
    a factor that is a code's absolute value counts as unknown.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`. continuous: Whether all factors are
        taken for continuous; as `paired` finds them if None. test: Share of items that accuracies
        are measured on; disentanglement_lib draws 10,000 items to fit and 5,000. seed: Of the
        split.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose classifiers stop at a
        tolerance of 1e-4 where these are exact: accuracies may differ by the few items between the
        two lines. `parts` are "per_factor" and "predictability" (codes, factors).

    Raises:
        ValueError: As `paired`, and for a `test` share that leaves nothing to fit or to measure.

    Source: Kumar et al., "Variational inference of disentangled latent concepts from unlabeled
    observations" (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 30)
    >>> float(sap(v, v)) > 0.3, float(sap(v, v, continuous=True))
    (True, 1.0)
    """
    pairs = paired(codes, factors)
    hidden = held_out(len(pairs.codes), test, seed)
    as_numbers = pairs.varied & (pairs.continuous if continuous is None else continuous)
    scores = np.full((pairs.codes.shape[1], len(pairs.varied)), np.nan)
    for k in np.flatnonzero(as_numbers):
        known = pairs.factors[:, k] >= 0
        scores[:, k] = squared_correlation(pairs.codes[known], pairs.targets[known, k])
    if (classes := np.flatnonzero(pairs.varied & ~as_numbers)).size:
        fit, measure = pairs.factors[~hidden][:, classes], pairs.factors[hidden][:, classes]
        if not ((fit >= 0).any(0) & (measure >= 0).any(0)).all():
            raise ValueError(
                "a factor is known of no item to fit or of none to test: expected both with "
                f"test={test}"
            )
        scores[:, classes] = [accuracy(c[~hidden], fit, c[hidden], measure) for c in pairs.codes.T]
    each = gap(scores)
    parts = {"per_factor": each, "predictability": scores}
    return Score("SAP", float(np.nanmean(each)), "disentanglement_lib", (0, 1), parts, pairs.notes)


def squared_correlation(codes: Floats, target: Floats) -> Floats:
    """Of each code (n, codes) with a target (n,); 0 for codes of a variance below 1e-12, as in
    disentanglement_lib.
    """
    z, v = codes - codes.mean(0), target - target.mean()
    of_codes, of_target = (z**2).sum(0), float((v**2).sum())
    dead = of_codes <= 1e-12 * (len(z) - 1)
    return np.where(dead, 0, (v @ z) ** 2 / (np.where(dead, 1, of_codes) * (of_target or 1)))


def accuracy(code: Floats, classes: Classes, new_code: Floats, new_classes: Classes) -> Floats:
    """Of the classifiers fitted on a code (n,) for factors (n, factors), on new ones where the
    factor is known.
    """
    slope, intercept, of = lines(code, classes)
    found = np.zeros(classes.shape[1])
    for k, new in enumerate(new_classes.T):
        here = np.flatnonzero(of[0] == k)
        guess = of[1, here][highest(slope[here], intercept[here], new_code)]
        found[k] = (guess == new).sum() / (new >= 0).sum()
    return found


def highest(slope: Floats, intercept: Floats, at: Floats) -> Classes:
    """Which of the lines is highest, the first of equal ones: a look-up in their upper envelope, by
    rising slope.

    >>> highest(np.array([1.0, -1.0, 0.0]), np.zeros(3), np.array([-2.0, 3.0])).tolist()
    [1, 0]
    """
    envelope: list[int] = []
    starts: list[float] = []
    w, b = slope.tolist(), intercept.tolist()
    for k in np.lexsort((-np.arange(len(w)), intercept, slope)).tolist():
        start = -np.inf
        while envelope:
            rise = w[k] - w[envelope[-1]]
            start = (b[envelope[-1]] - b[k]) / rise if rise > 0 else -np.inf
            if start > starts[-1]:
                break
            envelope.pop(), starts.pop()
        envelope.append(k)
        starts.append(start if len(envelope) > 1 else -np.inf)
    return np.array(envelope)[np.searchsorted(starts[1:], at)]


def lines(
    code: Floats, classes: Classes, *, penalty: float = PENALTY
) -> tuple[Floats, Floats, Classes]:
    r"""Slope w and intercept b of each class of each factor against the rest on one code; an item
    goes to the highest.

    .. math:: \arg\min_{w, b} \tfrac12 (w^2 + b^2) + \sum_i C_i \max(0, 1 - y_i (w x_i + b))^2

    with y_i = 1 in the class and −1 outside it, C_i = penalty · n / (classes · count) in the class,
    so that classes weigh alike, and penalty outside it; of two classes, both are balanced:
    liblinear's problem for `LinearSVC(C, class_weight="balanced")`.

    Args:
        code: (n,).
        classes: (n, factors) class numbers, −1 where missing.
        penalty: C.

    Returns:
        Slopes and intercepts, (lines,), and the factor and class that each is of, (2, lines).
    """
    hinges = _Hinges.of(code, classes, penalty)
    line = np.zeros((2, len(hinges.inside)))
    value, best = hinges.look(line)
    for _ in range(100):  # a handful in practice: the sets of violators are finite in number
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
    """Squared hinges of classes against their rests on one code, as running sums over the sorted
    code.

    `sums` are those of 1, x, x² over items in the code's order, (3, n + 1); `by_class` the same
    over items by factor, class (the missing are one) and then code, (3, factors · n + 1), and
    `place` where an item stands there, number of its class · n + rank. `names`, `own` and
    `missing`, with weights `inside` and `outside`, are those of the lines.
    """

    code: Floats
    sums: Floats
    by_class: Floats
    place: Classes
    names: Classes
    own: Classes
    missing: Classes
    inside: Floats
    outside: Floats

    @staticmethod
    def of(code: Floats, classes: Classes, penalty: float) -> _Hinges:
        n, order = len(code), np.argsort(code)
        x, most = code[order], int(classes.max()) + 2
        number = (
            (classes[order] + 1).astype(np.min_scalar_type(most)).T
        )  # small integers sort by radix
        groups = np.argsort(number, axis=1, kind="stable")
        first = np.arange(len(number)) * most
        place = (np.take_along_axis(number, groups, 1) + first[:, None]) * n + groups
        counts = np.stack([np.bincount(row, minlength=most) for row in number])
        counts[:, 0] = 0
        factor, own = np.nonzero(counts)
        count, known, kinds = (
            counts[factor, own],
            counts.sum(1)[factor],
            (counts > 0).sum(1)[factor],
        )
        inside = penalty * known / (kinds * count)
        balanced_rest = penalty * known / (kinds * np.maximum(known - count, 1))
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

    def below(self, group: Classes, cut: Classes | int) -> Floats:
        """Sums of 1, x, x² over those of the first `cut` items of the code that are of a group, (3,
        lines).
        """
        n = len(self.code)
        last, first = (np.searchsorted(self.place, group * n + end) for end in (cut, 0))
        return np.asarray(self.by_class[:, last] - self.by_class[:, first], dtype=np.float64)

    def violators(self, line: Floats) -> tuple[Floats, Floats]:
        """Sums of 1, x, x², (3, lines), over the items inside and outside each class within their
        margin.
        """
        slope, intercept = (
            line + 0.0
        )  # −0 is 0: a flat line's threshold is at an infinity of the right sign
        with np.errstate(divide="ignore", invalid="ignore"):
            inner, outer = (
                np.searchsorted(self.code, side / slope) for side in (1 - intercept, -1 - intercept)
            )
        inside, all_inside = self.below(self.own, inner), self.below(self.own, len(self.code))
        rest = self.sums[:, outer] - self.below(self.own, outer) - self.below(self.missing, outer)
        all_rest = self.sums[:, -1:] - all_inside - self.below(self.missing, len(self.code))
        rising = slope >= 0
        return np.where(rising, inside, all_inside - inside), np.where(
            rising, all_rest - rest, rest
        )

    def look(self, line: Floats) -> tuple[Floats, Floats]:
        """The objective, (lines,), and where it were least if violators stayed who they are, (2,
        lines).
        """
        slope, intercept = line
        inside, outside = self.violators(line)
        one, x, xx = 2 * (self.inside * inside + self.outside * outside)
        y, yx, _ = 2 * (self.inside * inside - self.outside * outside)
        quadratic = slope * (slope * (xx + 1) + 2 * intercept * x) + intercept**2 * (one + 1)
        value = (quadratic + one) / 2 - slope * yx - intercept * y
        determinant = (xx + 1) * (one + 1) - x**2
        best = np.stack([(one + 1) * yx - x * y, (xx + 1) * y - x * yx]) / determinant
        return np.asarray(value, dtype=np.float64), np.asarray(best, dtype=np.float64)


def _running(moments: Floats) -> Floats:
    return np.concatenate([np.zeros((len(moments), 1)), np.cumsum(moments, axis=1)], axis=1)
