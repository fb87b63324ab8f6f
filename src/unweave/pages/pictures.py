"""Pictures of runs for pages and slides, from run folders: what each latent unit does, codes, a
recipe's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import plots
from ..runs.files import read_json, replacing
from ..runs.findings import Film, Picture, unpacked
from .exhibits import is_ink


def units(run: str | Path, out: str | Path, most: int = 6, rows: int = 3) -> Path:
    """The traversals of the `most` informative units of a run, `rows` starting items each."""
    scores, arrays = _read(Path(run))
    ranked = sorted(scores["I(x;z)"].items(), key=lambda item: -item[1][0])[:most]
    figure = Figure(
        figsize=(9.6, 1.35 * rows / 3 * np.ceil(len(ranked) / 2) + 0.1), layout="constrained"
    )
    panels = figure.subplots(-(-len(ranked) // 2), 2, squeeze=False).ravel()
    for ax in panels:
        ax.set_axis_off()
    for ax, (unit, (value, _)) in zip(panels, ranked, strict=False):
        plots.show(plots.traversal(1 - arrays[f"traversal/{unit}"][:rows]), ax)
        ax.set_title(f"{unit}   I(x;{unit}) = {value:.2f} nats", fontsize=9, loc="left", pad=3)
    return _save(figure, out)


def codes(runs: Sequence[str | Path], out: str | Path) -> Path:
    """The test items' codes of several runs in one row, each panel on its own scale, coloured by
    label.
    """
    figure = Figure(figsize=(4.4 * len(runs), 4.6), layout="constrained")
    for ax, run in zip(
        figure.subplots(1, len(runs), squeeze=False)[0], map(Path, runs), strict=True
    ):
        config, (scores, arrays) = read_json(run / "config.json"), _read(run)
        names = (
            [str(name) for name in arrays["embedding_names"]]
            if "embedding_names" in arrays
            else None
        )
        plots.scatter(
            arrays["embedding"], arrays["embedding_labels"], scores.get("classes"), names, ax
        )
        latents = (config.get("model") or {}).get("normals")
        ax.set_title(
            f"{config['recipe']}, {latents} latents: {arrays['embedding_kind']}", fontsize=10
        )
    return _save(figure, out)


def ablation(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Runs of the ablation recipe, one a row: codes beside the prior's two standard deviations,
    items, prior draws.
    """
    figure = Figure(figsize=(11, 2.5 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 3, squeeze=False, width_ratios=(1.0, 1.9, 1.9))
    around = np.linspace(0, 2 * np.pi, 100)
    for (codes_ax, items_ax, draws_ax), run in zip(panels, map(Path, runs), strict=True):
        drop, (scores, arrays) = (
            read_json(run / "config.json")["flags"].get("drop", "none"),
            _read(run),
        )
        terms, test = scores["terms"], scores["test"]
        plots.scatter(
            arrays["embedding"], arrays["embedding_labels"], scores.get("classes"), ax=codes_ax
        )
        codes_ax.plot(2 * np.cos(around), 2 * np.sin(around), color="black", lw=0.8)
        codes_ax.set_title(
            "the ELBO" if drop == "none" else f"without {'①②③④'[int(drop) - 1]}",
            loc="left",
            weight="bold",
        )
        plots.show(
            plots.reconstructions(
                1 - arrays["x"][:10], 1 - arrays["reconstruction"][:10], columns=10
            ),
            items_ax,
        )
        plots.show(plots.image_grid(1 - arrays["prior_samples"][:20], columns=10), draws_ax)
        outside = sum(
            term["exact"] for name, term in terms.items() if name.startswith(("tc", "kl"))
        )
        information = f"I(x;z) {terms['mi']['exact']:.2f}"
        density = f"log p(x|z) {test['recon'][0]:.1f}   log p(x) {test['evidence'][0]:.1f}"
        items_ax.set_title(f"{density}   {information}", fontsize=9)
        draws_ax.set_title(f"draws of the prior   KL(q(z) ‖ p(z)) {outside:.2f}", fontsize=9)
    return _save(figure, out)


def findings(run: str | Path, out: str | Path, steps: int = 10) -> Path:
    """The pictures that a recipe makes of its own run, one under another; of films the first
    column, over time.

    Errors: ValueError if the run has none.
    """
    scores, arrays = _read(Path(run))
    found = unpacked(scores.get("findings", ()), arrays)
    shown = [
        _still(f, steps) if isinstance(f, Film) else f
        for f in found
        if isinstance(f, Picture | Film)
    ]
    if not shown:
        raise ValueError(
            f"{run} has no pictures of its recipe's own: draw its units or codes, or look at its "
            "report"
        )
    grids = [_grid(picture.images) for picture in shown]
    heights = [7.2 * grid.shape[0] / grid.shape[1] for grid in grids]
    figure = Figure(figsize=(9, sum(heights) + 0.62 * len(grids)), layout="constrained")
    panels = figure.subplots(len(grids), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, picture, grid in zip(panels, shown, grids, strict=True):
        ax.imshow(
            grid,
            interpolation="nearest",
            extent=(0, picture.images.shape[1], picture.images.shape[0], 0),
        )
        ax.set_aspect(
            grid.shape[0] / grid.shape[1] * picture.images.shape[1] / picture.images.shape[0]
        )
        ax.set_title(picture.title, fontsize=10, loc="left", weight="bold", pad=6)
        ax.set_xticks(np.arange(len(picture.columns)) + 0.5, picture.columns, fontsize=8)
        ax.set_yticks(np.arange(len(picture.rows)) + 0.5, picture.rows, fontsize=8)
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.spines[:].set_visible(False)
    return _save(figure, out)


def _grid(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(rows, columns, h, w[, 3]) as one picture, strokes as ink on paper."""
    is_grey = images.ndim == 4
    images = 1 - images if is_grey and is_ink(images[..., None]) else images
    return plots.image_grid(images.reshape(-1, *images.shape[2:]), images.shape[1])


def _still(film: Film, steps: int) -> Picture:
    """Of the first column, so many steps in equal parts of the time, from left to right."""
    at = np.unique(np.linspace(0, len(film.images) - 1, steps).round().astype(int))
    columns = [f"step {t + 1}" for t in at]
    return Picture(film.title, film.images[at, :, 0].swapaxes(0, 1), film.rows, columns, film.note)


PICTURES: dict[str, Callable[[Sequence[Path], Path], Path]] = {
    "units": lambda runs, out: units(runs[0], out),
    "codes": codes,
    "ablation": ablation,
    "findings": lambda runs, out: findings(runs[0], out),
}
"""What `unweave picture` can draw, by name."""


def _read(run: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    scores = read_json(run / "scores.json")
    with np.load(run / "evaluation.npz", allow_pickle=False) as arrays:
        return scores, dict(arrays)


def _save(figure: Figure, out: str | Path) -> Path:
    """PNG, SVG or PDF, by the name's ending."""
    with replacing(out) as draft:
        figure.savefig(draft, format=Path(out).suffix.lstrip(".") or "png", dpi=110)
    return Path(out)
