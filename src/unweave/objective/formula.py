"""Objectives from text, for command lines and files: arithmetic on terms and aliases alone.

>>> from unweave import hfvae
>>> formula("hfvae(beta=12, gamma=4)") == hfvae(beta=12, gamma=4)
True
>>> print(formula("recon - mi - 6*tc[0] - kl[-1]").circled())
① + ② + ③ + 6Ⓐ + ⓘⓘ
>>> print(formula("elbo + ramp(3, 0, last=5000) * mi.of('y')").at(5000))
log p(x|z) - log q(z|x) + log p(z)
"""

from __future__ import annotations

import ast
import inspect
import operator
import typing
import warnings
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, Literal

from . import literature, penalties
from .conditioned import conditioned
from .critic import critic_tc, factor_vae
from .objective import Objective
from .schedule import Ramp, ramp

LONGEST = 1000
"""Characters of a formula at most."""

DEEPEST = 64
"""Levels of a formula at most; each further term of a sum is one."""

LARGEST = 1e15
"""The largest number of a formula, and of what its arithmetic gives: float64 holds it exactly."""

_ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_TERMS = "recon label evidence mi kl tc elbo"
_LITERATURE = "beta_vae dip_vae info_vae corex bottleneck tc_vae hfvae"
_PENALTIES = "annealed_vae capacity covariances dip_vae_i dip_vae_ii mmd mmd_vae variances"

NAMES: dict[str, Any] = {
    **{name: getattr(literature, name) for name in _TERMS.split()},
    "vae": literature.elbo,
    "iwae": literature.evidence,
    **{name: getattr(literature, name) for name in _LITERATURE.split()},
    **{name: getattr(penalties, name) for name in _PENALTIES.split()},
    "conditioned": conditioned,
    "factor_vae": factor_vae,
    "critic_tc": critic_tc,
    "ramp": ramp,
}
"""The names that a formula may use."""


def formula(text: str) -> Objective:
    """Return the objective that `text` writes in Python's own notation.

    Args:
        text: Terms with + − * /, the names in `NAMES`, `.of(…)` and `[…]`. No code of its own runs.

    Raises:
        ValueError: There is anything else, the formula is longer, deeper or has larger numbers than
            `LONGEST`, `DEEPEST` and `LARGEST` allow, or it is no objective.
    """
    tree = _parsed(text)
    try:
        value = _value(tree, text)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"objective {text!r}: {error}") from None
    if not isinstance(value, Objective):
        kind = "a function: call it, as in hfvae(1, 12, 4)" if callable(value) else repr(value)
        raise ValueError(
            f"objective {text!r} is {kind}; expected terms, such as recon - mi - 6*tc[0] - kl[-1]"
        )
    return value


def _parsed(text: str) -> ast.expr:
    """Return the syntax tree of a formula whose length and depth are within bounds."""
    if len(text) > LONGEST:
        raise ValueError(
            f"objective '{text[:40]}…' has {len(text):,} characters; expected at most {LONGEST:,}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of text that only Python's own programs would mean
            tree = ast.parse(text.strip(), mode="eval").body
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"objective {text!r}: {error}") from None
    except (RecursionError, MemoryError):
        raise _too_deep(text) from None
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise _too_deep(text)


def _too_deep(text: str) -> ValueError:
    return ValueError(
        f"objective '{text[:40]}…' nests more than {DEEPEST} levels; expected fewer, where each "
        "term of a sum is a level"
    )


def _value(node: ast.AST | None, text: str) -> Any:
    """Evaluate a part of a formula."""
    match node:
        case None:  # a slice's end that is left out
            return None
        case ast.Constant(value=int() | float() | str() as value):
            return _bounded(value, text)
        case ast.Tuple(elts=parts):
            return tuple(_value(part, text) for part in parts)
        case ast.Name(id=name):
            return _named(name, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            operands = (_operand(left, text), _operand(right, text))
            return _bounded(_ARITHMETIC[type(op)](*operands), text)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_operand(operand, text))
        case ast.Call(func=func, args=args, keywords=words) if all(word.arg for word in words):
            named = {str(word.arg): _value(word.value, text) for word in words}
            function = _called(func, text)
            given = [_value(arg, text) for arg in args]
            _check_arguments(function, given, named, text)
            return function(*given, **named)
        case ast.Subscript(value=levels, slice=level):
            return _at_level(levels, level, text)
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(_value(end, text) for end in (lower, upper, step)))
        case _:
            written = ast.unparse(node)
            raise ValueError(f"objective {text!r}: {written!r} is no arithmetic on terms")


def _operand(node: ast.AST, text: str) -> Any:
    """Return what arithmetic is done on: a number, a schedule or terms."""
    value = _value(node, text)
    if isinstance(value, bool) or not isinstance(value, int | float | Ramp | Objective):
        hint = ": call it" if callable(value) else ""
        raise ValueError(
            f"objective {text!r} adds or scales {ast.unparse(node)!r}{hint}; expected numbers, "
            "schedules and terms"
        )
    return value


def _bounded(value: Any, text: str) -> Any:
    """Refuse numbers beyond the largest, which further arithmetic may make infinite."""
    match value:
        case int() | float():
            numbers = [value]
        case Objective(coefficients=table):
            numbers = [c for c in table.values() if not isinstance(c, Ramp)]
        case Ramp(knots=knots):
            numbers = [number for _, number in knots]
        case _:
            numbers = []
    if any(abs(number) > LARGEST for number in numbers):
        raise ValueError(
            f"objective {text!r} has a number beyond ±{LARGEST:g}: weights and schedules are far "
            "smaller"
        )
    return value


def _at_level(node: ast.AST, level: ast.AST, text: str) -> Objective:
    """Return a term's level, or the sum of a slice of levels."""
    levels, index = _value(node, text), _value(level, text)
    if not isinstance(levels, literature.LevelsOfKL | literature.LevelsOfTC):
        written = ast.unparse(node)
        raise ValueError(f"objective {text!r}: {written!r} has no levels; kl and tc have")
    ends = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
    if not all(end is None or _fits(end, int) for end in ends):
        written = ast.unparse(level)
        raise ValueError(
            f"objective {text!r}: {written!r} is no level; expected whole numbers, as in tc[0], "
            "tc[1:] or kl[-1]"
        )
    return levels[index]


def _named(name: str, text: str) -> Any:
    if name not in NAMES:
        names = ", ".join(NAMES)
        raise ValueError(f"objective {text!r} names {name!r}; expected one of: {names}")
    return NAMES[name]


def _called(node: ast.AST, text: str) -> Callable[..., Any]:
    """Return a function among the names, or the method `of` of an objective."""
    if isinstance(node, ast.Attribute) and node.attr == "of":
        form = _value(node.value, text)
        if isinstance(form, Objective):
            return form.of
    function = _value(node, text) if isinstance(node, ast.Name) else None
    if not callable(function) or isinstance(function, Objective):
        written = ast.unparse(node)
        raise ValueError(f"objective {text!r}: {written!r} cannot be called")
    called: Callable[..., Any] = function
    return called


# -- arguments of the names that are functions -----------------------------------------------------


def _check_arguments(
    function: Callable[..., Any], given: Sequence[Any], named: dict[str, Any], text: str
) -> None:
    """Refuse arguments that are not of the types that a function is annotated with."""
    signature, hints = inspect.signature(function), typing.get_type_hints(function)
    try:
        arguments = signature.bind(*given, **named).arguments
    except TypeError:  # the call says which argument is missing or too many
        return
    for name, value in arguments.items():
        are_several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        for one in value if are_several else (value,):
            if not _fits(one, hints[name]):
                raise ValueError(
                    f"objective {text!r}: {name} of {function.__name__} is {_shown(one)}; "
                    f"expected {_in_words(hints[name])}"
                )


def _fits(value: Any, hint: Any) -> bool:
    """True if a value is of an annotated type; whole numbers are floats, and a truth is neither."""
    parts = typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind in (UnionType, typing.Union):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return value in parts
    if kind in (tuple, Sequence):
        are_as_many = kind is Sequence or parts[-1] is ... or len(parts) == len(value)
        return isinstance(value, tuple) and are_as_many and all(_fits(v, parts[0]) for v in value)
    allowed = int | float if kind is float else kind
    return isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)


def _shown(value: Any) -> str:
    return repr(str(value)) if isinstance(value, Objective | Ramp) else repr(value)


def _in_words(hint: Any) -> str:
    """Say which values a type has."""
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    words |= {Ramp: "a schedule", Objective: "terms", type(None): "nothing"}
    parts = typing.get_args(hint)
    kind = typing.get_origin(hint) or hint
    if kind in (UnionType, typing.Union):
        return " or ".join(_in_words(part) for part in parts)
    if kind is Literal:
        return ", ".join(map(repr, parts))
    if kind in (tuple, Sequence):
        return f"({_in_words(parts[0])}, …) in brackets"
    return words.get(kind, f"a {kind.__name__}")
