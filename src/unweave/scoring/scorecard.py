"""The result of scoring codes against factors, as data and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..metrics.score import Score, described
from ..shown import as_html

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreCard:
    """The scores of codes against factors, by name, and the information behind them.

    Args:
        scores: The scores.
        codes: The names of the codes.
        factors: The names of the factors.
        items: The number of items.
        information: I(z_j; v_k) in nats, (codes, factors), of codes cut into 20 cells of equal
            width.
        entropies: H(v_k) in nats, (factors,), which information cannot exceed.
        importance: DCI's matrix, (codes, factors), if DCI is among the scores.
        asks: By score, a sentence that says what the score asks.
        warnings: Sentences that say what was done about inputs that are out of the ordinary.
        source: The settings, where codes and factors came from, and the command that repeats it.
    """

    scores: tuple[Score, ...]
    codes: tuple[str, ...]
    factors: tuple[str, ...]
    items: int
    information: Floats
    entropies: Floats
    importance: Floats | None = None
    asks: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Score:
        named = {score.name: score for score in self.scores}
        if name not in named:
            raise KeyError(f"no score is called {name!r}; there are: {', '.join(named)}")
        return named[name]

    def __str__(self) -> str:
        return "\n".join(map(str, self.scores))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the scores as a table."""
        rows = [
            (score.name, str(score).removeprefix(score.name).lstrip(" :=")) for score in self.scores
        ]
        return as_html(f"{len(self.codes)} codes, {len(self.factors)} factors", rows)


def contents(card: ScoreCard) -> dict[str, Any]:
    """Return the card as JSON: arrays are lists, and None stands for NaN and infinity."""
    scores = [described(s) | {"asks": card.asks.get(s.name)} for s in card.scores]
    plain = ("items", "codes", "factors", "information", "entropies", "importance")
    return {
        "scores": scores,
        **{name: described(getattr(card, name)) for name in plain},
        "warnings": list(card.warnings),
        "source": described(dict(card.source)),
    }
