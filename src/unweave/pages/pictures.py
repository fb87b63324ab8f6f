"""Pictures of runs for pages and slides: units, codes, ablations, and recipes' own pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plots
from ..runs import arrays as run_arrays
from ..runs import config as run_config
from ..runs import scores as run_scores
from ..runs.arrays import Arrays
from ..runs.files import replacing
from ..runs.findings import Array, Film, Lines, Picture, unpacked
from ..runs.scores import Scores
from .exhibits import is_ink


def units(run: str | Path, out: str | Path, most: int = 6, rows: int = 3) -> Path:
    """Draw the traversals of the `most` informative units of a run, `rows` starting items each."""
    arrays = run_arrays.read(run)
    information = run_scores.read(run).information
    ranked = sorted(information, key=lambda unit: -information[unit].value)[:most]
    lines = math.ceil(len(ranked) / 2)
    height = 1.35 * rows / 3 * lines + 0.1
    figure = _figure(9.6, height)
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for ax in panels:
        ax.set_axis_off()
    for ax, unit in zip(panels, ranked, strict=False):
        strips = arrays.traversal[unit][:rows]
        picture = plots.traversal(1 - strips)
        plots.show(picture, ax)
        nats = information[unit].value
        title = f"{unit}   I(x;{unit}) = {nats:.2f} nats"
        ax.set_title(title, fontsize=9, loc="left", pad=3)
    return _save(figure, out)


def codes(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the test items' codes of several runs in one row, coloured by label.

    Each panel has a scale of its own.
    """
    figure = _figure(4.4 * len(runs), 4.6)
    panels = figure.subplots(1, len(runs), squeeze=False)
    for ax, run in zip(panels[0], runs, strict=True):
        config = run_config.read(run)
        arrays = run_arrays.read(run)
        _scatter(run_scores.read(run), arrays, arrays.axis_names, ax)
        model = config.get("model") or {}
        latents = model.get("normals")
        title = f"{config['recipe']}, {latents} latents: {arrays.embedding_kind}"
        ax.set_title(title, fontsize=10)
    return _save(figure, out)


def _scatter(scores: Scores, arrays: Arrays, names: Sequence[str] | None, ax: Axes) -> None:
    points = _needed(arrays.embedding, "embedding")
    plots.scatter(points, arrays.embedding_labels, scores.class_names, names, ax)


def _needed(array: Array | None, name: str) -> Array:
    """Return an array that a picture cannot do without.

    Raises:
        KeyError: If the run does not have it.
    """
    if array is None:
        raise KeyError(f"{name} is not in the run's {run_arrays.FILE}")
    return array


def ablation(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw runs of the ablation recipe, one a row: codes, items and draws of the prior.

    Codes stand beside the prior's two standard deviations.
    """
    figure = _figure(11, 2.5 * len(runs))
    panels = figure.subplots(len(runs), 3, squeeze=False, width_ratios=(1.0, 1.9, 1.9))
    for (left, middle, right), run in zip(panels, runs, strict=True):
        config = run_config.read(run)
        scores = run_scores.read(run)
        arrays = run_arrays.read(run)
        _ablated_codes(config, scores, arrays, left)
        _ablated_items(scores, arrays, middle)
        _ablated_draws(scores, arrays, right)
    return _save(figure, out)


def _ablated_codes(config: dict[str, Any], scores: Scores, arrays: Arrays, ax: Axes) -> None:
    _scatter(scores, arrays, None, ax)
    angle = np.linspace(0, 2 * np.pi, 100)
    across, up = 2 * np.cos(angle), 2 * np.sin(angle)
    ax.plot(across, up, color="black", lw=0.8)
    title = "the ELBO"
    drop = config["flags"].get("drop", "none")
    if drop != "none":
        sign = "①②③④"[int(drop) - 1]
        title = f"without {sign}"
    ax.set_title(title, loc="left", weight="bold")


def _ablated_items(scores: Scores, arrays: Arrays, ax: Axes) -> None:
    x = _needed(arrays.x, "x")
    reconstruction = _needed(arrays.reconstruction, "reconstruction")
    picture = plots.reconstructions(1 - x[:10], 1 - reconstruction[:10], columns=10)
    plots.show(picture, ax)
    recon = scores.test["recon"].value
    evidence = scores.test["evidence"].value
    information = scores.terms["mi"].exact
    density = f"log p(x|z) {recon:.1f}   log p(x) {evidence:.1f}"
    ax.set_title(f"{density}   I(x;z) {information:.2f}", fontsize=9)


def _ablated_draws(scores: Scores, arrays: Arrays, ax: Axes) -> None:
    draws = _needed(arrays.prior_samples, "prior_samples")[:20]
    plots.show(plots.image_grid(1 - draws, columns=10), ax)
    outside = 0.0
    for term, found in scores.terms.items():
        if term.startswith(("tc", "kl")):
            outside += found.exact or 0.0
    ax.set_title(f"draws of the prior   KL(q(z) ‖ p(z)) {outside:.2f}", fontsize=9)


def findings(runs: Sequence[str | Path], out: str | Path, steps: int = 10) -> Path:
    """Draw the pictures that a recipe makes of its own runs, one under another.

    Several runs stand side by side. A film is drawn as its first column over time.

    Raises:
        ValueError: If a run has none.
    """
    shown = [_own(run, steps) for run in runs]
    grids = [[_grid(picture.images) for picture in own] for own in shown]
    width = 7.2 if len(runs) == 1 else 3.6
    heights = [width * _slope(grid) for grid in max(grids, key=len)]
    titles = 0.62 * len(heights)
    figure = _figure((width + 1.8) * len(runs), sum(heights) + titles)
    panels = figure.subplots(len(heights), len(runs), squeeze=False, height_ratios=heights)
    for ax in panels.ravel():
        ax.set_axis_off()
    for column, run in enumerate(runs):
        beside = "" if len(runs) == 1 else f", {Path(run).name}"
        for ax, picture, grid in zip(panels[:, column], shown[column], grids[column], strict=False):
            ax.set_axis_on()
            _show_named(picture, grid, f"{picture.title}{beside}", ax)
    return _save(figure, out)


def _own(run: str | Path, steps: int) -> list[Picture]:
    """Return the pictures that a recipe made of its run.

    Raises:
        ValueError: If there are none.
    """
    described = run_scores.read(run).findings or ()
    arrays = run_arrays.flat(run_arrays.read(run))
    shown = []
    for found in unpacked(described, arrays):
        if isinstance(found, Picture):
            shown.append(found)
        elif isinstance(found, Film):
            shown.append(_still(found, steps))
    if not shown:
        raise ValueError(
            f"{run} has no pictures of its recipe's own: draw its units or codes, or look at its "
            "report"
        )
    return shown


def _show_named(picture: Picture, grid: Array, title: str, ax: Axes) -> None:
    """Draw a grid of images with the names of its rows and columns beside it."""
    rows, columns = picture.images.shape[:2]
    ax.imshow(grid, interpolation="nearest", extent=(0, columns, rows, 0))
    ax.set_aspect(_slope(grid) * columns / rows)
    ax.set_title(title, fontsize=10, loc="left", weight="bold", pad=6)
    across = np.arange(len(picture.columns)) + 0.5
    down = np.arange(len(picture.rows)) + 0.5
    ax.set_xticks(across, picture.columns, fontsize=8)
    ax.set_yticks(down, picture.rows, fontsize=8)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)


def _slope(picture: Array) -> float:
    """Return a picture's height for a width of 1."""
    height, width = picture.shape[:2]
    return float(height / width)


def _grid(images: Array) -> Array:
    """Return (rows, columns, h, w[, 3]) as one picture, strokes as ink on paper."""
    is_grey = images.ndim == 4
    if is_grey and is_ink(images[..., None]):
        images = 1 - images
    _, columns, *shape = images.shape
    return plots.image_grid(images.reshape(-1, *shape), columns)


def _still(film: Film, steps: int) -> Picture:
    """Return a film's first column as a picture, so many steps from left to right."""
    last = len(film.images) - 1
    times = np.linspace(0, last, steps).round()
    at = np.unique(times.astype(int))
    columns = [f"step {t + 1}" for t in at]
    images = film.images[at, :, 0].swapaxes(0, 1)  # (rows, steps, h, w[, 3])
    return Picture(film.title, images, film.rows, columns, film.note)


def curves(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draw the curves that recipes find, a panel for each title.

    Runs of the same objective have the same colour.

    Raises:
        ValueError: If no run has any.
    """
    objectives: list[str] = []
    titles: dict[str, list[tuple[str, Lines]]] = {}
    for run in runs:
        config = run_config.read(run)
        objective = config["flags"].get("objective", config["objective"])  # as people typed it
        if objective not in objectives:
            objectives.append(objective)
        described = run_scores.read(run).findings or ()
        for found in unpacked(described, run_arrays.flat(run_arrays.read(run))):
            if isinstance(found, Lines):
                titles.setdefault(found.title, []).append((objective, found))
    if not titles:
        raise ValueError(f"{', '.join(map(str, runs))}: no recipe found curves of its own")
    figure = _figure(4.8 * len(titles), 3.4)
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for ax, (title, held) in zip(panels, titles.items(), strict=True):
        for objective, found in held:
            color = plots.METHOD_COLORS[objectives.index(objective) % len(plots.METHOD_COLORS)]
            for values in found.curves.values():
                ax.plot(found.x, values, "o-", color=color, ms=3, lw=1, alpha=0.8, label=objective)
        ax.set_title(title, fontsize=10, loc="left", weight="bold")
        ax.set_xlabel(held[0][1].xlabel)
        ax.set_ylabel(held[0][1].ylabel)
    handles, labels = panels[0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))  # one of each objective
    figure.legend(named.values(), named.keys(), loc="outside lower center", frameon=False)
    return _save(figure, out)


PICTURES: dict[str, Callable[[Sequence[Path], Path], Path]] = {
    "units": lambda runs, out: units(runs[0], out),
    "codes": codes,
    "curves": curves,
    "ablation": ablation,
    "findings": findings,
}
"""The pictures that `unweave picture` can draw, by name."""


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, out: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the name's ending."""
    figure.draw_without_rendering()  # images of a fixed shape need a second layout
    with replacing(out) as draft:
        ending = Path(out).suffix.lstrip(".")
        figure.savefig(draft, format=ending or "png", dpi=110)
    return Path(out)
