r"""InfoMEC: modularity, compactness and explicitness by information that needs no cells.

I(z_j; v_k) of a continuous code and a discrete factor is estimated from distances to nearest
neighbours, of a discrete code by counting; U_jk = I(z_j; v_k) / H(v_k). The convention is that of
the authors' program, latent_quantization.

Source: Hsu et al., "Disentanglement via latent quantization" (2023).
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .information import entropy, joint_counts, share
from .score import Pairs, Score, paired

Floats = NDArray[np.float64]
CONVENTION = "latent_quantization"
NEIGHBOURS = 10


def info_modularity(
    codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False, seed: int = 0
) -> Score:
    r"""InfoM: is a code's information about one factor only?

    .. math:: \left( \frac1{|J|} \sum_{j \in J} \frac{\max_k U_{jk}}{\sum_k U_{jk}} - \frac1{|K|} \right)
        \Big/ \left( 1 - \frac1{|K|} \right)

    over the active codes J: those whose range is above a twentieth of the widest (discrete ones:
    above 0). An active code that knows of no factor counts as one that knows equally of all.

    Args:
        codes: (n, codes).
        factors: (n, factors), two of which vary, see `paired`; continuous ones are cut into cells.
        discrete: Whether codes are class numbers, such as a quantiser's.
        seed: Of the noise of 1e-10 that parts equal codes before distances are taken.

    Returns:
        A score within [0, 1]; `parts` are "per_code" (the ratios, NaN for inactive codes) and
        "shares", U (codes, factors).

    Raises:
        ValueError: As `paired`, and for one factor.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_modularity(v, v, discrete=True))
    InfoM 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    if pairs.varied.sum() < 2:
        raise ValueError(
            "one factor that varies: InfoM compares a code's factors; expected two or more"
        )
    shares, active = _shares(pairs, discrete, seed), _active(pairs.codes, discrete)
    each = np.where(active, _concentration(shares[:, pairs.varied].T), np.nan)
    value = _above_chance(each[active], int(pairs.varied.sum()))
    return Score(
        "InfoM", value, CONVENTION, (0, 1), {"per_code": each, "shares": shares}, pairs.notes
    )


def info_compactness(
    codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False, seed: int = 0
) -> Score:
    r"""InfoC: is the information about a factor in one code only?

    .. math:: \left( \frac1{|K|} \sum_k \frac{\max_{j \in J} U_{jk}}{\sum_{j \in J} U_{jk}} - \frac1{|J|} \right)
        \Big/ \left( 1 - \frac1{|J|} \right)

    over the active codes J, as for `info_modularity`. A factor that no code knows of counts as
    known equally to all.

    Args:
        codes: (n, codes), two of them active.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        discrete: Whether codes are class numbers.
        seed: Of the noise of 1e-10 that parts equal codes before distances are taken.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the ratios) and "shares", U (codes,
        factors).

    Raises:
        ValueError: As `paired`, and for fewer than two active codes.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_compactness(v, v, discrete=True))
    InfoC 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    shares, active = _shares(pairs, discrete, seed), _active(pairs.codes, discrete)
    if active.sum() < 2:
        raise ValueError(
            f"{active.sum()} active codes: InfoC compares a factor's codes; expected two or more"
        )
    each = _concentration(shares[active])
    value = _above_chance(each[pairs.varied], int(active.sum()))
    return Score(
        "InfoC", value, CONVENTION, (0, 1), {"per_factor": each, "shares": shares}, pairs.notes
    )


def info_explicitness(codes: ArrayLike, factors: ArrayLike, *, discrete: bool = False) -> Score:
    r"""InfoE: how much of a factor is told by a linear function of all codes?

    .. math:: \frac{1}{|K|} \sum_k \frac{\log |v_k| - \hat H(v_k | z)}{\log |v_k|}

    with Ĥ the mean log loss, on the items it was fitted to, of an unpenalised logistic regression
    on standardised codes (discrete ones: one-hot), classes weighing alike; without codes that is
    log |v_k|, for |v_k| classes. Being fitted and measured on the same items it exceeds what new
    items would show where codes are many and items few.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        discrete: Whether codes are class numbers.

    Returns:
        A score of at most 1 (below 0 only where classes are of unequal size); `parts` is
        "per_factor".

    Raises:
        ValueError: As `paired`.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(info_explicitness(v, v))
    InfoE 1.000, convention latent_quantization
    """
    pairs = paired(codes, factors)
    each = np.full(len(pairs.varied), np.nan)
    for k in np.flatnonzero(pairs.varied):
        z, v = pairs.known(int(k))
        seen = (OneHotEncoder() if discrete else StandardScaler()).fit_transform(z)
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        with warnings.catch_warnings():  # a hundred steps are the definition's
            warnings.simplefilter("ignore", ConvergenceWarning)
            loss = log_loss(v, model.fit(seen, v).predict_proba(seen))
        each[k] = 1 - loss / np.log(len(model.classes_))
    return Score(
        "InfoE",
        float(np.nanmean(each)),
        CONVENTION,
        (-np.inf, 1),
        {"per_factor": each},
        pairs.notes,
    )


def neighbour_information(
    code: Floats, classes: NDArray[np.int64], neighbours: int = NEIGHBOURS
) -> float:
    r"""Mutual information in nats of a continuous code and a discrete factor, (n,) each; no two
    codes may be equal.

    .. math:: \max(0, ψ(n) + \overline{ψ(k)} - \overline{ψ(n_v)} - \overline{ψ(m)})

    with n_v the items of an item's class, m how many of all are nearer than the k-th neighbour of
    its class. On a line, that neighbour ends one of the k + 1 runs of k + 1 sorted values that hold
    the item, and m is a look-up. Items that are alone in their class are left out.

    Source: Ross, "Mutual information between discrete and continuous data sets" (2014); the value
    is that of scikit-learn's `mutual_info_classif`.
    """
    counts = np.bincount(classes)
    kept = counts[classes] > 1
    if not kept.any():
        return 0.0
    order = np.argsort(code[kept])
    x, y = code[kept][order], classes[kept][order]
    radius, nearest = np.empty((2, len(x)))
    for label in np.unique(y):
        here = y == label
        nearest[here] = k = min(neighbours, counts[label] - 1)
        radius[here] = _distance(x[here], k)
    within = _reach(x, radius) + _reach(-x[::-1], radius[::-1])[::-1] - 1
    means = [float(digamma(v).mean()) for v in (nearest, counts[y], within)]
    return max(0.0, float(digamma(len(x))) + means[0] - means[1] - means[2])


def _distance(x: Floats, k: int) -> Floats:
    """From each of the sorted values to its k-th neighbour."""
    wide = np.concatenate([np.full(k, -np.inf), x, np.full(k, np.inf)])
    runs = [
        np.maximum(x - wide[s : s + len(x)], wide[s + k : s + k + len(x)] - x) for s in range(k + 1)
    ]
    return np.asarray(np.min(runs, 0), dtype=np.float64)


def _reach(x: Floats, radius: Floats) -> NDArray[np.int64]:
    """How many of the sorted values, from each on downwards, are nearer than the radius: itself,
    and those below.
    """
    place = np.arange(len(x))
    first = np.minimum(np.searchsorted(x, x - radius), place)
    first += x - x[first] >= radius  # x − radius is rounded
    first -= (first > 0) & (x - x[first - 1] < radius)
    return np.asarray(place - np.minimum(first, place) + 1, dtype=np.int64)


def _shares(pairs: Pairs, discrete: bool, seed: int) -> Floats:
    """U, (codes, factors), NaN for factors with one class."""
    shares = np.full((pairs.codes.shape[1], len(pairs.varied)), np.nan)
    for k in np.flatnonzero(pairs.varied):
        z, v = pairs.known(int(k))
        v = np.unique(v, return_inverse=True)[1]
        of_codes = [_counted(code, v) for code in z.T] if discrete else _measured(z, v, seed)
        shares[:, k] = np.array(of_codes) / entropy(np.bincount(v))
    return shares


def _counted(code: Floats, classes: NDArray[np.int64]) -> float:
    values, number = np.unique(code, return_inverse=True)
    counts = joint_counts(number[:, None], classes, len(values))[0]
    return max(
        0.0, float(entropy(counts.sum(1)) + entropy(counts.sum(0)) - entropy(counts.ravel()))
    )


def _measured(codes: Floats, classes: NDArray[np.int64], seed: int) -> list[float]:
    """Nearest-neighbour information of each code, scaled and parted by noise as
    `mutual_info_classif` does.
    """
    z = StandardScaler().fit_transform(codes)
    noise = np.random.RandomState(seed).standard_normal(
        len(z)
    )  # the same for each code, called one by one
    amount = 1e-10 * np.maximum(1, np.abs(z).mean(0))
    told = [
        neighbour_information(code + a * noise, classes)
        for code, a in zip(z.T, amount, strict=True)
    ]
    return [i if varies else 0.0 for i, varies in zip(told, np.ptp(codes, 0) > 0, strict=True)]


def _active(codes: Floats, discrete: bool) -> NDArray[np.bool_]:
    spans = np.ptp(codes, 0)
    active = spans > (0 if discrete else spans.max() / 20)
    if not active.any():
        raise ValueError("all codes are constant: InfoMEC is of active codes; expected one or more")
    return np.asarray(active, dtype=bool)


def _concentration(shares: Floats) -> Floats:
    """The largest of each column over its sum; where that is 0, as if all were equal."""
    most, total = shares.max(0), shares.sum(0)
    return np.where(total == 0, 1 / len(shares), share(most, total))


def _above_chance(concentrations: Floats, among: int) -> float:
    return float((concentrations.mean() - 1 / among) / (1 - 1 / among))
