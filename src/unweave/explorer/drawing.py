"""Items as the page draws them: images, films of frames, words, or the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import plots
from ..data import Data
from ..data.data import some

Kind = Literal["image", "film", "words", "columns"]
Array = NDArray[Any]

LOOKED_AT = 2000
"""Items from which the columns' means and standard deviations are measured."""

MISSING = 0.5
"""The grey of a frame that is missing."""


@dataclass(frozen=True)
class Drawing:
    """A way to draw items.

    Attributes:
        kind: image: bytes (h, w, colours). film: bytes (frames, h, w, 1). words and columns: a
            number for each, float32.
        shape: The shape of a picture.
        names: The words, or the columns.
        middle: The columns' means, (k,); of words, how often each occurs among all.
        spread: The columns' standard deviations, (k,).
    """

    kind: Kind
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    middle: Array | None = None
    spread: Array | None = None

    @staticmethod
    def of(data: Data, are_words: bool = False) -> Drawing:
        """Choose how a data set's items are drawn.

        Args:
            data: The items.
            are_words: Whether the columns count words.
        """
        match data.shape:
            case (height, width):
                return Drawing("image", (height, width, 1))
            case (height, width, (1 | 3) as colours):
                return Drawing("image", (height, width, colours))
            case (frames, height, width):
                return Drawing("film", (frames, height, width, 1))
        columns = int(np.prod(data.shape))
        names = tuple(map(str, data.prepared.get("columns", ())))
        if len(names) != columns:
            names = tuple(f"x[{k}]" for k in range(columns))
        few = data.floats(some(len(data), LOOKED_AT)).reshape(-1, columns)
        if are_words:
            counts = few.sum(0)
            return Drawing("words", (columns,), names, counts / max(counts.sum(), 1))
        known = ~np.isnan(few)
        n = np.maximum(known.sum(0), 1)
        middle = np.where(known, few, 0).sum(0) / n
        away = np.where(known, few - middle, 0)
        spread = np.sqrt(np.square(away).sum(0) / n)
        return Drawing("columns", (columns,), names, middle, np.where(spread > 0, spread, 1))

    def described(self) -> dict[str, Any]:
        """Return what the page needs to draw items."""
        numbers = {"middle": self.middle, "spread": self.spread}
        found = {name: one.tolist() for name, one in numbers.items() if one is not None}
        return {"kind": self.kind, "shape": list(self.shape), "names": list(self.names), **found}

    def packed(self, items: Array) -> bytes:
        """Return items (n, *shape) one after another, as bytes of images or as float32."""
        if self.kind == "film":
            items = np.nan_to_num(items, nan=MISSING)[..., None]  # (n, frames, h, w, 1)
        if self.kind in ("image", "film"):
            return plots.pixels(items).tobytes()
        return np.asarray(items, dtype=np.float32).tobytes()
