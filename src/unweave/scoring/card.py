"""Scores of any model's codes against known factors, with intervals, tables and a page."""

from __future__ import annotations

import csv
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..metrics import battery
from ..metrics.information import information
from ..metrics.score import Score, described, named
from ..metrics.table import words
from ..runs.files import replacing, write_json
from ..runs.kinds import claim
from .inputs import Inputs, listed, read
from .page import render
from .scorecard import Floats, ScoreCard, contents

__all__ = ["ScoreCard", "contents", "render", "score", "table", "write"]

LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm")
"""The libraries that scores depend on; a card says their versions."""


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
    """Score codes against factors of variation that are known, with intervals.

    `write` makes a page of the result. Columns that number the rows, factors with one class, and
    factors with a class of its own for each item are left out, and `warnings` say so.

    Args:
        codes: An array or a tensor (n, codes), a data frame, or a file that ends in .npy, .npz,
            .csv, .tsv or .parquet; with an `encoder`, the items that it turns into codes, as an
            array, a tensor or an .npy.
        factors: The same for factors, in the order of the codes' rows. Whole numbers are classes,
            −1 where missing; other numbers are continuous, NaN where missing; text and truths are
            classes.
        encoder: A function that takes 256 items at a time and returns their codes (256, codes) as
            an array or a tensor.
        which: Names out of `metrics.battery.METRICS`.  Default: all that suit these factors.
        level: The level of the intervals, which cover what other samples of as many items would
            give; None for no intervals.
        seed: The seed of whatever metrics and intervals draw.
        code_names: Columns to score, by name or by a pattern such as ``"z*"``. The columns of an
            array are called ``"z[0]"``, ``"z[1]"``, …, or, if as many other names are given, those.
        factor_names: The same for factors, ``"v[0]"`` and on.
        settings: Arguments of `metrics.battery.scores`.

    Returns:
        The scores, and what each code tells of each factor.

    Raises:
        ValueError: If codes and factors have different numbers of rows, codes are not finite
            numbers, a name matches no column, or no factor is left.
        KeyError: If a metric is unknown.
        TypeError: If no metric takes one of the settings.
        FileNotFoundError: If there is no such file.

    >>> factors = np.random.default_rng(0).integers(0, 3, (500, 2))
    >>> names = ["shape", "size"]
    >>> card = score(factors[:, ::-1], factors, which=["mig"], level=None, factor_names=names)
    >>> card.information.argmax(0).tolist(), card.factors
    ([1, 0], ('shape', 'size'))
    """
    names = {"code_names": code_names, "factor_names": factor_names}
    chosen = {"which": which, "seed": seed, **names, **settings}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    given = {"level": level, **chosen}
    inputs = read(codes, factors, encoder, code_names, factor_names)
    asked = list(battery.METRICS if which is None else which)
    found = battery.scores(
        inputs.codes, inputs.factors, which=asked, level=level, seed=seed, **settings
    )
    found = [replace(s, notes=_by_name(s.notes, inputs)) for s in found]
    results = [result for result in found if not np.isnan(result.value)]
    if not results:
        raise ValueError(f"no score could be computed: {'; '.join(_unsuited(found))}")
    importances = [s.parts["importance"] for s in found if "importance" in s.parts]
    known = information(inputs.pairs)
    notes = _notes(results, _by_name(inputs.pairs.notes, inputs), level)
    questions = map(battery.question, asked)
    repeated = _command(codes, factors, given) if encoder is None else None
    return ScoreCard(
        scores=tuple(results),
        codes=inputs.code_names,
        factors=inputs.factor_names,
        items=len(inputs.codes),
        information=known.mutual,
        entropies=known.factors,
        importance=importances[0] if importances else None,
        asks=dict(zip([result.name for result in found], questions, strict=True)),
        warnings=(*inputs.remarks, *_unsuited(found), *notes),
        source={
            "unweave": __version__,
            **{name: version(name) for name in LIBRARIES},
            **given,
            "codes": _called(codes),
            "factors": _called(factors),
            "sha256 of codes": _digest(inputs.codes),
            "sha256 of factors": _digest(inputs.factors),
            "command": repeated,
        },
    )


# -- notes -----------------------------------------------------------------------------------------


def _by_name(notes: Sequence[str], inputs: Inputs) -> tuple[str, ...]:
    """Return notes with the names of factors for their numbers."""
    return tuple(named(note, inputs.factor_names) for note in notes)


def _unsuited(scores: Sequence[Score]) -> list[str]:
    """Return a sentence for each score that does not suit these factors."""
    sentences = []
    for s in scores:
        if np.isnan(s.value):
            why = "; ".join(s.notes) or "it is undefined here"
            sentences.append(f"{s.name} is left out: {why}")
    return sentences


def _notes(scores: Sequence[Score], known: Sequence[str], level: float | None) -> list[str]:
    """Return the notes of metrics, each once with the scores that have it.

    Notes that are known are left out: the inputs' remarks say the same by name.
    """
    notes = []
    without = [s.name for s in scores if s.interval is None]
    if level and without:
        notes.append(f"{listed(without)}: no intervals, which would take too long")
    scores_of: dict[str, list[str]] = {}
    for s in scores:
        for note in s.notes:
            if note not in known and "no interval" not in note:
                scores_of.setdefault(note, []).append(s.name)
    return notes + [f"{listed(names)}: {note}" for note, names in scores_of.items()]


# -- sources ---------------------------------------------------------------------------------------


def _called(source: Any) -> str:
    """Return a file's path, or the name of a type."""
    if isinstance(source, str | Path):
        return str(source)
    return f"{type(source).__module__}.{type(source).__qualname__}"


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
    """Return the command line that computes the same.

    There is none for arrays, and for settings that only Python has.
    """
    are_files = all(isinstance(source, str | Path) for source in (codes, factors))
    if not are_files or not settings.keys() <= _FLAGS.keys():
        return None
    words = ["unweave", "score", str(codes), str(factors)]
    for name, value in settings.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            for one in values:
                words += [f"--{_FLAGS[name]}", str(one)]
    if settings["level"] is None:
        words.append("--no-intervals")
    return shlex.join(words)


# -- tables and files ------------------------------------------------------------------------------


def table(card: ScoreCard) -> list[tuple[str, ...]]:
    """Return a row of text for each score, under `metrics.table.HEADS`."""
    return words(map(described, card.scores))


def write(card: ScoreCard, folder: str | Path) -> Path:
    """Write score.html, scores.json and scores.csv into a folder, which is made if need be.

    Each file replaces at once what was there, or leaves it as it was.

    Returns:
        The page's path.

    Raises:
        FileExistsError: If the folder holds a run, a study or files of others.
    """
    folder = Path(folder)
    claim(folder, "score card")
    write_json(folder / "scores.json", contents(card))
    with replacing(folder / "scores.csv") as draft:
        _write_csv(card, draft)
    with replacing(folder / "score.html") as draft:
        draft.write_text(render(card), encoding="utf-8")
    return folder / "score.html"


def _write_csv(card: ScoreCard, path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["metric", "value", "low", "high", "level", "least", "most", "convention"])
        for s in card.scores:
            low, high = s.interval or ("", "")
            least, most = s.range
            rows.writerow([s.name, s.value, low, high, s.level or "", least, most, s.convention])
