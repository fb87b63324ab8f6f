"""Counts of genes in simulated cells: programs that are known, batches, sizes of cells."""

from __future__ import annotations

import numpy as np

from unweave.data.data import Data
from unweave.data.sparse import Sparse

LEVELS = ("off", "low", "middle", "high")
"""Activities of a program: 0, 1/3, 2/3 and 1."""


def programs(
    n: int = 3000,
    genes: int = 500,
    programs: int = 6,
    batches: int = 2,
    *,
    batch: float = 0.5,
    seed: int = 0,
) -> Data:
    r"""Simulate counts of genes whose programs, batches and sizes are known.

    .. math:: x_{ng} \sim \text{NB}(μ_{ng}, r = 4), \quad
              μ_{ng} = ℓ_n e^{b_{g, \text{batch}(n)}} \frac{m_{ng}}{\sum_g m_{ng}}, \quad
              m_{ng} = c_g + \sum_p a_{np} w_{pg}

    A program's activity a is one of `LEVELS`, independent of the others and of the batch. Each
    raises a tenth of the genes; genes may have several programs. Batch effects are Normal in logs,
    and sizes ℓ log-normal about two counts a gene. The variance of a count is μ + μ²/r.

    Args:
        n: Cells.
        genes: Genes.
        programs: Programs.
        batches: Batches, of equal probability.
        batch: Standard deviation of a batch's effect on the logarithm of a gene's rate.
        seed: The seed.

    Returns:
        x (n, genes + batches), sparse: counts, then the batch's columns of zeros and ones, as
        ``data.read(…, given="batch")`` places them; the factors are the programs and the batch.

    >>> programs(100, genes=20, programs=2)
    Data(programs: 100 items of shape (22,); factors: program 1 (4), program 2 (4), batch (2))
    """
    rng = np.random.default_rng(seed)
    level = rng.integers(0, len(LEVELS), (n, programs))
    of_batch = rng.integers(0, batches, n)
    base = rng.gamma(1.0, 1.0, genes) + 0.05
    is_raised = rng.random((programs, genes)) < 0.1
    weights = is_raised * rng.gamma(2.0, 3.0, (programs, genes))
    effect = batch * rng.normal(size=(batches, genes))
    size = 2 * genes * np.exp(0.4 * rng.normal(size=n))
    mean = base + level / (len(LEVELS) - 1) @ weights  # (n, genes)
    share = mean / mean.sum(1, keepdims=True)
    rate = size[:, None] * share * np.exp(effect[of_batch])
    counts = rng.poisson(rng.gamma(4.0, rate / 4.0))
    beside = np.eye(batches)[of_batch]
    values = [str(k + 1) for k in range(batches)]
    names = [f"gene {k + 1}" for k in range(genes)] + [f"batch={value}" for value in values]
    prepared = {"columns": names, "categories": {"batch": values}, "given": ["batch"]}
    return Data(
        Sparse.of(np.column_stack([counts, beside])),
        np.column_stack([level, of_batch]).astype(np.int64),
        (*(f"program {k + 1}" for k in range(programs)), "batch"),
        (*[len(LEVELS)] * programs, batches),
        (*[LEVELS] * programs, tuple(values)),
        "programs",
        prepared=prepared,
    )
