"""The page of a score card: a table of scores, and charts of what codes tell of factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from .. import plots
from ..metrics.table import rows
from ..pages.page import Chart, axes, charts, rendered
from .inputs import listed
from .scorecard import Floats, ScoreCard, contents

SHOWN = 40
"""Rows of the page's heat maps: of more codes, those that tell most of a factor."""

FAINT = 0.1
"""The share of a factor's entropy below which a code tells next to nothing of it."""


def render(card: ScoreCard) -> str:
    """Return the page as a string."""
    shown = _order(card.information, card.entropies)
    levels = [f"{score.level:.0%}" for score in card.scores if score.level]
    with charts() as chart:
        return rendered(
            "scoring/score.html.j2",
            card=card,
            rows=rows(contents(card)["scores"]),
            shown=len(shown),
            about=_about(card),
            command=card.source.get("command"),
            level=levels[0] if levels else None,
            information=_information(card, shown, chart),
            importance=_importance(card, shown, chart),
            gaps=_gaps(card, chart),
        )


def _about(card: ScoreCard) -> list[tuple[str, str]]:
    """Return the rows of settings and sources."""
    about = []
    for name, value in card.source.items():
        if name != "command" and value is not None:
            text = listed(value) if isinstance(value, list | tuple) else str(value)
            about.append((name, text))
    return about


def _order(information: Floats, entropies: Floats) -> list[int]:
    """Return the codes in the order of heat maps.

    Codes stand by the factor of which they tell the largest share, and then by that share. Codes
    that tell next to nothing stand at the end.
    """
    share = information / entropies  # (codes, factors)
    best = share.argmax(1)
    top = share.max(1)

    def place(code: int) -> tuple[bool, int, float]:
        faint = bool(top[code] < FAINT)
        return faint, 0 if faint else int(best[code]), -float(top[code])

    kept = np.argsort(-top, kind="stable")[:SHOWN]
    return sorted(kept.tolist(), key=place)


# -- charts ----------------------------------------------------------------------------------------


def _information(card: ScoreCard, shown: list[int], chart: Chart) -> Markup:
    ax = _heat_axes(card, shown, above=70)
    names = _short([card.codes[j] for j in shown])
    factors = _short(card.factors)
    plots.code_factor_information(card.information[shown], names, factors, card.entropies, ax=ax)
    best = zip(card.factors, card.information.argmax(0), card.information.max(0), strict=True)
    told = ", ".join(f"{factor}: {card.codes[j]} {value:.2f}" for factor, j, value in best)
    label = f"Heat map of the information of codes about factors; the best code of each: {told}"
    return chart(ax, label)


def _importance(card: ScoreCard, shown: list[int], chart: Chart) -> Markup | None:
    if card.importance is None:
        return None
    whole = card.importance.sum(0)  # (factors,)
    shares = np.divide(card.importance, whole, out=np.zeros_like(card.importance), where=whole > 0)
    ax = _heat_axes(card, shown, above=40)
    names = _short([card.codes[j] for j in shown])
    plots.code_factor_importance(shares[shown], names, _short(card.factors), ax=ax)
    return chart(ax, "Heat map of how much predictors of the factors use each code")


def _gaps(card: ScoreCard, chart: Chart) -> Markup:
    ax = axes(620, 60 + 28 * len(card.factors))
    codes = _short(card.codes)
    factors = _short(card.factors)
    plots.factor_gaps(card.information, codes, factors, card.entropies, ax=ax)
    return chart(
        ax,
        "Bars of what the best code tells of each factor, and how much more that is than the "
        "second best",
    )


def _heat_axes(card: ScoreCard, shown: list[int], above: float) -> Axes:
    """Return axes with room for the names of codes, and for those of factors where they tilt."""
    names = _short([card.codes[j] for j in shown])
    beside = 8 * max(map(len, names))
    tilted = 5 * max(map(len, _short(card.factors)))
    height = above + (tilted if tilted > 5 * 12 else 0) + 24 * len(shown)
    return axes(min(620, 60 + beside + 90 * len(card.factors)), height)


def _short(names: Sequence[str], most: int = 24) -> list[str]:
    """Return names cut so that they fit beside a chart."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]
