"""What every metric has in common: arrays that are checked once, a result that says what it is,
intervals.

Codes are (n, codes) numbers. Factors are (n, factors): whole numbers are classes, −1 where they are
missing; other numbers are continuous, NaN where they are missing; text is classes by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 20
"""Into how many cells of equal width continuous numbers are cut, as in disentanglement_lib."""


@dataclass(frozen=True)
class Score:
    """A metric's value, and how it was computed.

    `convention` names the definition where libraries differ; `range` is what the value can be;
    `parts` are named numbers and arrays that the value is made of, per factor or code in the
    arrays' order with NaN for those left out; `notes` say what was done about inputs that are out
    of the ordinary; `interval` is set by `bootstrap`.

    >>> float(Score("MIG", 0.25, "disentanglement_lib", (0, 1)))
    0.25
    """

    name: str
    value: float
    convention: str
    range: tuple[float, float]
    parts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    level: float | None = None

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        within = (
            f" ({self.level:.0%} interval {self.interval[0]:.3f} to {self.interval[1]:.3f})"
            if self.interval
            else ""
        )
        return f"{self.name} {self.value:.3f}{within}, convention {self.convention}"


@dataclass(frozen=True)
class Pairs:
    """Checked codes and factors: codes (n, c) float64; factors (n, f) class numbers from 0, −1
    where missing.

    `targets` are the factors as floats, NaN where missing; `continuous` says which factors were cut
    into cells, and `varied` which have two classes or more (the others say nothing, and metrics
    leave them out).
    """

    codes: NDArray[np.float64]
    factors: NDArray[np.int64]
    targets: NDArray[np.float64]
    continuous: NDArray[np.bool_]
    notes: tuple[str, ...]

    @property
    def varied(self) -> NDArray[np.bool_]:
        return np.asarray(self.factors.max(0) > 0, dtype=bool)  # the least class of a factor is 0

    def known(self, factor: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Codes and classes of the items whose factor is known."""
        here = self.factors[:, factor] >= 0
        return self.codes[here], self.factors[here, factor]


def described(value: Any) -> Any:
    """A score, or what it holds, as JSON: arrays and tuples are lists, None stands for NaN and
    infinity.

    >>> described(Score("MIG", 0.25, "disentanglement_lib", (0, np.inf)))["range"]
    [0, None]
    """
    if isinstance(value, Score):
        return {part.name: described(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): described(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [described(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def named(note: str, factors: Sequence[str]) -> str:
    """A note with the names of factors for their numbers.

    >>> named("factors with one class are left out: factor 1, factor 2", ["shape", "size", "hue"])
    'factors with one class are left out: size, hue'
    """
    return re.sub(r"\bfactor (\d+)\b", lambda number: str(factors[int(number[1])]), note)


def paired(codes: ArrayLike, factors: ArrayLike, *, least: int = 10, bins: int = BINS) -> Pairs:
    """Checks codes (n, codes) and factors (n, factors), a vector being one column; continuous
    factors get `bins` cells.

    >>> pairs = paired(np.arange(12.0), np.arange(12) % 3 - 1)
    >>> pairs.factors.ravel()[:6].tolist(), pairs.notes
    ([-1, 0, 1, -1, 0, 1], ('items whose factor is missing are left out of its part (factor 0: 4)',))

    Raises:
        ValueError: If they have no or different numbers of items, fewer than `least`, codes that
        are NaN, infinite or
            no numbers, or no factor with two classes.
    """
    z = checked(codes)
    raw = _columns("factors", factors)
    if len(raw) != len(z):
        raise ValueError(
            f"{len(z)} items of codes and {len(raw)} of factors: expected a row of each for every "
            "item"
        )
    if len(z) < least:
        raise ValueError(f"{len(z)} items: expected {least} or more to say anything")
    read = [_factor(column, bins) for column in raw.T]
    classes = np.stack([c for c, _, _ in read], 1)
    pairs = Pairs(
        z,
        classes,
        np.stack([t for _, t, _ in read], 1),
        np.array([cut for _, _, cut in read], dtype=bool),
        _notes(z, classes, [cut for _, _, cut in read], bins),
    )
    if not pairs.varied.any():
        raise ValueError(
            f"no factor of {classes.shape[1]} has two classes among the items: nothing to score "
            "codes against"
        )
    return pairs


def checked(codes: ArrayLike) -> NDArray[np.float64]:
    """Codes as finite numbers, (n, codes), a vector being one column; raises ValueError as `paired`
    does.
    """
    z = _columns("codes", codes)
    try:
        z = z.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"codes are {z.dtype}; expected numbers: leave out columns of text"
        ) from None
    if (broken := ~np.isfinite(z).all(1)).any():
        first = ", ".join(map(str, np.flatnonzero(broken)[:5])) + ", …" * bool(broken.sum() > 5)
        raise ValueError(
            f"codes have NaN or infinite values in {broken.sum()} of {len(z)} items ({first}): "
            "expected finite numbers: leave these items out of codes and factors, and find out "
            "what broke the encoder"
        )
    return np.asarray(z, dtype=np.float64)


def _columns(what: str, array: ArrayLike) -> NDArray[Any]:
    a = np.asarray(array)
    a = a[:, None] if a.ndim == 1 else a
    if a.ndim != 2 or not a.size:
        raise ValueError(
            f"{what} have shape {np.shape(array)}: expected (n, {what}), none of them 0"
        )
    return a


def _factor(column: NDArray[Any], bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64], bool]:
    """Class numbers with −1 where missing, the same as numbers with NaN, and whether classes are
    cells of numbers.
    """
    try:
        value = column.astype(np.float64)
    except (TypeError, ValueError):  # text, None where missing
        held = np.array(
            [item is not None and item == item and item != "" for item in column], dtype=bool
        )
        classes = np.full(len(column), -1, dtype=np.int64)
        classes[held] = np.unique(column[held].astype(str), return_inverse=True)[1]
        return classes, np.where(held, classes.astype(np.float64), np.nan), False
    whole = bool(np.all(value[np.isfinite(value)] % 1 == 0))
    held = np.isfinite(value) & ~((value == -1) & whole & _marks_missing(value))
    classes = np.full(len(column), -1, dtype=np.int64)
    if whole:
        classes[held] = _numbered(value[held])
    elif held.any():
        classes[held] = cells(value[held][:, None], bins)[:, 0]
    return classes, np.where(held, value, np.nan), not whole


def _numbered(value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers as those of the classes, in their order; by counting where there are not
    many.
    """
    low, high = value.min(initial=0), value.max(initial=0)
    if high - low > 10 * len(value) + 1000:
        return np.asarray(np.unique(value, return_inverse=True)[1], dtype=np.int64)
    shifted = (value - low).astype(np.int64)
    return np.asarray((np.cumsum(np.bincount(shifted) > 0) - 1)[shifted], dtype=np.int64)


def _marks_missing(value: NDArray[np.float64]) -> bool:
    """Whether −1 stands for a missing class: it does unless other negative numbers or only ±1
    occur.
    """
    finite = value[np.isfinite(value)]
    return bool(finite.min(initial=0) >= -1 and not np.isin(finite, (-1, 1)).all())


def _notes(
    z: NDArray[np.float64], classes: NDArray[np.int64], cut: list[bool], bins: int
) -> tuple[str, ...]:
    constant = int((np.ptp(z, 0) == 0).sum())
    missing = [
        f"factor {k}: {(column < 0).sum()}"
        for k, column in enumerate(classes.T)
        if (column < 0).any()
    ]
    single = [f"factor {k}" for k, column in enumerate(classes.T) if column.max() < 1]
    cells_of = [f"factor {k}" for k, is_cut in enumerate(cut) if is_cut]
    return tuple(
        text
        for said, text in (
            (constant, f"{constant} of {z.shape[1]} codes are constant"),
            (
                missing,
                f"items whose factor is missing are left out of its part ({'; '.join(missing)})",
            ),
            (single, f"factors with one class are left out: {', '.join(single)}"),
            (
                cells_of,
                f"continuous factors are cut into {bins} cells of equal width: "
                f"{', '.join(cells_of)}",
            ),
        )
        if said
    )


def cells(codes: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Each column cut into `bins` cells of equal width from its least to its largest value,
    numbered from 0.

    The cells of `np.histogram`, as `np.digitize` of disentanglement_lib finds them; a constant
    column is one cell.

    >>> cells(np.array([[0.0], [0.4], [0.5], [1.0]]), bins=2).ravel().tolist()
    [0, 0, 1, 1]
    """
    if bins < 2:
        raise ValueError(
            f"{bins} bins: expected 2 or more, or every code and continuous factor would be "
            "constant"
        )
    low, high = codes.min(0), codes.max(0)
    edges = np.linspace(low, high, bins + 1)  # (bins + 1, columns)
    width = np.where(high > low, high - low, 1)
    found = np.minimum(((codes - low) / width * bins).astype(np.int64), bins - 1)
    columns = np.arange(codes.shape[1])
    found += (found < bins - 1) & (
        codes >= edges[found + 1, columns]
    )  # where the division was rounded
    found -= codes < edges[found, columns]
    return np.asarray(found * (high > low), dtype=np.int64)


def bootstrap(
    metric: Callable[..., Score],
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 100,
    seed: int = 0,
    **settings: Any,
) -> Score:
    r"""The metric's score with an interval that covers what other samples of as many items would
    give.

    Half of the items are drawn without replacement, `resamples` times; the interval is

    .. math:: \hat θ + \mathrm{quantiles}(θ^*_b - \bar θ^*)

    A mean over half of the items differs from the mean over all by as much as that differs from the
    truth, and without replacement no item stands on both sides of a metric's split into training
    and test items, nor do duplicates raise plug-in information; what half of the items do to the
    level of a metric is taken out by the centre. The quantiles are Weibull's, (b of resamples + 1),
    for which an interval of Normal deviations covers exactly `level`.

    Source: Politis and Romano, "Large sample confidence regions based on subsamples" (1994);
    Præstgaard and Wellner, "Exchangeably weighted bootstraps" (1993), of which half-sampling is
    one.
    """
    whole = metric(codes, factors, **settings)
    z, v = np.asarray(codes), np.asarray(factors)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        half = np.sort(rng.permutation(len(z))[: len(z) // 2])
        values.append(metric(z[half], v[half], **settings).value)
    spread = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="weibull") - np.mean(
        values
    )
    low, high = np.clip(whole.value + spread, *whole.range)
    return replace(whole, interval=(float(low), float(high)), level=level)
