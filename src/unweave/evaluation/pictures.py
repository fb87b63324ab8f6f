"""The arrays of a run's pictures: reconstructions, traversals, samples, codes in the plane."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Data
from ..data.data import shuffled, some
from ..data.matrix import blocks
from ..data.store import moments
from ..models.model import Model, hard, is_discrete, mean, seeded, unit_names
from ..trace.node import Node
from ..trace.trace import Trace
from .terms import MANY

SHOWN_CLASSES = 16
"""Classes that a traversal shows; where there are more, it shows twelve of them."""

QUANTILES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
"""Quantiles of a unit's draws that a traversal shows."""

NUMBERS = 200_000
"""Numbers of a table's items that are kept for a page, about."""

TOO_CLOSE, TOO_FAR = 1e-12, 1e12
"""Standard deviations between which squares, and squares of squares, keep clear of 0 and infinity
in 32 bits."""

ABOUT_COLUMNS = ("columns", "column_mean", "column_sd")
"""Arrays with an entry for each column of a table."""

Array = np.ndarray[Any, Any]


def shown_items(test: Data, most: int | None = None) -> tuple[Array, Array]:
    """Return a few items of each class in turn, and their labels; of a table, many."""
    labels = labels_of(test)
    if most is None:
        most = max(20, min(500, NUMBERS // test.shape[0])) if len(test.shape) == 1 else 20
    chosen = _in_turn(labels, most)
    return test.floats(chosen), labels[chosen]


def starts(x: Array) -> int:
    """Return how many items traversals start from: of a table, which is averaged over, more."""
    return min(20, max(5, NUMBERS // (100 * x.shape[1]))) if x.ndim == 2 else 5


def columns(train: Data) -> dict[str, Any]:
    """Return the names, means and standard deviations of a table's columns, of others nothing."""
    if len(train.shape) != 1:
        return {}
    mean, sd = moments(train.x)
    found: dict[str, Any] = {"column_mean": mean, "column_sd": sd}
    names = train.prepared.get("columns")
    return found | {"columns": np.array(names)} if names else found


def modelled(arrays: dict[str, Any], train: Data) -> dict[str, Any]:
    """Return the arrays of pictures without the columns that a model is given, which stand last."""
    given = train.prepared.get("given", ())
    if not given:
        return arrays
    widths = [width for name, width in blocks(train.prepared) if name in given]
    kept = train.shape[0] - sum(widths)
    found = dict(arrays)
    for name, array in arrays.items():
        of_columns = name in ("x", "reconstruction", "prior_samples") or name in ABOUT_COLUMNS
        if of_columns or name.startswith("traversal/"):
            found[name] = array[..., :kept]
    return found


def labels_of(data: Data) -> Array:
    """Return the first factor of each item, 0 without factors."""
    if not data.names:
        return np.zeros(len(data.x), np.int64)
    return data.factors[:, 0]


def _in_turn(labels: Array, most: int) -> list[int]:
    """Return the numbers of items of each class in turn, from all over."""
    order = shuffled(len(labels))
    kinds = [order[labels[order] == c][:most].tolist() for c in np.unique(labels)]
    turns = itertools.zip_longest(*kinds)
    chosen = [item for turn in turns for item in turn if item is not None]
    return chosen[:most]


def reconstructions(model: Model, x: Array) -> Tensor:
    """Return the items as the decoder gives them back."""
    means = model.reconstruct(x)
    return _shaped(means, x.shape[1:])


def samples_of_prior(model: Model, q: Trace, shape: tuple[int, ...], n: int = 60) -> Tensor:
    """Return the decoder's means of n draws of the prior, (n, *shape)."""
    with seeded(0):
        p = model.decoder(None, q.free(n))
        return _shaped(mean(p), shape)


def _shaped(means: Tensor, shape: tuple[int, ...], lead: int = 1) -> Tensor:
    """Return a decoder's means as items of the data's shape, if they have as many numbers."""
    front, own = means.shape[:lead], means.shape[lead:]
    has_as_many = own.numel() == math.prod(shape)
    return means.reshape(*front, *shape) if has_as_many else means


# -- traversals ------------------------------------------------------------------------------------


def traversals(model: Model, q: Trace, x: Array, most: int = MANY) -> dict[str, Any]:
    """Return, for each unit, the items x decoded while that unit alone runs through its values.

    Args:
        model: The model.
        q: Draws of the posterior of the training part, which say how far a unit runs.
        x: The items that the traversals start from.
        most: The most units that are shown one by one.

    Raises:
        ValueError: If the code has more units.
    """
    units = []
    for site, node in q.items():
        names = unit_names(site, node)
        units += [(unit, site, column) for column, unit in enumerate(names)]
    if len(units) > most:
        raise ValueError(f"{len(units)} units are too many to be shown one by one")
    posterior = model.posterior(x)
    start = {site: hard(node) for site, node in posterior.items()}
    arrays: dict[str, Any] = {"traversal_quantiles": np.array(QUANTILES)}
    for unit, site, column in units:
        values, at = value_range(q[site], column)
        strips = traverse(model, start, site, column, values)
        arrays[f"traversal/{unit}"] = _shaped(strips, x.shape[1:], 2)
        arrays[f"traversal_at/{unit}"] = at
    return arrays


def value_range(node: Node, column: int) -> tuple[Tensor, Tensor]:
    """Return the values that a unit runs through, and what they stand for.

    They are its classes, or a few of many, or quantiles of its draws over the data set.
    """
    dtype = node.value.dtype
    if not is_discrete(node):
        draws = node.value.flatten(1)[:, column].double()  # (items,)
        quantiles = torch.tensor(QUANTILES, dtype=torch.double)
        at = draws.quantile(quantiles)
        return at.to(dtype), at
    classes = node.value.shape[-1]
    at = torch.arange(classes)
    if classes > SHOWN_CLASSES:
        at = torch.linspace(0, classes - 1, 12).round().long()
    one_hot = torch.eye(classes, dtype=dtype)
    return one_hot[at], at


def traverse(
    model: Model, start: dict[str, Tensor], site: str, column: int, values: Tensor
) -> Tensor:
    """Return the decoded items, (items, values, …), as one unit runs and the others are held."""
    strips = []
    for value in values:
        codes = {}
        for name, held in start.items():
            codes[name] = held.clone(memory_format=torch.contiguous_format)
        # The same numbers as (items, units), or (items, units, classes).
        units = codes[site].view(len(codes[site]), -1, *value.shape)
        units[:, column] = value
        strips.append(model.decode(**codes))
    return torch.stack(strips, 1)


# -- codes -----------------------------------------------------------------------------------------


def embedding(model: Model, test: Data, most: int = 1000) -> dict[str, Any]:
    """Return the codes in the plane: as they are if there are two, by t-SNE otherwise.

    Raises:
        ValueError: If an item's code is one number, or t-SNE has nothing to tell codes apart by.
    """
    few = test.subset(some(len(test), most))
    trace = model.posterior(few.floats())
    columns = []
    for node in trace.values():
        at: Tensor = node.value if node.dist is None else node.dist.mean
        columns.append(at.flatten(1))
    codes = torch.cat(columns, -1).cpu().numpy()  # (items, numbers)
    if codes.shape[1] < 2:
        raise ValueError("one number an item is no place in a plane")
    labels = {"embedding_labels": labels_of(few)}
    if codes.shape[1] == 2:
        names: list[str] = []
        for site, node in trace.items():
            names += unit_names(site, node)
        return labels | {
            "embedding": codes,
            "embedding_kind": "codes",
            "embedding_names": np.array(names),
        }
    return labels | {"embedding": plane(codes), "embedding_kind": "t-SNE of codes"}


def plane(codes: Array) -> Array:
    """Return the t-SNE of codes, (items, 2).

    Raises:
        ValueError: If it has nothing to tell the codes apart by.
    """
    _check_spread(codes)
    from sklearn.manifold import TSNE

    perplexity = min(30, len(codes) / 4)
    tsne = TSNE(2, init="pca", perplexity=perplexity, random_state=0)
    found: Array = tsne.fit_transform(codes)
    return found


def _check_spread(codes: Array) -> None:
    """Refuse codes on which t-SNE meets NaN, by which its compiled code ends the process.

    Raises:
        ValueError: If codes are not finite, all equal, or too close or too far for squares.
    """
    if not np.isfinite(codes).all():
        raise ValueError("some codes are NaN or infinite")
    spread = float(codes.std(0, dtype=np.float64).max())
    if not spread:
        raise ValueError(f"the codes of all {len(codes)} items are equal")
    if not TOO_CLOSE < spread < TOO_FAR:
        raise ValueError(f"codes that spread by {spread:.1g} are beyond what t-SNE computes with")
