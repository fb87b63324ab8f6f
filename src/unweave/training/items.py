"""Items on the device: kept compact, indexed a batch at a time, and the order of an epoch."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..data import Data
from ..data.store import Bits, Store
from ..models.inputs import Inputs
from .recipe import Recipe


class Kept:
    """Items in one tensor on the device, as compact as the data keep them; float32 when indexed.

    They equal `Data.floats` to the bit, on any device.
    """

    def __init__(self, x: Store, device: torch.device | str = "cpu") -> None:
        array = np.ascontiguousarray(x.packed if isinstance(x, Bits) else x)
        with warnings.catch_warnings():
            # The array may be a file's, mapped into memory; it is only read.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            self.tensor = torch.as_tensor(array, device=device)
        self.item = x.shape[1:]
        self.is_packed = isinstance(x, Bits)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Return some of the items, (k, *shape)."""
        if isinstance(index, Tensor) and index.dtype == torch.long:
            chosen = self.tensor.index_select(0, index)
        else:
            chosen = self.tensor[index]
        if self.is_packed:
            return self._unpacked(chosen)
        if chosen.dtype == torch.uint8:
            # By a tensor: a number would be turned into its reciprocal on a GPU, which rounds
            # otherwise.
            return chosen.float() / torch.full((), 255.0, device=chosen.device)
        return chosen

    def _unpacked(self, packed: Tensor) -> Tensor:
        """Return the bits of some items as numbers, (k, *shape)."""
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
        bits = packed[:, :, None] >> shifts & 1  # (k, bytes, 8)
        numbers = bits.flatten(1)[:, : math.prod(self.item)]  # (k, numbers)
        return numbers.reshape(-1, *self.item).float()


class Items:
    """A part of the data with its labels, indexed a batch at a time.

    Args:
        name: The part's name: "training" or "held-out".
        data: The part.
        recipe: Its labels and samples are taken.
        device: The place where the items are kept.
    """

    def __init__(
        self, name: str, data: Data, recipe: Recipe, device: torch.device | str = "cpu"
    ) -> None:
        self.name = name
        self.x = Kept(data.x, device)
        self.missing = data.missing
        self.samples = recipe.samples
        self.labels: dict[str, Tensor] = {}
        for site, factor in recipe.labels.items():
            column = data.factors[:, data.names.index(factor)]
            self.labels[site] = torch.as_tensor(column, device=device)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def known(self) -> Tensor:
        """The numbers of the items whose labels are all known."""
        labels = torch.stack(list(self.labels.values()))  # (sites, items)
        return (labels >= 0).all(0).nonzero().squeeze(1)

    def batch(self, items: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x and the labels of some items.

        A dimension in front repeats them `samples` times if that is more than once.
        """
        x = self.x[items]
        labels = {site: y.index_select(0, items) for site, y in self.labels.items()}
        if self.samples > 1:
            x = x.expand(self.samples, *x.shape)  # (samples, batch, *shape)
            labels = {site: y.expand(self.samples, *y.shape) for site, y in labels.items()}
        return x, labels


def inputs_of(data: Data) -> Inputs:
    """Return what a model that is trained on these items keeps of them."""
    prepared, shape = dict(data.prepared), tuple(data.shape)
    if isinstance(data.x, Bits) or data.x.dtype == np.uint8:
        kept: Literal["bits", "bytes"] = "bits" if isinstance(data.x, Bits) else "bytes"
        return Inputs(shape, kept, 0.0, 1.0, data.missing, prepared)
    axis = 0 if "columns" in prepared else None
    low, high = np.nanmin(data.x, axis=axis), np.nanmax(data.x, axis=axis)
    return Inputs(shape, "floats", low.tolist(), high.tolist(), data.missing, prepared)


def epoch_order(recipe: Recipe, items: Items, epoch: int) -> Tensor:
    """Return an epoch's batches of item numbers, (steps, batch), of all ranks together.

    They are a function of the recipe's seed and the epoch alone.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    steps = recipe.per_epoch
    others = _cycle(len(items), steps * (recipe.batch - recipe.labelled), generator)
    order = others.reshape(steps, -1)  # (steps, batch − labelled)
    if recipe.labelled:
        known = items.known.cpu()
        turns = _cycle(len(known), steps * recipe.labelled, generator)
        labelled = known[turns].reshape(steps, -1)  # (steps, labelled)
        order = torch.cat([order, labelled], 1)  # (steps, batch)
    return order.to(items.x.tensor.device)


def _cycle(n: int, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` numbers below n: all of them in a new order, again and again."""
    rounds = math.ceil(count / n)
    orders = [torch.randperm(n, generator=generator) for _ in range(rounds)]
    return torch.cat(orders)[:count]
