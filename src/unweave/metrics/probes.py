"""Probes of where a factor is written: classifiers that see some codes, on held-out items.

A linear probe asks whether a group of codes holds a factor as halves of space. Nearest neighbours
ask whether the group holds it at all. Codes are standardised: their scales have no effect.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from .score import Pairs, Score, of_some, paired

Floats: TypeAlias = NDArray[np.float64]
Classes: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Groups: TypeAlias = Mapping[str, Sequence[int]]

STEPS = 1000
"""Most steps of logistic regression's solver, which takes some dozens on standardised codes."""


@of_some
def linear_probe(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    groups: Groups | None = None,
    test: float = 1 / 3,
    seed: int = 0,
) -> Score:
    r"""Linear probe: how often does a linear classifier of the codes name the factor's class?

    .. math:: \frac{1}{|K|} \sum_k \Pr(\arg\max_v w_v \cdot z + b_v = v_k)

    on held-out items, where w and b come from a multinomial logistic regression on standardised
    codes, with ½ |w|² beside its log loss.

    Args:
        codes: (n, codes); of more than 100,000 items (`MOST`) as many are drawn.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        groups: Names of groups of codes and their columns, as in ``{"y": [0], "z": [1, 2]}``. Each
            group is probed on its own.
        test: Share of items that accuracies are measured on.
        seed: Seed of the split.

    Returns:
        A score within [0, 1], of all codes; `parts` are "per_factor" and "chance" (the share of the
        most frequent class, (factors,)). Groups add "groups", their names, and "accuracy", (groups,
        factors).

    Raises:
        ValueError: If `paired` refuses the arrays, a group has columns that the codes lack, or the
            `test` share leaves no items of a factor.

    Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes"
    (2016).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 30)
    >>> probe = linear_probe(v, v, groups={"first": [0], "second": [1]})
    >>> float(probe), (probe.parts["accuracy"] > 0.9).tolist()
    (1.0, [[True, False], [False, True]])
    """
    said: set[str] = set()

    def fit(z: Floats, v: Classes) -> Any:
        model, finished = logistic(z, v)
        if not finished:
            said.add(f"a regression had not converged after {STEPS} steps")
        return model

    pairs = paired(codes, factors)
    return _probe("linear probe", "logistic regression", fit, pairs, groups, test, seed, said)


@of_some
def neighbour_probe(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    groups: Groups | None = None,
    neighbours: int = 5,
    test: float = 1 / 3,
    seed: int = 0,
) -> Score:
    """Neighbour probe: how often do the nearest items by their codes name the factor's class?

    The score is the share of held-out items whose class is the most frequent one among their
    `neighbours` nearest items, by Euclid's distance of standardised codes; among equally frequent
    classes, the least one counts. Neighbours can tell classes apart that no line separates.

    Args:
        codes: (n, codes); of more than 100,000 items (`MOST`) as many are drawn.
        factors: As for `linear_probe`.
        groups: As for `linear_probe`.
        neighbours: Number of nearest items that name the class.
        test: Share of items that accuracies are measured on.
        seed: Seed of the split.

    Returns:
        A score within [0, 1], with the parts of `linear_probe`.

    Raises:
        ValueError: If `linear_probe` refuses the arrays, groups or share.

    Source: Fix and Hodges, "Discriminatory analysis: nonparametric discrimination" (1951).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 30)
    >>> exclusive = v[:, :1] ^ v[:, 1:]
    >>> float(neighbour_probe(v, exclusive)), float(linear_probe(v, exclusive)) < 0.8
    (1.0, True)
    """

    def fit(z: Floats, v: Classes) -> Any:
        return KNeighborsClassifier(min(neighbours, len(z))).fit(z, v)

    pairs = paired(codes, factors)
    convention = f"{neighbours} nearest neighbours"
    return _probe("neighbour probe", convention, fit, pairs, groups, test, seed, set())


def _probe(
    name: str,
    convention: str,
    fit: Callable[[Floats, Classes], Any],
    pairs: Pairs,
    groups: Groups | None,
    test: float,
    seed: int,
    said: set[str],
) -> Score:
    hidden = held_out(len(pairs.codes), test, seed)
    columns = [list(range(pairs.codes.shape[1])), *(groups or {}).values()]
    _check(groups or {}, pairs.codes.shape[1])
    accuracy = np.full((len(columns), len(pairs.varied)), np.nan)
    chance = np.full(len(pairs.varied), np.nan)
    for k in np.flatnonzero(pairs.varied):
        fitted, measured = split(pairs, int(k), hidden)
        old, new = pairs.codes[fitted], pairs.codes[measured]
        v = pairs.factors[fitted, k]
        new_v = pairs.factors[measured, k]
        chance[k] = np.bincount(new_v).max() / len(new_v)
        for group, chosen in enumerate(columns):
            z, new_z = standardised(old[:, chosen], new[:, chosen])
            guess = fit(z, v).predict(new_z) if np.ptp(v) else v[0]
            accuracy[group, k] = np.mean(guess == new_v)
    value = float(np.nanmean(accuracy[0]))
    parts: dict[str, Any] = {"per_factor": accuracy[0], "chance": chance}
    if groups:
        parts |= {"groups": tuple(groups), "accuracy": accuracy[1:]}
    notes = (*pairs.notes, *sorted(said))
    return Score(name, value, convention, range=(0, 1), parts=parts, notes=notes)


def _check(groups: Groups, codes: int) -> None:
    for name, chosen in groups.items():
        if not len(chosen) or not set(chosen) <= set(range(codes)):
            raise ValueError(
                f"group {name!r} has columns {list(chosen)}: expected one or more of 0 to "
                f"{codes - 1}"
            )


def logistic(codes: Floats, classes: Classes) -> tuple[LogisticRegression, bool]:
    """Fit a multinomial logistic regression with ½ |w|² beside its log loss.

    Returns:
        The model, and true if its solver converged.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model = LogisticRegression(max_iter=STEPS).fit(codes, classes)
    unfinished = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return model, not unfinished


def standardised(codes: Floats, new: Floats) -> tuple[Floats, Floats]:
    """Standardise both by the mean and deviation of the first, where a constant code becomes 0."""
    scaler = StandardScaler().fit(codes)
    return scaler.transform(codes), scaler.transform(new)


def held_out(items: int, test: float, seed: int) -> Mask:
    """Draw a mask of the items that are kept for measuring.

    Raises:
        ValueError: If that is none or all of them.
    """
    order = np.random.default_rng(seed).permutation(items)
    hidden = order < round(test * items)
    if hidden.all() or not hidden.any():
        raise ValueError(
            f"test={test} of {items} items: expected a share that leaves items to fit and to "
            "measure"
        )
    return np.asarray(hidden, dtype=bool)


def split(pairs: Pairs, factor: int, hidden: Mask) -> tuple[Mask, Mask]:
    """Split the items whose factor is known into masks of those to fit and those to measure.

    Raises:
        ValueError: If there are none of either.
    """
    known = pairs.factors[:, factor] >= 0
    fitted = known & ~hidden
    measured = known & hidden
    if not (fitted.any() and measured.any()):
        raise ValueError(
            f"factor {factor} is known of {known.sum()} items, none of them to fit or none to "
            "measure"
        )
    return fitted, measured
