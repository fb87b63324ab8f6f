"""Counts of genes in simulated cells, whose programs and batches are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

import unweave as uw
from unweave.arguments import Size
from unweave.runs.findings import Finding, Number, Table

from .flags import Batch, Epochs, Formula, Latents, Quick, Rate, Seed, recipe
from .own import measured

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe

BATCHES = 2


@recipe
def programs(
    *,
    cells: Annotated[Size, "Cells, of which a tenth are test cells."] = 5000,
    genes: Annotated[Size, "Genes."] = 500,
    count: Annotated[Size, "Programs."] = 6,
    given: Annotated[bool, "Whether the model is given the batch."] = True,
    decoder: Annotated[
        Literal["plain", "pooled"], "pooled: effects of single units of z add up."
    ] = "pooled",
    likelihood: Annotated[
        Literal["negative_binomial", "poisson", "zero_inflated_negative_binomial"],
        "Likelihood of counts.",
    ] = "negative_binomial",
    objective: Formula = "tc_vae(2)",
    latents: Latents = 10,
    epochs: Epochs = 50,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    quick: Quick = False,
    seed: Seed = 0,
) -> Recipe:
    """Programs of genes in simulated counts, a batch effect kept out: Moinfar and Theis (2024).

    The additive decoder is that of DRVI, the likelihood and the sizes of cells those of scVI (Lopez
    et al., 2018). The report says which unit found each program, and how well batches mix.
    """
    if quick:
        cells, genes, epochs = 600, 60, 5
    data = uw.data.programs(cells, genes, count, BATCHES)
    kinds = [(likelihood, genes), ("given", BATCHES)]
    if not given:
        counts = data.floats()[:, :genes]
        data, kinds = replace(data, x=uw.data.Sparse.of(counts), prepared={}), kinds[:1]
    train, test = data.split(cells // 10)
    build = partial(
        uw.models.table,
        data.shape,
        kinds,
        hidden=(256, 128),
        normals=latents,
        library=True,
        blocks=[1] * latents if decoder == "pooled" else None,
    )
    return uw.Recipe(
        name="programs",
        data=train,
        test=test,
        model=partial(measured, build, train),
        objective=uw.formula(objective),
        groups=("z",),
        findings=_findings,
        epochs=epochs,
        batch=batch,
        lr=lr,
        seed=seed,
    )


def _findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    """Return how well units find programs, each its own, and how well batches mix."""
    test = recipe.test
    assert test is not None
    codes = model.encode(test.floats()).numpy()  # (cells, units)
    found = correlations(codes, test.factors[:, :-1])  # (programs, units)
    unit, agreed = matched(found)
    mixing = uw.metrics.mixing(codes, test.factors[:, -1])
    names = model.units()
    rows = []
    for program, k, own, all_units in zip(test.names[:-1], unit, agreed, found, strict=True):
        second = float(np.sort(all_units)[-2])
        rows.append((program, names[k], float(own), second))
    return [
        Number(
            "Recovery of programs", float(agreed.mean()), unit="mean rank correlation", better=1
        ),
        Number("Mixing of batches", mixing.value, unit="1 is by chance", better=1),
        Table(
            "Programs and units",
            ("program", "unit", "correlation", "second unit's"),
            rows,
            "Spearman's correlations, without signs, of test cells' codes with the activity of "
            "each program; each program has a unit of its own, such that their sum is largest.",
        ),
    ]


def correlations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations, without signs, (factors, units)."""
    from scipy.stats import rankdata

    ranks = [rankdata(part, axis=0) for part in (factors, codes)]
    ranks = [part - part.mean(0) for part in ranks]
    scaled = [part / np.maximum(np.linalg.norm(part, axis=0), 1e-12) for part in ranks]
    found: np.ndarray = abs(scaled[0].T @ scaled[1])
    return found


def matched(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit of each factor and their correlation, where the sum is the largest."""
    from scipy.optimize import linear_sum_assignment

    rows, units = linear_sum_assignment(-found)
    return units, found[rows, units]
