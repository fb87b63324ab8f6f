"""Bounds on exact values, and what an estimator that breaks them does wrong.

With q(z) known, 0 ≤ I(x;z) ≤ log N, total correlations (of priors that factorise) and KL
divergences are at least 0, and the terms add up to the ELBO. Estimates break these bounds by their
bias or by noise.

    >>> breaches({"mi": (9.5, 0.1), "tc[0]": (-1.04, 0.02)}, n=1000, by="minibatch, B=128")[1]
    'tc[0] = -1.04 is below 0, which a total correlation is not: minibatch, B=128 underestimates'
"""

from __future__ import annotations

import math
from collections.abc import Mapping

NON_NEGATIVE = {"mi": "an information", "kl": "a KL divergence", "tc": "a total correlation"}


def breaches(
    terms: Mapping[str, tuple[float, float]],
    n: int,
    by: str,
    *,
    standard_errors: float = 4.0,
    slack: float = 0.01,
    factorises: bool = True,
) -> list[str]:
    """Say which bounds are broken by more than noise.

    Args:
        terms: (value, standard error) in nats by name, as of `recipe.decomposition`.
        n: The number of items.
        by: The estimator's name.
        standard_errors: How many of them count as noise.
        slack: Nats that count as noise.
        factorises: Whether the prior does. A total correlation less that of a prior that does not,
            such as a chain's, may be below 0.

    Returns:
        A sentence for each.
    """
    found = []
    most = math.log(n)
    for name, (value, error) in terms.items():
        noise = standard_errors * error + slack
        if name == "mi" and value > most + noise:
            found.append(
                f"I(x;z) = {value:.2f} is more than log N = {most:.2f}, the most that {n:,} items "
                f"can carry: {by} overestimates"
            )
        kind = name[:2]
        may_be_negative = kind == "tc" and not factorises
        is_bounded = kind in NON_NEGATIVE and not may_be_negative
        if is_bounded and value < -noise:
            quantity = NON_NEGATIVE[kind]
            found.append(
                f"{name} = {value:.2f} is below 0, which {quantity} is not: {by} underestimates"
            )
    errors = [error for _, error in terms.values()]
    error = math.hypot(*errors)
    noise = standard_errors * error + slack
    gap = _gap(terms)
    if gap is not None and abs(gap) > noise:
        found.append(
            f"recon − mi − Σ tc − kl misses the ELBO by {gap:.2f} nats: {by} does not add up"
        )
    return found


def _gap(terms: Mapping[str, tuple[float, float]]) -> float | None:
    """Return what the terms miss of the ELBO, if they are all there."""
    values = {name: value for name, (value, _) in terms.items()}
    parts = [values[name] for name in values if name == "mi" or name.startswith(("tc", "kl"))]
    if not parts or "elbo" not in values or "recon" not in values:
        return None
    total = values["recon"] - sum(parts)
    return total - values["elbo"]
