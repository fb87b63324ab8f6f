"""Rows of a table as networks see them, by the kinds of their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

Kind = Literal[
    "normal",
    "log_normal",
    "bernoulli",
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
    "categorical",
    "given",
]
"""A column's likelihood; a categorical is a one-hot class, and given columns are not modelled."""

Kinds: TypeAlias = Sequence[tuple[str, int]]
"""Kinds with their numbers of columns, in the order of the columns."""

COUNTS = tuple(kind for kind in get_args(Kind) if kind.endswith(("poisson", "binomial")))

LEAST = 1e-3
"""The smallest size of a row, in sizes of the mean row: an empty one has no logarithm."""

TINY = 1e-30
"""The smallest log-normal number that networks see; the likelihood refuses 0 and below."""

PART = 4096
"""Rows that are measured at once."""


def parts_of(kinds: Kinds) -> list[tuple[Kind, list[int]]]:
    """Return kinds with the numbers of their columns: all of one kind, or one variable's classes.

    Raises:
        ValueError: If a kind is unknown.

    >>> parts_of([("normal", 1), ("categorical", 2), ("normal", 2), ("categorical", 3)])
    [('normal', [0, 3, 4]), ('categorical', [1, 2]), ('categorical', [5, 6, 7])]
    """
    parts: list[tuple[Kind, list[int]]] = []
    first = 0
    for kind, width in kinds:
        if kind not in get_args(Kind):
            raise ValueError(f"kind={kind!r}: expected one of {', '.join(get_args(Kind))}")
        columns = list(range(first, first + width))
        first += width
        same = [own for name, own in parts if name == kind != "categorical"]
        if same:
            same[0].extend(columns)
        else:
            parts.append((kind, columns))  # type: ignore[arg-type]
    return parts


class Seen(nn.Module):
    r"""Rows as the networks see them: mean 0, standard deviation 1, missing numbers 0.

    Counts are first turned into log(1 + x/s), log-normal numbers into their logarithm. With
    `library` the size s of a row is the sum of its known counts over the sum of these columns'
    means, and 1 otherwise. With `mask` the row is followed by ones where numbers are known.
    Classes and Bernoulli columns stay as they are, but for missing ones.

    Args:
        kinds: The kinds of the columns.
        library: Whether rows have sizes.
        mask: Whether the networks are told which numbers are missing.
    """

    mean: Tensor
    sd: Tensor
    base: Tensor

    def __init__(self, kinds: Kinds, library: bool = False, mask: bool = False) -> None:
        super().__init__()
        self.parts, self.library, self.mask = parts_of(kinds), library, mask
        self.columns = sum(width for _, width in kinds)
        self.counts = [k for kind, columns in self.parts if kind in COUNTS for k in columns]
        self.positive = [k for kind, own in self.parts if kind == "log_normal" for k in own]
        numbers = [*self.counts, *self.positive]
        self.given = [k for kind, own in self.parts if kind == "given" for k in own]
        normal = [k for kind, own in self.parts if kind == "normal" for k in own]
        self.scaled = [*numbers, *normal, *self.given]
        self.register_buffer("mean", torch.zeros(self.columns))
        self.register_buffer("sd", torch.ones(self.columns))
        self.register_buffer("base", torch.ones(self.columns))

    @property
    def width(self) -> int:
        """The number of numbers that the networks see."""
        return self.columns * (2 if self.mask else 1)

    def measure(self, x: Any) -> Seen:
        """Take the means of columns, and means and standard deviations as seen, from items.

        Args:
            x: Items (n, columns), in parts of which `x[start:stop]` are arrays or tensors.

        Returns:
            Self.
        """
        self.base.copy_(_moments(_parts(x))[0])
        mean, sd = _moments(self.logs(part) for part in _parts(x))
        self.mean.zero_()[self.scaled] = mean[self.scaled].to(self.mean)
        spread = torch.where(sd > 0, sd, 1.0).to(self.sd)
        self.sd.fill_(1.0)[self.scaled] = spread[self.scaled]
        return self

    def size(self, x: Tensor | None) -> Tensor | float:
        """Return the size of each row, (*batch, 1): 1 without `library`."""
        if x is None or not self.library:
            return 1.0
        counts = x[..., self.counts]
        is_known = ~counts.isnan()
        expected = (is_known * self.base[self.counts]).sum(-1, keepdim=True)
        size = counts.nan_to_num(0.0).sum(-1, keepdim=True) / expected.clamp_min(1e-30)
        return size.clamp_min(LEAST)

    def logs(self, x: Tensor) -> Tensor:
        """Return rows with counts and log-normal numbers on their logarithmic scales."""
        seen = x.clone()
        if self.counts:
            seen[..., self.counts] = (x[..., self.counts] / self.size(x)).log1p()
        if self.positive:
            seen[..., self.positive] = x[..., self.positive].clamp_min(TINY).log()
        return seen

    def forward(self, x: Tensor) -> Tensor:
        seen = (self.logs(x) - self.mean) / self.sd
        known = torch.where(seen.isnan(), 0.0, seen)
        if not self.mask:
            return known
        return torch.cat([known, (~seen.isnan()).to(seen)], -1)  # (*batch, width)

    def covariates(self, x: Tensor | None) -> Tensor:
        """Return the given columns as networks see them, (*batch, given): 0 without items."""
        if x is None:
            return torch.zeros_like(self.mean[self.given])
        away = x[..., self.given] - self.mean[self.given]
        return (away / self.sd[self.given]).nan_to_num(0.0)

    def held(self, x: Tensor | None) -> Tensor:
        """Return the given columns as they are, (*batch, given): their means without items."""
        mean = self.base[self.given]
        if x is None:
            return mean
        own = x[..., self.given]
        return torch.where(own.isnan(), mean, own)


def _parts(x: Any) -> Iterator[Tensor]:
    for start in range(0, len(x), PART):
        yield torch.as_tensor(x[start : start + PART]).double()


def _moments(parts: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each column, missing numbers left out."""
    n: Tensor | float = 0.0
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    shift: Tensor | None = None
    for part in parts:
        if shift is None:
            shift = part.nanmean(0).nan_to_num(0.0)  # squares of large numbers lose what is small
        away = part - shift
        n = n + (~away.isnan()).sum(0)
        total = total + away.nansum(0)
        squares = squares + away.square().nansum(0)
    assert shift is not None
    count = torch.as_tensor(n).clamp_min(1)
    mean = total / count
    variance = squares / count - mean.square()
    return shift + mean, variance.clamp_min(0.0).sqrt()
