r"""Scores made of the plug-in mutual information between single codes and single factors.

Codes and continuous factors are cut into cells of equal width and counted; I(z_j; v_k), H(z_j) and
H(v_k) are those of the counts, in nats. The scores differ in what they subtract and divide by.
Counting n items overstates information by about (cells − 1)(classes − 1)/2n nats: compare scores at
equal n and bins only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from .score import BINS, Pairs, Score, cells, paired
from .sharing import once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """Plug-in information between codes and factors in nats, NaN for factors with one class."""

    mutual: Floats
    """I(z_j; v_k), (codes, factors)."""
    codes: Floats
    """H(z_j) among the items whose factor k is known, (codes, factors)."""
    factors: Floats
    """H(v_k), (factors,)."""
    classes: Floats
    """The number of values of v_k, (factors,)."""

    @property
    def joint(self) -> Floats:
        """H(z_j, v_k), (codes, factors)."""
        return self.codes + self.factors - self.mutual


@once
def information(pairs: Pairs, bins: int = BINS) -> Information:
    """Count every code in `bins` cells against every factor, with one `bincount` a factor.

    >>> bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> (information(paired(bits, bits)).mutual / np.log(2)).round(6)
    array([[1., 0.],
           [0., 1.]])
    """
    cell = cells(pairs.codes, bins)
    n_codes = cell.shape[1]
    n_factors = pairs.factors.shape[1]
    mutual, own = np.full((2, n_codes, n_factors), np.nan)
    factors, classes = np.full((2, n_factors), np.nan)
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        here = slice(None) if known.all() else known  # a slice copies nothing
        counts = joint_counts(cell[here], pairs.factors[here, k], bins)  # (codes, bins, classes)
        of_classes = counts[0].sum(0)  # the same for every code
        own[:, k] = entropy(counts.sum(2))
        factors[k] = entropy(of_classes)
        classes[k] = (of_classes > 0).sum()
        joint = entropy(counts.reshape(n_codes, -1))
        shared = own[:, k] + factors[k] - joint
        mutual[:, k] = np.maximum(shared, 0)
    return Information(mutual, own, factors, classes)


def joint_counts(
    cell: NDArray[np.int64], classes: NDArray[np.int64], bins: int
) -> NDArray[np.int64]:
    """Count how often cells (n, codes) meet classes (n,), as (codes, bins, classes)."""
    n_codes = cell.shape[1]
    n_classes = int(classes.max()) + 1
    place = (np.arange(n_codes) * bins + cell) * n_classes + classes[:, None]
    counts = np.bincount(place.ravel(), minlength=n_codes * bins * n_classes)
    return counts.reshape(n_codes, bins, n_classes)


def entropy(counts: NDArray[np.int64]) -> Floats:
    """Return the entropy in nats of the outcomes that counts (..., outcomes) are counted of.

    >>> float(np.exp(entropy(np.array([5, 5, 5, 0]))).round(12))
    3.0
    """
    n = counts.sum(-1)
    mean_log = xlogy(counts, counts).sum(-1) / n
    return np.asarray(np.log(n) - mean_log, dtype=np.float64)


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = BINS,
    convention: str = "disentanglement_lib",
) -> Score:
    r"""Mutual information gap: is each factor in one code, and in no second one?

    .. math:: \frac{1}{|K|} \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    where z_(1), z_(2) are the codes that tell most about v_k. It is 1 if every factor is a function
    of one code and no other code knows of it, 0 if two codes know each factor equally well (a code
    and its copy, a circle's sine and cosine). If there is one code only, the second tells nothing.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        bins: Number of cells of equal width that each code is cut into.
        convention: "disentanglement_lib" as above. "ubisoft" divides I(z_j; v_k) by H(z_j) instead
            and then takes the gap, so that codes with few used cells gain (that library's own
            default is 10 bins). "chen" divides by log K_f, for K_f observed values of v_k, which
            differs where values are not equally frequent. Chen et al. themselves estimate
            I(z_j; v_k) from samples of q(z|x) with the exact q(z): that needs no cells, and codes
            that are noise about a mean know less.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the gaps) and "mutual_information" (codes,
        factors) in nats.

    Raises:
        ValueError: If `paired` refuses the arrays, or the convention is unknown.

    Source: Chen et al., "Isolating sources of disentanglement in variational autoencoders" (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> print(mig(v, v))
    MIG 1.000, convention disentanglement_lib, 20 bins
    >>> float(mig(np.hstack([v, v]), v))
    0.0
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    norms = {
        "disentanglement_lib": known.factors,
        "ubisoft": known.codes,
        "chen": np.log(known.classes),
    }
    each = gap(share(known.mutual, chosen(convention, norms)))
    value = float(np.nanmean(each))
    return Score(
        "MIG",
        value,
        f"{convention}, {bins} bins",
        range=(0, 1),
        parts={"per_factor": each, "mutual_information": known.mutual},
        notes=pairs.notes,
    )


def mig_sup(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS, convention: str = "li"
) -> Score:
    r"""MIG's supplement: does each code tell of one factor, and of no second one?

    .. math:: \frac{1}{|J|} \sum_j \tilde I(z_j; v_{(1)}) - \tilde I(z_j; v_{(2)}),
        \qquad \tilde I(z_j; v_k) = I(z_j; v_k) / H(v_k)

    A code that is constant, or noise, counts as 0.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`. If only one varies, there is no second one, and the gap
            is Ĩ itself.
        bins: Number of cells of equal width that each code is cut into.
        convention: "li" as above (the authors' program leaves inactive codes out of the mean, which
            raises it); "ubisoft" divides by H(z_j).

    Returns:
        A score within [0, 1]; `parts` are "per_code" and "mutual_information" (codes, factors) in
        nats.

    Raises:
        ValueError: If `paired` refuses the arrays, or the convention is unknown.

    Source: Li et al., "Progressive learning and disentanglement of hierarchical representations"
    (2020).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(mig_sup(np.hstack([v, v]), v)), float(mig_sup(v.sum(1), v))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    norm = chosen(convention, {"li": known.factors, "ubisoft": known.codes})
    told = share(known.mutual, norm)[:, pairs.varied].T  # (varied factors, codes)
    each = gap(told)
    value = float(each.mean())
    return Score(
        "MIG-sup",
        value,
        f"{convention}, {bins} bins",
        range=(0, 1),
        parts={"per_code": each, "mutual_information": known.mutual},
        notes=pairs.notes,
    )


def dcimig(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Score:
    r"""DCIMIG, or 3CharM: does each factor have a code that knows all of it and nothing else?

    .. math:: \frac{\sum_k \max_{j : k(j) = k}
        \left( I(z_j; v_k) - \max_{l \neq k} I(z_j; v_l) \right)}{\sum_k H(v_k)}

    where k(j) is the factor that z_j knows most of; a factor that is no code's best adds 0. This is
    the score that Ubisoft's library prints.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        bins: Number of cells of equal width that each code is cut into.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the numerator's terms over H(v_k)) and
        "mutual_information".

    Raises:
        ValueError: If `paired` refuses the arrays.

    Source: Sepliarskaia et al., "Evaluating disentangled representations" (2019).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(dcimig(np.hstack([v, v]), v)), float(dcimig(v[:, 0], v))
    (1.0, 0.5)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    mutual = known.mutual[:, pairs.varied]
    entropies = known.factors[pairs.varied]
    n_factors = mutual.shape[1]
    best = mutual.argmax(1)[:, None] == np.arange(n_factors)  # (codes, factors)
    ahead = gap(mutual.T)[:, None]  # (codes, 1)
    gaps = np.where(best, ahead, 0).max(0)
    each = np.full(len(pairs.varied), np.nan)
    each[pairs.varied] = gaps / entropies
    value = float(gaps.sum() / entropies.sum())
    return Score(
        "DCIMIG",
        value,
        f"ubisoft, {bins} bins",
        range=(0, 1),
        parts={"per_factor": each, "mutual_information": known.mutual},
        notes=pairs.notes,
    )


def jemmig(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS, convention: str = "ubisoft"
) -> Score:
    r"""Joint entropy minus MIG: is each factor in one code that knows of nothing else?

    .. math:: J_k = H(z_{(1)}, v_k) - I(z_{(1)}; v_k) + I(z_{(2)}; v_k)

    where z_(1), z_(2) are the codes that tell most about v_k. J_k is in nats; it is 0 if z_(1) and
    v_k are functions of one another and no other code knows of v_k.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        bins: Number of cells of equal width that each code is cut into.
        convention: "ubisoft" is the mean of 1 − J_k / (H(v_k) + log bins), within [0, 1]; more is
            better. "do" is the mean of J_k; less is better. Do and Tran themselves count q(z|x) in
            the cells, not one code an item.

    Returns:
        A score; `parts` are "per_factor" and "mutual_information" (codes, factors) in nats.

    Raises:
        ValueError: If `paired` refuses the arrays, or the convention is unknown.

    Source: Do and Tran, "Theory and evaluation metrics for learning disentangled representations"
    (2020).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(jemmig(v, v, bins=2)), float(jemmig(v, v, convention="do"))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    first = np.nan_to_num(known.mutual).argmax(0)[None]
    joint = np.take_along_axis(known.joint, first, 0)[0]  # (factors,)
    nats = joint - gap(known.mutual)
    most = known.factors + np.log(bins)
    each = chosen(convention, {"ubisoft": 1 - nats / most, "do": nats})
    value = float(np.nanmean(each))
    within = (0.0, 1.0) if convention == "ubisoft" else (0.0, np.inf)
    return Score(
        "JEMMIG",
        value,
        f"{convention}, {bins} bins",
        range=within,
        parts={"per_factor": each, "mutual_information": known.mutual},
        notes=pairs.notes,
    )


def modularity(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Score:
    r"""Modularity: does each code know of one factor only?

    .. math:: \frac{1}{|J|} \sum_j 1 -
        \frac{\sum_{k \neq k(j)} I(z_j; v_k)^2}{(|K| - 1) \max_k I(z_j; v_k)^2}

    where k(j) is the factor that z_j knows most of. Codes that know of nothing count as 0. A code
    of noise has plug-in information by chance, which counts like any other: the score says little
    where codes are uninformative.

    Args:
        codes: (n, codes).
        factors: (n, factors), two of which vary, see `paired`.
        bins: Number of cells of equal width that each code is cut into.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib"; `parts` are "per_code" and
        "mutual_information".

    Raises:
        ValueError: If `paired` refuses the arrays, or only one factor varies.

    Source: Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss"
    (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(modularity(np.hstack([v, v]), v)), float(modularity(v.sum(1), v))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    each = modularity_per_code(known.mutual[:, pairs.varied])
    return Score(
        "modularity",
        float(each.mean()),
        f"disentanglement_lib, {bins} bins",
        range=(0, 1),
        parts={"per_code": each, "mutual_information": known.mutual},
        notes=pairs.notes,
    )


def modularity_per_code(mutual: Floats) -> Floats:
    """Compute each code's modularity from information (codes, factors) that is known already.

    Raises:
        ValueError: If there is one factor only.
    """
    if mutual.shape[1] < 2:
        raise ValueError(
            "one factor that varies: modularity compares a code's factors; expected two or more"
        )
    squares = mutual**2
    most = squares.max(1)
    rest = squares.sum(1) - most
    others = mutual.shape[1] - 1
    each = 1 - share(rest, most * others)
    return np.where(most > 0, each, 0)


def gap(values: Floats) -> Floats:
    """Subtract the second largest value of each column from the largest; of one row, subtract 0."""
    ordered = np.sort(values, axis=0)
    second = ordered[-2] if len(ordered) > 1 else 0
    return np.asarray(ordered[-1] - second, dtype=np.float64)


def share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where whole is 0."""
    empty = whole == 0
    ratio = part / np.where(empty, 1, whole)
    return np.asarray(np.where(empty, 0, ratio), dtype=np.float64)


def chosen(convention: str, conventions: Mapping[str, Floats]) -> Floats:
    """Return the convention's entry.

    Raises:
        ValueError: If there is none; the error lists the names that there are.
    """
    if convention not in conventions:
        raise ValueError(f"convention {convention!r}: expected one of {', '.join(conventions)}")
    return conventions[convention]
