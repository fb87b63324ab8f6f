"""The report of a run of `mouse`: its measures in numbers and tables, strips of states, films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unweave.data.mouse import SYLLABLES, Recording, record
from unweave.runs.findings import Array, Film, Finding, Lines, Number, Picture, Table

from .mouse_measures import NOISE, agreement, errors, forecast, likelihood, recovered
from .mouse_syllables import syllable_findings

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe

BEGINNING = "aligned principal components, EM"

COLOURS = np.array(
    [
        [0.6, 0.6, 0.6],
        [0.3, 0.7, 0.4],
        [0.25, 0.45, 0.8],
        [0.85, 0.35, 0.3],
        [0.95, 0.75, 0.3],
        [0.65, 0.4, 0.7],
    ]
)
"""The colours of the syllables."""

COLOUR_NAMES = ("grey", "green", "blue", "red", "yellow", "purple")


def shortest(length: int) -> int:
    """Return the frames of the shortest sequence among those of up to `length`."""
    return max(2, 6 * length // 10)


def findings(model: Model, recipe: Recipe, *, kind: str, quick: bool) -> Sequence[Finding]:
    """Return likelihoods, states beside syllables, and forecasts of models that make them.

    Args:
        model: The trained model.
        recipe: Its recipe.
        kind: Kind of the model, as the flag names it.
        quick: True if few draws are enough.
    """
    assert recipe.test is not None
    n, (length, size, _) = len(recipe.test), recipe.test.shape
    recording = record("test", n, length=length, shortest=shortest(length))
    draws = 5 if quick else 10 if kind == "body" else 50
    scores = likelihood(model, recording.x, draws=draws)
    how = "exact" if kind == "linear" else f"importance-weighted bound, {draws} draws"
    states = recovered(model, recording)
    rand = {name: agreement(found, recording) for name, found in states.items()}
    best = next(iter(states))
    if recipe.start is not None:
        fresh = recipe.model().eval()
        recipe.start(fresh)
        rand[BEGINNING] = agreement(recovered(fresh, recording)[best], recording)
    together = _together(states[best], recording)
    unit = f"{best}; 1 is agreement, 0 chance"
    named = _named(together, best)
    found: list[Finding] = [
        Number("Held-out log p(x) a frame", *scores["bound"], unit=f"nats; {how}", better=1),
        Number("ARI with syllables", rand[best], unit=unit, better=1),
        _likelihoods(scores, n, length, size),
        Table("States against syllables", ("", "adjusted Rand index"), list(rand.items())),
        named,
        _strips(states[best], recording, together.argmax(1), best),
    ]
    if kind == "body":
        own = together.argmax(1)
        found[2:2] = [
            Number("ARI at the beginning", rand[BEGINNING], unit=BEGINNING, better=1),
            Number("Least found syllable", least(named), unit="% of its steps", better=1),
        ]
        found += syllable_findings(model, recipe.data.floats(), own, quick=quick)
    if kind == "static":
        return found
    known = length // 2
    curves = errors(model, n, length, known, draws=3 if quick else 10 if kind == "body" else 20)
    mean, _, last = (float(curve.mean()) for curve in curves.values())
    return [
        Number("Forecast error", mean / last, unit="of the last frame's, repeated", better=-1),
        *found,
        _forecasts(curves, known, length),
        _film_of_forecasts(model, known, length),
        _film_of_draws(model),
    ]


def _likelihoods(
    scores: Mapping[str, tuple[float, float]], n: int, length: int, size: int
) -> Table:
    """Tabulate the likelihoods, and the bound that the camera's noise sets them."""
    ceiling = -(size**2) * (np.log(NOISE) + 0.5 * np.log(2 * np.pi * np.e))
    rows: list[tuple[str, float, float | None]] = []
    for name, (value, error) in scores.items():
        rows.append((name, value, error))
    rows.append(("what the camera's noise leaves to be had, posture known", float(ceiling), None))
    note = f"{n} test sequences of {shortest(length)} to {length} frames; errors over sequences."
    return Table("Held-out frames", ("", "nats a frame", "standard error"), rows, note)


def _together(states: Array, recording: Recording) -> Array:
    """Count the steps that have state k and syllable s, (states, syllables)."""
    syllable = recording.syllable[:, 1:]
    there = (states >= 0) & (syllable >= 0)
    table = np.zeros((states.max() + 1, len(SYLLABLES)), np.int64)
    np.add.at(table, (states[there], syllable[there]), 1)
    return table


def _named(together: Array, how: str) -> Table:
    """Tabulate for each syllable its share of steps in states that are mostly this syllable."""
    own, steps = together.argmax(1), together.sum(0)
    rows = []
    for s, name in enumerate(SYLLABLES):
        inside = together[own == s, s].sum()
        share = 100 * float(inside / max(steps[s], 1))
        rows.append((name, int(steps[s]), int((own == s).sum()), share))
    note = f"A state is named by the syllable that it is mostly; by {how}."
    heads = ("syllable", "steps", "states", "steps in them, %")
    return Table("Syllables that have states", heads, rows, note)


def least(named: Table) -> float:
    """Return the smallest share among syllables that occur, in per cent."""
    return min(float(share or 0) for _, steps, _, share in named.rows if steps)


def _strips(states: Array, recording: Recording, own: Array, how: str, rows: int = 8) -> Picture:
    """Draw time from left to right: true syllables above, states below.

    A state has the colour of the syllable that it is mostly, `own` (states,).
    """
    syllable = recording.syllable[:, 1:]
    long = np.flatnonzero((syllable >= 0).all(1))[:rows]
    both = [COLOURS[syllable[long]], COLOURS[own[states[long]]]]
    strips = np.stack(both, 1)  # (rows, 2, T − 1, 3)
    strips = strips.repeat(10, 1).repeat(24, 2)  # (rows, height, width, 3)
    pairs = zip(COLOUR_NAMES, SYLLABLES, strict=True)
    named = ", ".join(f"{colour} {name}" for colour, name in pairs)
    note = (
        f"Above each the true syllables, below {how}, in the colour of the syllable they are "
        f"mostly: {named}."
    )
    return Picture("Syllables and states", strips[:, None], note=note)


def _forecasts(curves: Mapping[str, Array], known: int, length: int) -> Lines:
    return Lines(
        "Forecasts",
        np.arange(1, length - known + 1),
        curves,
        "frames ahead",
        "root mean squared error, of 1",
        f"{known} frames are seen.",
    )


def _film_of_forecasts(model: Model, known: int, length: int, columns: int = 6) -> Film:
    """Film recordings above two forecasts of them."""
    x = record("test", columns, length=length).x
    rows = [x, forecast(model, x, known, seed=0), forecast(model, x, known, seed=1)]
    images = np.stack(rows).transpose(2, 0, 1, 3, 4)  # (T, rows, columns, h, w)
    names = ("recorded", "forecast", "another")
    note = f"The model sees {known} frames, then goes on by itself."
    return Film("Forecasts, moving", np.clip(images, 0, 1), rows=names, note=note, rate=6)


def _film_of_draws(model: Model, rows: int = 2, columns: int = 6) -> Film:
    """Film draws from the prior."""
    drawn = model.sample(rows * columns).numpy()  # (rows · columns, T, h, w)
    grid = drawn.reshape(rows, columns, *drawn.shape[1:])
    images = np.clip(grid.transpose(2, 0, 1, 3, 4), 0, 1)  # (T, rows, columns, h, w)
    return Film(
        "Made up by the model", images, note="Draws from the prior, frame by frame.", rate=6
    )
