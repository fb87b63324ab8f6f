"""Tests of a person's own documents: texts, folders, counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import unweave as uw
from unweave.data.sparse import Sparse

TEXTS = ["Dogs bark. Dogs run!", "cats run", "42"]


def test_texts_are_counted_and_empty_ones_are_left_out() -> None:
    said: list[str] = []
    data = uw.data.documents(TEXTS, labels=[3, 5, 5], say=said.append)
    assert data.prepared["columns"] == ["bark", "cats", "dogs", "run"]
    assert data.floats().tolist() == [[1, 0, 2, 1], [0, 1, 0, 1]]
    assert data.factors.ravel().tolist() == [0, 1]
    assert said[0].startswith("1 of 3 documents hold none")


def test_a_folder_gives_texts_and_its_subfolders_labels(tmp_path: Path) -> None:
    for group, text in (("pets", "dogs bark"), ("sea", "whales sing")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "1.txt").write_text(text)
    data = uw.data.documents(tmp_path, say=lambda _: None)
    assert data.values == (("pets", "sea"),)
    assert data.floats().tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_a_matrix_keeps_its_vocabulary() -> None:
    counts = np.array([[0, 2], [1, 0]])
    for given in (counts, sparse.csc_matrix(counts)):
        data = uw.data.documents(given, words=["cats", "dogs"])
        assert data.floats().tolist() == counts.tolist()
        assert data.prepared["columns"] == ["cats", "dogs"]


def test_a_table_has_columns_of_texts_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("text,kind\ndogs bark,pets\n,pets\nwhales sing,sea\n")
    data = uw.data.documents(path, column="text", labels="kind", say=lambda _: None)
    assert repr(data) == "Data(posts: 2 items of shape (4,); factors: label (2))"
    assert data.floats().tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    with pytest.raises(ValueError, match=r"columns text, kind; expected the name of that"):
        uw.data.documents(path, say=lambda _: None)
    with pytest.raises(KeyError, match="no column 'texts'; its columns are text, kind"):
        uw.data.documents(path, column="texts", say=lambda _: None)


def test_a_file_of_counts_has_its_vocabulary_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "counts.npz"
    sparse.save_npz(path, sparse.csr_array(np.array([[0, 2], [1, 0]])))
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt is not there; expected the words"):
        uw.data.documents(path)
    (tmp_path / "vocab.txt").write_text("cats\ndogs\n")
    data = uw.data.documents(path)
    assert isinstance(data.x, Sparse)
    assert data.floats().tolist() == [[0, 2], [1, 0]]
    assert data.prepared["columns"] == ["cats", "dogs"]
    np.savez(path, counts=np.ones((2, 2)))
    with pytest.raises(ValueError, match="no sparse matrix"):
        uw.data.documents(path)


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="words names none; expected the word of each"):
        uw.data.documents(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"3 documents and 2 labels"):
        uw.data.documents(TEXTS, labels=[1, 2])
    with pytest.raises(ValueError, match="none of 1 documents holds any"):
        uw.data.documents(["7"])
    with pytest.raises(ValueError, match=r"has no \.txt files"):
        uw.data.documents(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        uw.data.documents(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="names; expected none, or a label of each"):
        uw.data.documents(TEXTS, labels="kind")
