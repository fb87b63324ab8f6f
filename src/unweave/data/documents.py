"""A person's own documents: texts or counts of words as `Data`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data
from unweave.data.labels import Say, classes
from unweave.data.sparse import Sparse
from unweave.data.tables import columns

WORD = re.compile(r"[a-z]{3,}")


def documents(
    source: Any,
    *,
    words: int | Sequence[str] = 2000,
    column: str | None = None,
    labels: Sequence[Any] | str | None = None,
    without: Iterable[str] | None = None,
    name: str | None = None,
    say: Say = print,
) -> Data:
    """Count the words of documents, which stay sparse until a batch of them is read.

    Documents that hold no word of the vocabulary are left out.

    Args:
        source: Texts, such as a column of a data frame; a folder of .txt files, whose subfolders
            are labels if there are any; a .csv, .tsv or .parquet with a column of texts; a matrix
            of counts (n, words), SciPy's or dense; or an .npz of `scipy.sparse.save_npz`, beside
            which vocab.txt has the word of each column, one a line.
        words: The number of words to keep, those that most documents hold; or the vocabulary. A
            matrix needs its vocabulary, column by column.
        column: The name of a table's column of texts.
        labels: A label of each document, or the name of a table's column of them.
        without: Words that are left out of texts: scikit-learn's English stop words by default.
        name: The data's name.
        say: A function that is told each decision.

    Returns:
        x as `Sparse` counts; a factor "label" if there are labels. `Data.prepared` has the
        vocabulary under "columns".

    Raises:
        ValueError: If there are no documents or no words, sizes do not fit, or a column is not
            named.
        KeyError: If a table has no such column.
        FileNotFoundError: If there is no such file or folder, or no vocab.txt beside an .npz.

    >>> data = documents(["a cat sat", "two cats", "the cat"], words=1, labels=["x", "y", "x"])
    1 of 3 documents hold none of the 1 words, and are left out
    >>> data, data.prepared["columns"], data.floats().tolist()
    (Data(documents: 2 items of shape (1,); factors: label (1)), ['cat'], [[1.0], [1.0]])
    """
    called = name or "documents"
    is_table = False
    if isinstance(source, str | Path):
        path = Path(source)
        called = name or path.resolve().stem
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        is_table = path.is_file() and path.suffix != ".npz"
        if path.suffix == ".npz":
            source, words = _matrix(path, words)
        elif is_table:
            source, labels = _table(path, column, labels, say)
        else:
            source, found = _folder(path)
            labels = found if labels is None else labels
    if isinstance(labels, str) or (column is not None and not is_table):
        raise ValueError(
            f"column={column!r} and labels={labels!r}: only a .csv, .tsv or .parquet has columns "
            "of such names; expected none, or a label of each document"
        )
    if hasattr(source, "shape") and len(source.shape) == 2:
        x = Sparse.of(source)
        kept = _names(words, x.width)
    else:
        split = [plain_words(str(text)) for text in source]
        left_out = stop_words() if without is None else without
        kept = list(words) if not isinstance(words, int) else vocabulary(split, words, left_out)
        x = counted(split, kept)
    if labels is not None and len(labels) != len(x):
        raise ValueError(f"there are {len(x)} documents and {len(labels)} labels; expected as many")
    holds = np.diff(x.starts) > 0
    if not holds.any():
        raise ValueError(
            f"none of {len(x)} documents holds any of {len(kept)} words; expected texts of words "
            "of three letters or more, or counts above 0"
        )
    if not holds.all():
        say(
            f"{(~holds).sum():,} of {len(x):,} documents hold none of the {len(kept):,} words, and "
            "are left out"
        )
    labelled: dict[str, npt.NDArray[Any]] = {}
    if labels is not None:
        labelled["label"] = np.asarray(labels)[holds]
    factors, names, sizes, values = classes(labelled, int(holds.sum()), say)
    prepared = {"columns": kept}
    return Data(x.take(holds), factors, names, sizes, values, called, prepared=prepared)


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case: three letters a to z or more."""
    return WORD.findall(text.lower())


def stop_words() -> frozenset[str]:
    """Return scikit-learn's English stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found: frozenset[str] = ENGLISH_STOP_WORDS
    return found


def vocabulary(documents: Iterable[Sequence[str]], size: int, without: Iterable[str]) -> list[str]:
    """Return the words that most documents hold, in the order of the alphabet.

    Args:
        documents: The words of each document.
        size: The number of words.
        without: Words that are left out.

    >>> vocabulary([["b", "a"], ["b", "c"], ["the", "b", "c"]], 2, ["the"])
    ['b', 'c']
    """
    holding: Counter[str] = Counter()
    for words in documents:
        holding.update(set(words))
    for word in without:
        holding.pop(word, None)
    ranked = sorted(holding, key=lambda word: (-holding[word], word))
    return sorted(ranked[:size])


def counted(documents: Iterable[Sequence[str]], words: Sequence[str]) -> Sparse:
    """Count the words of a vocabulary in each document, (documents, words).

    >>> counted([["b", "a", "b"], ["c"]], ["a", "b"])[:].tolist()
    [[1.0, 2.0], [0.0, 0.0]]
    """
    numbers = {word: i for i, word in enumerate(words)}
    values: list[int] = []
    places: list[int] = []
    starts = [0]
    for document in documents:
        counts = Counter(numbers[word] for word in document if word in numbers)
        places += sorted(counts)
        values += [counts[column] for column in sorted(counts)]
        starts.append(len(values))
    return Sparse(
        np.array(values, np.float32),
        np.array(places, np.int32),
        np.array(starts, np.int64),
        len(words),
    )


def in_order(
    documents: Iterable[Sequence[str]], words: Sequence[str]
) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of each document's words in their order, −1 outside a vocabulary.

    >>> [numbers.tolist() for numbers in in_order([["b", "a", "the"], []], ["a", "b"])]
    [[1, 0, -1], []]
    """
    numbers = {word: i for i, word in enumerate(words)}
    found = []
    for document in documents:
        ids = [numbers.get(word, -1) for word in document]
        found.append(np.array(ids, np.int64))
    return found


def _folder(path: Path) -> tuple[list[str], list[str] | None]:
    """Read the texts of a folder, and the names of their subfolders if there are any."""
    files = sorted(path.rglob("*.txt"))
    if not files:
        raise ValueError(f"{path} has no .txt files; expected a folder of texts")
    texts = [file.read_text("utf-8", errors="replace") for file in files]
    groups = [file.relative_to(path).parts[0] for file in files]
    has_groups = all(len(file.relative_to(path).parts) > 1 for file in files)
    return texts, groups if has_groups else None


def _table(
    path: Path, column: str | None, labels: Sequence[Any] | str | None, say: Say
) -> tuple[Sequence[Any], Any]:
    """Read a table's column of texts, and its column of labels if that is named."""
    found = columns(path, say=say)
    if column is None:
        raise ValueError(
            f"{path} is a table of the columns {', '.join(found)}; expected the name of that with "
            "texts: column=…"
        )
    for name in (column, labels):
        if isinstance(name, str) and name not in found:
            raise KeyError(f"{path} has no column {name!r}; its columns are {', '.join(found)}")
    texts = ["" if text is None else text for text in found[column]]
    return texts, found[labels] if isinstance(labels, str) else labels


def _matrix(path: Path, words: int | Sequence[str]) -> tuple[Any, Sequence[str]]:
    """Read a matrix of counts, and its vocabulary if that is not given."""
    from scipy import sparse

    try:
        matrix = sparse.load_npz(path)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"{path}: no sparse matrix ({error}); expected one by scipy.sparse.save_npz"
        ) from None
    if not isinstance(words, int):
        return matrix, words
    beside = path.with_name("vocab.txt")
    if not beside.exists():
        raise FileNotFoundError(
            f"{beside} is not there; expected the words of the columns of {path.name}, one a line"
        )
    return matrix, beside.read_text("utf-8").split()


def _names(words: int | Sequence[str], width: int) -> list[str]:
    if isinstance(words, int) or len(words) != width:
        given = "none" if isinstance(words, int) else f"{len(words)}"
        raise ValueError(
            f"the matrix has {width} columns, and words names {given}; expected the word of each "
            "column: words=[…]"
        )
    return list(words)
