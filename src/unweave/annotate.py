"""Codes of an AnnData's observations, written into it beside the names of units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .data import read
from .data.annotated import opened
from .runs import artifact, names, scores

KEY = "X_unweave"
"""The place of codes in `obsm`."""

ROWS = 4096
"""Observations that are encoded at once."""


def annotate(adata: Any, run: str | Path) -> Any:
    """Write a run's codes of observations into an AnnData.

    `adata.obsm["X_unweave"]` gets the codes (n, units), and `adata.uns["unweave"]` the names of the
    units, the information in each about the item, in nats, where the run was evaluated, and the
    names that people gave them.

    Args:
        adata: The AnnData, which is changed, or the path of an .h5ad. It needs the variables, and
            the given columns of `obs`, that the run was trained on.
        run: A run's folder.

    Returns:
        The AnnData.

    Raises:
        KeyError: If a variable or a given column is not there.
    """
    model = artifact.load(run)
    adata = opened(adata)
    like = model.inputs.prepared if model.inputs else {}
    data = read(adata, like=like, say=lambda text: None)
    starts = range(0, len(data), ROWS)
    parts = [model.encode(data.floats(slice(start, start + ROWS))).numpy() for start in starts]
    adata.obsm[KEY] = np.concatenate(parts)
    found: dict[str, Any] = {"units": model.units(), "run": str(run)}
    if (Path(run) / scores.FILE).is_file():
        held = scores.read(run).information
        found["information"] = {unit: mean.value for unit, mean in held.items()}
    found["names"] = {unit: named.name for unit, named in names.read(run).items()}
    adata.uns["unweave"] = found
    return adata
