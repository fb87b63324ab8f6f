"""The list of measures: every number that a run's scores hold, by a name that is stable.

One function a kind of measure; each yields the measures of that kind that a run has, with their
values. Tables, studies and pages choose kinds from this list and order them.

===========================  =========================  ====================================
key                          row of `unweave compare`   kind
===========================  =========================  ====================================
`elbo`, `recon`, `kl`, …     `elbo, test`               `test`
`mi_exact`, …                `mi`                       `exact`
`mi_minibatch`, …            `mi, minibatch`            `minibatch`
`I(x;y)`, `I(x;z) #1`, …     `I(x;y)`                   `information`
`I(label;y)`, …              `I(label;y)`               `class_information`
`H(y|x)`                     `H(y|x)`                   `conditional_entropy`
`discrete I(x;y)`            `discrete I(x;y)`          `discrete_information`
`error.y`                    `error of y`               `error`
`accuracy.y`                 `accuracy of y`            `accuracy`
`mig`, `dci.completeness`    –                          `metrics`
`active_units`               –                          `active_units`
`finding.some_title`         –                          `findings`
`seconds`                    `seconds`                  `seconds`
===========================  =========================  ====================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from .scores import Mean, Real, Scores

IDLE = 0.05
"""Nats: a unit that tells less than this is idle, a unit that tells more is active."""

TERMS = {"elbo": "ELBO", "recon": "reconstruction"}
"""Names of terms in words; the others go by their symbols."""

HEADLINE = (
    "elbo",
    "recon",
    "mig",
    "dci",
    "sap",
    "factor_vae_score",
    "modularity",
    "error.",
    "accuracy.",
    "finding.",
)
"""The measures that a reader wants first: keys, or beginnings of keys that end in a dot."""

TRADED = ("kl", "mi", "tc")
"""Terms that an objective trades against others: neither more nor less of them is better."""

LESS_IS_BETTER = ("gaussian_", "pairwise_information")
"""Beginnings of the keys of metrics that are better when they are smaller."""

OF_SEVERAL = ("dci", "factor_vae_score")
"""Metrics that are 1 for any codes if there is one factor, and are then left out."""

ARROWS = {1: "↑", -1: "↓", 0: ""}


@dataclass(frozen=True)
class Measure:
    """A number that runs have: its stable name, its name on a page and how it was computed.

    `better` is 1 if more is better, −1 if less is, 0 if neither; `row` is the name of its row in
    `unweave compare`.
    """

    key: str
    name: str
    convention: str
    range: tuple[Real | None, Real | None] = (None, None)
    better: int = 1
    row: str = ""

    @property
    def headline(self) -> bool:
        """True if a reader wants it first."""
        return self.place < len(HEADLINE)

    @property
    def place(self) -> int:
        """The measure's place among the headline, or the headline's length."""
        for place, start in enumerate(HEADLINE):
            is_kind = start.endswith(".")
            if self.key == start or (is_kind and self.key.startswith(start)):
                return place
        return len(HEADLINE)

    @property
    def arrow(self) -> str:
        """The direction in which it is better, as a sign."""
        return ARROWS[self.better]


Measured: TypeAlias = Iterator[tuple[Measure, Mean]]
"""Measures of a run with their values and standard errors."""


def test(scores: Scores) -> Measured:
    """Yield the terms over the test items."""
    for term, mean in scores.test.items():
        name = TERMS.get(term, term)
        convention = "nats per item, test data"
        yield (
            Measure(term, name, convention, better=_direction(term), row=f"{term}, test"),
            mean,
        )


def exact(scores: Scores) -> Measured:
    """Yield the terms of the bound by the exact q(z) of the training data."""
    convention = "nats per item, exact q(z) of the training data"
    for term, found in scores.terms.items():
        key, name = f"{term}_exact", f"{term}, exact"
        if found.exact is not None:
            measure = Measure(key, name, convention, better=_direction(term), row=term)
            yield measure, Mean(found.exact, found.se)


def minibatch(scores: Scores) -> Measured:
    """Yield the terms of the bound as training's batches saw them, with their spread."""
    convention = "nats per item, mean over batches"
    for term, found in scores.terms.items():
        key, name = f"{term}_minibatch", f"{term}, minibatch"
        if found.minibatch is not None:
            measure = Measure(key, name, convention, better=_direction(term), row=name)
            yield measure, Mean(found.minibatch, found.minibatch_sd)


def information(scores: Scores) -> Measured:
    """Yield the information of each unit about its item; units of a site go by their rank."""
    values = {unit: mean.value for unit, mean in scores.information.items()}
    yield from _ranked("x", values)


def class_information(scores: Scores) -> Measured:
    """Yield the information of each unit about the first factor; units of a site go by rank."""
    about = scores.class_information
    if about is not None:
        yield from _ranked(scores.label, dict(zip(about.names, about.total, strict=True)))


def conditional_entropy(scores: Scores) -> Measured:
    """Yield the entropy that is left in each discrete site given the item."""
    for site, value in scores.conditional_entropy.items():
        name = f"H({site}|x)"
        yield Measure(name, name, "nats, training data", better=0, row=name), Mean(value)


def discrete_information(scores: Scores) -> Measured:
    """Yield the information of each discrete site about its item."""
    for site, value in scores.discrete_information.items():
        name = f"discrete I(x;{site})"
        yield Measure(name, name, "nats, training data", better=0, row=name), Mean(value)


def error(scores: Scores) -> Measured:
    """Yield the error of each site that was trained on labels."""
    for site, mean in scores.error.items():
        name, convention = f"error of {site}", f"share of items whose {site} is not their label"
        yield Measure(f"error.{site}", name, convention, (0, 1), better=-1, row=name), mean


def accuracy(scores: Scores) -> Measured:
    """Yield the accuracy of each site that was matched to labels after training."""
    for site, value in scores.accuracy.items():
        name, convention = f"accuracy of {site}", f"best match of {site} to {scores.label}"
        yield Measure(f"accuracy.{site}", name, convention, (0, 1), row=name), Mean(value)


def metrics(scores: Scores) -> Measured:
    """Yield the metrics of codes against factors, each before those of its parts that differ."""
    for key, metric in scores.metrics.items():
        better = -1 if key.startswith(LESS_IS_BETTER) else 1
        is_trivial = key in OF_SEVERAL and scores.factor_information is None
        if metric.value is not None and not is_trivial:
            measure = Measure(key, metric.name, metric.convention, metric.range, better)
            yield measure, Mean(metric.value)
        for part, value in metric.parts.items():
            is_number = isinstance(value, int | float)
            if is_number and value != metric.value and not part.endswith("train"):
                name = f"{metric.name.split()[0]} {part}"
                yield Measure(f"{key}.{part}", name, metric.convention, better=better), Mean(value)


def active_units(scores: Scores) -> Measured:
    """Yield the number of units that are not idle."""
    if scores.information:
        active = sum(mean.value > IDLE for mean in scores.information.values())
        convention = f"units with I(x;z) above {IDLE} nats"
        yield Measure("active_units", "active units", convention, better=0), Mean(active)


def findings(scores: Scores) -> Measured:
    """Yield the numbers among a recipe's own findings."""
    for finding in scores.findings or ():
        value, title = finding.get("value"), str(finding.get("title"))
        if finding.get("kind") == "Number" and isinstance(value, int | float):
            words = re.findall("[a-z0-9]+", title.lower())
            better = finding.get("better", 0)
            measure = Measure(
                f"finding.{'_'.join(words)}", title, finding.get("unit", ""), better=better
            )
            yield measure, Mean(value, finding.get("error"))


def seconds(config: Mapping[str, Any]) -> Measured:
    """Yield the time of training, which depends on everything else that the machine did."""
    if config.get("seconds") is not None:
        measure = Measure("seconds", "training time", "seconds", better=0, row="seconds")
        yield measure, Mean(config["seconds"])


def _direction(term: str) -> int:
    """Return 0 for a term that an objective trades against others, 1 for one to be maximised."""
    return 0 if term.partition("[")[0] in TRADED else 1


def _ranked(about: str, values: Mapping[str, Real]) -> Measured:
    """Yield the information of units by names that mean the same in another run.

    A site is `I(x;y)`; the units of one, whose numbers mean nothing in another run, are `I(x;z) #1`
    for the largest, and so on.
    """
    of_units: dict[str, list[Real]] = {}
    named: dict[str, Real] = {}
    for name, value in values.items():
        site, bracket, _ = name.partition("[")
        if bracket:
            of_units.setdefault(site, []).append(value)
        else:
            named[f"I({about};{name})"] = value
    for site, found in of_units.items():
        for rank, value in enumerate(sorted(found, reverse=True), 1):
            named[f"I({about};{site}) #{rank}"] = value
    for name, value in named.items():
        yield Measure(name, name, "nats, training data", better=0, row=name), Mean(value)
