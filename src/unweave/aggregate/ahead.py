"""The hint `ahead` to an estimator of log q(block): coefficients that are known beforehand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from torch import Tensor

Ahead = Sequence["float | Tensor"]
"""For each block a number or a tensor (*classes, *samples, batch): up to a common factor, the
coefficients of the sum Σ ahead · log q(block) that will be differentiated. The fused estimator then
makes that gradient with the values: a hint, never an assumption.
"""


def takes_ahead(aggregate: Callable[..., list[Tensor]]) -> bool:
    """Return true if an estimator has a parameter `ahead`."""
    is_function = inspect.isroutine(aggregate) or isinstance(aggregate, partial)
    function: Callable[..., Any] = aggregate if is_function else type(aggregate).__call__
    return _has_ahead(function)


@lru_cache(16)
def _has_ahead(function: Callable[..., Any]) -> bool:
    return "ahead" in inspect.signature(function).parameters
