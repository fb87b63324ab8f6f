r"""How alike the codes of models that differ by their seed are: unsupervised disentanglement
ranking (UDR).

It needs no factors. Models that disentangle find the same codes, up to their order and sign; how
far two models' codes are a permutation of one another is read off a similarity R (codes, codes).
Both of its variants are functions of the correlations between all models' codes, which one product
of matrices gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from .score import Score, checked

Floats: TypeAlias = NDArray[np.float64]
PENALTY = 0.1


def udr(
    codes: Sequence[ArrayLike],
    *,
    similarity: str = "lasso",
    kl: Sequence[ArrayLike] | None = None,
    least: float = 0.01,
) -> tuple[Score, ...]:
    r"""Unsupervised disentanglement ranking: a score for each of several models, from their codes
    of the same items.

    .. math:: \mathrm{UDR}_b = \operatorname{median}_{a \neq b} \tfrac12 \left(
        \operatorname{mean}_i \frac{(\max_j R^{ab}_{ij})^2}{\sum_j R^{ab}_{ij}} +
        \operatorname{mean}_j \frac{(\max_i R^{ab}_{ij})^2}{\sum_i R^{ab}_{ij}} \right)

    over the informative codes i of model a and j of model b. R^ab are the sizes of coefficients of
    a lasso (penalty 0.1) that predicts b's codes from a's, or of Spearman's correlations. The paper
    weighs the two means by their numbers of codes, which is the same where both models have as many
    informative ones.

    Args:
        codes: Of each model, (n, codes), the same n items in the same order; two models or more, of
        any widths. similarity: "lasso" or "spearman". kl: Of each model, (codes,), the mean
        KL(q(z_j|x) ‖ p(z_j)) in nats, by which codes count as informative. None
            for the variance of codes, which is small for codes that keep to the prior.
        least: What KL or variance an informative code exceeds.

    Returns:
        A score for each model, within [0, 1], in the convention "disentanglement_lib", whose lasso
        stops at a tolerance of 1e-4 where this one is exact (with `kl` None, the convention says
        so); `parts` are "pairwise", the terms of the median, NaN for the model itself, and
        "informative" (codes,). A model without informative codes has 0 with all.

    Raises:
        ValueError: For fewer than two models, other numbers of items or KLs, codes that are not
        finite.

    Source: Duan et al., "Unsupervised model selection for variational disentangled representation
    learning" (2020).

    >>> z = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    >>> turned = z @ [[1, 1], [1, -1]]
    >>> [round(float(score), 2) for score in udr([z, -z[:, ::-1], 3 * z, turned], similarity="spearman")]
    [1.0, 1.0, 1.0, 0.35]
    """
    if similarity not in ("lasso", "spearman"):
        raise ValueError(f"similarity {similarity!r}: expected 'lasso' or 'spearman'")
    models = [checked(z) for z in codes]
    if len(models) < 2 or len({len(z) for z in models}) > 1:
        raise ValueError(
            f"models of {[len(z) for z in models]} items: expected two or more models of the same "
            "items"
        )
    told = (
        [z.var(0) for z in models]
        if kl is None
        else [np.asarray(one, dtype=np.float64) for one in kl]
    )
    if [len(one) for one in told] != [z.shape[1] for z in models]:
        raise ValueError(
            f"KLs of {[len(one) for one in told]} codes: expected {[z.shape[1] for z in models]}"
        )
    informative = [(one > least) & (np.ptp(z, 0) > 0) for one, z in zip(told, models, strict=True)]

    kept = [z[:, mask] for z, mask in zip(models, informative, strict=True)]
    ends = np.cumsum([z.shape[1] for z in kept])
    blocks = [slice(end - z.shape[1], end) for end, z in zip(ends, kept, strict=True)]
    together = np.concatenate(kept, axis=1)
    correlation = _correlation(together if similarity == "lasso" else rankdata(together, axis=0))
    terms = np.full((len(models), len(models)), np.nan)
    for a, rows in enumerate(blocks):
        like = (
            lasso(correlation[rows, rows], correlation[rows])
            if similarity == "lasso"
            else correlation[rows]
        )
        for b, columns in enumerate(blocks):
            if a != b:
                terms[a, b] = relative_strength(np.abs(like[:, columns]))
    convention = f"disentanglement_lib, {similarity}" + (
        "" if kl else f", codes of a variance above {least}"
    )
    return tuple(
        Score(
            "UDR",
            float(np.nanmedian(column)),
            convention,
            (0, 1),
            {"pairwise": column, "informative": mask},
            ()
            if mask.all()
            else (f"{(~mask).sum()} of {len(mask)} codes are not informative, and left out",),
        )
        for column, mask in zip(terms.T, informative, strict=True)
    )


def relative_strength(similarity: Floats) -> float:
    """How far a similarity (codes, codes) of no negative entries is a permutation, within [0, 1] if
    entries are.

    >>> relative_strength(np.eye(3)), relative_strength(np.ones((4, 4))), relative_strength(np.zeros((0, 2)))
    (1.0, 0.25, 0.0)
    """
    if not similarity.size:
        return 0.0
    ways = [
        (r.max(0) ** 2 / np.where(r.sum(0) > 0, r.sum(0), 1)).mean()
        for r in (similarity, similarity.T)
    ]
    return float(np.mean(ways))


def lasso(gram: Floats, cross: Floats, *, penalty: float = PENALTY) -> Floats:
    r"""Coefficients W (codes, targets) of lassos of many targets, from correlations alone, to a
    step below 1e-12.

    .. math:: \arg\min_W \tfrac{1}{2n} |Y - X W|_2^2 + α |W|_1, \qquad \mathrm{gram} = X^\top X / n,
        \quad \mathrm{cross} = X^\top Y / n

    by coordinate descent, a coordinate of all targets at a time.
    """
    weights = np.zeros_like(cross)
    for _ in range(10_000):
        moved = 0.0
        for i, row in enumerate(gram):
            partial = cross[i] - row @ weights + row[i] * weights[i]
            new = np.sign(partial) * np.maximum(np.abs(partial) - penalty, 0) / row[i]
            moved = max(moved, float(np.abs(new - weights[i]).max(initial=0)))
            weights[i] = new
        if moved < 1e-12:
            break
    return weights


def _correlation(codes: Floats) -> Floats:
    z = (codes - codes.mean(0)) / codes.std(0)
    return np.asarray(z.T @ z / len(z), dtype=np.float64)
