"""One self-contained HTML file per run: what was learned, in pictures, and numbers with their
errors.

Reads a run folder (config.json, metrics.jsonl, scores.json, evaluation.npz) and nothing else; what
a run does not have, its report leaves out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from .. import plots
from ..metrics.table import rows
from ..runs.command import command
from ..runs.files import read_json, read_lines, replacing
from ..runs.findings import unpacked
from .card import write_card
from .exhibits import exhibits, is_ink, tiles
from .page import ACCENT, Chart, axes, charts, integer, number, png, rendered

Json: TypeAlias = Mapping[str, Any]
Arrays: TypeAlias = Mapping[str, np.ndarray]

IDLE = 0.05  # nats: a unit that says less than this about its item is called idle
_CIRCLED = {
    "recon": "①+③",
    "mi": "②",
    "tc[0]": "Ⓐ",
    "tc[1]": "ⓘ",
    "kl[0]": "④",
    "kl[1]": "Ⓑ",
    "kl[2]": "ⓘⓘ",
}


def write(folder: str | Path) -> Path:
    """Write a run folder's `report.html`, whose path it returns, and its model card. A reader sees
    the old report or the new one, never half of one.

    Raises FileNotFoundError, with the command that makes what is missing, for a folder that is not
    a finished run.
    """
    folder = Path(folder)
    for name, maker in (
        ("config.json", f"unweave train RECIPE --out {folder}"),
        ("scores.json", f"unweave evaluate {folder}"),
        ("evaluation.npz", f"unweave evaluate {folder}"),
    ):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} does not exist: `{maker}` makes it")
    config, scores = read_json(folder / "config.json"), read_json(folder / "scores.json")
    with np.load(folder / "evaluation.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    write_card(folder, config, scores)
    page = render(config, read_lines(folder / "metrics.jsonl"), scores, arrays)
    with replacing(folder / "report.html") as draft:
        draft.write_text(page, encoding="utf-8")
    return folder / "report.html"


def render(config: Json, history: Sequence[Json], scores: Json, arrays: Arrays) -> str:
    """The page as a string, from the contents of the four files."""
    findings = unpacked(scores.get("findings", ()), arrays)
    arrays = drawable(arrays)
    with charts() as chart:
        return rendered(
            "pages/run.html.j2",
            {"circled": circled},
            config=config,
            scores=scores,
            seed=_seed(config),
            scored=_scored(config),
            about=_about(config),
            command=command(config),
            tiles=[*tiles(findings), *_tiles(config, scores)],
            findings=exhibits(findings, chart),
            reconstructions=_reconstructions(arrays),
            units=units(scores, arrays),
            quantiles=[f"{100 * q:g}%" for q in arrays.get("traversal_quantiles", ())],
            prior=_prior(arrays),
            information=_information(scores, chart),
            labels=_labels(scores, chart),
            factors=_factors(scores, chart),
            metrics=rows(s for s in scores.get("metrics", {}).values() if s["value"] is not None),
            remarks=_remarks(scores),
            terms=_terms(config, scores),
            embedding=_embedding(scores, arrays, chart),
            curves=_curves(history, chart),
            ink=is_ink(arrays.get("x")),
            idle=IDLE,
        )


def circled(text: str) -> Markup:
    """Circled letters as HTML: few fonts have ⓘ and Ⓐ, and ⓘⓘ is one sign of the paper, not two."""
    parts = re.split(r"(ⓘ+|[①-⓿])", text)  # every second part is a sign
    sign = Markup('<span class="sign">{}</span>')
    return Markup("").join(
        sign.format(unicodedata.normalize("NFKC", p)) if i % 2 else p for i, p in enumerate(parts)
    )


def drawable(arrays: Arrays) -> Arrays:
    """The arrays with every item a picture of 24 pixels or more: vectors as little bar charts,
    small images enlarged, so that one pixel is a thin gap between them. Vectors of over 200 numbers
    and what is neither image nor vector show nothing and are left out.
    """
    drawn = dict(arrays)
    x = arrays.get("x", np.zeros((1, 24, 24)))
    low, high = min(float(np.nanmin(x)), 0.0), max(float(np.nanmax(x)), 0.0)
    for name, items in arrays.items():
        if name not in ("x", "reconstruction", "prior_samples") and not name.startswith(
            "traversal/"
        ):
            continue
        lead = 2 if name.startswith("traversal/") else 1
        if not _shows(items.shape[lead:]) or ("x" in arrays and items.shape[lead:] != x.shape[1:]):
            del drawn[name]
        elif items.ndim > lead + 1:
            images = plots.pixels(items)
            times = -(-24 // min(images.shape[-3:-1]))
            drawn[name] = images.repeat(times, -3).repeat(times, -2)
        else:
            drawn[name] = plots.profiles(items, low, high)
    return drawn


def _shows(shape: tuple[int, ...]) -> bool:
    """Whether items of this shape are images, grey or in colours, or vectors short enough to be
    drawn.
    """
    match shape:
        case (length,):
            return length <= 200
        case (_, width):
            return width > 3
        case (_, _, colors):
            return colors in (1, 3)
    return False


def _about(config: Json) -> list[tuple[str, str]]:
    """The definition table of a run: what was trained, on what, with what."""

    def line(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{k} {line(v)}" for k, v in value.items() if v is not None)
        if isinstance(value, list | tuple):
            return f"({', '.join(line(v) for v in value)})"
        return f"{value:g}" if isinstance(value, float) else str(value)

    rows: dict[str, Any] = {
        name: config.get(name)
        for name in ("recipe", "data", "model", "groups", "objective", "estimator")
    }
    rows["parameters"] = integer(config["parameters"]) if "parameters" in config else None
    rows["flags"] = config.get("flags")
    rows["seed"] = _seed(config)
    rows["started"] = str(config.get("started") or "").replace("T", " ")[:16]
    rows["training time"] = (
        duration(config["seconds"]) if config.get("seconds") is not None else None
    )
    rows["machine"] = config.get("machine")
    rows["versions"] = {"unweave": config.get("unweave", "?"), **config.get("versions", {})}
    return [(name, line(value)) for name, value in rows.items() if value or value == 0]


def _seed(config: Json) -> Any:
    return config.get("seed", config.get("flags", {}).get("seed"))


def _scored(config: Json) -> str:
    """The data behind reconstructions and test scores: a run without a test set is scored on what
    it was trained on.
    """
    return "training data" if config.get("data", {}).get("test") == 0 else "test data"


def duration(seconds: float) -> str:
    """
    >>> duration(312.5), duration(7), duration(8000)
    ('5 min 12 s', '7 s', '2 h 13 min')
    """
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _explain(term: str, depth: int, config: Json, scores: Json) -> tuple[int, str]:
    """The sign of a term in the ELBO (0: it is no part of the sum) and, in a sentence, what it
    measures.
    """
    sites = config.get("groups") or ()
    groups = (
        " and ".join(sites)
        if len(sites) > 1 and all(isinstance(s, str) for s in sites)
        else "the groups"
    )
    ceiling = f"; at most log N = {scores['log_n']:.3g} nats" if "log_n" in scores else ""
    name, _, level = term.rstrip("]").partition("[")
    l = int(level) if level.isdigit() else 0
    summed = -1 if l == depth else 0  # of the divergences only the deepest is part of the sum
    less = "" if scores.get("prior_factorises", True) else ", less what the prior has of it"
    match name:
        case "recon":
            return 1, "log p(x|z): how well the decoder explains an item from its code."
        case "mi":
            return -1, f"I(x;z): what the code tells about its item{ceiling}."
        case "tc" if depth == 1:
            return (
                -1,
                "Total correlation: how far the units are from independent across the data "
                f"set{less}.",
            )
        case "tc" if l == 0:
            return (
                -1,
                f"Total correlation between groups: how far {groups} are from independent across "
                f"the data set{less}.",
            )
        case "tc" if l == depth - 1:
            return (
                -1,
                "Total correlation within groups: how far a group's units are from "
                f"independent{less}.",
            )
        case "tc":
            return (
                -1,
                f"Total correlation of the groups at level {l + 1} inside those at level "
                f"{l}{less}.",
            )
        case "kl" if l == 0:
            return (
                summed,
                "KL(q(z) ‖ p(z)): how far codes over the whole data set are from the prior.",
            )
        case "kl":
            parts = "unit" if l == depth else f"group at level {l}"
            return (
                summed,
                f"Σ KL(q ‖ p) of each {parts} alone: how far it is from the prior across the data "
                "set.",
            )
        case "elbo":
            return 0, "Evidence lower bound on log p(x): the sum of the terms above."
        case "label":
            return 0, "log q(y|x): how well the encoder predicts observed labels."
        case "evidence":
            return 0, "log p(x), estimated by importance sampling."
    return 0, ""


def _terms(config: Json, scores: Json) -> list[dict[str, Any]]:
    """Rows of the decomposition, in the order of the sum, with the span of a waterfall that ends at
    the ELBO.
    """
    terms, test = scores.get("terms", {}), scores.get("test", {})
    depth = sum(t.startswith("tc[") for t in terms)
    rows, total = [], 0.0
    explained = {term: _explain(term, depth, config, scores) for term in terms}

    def place(
        term: str,
    ) -> tuple[
        Any, ...
    ]:  # reconstruction, information, correlations, divergence, sum; then the rest
        return (
            explained[term][0] == 0,
            term != "elbo",
            term != "recon",
            term != "mi",
            term.startswith("kl"),
            term,
        )

    for term in sorted(terms, key=place):
        (sign, meaning), values = explained[term], terms[term]
        exact = values.get("exact")
        row = {
            "name": term,
            "symbol": _CIRCLED.get(term, ""),
            "sign": sign,
            "meaning": meaning,
            "test": test.get(term),
        }
        row |= {key: values.get(key) for key in ("exact", "se", "minibatch", "minibatch_sd")}
        if exact is not None and (sign or term == "elbo"):
            start = total if sign else 0.0
            total += sign * exact
            row["span"] = (start, total if sign else exact)
        rows.append(row)
    ends = [end for row in rows for end in row.get("span", ())]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    for row in rows:
        if "span" in row:
            a, b = sorted((e - low) / ((high - low) or 1.0) * 100 for e in row["span"])
            row["bar"] = {"left": f"{a:.2f}%", "width": f"{b - a:.2f}%"}
    return rows


def _tiles(config: Json, scores: Json) -> list[dict[str, str]]:
    """The few numbers that a reader wants first."""
    terms, tiles = scores.get("terms", {}), []
    depth = sum(t.startswith("tc[") for t in terms)
    if "elbo" in scores.get("test", {}):
        tiles.append(("ELBO", scores["test"]["elbo"], f"nats per item, {_scored(config)}"))
    elif "recon" in scores.get("test", {}):
        tiles.append(
            ("Reconstruction", scores["test"]["recon"], f"nats per item, {_scored(config)}")
        )
    elif "elbo" in terms:
        tiles.append(("ELBO", _exact(terms["elbo"]), "nats per item"))
    if "mi" in terms:
        ceiling = f"nats, of at most {scores['log_n']:.3g}" if "log_n" in scores else "nats"
        tiles.append(("Information I(x;z)", _exact(terms["mi"]), ceiling))
    independent = (
        "nats; 0 is independent"
        if scores.get("prior_factorises", True)
        else "nats, less the prior's own"
    )
    for l in sorted({0, depth - 1}) if depth else ():
        kind = (
            ("TC between groups" if l == 0 else "TC within groups")
            if depth > 1
            else "Total correlation"
        )
        tiles.append((kind, _exact(terms[f"tc[{l}]"]), independent))
    shown = [
        {"name": n, "value": number(v).partition(" ± ")[0], "error": number(v), "note": t}
        for n, v, t in tiles
    ]
    for site, (value, error) in scores.get("error", {}).items():
        share = number(100 * value, 100 * error)
        note = f"items whose most probable {site} is not their label, {_scored(config)}"
        shown.append(
            {
                "name": f"Error of {site}",
                "value": share.partition(" ± ")[0] + "%",
                "error": share,
                "note": note,
            }
        )
    for site, value in scores.get("accuracy", {}).items():
        note = f"best match of {site} to {scores.get('factor', 'label')}, {_scored(config)}"
        shown.append(
            {
                "name": f"Accuracy of {site}",
                "value": f"{100 * value:.1f}%",
                "error": "",
                "note": note,
            }
        )
    return [{**tile, "error": tile["error"].partition(" ± ")[2]} for tile in shown]


def _exact(term: Json) -> tuple[Any, Any]:
    return term.get("exact"), term.get("se")


def _ordered(scores: Json) -> list[tuple[str, str]]:
    """(unit, group), groups in their order and the most informative unit of each first."""
    units = list(
        zip(scores.get("units", ()), scores.get("unit_group", scores.get("units", ())), strict=True)
    )
    places, information = list(dict.fromkeys(g for _, g in units)), scores.get("I(x;z)", {})
    return sorted(units, key=lambda u: (places.index(u[1]), -information.get(u[0], (0.0,))[0]))


def units(scores: Json, arrays: Arrays) -> list[dict[str, Any]]:
    """A card for each traversed unit."""
    information = scores.get("I(x;z)", {})
    most = max((v[0] for v in information.values()), default=0.0)
    most = max(most, 10 * IDLE)  # if all units are idle their bars are short, not noise blown up
    order = _ordered(scores)
    named = {name for name, _ in order}
    order += [
        (n[10:], n[10:].split("[")[0])
        for n in arrays
        if n.startswith("traversal/") and n[10:] not in named
    ]
    colors = plots.group_colors([g for _, g in order])
    columns = max(
        (strips.shape[1] for n, strips in arrays.items() if n.startswith("traversal/")), default=1
    )
    cards: list[dict[str, Any]] = []
    for unit, group in order:
        if f"traversal/{unit}" not in arrays:
            continue
        strips, at = arrays[f"traversal/{unit}"], arrays.get(f"traversal_at/{unit}", np.zeros(0))
        value = information.get(unit)
        idle = value is not None and value[0] < IDLE
        whole = bool(np.issubdtype(at.dtype, np.integer))
        cards.append(
            {
                "name": unit,
                "key": f"unit-{len(cards)}",
                "color": colors[group].replace(plots.GROUP_COLORS[0], ACCENT),
                "value": value,
                "bar": f"{100 * max(value[0], 0) / most:.1f}%" if value else None,
                "idle": idle,
                "discrete": whole,
                "at": [
                    f"{v}" if whole else f"{round(v, 1) + 0.0:.1f}".replace("-", "−") for v in at
                ],
                # a row says that an idle unit does nothing as well as six do
                "image": png(plots.traversal(strips[:1] if idle else strips)),
                "rows": 1 if idle else len(strips),
                "narrow": f"{100 * strips.shape[1] / columns:.0f}%"
                if strips.shape[1] < columns / 2
                else None,
            }
        )
    return cards


def _even(images: np.ndarray, most: int = 16) -> int:
    """Columns that fill the last row as well as the others."""
    return -(-len(images) // -(-len(images) // most))


def _reconstructions(arrays: Arrays) -> dict[str, Any] | None:
    if "x" not in arrays or "reconstruction" not in arrays:
        return None
    x = arrays["x"][:32]
    return png(plots.reconstructions(x, arrays["reconstruction"][:32], columns=_even(x)))


def _prior(arrays: Arrays) -> dict[str, Any] | None:
    if "prior_samples" not in arrays:
        return None
    samples = arrays["prior_samples"][:64]
    return png(plots.image_grid(samples, _even(samples)))


def _information(scores: Json, chart: Chart) -> Markup | None:
    held = [(u, g) for u, g in _ordered(scores) if u in scores.get("I(x;z)", {})]
    if not held:
        return None
    values = [scores["I(x;z)"][u][0] for u, _ in held]
    errors = [scores["I(x;z)"][u][1] or 0.0 for u, _ in held]
    ax = axes(620, 50 + 23 * len(held))
    plots.information_bars([u for u, _ in held], values, errors, [g for _, g in held], ax=ax)
    ax.set(xlabel="nats", xlim=(ax.get_xlim()[0], max(ax.get_xlim()[1], 10 * IDLE)))
    listed = ", ".join(f"{u} {v:.2f}" for (u, _), v in zip(held, values, strict=True))
    return chart(ax, f"Bars of the information in each unit, in nats: {listed}")


def _labels(scores: Json, chart: Chart) -> Markup | None:
    table = scores.get("I(y;z)")
    if not table or not table.get("names"):
        return None
    rank = {u: i for i, (u, _) in enumerate(_ordered(scores))}
    kinds = table.get("kinds", ["unit"] * len(table["names"]))
    # groups and the whole as they came, then units in the order of the other charts
    groups = {n for n, k in zip(table["names"], kinds, strict=True) if k != "unit"}
    order = [i for i, k in enumerate(kinds) if k != "unit"]
    units = [i for i, k in enumerate(kinds) if k == "unit" and table["names"][i] not in groups]
    order += sorted(units, key=lambda i: rank.get(table["names"][i], i))
    names = [table["names"][i] for i in order]
    per_class, total = table["per_class"], np.asarray(table["total"])
    # a class without items among those scored has no row
    per_class = np.array([row or [np.nan] * len(total) for row in per_class], dtype=np.float64)
    classes = [str(c) for c in scores.get("classes", range(len(per_class)))]
    ax = axes(max(620, min(940, 130 + 34 * len(classes))), 40 + 24 * len(names))
    plots.class_information(
        per_class[:, order], total[order], names, classes, [kinds[i] for i in order], ax=ax
    )
    listed = ", ".join(f"{n} {t:.2f}" for n, t in zip(names, total[order], strict=True))
    return chart(
        ax, f"Heat map of the information about each class; over all classes, in nats: {listed}"
    )


def _remarks(scores: Json) -> list[str]:
    """What metrics note, each note once, and why some have no value."""
    told: dict[str, list[str]] = {}
    for score in scores.get("metrics", {}).values():
        left_out = " is left out" if score["value"] is None else ""
        for note in score["notes"]:
            told.setdefault(note, []).append(score["name"].replace("_", " ") + left_out)
    return [f"{', '.join(names)}: {note}" for note, names in told.items()]


def _factors(scores: Json, chart: Chart, most: int = 40) -> Markup | None:
    """Heat map of what each group and each unit tells of each factor; of very many units, those
    that tell most.
    """
    table = scores.get("I(v;z)")
    if not table:
        return None
    value, entropy = (
        np.array(table["total"]).T,
        np.array(table["entropy"]),
    )  # (names, factors), (factors,)
    share = (value / np.maximum(entropy, 1e-9)).max(1)
    rank = {unit: i for i, (unit, _) in enumerate(_ordered(scores)) if "[" in unit}
    order = sorted(
        range(len(value)), key=lambda i: rank.get(table["names"][i], -1)
    )  # sites as they came, then units
    kept = set(np.argsort(-share, kind="stable")[:most].tolist())
    order = [i for i in order if i in kept]
    names, factors = [table["names"][i] for i in order], table["factors"]
    tilted = 5 * max(map(len, factors)) if max(map(len, factors)) > 12 else 0
    ax = axes(min(620, 120 + 90 * len(factors)), 70 + tilted + 24 * len(names))
    plots.code_factor_information(value[order], names, factors, entropy, ax=ax)
    best = zip(factors, value.argmax(0), value.max(0), strict=True)
    told = ", ".join(f"{factor}: {table['names'][i]} {most:.2f}" for factor, i, most in best)
    return chart(
        ax, f"Heat map of the information in each unit about each factor; the most of each: {told}"
    )


def _embedding(scores: Json, arrays: Arrays, chart: Chart) -> dict[str, Any] | None:
    if "embedding" not in arrays:
        return None
    kind, names = str(arrays.get("embedding_kind", "codes")), arrays.get("embedding_names")
    ax = axes(620, 560)
    classes = [str(c) for c in scores.get("classes", ())]
    axis_names = [str(n) for n in names] if names is not None else None
    n, labels = len(arrays["embedding"]), arrays.get("embedding_labels")
    held = [int(c) for c in np.unique(labels) if c >= 0] if labels is not None else []
    if len(held) < 2:  # one label is none
        labels, held = None, []
    plots.scatter(arrays["embedding"], labels, classes, axis_names, ax=ax)
    label = f"Scatter of {n} items, {kind}" + (", coloured by label" if held else "")
    legend = [
        (
            classes[c] if c < len(classes) else str(c),
            plots.CLASS_COLORS[c % len(plots.CLASS_COLORS)],
        )
        for c in held
    ]
    return {"svg": chart(ax, label), "kind": kind, "n": n, "legend": legend, "axes": axis_names}


def _curves(history: Sequence[Json], chart: Chart) -> list[dict[str, Any]]:
    """A small chart for each term that was logged."""
    other = {"split", "step", "epoch", "seconds", "items_per_second"}
    seen = dict.fromkeys(
        k for line in history for k, v in line.items() if k not in other and _real(v)
    )
    drawn = []
    for term in seen:
        ax = Figure(figsize=(300 / 72, 170 / 72)).add_axes(
            (0.17, 0.13, 0.825, 0.84)
        )  # all alike, so that axes align
        plots.curves(history, term, ax=ax)
        last = {line.get("split", "train"): line[term] for line in history if _real(line.get(term))}
        ends = ", ".join(f"{split} {number(value)}" for split, value in last.items())
        svg = chart(ax, f"{term} over the epochs, at the end {ends}")
        drawn.append({"term": term, "symbol": _CIRCLED.get(term, ""), "last": last, "svg": svg})
    return drawn


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
