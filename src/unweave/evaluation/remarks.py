"""Sentences that a reader must know before the numbers: nothing was learnt, units are dependent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data import Data
from ..objective.atoms import Atom
from ..objective.critic import Critic
from ..objective.objective import Objective
from ..runs.measures import IDLE
from ..training.recipe import Recipe

MUCH = 10 * IDLE
"""Nats: an information or a correlation of several units that is more than this counts as much."""

Scores = Mapping[str, Any]
History = Sequence[Mapping[str, Any]]


def remarks(recipe: Recipe, train: Data, scores: Scores, history: History) -> list[str]:
    """Return sentences on a run that change how its numbers are read.

    Args:
        recipe: The plan by which the model was trained.
        train: The items that it was trained on.
        scores: What was measured, by the keys of scores.json.
        history: The lines of metrics.jsonl.
    """
    weights = term_weights(recipe.objective_at(recipe.epochs * recipe.per_epoch), scores)
    if _is_idle(scores):
        return [_idle(scores), _remedy(recipe, train, weights, history)]
    return _dependence(weights, scores)


def term_weights(objective: Objective, scores: Scores) -> dict[str, float]:
    r"""Return how many times an objective subtracts each measured term, per unit of reconstruction.

    An ELBO takes each of `mi`, `tc[l]` and `kl[L]` once. With the coefficients c of its atoms

    .. math:: w_{mi} = -c(\log q(z|x)), \qquad
        w_{tc[l]} = w_{mi} - \sum_{k \le l} c(\log q_k), \qquad
        w_{kl[L]} = w_{mi} - \sum_{k \le L} c(\log q_k)

    where log q_k is that of the blocks at level k. A critic's correlation counts as theirs. The
    result is empty if the objective does not reconstruct. Terms of some latents do not count.

    >>> terms = {"recon": {}, "mi": {}, "tc[0]": {}, "tc[1]": {}, "kl[2]": {}}
    >>> from unweave import hfvae
    >>> term_weights(hfvae(1, 12, 4), {"terms": terms})
    {'mi': 1.0, 'tc[0]': 12.0, 'tc[1]': 4.0, 'kl[2]': 1.0}
    """
    correlations = [name for name in scores.get("terms", {}) if name.startswith("tc[")]
    deepest = len(correlations)
    at_level = [0.0] * (deepest + 1)
    levels = range(-deepest - 1, deepest + 1)  # counted from the deepest, -1, too
    reconstruction, posterior = 0.0, 0.0
    for term, c in objective.coefficients.items():
        if not isinstance(c, int | float):
            continue
        match term:
            case Atom("recon" | "evidence"):
                reconstruction += c
            case Atom("posterior", _, ()):
                posterior += c
            case Atom("q", level, ()) if level in levels:
                at_level[level] += c
            case Critic(level, ()) if level in levels:
                at_level[0] += c
                at_level[level] -= c
    if reconstruction <= 0:
        return {}
    weights = {"mi": -posterior / reconstruction}
    taken = posterior
    for level, name in enumerate([*correlations, f"kl[{deepest}]"]):
        taken += at_level[level]
        weights[name] = -taken / reconstruction
    return weights


# -- nothing was learnt ----------------------------------------------------------------------------


def _is_idle(scores: Scores) -> bool:
    """Return true if no unit tells of its item, nor all together."""
    told = [value for value, _ in scores.get("I(x;z)", {}).values()]
    together = scores.get("terms", {}).get("mi", {}).get("exact", 0.0)
    return bool(told) and max(told) < IDLE and together < MUCH


def _idle(scores: Scores) -> str:
    told = {unit: value for unit, (value, _) in scores["I(x;z)"].items()}
    best = max(told, key=lambda unit: told[unit])
    most = max(told[best], 0.0)
    return (
        f"Nothing was learnt: all units are idle. None tells {IDLE} nats about its item ({best} "
        f"tells most, {most:.2g}), so pictures are all alike. Metrics and accuracies take means "
        "and most probable classes, and make much of differences that are next to nothing."
    )


def _remedy(recipe: Recipe, train: Data, weights: Mapping[str, float], history: History) -> str:
    """Return why a model learnt nothing, and what to try."""
    if _are_equal(train):
        return (
            f"The reason: all {len(train):,} items that it was trained on are equal, so there is "
            "nothing to tell apart. Look at how the data were read."
        )
    steps = recipe.epochs * recipe.per_epoch
    advice = []
    if _is_falling(history):
        advice.append(f"more epochs (the loss was still falling at the last step, {steps:,})")
    heavy = {name: weight for name, weight in weights.items() if weight > 1.001}
    if heavy:
        listed = ", ".join(f"{name} {weight:g} times" for name, weight in heavy.items())
        advice.append(f"smaller weights (the objective takes {listed})")
    advice += [
        f"weights that rise while training, such as beta_vae(ramp(0, 1, last={steps // 2}))",
        "another learning rate",
        "a likelihood that fits the numbers of x, such as a Normal for numbers that are no pixels",
    ]
    return (
        "The reason: a code costs as much in KL as it gains in reconstruction, or more, and then "
        f"the encoder is best off ignoring x. Try {'; '.join(advice)}."
    )


def _are_equal(data: Data, rows: int = 1000) -> bool:
    first = data.floats(slice(1))  # (1, *shape)
    for start in range(0, len(data), rows):
        some = data.floats(slice(start, start + rows))
        if not np.array_equal(some, np.broadcast_to(first, some.shape), equal_nan=True):
            return False
    return True


def _is_falling(history: History) -> bool:
    """True if the last fifth of the training lowered the loss by a twentieth of what all did."""
    held_out = [line["loss"] for line in history if line.get("split") == "valid" and "loss" in line]
    seen = [line["loss"] for line in history if line.get("split") == "train" and "loss" in line]
    losses = held_out if len(held_out) > 1 else seen
    if len(losses) < 2:
        return False
    whole = losses[0] - losses[-1]
    late = losses[-1 - max(1, len(losses) // 5)] - losses[-1]
    return bool(late > whole / 20 > 0)


# -- units are dependent ---------------------------------------------------------------------------


def _dependence(weights: Mapping[str, float], scores: Scores) -> list[str]:
    """Return a sentence for each correlation that is large though the objective weighs it."""
    found = []
    for name, term in scores.get("terms", {}).items():
        weight = weights.get(name, 1.0)
        exact, error = term["exact"], term["se"]
        if not name.startswith("tc[") or weight < 1.001 or exact < MUCH + 4 * error:
            continue
        seen = term["minibatch"]
        text = (
            f"{name} is {exact:.2f} nats, though the objective takes it {weight:g} times to keep "
            "it small: latents are not independent."
        )
        if seen < exact / 2:
            remedy = f"Training's batches saw {seen:.2f}: try a larger batch."
        else:
            remedy = "Try more epochs, or a larger weight."
        found.append(f"{text} {remedy}")
    return found
