"""MNIST's digits with a factor of style: the quarter that a learned unit puts them in."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

import unweave as uw
from unweave.runs.findings import Array

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model

QUARTERS = 4
"""Parts into which the unit cuts the digits of each class."""

LABELLED = 6000
"""Training digits of the model that the unit belongs to."""


@cache
def styled_digits(hidden: tuple[int, ...], data_dir: str | None = None) -> tuple[Data, Data]:
    """Return MNIST's training and test digits with factors "digit" and "style".

    A VAE with the digit given is trained on `LABELLED` digits of all cells, always the same. Of its
    Normals, the one that is known most sharply of single digits cuts the training digits of each
    class into quarters, which are the values of "style".

    Args:
        hidden: Hidden units of the VAE's networks.
        data_dir: Folder that holds the data.
    """
    from unweave.training.trainer import trained

    train, test = uw.data.mnist("train", root=data_dir), uw.data.mnist("test", root=data_dir)
    model = trained(
        uw.Recipe(
            name="styles",
            data=train.split(LABELLED)[1],
            model=partial(uw.models.hfvae, train.shape, hidden, temperature=None),
            objective=uw.elbo + 20 * uw.label,
            groups=("y", "z"),
            labels={"y": "digit"},
            epochs=6,
            logged=0,
        )
    )
    places, widths = _styles(model, train)
    unit = widths.mean(0).argmin()
    digit = train.factors[:, 0]
    shares = np.arange(1, QUARTERS) / QUARTERS
    edges = [np.quantile(places[digit == d, unit], shares) for d in range(train.sizes[0])]
    test_places, _ = _styles(model, test)
    return (
        _with_styles(train, places[:, unit], np.stack(edges)),
        _with_styles(test, test_places[:, unit], np.stack(edges)),
    )


def _styles(model: Model, data: Data) -> tuple[Array, Array]:
    """Return mean and standard deviation of q(z|x, y) with the true class y, (n, units) each."""
    import torch

    with torch.no_grad():
        x, digit = torch.as_tensor(data.floats()), torch.as_tensor(data.factors[:, 0])
        z = model.encoder(x, y=digit)["z"].dist
    return z.mean.numpy(), z.stddev.numpy()


def _with_styles(data: Data, places: Array, edges: Array) -> Data:
    """Add the factor "style", the quarter of a place (n,) by its class' edges (classes, 3)."""
    own = edges[data.factors[:, 0]]  # (n, 3)
    style = (places[:, None] > own).sum(1)
    return replace(
        data,
        factors=np.column_stack([data.factors, style]),
        names=(*data.names, "style"),
        sizes=(*data.sizes, QUARTERS),
        values=(*data.values, tuple(map(str, range(QUARTERS)))),
    )
