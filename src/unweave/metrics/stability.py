r"""Unsupervised disentanglement ranking (UDR): how alike models are that differ by their seed.

It needs no factors. Models that disentangle find the same codes, up to their order and sign. A
similarity R (codes, codes) tells how far two models' codes are a permutation of one another. Both
of its variants are functions of the correlations between all models' codes, which one product of
matrices gives.
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
    r"""Rank several models by unsupervised disentanglement, from their codes of the same items.

    .. math:: \mathrm{UDR}_b = \operatorname{median}_{a \neq b} \tfrac12 \left(
        \operatorname{mean}_i \frac{(\max_j R^{ab}_{ij})^2}{\sum_j R^{ab}_{ij}} +
        \operatorname{mean}_j \frac{(\max_i R^{ab}_{ij})^2}{\sum_i R^{ab}_{ij}} \right)

    over the informative codes i of model a and j of model b. R^ab are the sizes of coefficients of
    a lasso (penalty 0.1) that predicts b's codes from a's, or of Spearman's correlations. The paper
    weighs the two means by their numbers of codes, which is the same where both models have as many
    informative ones.

    Args:
        codes: Each model's codes, (n, codes), of the same n items in the same order; two models or
            more, of any widths.
        similarity: "lasso" or "spearman".
        kl: Each model's mean KL(q(z_j|x) ‖ p(z_j)) in nats, (codes,), by which codes count as
            informative. None for the variance of codes, which is small for codes that keep to the
            prior.
        least: KL or variance that an informative code exceeds.

    Returns:
        A score for each model, within [0, 1], in the convention "disentanglement_lib". That
        library's lasso stops at a tolerance of 1e-4, and this one is exact. With `kl` None, the
        convention says so. `parts` are "pairwise", the terms of the median, NaN for the model
        itself, and "informative" (codes,). A model without informative codes has 0 with all.

    Raises:
        ValueError: If there are fewer than two models, numbers of items or KLs differ, or codes are
            not finite.

    Source: Duan et al., "Unsupervised model selection for variational disentangled representation
    learning" (2020).

    >>> z = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
    >>> turned = z @ [[1, 1], [1, -1]]
    >>> scores = udr([z, -z[:, ::-1], 3 * z, turned], similarity="spearman")
    >>> [round(float(score), 2) for score in scores]
    [1.0, 1.0, 1.0, 0.35]
    """
    if similarity not in ("lasso", "spearman"):
        raise ValueError(f"similarity {similarity!r}: expected 'lasso' or 'spearman'")
    models = [checked(z) for z in codes]
    items = [len(z) for z in models]
    if len(models) < 2 or len(set(items)) > 1:
        raise ValueError(f"models of {items} items: expected two or more models of the same items")
    informative = _informative(models, kl, least)
    kept = [z[:, mask] for z, mask in zip(models, informative, strict=True)]
    terms = _pairwise(kept, similarity)
    convention = f"disentanglement_lib, {similarity}"
    if not kl:
        convention += f", codes of a variance above {least}"
    scores = []
    for column, mask in zip(terms.T, informative, strict=True):
        notes: tuple[str, ...] = ()
        if not mask.all():
            notes = (f"{(~mask).sum()} of {len(mask)} codes are not informative, and left out",)
        parts = {"pairwise": column, "informative": mask}
        value = float(np.nanmedian(column))
        scores.append(Score("UDR", value, convention, (0, 1), parts, notes))
    return tuple(scores)


def _informative(
    models: Sequence[Floats], kl: Sequence[ArrayLike] | None, least: float
) -> list[NDArray[np.bool_]]:
    """Return masks (codes,) of each model's codes that vary and whose KL or variance is enough."""
    if kl is None:
        told = [z.var(0) for z in models]
    else:
        told = [np.asarray(one, dtype=np.float64) for one in kl]
    given = [len(one) for one in told]
    widths = [z.shape[1] for z in models]
    if given != widths:
        raise ValueError(f"KLs of {given} codes: expected {widths}")
    masks = []
    for one, z in zip(told, models, strict=True):
        varies = np.ptp(z, 0) > 0
        masks.append((one > least) & varies)
    return masks


def _pairwise(models: Sequence[Floats], similarity: str) -> Floats:
    """Compute the median's terms (models, models), NaN on the diagonal."""
    ends = np.cumsum([z.shape[1] for z in models])
    blocks = [slice(end - z.shape[1], end) for end, z in zip(ends, models, strict=True)]
    together = np.concatenate(models, axis=1)  # (n, codes of all models)
    if similarity == "spearman":
        together = rankdata(together, axis=0)
    correlation = _correlation(together)
    terms = np.full((len(models), len(models)), np.nan)
    for a, rows in enumerate(blocks):
        like = correlation[rows]
        if similarity == "lasso":
            like = lasso(correlation[rows, rows], like)
        for b, columns in enumerate(blocks):
            if a != b:
                terms[a, b] = relative_strength(np.abs(like[:, columns]))
    return terms


def relative_strength(similarity: Floats) -> float:
    """Measure how far a similarity (codes, codes) without negative entries is a permutation.

    The strength lies within [0, 1] if the entries do.

    >>> relative_strength(np.eye(3)), relative_strength(np.ones((4, 4)))
    (1.0, 0.25)
    >>> relative_strength(np.zeros((0, 2)))
    0.0
    """
    if not similarity.size:
        return 0.0
    ways = []
    for r in (similarity, similarity.T):
        total = r.sum(0)
        largest = r.max(0)
        each = largest**2 / np.where(total > 0, total, 1)
        ways.append(each.mean())
    return float(np.mean(ways))


def lasso(gram: Floats, cross: Floats, *, penalty: float = PENALTY) -> Floats:
    r"""Solve the lassos of many targets from correlations alone: coefficients W (codes, targets).

    .. math:: \arg\min_W \tfrac{1}{2n} |Y - X W|_2^2 + α |W|_1, \qquad \mathrm{gram} = X^\top X / n,
        \quad \mathrm{cross} = X^\top Y / n

    by coordinate descent, one coordinate of all targets at a time, until a step is below 1e-12.
    """
    weights = np.zeros_like(cross)
    for _ in range(10_000):
        moved = 0.0
        for i, row in enumerate(gram):
            partial = cross[i] - row @ weights + row[i] * weights[i]
            size = np.maximum(np.abs(partial) - penalty, 0)
            new = np.sign(partial) * size / row[i]
            step = np.abs(new - weights[i])
            moved = max(moved, float(step.max(initial=0)))
            weights[i] = new
        if moved < 1e-12:
            break
    return weights


def _correlation(codes: Floats) -> Floats:
    z = (codes - codes.mean(0)) / codes.std(0)
    return np.asarray(z.T @ z / len(z), dtype=np.float64)
