"""Objectives from text, for command lines and files: arithmetic on the terms and aliases, and
nothing else.

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

from . import conditioned as conditioning
from . import critic, literature, penalties, schedule
from .objective import Objective

_ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_PENALTIES = (
    "annealed_vae",
    "capacity",
    "covariances",
    "dip_vae_i",
    "dip_vae_ii",
    "mmd",
    "mmd_vae",
    "variances",
)

NAMES: dict[str, Any] = {
    **{
        name: getattr(literature, name)
        for name in ("recon", "label", "evidence", "mi", "kl", "tc", "elbo")
    },
    "vae": literature.elbo,
    "iwae": literature.evidence,
    **{
        name: getattr(literature, name)
        for name in ("beta_vae", "dip_vae", "info_vae", "corex", "bottleneck", "tc_vae", "hfvae")
    },
    **{name: getattr(penalties, name) for name in _PENALTIES},
    "conditioned": conditioning.conditioned,
    "factor_vae": critic.factor_vae,
    "critic_tc": critic.critic_tc,
    "ramp": schedule.ramp,
}
"""What a formula may name."""


def formula(text: str) -> Objective:
    """The objective that `text` writes in Python's own notation: + − * / and the names in `NAMES`,
    `.of(…)`, `[…]`.

    Errors: ValueError for anything else, and for a formula that is no objective; it runs no code of
    its own.
    """
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"objective {text!r}: {error}") from None
    if not isinstance(value, Objective):
        what = "a function: call it, as in hfvae(1, 12, 4)" if callable(value) else repr(value)
        raise ValueError(
            f"objective {text!r} is {what}; expected terms, such as recon - mi - 6*tc[0] - kl[-1]"
        )
    return value


def _value(node: ast.AST, text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return node.value
    if isinstance(node, ast.Tuple):
        return tuple(_value(part, text) for part in node.elts)
    if isinstance(node, ast.Name):
        if node.id not in NAMES:
            raise ValueError(
                f"objective {text!r} names {node.id!r}; expected one of: {', '.join(NAMES)}"
            )
        return NAMES[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.left, text), _value(node.right, text))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.operand, text))
    if isinstance(node, ast.Call) and not any(word.arg is None for word in node.keywords):
        words = {word.arg: _value(word.value, text) for word in node.keywords if word.arg}
        return _called(node.func, text)(*(_value(arg, text) for arg in node.args), **words)
    if isinstance(node, ast.Subscript):
        return _value(node.value, text)[_value(node.slice, text)]
    if isinstance(node, ast.Slice):
        return slice(*(part and _value(part, text) for part in (node.lower, node.upper, node.step)))
    raise ValueError(f"objective {text!r}: {ast.unparse(node)!r} is no arithmetic on terms")


def _called(node: ast.AST, text: str) -> Callable[..., Any]:
    """A function among the names, or the method `of` of an objective."""
    if isinstance(node, ast.Attribute) and node.attr == "of":
        form = _value(node.value, text)
        if isinstance(form, Objective):
            return form.of
    function: Callable[..., Any] | None = _value(node, text) if isinstance(node, ast.Name) else None
    if not callable(function) or isinstance(function, Objective):
        raise ValueError(f"objective {text!r}: {ast.unparse(node)!r} cannot be called")
    return function
