"""Work on the same arrays that several metrics need is done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_known: ContextVar[dict[Any, Any] | None] = ContextVar("known", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Let functions marked `once` remember, for as long as this context lasts.

    Arrays are known by which they are, not by what they hold: nobody may change them meanwhile.
    """
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function return what it returned before for the same arguments, within `sharing`.

    >>> @once
    ... def doubled(values):
    ...     return [2 * value for value in values]
    >>> ones = [1, 1]
    >>> with sharing():
    ...     doubled(ones) is doubled(ones), doubled(ones) is doubled([1, 1])
    (True, False)
    >>> doubled(ones) is doubled(ones)
    False
    """

    @wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
        known = _known.get()
        if known is None:
            return function(*args, **kwargs)
        key = (function, *map(_identity, args))
        key += tuple((name, _identity(value)) for name, value in sorted(kwargs.items()))
        if key not in known:
            # arguments are kept with the result, or others could get their identity
            known[key] = (function(*args, **kwargs), args, kwargs)
        result: T = known[key][0]
        return result

    return remembered


def _identity(value: Any) -> Any:
    plain = (bool, int, float, str, type(None))
    return value if isinstance(value, plain) else ("object", id(value))
