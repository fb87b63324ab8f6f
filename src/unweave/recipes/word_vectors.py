"""Vectors of words, from how often words occur together in a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.metrics.topics import Together


SEEN = 5
"""Documents that must hold two words for their NPMI to count."""


def word_vectors(together: Together, size: int) -> Tensor:
    """Return vectors of words, (V, size), of length one, from how they occur together.

    They are the first singular vectors of the matrix of positive NPMI, each times the root of its
    singular value (Levy and Goldberg, 2014, with NPMI for PMI). The NPMI of a pair that fewer than
    `SEEN` documents hold is noise, and counts as 0.

    Args:
        together: `metrics.in_documents` of the training documents.
        size: The vectors' size, at most the number of words.
    """
    import torch

    joint = together.counts / together.places
    single = joint.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(joint) - np.log(np.outer(single, single))
        positive = np.nan_to_num(pmi / -np.log(joint), nan=0, posinf=0, neginf=0).clip(min=0)
    np.fill_diagonal(positive, 0)
    positive[together.counts < SEEN] = 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        left, values, _ = torch.svd_lowrank(
            torch.as_tensor(positive).float(), q=min(size, len(single)), niter=4
        )
    return torch.nn.functional.normalize(left * values.sqrt(), dim=-1)


def nmf(counts: Any, n: int, seed: int) -> Any:
    """Fit scikit-learn's non-negative matrix factorisation with n topics to tf-idf of counts."""
    from sklearn.decomposition import NMF
    from sklearn.feature_extraction.text import TfidfTransformer

    weights = TfidfTransformer().fit_transform(counts)
    return NMF(n, init="nndsvd", max_iter=400, tol=1e-3, random_state=seed).fit(weights)


def centres_of(
    vectors: Tensor, n: int, seed: int, weights: np.ndarray[Any, Any] | None = None
) -> Tensor:
    """Return the centres (n, size) of k-means among words, weighted by how often they occur."""
    import torch
    from sklearn.cluster import KMeans

    means = KMeans(n, n_init=3, random_state=seed).fit(vectors.numpy(), sample_weight=weights)
    return torch.as_tensor(means.cluster_centers_)
