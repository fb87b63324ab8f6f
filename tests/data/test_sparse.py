"""Tests of sparse rows: against SciPy's matrices and dense arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from unweave.data import Data
from unweave.data.sparse import Sparse
from unweave.data.store import extremes, floats, moments, parts_of
from unweave.training.content import fingerprint
from unweave.training.items import Kept

RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.4, (30, 12)).astype(np.float32)
DENSE[4] = 0
DENSE[:, 3] += 1
DENSE[:, 5] = 0
ROWS = Sparse.of(DENSE)
SOME = np.array([7, 2, 4, 7])


def data(x: Sparse | np.ndarray) -> Data:
    return Data(x, np.zeros((len(x), 0), np.int64), (), (), (), "counts")


@pytest.mark.parametrize(
    "index", [slice(None), slice(3, 9, 2), slice(0, 0), 4, -1, SOME, [1, 0], DENSE[:, 0] > 0]
)
def test_items_are_read_as_dense_rows(index: object) -> None:
    assert np.array_equal(ROWS[index], DENSE[index])
    assert np.array_equal(floats(ROWS, index), DENSE[index])
    if not isinstance(index, int):
        assert np.array_equal(ROWS.take(SOME[[0, 1]])[:], DENSE[[7, 2]])
        assert np.array_equal(np.asarray(ROWS.take(index)), DENSE[index])


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_array", "lil_matrix"])
def test_any_matrix_of_scipy_is_converted(kind: str) -> None:
    matrix = getattr(sparse, kind)(DENSE.astype(np.int64))
    assert np.array_equal(Sparse.of(matrix)[:], DENSE)


def test_repeated_places_are_added_up_and_the_given_matrix_is_left_alone() -> None:
    matrix = sparse.csr_array((np.array([1, 2, 4]), [1, 1, 0], [0, 3, 3]), shape=(2, 3))
    assert Sparse.of(matrix)[:].tolist() == [[4, 3, 0], [0, 0, 0]]
    assert matrix.data.tolist() == [1, 2, 4]


def test_parts_go_back_to_scipy_alone() -> None:
    part = ROWS.take(SOME).csr()
    assert part.nnz == np.count_nonzero(DENSE[SOME])
    assert np.array_equal(part.toarray(), DENSE[SOME])


def test_data_tell_no_difference() -> None:
    ours, theirs = data(ROWS), data(DENSE)
    for a, b in ((ours, theirs), (ours.subset(SOME), theirs.subset(SOME))):
        assert a.shape == b.shape
        assert np.array_equal(a.floats(), b.floats())
        for mine, its in zip(a.extremes, b.extremes, strict=True):
            assert np.array_equal(mine, its)
        for mine, its in zip(extremes(a.x), extremes(b.x), strict=True):
            assert mine == its
        for mine, its in zip(moments(a.x), moments(b.x), strict=True):
            assert np.allclose(mine, its)
        assert fingerprint(a) == fingerprint(b)
        index = torch.tensor([2, 0, 2])
        assert torch.equal(Kept(a.x)[index], Kept(b.x)[index])
        assert torch.equal(Kept(a.x)[1:3], Kept(b.x)[1:3])
        assert len(Kept(a.x)) == len(a)


def test_negative_numbers_and_full_columns_have_their_extremes() -> None:
    dense = np.array([[-1, 2, 0], [-3, 5, 0]], np.float32)
    low, high = Sparse.of(dense).extremes(0)
    assert low.tolist() == [-3, 2, 0]
    assert high.tolist() == [-1, 5, 0]


def test_arrays_may_lie_in_files(tmp_path: Path) -> None:
    for name in ("values", "columns", "starts"):
        np.save(tmp_path / f"{name}.npy", getattr(ROWS, name))
    mapped = [np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in ("values", "columns")]
    rows = Sparse(*mapped, ROWS.starts, ROWS.width)
    part = data(rows).subset(SOME)
    assert isinstance(part.x, Sparse)
    assert part.x.values is rows.values
    assert np.array_equal(part.floats(), DENSE[SOME])


def test_parts_of_sparse_rows_are_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unweave.data.store.AT_ONCE", 4 * 12 * 7)
    assert [len(part) for part in parts_of(ROWS)] == [7, 7, 7, 7, 2]
    monkeypatch.setattr("unweave.data.sparse.AT_ONCE", 20)
    assert len(list(ROWS.parts())) > 5
    assert np.array_equal(ROWS.extremes(0)[1], DENSE.max(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": ROWS.values.astype(np.float64)}, "values is float64"),
        ({"values": ROWS.values[1:]}, "a column for each value"),
        ({"starts": ROWS.starts[:-1]}, "starts go from"),
        ({"starts": ROWS.starts[[0, 2, 1, -1]]}, "starts fall"),
        ({"width": 11}, "columns go from 0 to 11; expected 0 to 10"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    given = {name: getattr(ROWS, name) for name in ("values", "columns", "starts", "width")}
    with pytest.raises(ValueError, match=message):
        Sparse(**(given | change))


def test_matrices_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(n, width\)"):
        Sparse.of(np.zeros(3))
    with pytest.raises(TypeError, match="expected real numbers"):
        Sparse.of(np.array([["a"]]))
    with pytest.raises(TypeError, match="indexed by items alone"):
        ROWS[0, 1]


def test_numbers_that_are_not_finite_are_named_by_item() -> None:
    dense = DENSE.copy()
    dense[[4, 9], 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"items 4, 9 \(2 of 30\)"):
        data(Sparse.of(dense))
