"""Tests of 20 Newsgroups: its files as they are, an archive made here, and how posts are read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.real import real

import unweave as uw
from unweave.data.documents import counted, vocabulary
from unweave.data.newsgroups import words_of

POST = """From: someone@a.com
Subject: Header words

In article <123@b.com> other@b.com wrote:
> quoted words
: quoted too
AB> quoted by letters
Hello there, hello 2nd WORLD at me@here.org
--
Signature words
"""


def test_headers_quotes_addresses_and_signatures_are_left_out() -> None:
    assert words_of(POST) == ["hello", "there", "hello", "world"]
    assert words_of("no empty line, no body") == []


def test_counts_are_those_of_the_words() -> None:
    documents = [["b", "a", "b", "d"], [], ["c"]]
    assert vocabulary(documents, 3, ["d"]) == ["a", "b", "c"]
    assert counted(documents, ["a", "b", "c"])[:].tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_an_archive_is_read_by_group_and_number(tmp_path: Path) -> None:
    folder = tmp_path / "20newsgroups"
    folder.mkdir()
    posts = {
        "20news-bydate-train/sci.space/20": "From: a\n\nmoon moon orbit",
        "20news-bydate-train/sci.space/3": "From: a\n\norbit",
        "20news-bydate-train/alt.atheism/5": "From: a\n\nthe and",
        "20news-bydate-test/sci.med/1": "From: a\n\norbit doctor",
    }
    with tarfile.open(folder / "20news-bydate.tar.gz", "w:gz") as archive:
        for name, text in posts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    train = uw.data.newsgroups("train", tmp_path, source="archive")
    assert train.prepared["columns"] == ["moon", "orbit"]
    assert train.floats().tolist() == [[0, 1], [2, 1]]  # 3 before 20, and none without words
    assert [train.values[0][k] for k in train.factors[:, 0]] == ["sci.space"] * 2
    test = uw.data.newsgroups("test", tmp_path, source="archive")
    assert test.floats().tolist() == [[0, 1]]
    texts = uw.data.newsgroups_texts("train", tmp_path)
    assert texts == [["the", "and"], ["orbit"], ["moon", "moon", "orbit"]]
    ordered = uw.data.in_order(texts, train.prepared["columns"])
    assert [numbers.tolist() for numbers in ordered] == [[-1, -1], [1], [0, 0, 1]]
    with pytest.raises(ValueError, match="no split 'all'"):
        uw.data.newsgroups_texts("all", tmp_path)


def test_wrong_words_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 'train' or 'test'"):
        uw.data.newsgroups("valid")
    with pytest.raises(ValueError, match="expected 'ecrtm5000', 'counts' or 'archive'"):
        uw.data.newsgroups(source="other")


@pytest.mark.parametrize(
    ("source", "split", "n", "words", "tokens"),
    [
        ("ecrtm5000", "train", 11_314, 5000, 1_250_680),
        ("ecrtm5000", "test", 7532, 5000, 803_389),
        ("counts", "train", 11_314 - 105, 2000, 556_172),
        ("counts", "test", 7532 - 77, 2000, 348_625),
    ],
)
def test_published_counts(source: str, split: str, n: int, words: int, tokens: int) -> None:
    root = real("20newsgroups")
    data = uw.data.newsgroups(split, root, source=source)
    assert data.x.shape == (n, words)
    assert len(data.prepared["columns"]) == words
    assert data.x.csr().sum() == tokens
    assert set(np.unique(data.factors)) == set(range(20))
