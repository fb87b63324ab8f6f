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
import operator
from collections.abc import Callable
from typing import Any

from . import literature, penalties
from .conditioned import conditioned
from .critic import critic_tc, factor_vae
from .objective import Objective
from .schedule import ramp

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
        ValueError: There is anything else, or the formula is no objective.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = _value(tree.body, text)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"objective {text!r}: {error}") from None
    if not isinstance(value, Objective):
        kind = "a function: call it, as in hfvae(1, 12, 4)" if callable(value) else repr(value)
        raise ValueError(
            f"objective {text!r} is {kind}; expected terms, such as recon - mi - 6*tc[0] - kl[-1]"
        )
    return value


def _value(node: ast.AST | None, text: str) -> Any:
    """Evaluate a part of a formula."""
    match node:
        case None:  # a slice's end that is left out
            return None
        case ast.Constant(value=int() | float() | str() as value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(_value(part, text) for part in parts)
        case ast.Name(id=name):
            return _named(name, text)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(left, text), _value(right, text))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(operand, text))
        case ast.Call(func=func, args=args, keywords=words) if all(word.arg for word in words):
            named = {str(word.arg): _value(word.value, text) for word in words}
            function = _called(func, text)
            return function(*(_value(arg, text) for arg in args), **named)
        case ast.Subscript(value=levels, slice=level):
            return _value(levels, text)[_value(level, text)]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(_value(lower, text), _value(upper, text), _value(step, text))
        case _:
            written = ast.unparse(node)
            raise ValueError(f"objective {text!r}: {written!r} is no arithmetic on terms")


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
