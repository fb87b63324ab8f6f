"""Rows of a table of scores, for pages (`metrics.html.j2`) and the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]
"""A score as `score.described` returns it."""

HEADS = ("metric", "value", "interval", "range", "convention")


def words(scores: Iterable[Json]) -> list[tuple[str, ...]]:
    """Write each score as a row of text under `HEADS`."""
    rows: list[tuple[str, ...]] = []
    for score in scores:
        value = decimal(score["value"])
        within = " to ".join(_ends(score["range"]))
        rows.append((score["name"], value, _interval(score), within, score["convention"]))
    return rows


def rows(scores: Iterable[Json]) -> list[dict[str, Any]]:
    """Write each score as its words, its parts that are numbers, and a bar if its range ends."""
    return [_row(score) for score in scores]


def _row(score: Json) -> dict[str, Any]:
    value, (low, high) = score["value"], score["range"]
    row: dict[str, Any] = {
        "name": score.get("name"),
        "convention": score.get("convention"),
        "asks": score.get("asks"),
        "notes": score.get("notes"),
        "value": decimal(value),
        "interval": _interval(score),
        "ends": _ends(score["range"]),
        "parts": {},
    }
    for name, part in score.get("parts", {}).items():
        if isinstance(part, float):
            row["parts"][name] = decimal(part)
    if None not in (value, low, high):
        first, last = score.get("interval") or (value, value)
        left, right, at = (100 * (end - low) / (high - low) for end in (first, last, value))
        row["bar"] = {
            "left": f"{left:.2f}%",
            "width": f"{right - left:.2f}%",
            "at": f"{at:.2f}%",
        }
    return row


def decimal(value: float | None) -> str:
    """Write a number with three decimals and a true minus sign, or a dash for None.

    >>> decimal(-0.25), decimal(None)
    ('−0.250', '–')
    """
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def _interval(score: Json) -> str:
    interval = score.get("interval") or ()
    return " to ".join(decimal(end) for end in interval)


def _ends(ends: Sequence[float | None]) -> tuple[str, str]:
    low, high = ends
    return _end(low, "−∞"), _end(high, "∞")


def _end(end: float | None, infinite: str) -> str:
    return infinite if end is None else f"{end:.4g}".replace("-", "−")
