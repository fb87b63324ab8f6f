"""Data as users of torch have them, and back into a DataLoader."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from unweave.data import digits, read

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3


class InTurn(IterableDataset):
    """Items that come in turn, with a length."""

    def __len__(self):
        return 30

    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.parametrize(
    "source",
    [
        TensorDataset(torch.tensor(X), torch.tensor(Y)),
        (X, Y),
        (torch.tensor(X), torch.tensor(Y)),
        InTurn(),
        torch.utils.data.Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), range(30)),
    ],
    ids=["TensorDataset", "arrays", "tensors", "in turn", "Subset"],
)
def test_what_torch_has_is_x_and_a_label(source):
    data = read(source, say=lambda text: None)
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.factors[:, 0], Y)
    assert data.names == ("label",)


def test_data_work_in_a_loader():
    data = digits()
    x, factors = next(iter(DataLoader(data, batch_size=5)))
    assert x.shape == (5, 8, 8)
    assert x.dtype == torch.float32
    np.testing.assert_array_equal(x, data.floats(slice(5)))
    np.testing.assert_array_equal(factors, data.factors[:5])
    assert sum(len(x) for x, _ in DataLoader(data, batch_size=100)) == len(data)


def test_sequences_of_different_lengths_are_padded():
    said = []
    parts = [RNG.normal(size=(steps, 2)) for steps in (3, 5, 4)]
    data = read(parts, labels=["a", "b", "a"], say=said.append)
    assert data.shape == (5, 2)
    assert data.missing
    for row, part in zip(data.x, parts, strict=True):
        np.testing.assert_array_equal(row[: len(part)], part.astype(np.float32))
        assert np.isnan(row[len(part) :]).all()
    assert said[0] == "sequences of up to 5 steps; NaN stands for steps behind an end"
    same = read([part[:3] for part in parts], say=said.append)
    assert same.shape == (3, 2)
    assert not same.missing
