"""Topics of documents, alone or in blocks: topics of a block may correlate, blocks may not."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

import unweave as uw
from unweave.arguments import Positive, Share, Size, Weight

from .flags import Batch, Epochs, Folder, Quick, Rate, Seed, recipe
from .topics_findings import Texts, findings
from .word_vectors import centres_of, nmf, word_vectors

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe


Start = Literal["nmf", "kmeans"]

HELD = 0.2
"""Share of a person's own documents that are held out to test on."""

FIRST = 15
"""First words of a topic of NMF whose vectors' weighted mean a topic begins at."""


@recipe
def topics(
    *,
    source: Annotated[
        Literal["ecrtm5000", "counts", "archive"],
        "20 Newsgroups with 5,000 words as others count them, with 2,000, or counted here.",
    ] = "ecrtm5000",
    documents: Annotated[
        str | None,
        "Your own: a folder of .txt files, a table with --column, or .npz counts by vocab.txt.",
    ] = None,
    column: Annotated[str | None, "Of a table of documents: the column of texts."] = None,
    labels: Annotated[str | None, "Of a table of documents: a column of labels to compare."] = None,
    words: Annotated[Size, "Of your own texts: the words to keep, which most of them hold."] = 5000,
    blocks: Annotated[str, "Topics of each block: 25,25, or 50 for a VAE of one."] = "25,25",
    beta: Annotated[Weight, "Weight of the correlation between blocks, ramped."] = 5.0,
    gamma: Annotated[Weight, "Weight of the correlation within blocks."] = 1.0,
    decoding: Annotated[
        Literal["words", "gsm", "prodlda"],
        "Topics among word vectors, free topics, or products of them.",
    ] = "words",
    prior: Annotated[
        Literal["standard", "learned", "correlated"], "p(z) of each block."
    ] = "standard",
    sharpness: Annotated[Positive, "Of `words`: how close words of a topic lie."] = 8.0,
    frequent: Annotated[Weight, "Of `words`: the exponent of the words' frequency."] = 2.0,
    competition: Annotated[Weight, "Of `words`: how much topics compete for words."] = 22.0,
    start: Annotated[
        Start, "Of `words`: topics begin at those of NMF, or at centres of k-means of words."
    ] = "nmf",
    slow: Annotated[Weight, "Of `words`: topics' learning rate, as a share of the others'."] = 0.02,
    background: Annotated[
        Share, "Of `words`: the probability that a word comes from the corpus, not from a topic."
    ] = 0.7,
    lean: Annotated[
        Weight, "Of `words`: how far that background leans towards the document's topics."
    ] = 4.0,
    baselines: Annotated[bool, "Fit NMF, LDA and k-means of word vectors, too."] = False,
    epochs: Epochs = 12,
    batch: Batch = 200,
    lr: Rate = 4e-3,
    validate: Annotated[
        bool, "Train on two thirds of the training documents, score on the others."
    ] = False,
    quick: Quick = False,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Topics of 20 Newsgroups, or of your documents: HFVAE on blocks of topics, or a VAE.

    Measured on test documents, mean ± sd over seeds 0 to 4 (`unweave study topics`): NPMI 0.263 ±
    0.008, diversity 0.955 ± 0.009 and NMI of the strongest topic with the group 0.507 ± 0.009 with
    two blocks; 0.262 ± 0.006, 0.955 ± 0.008 and 0.524 ± 0.012 with one. docs/results/topics.md has
    more.
    """
    parts = blocks.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"blocks={blocks!r}: expected numbers of topics, such as 25,25")
    sizes = tuple(int(part) for part in parts)
    texts = None
    if documents is not None:
        own = uw.data.documents(documents, words=words, column=column, labels=labels, say=_say)
        train, test = own.split(max(1, round(HELD * len(own))))
    else:
        texts = None if validate else _texts(data_dir)
        train = uw.data.newsgroups("train", data_dir, source=source)
        test = uw.data.newsgroups("test", data_dir, source=source)
    if validate:
        train, test = train.split(len(train) // 3)
    if quick:
        train, test, epochs = _some(train, 1500), _some(test, 600), 2
    batch = min(batch, len(train))
    if sum(sizes) > min(len(train), *train.shape):
        raise ValueError(
            f"blocks={blocks!r} are {sum(sizes)} topics of {len(train):,} documents with "
            f"{train.shape[0]:,} words; expected no more topics than either: --blocks 5,5"
        )
    steps = epochs * (len(train) // batch)
    if len(sizes) > 1:
        objective = uw.hfvae(1.0, uw.ramp(1.0, beta, last=max(1, steps // 2)), gamma)
    else:
        objective = uw.elbo
    build = partial(
        uw.models.topics,
        train.shape,
        sizes,
        decoding,
        prior=prior,
        size=min(100, *train.shape),
        sharpness=sharpness,
        frequent=frequent,
        competition=competition,
        slow=slow,
        background=background,
        lean=lean,
    )
    first = min(50, max(1, steps // 10))
    last = max(first + 1, steps * 6 // 10)
    return uw.Recipe(
        name="topics",
        data=train,
        test=test,
        model=build,
        start=partial(_begin_topics, train, start, seed) if decoding == "words" else None,
        objective=objective,
        groups=tuple(uw.models.sites(sizes)) if len(sizes) > 1 else None,
        epochs=epochs,
        batch=batch,
        lr=uw.Ramp(((0, 0.05 * lr), (first, lr), (last, lr), (steps + 1, 0.02 * lr))),
        seed=seed,
        logged=5,
        findings=partial(findings, baselines=baselines, texts=texts),
    )


def _some(data: uw.data.Data, n: int) -> uw.data.Data:
    return data if len(data) <= n else data.split(n)[1]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _texts(data_dir: str | None) -> Texts | None:
    """Return what reads the test posts as texts, or None if their archive is not there."""
    from unweave.data.files import placed
    from unweave.data.newsgroups import ARCHIVE, FOLDER, PAGE

    try:
        placed(FOLDER, ARCHIVE, data_dir, page=PAGE)
    except FileNotFoundError:
        return None
    return partial(uw.data.newsgroups_texts, "test", data_dir)


def _begin_topics(data: uw.data.Data, start: Start, seed: int, model: Model) -> None:
    """Give a model word vectors of the data, and let its topics begin by NMF or k-means."""
    import torch

    config: Any = model.config
    counts = data.x.csr()  # type: ignore[union-attr]
    vectors = word_vectors(uw.metrics.in_documents(counts), config["size"])
    total = np.asarray(counts.sum(0)).ravel()
    n = sum(config["blocks"])
    if start == "nmf":
        heavy = nmf(counts, n, seed).components_  # (topics, words)
        first = uw.metrics.top_words(heavy, FIRST)
        weights = np.zeros_like(heavy)
        np.put_along_axis(weights, first, np.take_along_axis(heavy, first, 1), 1)
        centres = torch.as_tensor(weights, dtype=torch.float32) @ vectors
    else:
        centres = centres_of(vectors, n, seed, total)
    frequency = torch.as_tensor(total / total.sum(), dtype=torch.float32)
    uw.models.begin_topics(model, vectors, frequency, centres)
