r"""Scores of codes alone: how far codes are from being independent of one another.

The first two take codes to be jointly Normal; Σ is their covariance and D its diagonal. They say
nothing about factors: independent noise is as good as independent factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import entropy, joint_counts
from .score import BINS, Score, cells, checked

CONVENTION = "disentanglement_lib"


def gaussian_total_correlation(codes: ArrayLike) -> Score:
    r"""Gaussian total correlation: how far are the codes from uncorrelated, in nats?

    .. math:: \mathrm{KL}(N(0, Σ) \| N(0, D)) =
        \tfrac12 \left( \sum_j \log Σ_{jj} - \log \det Σ \right)

    It is the total correlation of a Normal with the codes' covariance: 0 if the codes are
    uncorrelated, infinite if a code is a linear function of others. Constant codes are independent
    of all others, and add 0.

    Raises:
        ValueError: If there are fewer than two items, or codes are not finite.

    Source: Locatello et al., "Challenging common assumptions in the unsupervised learning of
    disentangled representations" (2019).

    >>> z = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    >>> float(gaussian_total_correlation(z)), float(gaussian_total_correlation(np.hstack([z, z])))
    (0.0, inf)
    """
    covariance, notes = _covariance(codes)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    if len(covariance) and np.linalg.matrix_rank(correlation, hermitian=True) < len(covariance):
        notes += ("codes are linearly dependent",)
        return Score("Gaussian TC", np.inf, CONVENTION, range=(0, np.inf), notes=notes)
    log_determinant = float(np.linalg.slogdet(correlation)[1])
    value = max(0.0, -0.5 * log_determinant)
    return Score("Gaussian TC", value, CONVENTION, range=(0, np.inf), notes=notes)


def gaussian_wasserstein_correlation(codes: ArrayLike, *, normalised: bool = False) -> Score:
    r"""Gaussian Wasserstein correlation: how far are the codes from uncorrelated, in squared units?

    .. math:: W_2^2(N(0, Σ), N(0, D)) =
        2\,\mathrm{tr}\,Σ - 2\,\mathrm{tr}\,(D^{1/2} Σ D^{1/2})^{1/2}

    It is the squared Wasserstein distance between a Normal with the codes' covariance and the
    product of its marginals: 0 if codes are uncorrelated, and finite even if they determine one
    another. Its unit is the codes' squared.

    Args:
        codes: (n, codes).
        normalised: True to divide by tr Σ: the codes' common scale then has no effect, and the
            score lies within [0, 2).

    Raises:
        ValueError: If there are fewer than two items, or codes are not finite.

    Source: Watters et al., "Spatial broadcast decoder" (2019); Locatello et al. (2019), as above.

    >>> z = np.array([[0, 0], [1, 1], [2, 2.0]])  # covariance [[1, 1], [1, 1]]: 4 − 2 √2
    >>> print(gaussian_wasserstein_correlation(z))
    Gaussian Wasserstein 1.172, convention disentanglement_lib
    """
    covariance, notes = _covariance(codes)
    scale = np.sqrt(np.diag(covariance))
    total = float(np.trace(covariance))
    scaled = scale[:, None] * covariance * scale
    eigenvalues = np.linalg.eigvalsh(scaled)
    root = float(np.sqrt(np.maximum(eigenvalues, 0)).sum())  # the trace of the square root
    value = max(0.0, 2 * total - 2 * root)
    if normalised:
        ratio = value / total if total else 0.0
        return Score(
            "Gaussian Wasserstein, normalised",
            ratio,
            CONVENTION,
            range=(0, 2),
            notes=notes,
        )
    return Score("Gaussian Wasserstein", value, CONVENTION, range=(0, np.inf), notes=notes)


def pairwise_information(codes: ArrayLike, *, bins: int = BINS) -> Score:
    r"""Pairwise information: how much do two codes tell of one another on average, in nats?

    .. math:: \frac{1}{d (d - 1)} \sum_{i \neq j} I(z_i; z_j)

    by the plug-in information of codes cut into cells. Unlike the Gaussian scores it sees
    dependence without correlation.

    Args:
        codes: (n, codes).
        bins: Number of cells of equal width that each code is cut into.

    Returns:
        A score within [0, log bins]; `parts` has the matrix "mutual_information" (codes, codes),
        with the entropies on its diagonal.

    Raises:
        ValueError: If there is one code, there are fewer than two items, or codes are not finite.

    Source: Locatello et al. (2019), as above.

    >>> z = np.linspace(-1, 1, 201)
    >>> pairwise_information(np.stack([z, abs(z)], 1), bins=2).value > 0
    True
    """
    z = checked(codes)
    if z.shape[1] < 2 or len(z) < 2:
        raise ValueError(
            f"codes of shape {z.shape}: expected two items and two codes or more, or there are no "
            "pairs"
        )
    cell = cells(z, bins)
    one_class = np.zeros(len(z), dtype=np.int64)
    own = entropy(joint_counts(cell, one_class, bins)[:, :, 0])  # (codes,)
    joint = []
    for other in cell.T:
        counts = joint_counts(cell, other, bins).reshape(z.shape[1], -1)
        joint.append(entropy(counts))
    shared = own[:, None] + own - np.stack(joint, 1)  # (codes, codes)
    mutual = np.maximum(shared, 0)
    pairs = ~np.eye(len(own), dtype=bool)
    value = float(mutual[pairs].mean())
    constant = int((np.ptp(z, 0) == 0).sum())
    notes = (f"{constant} of {z.shape[1]} codes are constant",) if constant else ()
    within = (0, float(np.log(bins)))
    return Score(
        "pairwise MI",
        value,
        f"{CONVENTION}, {bins} bins",
        range=within,
        parts={"mutual_information": mutual},
        notes=notes,
    )


def _covariance(codes: ArrayLike) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Compute the covariance of the codes that vary, with a note of how many do not."""
    z = checked(codes)
    if len(z) < 2:
        raise ValueError("one item: expected two or more to have a covariance")
    varied = np.ptp(z, 0) > 0
    count = int(varied.sum())
    notes: tuple[str, ...] = ()
    if count < len(varied):
        notes = (f"{len(varied) - count} of {len(varied)} codes are constant, and left out",)
    covariance = np.cov(z[:, varied], rowvar=False).reshape(count, count)
    return covariance, notes
