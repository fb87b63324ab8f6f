"""Tests of the recipe `topics`, on a small corpus in the form of the published files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import unweave as uw
from unweave.data.sparse import Sparse
from unweave.recipes.word_vectors import word_vectors

RNG = np.random.default_rng(0)


def corpus(folder: Path) -> None:
    """Write counts of 60 words: each document is about one of twenty groups of three words."""
    place = folder / "20newsgroups"
    place.mkdir()
    words = [f"{chr(97 + g)}{chr(97 + g)}{chr(97 + k)}" for g in range(20) for k in range(3)]
    (place / "vocab.txt").write_text("\n".join(words))
    for split, n in (("train", 2000), ("test", 700)):
        groups = RNG.integers(0, 20, n)
        rates = np.full((n, 60), 0.05)
        for k in range(3):
            rates[np.arange(n), 3 * groups + k] = 2.0
        sparse.save_npz(place / f"{split}_counts.npz", sparse.csr_matrix(RNG.poisson(rates)))
        np.save(place / f"{split}_labels.npy", groups)
    with tarfile.open(place / "20news-bydate.tar.gz", "w:gz") as archive:
        for number in range(40):
            text = "\n\n" + " ".join(words[3 * (number % 20) :][:3])
            member = tarfile.TarInfo(f"20news-bydate-test/sci.med/{number}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.slow
def test_a_quick_run_reports_topics_and_baselines(tmp_path: Path) -> None:
    corpus(tmp_path)
    recipe = uw.recipes.topics(
        source="counts", blocks="15,15", quick=True, baselines=True, data_dir=str(tmp_path)
    )
    run = uw.fit(recipe, out=tmp_path / "run", quiet=True)
    assert run is not None
    page = (tmp_path / "run" / "report.html").read_text()
    for expected in (
        "NPMI on test documents",
        "u_mass",
        "NPMI by window",
        "C_V",
        "Topics that correlate most",
        "NMF on tf-idf",
    ):
        assert expected in page
    assert 'class="words"' in page


def folder_of_texts(path: Path, groups: int) -> None:
    """Write 300 texts of three subjects, of six words each, in as many subfolders or in none."""
    for number in range(300):
        subject = "abc"[number % 3]
        words = [f"{subject}{subject}{'uvwxyz'[k]}" for k in RNG.integers(0, 6, 12)]
        place = path / subject if groups else path
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(" ".join(words))


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 3])
def test_own_documents_become_topics(tmp_path: Path, groups: int) -> None:
    folder_of_texts(tmp_path / "texts", groups)
    recipe = uw.recipes.topics(documents=str(tmp_path / "texts"), blocks="2,2", batch=40)
    assert isinstance(recipe.data.x, Sparse)
    assert recipe.test is not None
    assert (len(recipe.data), len(recipe.test)) == (240, 60)
    uw.fit(recipe, out=tmp_path / "run", quiet=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "NPMI on test documents" in page
    assert ("NMI with groups" in page) == bool(groups)
    assert "C_V" not in page  # there are no texts to read again


def test_more_topics_than_words_are_refused(tmp_path: Path) -> None:
    folder_of_texts(tmp_path, 0)
    with pytest.raises(ValueError, match="50 topics of 240 documents with 18 words"):
        uw.recipes.topics(documents=str(tmp_path))


def test_words_of_a_group_have_vectors_close_together(tmp_path: Path) -> None:
    corpus(tmp_path)
    data = uw.data.newsgroups("train", tmp_path, source="counts")
    vectors = word_vectors(uw.metrics.in_documents(data.x.csr()), 20)
    cosine = (vectors @ vectors.T).numpy()
    group = np.arange(60) // 3
    same = group[:, None] == group
    assert cosine[same].min() > cosine[~same].max()
