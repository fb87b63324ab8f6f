"""Findings as a page shows them: numbers as tiles, everything else as a section, drawn by
`findings.html.j2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import plots
from ..runs.findings import Film, Finding, Lines, Number, Picture, Scatter, Table
from .page import ACCENT, Chart, axes, film, integer, number, png

WIDE = 940
"""CSS pixels that a page has room for."""

SMALLEST = 24
"""Pixels of an image; smaller ones are enlarged, so that gaps between images are thin."""


def tiles(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The numbers among findings: name, value, standard error, and what it is in."""
    shown = []
    for found in findings:
        if isinstance(found, Number):
            value, _, error = number(found.value, found.error).partition(" ± ")
            percent = "%" if found.unit.startswith("%") else ""
            note = found.unit.removeprefix("%").removeprefix(", ")
            shown.append(
                {"name": found.title, "value": value + percent, "error": error, "note": note}
            )
    return shown


def exhibits(findings: Sequence[Finding], chart: Chart) -> list[dict[str, Any]]:
    """A section for each finding that is no number: its id, title, note, kind, and what its kind is
    drawn from.
    """
    drawn: list[dict[str, Any]] = []
    for found in findings:
        match found:
            case Table():
                parts = _table(found)
            case Picture() | Film():
                parts = _images(found)
            case Scatter():
                parts = _scatter(found, chart)
            case Lines():
                parts = _lines(found, chart)
            case Number():
                continue
        about = {"id": f"finding-{len(drawn) + 1}", "title": found.title, "note": found.note}
        drawn.append({**about, "kind": type(found).__name__, **parts})
    return drawn


# -- tables ----------------------------------------------------------------------------------------


def _table(table: Table) -> dict[str, Any]:
    columns = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    numeric = [i > 0 and all(map(_reads_as_number, column)) for i, column in enumerate(columns)]
    return {
        "heads": list(zip(table.columns, numeric, strict=True)),
        "rows": [_cells(row, numeric) for row in table.rows],
    }


def _cells(row: Sequence[Any], numeric: Sequence[bool]) -> list[tuple[str, bool]]:
    return [(_cell(value), right) for value, right in zip(row, numeric, strict=True)]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str | bool):
        return str(value)
    return integer(value) if isinstance(value, int) else number(value)


def _reads_as_number(value: Any) -> bool:
    return (
        not isinstance(value, str) or not value or bool(re.match(r"[≈~<>≤≥]?\s?[-−–+±.\d]", value))
    )


# -- images ----------------------------------------------------------------------------------------


def _images(found: Picture | Film) -> dict[str, Any]:
    """The grid of images as one raster without text, and how wide it is shown, in whole multiples
    of its pixels.
    """
    frames = (
        np.asarray(found.images)[None] if isinstance(found, Picture) else np.asarray(found.images)
    )
    frames = (
        frames if frames.ndim == 6 else frames[..., None]
    )  # (time, rows, columns, h, w, 1 or 3)
    columns, height, width = frames.shape[2:5]
    times = -(-SMALLEST // min(height, width))
    frames = frames.repeat(times, 3).repeat(times, 4)
    pictures = [plots.image_grid(frame.reshape(-1, *frame.shape[2:]), columns) for frame in frames]
    image = png(pictures[0])
    room = WIDE - min(7 * max(map(len, found.rows), default=-2) + 14, 220)
    aim = min(160.0, max(56.0, room / columns))  # of one image
    scale = max(1, min(round(aim / (width * times)), int(room / image["width"])))
    moving = film(pictures, found.rate) if isinstance(found, Film) and len(pictures) > 1 else None
    return {
        "image": moving or image,
        "still": image if moving else None,
        "shown": image["width"] * scale,
        "smooth": image["width"] > room,
        "ink": is_ink(frames),
        "names": list(found.rows),
        "columns": list(found.columns),
        "alt": f"{found.title}: {frames.shape[1]} by {columns} images"
        + (f", {len(frames)} frames" if moving else ""),
    }


def is_ink(images: np.ndarray | None) -> bool:
    """Whether images (…, h, w, 1 or 3) are strokes on an empty ground, which a light page shows as
    ink on paper.

    Floats in [0, 1] or bytes; NaN is left out.
    """
    if images is None or images.shape[-1] == 3:
        return False
    edges = np.concatenate([images[..., [0, -1], :, 0].ravel(), images[..., :, [0, -1], 0].ravel()])
    edges = edges[~np.isnan(edges)] / (255 if edges.dtype == np.uint8 else 1)
    return bool(len(edges) and np.median(edges) < 0.01)


# -- charts ----------------------------------------------------------------------------------------


def _scatter(found: Scatter, chart: Chart) -> dict[str, Any]:
    n = max(len(found.panels), 1)
    columns = min(n, 3)
    rows = -(-n // columns)
    side = {1: 560, 2: 460, 3: 310}[columns]
    figure = Figure(figsize=(columns * side / 72, rows * (side + 24) / 72), layout="constrained")
    axs = list(figure.subplots(rows, columns, squeeze=False).ravel())
    labels = np.asarray(found.labels).astype(int)
    ax = plots.scatters(found.panels, labels, axs)
    held = [int(c) for c in np.unique(labels) if c >= 0]
    colors = plots.class_colors(max([*held, 0]) + 1)
    names = {c: found.classes[c] if c < len(found.classes) else str(c) for c in held}
    legend = [(names[c], colors[c]) for c in held] if len(held) > 1 else []
    if legend and (labels < 0).any():
        legend.append(("without class", plots.GROUP_COLORS[-1]))
    return {
        "svg": chart(ax, f"{found.title}: {len(labels)} points in {n} panels"),
        "legend": legend,
    }


def _lines(found: Lines, chart: Chart) -> dict[str, Any]:
    ax = axes(620, 300)
    plots.lines(found.x, found.curves, ax=ax)
    alone = len(found.curves) == 1
    ax.set(xlabel=found.xlabel, ylabel=found.ylabel or (next(iter(found.curves)) if alone else ""))
    colors = [c.replace(plots.GROUP_COLORS[0], ACCENT) for c in plots.METHOD_COLORS]
    legend = [(name, colors[i % len(colors)]) for i, name in enumerate(found.curves)]
    return {"svg": chart(ax, _last_values(found)), "legend": [] if alone else legend}


def _last_values(found: Lines) -> str:
    """What a reader hears who does not see the curves."""
    ends: Mapping[str, Any] = {
        name: next((v for v in np.asarray(values, dtype=np.float64)[::-1] if np.isfinite(v)), None)
        for name, values in found.curves.items()
    }
    return f"{found.title}; at the end " + ", ".join(
        f"{name} {number(value)}" for name, value in ends.items()
    )
