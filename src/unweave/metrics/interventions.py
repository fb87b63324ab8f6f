r"""What codes do while a factor is held: FactorVAE's and β-VAE's scores, and interventional
robustness.

The first two draw groups of items that agree in one factor, and ask which factor it was. Groups
come from a labelled set, whose codes are computed once, or from a generator of items whose factors
can be set: a `Source` is either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .probes import STEPS, logistic
from .score import BINS, Pairs, Score, cells, checked, paired

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]

Encode: TypeAlias = Callable[[NDArray[Any]], ArrayLike]
"""From factors (n, factors) to codes (n, codes) of items that have them."""

DrawFactors: TypeAlias = Callable[[Generator, int], NDArray[Any]]
"""`(rng, n)` -> independent factors (n, factors)."""

NUMBERS = 2**19
"""How many codes are held at a time: 4 MiB, near the processor."""


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
    r"""FactorVAE score: does the code that varies least while a factor is held say which factor it
    was?

    A vote draws a factor k and `batch` items that agree in it, and is for the code

    .. math:: \arg\min_j \mathrm{Var}(z_j \mid v_k) / \mathrm{Var}(z_j)

    The score is the share of `test_votes` whose factor is the one that their code had most of
    `votes` for. Codes whose standard deviation is below `least` take no part; with none left the
    score is 0.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`; continuous ones are cut into cells.
        votes: To learn which factor a code stands for; Kim and Mnih take 800, batches of 200, and
        score those votes. test_votes: To score. batch: Items of a vote, at least 2. least: Standard
        deviation of a code that takes part. Kim and Mnih leave codes out by their KL. seed: Of the
        draws.

    The value that is held is that of an item drawn among all; the others are drawn from the items
    with the same value, with replacement, that item excluded, so that values that occur once are
    never held (`notes` say so). For few items a value, votes see the same items again: that makes
    votes more alike, but favours no code.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", which draws new items from a
        generator for every vote; `parts` are "train", the share among `votes`, "votes", (factors,
        codes) counts of those, and "active", which codes take part.

    Raises:
        ValueError: As `paired`, for a batch below 2, and if no value of a factor occurs twice.

    Source: Kim and Mnih, "Disentangling by factorising" (2018).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(factor_vae_score(v[:, ::-1], v))
    FactorVAE score 1.000, convention disentanglement_lib
    """
    return _factor_vae(
        _items(paired(codes, factors)), np.random.default_rng(seed), votes, test_votes, batch, least
    )


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
    """FactorVAE score of a generator: as `factor_vae_score`, with new items for every vote, as
    disentanglement_lib.

    Args:
        encode: From factors (n, factors) to codes (n, codes), some thousand rows at a time.
        draw_factors: From a random generator and n to factors (n, factors), any combination of
        which can occur. items: To estimate the codes' variances from. votes, test_votes, batch,
        least, seed: As for `factor_vae_score`.

    >>> score = factor_vae_score_of(lambda v: v[:, ::-1], lambda rng, n: rng.integers(0, 4, (n, 3)), votes=500)
    >>> float(score)
    1.0
    """
    rng = np.random.default_rng(seed)
    return _factor_vae(
        _generated(encode, draw_factors, rng, items), rng, votes, test_votes, batch, least
    )


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> Score:
    r"""β-VAE score: does how far codes of two items lie apart say which factor they agree in?

    A point draws a factor k and `batch` pairs of items that agree in it, each pair in its own
    value:

    .. math:: \frac1B \sum_b |z_{b} - z'_{b}|

    The score is the share of `test_points` whose factor is named by a multinomial logistic
    regression, with ½ |w|² beside its log loss, fitted to `points`. It can be 1 for codes that know
    all but one of the factors, and depends on the codes' scales.

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        points: To fit; Higgins et al. themselves fit by gradient steps.
        test_points: To score.
        batch: Pairs of a point.
        seed: Of the draws, which are made as for `factor_vae_score`: the items of a pair are two.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose solver stops after 100
        steps; `parts` has "train", the share among `points`.

    Raises:
        ValueError: As `paired`, and if no value of a factor occurs twice.

    Source: Higgins et al., "β-VAE: Learning basic visual concepts with a constrained variational
    framework" (2017).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(beta_vae_score(v, v, points=500, test_points=500))
    β-VAE score 1.000, convention disentanglement_lib
    """
    return _beta_vae(
        _items(paired(codes, factors)), np.random.default_rng(seed), points, test_points, batch
    )


def beta_vae_score_of(
    encode: Encode,
    draw_factors: DrawFactors,
    *,
    points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> Score:
    """β-VAE score of a generator: as `beta_vae_score`, with new items for every point, as
    disentanglement_lib.

    Args:
        encode, draw_factors: As for `factor_vae_score_of`.
        points, test_points, batch, seed: As for `beta_vae_score`.

    >>> def draw(rng, n):
    ...     return rng.integers(0, 4, (n, 3))
    >>> float(beta_vae_score_of(lambda v: v, draw, points=500, test_points=500))
    1.0
    """
    rng = np.random.default_rng(seed)
    return _beta_vae(
        _generated(encode, draw_factors, rng, items=2), rng, points, test_points, batch
    )


def irs(
    codes: ArrayLike, factors: ArrayLike, *, quantile: float = 0.99, bins: int | None = BINS
) -> Score:
    r"""Interventional robustness: while a code's own factor is held, do the other factors leave the
    code where it is?

    .. math:: \mathrm{IRS} = \frac{\sum_j M_j \max_k R_{jk}}{\sum_j M_j}, \qquad
        R_{jk} = 1 - \frac{1}{|v_k|} \sum_v \frac{Q(|z_j - \mathrm{E}[z_j \mid v_k = v]| \mid v_k = v)}{M_j}

    with Q a quantile over items and M_j the largest distance of z_j from its mean. Constant codes
    are left out; with no other, the score is 0.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`. Values are taken for equally
        probable. quantile: Q's; 1, the maximum, as Suter et al. define it. bins: Cells of equal
        width that factors are cut into, as disentanglement_lib does: neighbouring values of a
            factor with more values than that are held together. None holds each value (cells of
            continuous factors).

    Returns:
        A score of at most 1, above −1, of the convention "disentanglement_lib, 20 bins", or "suter"
        if `bins` is None; `parts` are "per_code" (max R), "matrix", R (codes, factors), and
        "parents", the factor of the max, −1 for codes that are left out.

    Raises:
        ValueError: As `paired`, and for a quantile outside [0, 1].

    Source: Suter et al., "Robustly disentangled causal mechanisms" (2019).

    >>> v = np.random.default_rng(0).integers(0, 4, (500, 3))
    >>> print(irs(v[:, ::-1], v))
    IRS 1.000, convention disentanglement_lib, 20 bins
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile {quantile}: expected a number from 0 to 1")
    pairs = paired(codes, factors)
    z = np.ascontiguousarray(
        pairs.codes.T
    )  # (codes, n): what is summed and sorted lies side by side
    active = np.ptp(z, 1) > 0
    reach = np.abs(z - z.mean(1, keepdims=True)).max(1)
    matrix, z = np.full((len(z), len(pairs.varied)), np.nan), z[active]
    for k in np.flatnonzero(pairs.varied):
        known = pairs.factors[:, k] >= 0
        held = cells(pairs.targets[known, k, None], bins)[:, 0] if bins else pairs.factors[known, k]
        wander = _wander(z if known.all() else z[:, known], held, quantile)
        matrix[active, k] = 1 - wander / reach[active]
    convention = f"disentanglement_lib, {bins} bins" if bins else "suter"
    each, parents = np.full(len(reach), np.nan), np.full(len(reach), -1)
    if active.any():
        each[active] = np.nanmax(matrix[active], 1)
        parents[active] = np.nanargmax(matrix[active], 1)
    value = float(np.average(each[active], weights=reach[active])) if active.any() else 0.0
    parts = {"per_code": each, "matrix": matrix, "parents": parents}
    return Score("IRS", value, convention, (-1, 1), parts, pairs.notes)


def _wander(codes: Floats, held: Numbers, quantile: float) -> Floats:
    """Quantile of the distance to the group's mean, (codes,): its mean over groups; codes (codes,
    n), groups (n,).
    """
    order, counts = (
        np.argsort(held.astype(np.min_scalar_type(held.max())), kind="stable"),
        np.bincount(held),
    )
    counts = counts[counts > 0]
    ends = np.cumsum(counts)
    z = codes[:, order]
    means = np.add.reduceat(z, ends - counts, axis=1) / counts
    distances = np.abs(z - np.repeat(means, counts, axis=1))
    total = np.zeros(len(z))
    for end, count in zip(ends, counts, strict=True):
        group, place = distances[:, end - count : end], quantile * (count - 1)
        low = int(place)
        group.partition(low, axis=1)
        total += group[:, low]
        if place > low:  # a way towards the next larger one
            total += (place - low) * (group[:, low + 1 :].min(1) - group[:, low])
    return total / len(counts)


# groups of items that agree in a factor


@dataclass(frozen=True)
class Source:
    """What draws groups: `draw(rng, factors, size)` are codes (groups, size, codes), group g
    agreeing in `factors[g]`.

    `held` are the factors that can be held, of `factors` in all; `codes` are those of items drawn
    freely.
    """

    draw: Callable[[Generator, Numbers, int], Floats]
    held: Numbers
    factors: int
    codes: Floats
    notes: tuple[str, ...] = ()

    def groups(self, rng: Generator, factors: Numbers, size: int) -> Iterator[Floats]:
        """All of them, some at a time."""
        step = max(1, NUMBERS // (size * self.codes.shape[1]))
        for start in range(0, len(factors), step):
            yield self.draw(rng, factors[start : start + step], size)


def _items(pairs: Pairs) -> Source:
    """Groups out of a labelled set; a value that one item has cannot be held."""
    members = {int(k): _members(pairs.factors[:, k]) for k in np.flatnonzero(pairs.varied)}
    held = [k for k, (items, _, _) in members.items() if len(items)]
    if not held:
        raise ValueError(
            "no value of a factor occurs twice: no two items agree in one; expected more items a "
            "value"
        )

    def draw(rng: Generator, factors: Numbers, size: int) -> Floats:
        chosen = np.empty((len(factors), size), dtype=np.int64)
        for k in held:
            here, (items, first, count) = np.flatnonzero(factors == k), members[k]
            place = rng.integers(len(items), size=(len(here), 1))
            start, of = first[place], count[place]
            others = start + (rng.random((len(here), size - 1)) * (of - 1)).astype(np.int64)
            others += others >= place  # of its class, any but that one
            chosen[here] = items[np.hstack([place, others])]
        return pairs.codes[chosen]

    lone = {
        k: int((pairs.factors[:, k] >= 0).sum()) - len(items)
        for k, (items, _, _) in members.items()
    }
    listed = "; ".join(f"factor {k}: {count}" for k, count in lone.items() if count)
    said = (f"values of one item are never held ({listed})",) if listed else ()
    return Source(draw, np.array(held), len(pairs.varied), pairs.codes, (*pairs.notes, *said))


def _members(classes: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Items that share their class, sorted by it, and at each place where its class begins and how
    many it has.
    """
    counts = np.bincount(classes[classes >= 0])
    shared = np.flatnonzero((classes >= 0) & (counts[classes] > 1))
    counts = counts[counts > 1]
    begins = np.cumsum(counts) - counts
    order = np.argsort(classes[shared], kind="stable")
    return shared[order], np.repeat(begins, counts), np.repeat(counts, counts)


def _generated(encode: Encode, draw_factors: DrawFactors, rng: Generator, items: int) -> Source:
    """Groups of new items."""

    def codes_of(factors: NDArray[Any]) -> Floats:
        codes = checked(encode(factors))
        if len(codes) != len(factors):
            raise ValueError(
                f"encode made {len(codes)} codes of {len(factors)} factors: expected a row for each"
            )
        return codes

    def draw(rng: Generator, factors: Numbers, size: int) -> Floats:
        v = np.asarray(draw_factors(rng, len(factors) * size)).reshape(len(factors), size, -1)
        groups = np.arange(len(factors))
        v[groups, :, factors] = v[groups, 0, factors][:, None]
        return codes_of(v.reshape(-1, v.shape[-1])).reshape(len(factors), size, -1)

    sample = np.asarray(draw_factors(rng, items))
    if sample.ndim != 2 or len(sample) != items:
        raise ValueError(
            f"draw_factors made an array of {sample.shape} for n = {items}: expected (n, factors)"
        )
    return Source(draw, np.arange(sample.shape[1]), sample.shape[1], codes_of(sample))


# scores of such groups


def _factor_vae(
    source: Source, rng: Generator, votes: int, test_votes: int, batch: int, least: float
) -> Score:
    if batch < 2:
        raise ValueError(f"batch={batch}: expected 2 items or more, or they have no variance")
    spread = source.codes.var(0, ddof=1)
    active = (np.sqrt(spread) >= least) & (spread > 0)
    counts = np.zeros((2, source.factors, len(active)), dtype=np.int64)
    if active.any():
        for count, number in zip(counts, (votes, test_votes), strict=True):
            factors = rng.choice(source.held, number)
            groups = source.groups(rng, factors, batch)
            code = np.concatenate([least_varied(z, np.where(active, spread, 0)) for z in groups])
            np.add.at(count, (factors, code), 1)
    stands_for = counts[0].argmax(0)  # (codes,)
    train, test = (
        float(c[stands_for, np.arange(len(active))].sum() / max(1, c.sum())) for c in counts
    )
    parts = {"train": train, "votes": counts[0], "active": active}
    still = (
        f"{(~active).sum()} of {len(active)} codes have a standard deviation below {least}, and "
        "get no vote",
    )
    notes = source.notes + (() if active.all() else still)
    return Score("FactorVAE score", test, "disentanglement_lib", (0, 1), parts, notes)


def least_varied(codes: Floats, variances: Floats) -> Numbers:
    """Of each group of (groups, size, codes), the code whose variance is the least part of its
    variance overall.

    Codes whose variance overall is 0 take no part.
    """
    moved = codes - codes[:, :1]  # so that codes that stay have a variance of 0 exactly
    sums = (np.ones((1, codes.shape[1])) @ moved)[:, 0]  # three times as fast as moved.sum(1)
    around = np.einsum("gsc,gsc->gc", moved, moved) - sums**2 / codes.shape[1]
    return np.asarray(
        np.where(variances > 0, around / np.where(variances > 0, variances, 1), np.inf).argmin(1)
    )


def _beta_vae(source: Source, rng: Generator, points: int, test_points: int, batch: int) -> Score:
    if len(source.held) < 2:
        raise ValueError(
            f"factor {source.held[0]} alone can be held: expected two or more to tell apart"
        )
    sets = []
    for number in (points, test_points):
        factors = rng.choice(source.held, number)
        pairs = source.groups(rng, np.repeat(factors, batch), 2)
        apart = np.concatenate([np.abs(z[:, 0] - z[:, 1]) for z in pairs])
        sets.append((apart.reshape(number, batch, -1).mean(1), factors))
    model, finished = logistic(*sets[0])
    train, test = (float(model.score(*one)) for one in sets)
    notes = source.notes + (
        () if finished else (f"the regression had not converged after {STEPS} steps",)
    )
    return Score("β-VAE score", test, "disentanglement_lib", (0, 1), {"train": train}, notes)
