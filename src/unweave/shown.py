"""Names and values as people read them: lines of text, and a table in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Rows = Sequence[tuple[str, str]]


def as_text(title: str, rows: Rows) -> str:
    """Return a title, and names and values below one another.

    >>> print(as_text("Run", [("seed", "3"), ("epochs", "20")]))
    Run
    seed    3
    epochs  20
    """
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"{name:<{width}}  {value}" for name, value in rows)])


def as_html(title: str, rows: Rows) -> str:
    """Return the same as a table of HTML."""
    cell = '<td style="text-align:left">{}</td>'
    lines = []
    for row in rows:
        cells = "".join(cell.format(escape(text)) for text in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<b>{escape(title)}</b><table>{''.join(lines)}</table>"
