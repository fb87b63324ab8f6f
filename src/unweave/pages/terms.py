"""The numbers of a run's page: tiles of the first ones, and the bound term by term."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from ..runs import measures
from ..runs.scores import Mean, Scores
from .page import number

Config: TypeAlias = Mapping[str, Any]

SYMBOLS = {
    "recon": "①+③",
    "mi": "②",
    "tc[0]": "Ⓐ",
    "tc[1]": "ⓘ",
    "kl[0]": "④",
    "kl[1]": "Ⓑ",
    "kl[2]": "ⓘⓘ",
}
"""The paper's signs of the terms that have one."""


def scored(config: Config) -> str:
    """Return the name of the data behind test scores.

    A run without a test set is scored on what it was trained on.
    """
    data = config.get("data", {})
    return "training data" if data.get("test") == 0 else "test data"


# -- tiles -----------------------------------------------------------------------------------------


def tiles(config: Config, scores: Scores) -> list[dict[str, str]]:
    """Return the few numbers that a reader wants first."""
    return [
        *_agreement(config, scores),
        *_about_label(scores),
        *_bound(config, scores),
        *_independence(scores),
    ]


def _bound(config: Config, scores: Scores) -> list[dict[str, str]]:
    """Return the bound, or else reconstruction, and the information in the code."""
    tiles = []
    note = f"nats per item, {scored(config)}"
    if "elbo" in scores.test:
        tiles.append(_tile(measures.TERMS["elbo"], scores.test["elbo"], note))
    elif "recon" in scores.test:
        tiles.append(_tile(measures.TERMS["recon"], scores.test["recon"], note))
    elif "elbo" in scores.terms:
        tiles.append(_tile(measures.TERMS["elbo"], _exact(scores, "elbo"), "nats per item"))
    if "mi" in scores.terms:
        note = "nats"
        if scores.log_n is not None:
            note = f"nats, of at most {scores.log_n:.3g}"
        tiles.append(_tile("Information I(x;z)", _exact(scores, "mi"), note))
    return tiles


def _independence(scores: Scores) -> list[dict[str, str]]:
    """Return the total correlations of the outermost and of the innermost level.

    A level that splits no group is left out: its correlation is 0 whatever was learnt.
    """
    note = "nats; 0 is independent"
    if scores.prior_factorises is False:
        note = "nats, less the prior's own"
    ends = dict.fromkeys((0, _depth(scores) - 1))
    terms = [f"tc[{level}]" for level in ends if _is_telling(f"tc[{level}]", scores)]
    names = ["TC between groups", "TC within groups"] if len(terms) > 1 else ["Total correlation"]
    return [
        _tile(name, _exact(scores, term), note) for name, term in zip(names, terms, strict=False)
    ]


def _is_telling(term: str, scores: Scores) -> bool:
    """Return true if a correlation is measured, of a level that splits some group."""
    return term in scores.terms and not _is_trivial(term, scores)


def _is_trivial(term: str, scores: Scores) -> bool:
    """Return true if a correlation is of a level that splits no group: it is 0 to the bit then."""
    found = scores.terms[term]
    return found.exact == 0 and found.se == 0


def _agreement(config: Config, scores: Scores) -> list[dict[str, str]]:
    """Return how discrete sites agree with labels, in percent."""
    tiles = []
    data = scored(config)
    for measure, share in measures.error(scores):
        error = share.error or 0.0
        percent = Mean(100 * share.value, 100 * error)
        note = f"{measure.convention}, {data}"
        tiles.append(_tile(measure.name, percent, note, unit="%"))
    for measure, share in measures.accuracy(scores):
        note = f"{measure.convention}, {data}"
        tile = _tile(measure.name, share, note)
        tile["value"] = f"{100 * share.value:.1f}%"
        tiles.append(tile)
    return tiles


def _about_label(scores: Scores) -> list[dict[str, str]]:
    """Return what each of several groups tells about the first factor.

    A group that agreed with labels has its headline: the share of items on which it does.
    """
    about = scores.class_information
    if about is None or about.kinds.count("group") < 2:
        return []
    note = "nats"
    if scores.entropy_y is not None:
        note = f"nats, of {scores.entropy_y:.3g}"
    tiles = []
    for name, kind, total in zip(about.names, about.kinds, about.total, strict=True):
        has_headline = name in scores.accuracy or name in scores.error
        if kind == "group" and not has_headline:
            tiles.append(_tile(f"I({scores.label};{name})", Mean(total), note))
    return tiles


def _tile(name: str, mean: Mean, note: str, unit: str = "") -> dict[str, str]:
    text = number(mean)
    value, _, error = text.partition(" ± ")
    title = name[:1].upper() + name[1:]
    return {"name": title, "value": value + unit, "error": error, "note": note}


def _exact(scores: Scores, term: str) -> Mean:
    found = scores.terms[term]
    return Mean(math.nan if found.exact is None else found.exact, found.se)


def _depth(scores: Scores) -> int:
    """Return the number of levels of groups: each has its total correlation."""
    return sum(term.startswith("tc[") for term in scores.terms)


# -- the bound, term by term -----------------------------------------------------------------------


def terms(config: Config, scores: Scores) -> list[dict[str, Any]]:
    """Return the rows of the decomposition, in the order of the sum.

    A row's `sign` is the term's sign in the sum, 0 if it is no part of it. Its `span`, in nats, and
    its `bar`, in percent, are the term's place in a waterfall that ends at the ELBO.
    """
    rows = []
    for term, values in scores.terms.items():
        row = {
            "name": term,
            "symbol": SYMBOLS.get(term, ""),
            "sign": _sign(term, _depth(scores)),
            "meaning": _meaning(term, config, scores),
            "test": scores.test.get(term),
        }
        rows.append(row | msgspec.structs.asdict(values))
    rows.sort(key=_place)
    _add_spans(rows)
    _add_bars([row for row in rows if "span" in row])
    return rows


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what rows are sorted by.

    Reconstruction, information, correlations and divergence come first, then their sum, then terms
    that are no part of it.
    """
    term = row["name"]
    is_outside = row["sign"] == 0
    is_last = term.startswith("kl")
    return is_outside, term != "elbo", term != "recon", term != "mi", is_last, term


def _add_spans(rows: Sequence[dict[str, Any]]) -> None:
    """Add the ends of the waterfall's bars: each term begins where the one before it ended."""
    total = 0.0
    for row in rows:
        sign, exact = row["sign"], row["exact"]
        if exact is None:
            continue
        if sign:
            row["span"] = (total, total + sign * exact)
            total += sign * exact
        elif row["name"] == "elbo":
            row["span"] = (0.0, exact)


def _add_bars(rows: Sequence[dict[str, Any]]) -> None:
    """Add each bar's place within the width of all of them."""
    ends = [end for row in rows for end in row["span"]]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    width = (high - low) or 1.0
    for row in rows:
        start, end = sorted(row["span"])
        left = (start - low) / width * 100
        right = (end - low) / width * 100
        row["bar"] = {"left": f"{left:.2f}%", "width": f"{right - left:.2f}%"}


def _parsed(term: str) -> tuple[str, int]:
    """Return a term's kind and level: `tc[1]` is a total correlation at level 1."""
    kind, _, text = term.rstrip("]").partition("[")
    level = int(text) if text.isdigit() else 0
    return kind, level


def _sign(term: str, depth: int) -> int:
    """Return the sign of a term in the ELBO, 0 if it is no part of the sum."""
    kind, level = _parsed(term)
    if kind == "recon":
        return 1
    is_deepest = level == depth  # of the divergences, the sum has the deepest alone
    return -1 if kind in ("mi", "tc") or (kind == "kl" and is_deepest) else 0


def _meaning(term: str, config: Config, scores: Scores) -> str:
    """Return what a term measures, in a sentence."""
    kind, level = _parsed(term)
    match kind:
        case "recon":
            return "log p(x|z): how well the decoder explains an item from its code."
        case "mi":
            known = scores.log_n is not None
            ceiling = f"; at most log N = {scores.log_n:.3g} nats" if known else ""
            return f"I(x;z): what the code tells about its item{ceiling}."
        case "tc":
            if _is_trivial(term, scores):
                return "0 for any codes: this level of the groups splits none of them."
            less = ", less what the prior has of it" if scores.prior_factorises is False else ""
            return f"{_correlation(level, _depth(scores), config)}{less}."
        case "kl" if level == 0:
            return "KL(q(z) ‖ p(z)): how far codes over the whole data set are from the prior."
        case "kl":
            part = "unit" if level == _depth(scores) else f"group at level {level}"
            return (
                f"Σ KL(q ‖ p) of each {part} alone: how far it is from the prior across the data "
                "set."
            )
        case "elbo":
            return "Evidence lower bound on log p(x): the sum of the terms above."
        case "label":
            return "log q(y|x): how well the encoder predicts observed labels."
        case "evidence":
            return "log p(x), estimated by importance sampling."
    return ""


def _correlation(level: int, depth: int, config: Config) -> str:
    """Return what the total correlation at a level measures."""
    if depth == 1:
        return "Total correlation: how far the units are from independent across the data set"
    if level == 0:
        sites = config.get("groups") or ()
        are_names = len(sites) > 1 and all(isinstance(site, str) for site in sites)
        groups = " and ".join(sites) if are_names else "the groups"
        return (
            f"Total correlation between groups: how far {groups} are from independent across the "
            "data set"
        )
    if level == depth - 1:
        return "Total correlation within groups: how far a group's units are from independent"
    return f"Total correlation of the groups at level {level + 1} inside those at level {level}"
