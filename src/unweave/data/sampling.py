r"""Joint distributions of factors: independent, correlated, hierarchical, with held-out parts.

A sampler turns uniform numbers u (n, factors) in [0, 1) into classes (n, factors) by inverse
distribution functions, each class from its factor's own number. `sizes` describes the columns: the
factors' names and numbers of values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unweave.data.data import random_keys

Uniforms: TypeAlias = NDArray[np.float64]
Classes: TypeAlias = NDArray[np.int64]
Sampler: TypeAlias = Callable[[Uniforms, Mapping[str, int]], Classes]


def draw(sampler: Sampler, n: int, sizes: Mapping[str, int], seed: int = 0) -> Classes:
    """Draw classes (n, factors); the same seed gives the same, whatever the version of NumPy.

    Args:
        sampler: The factors' joint distribution.
        n: Number of items.
        sizes: The factors' names and numbers of values.
        seed: Seed of the draws.

    Returns:
        Classes (n, factors).

    Raises:
        ValueError: If n is below 1.

    >>> draw(independent, 4, {"shape": 3, "scale": 6}, seed=1).tolist()
    [[1, 5], [0, 5], [0, 2], [2, 2]]
    """
    if n < 1:
        raise ValueError(f"n is {n}; expected the number of items to draw, at least 1")
    keys = random_keys(n * len(sizes), seed).reshape(n, len(sizes))
    u = np.asarray((keys >> np.uint64(11)) * 2.0**-53)  # a float64 holds 53 bits
    return sampler(u, sizes)


def independent(u: Uniforms, sizes: Mapping[str, int]) -> Classes:
    r"""Draw each factor uniformly and on its own: :math:`p(a, b, …) = 1/A · 1/B · …`."""
    counts = np.array(list(sizes.values()))
    return np.asarray(np.floor(u * counts), dtype=np.int64)


def correlated(first: str, second: str, strength: float, base: Sampler = independent) -> Sampler:
    r"""Make a sampler of two factors that go together.

    With A and B values, each uniform in itself, their joint distribution is

    .. math:: p(a, b) = \frac{1 - s}{AB} + s \left|\left[\tfrac aA, \tfrac{a + 1}A\right)
              ∩ \left[\tfrac bB, \tfrac{b + 1}B\right)\right|

    It is a mixture: with probability s both stand at the same place of their range, else they are
    independent. At s = 0 they are independent; at s = 1, b follows from a if A is a multiple of B;
    with A = B, s is the classes' correlation. For s < 1 every combination occurs, so that a model
    can learn in principle that factors are independent.

    Träuble et al., "On disentangled representations learned from correlated data" (2021), study the
    question with a Gaussian band about the diagonal instead.

    Args:
        first: Name of the one factor, which `base` draws.
        second: Name of the other factor.
        strength: s, from 0 to 1.
        base: Sampler of `first` and of all other factors.

    Returns:
        The sampler.

    Raises:
        ValueError: If the strength is not 0 to 1, or the factors are one.
        KeyError: If a factor is unknown; the sampler raises it.

    >>> draw(correlated("x", "y", strength=1), 4, {"x": 3, "y": 3}).T.tolist()
    [[1, 0, 2, 1], [1, 0, 2, 1]]
    """
    if not 0 <= strength <= 1:
        raise ValueError(
            f"strength is {strength}; expected 0 (independent) to 1 (one follows from the other)"
        )

    def sampler(u: Uniforms, sizes: Mapping[str, int]) -> Classes:
        _check_names((first, second), sizes)
        a, b = (np.linspace(0, 1, sizes[name] + 1) for name in (first, second))
        ends = np.minimum(a[1:, None], b[1:])
        starts = np.maximum(a[:-1, None], b[:-1])
        shared = (ends - starts).clip(0)  # lengths of intersections, (A, B)
        table = (1 - strength) / sizes[second] + strength * sizes[first] * shared
        return _conditional(base(u, sizes), u, sizes, second, first, table)

    return sampler


def hierarchical(
    child: str,
    given: str,
    values: Sequence[Sequence[int]] | None = None,
    base: Sampler = independent,
) -> Sampler:
    r"""Make a sampler of a factor whose values depend on another's: ``given → child``.

    .. math:: p(c | g) = 1/|V_g| \text{ for } c ∈ V_g, \text{ else } 0

    Args:
        child: The factor that depends.
        given: The factor that it depends on.
        values: :math:`V_g`, the classes of `child` for each class of `given`. If not given, the
            classes are cut into as many runs as `given` has classes, whose lengths differ by one at
            most: each shape has scales of its own.
        base: Sampler of `given` and of all other factors. ``hierarchical("c", "b",
            base=hierarchical("b", "a"))`` is the chain a → b → c.

    Returns:
        The sampler.

    Raises:
        ValueError: If the factors are one, or the values do not fit; the sampler raises it.
        KeyError: If a factor is unknown; the sampler raises it.

    >>> draw(hierarchical("scale", given="shape"), 4, {"shape": 3, "scale": 6}, seed=1).tolist()
    [[1, 3], [0, 1], [0, 0], [2, 4]]
    """

    def sampler(u: Uniforms, sizes: Mapping[str, int]) -> Classes:
        _check_names((child, given), sizes)
        table = np.zeros((sizes[given], sizes[child]))
        for row, chosen in zip(table, _values(child, given, values, sizes), strict=True):
            row[list(chosen)] = 1 / len(set(chosen))
        return _conditional(base(u, sizes), u, sizes, child, given, table)

    return sampler


def held_out(*names: str, share: float = 0.25, seed: int = 0) -> tuple[Sampler, Sampler]:
    r"""Make samplers of train and test, so that a share of combinations occurs in test alone.

    With H the combinations that are held out and C all of them, train is uniform over C \\ H and
    test over H; the other factors are independent. Every single value still occurs in train: a
    model has to compose known values anew (compositional generalisation: Montero et al., "The role
    of disentanglement in generalisation", 2021).

    Args:
        names: Names of two factors or more.
        share: |H| / |C|, rounded to whole combinations.
        seed: Seed of the choice of combinations.

    Returns:
        The samplers of train and test.

    Raises:
        ValueError: If there are fewer than two factors, or the share is not between 0 and 1. The
            samplers raise it if the share holds out nothing, or so much that a value would never be
            seen.

    >>> train, test = held_out("shape", "scale", share=0.25)
    >>> sizes = {"shape": 2, "scale": 2}
    >>> sorted({(int(a), int(b)) for a, b in draw(train, 99, sizes)}), draw(test, 2, sizes).tolist()
    ([(0, 0), (0, 1), (1, 0)], [[1, 1], [1, 1]])
    """
    if len(set(names)) < 2 or not 0 < share < 1:
        raise ValueError(
            f"held out {share} of combinations of {names}; expected two factors or more, and 0 < "
            "share < 1"
        )

    def among(held: bool) -> Sampler:
        def sampler(u: Uniforms, sizes: Mapping[str, int]) -> Classes:
            _check_names(names, sizes)
            shape = tuple(sizes[name] for name in names)
            chosen = np.argwhere(_held(shape, share, seed) == held)  # (combinations, names)
            at = [list(sizes).index(name) for name in names]
            classes = independent(u, sizes)
            drawn = np.floor(u[:, at[0]] * len(chosen)).astype(np.int64)  # (n,)
            classes[:, at] = chosen[drawn]
            return classes

        return sampler

    return among(False), among(True)


def _held(shape: tuple[int, ...], share: float, seed: int) -> NDArray[np.bool_]:
    """Hold combinations out in random order, except for those that are a value's last."""
    size = math.prod(shape)
    wanted = round(share * size)
    held = np.zeros(shape, dtype=bool)
    # the combinations that remain of each value of each factor
    left = [np.full(k, size // k) for k in shape]
    for flat in random_keys(size, seed).argsort(kind="stable"):
        index = np.unravel_index(int(flat), shape)
        is_last = any(count[k] <= 1 for count, k in zip(left, index, strict=True))
        if held.sum() < wanted and not is_last:
            held[index] = True
            for count, k in zip(left, index, strict=True):
                count[k] -= 1
    if not 0 < wanted == held.sum():
        raise ValueError(
            f"a share of {share} is {wanted} of {size} combinations; expected at least 1, and so "
            f"few that every value still occurs in train ({size - max(shape)} at the very most): "
            "change the share"
        )
    return held


def _conditional(
    classes: Classes,
    u: Uniforms,
    sizes: Mapping[str, int],
    child: str,
    given: str,
    table: NDArray[np.float64],
) -> Classes:
    """Draw `child` anew from p(child | given), the rows of the table (given, child)."""
    c = list(sizes).index(child)
    g = list(sizes).index(given)
    drawn = classes.copy()
    for k, row in enumerate(np.cumsum(table, axis=1)):
        here = classes[:, g] == k
        last = np.flatnonzero(table[k])[-1]  # rounding must not lead beyond it
        drawn[here, c] = np.searchsorted(row[:last], u[here, c], side="right")
    return drawn


def _values(
    child: str, given: str, values: Sequence[Sequence[int]] | None, sizes: Mapping[str, int]
) -> Sequence[Sequence[int]]:
    if values is None:
        if sizes[child] < sizes[given]:
            raise ValueError(
                f"{child!r} has {sizes[child]} values and {given!r} {sizes[given]}; expected at "
                "least as many, a run for each: give the values"
            )
        runs = np.array_split(np.arange(sizes[child]), sizes[given])
        return [run.tolist() for run in runs]
    known = set(range(sizes[child]))
    fits = all(len(chosen) and known.issuperset(chosen) for chosen in values)
    if len(values) != sizes[given] or not fits:
        raise ValueError(
            f"values are {values}; expected {sizes[given]} sequences, one for each value of "
            f"{given!r}, of classes of {child!r}, 0 to {sizes[child] - 1}"
        )
    return values


def _check_names(names: Sequence[str], sizes: Mapping[str, int]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"factors {', '.join(names)}; expected different ones")
    for name in names:
        if name not in sizes:
            raise KeyError(f"no factor {name!r}; the factors are {', '.join(sizes)}")
