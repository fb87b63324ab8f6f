"""The information of units about a selection of items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics.posteriors import aggregate, draws

Array = NDArray[Any]

POINTS = 300
"""Draws of z on each side of a selection."""


def normal_information(means: Array, scales: Array, inside: Array) -> tuple[Array, Array]:
    """Return I(s; z_d) of a selection s in each unit, in nats, and its standard error.

    .. math:: I(s; z_d) = \\sum_s p(s) E_{q(z_d|s)}[\\log q(z_d|s) - \\log q(z_d)]

    s says whether an item is selected, and q(z_d|s) averages q(z_d|x_i) over the items on that
    side. Expectations are means over draws, as many on each side.

    Args:
        means: (n, units), of q(z_d|x_i) = N(mean, scale²).
        scales: (n, units), standard deviations.
        inside: (n,), true at the selected items; some are, some are not.
    """
    units = means.shape[1]
    information, variance = np.zeros(units), np.zeros(units)
    for side in (inside, ~inside):
        share = side.mean()
        _, z = draws(means[side], scales[side], POINTS, 0)  # (points, units)
        of_side, _ = aggregate(z, means[side], scales[side])
        of_all, _ = aggregate(z, means, scales)
        gain = of_side - of_all
        information += share * gain.mean(0)
        variance += share**2 * gain.var(0) / POINTS
    return information, np.sqrt(variance)


def class_information(probs: Array, inside: Array) -> float:
    """Return I(s; y) of a selection s in a class y, in nats, without an error.

    .. math:: I(s; y) = \\sum_s p(s) \\mathrm{KL}(q(y|s) \\| q(y))

    Args:
        probs: (n, classes), q(y|x_i).
        inside: (n,), true at the selected items.
    """
    whole = probs.mean(0)
    total = 0.0
    for side in (inside, ~inside):
        part = probs[side].mean(0)
        held = part > 0
        divergence = np.sum(part[held] * np.log(part[held] / whole[held]))
        total += side.mean() * float(divergence)
    return total
