"""What no exact value can be, and what it says of an estimator that gives it.

With q(z) known, 0 ≤ I(x;z) ≤ log N, total correlations (of priors that factorise) and KL
divergences are at least 0, and the terms add up to the ELBO. Estimates breach these bounds by their
bias or by noise.

    >>> breaches({"mi": (9.5, 0.1), "tc[0]": (-1.04, 0.02)}, n=1000, by="minibatch, B=128")[1]
    'tc[0] = -1.04 is below 0, which a total correlation is not: minibatch, B=128 underestimates'
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def breaches(
    terms: Mapping[str, tuple[float, float]],
    n: int,
    by: str,
    *,
    standard_errors: float = 4.0,
    slack: float = 0.01,
    factorises: bool = True,
) -> list[str]:
    """The bounds that `terms`, (value, standard error) in nats by name, break by more than noise,
    in words.

    `by` names the estimator. Terms are those of `recipe.decomposition`. Under a prior that does
    not factorise, such as a chain's, a total correlation less the prior's may be below 0.
    """
    found = []
    for name, (value, error) in terms.items():
        noise = standard_errors * error + slack
        if name == "mi" and value > math.log(n) + noise:
            found.append(
                f"I(x;z) = {value:.2f} is more than log N = {math.log(n):.2f}, the most that {n:,} "
                f"items can carry: {by} overestimates"
            )
        least = ("mi", "kl", "tc") if factorises else ("mi", "kl")
        if name.startswith(least) and value < -noise:
            what = {"mi": "an information", "kl": "a KL divergence", "tc": "a total correlation"}[
                name[:2]
            ]
            found.append(
                f"{name} = {value:.2f} is below 0, which {what} is not: {by} underestimates"
            )
    parts = [
        value for name, (value, _) in terms.items() if name == "mi" or name.startswith(("tc", "kl"))
    ]
    if parts and {"elbo", "recon"} <= terms.keys():
        gap = terms["recon"][0] - sum(parts) - terms["elbo"][0]
        noise = standard_errors * math.hypot(*(error for _, error in terms.values())) + slack
        if abs(gap) > noise:
            found.append(
                f"recon − mi − Σ tc − kl misses the ELBO by {gap:.2f} nats: {by} does not add up"
            )
    return found
