r"""Scores of codes while a factor is held: FactorVAE's, β-VAE's and interventional robustness.

The first two draw groups of items that agree in one factor, and ask which factor it was. Groups
come from a labelled set, whose codes are computed once, or from a generator of items whose factors
can be set: a `held.Source` is either.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .held import DrawFactors, Encode, Source, from_generator, from_items
from .probes import STEPS, logistic
from .score import BINS, Score, cells, paired

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    votes: int = 10_000,
    test_votes: int = 5_000,
    batch: int = 64,
    least: float = 0.05,
    seed: int = 0,
) -> Score:
    r"""FactorVAE score: does the code that varies least tell which factor is held?

    A vote draws a factor k and `batch` items that agree in it. It goes to the code

    .. math:: \arg\min_j \mathrm{Var}(z_j \mid v_k) / \mathrm{Var}(z_j)

    Each code stands for the factor that most of its `votes` had. The score is the share of
    `test_votes` whose factor is the one that their code stands for. Codes whose standard deviation
    is below `least` take no part; if none is left, the score is 0.

    A vote draws one item among all, and holds that item's value. It draws the others, with
    replacement, from the other items with the same value, so that values that occur once are never
    held (`notes` say so). If a value has few items, votes see the same items again: that makes
    votes more alike, but favours no code.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        votes: Number of votes that decide which factor a code stands for. Kim and Mnih take 800 in
            batches of 200, and score those votes.
        test_votes: Number of votes to score.
        batch: Number of items of a vote, at least 2.
        least: Least standard deviation of a code that takes part. Kim and Mnih leave codes out by
            their KL.
        seed: Seed of the draws.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", which draws new items from a
        generator for every vote; `parts` are "train", the share among `votes`, "votes", their
        counts (factors, codes), and "active", a mask of the codes that take part.

    Raises:
        ValueError: If `paired` refuses the arrays, the batch is below 2, no value of a factor
            occurs twice, or there is one factor alone: the score would be 1 for any codes.

    Source: Kim and Mnih, "Disentangling by factorising" (2018).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(factor_vae_score(v[:, ::-1], v))
    FactorVAE score 1.000, convention disentanglement_lib
    """
    source = from_items(paired(codes, factors))
    return _factor_vae(source, np.random.default_rng(seed), votes, test_votes, batch, least)


def factor_vae_score_of(
    encode: Encode,
    draw_factors: DrawFactors,
    *,
    votes: int = 10_000,
    test_votes: int = 5_000,
    batch: int = 64,
    least: float = 0.05,
    items: int = 10_000,
    seed: int = 0,
) -> Score:
    """Compute `factor_vae_score` with items that a generator makes anew for every vote.

    This is how disentanglement_lib computes it.

    Args:
        encode: Function from factors (n, factors) to codes (n, codes), called with some thousand
            rows at a time.
        draw_factors: Function from a random generator and n to factors (n, factors), of which any
            combination can occur.
        votes: As for `factor_vae_score`.
        test_votes: As for `factor_vae_score`.
        batch: As for `factor_vae_score`.
        least: As for `factor_vae_score`.
        items: Number of items that the codes' variances are estimated from.
        seed: Seed of the draws.

    >>> def draw(rng, n):
    ...     return rng.integers(0, 4, (n, 3))
    >>> float(factor_vae_score_of(lambda v: v[:, ::-1], draw, votes=500))
    1.0
    """
    rng = np.random.default_rng(seed)
    source = from_generator(encode, draw_factors, rng, items)
    return _factor_vae(source, rng, votes, test_votes, batch, least)


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> Score:
    r"""β-VAE score: does the distance of two items' codes tell which factor the items agree in?

    A point draws a factor k and `batch` pairs of items that agree in it, each pair in its own
    value:

    .. math:: \frac1B \sum_b |z_{b} - z'_{b}|

    A multinomial logistic regression, with ½ |w|² beside its log loss, is fitted to `points`. The
    score is the share of `test_points` whose factor it names. The score can be 1 for codes that
    know all but one of the factors, and depends on the codes' scales.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        points: Number of points to fit; Higgins et al. themselves fit by gradient steps.
        test_points: Number of points to score.
        batch: Number of pairs of a point.
        seed: Seed of the draws. They are made as for `factor_vae_score`: a pair has two items.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose solver stops after 100
        steps; `parts` has "train", the share among `points`.

    Raises:
        ValueError: If `paired` refuses the arrays, no value of a factor occurs twice, or there is
            one factor alone.

    Source: Higgins et al., "β-VAE: Learning basic visual concepts with a constrained variational
    framework" (2017).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(beta_vae_score(v, v, points=500, test_points=500))
    β-VAE score 1.000, convention disentanglement_lib
    """
    source = from_items(paired(codes, factors))
    return _beta_vae(source, np.random.default_rng(seed), points, test_points, batch)


def beta_vae_score_of(
    encode: Encode,
    draw_factors: DrawFactors,
    *,
    points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> Score:
    """Compute `beta_vae_score` with items that a generator makes anew for every point.

    This is how disentanglement_lib computes it.

    Args:
        encode: As for `factor_vae_score_of`.
        draw_factors: As for `factor_vae_score_of`.
        points: As for `beta_vae_score`.
        test_points: As for `beta_vae_score`.
        batch: As for `beta_vae_score`.
        seed: Seed of the draws.

    >>> def draw(rng, n):
    ...     return rng.integers(0, 4, (n, 3))
    >>> float(beta_vae_score_of(lambda v: v, draw, points=500, test_points=500))
    1.0
    """
    rng = np.random.default_rng(seed)
    source = from_generator(encode, draw_factors, rng, items=2)
    return _beta_vae(source, rng, points, test_points, batch)


def irs(
    codes: ArrayLike, factors: ArrayLike, *, quantile: float = 0.99, bins: int | None = BINS
) -> Score:
    r"""Interventional robustness: does a code stay put while its factor is held and others vary?

    .. math:: \mathrm{IRS} = \frac{\sum_j M_j \max_k R_{jk}}{\sum_j M_j}, \qquad
        R_{jk} = 1 - \frac{1}{|v_k|}
        \sum_v \frac{Q(|z_j - \mathrm{E}[z_j \mid v_k = v]| \mid v_k = v)}{M_j}

    where Q is a quantile over items and M_j the largest distance of z_j from its mean. Constant
    codes are left out; if there is no other, the score is 0.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`. Their values are taken for equally probable.
        quantile: Level of the quantile Q; Suter et al. define it as 1, the maximum.
        bins: Number of cells of equal width that factors are cut into, as in disentanglement_lib:
            neighbouring values of a factor with more values than that are held together. None holds
            each value (for continuous factors, each cell).

    Returns:
        A score of at most 1, above −1, of the convention "disentanglement_lib, 20 bins", or "suter"
        if `bins` is None; `parts` are "per_code" (max R), "matrix", R (codes, factors), and
        "parents", the factor of the max, −1 for codes that are left out.

    Raises:
        ValueError: If `paired` refuses the arrays, or the quantile is outside [0, 1].

    Source: Suter et al., "Robustly disentangled causal mechanisms" (2019).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(irs(v[:, ::-1], v))
    IRS 1.000, convention disentanglement_lib, 20 bins
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile {quantile}: expected a number from 0 to 1")
    pairs = paired(codes, factors)
    # sums and sorts go over the items of a code, which lie side by side here
    z = np.ascontiguousarray(pairs.codes.T)  # (codes, n)
    active = np.ptp(z, 1) > 0
    mean = z.mean(1, keepdims=True)
    reach = np.abs(z - mean).max(1)
    matrix = np.full(pairs.shape, np.nan)
    z = z[active]
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        held = pairs.factors[known, k]
        if bins:
            held = cells(pairs.targets[known, k, None], bins)[:, 0]
        seen = z if known.all() else z[:, known]
        wander = _wander(seen, held, quantile)
        matrix[active, k] = 1 - wander / reach[active]
    convention = f"disentanglement_lib, {bins} bins" if bins else "suter"
    each = np.full(len(reach), np.nan)
    parents = np.full(len(reach), -1)
    value = 0.0
    if active.any():
        each[active] = np.nanmax(matrix[active], 1)
        parents[active] = np.nanargmax(matrix[active], 1)
        value = float(np.average(each[active], weights=reach[active]))
    return Score(
        "IRS",
        value,
        convention,
        range=(-1, 1),
        parts={"per_code": each, "matrix": matrix, "parents": parents},
        notes=pairs.notes,
    )


def _wander(codes: Floats, held: Numbers, quantile: float) -> Floats:
    """Average over groups (n,) the quantile of codes' (codes, n) distances to the group's mean."""
    small = held.astype(np.min_scalar_type(held.max()))  # small integers sort faster
    order = np.argsort(small, kind="stable")
    counts = np.bincount(held)
    counts = counts[counts > 0]
    ends = np.cumsum(counts)
    z = codes[:, order]
    means = np.add.reduceat(z, ends - counts, axis=1) / counts
    distances = np.abs(z - np.repeat(means, counts, axis=1))
    total = np.zeros(len(z))
    for end, count in zip(ends, counts, strict=True):
        group = distances[:, end - count : end]  # (codes, items of the group)
        place = quantile * (count - 1)
        low = int(place)
        group.partition(low, axis=1)
        total += group[:, low]
        if place > low:  # the quantile lies on the way to the next larger distance
            step = group[:, low + 1 :].min(1) - group[:, low]
            total += (place - low) * step
    return total / len(counts)


def _factor_vae(
    source: Source, rng: Generator, votes: int, test_votes: int, batch: int, least: float
) -> Score:
    if batch < 2:
        raise ValueError(f"batch={batch}: expected 2 items or more, or they have no variance")
    _check_choice(source)
    spread = source.codes.var(0, ddof=1)
    active = (np.sqrt(spread) >= least) & (spread > 0)
    counts = np.zeros((2, source.factors, len(active)), dtype=np.int64)
    if active.any():
        for count, number in zip(counts, (votes, test_votes), strict=True):
            factors = rng.choice(source.held, number)
            groups = source.groups(rng, factors, batch)
            codes = [least_varied(z, np.where(active, spread, 0)) for z in groups]
            np.add.at(count, (factors, np.concatenate(codes)), 1)
    stands_for = counts[0].argmax(0)  # (codes,)
    each_code = np.arange(len(active))
    right = [c[stands_for, each_code].sum() for c in counts]
    train, test = (float(n / max(1, c.sum())) for n, c in zip(right, counts, strict=True))
    parts = {"train": train, "votes": counts[0], "active": active}
    notes = source.notes
    if not active.all():
        notes += (
            f"{(~active).sum()} of {len(active)} codes have a standard deviation below {least}, "
            "and get no vote",
        )
    return Score(
        "FactorVAE score",
        test,
        "disentanglement_lib",
        range=(0, 1),
        parts=parts,
        notes=notes,
    )


def _check_choice(source: Source) -> None:
    """Refuse a source that holds one factor alone: any codes would tell which it was."""
    if len(source.held) < 2:
        raise ValueError(
            f"factor {source.held[0]} alone can be held: expected two or more to tell apart"
        )


def least_varied(codes: Floats, variances: Floats) -> Numbers:
    """Find the code of each group (groups, size, codes) with the least share of its variance.

    A code's share is its variance in the group over its variance overall. Codes whose variance
    overall is 0 take no part.
    """
    size = codes.shape[1]
    moved = codes - codes[:, :1]  # codes that stay have a variance of 0 exactly
    sums = (np.ones((1, size)) @ moved)[:, 0]  # three times as fast as moved.sum(1)
    around = np.einsum("gsc,gsc->gc", moved, moved) - sums**2 / size  # (groups, codes)
    taking_part = variances > 0
    shares = around / np.where(taking_part, variances, 1)
    return np.asarray(np.where(taking_part, shares, np.inf).argmin(1))


def _beta_vae(source: Source, rng: Generator, points: int, test_points: int, batch: int) -> Score:
    _check_choice(source)
    sets = []
    for number in (points, test_points):
        factors = rng.choice(source.held, number)
        pairs = source.groups(rng, np.repeat(factors, batch), 2)
        distances = [np.abs(z[:, 0] - z[:, 1]) for z in pairs]
        apart = np.concatenate(distances).reshape(number, batch, -1)  # (points, batch, codes)
        sets.append((apart.mean(1), factors))
    model, finished = logistic(*sets[0])
    train, test = (float(model.score(*one)) for one in sets)
    notes = source.notes
    if not finished:
        notes += (f"the regression had not converged after {STEPS} steps",)
    return Score(
        "β-VAE score",
        test,
        "disentanglement_lib",
        range=(0, 1),
        parts={"train": train},
        notes=notes,
    )
