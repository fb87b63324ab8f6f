"""Vectors of words, from how often words occur together in a corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.metrics.topics import Together


def word_vectors(together: Together, size: int) -> Tensor:
    """Return vectors of words, (V, size), of length one, from how they occur together.

    They are the first singular vectors of the matrix of positive NPMI, each times the root of its
    singular value (Levy and Goldberg, 2014, with NPMI for PMI).

    Args:
        together: `metrics.in_documents` of the training documents.
        size: The vectors' size.
    """
    import torch

    joint = together.counts / together.places
    single = joint.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(joint) - np.log(np.outer(single, single))
        positive = np.nan_to_num(pmi / -np.log(joint), nan=0, posinf=0, neginf=0).clip(min=0)
    np.fill_diagonal(positive, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        left, values, _ = torch.svd_lowrank(torch.as_tensor(positive).float(), q=size, niter=4)
    return torch.nn.functional.normalize(left * values.sqrt(), dim=-1)
