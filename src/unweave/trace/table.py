"""A trace as people read it: a table with a row for each site."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .node import Node

TITLES = ("site", "role", "distribution", "value")


def table(nodes: Mapping[str, Node]) -> str:
    """Return sites as lines of aligned columns."""
    rows = [TITLES]
    for name, node in nodes.items():
        rows.append((name, *_described(node)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join(cells)
        lines.append(line.rstrip())
    return "\n".join(lines)


def _described(node: Node) -> tuple[str, str, str]:
    """Return a site's role, its distribution and its value's shape, in words."""
    role: str = node.role
    if role == "observed" and isinstance(node.observed, Tensor):
        role = "observed in part"
    law = "-"
    if node.dist is not None:
        law = type(node.dist).__name__
    elif node.score is not None:
        law = "score"
    shape = tuple(node.value.shape)
    return role, law, str(shape)
