"""The report of `topics`: topics as people read them, their scores, correlations and baselines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import unweave as uw
from unweave.runs.findings import Array, Finding, Number, Picture, Table, Words

from .word_vectors import centres_of, nmf, word_vectors

if TYPE_CHECKING:
    from unweave.metrics.topics import Together
    from unweave.models import Model
    from unweave.trace.trace import Trace
    from unweave.training.recipe import Recipe

FIRST = 10
"""Words of a topic that are scored and shown."""

INFORMED = 0.1
"""Nats about a document from which on a topic is alive; dead ones are in no correlation."""

COHERENT = 0.15
"""NPMI from which on topics are listed as correlated."""


WINDOW = 110
"""Words of a window, as C_V was published."""

Texts = Callable[[], Iterable[Sequence[str]]]
"""A function that reads documents: their words in order."""


def findings(
    model: Model, recipe: Recipe, *, baselines: bool, texts: Texts | None
) -> Sequence[Finding]:
    """Return the numbers, tables and pictures of a run.

    Args:
        model: The trained model.
        recipe: Its recipe.
        baselines: Whether NMF, LDA and k-means are fitted, too.
        texts: What reads the test documents as texts, if they are there.
    """
    from unweave.evaluation.encoded import posterior

    assert recipe.test is not None
    test, labels = recipe.test, _labels(recipe.test)
    q = posterior(model, test)
    decoder: Any = model.decoder
    weights = decoder.log_topics().detach().exp().numpy()  # (topics, words)
    means, draws = _side_by_side(q)  # (documents, topics) each
    import torch

    shares = decoder.shares(torch.as_tensor(means)).numpy()
    corpus = "test documents"
    together = uw.metrics.in_documents(test.x.csr(), corpus)  # type: ignore[union-attr]
    top = uw.metrics.top_words(weights, FIRST)
    coherence = uw.metrics.npmi(top, together)
    strongest = shares.argmax(1)
    information = _information(q)
    alive = information >= INFORMED
    words = recipe.data.prepared["columns"]
    ours = _scores(weights, strongest, together, labels)
    raised = ((means - means.mean(0)) / means.std(0)).argmax(1)
    found: list[Finding] = [
        Number("NPMI on test documents", coherence.value, None, f"top {FIRST}, unseen −1", 1),
        Number("u_mass", uw.metrics.u_mass(top, together).value, None, f"{corpus}, top {FIRST}", 1),
        *(_in_windows(top, texts(), words) if texts else ()),
        Number("Topic diversity", ours[2], None, f"top {FIRST}", 1),
        *_agreement(ours, raised, labels),
        Number("Perplexity", _perplexity(model, test), None, "upper bound, a test word", -1),
        Number("Topics alive", int(alive.sum()), None, f"{INFORMED:g} nats or more", 1),
    ]
    blocks = np.repeat(np.arange(len(decoder.blocks)), decoder.blocks)
    if len(decoder.blocks) == 1:
        blocks = np.arange(len(blocks)) * 2 // len(blocks)  # two halves, to compare with
    found += _correlation(draws, blocks, alive)
    found.append(_heat_map(means, alive))
    found.append(_listed(weights, coherence.parts["topics"], words, shares, draws, alive, test))
    found.append(_triples(draws, blocks, alive, coherence.parts["topics"], top, words))
    rows = [("this run", *ours)]
    if baselines:
        rows += [(name, *row) for name, row in _baselines(recipe, together, labels, len(weights))]
    heads = ["", "NPMI, test", "NPMI, training", f"diversity, top {FIRST}", "top 25"]
    if labels is not None:
        heads += ["NMI", "purity"]
    rows = [(name, a, _training(recipe, w), *others) for name, a, w, *others in rows]
    found.append(Table("Beside models without a network", heads, rows, _HOW))
    return found


_HOW = (
    f"NPMI of {FIRST} words a topic by document, a pair that is never together counts −1. NMI and "
    "purity: the strongest topic of each test document against its group; for k-means of words, "
    "the topic that most of the document's words are in."
)


def _labels(test: uw.data.Data) -> Array | None:
    """Return the label of each document, or None if there are none, or one is missing."""
    if not test.names or (test.factors[:, 0] < 0).any():
        return None
    return test.factors[:, 0]


def _agreement(ours: Sequence[Any], raised: Array, labels: Array | None) -> Sequence[Number]:
    """Compare the strongest topic of each document, and the one most raised, with its label."""
    if labels is None:
        return ()
    nmi, purity = ours[4:]
    return (
        Number("NMI with groups", nmi, None, "strongest topic", 1),
        Number("NMI, most raised", uw.metrics.nmi(raised, labels), None, "by z in its own sds", 1),
        Number("Purity", purity, None, "strongest topic", 1),
    )


def _side_by_side(q: Trace) -> tuple[Array, Array]:
    """Return the means and draws of all blocks' latents, (documents, topics) each."""
    from unweave.models.model import code

    nodes = list(q.values())
    means = np.concatenate([code(node).numpy() for node in nodes], 1)
    return means, np.concatenate([node.value.numpy() for node in nodes], 1)


def _information(q: Trace) -> Array:
    """Return the mean KL divergence of each topic's latent from a standard Normal, (topics,)."""
    from torch.distributions import Normal, kl_divergence

    parts = []
    for node in q.values():
        assert node.dist is not None
        parts.append(kl_divergence(node.dist, Normal(0.0, 1.0)).mean(0).numpy())
    return np.concatenate(parts)


def _scores(
    weights: Array, strongest: Array, together: Together, labels: Array | None
) -> tuple[Any, ...]:
    """Return NPMI, the first words, diversity of 10 and 25; with labels also NMI and purity."""
    top = uw.metrics.top_words(weights, FIRST)
    longer = uw.metrics.top_words(weights, min(25, weights.shape[1]))
    scores = (
        uw.metrics.npmi(top, together).value,
        top,
        uw.metrics.topic_diversity(top).value,
        uw.metrics.topic_diversity(longer).value,
    )
    if labels is None:
        return scores
    return *scores, uw.metrics.nmi(strongest, labels), uw.metrics.purity(strongest, labels)


def _training(recipe: Recipe, top: Array) -> float:
    together = uw.metrics.in_documents(recipe.data.x.csr())  # type: ignore[union-attr]
    return uw.metrics.npmi(top, together).value


def _perplexity(model: Model, test: uw.data.Data) -> float:
    """Return the perplexity by the ELBO, one draw of each latent."""
    import torch

    from unweave.models.model import seeded

    bounds, lengths = [], []
    with torch.no_grad(), seeded(0):
        for part in np.array_split(np.arange(len(test)), math.ceil(len(test) / 1000)):
            x = torch.as_tensor(test.floats(part))
            q, p = model(x)
            bounds.append(uw.elbo(q, p).numpy())
            lengths.append(x.sum(-1).numpy())
    return uw.metrics.perplexity(np.concatenate(bounds), np.concatenate(lengths))


def _in_windows(
    top: Array, texts: Iterable[Sequence[str]], words: Sequence[str]
) -> tuple[Number, Number]:
    """Score first words by sliding windows of texts, where all words take up places."""
    ordered = uw.data.in_order(texts, words)
    together = uw.metrics.in_windows(ordered, len(words), WINDOW)
    unit = f"windows of {WINDOW} words of the test texts, top {FIRST}"
    return (
        Number("NPMI by window", uw.metrics.npmi(top, together).value, None, unit, 1),
        Number("C_V", uw.metrics.c_v(top, together).value, None, unit, 1),
    )


# -- correlations ----------------------------------------------------------------------------------


def _correlation(draws: Array, blocks: Array, alive: Array) -> list[Finding]:
    """Measure |r| of draws of q(z) over documents, within and between blocks."""
    r = np.abs(np.corrcoef(draws.T))
    apart = blocks[:, None] != blocks
    pairs = np.triu(np.outer(alive, alive), 1)
    within, between = r[pairs & ~apart].mean(), r[pairs & apart].mean()
    unit = "of draws, topics alive"
    return [
        Number("|r| within blocks", float(within), None, unit),
        Number("|r| between blocks", float(between), None, unit),
    ]


def _heat_map(means: Array, alive: Array) -> Picture:
    """Draw |r| of posterior means; topics that are dead are left white."""
    r = np.abs(np.corrcoef(means.T))
    r = np.where(np.outer(alive, alive), r, 0.0)
    np.fill_diagonal(r, 0.0)
    image = 1 - (r / 0.6).clip(0, 1)
    note = (
        "|r| of E[z|x] over test documents, topic by topic in the order of the blocks: white is 0, "
        "black 0.6 or more. The diagonal and dead topics are left white."
    )
    return Picture("Correlations of topics", image.repeat(8, 0).repeat(8, 1)[None, None], note=note)


def _triples(
    draws: Array, blocks: Array, alive: Array, coherence: Array, top: Array, words: Sequence[str]
) -> Table:
    """List for each block the three coherent topics that correlate most."""
    r = np.corrcoef(draws.T)
    rows = []
    for block in np.unique(blocks):
        of_it = np.flatnonzero((blocks == block) & alive & (coherence >= COHERENT))
        best, least = None, -1.0
        for triple in itertools.combinations(of_it, 3):
            lowest = min(r[i, j] for i, j in itertools.combinations(triple, 2))
            if lowest > least:
                best, least = triple, lowest
        for k in best or ():
            text = " ".join(words[w] for w in top[k])
            rows.append((str(block + 1), f"{k + 1}", text, float(coherence[k]), float(least)))
    note = (
        f"Of each block, the three topics with NPMI of {COHERENT:g} or more whose least r is "
        "largest; r is that of draws of q(z) over test documents, not of means, which are far from "
        "0 for topics that say nothing."
    )
    return Table(
        "Topics that correlate most", ("block", "topic", "words", "NPMI", "least r"), rows, note
    )


# -- topics as people read them --------------------------------------------------------------------


def _listed(
    weights: Array,
    coherence: Array,
    words: Sequence[str],
    shares: Array,
    draws: Array,
    alive: Array,
    test: uw.data.Data,
) -> Words:
    """List topics by coherence: words by weight, their documents and groups, correlated topics."""
    top = uw.metrics.top_words(weights, FIRST)
    labels, strongest = _labels(test), shares.argmax(1)
    r = np.corrcoef(draws.T) - 2 * np.eye(len(top))
    r[:, ~alive] = -2
    names, lines, sizes, about = [], [], [], []
    for k in np.argsort(-coherence):
        heavy = weights[k, top[k]]
        names.append(f"{k + 1}")
        lines.append([words[w] for w in top[k]])
        sizes.append((heavy / heavy.max()).tolist())
        near = ", ".join(f"{j + 1} ({r[k, j]:.2f})" for j in np.argsort(-r[k])[:3])
        its = strongest == k
        known = f"NPMI {coherence[k]:.2f}; strongest in {its.sum():,} documents"
        if labels is not None and its.any():
            counts = np.bincount(labels[its])
            known += f", {counts.max() / its.sum():.0%} of {test.values[0][counts.argmax()]}"
        most = _words_of(test, int(shares[:, k].argmax()), words)
        about.append(f"{known}; correlates with {near}; the document with most of it: {most}")
    note = (
        "The first words of each topic, sized by their probability, topics in the order of their "
        "NPMI on test documents. Correlations are those of draws of q(z) over test documents, with "
        "the three topics where they are largest. A document is shown by its most frequent words."
    )
    return Words("Topics", names, lines, sizes, about, note)


def _words_of(test: uw.data.Data, document: int, words: Sequence[str]) -> str:
    counts = test.floats([document])[0]
    return " ".join(words[w] for w in np.argsort(-counts, kind="stable")[:6])


# -- baselines -------------------------------------------------------------------------------------


def _baselines(
    recipe: Recipe, together: Together, labels: Array | None, n: int
) -> list[tuple[str, tuple[Any, ...]]]:
    """Fit NMF on tf-idf, LDA, and k-means of word vectors, n topics each; return their scores."""
    from sklearn.decomposition import LatentDirichletAllocation
    from sklearn.feature_extraction.text import TfidfTransformer

    assert recipe.test is not None
    counts = recipe.data.x.csr()  # type: ignore[union-attr]
    tests = recipe.test.x.csr()  # type: ignore[union-attr]
    parts = nmf(counts, n, recipe.seed)
    scaled = TfidfTransformer().fit(counts).transform(tests)
    lda = LatentDirichletAllocation(n, learning_method="online", random_state=recipe.seed)
    lda.fit(counts)
    vectors = word_vectors(uw.metrics.in_documents(counts), 100)
    centres = centres_of(vectors, n, recipe.seed)
    closeness = (centres @ vectors.T).numpy()  # (topics, words)
    member = np.eye(n)[closeness.argmax(0)]  # (words, topics)
    fitted = {
        "NMF on tf-idf": (parts.components_, parts.transform(scaled)),
        "LDA": (lda.components_, lda.transform(tests)),
        "k-means of word vectors": (closeness + 2 * member.T, tests @ member),
    }
    return [
        (name, _scores(weights, shares.argmax(1), together, labels))
        for name, (weights, shares) in fitted.items()
    ]
