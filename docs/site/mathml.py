"""Formulas as MathML, which browsers draw themselves: a page asks nothing of the network."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx draw formulas so."""
    inline, block = (_inline, None), (_block, None)
    app.add_html_math_renderer("mathml", inline_renderers=inline, block_renderers=block)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mathml(formula: str, display: str = "inline") -> str:
    """Return a formula of LaTeX as MathML; commands that the converter does not know stay as text.

    >>> mathml("x_1").count("<msub>"), mathml(r"\\arg\\min x").count("arg")
    (1, 1)
    """
    known = re.sub(r"\\arg\b", r"\\operatorname{arg}", formula)
    return convert(known, display=display)


def _inline(writer: Any, node: nodes.Element) -> NoReturn:
    _write(writer, node, "inline")


def _block(writer: Any, node: nodes.Element) -> NoReturn:
    _write(writer, node, "block")


def _write(writer: Any, node: nodes.Element, display: str) -> NoReturn:
    """Write a formula, and warn of commands that are left in it."""
    made = mathml(node.astext(), display)
    for command in re.findall(r"\\[A-Za-z]+", made):
        logger.warning("%s has no MathML in: %s", command, node.astext(), location=node)
    writer.body.append(made)
    raise nodes.SkipNode
