"""Codes and factors as people have them, read into the arrays that metrics take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data.datasets import array_of
from ..data.identifiers import counts_rows, names_rows
from ..data.labels import FEW
from ..data.tables import arrays, columns
from ..metrics.information import information
from ..metrics.score import BINS, Pairs, paired

Floats: TypeAlias = NDArray[np.float64]
Table: TypeAlias = dict[str, NDArray[Any]]

CHUNK = 256
"""Items that an encoder is given at once."""

_TRAINING = (
    "the encoder is in training mode, so that its codes may depend on chance and on the batch: "
    "call .eval()"
)


@dataclass(frozen=True)
class Inputs:
    """Codes and factors as numbers with names.

    Args:
        codes: (n, codes).
        factors: (n, factors), NaN where a factor is missing.
        code_names: The names of the codes.
        factor_names: The names of the factors.
        pairs: Codes and factors as metrics see them.
        remarks: Sentences that say what is out of the ordinary, and what was done about it.
    """

    codes: Floats
    factors: Floats
    code_names: tuple[str, ...]
    factor_names: tuple[str, ...]
    pairs: Pairs
    remarks: tuple[str, ...]


def read(
    codes: Any,
    factors: Any,
    encoder: Callable[[Any], Any] | None = None,
    code_names: Sequence[str] | None = None,
    factor_names: Sequence[str] | None = None,
) -> Inputs:
    """Read the codes and factors that `unweave.score` was given, which describes the arguments.

    >>> inputs = read(np.eye(12)[:, :2], {"shape": ["heart", "square"] * 6, "always": [1] * 12})
    >>> inputs.code_names, inputs.factor_names, inputs.remarks[0]
    (('z[0]', 'z[1]'), ('shape',), 'factor always has one class only and is left out')
    """
    remarks = [_TRAINING] if getattr(encoder, "training", False) else []
    made = encode(encoder, codes) if encoder else codes
    z = _table(made, "z", code_names, remarks)
    v = _table(factors, "v", factor_names, remarks)
    _check_rows(z, v)
    z = _numbers(_without_row_numbers(z, "code", remarks))
    v = _without_row_numbers(v, "factor", remarks)
    v = {name: _classed(column) for name, column in v.items()}
    v = _worth_scoring(v, paired(_stack(z), _stack(v)), remarks)
    pairs = paired(_stack(z), _stack(v))
    remarks += _suspicions(z, v)
    remarks += _remarks(pairs, list(z), list(v))
    return Inputs(_stack(z), _stack(v), tuple(z), tuple(v), pairs, tuple(remarks))


def encode(encoder: Callable[[Any], Any], items: Any, chunk: int = CHUNK) -> Floats:
    """Return the codes (n, codes) of items (n, *shape) as an array.

    Args:
        encoder: A function of some items, which returns a row of codes for each.
        items: An array, a tensor, or an .npy file.
        chunk: Items that the encoder is given at once.

    Raises:
        ValueError: If there are no items, or the encoder returns something else than a row of
            codes for each.

    >>> encode(lambda x: x.sum(1), np.ones((3, 4)), chunk=2).ravel().tolist()
    [4.0, 4.0, 4.0]
    """
    x = _one_array(Path(items)) if isinstance(items, str | Path) else items
    if not len(x):
        raise ValueError("there are no items: expected one or more to encode")
    parts = [_encoded(encoder, x[start : start + chunk]) for start in range(0, len(x), chunk)]
    return np.concatenate(parts)


def _one_array(path: Path) -> NDArray[Any]:
    found = arrays(path)
    if len(found) > 1:
        raise ValueError(
            f"{path} has the arrays {listed(list(found))}: expected one of items to encode: give "
            f"np.load({path.name!r})[NAME]"
        )
    return next(iter(found.values()))


def _encoded(encoder: Callable[[Any], Any], x: Any) -> Floats:
    made = encoder(x)
    if isinstance(made, tuple | list | dict):
        kind = f"a {type(made).__name__} of {len(made)}"
        raise ValueError(
            f"the encoder returned {kind}: expected codes ({len(x)}, codes): give one that picks "
            "the mean out of it, such as `lambda x: encoder(x)[0]`"
        )
    codes = array_of(made)
    if codes.ndim == 1:
        codes = codes[:, None]  # (items, 1)
    if codes.ndim != 2 or len(codes) != len(x):
        raise ValueError(
            f"the encoder made codes of shape {codes.shape} of {len(x)} items: expected ({len(x)}, "
            "codes); `.flatten(1)` makes rows of a tensor, `.reshape(len(x), -1)` of an array"
        )
    return codes.astype(np.float64)


def _table(source: Any, letter: str, names: Sequence[str] | None, remarks: list[str]) -> Table:
    """Return the columns that names choose, or name.

    The columns of an array are z[0], z[1], …; the one column of a file is called by its stem.
    """
    given = array_of(source) if hasattr(source, "detach") else source
    table = columns(given, say=remarks.append)
    unnamed = list(table) == [str(k) for k in range(len(table))]
    if unnamed and len(table) == 1 and isinstance(source, str | Path):
        table = {Path(source).stem: table["0"]}
    elif unnamed:
        table = {f"{letter}[{k}]": column for k, column in table.items()}
    if names is None:
        return table
    are_new = not set(names) & set(table) and not any("*" in name for name in names)
    if unnamed and are_new and len(names) == len(table):
        return dict(zip(names, table.values(), strict=True))
    chosen: Table = {}
    for name in names:
        found = [name] if name in table else [other for other in table if fnmatchcase(other, name)]
        if not found:
            kind = "codes" if letter == "z" else "factors"
            raise ValueError(
                f"no column of the {kind} matches {name!r}; expected one of: "
                f"{listed(list(table), 20)}"
            )
        chosen |= {other: table[other] for other in found}
    return chosen


def _check_rows(codes: Table, factors: Table) -> None:
    n = len(next(iter(codes.values())))
    m = len(next(iter(factors.values())))
    if n == m:
        return
    why = " one row apart, is a line of names missing, or read as an item?" * (abs(n - m) == 1)
    raise ValueError(
        f"codes have {n:,} rows and factors {m:,}:{why} expected a row in both for each item, in "
        "the same order"
    )


def _without_row_numbers(table: Table, what: str, remarks: list[str]) -> Table:
    """Leave out columns that count the rows, such as an index that was saved along."""
    index = []
    for name, column in table.items():
        is_name = what == "code" and names_rows(name, column)
        if is_name or counts_rows(column):
            index.append(name)
    if index and len(index) < len(table):
        remarks.append(f"{what} {listed(index)} numbers the rows and is left out")
        return {name: column for name, column in table.items() if name not in index}
    return table


def _numbers(codes: Table) -> Table:
    words = [name for name, column in codes.items() if column.dtype.kind not in "bif"]
    if words:
        raise ValueError(
            f"codes {listed(words)} hold text: expected numbers; choose columns by name or pattern "
            "with code_names, `--code` on the command line, or take these out of the file"
        )
    return {name: column.astype(np.float64) for name, column in codes.items()}


def _classed(column: NDArray[Any]) -> Floats:
    """Return a factor as numbers, NaN where missing; text becomes class numbers."""
    if column.dtype.kind in "bif":
        return column.astype(np.float64)
    held = np.array([text is not None and text != "" for text in column], dtype=bool)
    classes = np.full(len(column), np.nan)
    classes[held] = np.unique(column[held].astype(str), return_inverse=True)[1]
    return classes


def _stack(table: Table) -> Floats:
    return np.stack(list(table.values()), 1)


def _worth_scoring(factors: Table, pairs: Pairs, remarks: list[str]) -> Table:
    """Leave out factors that have one class, or a class for each item."""
    known = (pairs.factors >= 0).sum(0)  # (factors,)
    a_class_each = pairs.factors.max(0) + 1 == known
    own = ~pairs.continuous & pairs.varied & a_class_each
    kept = {}
    for (name, column), varied, is_own in zip(factors.items(), pairs.varied, own, strict=True):
        if not varied:
            remarks.append(f"factor {name} has one class only and is left out")
        elif is_own:
            remarks.append(
                f"factor {name} has a class of its own for each item and is left out (whole "
                "numbers are classes: give a continuous factor as fractions)"
            )
        else:
            kept[name] = column
    if not kept:
        raise ValueError(
            f"nothing to score against: {'; '.join(remarks)}; expected a factor with several "
            "classes"
        )
    return kept


def _suspicions(codes: Table, factors: Table) -> list[str]:
    """Ask whether codes and factors are swapped, if classes are scored against other numbers."""
    others = [name for name, column in factors.items() if not _are_classes(column)]
    if not others or not all(map(_are_classes, codes.values())):
        return []
    return [
        f"are codes and factors swapped? Codes {listed(list(codes))} have few values, as factors "
        f"have, and factor {listed(others)} fractions of more than {FEW} values, as codes have: "
        "codes come first"
    ]


def _are_classes(column: Floats) -> bool:
    """Return whether numbers are whole, or have few values that occur again."""
    held = column[~np.isnan(column)]
    different = len(np.unique(held))
    return bool(np.all(held % 1 == 0)) or different <= min(FEW, len(held) // 2)


def _remarks(pairs: Pairs, codes: Sequence[str], factors: Sequence[str]) -> list[str]:
    """Return what a reader of the scores should know about the arrays, by name."""
    remarks = []
    n = len(pairs.codes)
    spreads = np.ptp(pairs.codes, 0)  # (codes,)
    constant = [name for name, spread in zip(codes, spreads, strict=True) if spread == 0]
    missing = (pairs.factors < 0).sum(0)  # (factors,)
    if len(factors) == 1:
        remarks.append(
            "one factor only: scores that ask whether codes keep factors apart, such as DCI "
            "disentanglement and the FactorVAE score, are left out"
        )
    if constant:
        remarks.append(f"code {listed(constant)} is constant")
    if missing.any():
        each = [f"{name} {count:,}" for name, count in zip(factors, missing, strict=True) if count]
        remarks.append(
            f"items whose factor is missing are left out of that factor's part ({listed(each)})"
        )
    if pairs.continuous.any():
        cut = [name for name, is_cut in zip(factors, pairs.continuous, strict=True) if is_cut]
        remarks.append(
            f"factor {listed(cut)} is continuous, and cut into {BINS} cells where classes are "
            "asked for"
        )
    # the bias of a code that fills its cells and says nothing, as a share of the factor's entropy
    chance = (BINS - 1) * pairs.factors.max(0) / (2 * (n - missing)) / information(pairs).factors
    shares = zip(factors, chance, strict=True)
    each = [f"{name} {share:.0%}" for name, share in shares if share > 0.05]
    if each:
        remarks.append(
            f"few items: counting {n:,} of them gives a code that says nothing up to about this "
            f"share of a factor's entropy by chance: {listed(each)}"
        )
    return remarks


def listed(names: Sequence[Any], most: int = 8) -> str:
    """Return names for a sentence; of very many, the first."""
    more = f", … ({len(names) - most} more)" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
