r"""Scores made of the plug-in mutual information between single codes and single factors.

Codes, and factors that are continuous, are cut into cells of equal width and counted; I(z_j; v_k),
H(z_j) and H(v_k) are those of the counts, in nats. The scores differ in what they subtract and
divide by. Counting n items overstates information by about (cells − 1)(classes − 1)/2n nats:
compare scores at equal n and bins only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from .score import BINS, Pairs, Score, cells, paired

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """Plug-in information between codes and factors in nats; what concerns a factor with one class
    is NaN.

    `mutual` is I(z_j; v_k), (codes, factors); `codes` is H(z_j) among the items whose factor k is
    known, (codes, factors); `factors` is H(v_k) and `classes` the number of values of v_k, both
    (factors,).
    """

    mutual: Floats
    codes: Floats
    factors: Floats
    classes: Floats

    @property
    def joint(self) -> Floats:
        """H(z_j, v_k), (codes, factors)."""
        return self.codes + self.factors - self.mutual


def information(pairs: Pairs, bins: int = BINS) -> Information:
    """Counts every code in `bins` cells against every factor: one `bincount` a factor.

    >>> bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> (information(paired(bits, bits)).mutual / np.log(2)).round(6)
    array([[1., 0.],
           [0., 1.]])
    """
    cell = cells(pairs.codes, bins)
    n_codes, n_factors = cell.shape[1], pairs.factors.shape[1]
    mutual, own = np.full((2, n_codes, n_factors), np.nan)
    factors, classes = np.full((2, n_factors), np.nan)
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        here = slice(None) if known.all() else known  # which copies nothing
        counts = joint_counts(cell[here], pairs.factors[here, k], bins)
        own[:, k] = entropy(counts.sum(2))
        factors[k] = entropy(counts[0].sum(0))
        classes[k] = (counts[0].sum(0) > 0).sum()
        mutual[:, k] = np.maximum(own[:, k] + factors[k] - entropy(counts.reshape(n_codes, -1)), 0)
    return Information(mutual, own, factors, classes)


def joint_counts(
    cell: NDArray[np.int64], classes: NDArray[np.int64], bins: int
) -> NDArray[np.int64]:
    """How often cells of each code meet classes: (n, codes) and (n,) -> (codes, bins, classes)."""
    n_codes, n_classes = cell.shape[1], int(classes.max()) + 1
    place = (np.arange(n_codes) * bins + cell) * n_classes + classes[:, None]
    return np.bincount(place.ravel(), minlength=n_codes * bins * n_classes).reshape(
        n_codes, bins, n_classes
    )


def entropy(counts: NDArray[np.int64]) -> Floats:
    """Of the shares that counts (..., outcomes) are of their sum, in nats.

    >>> float(np.exp(entropy(np.array([5, 5, 5, 0]))).round(12))
    3.0
    """
    n = counts.sum(-1)
    return np.asarray(np.log(n) - xlogy(counts, counts).sum(-1) / n, dtype=np.float64)


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    bins: int = BINS,
    convention: str = "disentanglement_lib",
) -> Score:
    r"""Mutual information gap: is each factor in one code, and in no second one?

    .. math:: \frac{1}{|K|} \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    with z_(1), z_(2) the codes that tell most about v_k. It is 1 if every factor is a function of
    one code that no other code knows of, 0 if two codes know each factor equally well (a code with
    its copy, a circle's sine and cosine). Where there is one code only, the second tells nothing.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`. bins: Cells of equal width that a
        code is cut into. convention: "disentanglement_lib" as above. "ubisoft" divides I(z_j; v_k)
        by H(z_j) instead and then takes the
            gap, so that codes with few used cells gain (that library's own default is 10 bins).
            "chen" divides by log K_f, for K_f observed values of v_k, which differs where values
            are not equally frequent; Chen et al. themselves estimate I(z_j; v_k) from samples of
            q(z|x) with the exact q(z), for which no cells are needed and codes that are noise about
            a mean know less.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the gaps) and "mutual_information" (codes,
        factors) in nats.

    Raises:
        ValueError: As `paired`, and for an unknown convention.

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
    parts = {"per_factor": each, "mutual_information": known.mutual}
    return Score(
        "MIG", float(np.nanmean(each)), f"{convention}, {bins} bins", (0, 1), parts, pairs.notes
    )


def mig_sup(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS, convention: str = "li"
) -> Score:
    r"""MIG's supplement: does each code tell of one factor, and of no second one?

    .. math:: \frac{1}{|J|} \sum_j \tilde I(z_j; v_{(1)}) - \tilde I(z_j; v_{(2)}),
        \qquad \tilde I(z_j; v_k) = I(z_j; v_k) / H(v_k)

    A code that is constant, or noise, counts as 0.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`; one that varies has nothing beside
        it, and the gap is Ĩ itself. bins: Cells of equal width that a code is cut into. convention:
        "li" as above (the authors' program leaves inactive codes out of the mean, which raises it);
            "ubisoft" divides by H(z_j).

    Returns:
        A score within [0, 1]; `parts` are "per_code" and "mutual_information" (codes, factors) in
        nats.

    Raises:
        ValueError: As `paired`, and for an unknown convention.

    Source: Li et al., "Progressive learning and disentanglement of hierarchical representations"
    (2020).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(mig_sup(np.hstack([v, v]), v)), float(mig_sup(v.sum(1), v))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    norm = chosen(convention, {"li": known.factors, "ubisoft": known.codes})
    each = gap(share(known.mutual, norm)[:, pairs.varied].T)
    parts = {"per_code": each, "mutual_information": known.mutual}
    return Score(
        "MIG-sup", float(each.mean()), f"{convention}, {bins} bins", (0, 1), parts, pairs.notes
    )


def dcimig(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Score:
    r"""DCIMIG, or 3CharM: has each factor a code that knows of it alone, and all of it?

    .. math:: \frac{\sum_k \max_{j : k(j) = k} \left( I(z_j; v_k) - \max_{l \neq k} I(z_j; v_l) \right)}{\sum_k H(v_k)}

    with k(j) the factor that z_j knows most of; a factor that is no code's best adds 0. It is what
    Ubisoft's library prints.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`.
        bins: Cells of equal width that a code is cut into.

    Returns:
        A score within [0, 1]; `parts` are "per_factor" (the numerator's terms over H(v_k)) and
        "mutual_information".

    Raises:
        ValueError: As `paired`.

    Source: Sepliarskaia et al., "Evaluating disentangled representations" (2019).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(dcimig(np.hstack([v, v]), v)), float(dcimig(v[:, 0], v))
    (1.0, 0.5)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    mutual, entropies = known.mutual[:, pairs.varied], known.factors[pairs.varied]
    best = mutual.argmax(1)[:, None] == np.arange(mutual.shape[1])  # (codes, factors)
    gaps = np.where(best, gap(mutual.T)[:, None], 0).max(0)
    each = np.full(len(pairs.varied), np.nan)
    each[pairs.varied] = gaps / entropies
    value = float(gaps.sum() / entropies.sum())
    parts = {"per_factor": each, "mutual_information": known.mutual}
    return Score("DCIMIG", value, f"ubisoft, {bins} bins", (0, 1), parts, pairs.notes)


def jemmig(
    codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS, convention: str = "ubisoft"
) -> Score:
    r"""Joint entropy minus mutual information gap: MIG that also asks that the best code know of
    nothing else.

    .. math:: J_k = H(z_{(1)}, v_k) - I(z_{(1)}; v_k) + I(z_{(2)}; v_k)

    with z_(1), z_(2) the codes that tell most about v_k; in nats, 0 if z_(1) and v_k are functions
    of one another and nothing else knows of v_k.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`. bins: Cells of equal width that a
        code is cut into. convention: "ubisoft" is the mean of 1 − J_k / (H(v_k) + log bins), within
        [0, 1], more being better. "do" is
            the mean of J_k, less being better; Do and Tran themselves count q(z|x) in the cells,
            not one code an item.

    Returns:
        A score; `parts` are "per_factor" and "mutual_information" (codes, factors) in nats.

    Raises:
        ValueError: As `paired`, and for an unknown convention.

    Source: Do and Tran, "Theory and evaluation metrics for learning disentangled representations"
    (2020).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(jemmig(v, v, bins=2)), float(jemmig(v, v, convention="do"))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    first = np.nan_to_num(known.mutual).argmax(0)[None]
    nats = np.take_along_axis(known.joint, first, 0)[0] - gap(known.mutual)
    each = chosen(convention, {"ubisoft": 1 - nats / (known.factors + np.log(bins)), "do": nats})
    within = (0.0, 1.0) if convention == "ubisoft" else (0.0, np.inf)
    parts = {"per_factor": each, "mutual_information": known.mutual}
    return Score(
        "JEMMIG", float(np.nanmean(each)), f"{convention}, {bins} bins", within, parts, pairs.notes
    )


def modularity(codes: ArrayLike, factors: ArrayLike, *, bins: int = BINS) -> Score:
    r"""How near each code is to knowing of one factor only.

    .. math:: \frac{1}{|J|} \sum_j 1 - \frac{\sum_{k \neq k(j)} I(z_j; v_k)^2}{(|K| - 1) \max_k I(z_j; v_k)^2}

    with k(j) the factor that z_j knows most of. Codes that know of nothing count as 0; a code of
    noise counts as if what plug-in information it has by chance were meant, so that the score says
    little where codes are uninformative.

    Args:
        codes: (n, codes).
        factors: (n, factors), two of which vary, see `paired`.
        bins: Cells of equal width that a code is cut into.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib"; `parts` are "per_code" and
        "mutual_information".

    Raises:
        ValueError: As `paired`, and for one factor.

    Source: Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss"
    (2018).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> float(modularity(np.hstack([v, v]), v)), float(modularity(v.sum(1), v))
    (1.0, 0.0)
    """
    pairs = paired(codes, factors, bins=bins)
    known = information(pairs, bins)
    each = modularity_per_code(known.mutual[:, pairs.varied])
    parts = {"per_code": each, "mutual_information": known.mutual}
    convention = f"disentanglement_lib, {bins} bins"
    return Score("modularity", float(each.mean()), convention, (0, 1), parts, pairs.notes)


def modularity_per_code(mutual: Floats) -> Floats:
    """Of information (codes, factors) that is known otherwise; raises ValueError for one factor."""
    if mutual.shape[1] < 2:
        raise ValueError(
            "one factor that varies: modularity compares a code's factors; expected two or more"
        )
    squares = mutual**2
    most = squares.max(1)
    return np.where(most > 0, 1 - share(squares.sum(1) - most, most * (mutual.shape[1] - 1)), 0)


def gap(values: Floats) -> Floats:
    """What the largest value of each column has over the second largest, which is 0 where there is
    one row.
    """
    ordered = np.sort(values, axis=0)
    return np.asarray(ordered[-1] - (ordered[-2] if len(ordered) > 1 else 0), dtype=np.float64)


def share(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where whole is 0."""
    safe = np.where(whole == 0, 1, whole)
    return np.asarray(np.where(whole == 0, 0, part / safe), dtype=np.float64)


def chosen(convention: str, conventions: Mapping[str, Floats]) -> Floats:
    """The convention's entry; raises ValueError with the names that there are."""
    if convention not in conventions:
        raise ValueError(f"convention {convention!r}: expected one of {', '.join(conventions)}")
    return conventions[convention]
