"""Tests of scores of topics: against brute force over documents and windows, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import sparse

from unweave.metrics import topics

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.6, (25, 9))
TOPICS = np.array([[0, 1, 2, 3], [8, 3, 5, 0]])


def joint(counts: np.ndarray, v: int, w: int) -> float:
    return sum(1 for row in counts if row[v] and row[w]) / len(counts)


def by_hand(words: np.ndarray, counts: np.ndarray, unseen: float) -> float:
    scores = []
    for v, w in itertools.combinations(words, 2):
        both = joint(counts, v, w)
        if both == 0:
            scores.append(unseen)
            continue
        pmi = math.log(both / (joint(counts, v, v) * joint(counts, w, w)))
        scores.append(pmi / -math.log(both))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("unseen", [-1.0, 0.0])
def test_npmi_is_that_of_brute_force(unseen: float) -> None:
    counts = COUNTS.copy()
    counts[counts[:, 0] > 0, 1] = 0  # words 0 and 1 are never together
    for given in (counts, sparse.csr_matrix(counts)):
        found = topics.npmi(TOPICS, topics.in_documents(given), unseen)
        expected = [by_hand(words, counts, unseen) for words in TOPICS]
        assert np.allclose(found.parts["topics"], expected, atol=1e-12)
        assert found.value == pytest.approx(np.mean(expected))
        assert found.convention == f"documents, 4 words a topic, pairs never together {unseen:g}"


def test_npmi_of_words_that_always_occur_together_is_one() -> None:
    half = np.array([[1, 1], [0, 0]])
    assert topics.npmi([[0, 1]], topics.in_documents(half)).value == pytest.approx(1)
    assert topics.npmi([[0, 1]], topics.in_documents(np.ones((2, 2)))).value == 1


def test_npmi_of_independent_words_is_zero() -> None:
    square = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert topics.npmi([[0, 1]], topics.in_documents(square)).value == pytest.approx(0)


@pytest.mark.parametrize("window", [1, 2, 3, 10])
def test_windows_are_those_of_brute_force(window: int) -> None:
    documents = [RNG.integers(-1, 6, n).tolist() for n in (1, 2, 3, 7, 30)]
    documents.append([])
    shown = []
    for document in documents:
        starts = range(max(1, len(document) - window + 1) if document else 0)
        shown += [set(document[start : start + window]) - {-1} for start in starts]
    found = topics.in_windows(documents, 6, window)
    assert found.places == len(shown)
    for v, w in itertools.product(range(6), repeat=2):
        assert found.counts[v, w] == sum(v in held and w in held for held in shown)


def test_a_word_stays_in_a_window_while_any_copy_of_it_does() -> None:
    found = topics.in_windows([[0, 1, 0, 2, 2]], 3, window=3)
    assert found.counts[0, 0] == 3  # the first copy leaves, the second stays
    assert found.counts[0, 2] == 2


def test_windows_longer_than_documents_are_documents() -> None:
    documents = [np.repeat(np.arange(9), row) for row in COUNTS]
    found = topics.in_windows(documents, 9, window=1000)
    held = COUNTS[COUNTS.sum(1) > 0]
    assert found.places == len(held)
    assert np.array_equal(found.counts, topics.in_documents(held).counts)


def context(word: int, words: list[int], shown: list[set[int]], least: float) -> list[float]:
    """Return a word's NPMI with each word, from the windows that hold them."""
    values = []
    for other in words:
        alone = sum(word in held for held in shown) / len(shown)
        others = sum(other in held for held in shown) / len(shown)
        both = sum(word in held and other in held for held in shown) / len(shown)
        if alone * others == 0:
            values.append(0.0)
            continue
        both = both or least
        values.append(1.0 if both == 1 else math.log(both / (alone * others)) / -math.log(both))
    return values


def test_c_v_is_that_of_brute_force() -> None:
    documents = [RNG.integers(-1, 8, n).tolist() for n in (1, 3, 9, 30, 14)]
    documents[-1] = [7 if word == 6 else word for word in documents[-1]]
    shown = []
    for document in documents:
        document[:] = [0 if word == 5 else word for word in document]  # word 5 is nowhere
        starts = range(max(1, len(document) - 4 + 1))
        shown += [set(document[start : start + 4]) for start in starts]
    expected = []
    for words in ([0, 1, 2, 3], [6, 7, 5, 0], [4, 6, 1, 8]):
        vectors = [context(word, words, shown, 1e-12) for word in words]
        whole = [sum(column) for column in zip(*vectors, strict=True)]
        cosines = []
        for vector in vectors:
            length = math.hypot(*vector) * math.hypot(*whole)
            product = sum(a * b for a, b in zip(vector, whole, strict=True))
            cosines.append(product / length if length else 0.0)
        expected.append(sum(cosines) / len(cosines))
    together = topics.in_windows(documents, 9, window=4, corpus="windows of 4 words")
    found = topics.c_v([[0, 1, 2, 3], [6, 7, 5, 0], [4, 6, 1, 8]], together)
    assert np.allclose(found.parts["topics"], expected, rtol=1e-12)
    rule = "pairs never together at probability 1e-12"
    assert found.convention == f"windows of 4 words, 4 words a topic, {rule}"


def test_c_v_of_words_that_are_only_seen_together_is_one() -> None:
    half = np.array([[1, 1], [0, 0]])
    assert topics.c_v([[0, 1]], topics.in_documents(half)).value == pytest.approx(1)
    assert topics.c_v([[0, 1]], topics.in_documents(np.ones((2, 2)))).value == pytest.approx(1)


def test_c_v_of_words_that_are_nowhere_is_zero() -> None:
    assert topics.c_v([[0, 1]], topics.in_documents(np.array([[0, 0, 1]]))).value == 0


def test_u_mass_is_that_of_brute_force() -> None:
    together = topics.in_documents(COUNTS)
    expected = []
    for words in TOPICS:
        terms = []
        for i, j in itertools.combinations(range(4), 2):
            both = sum(1 for row in COUNTS if row[words[i]] and row[words[j]])
            alone = sum(1 for row in COUNTS if row[words[i]])
            terms.append(math.log((both + 1) / alone))
        expected.append(sum(terms) / len(terms))
    assert np.allclose(topics.u_mass(TOPICS, together).parts["topics"], expected)


def test_top_words_are_the_heaviest_first() -> None:
    assert topics.top_words([[1, 3, 2, 3]], 3).tolist() == [[1, 3, 2]]
    with pytest.raises(ValueError, match=r"expected \(topics, words\) with 5 words or more"):
        topics.top_words([[1, 3, 2, 3]], 5)


def test_diversity_counts_different_words() -> None:
    assert topics.topic_diversity([[0, 1], [2, 3]]).value == 1
    found = topics.topic_diversity([[0, 1], [0, 1]])
    assert found.value == 0.5
    assert found.range == (0.5, 1)


def test_perplexity_of_uniform_words_is_their_number() -> None:
    lengths = np.array([3, 5])
    assert topics.perplexity(-lengths * math.log(7), lengths) == pytest.approx(7)


def test_topics_that_do_not_fit_are_refused() -> None:
    together = topics.in_documents(COUNTS)
    for wrong in ([[0, 9]], [[0], [1]], [0, 1]):
        with pytest.raises(ValueError, match=r"numbers of words from 0 to 8"):
            topics.npmi(wrong, together)
