"""Limits of what a site is given, asked where values are first seen: negative scales, grey values.

Each of them would otherwise be a number that is finite and wrong. A look at a tensor waits for its
device: a look elsewhere than on the CPU, or one that costs as much as a density, is taken at a
site's first call, its second, fourth, eighth and so on.

NaN, and scales of 0, are refused in numbers and constants. What a network gives may become so while
it trains: `training.faults` then says at which step, and for which items.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter

import torch
from torch import Tensor
from torch.distributions import Bernoulli, ContinuousBernoulli, Distribution, Independent

from .axes import plain

MANY = 64
"""Log odds that all lie between 0 and 1 by chance are fewer than these."""

_calls: Counter[tuple[str, str, str]] = Counter()


def check_location(name: str, loc: float | Tensor) -> None:
    """Refuse a mean that is NaN or infinite, if it is a number or a constant.

    Raises:
        ValueError: There is one.
    """
    if not isinstance(loc, Tensor):
        is_fine = math.isfinite(loc)
    elif _is_constant(loc) and loc.numel() and _is_due(name, "mean", loc):
        is_fine = bool(plain(loc).isfinite().all())
    else:
        is_fine = True
    if not is_fine:
        raise ValueError(
            f"site {name!r}: its mean is NaN or infinite; expected finite numbers: look at what "
            "it is computed from"
        )


def check_scale(name: str, scale: float | Tensor) -> None:
    """Refuse a standard deviation of 0 or below, and of numbers and constants, NaN and infinity.

    The KL divergence of a negative one would be finite.

    Raises:
        ValueError: There is one.
    """
    least = _least(name, "scale", scale) if isinstance(scale, Tensor) else scale
    is_off = not 0 < least < math.inf
    if least < 0 or (is_off and _is_constant(scale)):
        raise ValueError(
            f"site {name!r}: its scale is as low as {least:g}, and a Normal takes a standard "
            "deviation, above 0: give log_std.exp() of a log standard deviation, "
            "(log_variance / 2).exp() of a log variance, or torch.nn.functional.softplus(scale)"
        )


def check_temperature(name: str, temperature: float | Tensor) -> None:
    """Refuse a temperature that is not above 0.

    Raises:
        ValueError: There is one.
    """
    least = temperature
    if isinstance(temperature, Tensor):
        least = _least(name, "temperature", temperature)
    is_off = not 0 < least < math.inf
    if least <= 0 or (is_off and _is_constant(temperature)):
        raise ValueError(
            f"site {name!r}: its temperature is as low as {least:g}, expected above 0: give 0.66 "
            "or so, or q.categorical(logits, …), which is the limit at 0"
        )


def check_log_weights(name: str, logits: Tensor) -> None:
    """Refuse probabilities in the place of log weights, which no softmax would undo.

    Rows that are uniform are the same distribution either way.

    Raises:
        ValueError: All rows are probabilities.
    """
    if not _is_due(name, "log weights", logits) or not logits.numel():
        return
    weights = plain(logits.detach())
    least, most = weights.aminmax()
    if least.isnan():
        _refuse_nan(name, logits)
    if not 0 <= float(least) < float(most) <= 1:
        return
    total = weights.sum(-1)
    gap = (total - 1).abs().max()
    if float(gap) < 1e-4:
        raise ValueError(
            f"site {name!r}: its logits are probabilities, as no row has an entry below 0 and each "
            "sums to 1, but log weights were expected: give probabilities.log(); if they are log "
            "weights after all, logits.log_softmax(-1) is the same distribution"
        )


def check_log_odds(name: str, logits: Tensor) -> None:
    """Warn of log odds that look like probabilities: many, and all between 0 and 1.

    Raises:
        ValueError: One of them is NaN, and they are constants.
    """
    if not _is_due(name, "log odds", logits) or not logits.numel():
        return
    least, most = plain(logits.detach()).aminmax()
    if least.isnan():
        _refuse_nan(name, logits)
    if logits.numel() >= MANY and 0 < float(least) < float(most) < 1:
        warnings.warn(
            f"site {name!r}: all its logits lie between 0 and 1, as probabilities do, but log odds "
            "were expected: leave out the last sigmoid, or give probabilities.logit()",
            stacklevel=4,
        )


def outcomes(name: str, dist: Distribution, value: Tensor, *, all_given: bool = True) -> Tensor:
    """Return the values of a Bernoulli site as floats; other sites' values stay as they are.

    Args:
        name: The site's name.
        dist: The site's distribution.
        value: Booleans, integers 0 and 1, or grey values in [0, 1].
        all_given: Whether all of the values count; where some are missing they may be anything.

    Raises:
        ValueError: Values are below 0 or above 1.
    """
    while isinstance(dist, Independent):
        dist = dist.base_dist
    if not isinstance(dist, (Bernoulli, ContinuousBernoulli)):
        return value
    is_whole = not value.is_floating_point()
    on_cpu = value.device.type == "cpu"
    is_asked = value.dtype != torch.bool and all_given
    if is_asked and ((is_whole and on_cpu) or _is_due(name, "outcomes", value)):
        _refuse_beyond(name, plain(value.detach()))
    parameter: Tensor = dist._param
    return value.to(parameter.dtype) if is_whole else value


def _refuse_beyond(name: str, value: Tensor) -> None:
    """Raise a ValueError if outcomes are below 0 or above 1."""
    if not value.numel():
        return
    ends = value.aminmax()
    least, most = float(ends.min), float(ends.max)
    is_fine = least >= 0 and most <= 1
    if is_fine or math.isnan(least):
        return
    kind = str(value.dtype).removeprefix("torch.")
    raise ValueError(
        f"site {name!r}: its values ({kind}) range from {least:g} to {most:g}, and a Bernoulli "
        "scores 0 and 1, or grey values between: give x / 255 for bytes, (x > 127) for black and "
        "white, or score other numbers by p.normal(loc, scale, …)"
    )


def _refuse_nan(name: str, logits: Tensor) -> None:
    """Raise a ValueError if logits that hold NaN are constants."""
    if _is_constant(logits):
        raise ValueError(
            f"site {name!r}: its logits are NaN; expected numbers: look at what they are computed "
            "from"
        )


def _is_constant(parameter: float | Tensor) -> bool:
    """Return true if a parameter is a number, or a tensor that no weights gave."""
    if not isinstance(parameter, Tensor):
        return True
    return torch.is_grad_enabled() and not parameter.requires_grad


def _least(name: str, what: str, t: Tensor) -> float:
    """Return the least entry of a parameter, 1 where there is no look at it."""
    on_cpu = t.device.type == "cpu"
    if not t.numel() or not (on_cpu or _is_due(name, what, t)):
        return 1.0
    return float(t.detach().min())


def _is_due(name: str, what: str, t: Tensor) -> bool:
    """Return true if a look at a site's tensor is to be taken at this call."""
    device = t.device.type
    if device == "meta":
        return False
    key = (name, what, device)
    _calls[key] += 1
    count = _calls[key]
    return count & (count - 1) == 0
