"""The metrics' common ground: checked arrays, scores that describe themselves, intervals.

Codes are (n, codes) numbers. Factors are (n, factors): whole numbers are classes, −1 where they are
missing; other numbers are continuous, NaN where they are missing; text is classes by name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .sharing import once

BINS = 20
"""The number of equal cells that continuous numbers are cut into, as in disentanglement_lib."""

LARGEST = 1e30
"""The size of a code at most, and one over its least: trees have 32 bits, sums are of squares."""

MOST = 100_000
"""The most items that metrics see which fit predictors; of more, as many are drawn at random."""

P = ParamSpec("P")


@dataclass(frozen=True)
class Score:
    """A metric's value, and how it was computed.

    >>> float(Score("MIG", 0.25, "disentanglement_lib", (0, 1)))
    0.25
    """

    name: str
    value: float
    convention: str
    """The name of the definition, where libraries differ."""
    range: tuple[float, float]
    """The least and the largest value that the metric can have."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Named numbers and arrays that the value is made of. Those of factors or codes are in the
    arrays' order, NaN for those left out."""
    notes: tuple[str, ...] = ()
    """Sentences on what was done about unusual inputs."""
    interval: tuple[float, float] | None = None
    """An interval around the value, which `bootstrap` sets."""
    level: float | None = None
    """The interval's level."""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        within = ""
        if self.interval:
            low, high = self.interval
            within = f" ({self.level:.0%} interval {low:.3f} to {high:.3f})"
        return f"{self.name} {self.value:.3f}{within}, convention {self.convention}"


@dataclass(frozen=True)
class Pairs:
    """Checked codes and factors of the same items."""

    codes: NDArray[np.float64]
    """(n, codes)."""
    factors: NDArray[np.int64]
    """Class numbers from 0, −1 where missing, (n, factors)."""
    targets: NDArray[np.float64]
    """The factors as floats, NaN where missing, (n, factors)."""
    continuous: NDArray[np.bool_]
    """A mask of the factors that were cut into cells, (factors,)."""
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of codes and of factors."""
        return self.codes.shape[1], self.factors.shape[1]

    @property
    def varied(self) -> NDArray[np.bool_]:
        """A mask of the factors with two classes or more; metrics leave the others out."""
        return np.asarray(self.factors.max(0) > 0, dtype=bool)  # the least class of a factor is 0

    def known(self, factor: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return codes and classes of the items whose factor is known."""
        here = self.factors[:, factor] >= 0
        return self.codes[here], self.factors[here, factor]


def described(value: Any) -> Any:
    """Turn a score, or what it holds, into JSON: lists for arrays, None for NaN and infinity.

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
    """Replace the numbers of factors in a note by their names.

    >>> named("factors with one class are left out: factor 1, factor 2", ["shape", "size", "hue"])
    'factors with one class are left out: size, hue'
    """

    def name(number: re.Match[str]) -> str:
        return str(factors[int(number[1])])

    return re.sub(r"\bfactor (\d+)\b", name, note)


@once
def paired(codes: ArrayLike, factors: ArrayLike, *, least: int = 10, bins: int = BINS) -> Pairs:
    """Check codes and factors, and number the factors' classes.

    Args:
        codes: (n, codes), or a vector for one column.
        factors: (n, factors), or a vector for one column.
        least: Least number of items.
        bins: Number of cells that continuous factors are cut into.

    Returns:
        The checked arrays, with notes on what is unusual about them.

    Raises:
        ValueError: If codes and factors have different numbers of items, or fewer than `least`; if
            codes are NaN, infinite or no numbers; if no factor has two classes.

    >>> pairs = paired(np.arange(12.0), np.arange(12) % 3 - 1)
    >>> pairs.factors.ravel()[:6].tolist()
    [-1, 0, 1, -1, 0, 1]
    >>> pairs.notes
    ('items whose factor is missing are left out of its part (factor 0: 4)',)
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
    of_factors, numbers, cut = zip(*read, strict=True)
    classes = np.stack(of_factors, 1)  # (n, factors)
    targets = np.stack(numbers, 1)  # (n, factors)
    continuous = np.array(cut, dtype=bool)
    pairs = Pairs(z, classes, targets, continuous, _notes(z, classes, continuous, bins))
    if not pairs.varied.any():
        raise ValueError(
            f"no factor of {classes.shape[1]} has two classes among the items: nothing to score "
            "codes against"
        )
    return pairs


def _check_sizes(z: NDArray[np.float64]) -> None:
    """Refuse codes whose squares, or whose digits in float32, some metric would lose."""
    largest = np.abs(z).max(0, initial=0)  # (codes,)
    off = np.isfinite(largest) & ((largest > LARGEST) | ((largest > 0) & (largest < 1 / LARGEST)))
    if off.any():
        j = int(np.flatnonzero(off)[0])
        raise ValueError(
            f"code {j} goes to {largest[j]:.2g}; expected numbers between {1 / LARGEST:g} and "
            f"{LARGEST:g}, whose squares can be told apart: divide the code by its standard "
            "deviation"
        )


@once
def checked(codes: ArrayLike) -> NDArray[np.float64]:
    """Return codes as finite numbers, (n, codes), a vector as one column.

    Raises:
        ValueError: If codes are NaN, infinite, no numbers, or all of a code are beyond `LARGEST` or
            within its inverse.
    """
    z = _columns("codes", codes)
    try:
        z = z.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"codes are {z.dtype}; expected numbers: leave out columns of text"
        ) from None
    _check_sizes(z)
    broken = ~np.isfinite(z).all(1)
    if broken.any():
        first = ", ".join(map(str, np.flatnonzero(broken)[:5]))
        if broken.sum() > 5:
            first += ", …"
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
    """Read a factor: class numbers, −1 where missing; numbers, NaN where missing; true if cut."""
    classes = np.full(len(column), -1, dtype=np.int64)
    try:
        value = column.astype(np.float64)
    except (TypeError, ValueError):  # text, None where missing
        held = np.array([_is_text(item) for item in column], dtype=bool)
        classes[held] = np.unique(column[held].astype(str), return_inverse=True)[1]
        return classes, np.where(held, classes.astype(np.float64), np.nan), False
    held = np.isfinite(value)
    whole = bool(np.all(value[held] % 1 == 0))
    if whole and _marks_missing(value):
        held &= value != -1
    if whole:
        classes[held] = _numbered(value[held])
    elif held.any():
        classes[held] = cells(value[held][:, None], bins)[:, 0]
    return classes, np.where(held, value, np.nan), not whole


def _is_text(item: Any) -> bool:
    return bool(item is not None and item == item and item != "")  # NaN differs from itself


def _numbered(value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the classes of whole numbers in their order, by counting if their range is small."""
    low = value.min(initial=0)
    high = value.max(initial=0)
    if high - low > 10 * len(value) + 1000:
        return np.asarray(np.unique(value, return_inverse=True)[1], dtype=np.int64)
    shifted = (value - low).astype(np.int64)
    occurs = np.bincount(shifted) > 0
    number = np.cumsum(occurs) - 1
    return np.asarray(number[shifted], dtype=np.int64)


def _marks_missing(value: NDArray[np.float64]) -> bool:
    """True if −1 stands for a missing class: unless other negative numbers or only ±1 occur."""
    finite = value[np.isfinite(value)]
    others = finite.min(initial=0) < -1
    signs = np.isin(finite, (-1, 1)).all()
    return not others and not signs


def _notes(
    z: NDArray[np.float64], classes: NDArray[np.int64], cut: NDArray[np.bool_], bins: int
) -> tuple[str, ...]:
    constant = int((np.ptp(z, 0) == 0).sum())
    unknown = (classes < 0).sum(0)  # (factors,)
    missing = "; ".join(f"factor {k}: {unknown[k]}" for k in np.flatnonzero(unknown))
    single = _listed(classes.max(0) < 1)
    continuous = _listed(cut)
    notes = []
    if constant:
        notes.append(f"{constant} of {z.shape[1]} codes are constant")
    if missing:
        notes.append(f"items whose factor is missing are left out of its part ({missing})")
    if single:
        notes.append(f"factors with one class are left out: {single}")
    if continuous:
        notes.append(f"continuous factors are cut into {bins} cells of equal width: {continuous}")
    return tuple(notes)


def _listed(factors: NDArray[np.bool_]) -> str:
    return ", ".join(f"factor {k}" for k in np.flatnonzero(factors))


def cells(codes: NDArray[np.float64], bins: int = BINS) -> NDArray[np.int64]:
    """Cut each column into `bins` cells of equal width, numbered from 0, and find each value's.

    The cells go from a column's least to its largest value. They are those of `np.histogram`, as
    `np.digitize` of disentanglement_lib finds them; a constant column is one cell.

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
    place = (codes - low) / width * bins
    found = np.minimum(place.astype(np.int64), bins - 1)
    columns = np.arange(codes.shape[1])
    # rounding of the division may miss a cell by one
    inner = found < bins - 1
    found += inner & (codes >= edges[found + 1, columns])
    found -= codes < edges[found, columns]
    return np.asarray(found * (high > low), dtype=np.int64)


def of_some(metric: Callable[P, Score]) -> Callable[P, Score]:
    """Let a metric see `MOST` items at most: of more, as many are drawn, which a note says.

    The draw is that of the metric's `seed`, 0 if it has none.
    """
    signature = inspect.signature(metric)

    @wraps(metric)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Score:
        given = signature.bind(*args, **kwargs).arguments
        n = len(given["codes"])
        if n <= MOST or n != len(given["factors"]):
            return metric(*args, **kwargs)
        rng = np.random.default_rng(given.get("seed", 0))
        few = np.sort(rng.permutation(n)[:MOST])
        given["codes"] = np.asarray(given["codes"])[few]
        given["factors"] = np.asarray(given["factors"])[few]
        score = metric(**given)  # type: ignore[call-arg]
        note = f"{MOST:,} of {n:,} items, drawn at random, were fitted to and measured on"
        return replace(score, notes=(*score.notes, note))

    return wrapped


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
    r"""Compute a metric's score with an interval for other samples of as many items.

    Half of the items are drawn without replacement, `resamples` times; the interval is

    .. math:: \hat θ + \mathrm{quantiles}(θ^*_b - \bar θ^*)

    A mean over half of the items differs from the mean over all by as much as that differs from the
    truth. Drawing without replacement, no item stands on both sides of a metric's split into
    training and test items, and no duplicates raise plug-in information. Half of the items may
    shift a metric's level; the centre removes that shift. The quantiles are Weibull's, (b of
    resamples + 1): an interval of Normal deviations then covers exactly `level`.

    Args:
        metric: A function of codes and factors that returns a score.
        codes: (n, codes).
        factors: (n, factors).
        level: Probability that the interval covers.
        resamples: Number of halves that are drawn.
        seed: Seed of the draws.
        settings: Keyword arguments of the metric.

    Returns:
        The score of all items, with `interval` and `level`.

    Source: Politis and Romano, "Large sample confidence regions based on subsamples" (1994);
    Præstgaard and Wellner, "Exchangeably weighted bootstraps" (1993): half-sampling is one of them.
    """
    whole = metric(codes, factors, **settings)
    z, v = np.asarray(codes), np.asarray(factors)
    chosen = halves(len(z), resamples, seed)
    values = [metric(z[half], v[half], **settings).value for half in chosen]
    return within(whole, values, level)


def halves(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of half of n items, in order, drawn anew each time."""
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.sort(rng.permutation(n)[: n // 2])


def within(whole: Score, values: Sequence[float], level: float) -> Score:
    """Return the score of all items with the interval that its values on halves give."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    spread = np.quantile(values, tails, method="weibull") - np.mean(values)
    low, high = np.clip(whole.value + spread, *whole.range)
    return replace(whole, interval=(float(low), float(high)), level=level)
