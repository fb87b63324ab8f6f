"""Docstrings as Sphinx reads them: their mathematics holds signs that are markup there."""

from __future__ import annotations

import re
from typing import Any


def escape(app: Any, kind: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Escape a docstring's lines, but for examples, Markdown tables and equations."""
    if lines[0].startswith("Alias for field number"):  # Python's own text for a named tuple
        lines[:] = []
    escaped, is_example, is_equation, was_table = [], False, False, False
    for line in lines:
        is_example = line.lstrip().startswith(">>>") or (is_example and bool(line.strip()))
        is_indented = line.startswith(" ") or not line
        is_equation = line.startswith(".. math::") or (is_equation and is_indented)
        is_table = line.lstrip().startswith("| ")
        if is_table and not was_table:
            escaped += ["::", ""]
        if was_table and not is_table:
            escaped.append("")
        is_text = not (is_example or is_equation or is_table)
        escaped.append(_escaped(line) if is_text else "    " * is_table + line)
        was_table = is_table
    lines[:] = escaped


def _escaped(line: str) -> str:
    """Return a line of text as reStructuredText that shows the same.

    >>> print(_escaped("q(z|x) of `*samples` and ``z_1``"))
    q(z\\|x) of ``*samples`` and ``z_1``
    """
    pieces = re.split(r"`+([^`]+)`+", line)  # texts, and code between them
    for place, piece in enumerate(pieces):
        is_code = place % 2 == 1
        pieces[place] = f"``{piece}``" if is_code else re.sub(r"([*|\\]|_\b)", r"\\\1", piece)
    return "".join(pieces)
