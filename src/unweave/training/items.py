"""Items on the device: kept compact, indexed a batch at a time, and the order of an epoch."""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Data
from ..data.sparse import Sparse
from ..data.store import Bits, Rows, Store, mapping_of, parts_of
from ..models.inputs import Inputs
from .recipe import Recipe

AHEAD = 8
"""Batches that the system reads ahead of a mapped file."""


class Kept:
    """Items as compact as the data keep them, indexed a batch at a time; float32 when indexed.

    They equal `Data.floats` to the bit, on any device. Items that are mapped from a file stay there
    on a CPU: `soon` asks the system to read them ahead. A GPU gets all of them where they fit, in
    half of its free memory, or else batch by batch. Of sparse items, a batch's numbers come to the
    device, which writes them into zeros.

    Args:
        x: The items.
        device: The device that batches come to.
        fits: Whether the device holds all items; by default it is asked for its free memory.
    """

    def __init__(
        self, x: Store, device: torch.device | str = "cpu", fits: bool | None = None
    ) -> None:
        self.item = x.shape[1:]
        self.is_packed = isinstance(x, Bits)
        self.device = torch.device(device)
        self.sparse: Sparse | None = None
        if isinstance(x, Sparse):
            self.sparse, self.tensor, self.rows, self.file = x, _shared(x.values), None, None
            return
        rows = x.packed if isinstance(x, Bits) else x
        array = np.ascontiguousarray(rows.whole if isinstance(rows, Rows) else rows)
        self.file = mapping_of(array)
        self.rows = torch.from_numpy(rows.numbers) if isinstance(rows, Rows) else None
        self.tensor = _shared(array)
        if fits is None:
            fits = _fits(rows.nbytes, self.device)
        if fits and self.device.type != "cpu":
            self._bring(rows)

    def _bring(self, rows: npt.NDArray[Any] | Rows) -> None:
        """Bring all items to the device, some at a time."""
        moved = torch.empty(rows.shape, dtype=self.tensor.dtype, device=self.device)
        start = 0
        for part in parts_of(rows):
            moved[start : start + len(part)] = _shared(part)
            start += len(part)
        self.tensor, self.rows, self.file = moved, None, None

    def __len__(self) -> int:
        if self.sparse is not None:
            return len(self.sparse)
        return len(self.tensor if self.rows is None else self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Return some of the items, (k, *shape)."""
        if self.sparse is not None:
            return self._dense(self.sparse, index)
        chosen = self._moved(self._chosen(index))
        if self.is_packed:
            return self._unpacked(chosen)
        if chosen.dtype == torch.uint8:
            # By a tensor: a number would be turned into its reciprocal on a GPU, which rounds
            # otherwise.
            return chosen.float() / torch.full((), 255.0, device=chosen.device)
        return chosen

    def _chosen(self, index: Tensor | slice) -> Tensor:
        """Return some of the items as they are kept and where they are kept."""
        if isinstance(index, Tensor):
            index = index.to(self.tensor.device)
        if self.rows is not None:
            index = self.rows[index]
        if isinstance(index, Tensor) and index.dtype == torch.long:
            return self.tensor.index_select(0, index)
        return self.tensor[index]

    def _moved(self, chosen: Tensor) -> Tensor:
        """Return some of the items on the device; a GPU reads them while this process goes on."""
        if chosen.device.type == self.device.type:
            return chosen
        if self.device.type == "cuda":
            chosen = chosen.pin_memory()
        return chosen.to(self.device, non_blocking=True)

    def soon(self, index: Tensor) -> None:
        """Ask the system to read items of a mapped file, which are needed a few batches later.

        Without it each page waits for the disk in turn.
        """
        if self.file is None or not hasattr(self.file, "madvise"):
            return
        numbers = index if self.rows is None else self.rows[index]
        begin = self.tensor.data_ptr() - np.frombuffer(self.file, np.uint8).ctypes.data
        size = self.tensor[0].nbytes
        for number in numbers.tolist():
            start = begin + number * size
            page = start - start % mmap.PAGESIZE
            self.file.madvise(mmap.MADV_WILLNEED, page, start + size - page)

    def _dense(self, x: Sparse, index: Tensor | slice) -> Tensor:
        """Return some sparse items as numbers, (k, width)."""
        chosen = x.take(index.numpy(force=True) if isinstance(index, Tensor) else index)
        dense = torch.zeros(chosen.shape, device=self.device)
        for row, columns, values in chosen.parts():
            cells = self._moved(_shared(row * chosen.width + columns))
            dense.view(-1).index_copy_(0, cells, self._moved(_shared(values)))
        return dense

    def _unpacked(self, packed: Tensor) -> Tensor:
        """Return the bits of some items as numbers, (k, *shape)."""
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
        bits = packed[:, :, None] >> shifts & 1  # (k, bytes, 8)
        numbers = bits.flatten(1)[:, : math.prod(self.item)]  # (k, numbers)
        return numbers.reshape(-1, *self.item).float()


def _shared(array: npt.NDArray[Any]) -> Tensor:
    """Return an array as a tensor that shares its memory or its file, which is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)  # where it is, whatever the default device


def _fits(size: int, device: torch.device) -> bool:
    """Return true if so many bytes fit into half of a device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= free / 2


class Items:
    """A part of the data with its labels, indexed a batch at a time.

    Args:
        name: The part's name: "training" or "held-out".
        data: The part.
        recipe: Its labels and samples are taken.
        device: The device that batches come to.
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

    def ahead(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield batches of item numbers, (batch,), in turn; those that follow are read ahead."""
        batches = list(order)
        for first in batches[: AHEAD - 1]:
            self.x.soon(first)
        for step, items in enumerate(batches):
            for later in batches[step + AHEAD - 1 : step + AHEAD]:
                self.x.soon(later)
            yield items

    def batch(self, items: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return x and the labels of some items.

        A dimension in front repeats them `samples` times if that is more than once.
        """
        x = self.x[items]
        on_device = items.to(self.x.device)
        labels = {site: y.index_select(0, on_device) for site, y in self.labels.items()}
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
    low, high = data.extremes
    if "columns" not in prepared or isinstance(data.x, Sparse):  # counts have one scale
        low, high = low.min(), high.max()
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
    device = generator.device  # whatever the default one
    orders = [torch.randperm(n, generator=generator, device=device) for _ in range(rounds)]
    return torch.cat(orders)[:count]
