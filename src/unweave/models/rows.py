"""Distributions of a table's rows: a likelihood a kind of column, missing numbers left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid


class Row(Distribution):
    r"""A row of independent columns of several kinds; numbers that are missing are integrated out.

    .. math:: \log p(x) = \sum_{k: x_k \text{ is known}} \log p_k(x_k)

    A part is a distribution of some of the columns: of each by itself, with a batch shape
    (*batch, columns), or of all at once, such as a one-hot class, with an event shape (columns,).
    NaN stands for what is missing; a one-hot class with any NaN is missing as a whole.

    Args:
        parts: The parts, whose batch shapes, columns aside, are the same.
        columns: The numbers of the columns of each part.

    >>> from torch.distributions import Normal, Poisson
    >>> row = Row([Normal(torch.zeros(5, 2), 1.0), Poisson(torch.ones(5, 1))], [[0, 2], [1]])
    >>> row.batch_shape, row.event_shape, row.mean[0].tolist()
    (torch.Size([5]), torch.Size([3]), [0.0, 1.0, 0.0])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    support = constraints.independent(constraints.real, 1)
    has_rsample = False

    def __init__(self, parts: Sequence[Distribution], columns: Sequence[Sequence[int]]) -> None:
        self.count = len(parts)
        for k, part in enumerate(parts):  # by name: a trace changes the tensors of attributes
            setattr(self, f"part_{k}", part)
        self.columns = tuple(tuple(some) for some in columns)
        width = sum(map(len, self.columns))
        batches = [_batch(part) for part in parts]
        batch = torch.broadcast_shapes(*batches)
        super().__init__(batch, torch.Size([width]), validate_args=False)

    @property
    def parts(self) -> list[Distribution]:
        """The distributions of some of the columns."""
        return [getattr(self, f"part_{k}") for k in range(self.count)]

    @property
    def mean(self) -> Tensor:
        return self._joined([part.mean for part in self.parts])

    def expand(self, batch_shape: Any, _instance: Any = None) -> Row:
        parts = []
        for part, columns in zip(self.parts, self.columns, strict=True):
            own = () if part.event_shape else (len(columns),)
            parts.append(part.expand(torch.Size((*batch_shape, *own))))
        return Row(parts, self.columns)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        size = torch.Size(sample_shape)
        return self._joined([part.sample(size) for part in self.parts])

    def log_prob(self, value: Tensor) -> Tensor:
        total: Tensor | float = 0.0
        for part, columns in zip(self.parts, self.columns, strict=True):
            own = value[..., list(columns)]
            is_missing = own.isnan()
            if part.event_shape:
                is_missing = is_missing.any(-1)
                first = torch.arange(len(columns), device=own.device) == 0  # a one-hot class
                own = torch.where(is_missing.unsqueeze(-1), first.to(own), own)
                log_prob = part.log_prob(own).masked_fill(is_missing, 0.0)
            else:
                own = torch.where(is_missing, 1.0, own)  # 1 is a value of every other kind
                log_prob = part.log_prob(own).masked_fill(is_missing, 0.0).sum(-1)
            total = total + log_prob
        return torch.as_tensor(total)

    def _joined(self, values: Sequence[Tensor]) -> Tensor:
        """Return the parts' columns, each in its place, (*samples, *batch, columns)."""
        lead = torch.broadcast_shapes(*[value.shape[:-1] for value in values])
        full = torch.cat([value.expand(*lead, -1) for value in values], -1)
        order = [column for some in self.columns for column in some]
        places = sorted(range(len(order)), key=order.__getitem__)
        return full[..., places]


def _batch(part: Distribution) -> torch.Size:
    """Return the batch shape of a part without its columns."""
    return part.batch_shape if part.event_shape else part.batch_shape[:-1]


class ZeroInflated(Distribution):
    r"""Counts with zeros of a second kind: p(0) = π + (1 − π) b(0) and p(x) = (1 − π) b(x).

    Args:
        base: The distribution b of counts.
        logits: Log odds of π, which broadcast with b.

    Source: Lambert, "Zero-inflated Poisson regression" (1992).

    >>> from torch.distributions import Poisson
    >>> ZeroInflated(Poisson(torch.tensor(2.0)), torch.tensor(0.0)).mean
    tensor(1.)
    """

    arg_constraints: dict[str, Any] = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.nonnegative_integer
    has_rsample = False

    def __init__(self, base: Distribution, logits: Tensor) -> None:
        self.base, self.logits = base, logits
        super().__init__(base.batch_shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        held: Tensor = self.base.mean
        return torch.sigmoid(-self.logits) * held

    def expand(self, batch_shape: Any, _instance: Any = None) -> ZeroInflated:
        return ZeroInflated(self.base.expand(batch_shape), self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        counts = self.base.sample(torch.Size(sample_shape))
        is_held = torch.rand_like(counts) < torch.sigmoid(-self.logits)
        return counts * is_held

    def log_prob(self, value: Tensor) -> Tensor:
        inner = logsigmoid(-self.logits) + self.base.log_prob(value)
        outer = logsigmoid(self.logits).expand_as(inner)
        return torch.where(value == 0, torch.logaddexp(outer, inner), inner)


class Given(Distribution):
    """Columns that are given and not modelled: their log-probability is 0, their mean what it is.

    Args:
        value: (*batch, columns).
    """

    arg_constraints: dict[str, Any] = {"value": constraints.real}  # noqa: RUF012
    support = constraints.real
    has_rsample = False

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.value

    def expand(self, batch_shape: Any, _instance: Any = None) -> Given:
        return Given(self.value.expand(batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value)
