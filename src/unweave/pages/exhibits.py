"""Findings as a page shows them: numbers as tiles, everything else as a section.

The sections are drawn by `findings.html.j2`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from .. import plots
from ..runs.findings import Array, Film, Finding, Lines, Number, Picture, Scatter, Table, Words
from .page import Chart, accented, axes, figure, film, integer, number, png

WIDE = 940
"""CSS pixels that a page has room for."""

SMALLEST = 24
"""Pixels of an image; smaller ones are enlarged, so that gaps between images are thin."""

SIDES = {1: 560, 2: 460, 3: 310}
"""CSS pixels of a panel's side, by how many stand in a row."""


def tiles(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Return the numbers among findings: name, value, standard error and unit."""
    shown = []
    for found in findings:
        if isinstance(found, Number):
            is_count = isinstance(found.value, int)
            text = integer(found.value) if is_count else number(found.value, found.error)
            value, _, error = text.partition(" ± ")
            if found.unit.startswith("%"):
                value += "%"
            note = found.unit.removeprefix("%").removeprefix(", ")
            shown.append({"name": found.title, "value": value, "error": error, "note": note})
    return shown


def exhibits(findings: Sequence[Finding], chart: Chart) -> list[dict[str, Any]]:
    """Return a section for each finding that is no number.

    A section is its id, title, note and kind, with everything that its kind is drawn from.
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
            case Words():
                parts = _words(found)
            case Number():
                continue
        about = {"id": f"finding-{len(drawn) + 1}", "title": found.title, "note": found.note}
        drawn.append({**about, "kind": type(found).__name__, **parts})
    return drawn


# -- tables ----------------------------------------------------------------------------------------


def _table(table: Table) -> dict[str, Any]:
    """Return heads and cells as text, each with whether it stands to the right, as numbers do."""
    columns = range(len(table.columns))
    is_right = [column > 0 and _is_numeric(table, column) for column in columns]
    heads = list(zip(table.columns, is_right, strict=True))
    rows = []
    for row in table.rows:
        cells = map(_cell, row)
        rows.append(list(zip(cells, is_right, strict=True)))
    return {"heads": heads, "rows": rows}


def _is_numeric(table: Table, column: int) -> bool:
    return all(_reads_as_number(row[column]) for row in table.rows)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str | bool):
        return str(value)
    return integer(value) if isinstance(value, int) else number(value)


def _reads_as_number(value: Any) -> bool:
    if not isinstance(value, str) or not value:
        return True
    return re.match(r"[≈~<>≤≥]?\s?[-−–+±.\d]", value) is not None


# -- words ---------------------------------------------------------------------------------------


def _words(found: Words) -> dict[str, Any]:
    """Return lines of words, each with its size in em, the name of the line and what is known."""
    about = found.about or [""] * len(found.names)
    lines = []
    for name, words, weights, known in zip(
        found.names, found.words, found.weights, about, strict=True
    ):
        sizes = [f"{0.7 + 0.9 * math.sqrt(max(0.0, weight)):.2f}" for weight in weights]
        lines.append((name, list(zip(words, sizes, strict=True)), known))
    return {"lines": lines}


# -- images ----------------------------------------------------------------------------------------


def _images(found: Picture | Film) -> dict[str, Any]:
    """Return the grid of images as one raster without text, and the width that it is shown at."""
    frames = np.asarray(found.images)
    if isinstance(found, Picture):
        frames = frames[None]
    if frames.ndim == 5:
        frames = frames[..., None]
    # (time, rows, columns, h, w, 1 or 3)
    rows, columns, height, width = frames.shape[1:5]
    times = math.ceil(SMALLEST / min(height, width))
    frames = frames.repeat(times, 3).repeat(times, 4)
    pictures = []
    for frame in frames:
        images = frame.reshape(-1, *frame.shape[2:])  # (rows * columns, h, w, 1 or 3)
        pictures.append(plots.image_grid(images, columns))
    still = png(pictures[0])
    moving = None
    if isinstance(found, Film) and len(pictures) > 1:
        moving = film(pictures, found.rate)
    length = f", {len(frames)} frames" if moving else ""
    return {
        "image": moving or still,
        "still": still if moving else None,
        **_width(still["width"], width * times, columns, found.rows),
        "ink": is_ink(frames),
        "names": list(found.rows),
        "columns": list(found.columns),
        "alt": f"{found.title}: {rows} by {columns} images{length}",
    }


def _width(pixels: int, of_one: int, columns: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the width at which a raster is shown, in whole multiples of its pixels if it fits.

    Args:
        pixels: The raster's width.
        of_one: The width of one of its images.
        columns: The number of images in a row.
        names: The names of rows, which stand beside the raster.
    """
    longest = max(map(len, names), default=-2)
    beside = min(7 * longest + 14, 220)
    room = WIDE - beside
    aim = max(56.0, room / columns)  # the width of one image
    aim = min(160.0, aim)
    wanted = round(aim / of_one)
    possible = int(room / pixels)
    scale = max(1, min(wanted, possible))
    return {"shown": pixels * scale, "smooth": pixels > room}


def is_ink(images: Array | None) -> bool:
    """Return true if images (…, h, w, 1 or 3) are strokes on an empty ground.

    A light page shows those as ink on paper. Images are floats in [0, 1] or bytes; NaN is left out.
    Vectors are no images.
    """
    if images is None or images.ndim < 3 or images.shape[-1] == 3:
        return False
    ends = [0, -1]
    grey = images[..., 0]  # (…, h, w)
    across = grey[..., ends, :]
    down = grey[..., ends]
    edges = np.concatenate([across.ravel(), down.ravel()])
    edges = edges[~np.isnan(edges)]
    if not len(edges):
        return False
    white = 255 if edges.dtype == np.uint8 else 1
    return bool(np.median(edges) / white < 0.01)


# -- charts ----------------------------------------------------------------------------------------


def _scatter(found: Scatter, chart: Chart) -> dict[str, Any]:
    n = max(len(found.panels), 1)
    columns = min(n, 3)
    rows = math.ceil(n / columns)
    side = SIDES[columns]
    grid = figure(columns * side, rows * (side + 24))
    panels = grid.subplots(rows, columns, squeeze=False)
    labels = np.asarray(found.labels).astype(int)
    ax = plots.scatters(found.panels, labels, list(panels.ravel()))
    svg = chart(ax, f"{found.title}: {len(labels)} points in {n} panels")
    return {"svg": svg, "legend": _classes(labels, found.classes)}


def _classes(labels: Array, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and colour of each class, nothing if there is one class alone."""
    held = [int(c) for c in np.unique(labels) if c >= 0]
    if len(held) < 2:
        return []
    colors = plots.class_colors(max(held) + 1)
    legend = []
    for c in held:
        name = names[c] if c < len(names) else str(c)
        legend.append((name, colors[c]))
    if (labels < 0).any():
        legend.append(("without class", plots.GROUP_COLORS[-1]))
    return legend


def _lines(found: Lines, chart: Chart) -> dict[str, Any]:
    ax = axes(620, 300)
    plots.lines(found.x, found.curves, ax=ax)
    names = list(found.curves)
    is_alone = len(names) == 1
    ylabel = names[0] if is_alone else ""
    ax.set(xlabel=found.xlabel, ylabel=found.ylabel or ylabel)
    colors = cycle(map(accented, plots.METHOD_COLORS))
    legend = [] if is_alone else list(zip(names, colors, strict=False))
    return {"svg": chart(ax, _last_values(found)), "legend": legend}


def _last_values(found: Lines) -> str:
    """Return the curves' last numbers, for a reader who does not see them."""
    ends = []
    for name, values in found.curves.items():
        numbers = np.asarray(values, dtype=np.float64)
        numbers = numbers[np.isfinite(numbers)]
        last = numbers[-1] if len(numbers) else None
        ends.append(f"{name} {number(last)}")
    return f"{found.title}; at the end " + ", ".join(ends)
