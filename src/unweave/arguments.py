"""Types of arguments with their limits, and the refusal of whatever has no place there."""

from __future__ import annotations

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

Whole = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
"""A number of things that may be none."""

Size = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
"""A number of things, at least one."""

Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""A seed of NumPy and of torch."""

Weight = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""A number that may be 0."""

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
"""A number above 0, such as a scale or a temperature."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A part of a whole, or a probability."""


def check(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that are not of the types and within the limits of a function's signature.

    Raises:
        ValueError: If one is not.

    >>> def encoder(hidden: Size, dropout: Share = 0.5): ...
    >>> check(encoder, {"hidden": 0})
    Traceback (most recent call last):
    ValueError: encoder(hidden=0): expected int >= 1
    """
    hints = types(function)
    for name, value in arguments.items():
        try:
            converted(value, hints.get(name, Any))
        except ValueError as error:
            given = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}…"
            raise ValueError(f"{function.__name__}({name}={given}): {error}") from None


@functools.cache
def types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of a function's parameters; a name that only type checkers know is any."""
    unknown = {"Recipe": Any, "Model": Any}
    hints = typing.get_type_hints(function, localns=unknown, include_extras=True)
    return {name: hints[name] for name in inspect.signature(function).parameters if name in hints}


def bound(signature: inspect.Signature, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """Return arguments in their places, with defaults, and numbers of NumPy as those of Python.

    Raises:
        TypeError: If one is unknown or missing.
    """
    found = signature.bind(*args, **kwargs)
    found.apply_defaults()
    for name, value in found.arguments.items():
        if isinstance(value, np.generic):
            found.arguments[name] = value.item()
    return found


def converted(value: Any, hint: Any) -> Any:
    """Return a value as a type has it: whole numbers as floats where those are expected.

    Raises:
        ValueError: If it is of another type, or beyond the limits.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a finite number")
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        choices = _choices(hint)
        if choices:
            raise ValueError(f"expected one of {', '.join(map(str, choices))}") from None
        reason = str(error).replace("`", "").replace("null", "None")
        raise ValueError(f"{reason[:1].lower()}{reason[1:]}") from None


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the words of a type that is one of several, or None."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _choices(parts[0])
    if type(None) in parts:
        words = [part for part in parts if part is not type(None)]
        found = _choices(words[0]) if len(words) == 1 else ()
        return (*found, None) if found else ()
    return parts if origin is typing.Literal else ()
