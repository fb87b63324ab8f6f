"""Labels of a few items, passed on to all others along neighbours in a model's codes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from unweave.runs.findings import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unweave.data import Data
    from unweave.models import Model


PASSES = 8
"""Passes of the classifier that learns what was passed on."""

STEP = 0.28
"""Length of its steps in x, relative to the items' root mean square distance from their mean."""


def named_by_neighbours(data: Data, model: Model, seed: int = 0) -> Data:
    """Return data of one factor whose missing labels are those that neighbours pass on.

    Labels first pass on among neighbours in the codes. A classifier of the items learns what was
    passed on, and averages over its mistakes, see `steady`; so the known labels pass on anew, among
    neighbours in its last hidden layer.

    Args:
        data: The items, a few of which have a label.
        model: The model whose codes tell who is a neighbour.
        seed: The seed of the classifier.
    """
    import torch

    (known,) = data.factors.T
    items = data.floats()
    named = passed_on(model.encode(items).numpy(), known, data.sizes[0])
    x = torch.as_tensor(items).flatten(1)  # (items, numbers)
    classifier = steady(x, torch.as_tensor(named), np.flatnonzero(known >= 0), data.sizes[0], seed)
    with torch.no_grad():
        hidden = classifier[:-1](x)  # (items, 300)
    named = passed_on(hidden.numpy(), known, data.sizes[0])
    return replace(data, factors=named[:, None])


def steady(x: Tensor, named: Tensor, known: Array, classes: int, seed: int) -> nn.Sequential:
    r"""Train a classifier that no small step of x sways, from labels some of which are wrong.

    With y the labels passed on and t from 0 to 1 over the training, it minimises

    .. math:: (1 - t) \, E[-\log q(y|x)] + E_{known}[-\log q(y|x)]
        + E[\max_{|r| = s} KL(q(\cdot|x) \,\|\, q(\cdot|x + r))]

    so what was passed on is a start, and loses its say to what is known.

    Args:
        x: (items, numbers).
        named: Classes that were passed on, (items,).
        known: The numbers of the items whose class is known.
        classes: How many classes there are.
        seed: The seed of weights, order and steps.

    Source: Miyato et al., "Virtual Adversarial Training: A Regularization Method for Supervised
    and Semi-Supervised Learning" (2018), for the last term.
    """
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    from unweave.models.model import seeded

    length = STEP * float(x.var(0).sum().sqrt())
    sure = torch.as_tensor(known)
    layers: list[nn.Module] = []
    with seeded(seed):
        for inputs, outputs in pairwise((x.shape[1], 600, 300)):
            # each call has its own statistics, so that what is swayed leaves no trace in others'
            norm = nn.BatchNorm1d(outputs, track_running_stats=False)
            layers += [nn.Linear(inputs, outputs), norm, nn.ReLU()]
        classifier = nn.Sequential(*layers, nn.Linear(300, classes))
        optimizer = torch.optim.Adam(classifier.parameters(), fused=True)
        several = max(1, len(x) // 250)
        orders = [torch.randperm(len(x)) for _ in range(PASSES)]
        batches = [batch for order in orders for batch in order.tensor_split(several)]
        for step, batch in enumerate(batches):
            t = step / len(batches)
            optimizer.param_groups[0]["lr"] = 1e-3 * min(1, 2 - 2 * t)
            few = sure[torch.randint(len(sure), (100,))]
            scores = classifier(x[batch])
            loss = (1 - t) * cross_entropy(scores, named[batch])
            loss = loss + cross_entropy(classifier(x[few]), named[few])
            loss = loss + _swayed(classifier, x[batch], scores.detach().softmax(1), length)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return classifier


def _swayed(classifier: nn.Module, x: Tensor, before: Tensor, length: float) -> Tensor:
    """Return KL(before ‖ q(y|x + r)) for about the worst step r of a length, mean over x."""
    import torch
    from torch.nn.functional import kl_div, normalize

    def change(step: Tensor) -> Tensor:
        return kl_div(classifier(x + step).log_softmax(1), before, reduction="batchmean")

    small = (length / 2 * normalize(torch.randn_like(x))).requires_grad_()
    (slope,) = torch.autograd.grad(change(small), small)
    return change(length * normalize(slope))


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
