"""Scores of metrics, as JSON, as the rows of a table, for pages (`metrics.html.j2`) and the
terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

HEADS = ("metric", "value", "interval", "range", "convention")


def words(scores: Iterable[Json]) -> list[tuple[str, ...]]:
    """A row of text for each score, under `HEADS`."""
    rows = ((s, _ends(s["range"])) for s in scores)
    return [
        (s["name"], decimal(s["value"]), _interval(s), " to ".join(ends), s["convention"])
        for s, ends in rows
    ]


def rows(scores: Iterable[Json]) -> list[dict[str, Any]]:
    """For each score its words, its parts that are numbers, and where it lies within its range, in
    percent.
    """
    return [_row(score) for score in scores]


def _row(score: Json) -> dict[str, Any]:
    value, (low, high) = score["value"], score["range"]
    row: dict[str, Any] = {
        name: score.get(name) for name in ("name", "convention", "asks", "notes")
    }
    row |= {"value": decimal(value), "interval": _interval(score), "ends": _ends(score["range"])}
    row["parts"] = {
        name: decimal(part)
        for name, part in score.get("parts", {}).items()
        if isinstance(part, float)
    }
    if None not in (value, low, high):
        ends = [
            100 * (end - low) / (high - low)
            for end in (*(score.get("interval") or (value, value)), value)
        ]
        row["bar"] = {
            "left": f"{ends[0]:.2f}%",
            "width": f"{ends[1] - ends[0]:.2f}%",
            "at": f"{ends[2]:.2f}%",
        }
    return row


def decimal(value: float | None) -> str:
    """
    >>> decimal(-0.25), decimal(None)
    ('−0.250', '–')
    """
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def _interval(score: Json) -> str:
    return " to ".join(map(decimal, score["interval"])) if score.get("interval") else ""


def _ends(ends: Sequence[float | None]) -> tuple[str, str]:
    low, high = (
        infinite if end is None else f"{end:.4g}".replace("-", "−")
        for end, infinite in zip(ends, ("−∞", "∞"), strict=True)
    )
    return low, high
