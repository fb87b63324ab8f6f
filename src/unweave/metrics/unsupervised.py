r"""Scores that take codes alone: how far codes are from being independent of one another.

The first two take codes for jointly Normal with their covariance Σ, and D for its diagonal. They
say nothing about factors: independent noise is as good as independent factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import entropy, joint_counts
from .score import BINS, Score, cells, checked

CONVENTION = "disentanglement_lib"


def gaussian_total_correlation(codes: ArrayLike) -> Score:
    r"""Total correlation of a Normal with the codes' covariance, in nats: 0 if they are
    uncorrelated.

    .. math:: \mathrm{KL}(N(0, Σ) \| N(0, D)) = \tfrac12 \left( \sum_j \log Σ_{jj} - \log \det Σ \right)

    It is infinite if a code is a linear function of others. Constant codes are independent of all
    others, and add 0.

    Raises:
        ValueError: For fewer than two items, and codes that are not finite.

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
        return Score(
            "Gaussian TC",
            np.inf,
            CONVENTION,
            (0, np.inf),
            {},
            (*notes, "codes are linearly dependent"),
        )
    value = max(0.0, -0.5 * float(np.linalg.slogdet(correlation)[1]))
    return Score("Gaussian TC", value, CONVENTION, (0, np.inf), {}, notes)


def gaussian_wasserstein_correlation(codes: ArrayLike, *, normalised: bool = False) -> Score:
    r"""Squared Wasserstein distance between a Normal with the codes' covariance and the product of
    its marginals.

    .. math:: W_2^2(N(0, Σ), N(0, D)) = 2\,\mathrm{tr}\,Σ - 2\,\mathrm{tr}\,(D^{1/2} Σ D^{1/2})^{1/2}

    It is 0 if codes are uncorrelated, and finite where they determine one another. Its unit is the
    codes' squared; `normalised` divides by tr Σ, so that the codes' common scale is of no effect
    and the score lies within [0, 2).

    Raises:
        ValueError: For fewer than two items, and codes that are not finite.

    Source: Watters et al., "Spatial broadcast decoder" (2019); Locatello et al. (2019), as above.

    >>> z = np.array([[0, 0], [1, 1], [2, 2.0]])  # covariance [[1, 1], [1, 1]]: 4 − 2 √2
    >>> print(gaussian_wasserstein_correlation(z))
    Gaussian Wasserstein 1.172, convention disentanglement_lib
    """
    covariance, notes = _covariance(codes)
    scale, total = np.sqrt(np.diag(covariance)), float(np.trace(covariance))
    eigenvalues = np.linalg.eigvalsh(scale[:, None] * covariance * scale)
    value = max(0.0, 2 * total - 2 * float(np.sqrt(np.maximum(eigenvalues, 0)).sum()))
    if normalised:
        ratio = value / total if total else 0.0
        return Score("Gaussian Wasserstein, normalised", ratio, CONVENTION, (0, 2), {}, notes)
    return Score("Gaussian Wasserstein", value, CONVENTION, (0, np.inf), {}, notes)


def pairwise_information(codes: ArrayLike, *, bins: int = BINS) -> Score:
    r"""Plug-in mutual information between two codes, in nats, the mean over pairs of codes.

    .. math:: \frac{1}{d (d - 1)} \sum_{i \neq j} I(z_i; z_j)

    with codes cut into `bins` cells of equal width; within [0, log bins]. `parts` has the (codes,
    codes) matrix, the entropies on its diagonal. Unlike the Gaussian scores it sees dependence
    without correlation.

    Raises:
        ValueError: For one code, fewer than two items, and codes that are not finite.

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
    own = entropy(joint_counts(cell, np.zeros(len(z), dtype=np.int64), bins)[:, :, 0])
    joint = [entropy(joint_counts(cell, other, bins).reshape(z.shape[1], -1)) for other in cell.T]
    mutual = np.maximum(own[:, None] + own - np.stack(joint, 1), 0)
    value = float(mutual[~np.eye(len(own), dtype=bool)].mean())
    constant = int((np.ptp(z, 0) == 0).sum())
    notes = (f"{constant} of {z.shape[1]} codes are constant",) if constant else ()
    parts = {"mutual_information": mutual}
    return Score(
        "pairwise MI", value, f"{CONVENTION}, {bins} bins", (0, float(np.log(bins))), parts, notes
    )


def _covariance(codes: ArrayLike) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Of the codes that vary, with a note of how many do not."""
    z = checked(codes)
    if len(z) < 2:
        raise ValueError("one item: expected two or more to have a covariance")
    varied = np.ptp(z, 0) > 0
    notes = (
        ()
        if varied.all()
        else (f"{(~varied).sum()} of {len(varied)} codes are constant, and left out",)
    )
    return np.cov(z[:, varied], rowvar=False).reshape(varied.sum(), varied.sum()), notes
