"""Runs side by side: their scores in one table, and means over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import read_json


def table(runs: Sequence[str | Path]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Column heads, and a row a score: its value in each run, then mean and standard deviation over
    the runs.

    Scores are nats per item (accuracies and errors are shares); a run's own standard error stands
    in its report.
    """
    scores = [
        _flat(read_json(Path(run) / "config.json"), read_json(Path(run) / "scores.json"))
        for run in runs
    ]
    names = list(dict.fromkeys(name for score in scores for name in score))
    rows = []
    for name in names:
        values = [score.get(name, math.nan) for score in scores]
        whole = len(values) > 1 and not any(map(math.isnan, values))
        spread = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" if whole else ""
        rows.append((name, *(f"{value:.3f}" for value in values), spread))
    return ["score", *(Path(run).name for run in runs), "mean ± sd"], rows


def _flat(config: dict[str, Any], scores: dict[str, Any]) -> dict[str, float]:
    """Every score of a run by a name that means the same in another: units of a group go by rank,
    not by number.
    """
    flat = {"seconds": float(config.get("seconds", math.nan))}
    flat |= {f"{name}, test": value for name, (value, _) in scores.get("test", {}).items()}
    flat |= {name: term["exact"] for name, term in scores.get("terms", {}).items()}
    flat |= {
        f"{name}, minibatch": term["minibatch"] for name, term in scores.get("terms", {}).items()
    }
    flat |= _ranked("x", {unit: value for unit, (value, _) in scores.get("I(x;z)", {}).items()})
    about = scores.get("I(y;z)", {"names": [], "total": []})
    flat |= _ranked(
        scores.get("factor", "label"), dict(zip(about["names"], about["total"], strict=True))
    )
    flat |= {f"H({site}|x)": value for site, value in scores.get("conditional_entropy", {}).items()}
    flat |= {
        f"discrete I(x;{site})": value
        for site, value in scores.get("discrete_information", {}).items()
    }
    flat |= {f"error of {site}": value for site, (value, _) in scores.get("error", {}).items()}
    return flat | {
        f"accuracy of {site}": value for site, value in scores.get("accuracy", {}).items()
    }


def _ranked(about: str, information: dict[str, float]) -> dict[str, float]:
    """`I(x;y)` as it is; `I(x;z[3])`, `I(x;z[7])`, … as `I(x;z) #1`, the largest, and so on."""
    whole = {f"I({about};{name})": value for name, value in information.items() if "[" not in name}
    groups = dict.fromkeys(name.partition("[")[0] for name in information if "[" in name)
    for group in groups:
        values = sorted(
            (v for name, v in information.items() if name.startswith(f"{group}[")), reverse=True
        )
        whole |= {f"I({about};{group}) #{rank}": value for rank, value in enumerate(values, 1)}
    return whole
