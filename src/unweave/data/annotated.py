"""AnnData, and sparse matrices: counts with names of genes, and tables of observations beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data import hdf5, matrix
from unweave.data.labels import Say
from unweave.data.matrix import check_names, few
from unweave.data.single import single
from unweave.data.sparse import Sparse, check_places
from unweave.data.store import Store
from unweave.data.tables import Columns, columns

COUNTS = "counts"
"""The layer that holds counts where X has been normalised."""


def is_annotated(source: object) -> bool:
    """Return whether a source is an AnnData or the path of one."""
    if isinstance(source, str | Path):
        return Path(source).suffix.lower() == ".h5ad"
    return all(hasattr(source, name) for name in ("X", "obs", "var_names", "layers"))


def is_sparse(source: object) -> bool:
    """Return whether a source is a sparse matrix of SciPy."""
    return hasattr(source, "tocsr")


def opened(source: Any) -> Any:
    """Return the AnnData of a path, or the one that is given.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged.
    """
    if not isinstance(source, str | Path):
        return source
    from anndata import read_h5ad

    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with hdf5.opened(path):
        pass  # it holds as much as its header says
    with hdf5.whole(path):
        return read_h5ad(path)


def read(
    source: Any,
    labels: Sequence[str],
    given: Sequence[str],
    drop: Sequence[str],
    before: Mapping[str, Any],
    say: Say,
) -> tuple[Store, Columns, dict[str, Any]]:
    """Read an AnnData: its layer of counts, or else X.

    Args:
        source: The AnnData, or the path of one.
        labels: Names of columns of `obs` that are labels.
        given: Names of columns of `obs` that stand last in x.
        drop: Names of variables that are left out.
        before: How other data were prepared, which these are to be like.
        say: A function that is told each decision.

    Returns:
        x, the labels' columns, and how x was prepared (`matrix.of`).

    Raises:
        KeyError: If a name is none of `obs` or of the variables.
        ValueError: If names of variables are not unique.
    """
    data = opened(source)
    names = [str(name) for name in data.var_names]
    if len(set(names)) < len(names):
        raise ValueError("names of variables occur twice: call adata.var_names_make_unique()")
    held = dict.fromkeys(names)
    check_names(drop, held)
    given = before.get("given", given)
    about = {str(name): None for name in data.obs.columns}
    check_names([*labels, *given], about)
    has_counts = COUNTS in data.layers
    x = data.layers[COUNTS] if has_counts else data.X
    check_places(x)
    say(f"x: {'the layer counts' if has_counts else 'X, as there is no layer counts'}")
    chosen = _chosen(x, names, drop, before, say)
    x = x[:, chosen]
    kept = [names[k] for k in chosen]
    beside = {}
    how: dict[str, Any] = {}
    if given:
        table = columns(data.obs[list(given)])
        how = dict(before) if before else matrix.described(table, given, say)
        beside = matrix.expanded(table, how)
        say(f"given to the model, which does not model them: {few(list(given))}")
    prepared = {**how, "columns": [*kept, *beside]}
    found = columns(data.obs[list(labels)]) if labels else {}
    return _joined(x, list(beside.values())), found, prepared


def _chosen(
    x: Any, names: Sequence[str], drop: Sequence[str], before: Mapping[str, Any], say: Say
) -> list[int]:
    """Return the numbers of the variables that are kept: those of before, or those that vary."""
    place = {name: k for k, name in enumerate(names)}
    if before:
        wanted = [name for name in before["columns"] if name in place]
        of_given = [name for name in before["columns"] if name not in place]
        known = [name.partition("=")[0] for name in of_given]
        check_names([name for name in known if name not in before.get("given", ())], place)
        return [place[name] for name in wanted]
    low, high = (np.asarray(_dense(end(axis=0))).ravel() for end in (x.min, x.max))
    varies = high > low
    kept = [k for k, name in enumerate(names) if varies[k] and name not in drop]
    constant = int((~varies).sum())
    if constant:
        say(f"left out of x, as they are constant: {constant:,} variables")
    if not kept:
        raise ValueError("no variable is left for x: expected numbers that vary")
    return kept


def _dense(x: Any) -> Any:
    return x.toarray() if hasattr(x, "toarray") else x


def _joined(x: Any, beside: Sequence[NDArray[Any]]) -> Store:
    """Return x with further columns, sparse if it was; 0 where these are missing."""
    known = [np.nan_to_num(column) for column in beside]
    if not is_sparse(x):
        return single(np.column_stack([np.asarray(x, dtype=np.float64), *known]))
    from scipy import sparse

    extra = [sparse.csr_matrix(column[:, None]) for column in known]
    return Sparse.of(sparse.hstack([x.tocsr(), *extra], format="csr"))
