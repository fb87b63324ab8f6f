"""Tests of stores: three ways to keep the same items, which no reader can tell apart."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

import unweave as uw
from unweave.data import Data
from unweave.data.sparse import Sparse
from unweave.data.store import Bits, extremes, floats, moments
from unweave.evaluation.encoded import encoded
from unweave.evaluation.evaluate import evaluate
from unweave.training.items import Kept
from unweave.training.trainer import Trainer

RNG = np.random.default_rng(0)
SHAPES = [(8,), (5,), (3, 7), (4, 4, 1), (1,)]
STORES = ["float32", "uint8", "bits"]


def zeros_and_ones(shape: tuple[int, ...], n: int = 10) -> np.ndarray:
    return RNG.integers(0, 2, (n, *shape))


def stored(x: np.ndarray, store: str) -> np.ndarray | Bits:
    return {
        "float32": lambda: x.astype(np.float32),
        "uint8": lambda: (x * 255).astype(np.uint8),
        "bits": Bits.pack,
    }[store](*[x] * (store == "bits"))


def data(x: np.ndarray | Bits) -> Data:
    factors = np.arange(len(x))[:, None] % 2
    return Data(x, factors, ("parity",), (2,), (("even", "odd"),), "some")


def indices(n: int) -> list[object]:
    mask = np.zeros(n, dtype=bool)
    mask[[1, n - 1]] = True
    return [slice(None), slice(2, 5), slice(0, 0), [0, n - 1, 0], np.array([3]), mask]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_store_reads_the_same(shape: tuple[int, ...], store: str) -> None:
    x = zeros_and_ones(shape)
    kept = data(stored(x, store))
    assert kept.x.shape == x.shape
    assert (kept.shape, kept.x[0].size, kept.x.ndim, kept.x.size) == (
        shape,
        x[0].size,
        x.ndim,
        x.size,
    )
    assert kept.is_unit
    assert repr(kept) == f"Data(some: 10 items of shape {shape}; factors: parity (2))"
    for index in [*indices(10), 4, -1]:
        read = kept.floats(index)
        assert read.dtype == np.float32
        assert np.array_equal(read, x[index])


@pytest.mark.parametrize("store", STORES)
def test_parts_stay_as_compact(store: str) -> None:
    x = zeros_and_ones((3, 7), n=40)
    whole = data(stored(x, store))
    part = whole.subset([7, 2])
    assert type(part.x) is type(whole.x)
    assert part.x.nbytes * 20 == whole.x.nbytes
    assert np.array_equal(part.floats(), x[[7, 2]])
    assert np.array_equal(whole.subset(whole.factors[:, 0] == 1).floats(), x[1::2])
    for ours, floats_ in zip(
        whole.split(9, seed=3), data(stored(x, "float32")).split(9, seed=3), strict=True
    ):
        assert np.array_equal(ours.floats(), floats_.x)


def test_bytes_are_divided_by_255_to_the_bit() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(32, 8)
    assert np.array_equal(floats(x), (x.astype(np.float64) / 255).astype(np.float32))
    assert np.array_equal(floats(x), x / np.float32(255))


def test_bits_are_an_array_to_numpy() -> None:
    x = zeros_and_ones((3, 3))
    assert np.array_equal(np.asarray(Bits.pack(x)), x)
    assert (Bits.pack(x).nbytes, Bits.pack(x).dtype) == (20, np.float32)
    assert [item.tolist() for item in Bits.pack(x)] == x.tolist()


def test_bits_refuse_what_they_cannot_keep() -> None:
    with pytest.raises(ValueError, match=r"x holds 0.5; expected zeros and ones alone"):
        Bits.pack(np.array([[0.0, 0.5]]))
    with pytest.raises(ValueError, match=r"x holds nan"):
        Bits.pack(np.array([[0.0, np.nan]]))
    with pytest.raises(
        ValueError, match=r"packed is uint8 of shape \(4, 2\); expected uint8 of shape \(n, 1\)"
    ):
        Bits(np.zeros((4, 2), dtype=np.uint8), (8,))
    with pytest.raises(TypeError, match="indexed by items alone"):
        Bits.pack(zeros_and_ones((2, 2)))[0, 1]


# On the device


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batches_are_decoded_on_the_device(shape: tuple[int, ...], store: str) -> None:
    whole = data(stored(zeros_and_ones(shape), store))
    kept = Kept(whole.x)
    assert len(kept) == 10
    assert kept.tensor.nbytes == whole.x.nbytes
    for index in indices(10):
        of_torch = index if isinstance(index, slice) else torch.as_tensor(index)
        read = kept[of_torch]
        assert read.dtype == torch.float32
        assert np.array_equal(read.numpy(), whole.floats(index))


def test_every_byte_is_decoded_to_the_bit() -> None:
    x = np.arange(256, dtype=np.uint8)[:, None]
    assert np.array_equal(Kept(x)[:].numpy(), floats(x))
    if torch.cuda.is_available():
        assert np.array_equal(Kept(x, "cuda")[:].cpu().numpy(), floats(x))


def test_bits_mapped_from_a_file_are_kept(tmp_path: Path) -> None:
    bits = Bits.pack(zeros_and_ones((9,)))
    np.save(tmp_path / "packed.npy", bits.packed)
    mapped = Bits(np.load(tmp_path / "packed.npy", mmap_mode="r"), (9,))
    assert np.array_equal(Kept(mapped)[:].numpy(), bits[:])
    assert np.array_equal(data(mapped).floats([3, 1]), bits[[3, 1]])


def recipe(store: str) -> uw.Recipe:
    x = uw.data.digits().x[:60] > 0.5
    return uw.Recipe(
        name=store,
        data=data(stored(x, store)),
        model=lambda: uw.models.vae((8, 8), hidden=(8, 6), normals=2),
        objective=uw.elbo,
        held_out=10,
        batch=25,
        epochs=2,
    )


def test_training_is_the_same_whatever_the_store() -> None:
    weights = []
    for store in STORES:
        trainer = Trainer(recipe(store), "cpu")
        trainer.run_epoch(lambda: False, lambda _: None)
        losses = [line["loss"] for line in trainer.close_epoch()]
        weights.append((losses, [w.detach().clone() for w in trainer.model.parameters()]))
    for other in weights[1:]:
        assert other[0] == weights[0][0]
        assert all(map(torch.equal, other[1], weights[0][1]))


# Evaluation, some items at a time


@pytest.mark.parametrize("temperature", [0.66, None], ids=["concrete", "categorical"])
def test_a_posterior_in_chunks_is_the_whole(temperature: float | None) -> None:
    """Compare densities that depend on no draw, and the shapes, roles and items of drawn sites."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = uw.models.hfvae(
            (8, 8), hidden=(8, 6), classes=3, normals=2, temperature=temperature
        ).eval()
    x = torch.as_tensor(uw.data.digits().x[:23])
    whole, chunked = model.encoder(x).aligned(), encoded(model, x, rows=8)
    assert list(chunked) == list(whole)
    assert chunked.classes() == whole.classes()
    for name, node in whole.items():
        other = chunked[name]
        assert (other.role, other.axes, other.value.shape) == (
            node.role,
            node.axes,
            node.value.shape,
        )
        assert other.dist.batch_shape == node.dist.batch_shape
        if temperature is None or name == "y":
            assert torch.allclose(other.dist.mean, node.dist.mean, atol=1e-6)
    assert repr(chunked.draw()) == repr(whole.draw())


def test_chunks_keep_values_and_densities_of_the_same_items() -> None:
    """Check that z is Normal(μ(x, y), σ(x, y)) at the y that was drawn.

    The encoder, given that y, returns the same for each item.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = uw.models.hfvae((8, 8), hidden=(8, 6), classes=3, normals=2).eval()
    x = torch.as_tensor(uw.data.digits().x[:23])
    chunked = encoded(model, x, rows=8)
    with torch.no_grad():
        again = model.encoder(x, y=chunked["y"].value)["z"].dist
    assert torch.allclose(chunked["z"].dist.loc, again.loc, atol=1e-6)
    assert torch.allclose(chunked["z"].dist.scale, again.scale, atol=1e-6)


def test_a_site_that_is_a_function_of_x_in_chunks() -> None:
    model = uw.models.autoencoder((8, 8), hidden=(8, 6), normals=2).eval()
    x = torch.as_tensor(uw.data.digits().x[:23])
    for name, node in model.encoder(x).items():
        assert torch.allclose(encoded(model, x, rows=8)[name].value, node.value, atol=1e-6)


@pytest.mark.slow
def test_scores_are_the_same_whatever_the_store(tmp_path: Path) -> None:
    found = []
    for store in STORES:
        run = uw.fit(recipe(store), tmp_path / store, device="cpu", quiet=True, evaluate=False)
        found.append(evaluate(recipe(store), copy.deepcopy(run.model), tmp_path / store, points=20))
    assert found[0] == found[1] == found[2]


def test_sparse_rows_are_the_dense_ones():
    rng = np.random.default_rng(3)
    x = (rng.poisson(0.3, (60, 7)) * (rng.random((60, 1)) < 0.9)).astype(np.float32)
    matrix = sparse.csr_matrix(x)
    for rows in (Sparse.of(x), Sparse.of(matrix), Sparse.of(sparse.coo_matrix(x))):
        some = rng.permutation(60)[:20]
        for index in (slice(3, 50, 2), some, x[:, 0] > 0, 7):
            np.testing.assert_array_equal(rows[index], x[index])
        np.testing.assert_array_equal(rows.take(some)[:], x[some])
        np.testing.assert_array_equal(rows.take(x[:, 0] > 0)[:], x[x[:, 0] > 0])
        assert len(rows.values) == np.count_nonzero(x)
        np.testing.assert_array_equal(extremes(rows, axis=0), extremes(x, axis=0))
        np.testing.assert_allclose(moments(rows), moments(x), atol=1e-12)
    kept = Kept(Sparse.of(x))
    assert len(kept) == 60
    np.testing.assert_array_equal(kept[torch.tensor([5, 1])], x[[5, 1]])
    with pytest.raises(TypeError, match="take items first"):
        rows[1, 2]


def test_a_model_trains_on_sparse_rows_as_on_dense_ones(tmp_path: Path):
    x = np.random.default_rng(0).poisson(0.5, (80, 6)).astype(np.float32)
    weights = []

    def model():
        kinds = [("poisson", 6)]
        made = uw.models.table((6,), kinds, hidden=(8, 4), normals=2, library=True)
        return uw.models.measured(made, x)

    for store in (x, Sparse.of(x)):
        train, test = data(store).split(20)
        recipe = uw.Recipe(
            name="sparse",
            data=train,
            test=test,
            model=model,
            objective=uw.tc_vae(2),
            groups=("z",),
            epochs=2,
            batch=20,
        )
        run = uw.fit(recipe, tmp_path / type(store).__name__, quick=True, quiet=True)
        weights.append([weight.detach().numpy() for weight in run.model.parameters()])
        assert "information" not in " ".join(run.scores.get("skipped", {}))
    for dense, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(dense, other)


def test_moments_leave_missing_numbers_out():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[::3, 1] = np.nan
    x[:, 2] = np.nan
    mean, sd = moments(x, rows=7)
    held = x[:, 1][~np.isnan(x[:, 1])].astype(float)
    np.testing.assert_allclose([mean[1], sd[1]], [held.mean(), held.std()])
    assert mean[2] == sd[2] == 0
