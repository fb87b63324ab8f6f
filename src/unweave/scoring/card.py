"""Any model's codes against known factors: scores with intervals, what each code tells of each
factor, and a page.
"""

from __future__ import annotations

import csv
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from .. import __version__, plots
from ..metrics import battery
from ..metrics.information import information
from ..metrics.score import Score, described, named
from ..metrics.table import rows, words
from ..pages.page import Chart, axes, charts, rendered
from ..runs.files import replacing, write_json
from .inputs import listed, read

Floats: TypeAlias = NDArray[np.float64]

SHOWN = 40
"""Rows of the page's heat maps: of more codes, those that tell most of a factor."""

IDLE = 0.1
"""A code that tells a smaller share than this of every factor's entropy stands at the end of the
heat maps.
"""


@dataclass(frozen=True)
class ScoreCard:
    """What `score` found, of codes and factors by name.

    `information` is I(z_j; v_k) in nats, (codes, factors), of codes cut into 20 cells of equal
    width; `entropies` are H(v_k), its ceilings, (factors,); `importance` is DCI's matrix, (codes,
    factors), if DCI was among the scores; `asks` says in a sentence what a score asks; `warnings`
    say what was done about inputs that are out of the ordinary; `source` holds the settings, where
    codes and factors came from, and the command that repeats it.
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


def score(
    codes: Any,
    factors: Any,
    *,
    encoder: Callable[[Any], Any] | None = None,
    which: Sequence[str] | None = None,
    level: float | None = 0.95,
    seed: int = 0,
    code_names: Sequence[str] | None = None,
    factor_names: Sequence[str] | None = None,
    **settings: Any,
) -> ScoreCard:
    """Scores codes against factors of variation that are known, with intervals; `write` makes a
    page of the result.

    Args:
        codes: An array or a tensor (n, codes), a data frame, or a file that ends in .npy, .npz,
        .csv, .tsv or
            .parquet; with an `encoder`, the items that it turns into codes, as an array, a tensor
            or an .npy.
        factors: The same for factors, in the order of the codes' rows. Whole numbers are classes,
        −1 where missing;
            other numbers are continuous, NaN where missing; text and truths are classes.
        encoder: Called on 256 items at a time, returns their codes (256, codes) as an array or a
        tensor.
        which: Names out of `metrics.battery.METRICS`.  Default: all that suit these factors.
        level: Of the intervals, which cover what other samples of as many items would give; None for no intervals.
        seed: Of whatever metrics and intervals draw.
        code_names: Columns to score, by name or by a pattern such as ``"z*"``. The columns of an array are called
            ``"z[0]"``, ``"z[1]"``, …, or, if as many other names are given, those.
        factor_names: The same for factors, ``"v[0]"`` and on.
        settings: Handed on to `metrics.battery.scores`.

    Columns that number the rows, factors with one class, and factors with a class of its own for
    each item are left out, and `warnings` say so.

    Raises:
        ValueError: If codes and factors have different numbers of rows, codes are not finite
        numbers, a name matches
            no column, or no factor is left.
        KeyError: If a metric is unknown.
        TypeError: If no metric takes one of the settings.
        FileNotFoundError: If there is no such file.

    >>> factors = np.random.default_rng(0).integers(0, 3, (500, 2))
    >>> card = score(factors[:, ::-1], factors, which=["mig"], level=None, factor_names=["shape", "size"])
    >>> card.information.argmax(0).tolist(), card.factors
    ([1, 0], ('shape', 'size'))
    """
    chosen = {
        "which": which,
        "seed": seed,
        "code_names": code_names,
        "factor_names": factor_names,
        **settings,
    }
    given = {"level": level, **{name: value for name, value in chosen.items() if value is not None}}
    inputs = read(codes, factors, encoder, code_names, factor_names)
    asked = list(battery.METRICS if which is None else which)
    found = battery.scores(
        inputs.codes, inputs.factors, which=asked, level=level, seed=seed, **settings
    )
    found = [
        replace(s, notes=tuple(named(note, inputs.factor_names) for note in s.notes)) for s in found
    ]
    results = [result for result in found if not np.isnan(result.value)]
    if not results:
        raise ValueError(f"no score could be computed: {'; '.join(_unsuited(found))}")
    known_notes = [named(note, inputs.factor_names) for note in inputs.pairs.notes]
    remarks = [*inputs.remarks, *_unsuited(found), *_notes(results, known_notes, level)]
    known = information(inputs.pairs)
    return ScoreCard(
        scores=tuple(results),
        codes=inputs.code_names,
        factors=inputs.factor_names,
        items=len(inputs.codes),
        information=known.mutual,
        entropies=known.factors,
        importance=next((r.parts["importance"] for r in results if "importance" in r.parts), None),
        asks={
            result.name: battery.question(name) for name, result in zip(asked, found, strict=True)
        },
        warnings=tuple(remarks),
        source={
            "unweave": __version__,
            **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "lightgbm")},
            **given,
            "codes": _called(codes),
            "factors": _called(factors),
            "sha256 of codes": _digest(inputs.codes),
            "sha256 of factors": _digest(inputs.factors),
            "command": _command(codes, factors, given) if encoder is None else None,
        },
    )


def _unsuited(scores: Sequence[Score]) -> list[str]:
    return [
        f"{s.name} is left out: {'; '.join(s.notes) or 'it is undefined here'}"
        for s in scores
        if np.isnan(s.value)
    ]


def _notes(scores: Sequence[Score], known: Sequence[str], level: float | None) -> list[str]:
    """What metrics note, but for what the inputs' remarks say by name; a note that several have is
    said once.
    """
    without = [s.name for s in scores if s.interval is None]
    said = (
        [f"{listed(without)}: no intervals, which would take too long"] if level and without else []
    )
    other = [
        (note, s.name)
        for s in scores
        for note in s.notes
        if note not in known and "no interval" not in note
    ]
    named = {note: [name for told, name in other if told == note] for note, _ in other}
    return said + [f"{listed(names)}: {note}" for note, names in named.items()]


def _called(source: Any) -> str:
    return (
        str(source)
        if isinstance(source, str | Path)
        else f"{type(source).__module__}.{type(source).__qualname__}"
    )


def _digest(array: Floats) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


_FLAGS = {
    "level": "level",
    "which": "metric",
    "seed": "seed",
    "code_names": "code",
    "factor_names": "factor",
    "convention": "convention",
}


def _command(codes: Any, factors: Any, settings: Mapping[str, Any]) -> str | None:
    """The command line that computes the same; None of arrays, and of settings that only Python
    has.
    """
    if not all(isinstance(source, str | Path) for source in (codes, factors)) or set(
        settings
    ) - set(_FLAGS):
        return None
    words = ["unweave", "score", str(codes), str(factors)]
    for name, value in settings.items():
        values = value if isinstance(value, list | tuple) else [value]
        words += (
            [word for one in values for word in (f"--{_FLAGS[name]}", str(one))]
            if value is not None
            else []
        )
    return shlex.join([*words, "--no-intervals"] if settings["level"] is None else words)


# -- tables and files ------------------------------------------------------------------------------


def table(card: ScoreCard) -> list[tuple[str, ...]]:
    """A row of text for each score, under `metric_table.HEADS`."""
    return words(map(described, card.scores))


def write(card: ScoreCard, folder: str | Path) -> Path:
    """Writes score.html, scores.json and scores.csv into a folder, which is made if need be;
    returns the page's path.

    Each replaces what was there at once, or leaves it as it was.
    """
    folder = Path(folder)
    write_json(folder / "scores.json", contents(card))
    with (
        replacing(folder / "scores.csv") as draft,
        open(draft, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["metric", "value", "low", "high", "level", "least", "most", "convention"])
        for s in card.scores:
            table.writerow(
                [s.name, s.value, *(s.interval or ("", "")), s.level or "", *s.range, s.convention]
            )
    with replacing(folder / "score.html") as draft:
        draft.write_text(render(card), encoding="utf-8")
    return folder / "score.html"


def contents(card: ScoreCard) -> dict[str, Any]:
    """The card as JSON: arrays are lists, and None stands for NaN and infinity."""
    plain = {
        name: described(getattr(card, name))
        for name in ("items", "codes", "factors", "information", "entropies", "importance")
    }
    scores = [described(s) | {"asks": card.asks.get(s.name)} for s in card.scores]
    return {
        "scores": scores,
        **plain,
        "warnings": list(card.warnings),
        "source": described(dict(card.source)),
    }


# -- the page --------------------------------------------------------------------------------------


def render(card: ScoreCard) -> str:
    """The page as a string."""
    shown = _order(card.information, card.entropies)
    source = {
        name: value
        for name, value in card.source.items()
        if name != "command" and value is not None
    }
    with charts() as chart:
        return rendered(
            "scoring/score.html.j2",
            card=card,
            rows=rows(contents(card)["scores"]),
            shown=len(shown),
            about=[
                (name, listed(value) if isinstance(value, list | tuple) else str(value))
                for name, value in source.items()
            ],
            command=card.source.get("command"),
            level=next((f"{s.level:.0%}" for s in card.scores if s.level), None),
            information=_information(card, shown, chart),
            importance=_importance(card, shown, chart),
            gaps=_gaps(card, chart),
        )


def _order(information: Floats, entropies: Floats) -> list[int]:
    """Codes as heat maps show them: by the factor of which they tell the largest share, and by that
    share; at the end those that tell next to nothing.
    """
    share = information / entropies
    best, top = share.argmax(1), share.max(1)
    kept = np.argsort(-top, kind="stable")[:SHOWN]
    return sorted(
        kept.tolist(), key=lambda j: (top[j] < IDLE, best[j] if top[j] >= IDLE else 0, -top[j])
    )


def _information(card: ScoreCard, shown: list[int], chart: Chart) -> Markup:
    ax = _heat_axes(card, shown, above=70)
    names = _short([card.codes[j] for j in shown])
    plots.code_factor_information(
        card.information[shown], names, _short(card.factors), card.entropies, ax=ax
    )
    best = zip(card.factors, card.information.argmax(0), card.information.max(0), strict=True)
    told = ", ".join(f"{factor}: {card.codes[j]} {value:.2f}" for factor, j, value in best)
    return chart(
        ax, f"Heat map of the information of codes about factors; the best code of each: {told}"
    )


def _importance(card: ScoreCard, shown: list[int], chart: Chart) -> Markup | None:
    if card.importance is None:
        return None
    whole = card.importance.sum(0)
    shares = np.divide(card.importance, whole, out=np.zeros_like(card.importance), where=whole > 0)
    ax = _heat_axes(card, shown, above=40)
    names = _short([card.codes[j] for j in shown])
    plots.code_factor_importance(shares[shown], names, _short(card.factors), ax=ax)
    return chart(ax, "Heat map of how much predictors of the factors use each code")


def _gaps(card: ScoreCard, chart: Chart) -> Markup:
    ax = axes(620, 60 + 28 * len(card.factors))
    plots.factor_gaps(
        card.information, _short(card.codes), _short(card.factors), card.entropies, ax=ax
    )
    return chart(
        ax,
        "Bars of what the best code tells of each factor, and how much more that is than the "
        "second best",
    )


def _heat_axes(card: ScoreCard, shown: list[int], above: float) -> Axes:
    wide = 8 * max(len(name) for name in _short([card.codes[j] for j in shown]))
    tilted = 5 * max(len(name) for name in _short(card.factors))
    height = above + (tilted if tilted > 5 * 12 else 0) + 24 * len(shown)
    return axes(min(620, 60 + wide + 90 * len(card.factors)), height)


def _short(names: Sequence[str], most: int = 24) -> list[str]:
    """Names that fit beside a chart."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]
