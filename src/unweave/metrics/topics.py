"""Scores of topics: coherence of their first words, diversity, and how words occur together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .score import Score

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Together:
    """The number of places (documents or windows) that hold a word, or two words.

    Args:
        places: The number of places.
        counts: (V, V), places that hold both words; on the diagonal, those that hold one.
        corpus: Words for where that was counted, such as "test documents".
    """

    places: int
    counts: NDArray[np.float64]
    corpus: str


def top_words(weights: ArrayLike, n: int = 10) -> Ids:
    """Return the numbers of each topic's n first words, (topics, n), the heaviest first.

    >>> top_words([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]], 2).tolist()
    [[1, 2], [0, 2]]
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or not 0 < n <= weights.shape[1]:
        raise ValueError(
            f"weights have shape {weights.shape}; expected (topics, words) with {n} words or more"
        )
    return np.argsort(-weights, axis=1, kind="stable")[:, :n]


def in_documents(counts: Any, corpus: str = "documents") -> Together:
    """Count documents that hold words, from their counts (n, V), a SciPy matrix or an array.

    >>> in_documents(np.array([[1, 2], [0, 1]])).counts.tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """
    held = (sparse.csr_array(counts) > 0).astype(np.float32)
    together = (held.T @ held).toarray()
    return Together(held.shape[0], together.astype(np.float64), corpus)


def in_windows(
    documents: Iterable[Sequence[int] | Ids], words: int, window: int = 10, corpus: str = "windows"
) -> Together:
    """Count sliding windows that hold words.

    A document of L words has L − window + 1 windows of so many words that follow one another, or
    one if it is shorter. A word is in a window while any copy of it is.

    Args:
        documents: The numbers of each document's words, in their order; −1 for words outside the
            vocabulary, which take up places.
        words: V, the size of the vocabulary.
        window: The number of words of a window.
        corpus: Words for the documents.

    >>> found = in_windows([[0, 1, 0, 2]], 3, window=3)
    >>> found.places, found.counts.tolist()
    (2, [[2.0, 2.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    """
    total = np.zeros((words, words))
    places = 0
    for document in documents:
        ids = np.asarray(document)
        if not len(ids):
            continue
        which, held = _held(ids, window)
        total[np.ix_(which, which)] += held.T @ held
        places += len(held)
    return Together(places, total, corpus)


def npmi(topics: ArrayLike, together: Together, unseen: float = -1.0) -> Score:
    r"""Compute the mean normalised pointwise mutual information of pairs of topics' words.

    .. math:: \mathrm{npmi}(v, w) = \frac{\log p(v, w) - \log p(v) p(w)}{-\log p(v, w)}

    is 1 for words that occur only together, 0 for independent ones. A topic's score is the mean
    over the pairs of its words, and the value the mean over topics. A model gains by it if it
    repeats a good topic, so that it goes with `topic_diversity`.

    Args:
        topics: (topics, n), the numbers of each topic's words (`top_words`).
        together: How words occur together, in a corpus that the topics were not fitted to.
        unseen: The score of a pair that is never seen together.

    Source: Bouma, "Normalized (pointwise) mutual information in collocation extraction" (2009);
    Lau et al., "Machine reading tea leaves" (2014).
    """
    ids = _checked(topics, together)
    joint = together.counts / together.places
    single = joint.diagonal()
    scores = np.empty(len(ids))
    for k, words in enumerate(ids):
        first, second = np.triu_indices(len(words), 1)
        both = joint[words[first], words[second]]  # (pairs,)
        apart = single[words[first]] * single[words[second]]
        never = np.full(len(both), float(unseen))
        scores[k] = _normalised(both, apart, never).mean()
    rule = f"pairs never together {unseen:g}"
    convention = f"{together.corpus}, {ids.shape[1]} words a topic, {rule}"
    return Score("NPMI", float(scores.mean()), convention, (-1, 1), {"topics": scores})


def c_v(topics: ArrayLike, together: Together, least: float = 1e-12) -> Score:
    r"""Compute C_V coherence: how alike words are in their NPMI with all words of their topic.

    .. math:: \frac{1}{n} \sum_i \cos\Bigl(u_i, \sum_j u_j\Bigr), \qquad
        u_{ij} = \mathrm{npmi}(v_i, v_j)

    A word's NPMI with itself is 1. p(v, w) of a pair that is never seen together is taken as
    `least`, and a word that is nowhere has no NPMI with any: its cosine is 0. The value is the mean
    over topics. It is 1 if any two words of a topic are only seen together, and it is far from 0
    for random words too, which `npmi` is not: the two go together.

    Args:
        topics: (topics, n), the numbers of each topic's words (`top_words`).
        together: How words occur together: in sliding windows of 110 words, for figures that can be
            compared with others' (`in_windows`).
        least: The probability of pairs that are never seen together.

    Source: Roeder, Both, Hinneburg, "Exploring the space of topic coherence measures" (2015).

    >>> together = in_windows([[0, 1, 0, 1], [2]], 3, window=110)
    >>> round(c_v([[0, 1]], together).value, 12)
    1.0
    """
    ids = _checked(topics, together)
    joint = together.counts / together.places
    scores = np.empty(len(ids))
    for k, words in enumerate(ids):
        both = joint[np.ix_(words, words)]  # (n, n)
        single = both.diagonal()
        apart = np.outer(single, single)
        known = apart > 0
        never = np.zeros_like(both)
        never[known] = np.log(least / apart[known]) / -np.log(least)
        vectors = _normalised(both, apart, never)  # (n, n), a word's NPMI with each
        whole = vectors.sum(0)
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(whole)
        cosines = np.divide(vectors @ whole, lengths, where=lengths > 0, out=np.zeros(len(words)))
        scores[k] = cosines.mean()
    rule = f"pairs never together at probability {least:g}"
    convention = f"{together.corpus}, {ids.shape[1]} words a topic, {rule}"
    return Score("C_V", float(scores.mean()), convention, (-1, 1), {"topics": scores})


def u_mass(topics: ArrayLike, together: Together, added: float = 1.0) -> Score:
    r"""Compute the mean log-probability of a topic's words given those that come before them.

    .. math:: \frac{2}{n(n-1)} \sum_{j<i} \log \frac{D(v_i, v_j) + a}{D(v_j)}

    D counts places, and a = 1 is for pairs never seen together. Pairs whose first word is nowhere
    are left out.

    Source: Mimno et al., "Optimizing semantic coherence in topic models" (2011).
    """
    ids = _checked(topics, together)
    scores = np.empty(len(ids))
    for k, words in enumerate(ids):
        before, after = np.triu_indices(len(words), 1)
        alone = together.counts[words[before], words[before]]
        both = together.counts[words[before], words[after]] + added
        known = alone > 0
        scores[k] = np.log(both[known] / alone[known]).mean() if known.any() else np.nan
    convention = f"{together.corpus}, {ids.shape[1]} words a topic, {added:g} added to each pair"
    value = float(np.nanmean(scores))
    return Score("u_mass", value, convention, (-np.inf, np.inf), {"topics": scores})


def topic_diversity(topics: ArrayLike) -> Score:
    """Compute the number of different words among all topics' first words, over all of these.

    It is 1 if no word is in two topics. Source: Dieng et al., "Topic modeling in embedding spaces"
    (2020), with 25 words a topic.

    >>> topic_diversity([[0, 1], [1, 2]]).value
    0.75
    """
    ids = np.asarray(topics)
    value = len(np.unique(ids)) / ids.size
    least = ids.shape[1] / ids.size
    return Score("topic diversity", value, f"{ids.shape[1]} words a topic", (least, 1))


def perplexity(log_probs: ArrayLike, lengths: ArrayLike) -> float:
    r"""Compute exp(−Σ log p(x) / Σ length) of documents: the number of words to choose from.

    A lower bound of log p(x), such as the ELBO, gives an upper bound of the perplexity. log p is
    that of the words in their order, without a multinomial's coefficient.

    >>> round(perplexity([np.log(1 / 8), np.log(1 / 4)], [3, 2]), 12)
    2.0
    """
    total = np.sum(np.asarray(log_probs, dtype=np.float64))
    return float(np.exp(-total / np.sum(lengths)))


def _held(ids: Ids, window: int) -> tuple[Ids, NDArray[np.float32]]:
    """Return the words of a document, and 1 where a window holds one: (windows, words).

    Each copy of a word adds the windows that hold it and no earlier copy: they follow one another.
    """
    n = max(1, len(ids) - window + 1)
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(np.diff(ids[order]) == 0)
    earlier = np.full(len(ids), -1)
    earlier[order[again + 1]] = order[again]
    place = np.arange(len(ids))
    first = np.maximum(earlier + 1, place - window + 1)
    last = np.minimum(place, n - 1)
    adds = (ids >= 0) & (first <= last)
    which, column = np.unique(ids[adds], return_inverse=True)
    change = np.zeros((n + 1, len(which)), np.float32)
    change[first[adds], column] += 1
    change[last[adds] + 1, column] -= 1
    return which, change[:n].cumsum(0)


def _normalised(
    both: NDArray[np.float64], apart: NDArray[np.float64], never: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the NPMI of pairs from p(v, w) and p(v) p(w); `never` where p(v, w) is 0."""
    values = never.copy()
    seen = both > 0
    surprise = -np.log(both[seen])
    gain = np.log(both[seen]) - np.log(apart[seen])
    values[seen] = np.where(surprise > 0, gain / np.where(surprise > 0, surprise, 1), 1.0)
    return values


def _checked(topics: ArrayLike, together: Together) -> Ids:
    ids = np.asarray(topics)
    most = len(together.counts)
    if ids.ndim != 2 or ids.shape[1] < 2 or ids.min() < 0 or ids.max() >= most:
        raise ValueError(
            f"topics have shape {ids.shape}; expected (topics, n) numbers of words from 0 to "
            f"{most - 1}, two a topic or more: top_words(weights) chooses them"
        )
    return ids
