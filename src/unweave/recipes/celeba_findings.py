"""The report of `celeba`: attributes that single units tell, and these units by what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import unweave as uw
from unweave.runs.findings import Array, Finding, Number, Picture, Table

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe

SHOWN = ("Smiling", "Eyeglasses")
"""Attributes of the talk whose best units are drawn, whether they are captured or not."""

LISTED = 12
"""Attributes in the table, and most rows of the picture."""

STEPS = np.linspace(-2, 2, 7)
"""Values of a unit in the picture, in standard deviations of the prior."""

RESAMPLES = 50
"""Halves of the test pictures that the interval of TAD comes from."""


@dataclass(frozen=True)
class Codes:
    """The columns by which units tell attributes: probabilities of classes, and means of z."""

    names: Sequence[str]
    values: Array
    """(pictures, columns)."""


def findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    """Return TAD, the attributes with their best units, and what these units do."""
    assert recipe.test is not None
    test = recipe.test
    x = test.floats()
    codes = _codes(model, x)
    tad = uw.metrics.bootstrap(uw.metrics.tad, codes.values, test.factors, resamples=RESAMPLES)
    once = uw.metrics.tad(codes.values, test.factors, convention="once")
    assert tad.interval is not None
    low, high = tad.interval
    turned = _turned(codes, _codes(model, x[:, :, ::-1]))
    within = f"95 % interval {low:.3f} to {high:.3f}"
    return [
        Number("TAD", float(tad), None, within, 1),
        Number("Attributes captured", tad.parts["attributes"], None, "AUROC 0.75 or more", 1),
        Number("TAD, each unit once", float(once), None, f"{once.parts['attributes']} units", 1),
        Number("Least correlation with mirrored", float(turned.min()), None, "orientation", -1),
        _table(model, x, tad.parts, codes, test),
        _picture(model, tad.parts, codes, test, turned),
    ]


def _codes(model: Model, x: Array) -> Codes:
    """Return the columns of pictures; of two classes the second's probability says all."""
    q = model.posterior(np.ascontiguousarray(x))
    names: list[str] = []
    columns = []
    for site, node in q.items():
        assert node.dist is not None
        means = node.dist.mean.numpy()
        if site == "y":
            first = 1 if means.shape[1] == 2 else 0
            means = means[:, first:]
            names += [f"y={k}" for k in range(first, first + means.shape[1])]
        else:
            names += [f"{site}[{k}]" for k in range(means.shape[1])]
        columns.append(means)
    return Codes(names, np.concatenate(columns, 1))


def _turned(codes: Codes, mirrored: Codes) -> Array:
    """Return the correlation of each unit of a picture with that of its mirror image, (columns,).

    It is −1 for a unit that tells left from right and nothing else, such as orientation.
    """
    one = codes.values - codes.values.mean(0)
    other = mirrored.values - mirrored.values.mean(0)
    spread = one.std(0) * other.std(0)
    r: Array = (one * other).mean(0) / np.maximum(spread, 1e-12)
    return r


def _table(model: Model, x: Array, told: Any, codes: Codes, test: Any) -> Table:
    """List the attributes that single units tell best."""
    found = told["auroc"]
    z = model.posterior(x)["z"].dist
    assert z is not None
    nats = uw.metrics.factor_information(z.mean.numpy(), z.stddev.numpy(), test.factors)
    rows: list[Sequence[str | float | None]] = []
    for k in np.argsort(-found.max(0))[:LISTED]:
        best = int(told["best"][k])
        unit = codes.names[best]
        of_z = best - (len(codes.names) - len(nats))
        rows.append(
            (
                test.names[k].replace("_", " "),
                "yes" if told["counted"][k] else "",
                unit,
                float(found[best, k]),
                float(told["gap"][k]),
                float(nats[of_z, k]) if of_z >= 0 else None,
            )
        )
    heads = ("attribute", "counted", "unit", "AUROC", "less the second's", "I(attribute;unit)")
    note = (
        "The attributes of test pictures that a single unit tells best. Those count that are told "
        "with an AUROC of 0.75 or more and of which no other attribute tells more than a fifth of "
        "the entropy; TAD is the sum of their differences (Yeats et al., 2022). Information is "
        "exact, in nats, for units of z."
    )
    return Table("Attributes that single units tell", heads, rows, note)


def _picture(model: Model, told: Any, codes: Codes, test: Any, turned: Array) -> Picture:
    """Draw units that were found by number, each moved alone from the mean code."""
    found = told["auroc"]
    wanted = [test.names.index(name) for name in SHOWN]
    wanted += [int(k) for k in np.argsort(-found.max(0)) if told["counted"][k]]
    rows, names = [], []
    for k in dict.fromkeys(wanted):
        best = int(told["best"][k])
        present = test.factors[:, k] == 1
        column = codes.values[:, best]
        rises = column[present].mean() > column[~present].mean()
        rows.append(_moved(model, codes, best, rises))
        title = test.names[k].replace("_", " ")
        names.append(f"{title}: {codes.names[best]}, {found[best, k]:.2f}")
    around = int(turned.argmin())
    rows.append(_moved(model, codes, around, True))
    r = f"{turned[around]:.2f}".replace("-", "−")
    names.append(f"orientation: {codes.names[around]}, r {r}")
    note = (
        "Each row moves one unit alone, from −2 to 2 or from one class to the other; all others "
        "stay at 0, the mean of the prior, so that nobody in particular is drawn. Units are those "
        "with the largest AUROC for the attribute among test pictures, which rises to the right; "
        "orientation is the unit whose value is most opposite for the mirrored picture (r)."
    )
    return Picture(
        "Units found by number", np.stack(rows[: LISTED + 1]), names[: LISTED + 1], note=note
    )


def _moved(model: Model, codes: Codes, column: int, rises: bool) -> Array:
    """Draw the decoder's mean as a column moves alone, (steps, h, w, 3)."""
    steps = STEPS if rises else -STEPS
    at = np.zeros((len(steps), sum(name.startswith("z") for name in codes.names)), np.float32)
    given: dict[str, Array] = {"z": at}
    of_z = column - (len(codes.names) - at.shape[1])
    if model.config is not None and model.config["classes"]:
        classes = model.config["classes"]
        y = np.full((len(steps), classes), 1 / classes, np.float32)
        if of_z < 0:
            chosen = int(codes.names[column].removeprefix("y="))
            share = (steps - STEPS.min()) / np.ptp(STEPS)
            y[:] = ((1 - share) / (classes - 1))[:, None]
            y[:, chosen] = share
        given["y"] = y
    if of_z >= 0:
        at[:, of_z] = steps
    drawn: Array = model.decode(**given).numpy()
    return drawn.clip(0, 1)
