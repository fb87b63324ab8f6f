"""Codes as rows of numbers, a column a unit, and back to the sites that a decoder reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.model import is_discrete, unit_names
from ..trace.node import Node
from ..trace.trace import Trace

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Site:
    """A latent site and its columns.

    Attributes:
        name: The site's name.
        units: The names of its units, a column each.
        shape: The shape of its value at one item, (*units, *event).
        classes: The number of classes of a unit; 0 where units are numbers.
    """

    name: str
    units: tuple[str, ...]
    shape: tuple[int, ...]
    classes: int

    @staticmethod
    def of(name: str, node: Node) -> Site:
        """Describe a site of a posterior without class dimensions."""
        shape = tuple(node.value.shape[1:])
        classes = shape[-1] if is_discrete(node) else 0
        return Site(name, tuple(unit_names(name, node)), shape, classes)

    def columns(self, value: Tensor) -> Floats:
        """Return values (n, *units, *event) as columns (n, units): numbers, or class numbers."""
        flat = value.argmax(-1) if self.classes else value
        columns: Floats = flat.reshape(len(value), -1).numpy().astype(np.float32)  # (n, units)
        return columns

    def value(self, columns: Floats) -> Tensor:
        """Return columns (n, units) as the decoder takes them, (n, *units, *event)."""
        t = torch.as_tensor(columns)
        if not self.classes:
            return t.reshape(-1, *self.shape)
        last = self.classes - 1
        numbers = t.round().long().clamp(0, last)  # (n, units)
        one_hot = torch.nn.functional.one_hot(numbers, self.classes)  # (n, units, classes)
        return one_hot.float().reshape(-1, *self.shape)


def sites_of(q: Trace) -> list[Site]:
    """Return the latent sites of a posterior, in their order."""
    return [Site.of(name, node) for name, node in q.items()]


def columns_of(sites: list[Site]) -> dict[str, range]:
    """Return the numbers of each site's columns."""
    found, start = {}, 0
    for site in sites:
        found[site.name] = range(start, start + len(site.units))
        start += len(site.units)
    return found


def means(q: Trace, sites: list[Site]) -> Floats:
    """Return posterior means (n, columns), and the most probable class of discrete units."""
    parts = []
    for site in sites:
        node = q[site.name]
        mean = node.value if node.dist is None else node.dist.mean
        parts.append(site.columns(mean))
    return np.concatenate(parts, axis=1)


def draws(q: Trace, sites: list[Site]) -> Floats:
    """Return the values that a trace holds, (n, columns)."""
    return np.concatenate([site.columns(q[site.name].value) for site in sites], axis=1)


def given(codes: Floats, sites: list[Site]) -> dict[str, Any]:
    """Return codes (n, columns) as the sites' values, for `Model.decode`."""
    columns = columns_of(sites)
    return {site.name: site.value(codes[:, columns[site.name]]) for site in sites}
