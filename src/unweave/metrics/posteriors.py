r"""Information in codes that are Normal posteriors, by the exact q(z).

It needs no cells, and noise about the mean counts. q(z|x_i) = N(μ_i, diag σ_i²) for i = 1, …, n,
and q(z) = 1/n Σ_i q(z|x_i). Expectations over z are means over draws, and the densities in them are
sums over all items. The draws are spread evenly over the items.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import gap, share
from .score import Pairs, Score, checked, paired

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]

NUMBERS = 2**20
"""Pairs of draws and items, times codes, that are held at a time: a few arrays of 8 MiB."""


def posterior_information(
    means: ArrayLike, scales: ArrayLike, *, points: int = 1_000, seed: int = 0
) -> Score:
    r"""Estimate the information of codes about the items, I(x; z), in nats.

    .. math:: I(x; z) = \mathrm{E} \log q(z|x) - \log q(z)

    It is a part of the KL from the prior:

    .. math:: \overline{\mathrm{KL}(q(z|x) \| N(0, 1))} = I(x; z) +
        \underbrace{\sum_j I(x; z_j) - I(x; z)}_{\text{total correlation}} +
        \sum_j \underbrace{\overline{\mathrm{KL}(q(z_j|x) \| N(0, 1))} - I(x; z_j)
        }_{\mathrm{KL}(q(z_j) \| N(0, 1))}

    The KLs of posteriors are closed forms, so that the identity holds for the estimates too.

    Args:
        means: (n, codes), μ.
        scales: (n, codes), σ: standard deviations, no logarithms and no variances.
        points: Number of draws of z, each compared with all n items. The standard error falls as
            1 / √points.
        seed: Seed of the draws.

    Returns:
        A score within [0, log n], though by chance an estimate of next to nothing may be below 0;
        `parts` are "per_code", I(x; z_j), "total_correlation", "dimension_kl", KL(q(z_j) ‖ N(0,
        1)), "kl", the mean of KL(q(z|x) ‖ N(0, 1)), (codes,), and "standard_error" of the value.

    Raises:
        ValueError: If shapes differ, numbers are not finite, scales are not positive, or there are
            no points.

    Source: Hoffman and Johnson, "ELBO surgery" (2016); Chen et al., "Isolating sources of
    disentanglement in variational autoencoders" (2018).

    >>> apart = posterior_information(np.arange(8.0) * 100, np.ones(8))
    >>> round(float(np.exp(float(apart))), 6)
    8.0
    """
    mu, sigma = _posteriors(means, scales)
    items, z = draws(mu, sigma, points, seed)  # z: (points, codes)
    own, own_whole = _own(z, mu[items], sigma[items])
    of_codes, of_whole = aggregate(z, mu, sigma)
    whole = own_whole - of_whole  # (points,)
    each = (own - of_codes).mean(0)  # (codes,)
    kl_of_items = (mu**2 + sigma**2 - 1) / 2 - np.log(sigma)  # (n, codes)
    kl = kl_of_items.mean(0)
    value = float(whole.mean())
    parts: dict[str, Any] = {
        "per_code": each,
        "total_correlation": float(each.sum()) - value,
        "dimension_kl": kl - each,
        "kl": kl,
        "standard_error": float(whole.std() / np.sqrt(points)),
    }
    within = (0, float(np.log(len(mu))))
    return Score("I(x; z)", value, f"exact q(z), {points} draws", range=within, parts=parts)


def factor_information(
    means: ArrayLike, scales: ArrayLike, factors: ArrayLike, *, points: int = 1_000, seed: int = 0
) -> Floats:
    r"""Estimate the information of each code about each factor, (codes, factors), in nats.

    .. math:: I(v_k; z_j) = \mathrm{E}\, \log q(z_j | v_k) - \log q(z_j), \qquad
        q(z_j | v) = \frac{1}{n_v} \sum_{i : v_{ik} = v} q(z_j | x_i)

    over the items whose factor is known; NaN for factors with one class. Arguments and errors are
    those of `posterior_information`, and those of `paired` for the factors; continuous factors are
    cut into cells. If a class has few items, q(z|v) is narrow and information is overstated, as by
    counting.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> (factor_information(100 * v, np.ones((12, 2)), v) / np.log(2)).round(2)
    array([[1., 0.],
           [0., 1.]])
    """
    mu, sigma = _posteriors(means, scales)
    return _factor_information(paired(mu, factors), sigma, points, seed)


def mig_exact(
    means: ArrayLike, scales: ArrayLike, factors: ArrayLike, *, points: int = 1_000, seed: int = 0
) -> Score:
    r"""Mutual information gap by the exact q(z): is each factor in one code, and in no second one?

    .. math:: \frac{1}{|K|} \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{\log |v_k|}

    as Chen et al. compute it, with `factor_information` and |v_k| the number of values. A code that
    is noise about a mean knows less here than by `mig`, which takes means for codes.

    Args:
        means: (n, codes).
        scales: (n, codes), standard deviations.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        points: Number of draws of z that information is the mean over; Chen et al. take 10,000.
        seed: Seed of the draws.

    Returns:
        A score within [0, 1] of the convention "chen, exact q(z)"; `parts` are "per_factor" (the
        gaps) and "mutual_information" (codes, factors) in nats.

    Raises:
        ValueError: If `factor_information` refuses the arrays.

    Source: Chen et al. (2018), as above.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> round(float(mig_exact(100 * v, np.ones((12, 2)), v)), 6)
    1.0
    """
    mu, sigma = _posteriors(means, scales)
    pairs = paired(mu, factors)
    mutual = np.maximum(_factor_information(pairs, sigma, points, seed), 0)
    known = [column[column >= 0] for column in pairs.factors.T]
    classes = np.array([len(np.unique(column)) for column in known])
    each = gap(share(mutual, np.log(classes)))
    value = float(np.nanmean(each))
    return Score(
        "MIG",
        value,
        "chen, exact q(z)",
        range=(0, 1),
        parts={"per_factor": each, "mutual_information": mutual},
        notes=pairs.notes,
    )


def _factor_information(pairs: Pairs, sigma: Floats, points: int, seed: int) -> Floats:
    mutual = np.full(pairs.shape, np.nan)
    # factors that are known of the same items share draws and log q(z)
    drawn: dict[bytes, tuple[Numbers, Floats, Floats]] = {}
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        mu = pairs.codes[known]
        scale = sigma[known]
        classes = pairs.factors[known, k]
        key = known.tobytes()
        if key not in drawn:
            items, z = draws(mu, scale, points, seed)
            marginal, _ = aggregate(z, mu, scale)
            drawn[key] = items, z, marginal
        items, z, marginal = drawn[key]
        conditional = np.empty_like(z)
        for v in np.unique(classes):
            here = classes[items] == v
            there = classes == v
            conditional[here], _ = aggregate(z[here], mu[there], scale[there])
        mutual[:, k] = (conditional - marginal).mean(0)
    return mutual


def draws(means: Floats, scales: Floats, points: int, seed: int) -> tuple[Numbers, Floats]:
    """Choose items (points,), equally often but for one, and draw z from each one's posterior."""
    if points < 1:
        raise ValueError(f"points={points}: expected 1 or more")
    rng = np.random.default_rng(seed)
    items = np.resize(rng.permutation(len(means)), points)
    noise = rng.standard_normal((points, means.shape[1]))
    return items, means[items] + scales[items] * noise


def aggregate(z: Floats, means: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Compute log q(z_j), (points, codes), and log q(z), (points,), of the mixture of all items.

    >>> of_codes, of_whole = aggregate(np.zeros((1, 2)), np.zeros((5, 2)), np.ones((5, 2)))
    >>> (np.exp(of_codes) * np.sqrt(2 * np.pi)).round(12).tolist()
    [[1.0, 1.0]]
    >>> (np.exp(of_whole) * 2 * np.pi).round(12).tolist()
    [1.0]
    """
    n, d = means.shape
    columns = max(1, min(n, NUMBERS // d))
    rows = max(1, NUMBERS // (d * columns))
    points = len(z)
    of_codes = np.full((points, d), -np.inf)
    of_whole = np.full(points, -np.inf)
    for i in range(0, points, rows):
        here = slice(i, i + rows)
        for j in range(0, n, columns):
            items = slice(j, j + columns)
            # (draws, items, codes) and (draws, items)
            part, whole = _own(z[here, None], means[items], scales[items])
            of_whole[here] = np.logaddexp(of_whole[here], _log_sum(whole))
            of_codes[here] = np.logaddexp(of_codes[here], _log_sum(part))
    return of_codes - np.log(n), of_whole - np.log(n)


def _own(z: Floats, means: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """Compute log N(z; means, scales²) of each code, and the sum over codes."""
    density = z - means
    density /= scales
    density *= density
    density *= -0.5
    log_normaliser = np.log(scales) + 0.5 * np.log(2 * np.pi)
    density -= log_normaliser
    return density, density.sum(-1)


def _log_sum(values: Floats) -> Floats:
    """Compute log Σ exp over axis 1, which overwrites the values."""
    most = values.max(1, keepdims=True)
    values -= most
    total = np.exp(values, out=values).sum(1)
    return np.asarray(np.log(total) + most[:, 0], dtype=np.float64)


def _posteriors(means: ArrayLike, scales: ArrayLike) -> tuple[Floats, Floats]:
    mu, sigma = checked(means), checked(scales)
    if mu.shape != sigma.shape:
        raise ValueError(
            f"means have shape {mu.shape} and scales {sigma.shape}: expected the same, (n, codes)"
        )
    if (sigma <= 0).any():
        raise ValueError(
            f"{(sigma <= 0).sum()} scales are not positive (the least is {sigma.min():g}): "
            "expected standard deviations; of log-variances these are exp(0.5 * log_variance)"
        )
    return mu, sigma
