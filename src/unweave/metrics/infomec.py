r"""InfoMEC: modularity, compactness and explicitness by information that needs no cells.

I(z_j; v_k) is estimated from distances to nearest neighbours for a continuous code, and by counting
for a discrete one; the factor is discrete. U_jk = I(z_j; v_k) / H(v_k). The convention is that of
the authors' program, latent_quantization.

Source: Hsu et al., "Disentanglement via latent quantization" (2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .information import entropy, joint_counts, share
from .score import Pairs, Score, of_some, paired
from .sharing import once, sharing

Floats = NDArray[np.float64]
CONVENTION = "latent_quantization"
NEIGHBOURS = 10


def info_modularity(
    codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False, seed: int = 0
) -> Score:
    r"""InfoM: is a code's information about one factor only?

    .. math:: \left( \frac1{|J|}
        \sum_{j \in J} \frac{\max_k U_{jk}}{\sum_k U_{jk}} - \frac1{|K|} \right)
        \Big/ \left( 1 - \frac1{|K|} \right)

    over the active codes J: those whose range is above a twentieth of the widest (for discrete
    codes: above 0). An active code that knows of no factor counts as one that knows equally of all.

    Args:
        codes: (n, codes).
        factors: (n, factors), two of which vary, see `paired`; continuous ones are cut into cells.
        discrete: True if codes are class numbers, such as a quantiser's.
        seed: Seed of the noise of 1e-10 that separates equal codes before distances are taken.

    Returns:
        A score within [0, 1]; `parts` are "per_code" (the ratios, NaN for inactive codes) and
        "shares", U (codes, factors).

    Raises:
        ValueError: If `paired` refuses the arrays, or only one factor varies.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_modularity(v, v, discrete=True))
    InfoM 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    if pairs.varied.sum() < 2:
        raise ValueError(
            "one factor that varies: InfoM compares a code's factors; expected two or more"
        )
    shares = _shares(pairs, discrete, seed)
    active = _active(pairs.codes, discrete)
    of_varied = shares[:, pairs.varied].T  # (varied factors, codes)
    each = np.where(active, _concentration(of_varied), np.nan)
    value = _above_chance(each[active], int(pairs.varied.sum()))
    return Score(
        "InfoM",
        value,
        CONVENTION,
        range=(0, 1),
        parts={"per_code": each, "shares": shares},
        notes=pairs.notes,
    )


def info_compactness(
    codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False, seed: int = 0
) -> Score:
    r"""InfoC: is the information about a factor in one code only?

    .. math:: \left( \frac1{|K|}
        \sum_k \frac{\max_{j \in J} U_{jk}}{\sum_{j \in J} U_{jk}} - \frac1{|J|} \right)
        \Big/ \left( 1 - \frac1{|J|} \right)

    over the active codes J, as for `info_modularity`. A factor that no code knows of counts as one
    that all know equally.

    Args:
        codes: (n, codes), two of them active.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        discrete: True if codes are class numbers.
        seed: Seed of the noise of 1e-10 that separates equal codes before distances are taken.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the ratios) and "shares", U (codes,
        factors).

    Raises:
        ValueError: If `paired` refuses the arrays, or fewer than two codes are active.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_compactness(v, v, discrete=True))
    InfoC 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    shares = _shares(pairs, discrete, seed)
    active = _active(pairs.codes, discrete)
    if active.sum() < 2:
        raise ValueError(
            f"{active.sum()} active codes: InfoC compares a factor's codes; expected two or more"
        )
    each = _concentration(shares[active])
    value = _above_chance(each[pairs.varied], int(active.sum()))
    return Score(
        "InfoC",
        value,
        CONVENTION,
        range=(0, 1),
        parts={"per_factor": each, "shares": shares},
        notes=pairs.notes,
    )


@of_some
def info_explicitness(codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False) -> Score:
    r"""InfoE: how much of a factor does a linear function of all codes tell?

    .. math:: \frac{1}{|K|} \sum_k \frac{\log |v_k| - \hat H(v_k | z)}{\log |v_k|}

    where Ĥ is the mean log loss of an unpenalised logistic regression on standardised codes
    (discrete ones: one-hot), classes weighing alike. Without codes that loss is log |v_k|, for
    |v_k| classes. The regression is measured on the items that it was fitted to: where codes are
    many and items few, the score exceeds that of new items.

    Args:
        codes: (n, codes); of more than 100,000 items (`MOST`) as many are drawn.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        discrete: True if codes are class numbers.

    Returns:
        A score of at most 1 (below 0 only where classes are of unequal size); `parts` is
        "per_factor".

    Raises:
        ValueError: If `paired` refuses the arrays.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_explicitness(v, v))
    InfoE 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    each = np.full(len(pairs.varied), np.nan)
    for k in np.flatnonzero(pairs.varied):
        z, v = pairs.known(int(k))
        encoder = OneHotEncoder() if discrete else StandardScaler()
        seen = encoder.fit_transform(z)
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        with warnings.catch_warnings():  # the definition stops after a hundred steps
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(seen, v)
        loss = log_loss(v, model.predict_proba(seen))
        each[k] = 1 - loss / np.log(len(model.classes_))
    value = float(np.nanmean(each))
    return Score(
        "InfoE",
        value,
        CONVENTION,
        range=(-np.inf, 1),
        parts={"per_factor": each},
        notes=pairs.notes,
    )


def neighbour_information(
    code: Floats, classes: NDArray[np.int64], neighbours: int = NEIGHBOURS
) -> float:
    r"""Estimate the mutual information in nats of a continuous code and a discrete factor.

    .. math:: \max(0, ψ(n) + \overline{ψ(k)} - \overline{ψ(n_v)} - \overline{ψ(m)})

    Code and classes are (n,) each, and no two values of the code may be equal. n_v counts the items
    of an item's class, and m counts the items of any class that are nearer than the k-th neighbour
    of its class. On a line, that neighbour ends one of the k + 1 runs of k + 1 sorted values that
    hold the item, and m is a look-up. Items that are alone in their class are left out.

    Source: Ross, "Mutual information between discrete and continuous data sets" (2014); the value
    is that of scikit-learn's `mutual_info_classif`.
    """
    return _information(_Sorted.of(code), _Repeated.of(classes), neighbours)


class _Sorted(NamedTuple):
    """A code's values in their order, and that order."""

    values: Floats
    order: NDArray[np.int64]

    @staticmethod
    def of(code: Floats) -> _Sorted:
        order = np.argsort(code)
        return _Sorted(code[order], order)


class _Repeated(NamedTuple):
    """Classes of several items: their numbers item by item, counts, and where an item has one."""

    numbers: NDArray[Any]  # (n,), of the smallest type of integers
    counts: NDArray[np.int64]
    kept: NDArray[np.bool_]  # (n,)

    @staticmethod
    def of(classes: NDArray[np.int64]) -> _Repeated:
        counts = np.bincount(classes)
        kept = counts[classes] > 1
        counts = counts[counts > 1]
        numbers = np.zeros(len(classes), np.min_scalar_type(len(counts)))
        numbers[kept] = np.unique(classes[kept], return_inverse=True)[1]
        return _Repeated(numbers, counts, kept)


def _information(code: _Sorted, classes: _Repeated, neighbours: int = NEIGHBOURS) -> float:
    """Estimate what a code and a factor tell of one another: see `neighbour_information`."""
    counts = classes.counts
    if not counts.size:
        return 0.0
    x, y = code.values, classes.numbers[code.order]
    if not classes.kept.all():
        here = classes.kept[code.order]
        x, y = x[here], y[here]
    by_class = np.argsort(y, kind="stable")  # sorted values of the first class, then the second, …
    radius = np.empty(len(x))
    radius[by_class] = _distances(x[by_class], counts, neighbours)
    downwards = _reach(x, radius)
    mirrored = _reach(-x[::-1], radius[::-1])
    upwards = mirrored[::-1]
    near = downwards + upwards - 1  # both counted the item itself
    psi = _digammas(len(x))
    of_all = float(psi[len(x)])
    of_k = float(psi[np.minimum(neighbours, counts - 1)] @ counts) / len(x)
    of_class = float(psi[counts] @ counts) / len(x)
    of_near = float(psi[near].mean())
    return max(0.0, of_all + of_k - of_class - of_near)


@lru_cache(maxsize=4)
def _digammas(n: int) -> Floats:
    """Return ψ of 0 to n, of which ψ(0) is infinite."""
    return np.asarray(digamma(np.arange(n + 1)), dtype=np.float64)


def _distances(x: Floats, counts: NDArray[np.int64], neighbours: int) -> Floats:
    """Return the distance from each value to its k-th neighbour in its class.

    Classes stand one after the other, `counts` values each, which are sorted. k is `neighbours`, or
    all others in a smaller class.
    """
    nearest = np.repeat(np.minimum(neighbours, counts - 1), counts)
    rank = np.arange(len(x)) - np.repeat(np.cumsum(counts) - counts, counts)
    above = np.repeat(counts, counts) - 1 - rank
    distances = np.empty(len(x))
    for k in np.unique(nearest).tolist():
        here = slice(None) if nearest.min() == nearest.max() else nearest == k
        distances[here] = _distance(x[here], k, rank[here], above[here])
    return distances


def _distance(x: Floats, k: int, rank: NDArray[np.int64], above: NDArray[np.int64]) -> Floats:
    """Return distances to k-th neighbours, where `rank` values of the class lie below each one."""
    n = len(x)
    beyond = np.full(k, np.inf)
    wide = np.concatenate([-beyond, x, beyond])
    least = np.full(n, np.inf)
    for more in range(k + 1):  # the run that ends with as many values above the item
        first = wide[more : more + n]
        last = wide[more + k : more + k + n]
        is_run = (rank >= k - more) & (above >= more)
        reach = np.maximum(x - first, last - x)
        np.minimum(least, reach, out=least, where=is_run)
    return least


def _reach(x: Floats, radius: Floats) -> NDArray[np.int64]:
    """Count the sorted values at and below each one that are nearer to it than its radius."""
    place = np.arange(len(x))
    first = np.minimum(np.searchsorted(x, x - radius), place)
    first += x - x[first] >= radius  # x − radius is rounded
    reached = x - x[first - 1] < radius
    first -= (first > 0) & reached
    first = np.minimum(first, place)
    return np.asarray(place - first + 1, dtype=np.int64)


@once
def _shares(pairs: Pairs, discrete: bool, seed: int) -> Floats:
    """Return U, (codes, factors), NaN for factors with one class."""
    shares = np.full(pairs.shape, np.nan)
    with sharing():  # factors that are known of all items have the codes' order in common
        for k in np.flatnonzero(pairs.varied):
            is_whole = bool((pairs.factors[:, k] >= 0).all())
            z, v = pairs.known(int(k))
            v = np.unique(v, return_inverse=True)[1]
            if discrete:
                told = _counted(z, v)
            else:
                told = _measured(_separate(pairs.codes if is_whole else z, seed), v)
            shares[:, k] = np.array(told) / entropy(np.bincount(v))
    return shares


def _counted(codes: Floats, classes: NDArray[np.int64]) -> list[float]:
    """Count each code's information."""
    told = []
    for code in codes.T:
        values, number = np.unique(code, return_inverse=True)
        counts = joint_counts(number[:, None], classes, len(values))[0]  # (values, classes)
        of_code = entropy(counts.sum(1))
        of_factor = entropy(counts.sum(0))
        of_both = entropy(counts.ravel())
        told.append(max(0.0, float(of_code + of_factor - of_both)))
    return told


@once
def _separate(codes: Floats, seed: int) -> list[_Sorted | None]:
    """Sort codes, with the scale and noise of `mutual_info_classif`; a constant code is None."""
    z = StandardScaler().fit_transform(codes)
    # the authors call that function code by code, so that all codes share their noise
    noise = np.random.RandomState(seed).standard_normal(len(z))
    amount = 1e-10 * np.maximum(1, np.abs(z).mean(0))
    varies = np.ptp(codes, 0) > 0
    found = list[_Sorted | None]()
    for j, code in enumerate(z.T):
        found.append(_Sorted.of(code + amount[j] * noise) if varies[j] else None)
    return found


def _measured(codes: Sequence[_Sorted | None], classes: NDArray[np.int64]) -> list[float]:
    """Estimate each code's information."""
    repeated = _Repeated.of(classes)
    return [0.0 if code is None else _information(code, repeated) for code in codes]


def _active(codes: Floats, discrete: bool) -> NDArray[np.bool_]:
    spans = np.ptp(codes, 0)
    active = spans > (0 if discrete else spans.max() / 20)
    if not active.any():
        raise ValueError("all codes are constant: InfoMEC is of active codes; expected one or more")
    return np.asarray(active, dtype=bool)


def _concentration(shares: Floats) -> Floats:
    """Divide the largest entry of each column by its sum; a column of zeros counts as even."""
    most, total = shares.max(0), shares.sum(0)
    even = 1 / len(shares)
    return np.where(total == 0, even, share(most, total))


def _above_chance(concentrations: Floats, among: int) -> float:
    chance = 1 / among
    return float((concentrations.mean() - chance) / (1 - chance))
