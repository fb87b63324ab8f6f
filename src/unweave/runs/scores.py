"""The scores of a run by their types: scores.json is read and written here alone.

The file's keys are the fields' names, and `KEYS` for those that are formulas. A field that
evaluation had nothing for is left out of the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec

from . import seal
from .files import read_json, write_json

FILE = "scores.json"

Real: TypeAlias = int | float

KEYS = {
    "information": "I(x;z)",
    "class_information": "I(y;z)",
    "factor_information": "I(v;z)",
}
"""The file's keys that are formulas, by the fields that hold them."""


class Mean(NamedTuple):
    """A mean over items and its standard error, None where it has none."""

    value: Real
    error: Real | None = None


class Term(msgspec.Struct, frozen=True):
    """A term of the bound in nats per item, by the exact q(z) and as training's batches saw it."""

    exact: Real | None = None
    se: Real | None = None  # standard error of the exact value
    minibatch: Real | None = None  # mean over batches
    minibatch_sd: Real | None = None  # spread from batch to batch


class ClassInformation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Information in nats about the first factor, in sites and in units alone."""

    names: tuple[str, ...]
    kinds: tuple[str, ...] = ()  # of each name: "unit", or "group" and "all" for several units
    total: tuple[Real, ...] = ()  # of each name, about all classes
    per_class: tuple[tuple[Real, ...] | None, ...] = ()  # (classes, names), None without items


class FactorInformation(msgspec.Struct, frozen=True):
    """Information in nats about every factor, in sites and in units alone."""

    names: tuple[str, ...]
    factors: tuple[str, ...]
    total: tuple[tuple[Real, ...], ...]  # (factors, names)
    entropy: tuple[Real, ...]  # (factors,), the ceilings


class Metric(msgspec.Struct, frozen=True):
    """A metric of codes against factors; its value is None where it is not defined."""

    name: str
    value: Real | None
    convention: str
    range: tuple[Real | None, Real | None]  # None for an end that is infinite
    parts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    interval: tuple[Real | None, Real | None] | None = None
    level: Real | None = None
    asks: str | None = None


class Scores(msgspec.Struct, frozen=True, omit_defaults=True, rename=KEYS):
    """Everything that evaluation measured of a run, in nats per item unless another unit is named.

    >>> scores = typed({"test": {"elbo": [-98.4, 0.4]}, "I(x;z)": {"z": [1.9, 0.01]}})
    >>> scores.test["elbo"].error, scores.information["z"].value
    (0.4, 1.9)
    """

    test: dict[str, Mean] = {}  # terms over the test items
    batch: int | None = None
    log_n: Real | None = None
    terms: dict[str, Term] = {}
    exact_n: int | None = None  # items in the exact q(z)
    exact_points: int | None = None  # items that exact terms are averaged over
    joint_rows: int | None = None  # those at which dependent sites are summed at the row's values
    joint_se: Real | None = None  # standard error of what these sums add to a term
    units: tuple[str, ...] = ()
    unit_group: tuple[str, ...] = ()  # the site of each unit
    information: dict[str, Mean] = {}  # by unit
    breaches: tuple[str, ...] | None = None  # None if no term was measured
    prior_factorises: bool | None = None  # None if no term was measured
    class_information: ClassInformation | None = None
    entropy_y: Real | None = None  # of the first factor
    factor_information: FactorInformation | None = None
    conditional_entropy: dict[str, Real] = {}  # H(site|x) by discrete site
    discrete_information: dict[str, Real] = {}  # I(x;site) by discrete site
    factor: str | None = None
    classes: tuple[str | Real, ...] = ()  # of the first factor
    error: dict[str, Mean] = {}  # shares, by labelled site
    accuracy: dict[str, Real] = {}  # shares, by site without labels
    metrics: dict[str, Metric] = {}
    findings: tuple[dict[str, Any], ...] | None = None  # None if the recipe shows none of its own
    remarks: tuple[str, ...] = ()  # sentences that change how the numbers are read
    skipped: dict[str, str] = {}  # parts left out, with the reason

    @property
    def label(self) -> str:
        """The first factor's name, "label" if it has none."""
        return self.factor or "label"

    @property
    def class_names(self) -> list[str]:
        """The classes of the first factor in words."""
        return list(map(str, self.classes))


def typed(content: Any) -> Scores:
    """Return what scores.json holds as `Scores`; keys of other versions are left out.

    Raises:
        ValueError: If a value is not of its type, with its place in the file.
    """
    return msgspec.convert(content, Scores)


def plain(part: msgspec.Struct) -> dict[str, Any]:
    """Return scores, or a part of them, as JSON has them: dicts by the file's keys, and lists."""
    content: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(part)))
    return content


def read(folder: str | Path) -> Scores:
    """Return the scores of a run's folder.

    Raises:
        FileNotFoundError: If the folder has no scores.
        ValueError: If the file is damaged.
    """
    path = Path(folder) / FILE
    content = read_json(path)
    seal.check(folder, FILE)
    try:
        return typed(content)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it, or make it anew with "
            f"`unweave evaluate {folder}`"
        ) from None


def write(folder: str | Path, scores: Mapping[str, Any]) -> None:
    """Write the scores of a run, by the file's keys, into its folder.

    Raises:
        KeyError: If a key is none of a run's scores.
        ValueError: If a value is not of its type.
    """
    known = Scores.__struct_encode_fields__
    unknown = [key for key in scores if key not in known]
    if unknown:
        raise KeyError(f"{', '.join(unknown)}: no scores of a run; there are {', '.join(known)}")
    write_json(Path(folder) / FILE, plain(typed(dict(scores))))
