"""Labels of a few items, passed on to all others along neighbours in a model's codes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from unweave.runs.findings import Array

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model


ROUNDS = 2
"""The rounds in which a classifier learns what was passed on, and known labels pass on anew."""


def named_by_neighbours(data: Data, model: Model, seed: int = 0) -> Data:
    """Return data of one factor whose missing labels are those that neighbours pass on.

    Labels first pass on among neighbours in the codes. A classifier of the codes learns what was
    passed on, and averages over its mistakes; so the known labels pass on anew, among neighbours
    in its last hidden layer.

    Args:
        data: The items, a few of which have a label.
        model: The model whose codes tell who is a neighbour.
        seed: The seed of the classifiers.
    """
    (known,) = data.factors.T
    codes = model.encode(data.floats()).numpy()
    named = passed_on(codes, known, data.sizes[0])
    for number in range(ROUNDS):
        learned = _hidden(codes, named, data.sizes[0], seed + number)
        named = passed_on(learned, known, data.sizes[0])
    return replace(data, factors=named[:, None])


def _hidden(codes: Array, named: Array, classes: int, seed: int) -> Array:
    """Return the last hidden layer (items, 200) of a classifier that is trained on named codes."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from unweave.models.model import seeded

    x, y = torch.as_tensor(codes), torch.as_tensor(named)
    layers: list[nn.Module] = [nn.Dropout(0.1)]
    with seeded(seed):
        for inputs, outputs in pairwise((codes.shape[1], 400, 200)):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)]
            layers += [nn.ReLU(), nn.Dropout(0.3)]
        classifier = nn.Sequential(*layers, nn.Linear(200, classes))
        optimizer = torch.optim.Adam(classifier.parameters(), fused=True)
        several = max(1, len(x) // 200)
        batches = [part for _ in range(6) for part in torch.randperm(len(x)).tensor_split(several)]
        for step, batch in enumerate(batches):
            optimizer.param_groups[0]["lr"] = 1e-3 * min(1, 2 - 2 * step / len(batches))
            loss = cross_entropy(classifier(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        hidden: Array = classifier.eval()[:-1](x).numpy()
    return hidden


def passed_on(
    codes: Array, known: Array, classes: int, *, neighbours: int = 10, keep: float = 0.99
) -> Array:
    r"""Pass the classes of some items on to all others, from neighbour to neighbour.

    With W the symmetric weights of neighbours, D its row sums, Y the known classes, one-hot, and a
    the share that is kept, the classes are those of the largest entries of

    .. math:: F = \sum_{t=0}^{200} (a D^{-1/2} W D^{-1/2})^t Y

    with columns scaled to equal sums, so that classes are about equally frequent. An item's
    neighbour at distance d has the weight :math:`\exp(-4 d^2 / d_k^2)`, where d_k is the distance
    of the last neighbour.

    Args:
        codes: (items, units).
        known: The items' classes, (items,), −1 where unknown; each class has an item at least.
        classes: How many classes there are.
        neighbours: Neighbours of an item.
        keep: The share a.

    Returns:
        Classes (items,); what is known stays.

    Sources: Zhou et al., "Learning with Local and Global Consistency" (2004); for neighbours in a
    VAE's codes, Calder et al., "Poisson Learning" (2020).
    """
    step = keep * _graph(codes, neighbours)  # (items, items), sparse
    one_hot = np.eye(classes)[known] * (known >= 0)[:, None]  # (items, classes)
    total = one_hot
    for _ in range(200):
        total = one_hot + step @ total
    found: Array = (total / total.sum(0)).argmax(1)
    return np.where(known >= 0, known, found)


def _graph(codes: Array, neighbours: int) -> Array:
    """Return the weights of neighbours over the roots of both items' sums, (items, items)."""
    from scipy.sparse import csr_array, diags_array
    from sklearn.neighbors import NearestNeighbors

    distances, numbers = NearestNeighbors(n_neighbors=neighbours).fit(codes).kneighbors()
    farthest = distances[:, -1:]  # (items, 1)
    weights = np.exp(-4 * (distances / farthest) ** 2)  # (items, neighbours)
    starts = np.arange(len(codes) + 1) * neighbours
    shape = (len(codes), len(codes))
    one_way = csr_array((weights.ravel(), numbers.ravel(), starts), shape)
    both_ways = (one_way + one_way.T) / 2
    root = diags_array(both_ways.sum(1) ** -0.5)
    step: Array = root @ both_ways @ root
    return step
