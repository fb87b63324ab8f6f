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
        n = max(1, len(ids) - window + 1)
        shown = np.lib.stride_tricks.sliding_window_view(ids, min(window, len(ids)))  # (n, window)
        row = np.repeat(np.arange(n), shown.shape[1])
        column = shown.ravel()
        pairs = np.unique(row[column >= 0] * words + column[column >= 0])
        which, local = np.unique(pairs % words, return_inverse=True)
        held = np.zeros((n, len(which)), np.float32)
        held[pairs // words, local] = 1
        total[np.ix_(which, which)] += held.T @ held
        places += n
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
        seen = both > 0
        each = np.full(len(both), float(unseen))
        surprise = -np.log(both[seen])
        gain = np.log(both[seen]) - np.log(apart[seen])
        each[seen] = np.where(surprise > 0, gain / np.where(surprise > 0, surprise, 1), 1.0)
        scores[k] = each.mean()
    rule = f"pairs never together {unseen:g}"
    convention = f"{together.corpus}, {ids.shape[1]} words a topic, {rule}"
    return Score("NPMI", float(scores.mean()), convention, (-1, 1), {"topics": scores})


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


def _checked(topics: ArrayLike, together: Together) -> Ids:
    ids = np.asarray(topics)
    most = len(together.counts)
    if ids.ndim != 2 or ids.shape[1] < 2 or ids.min() < 0 or ids.max() >= most:
        raise ValueError(
            f"topics have shape {ids.shape}; expected (topics, n) numbers of words from 0 to "
            f"{most - 1}, two a topic or more: top_words(weights) chooses them"
        )
    return ids
