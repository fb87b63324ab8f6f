"""Items on the device or in a file: what is indexed is the same, and a file stays in its file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training import environment, tiny

import unweave as uw
from unweave.data import Bits, Data
from unweave.data.store import Rows, mapping_of
from unweave.run import fit
from unweave.training.items import AHEAD, Items, Kept
from unweave.training.trainer import Trainer

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def mapped(data: Data, folder: Path) -> Data:
    """The same data, mapped from a file."""
    np.save(folder / "x.npy", data.x)
    x = np.asarray(np.load(folder / "x.npy", mmap_mode="r"))
    return Data(x, data.factors, data.names, data.sizes, data.values, data.name)


def test_parts_of_a_mapped_array_stay_in_their_file(tmp_path: Path) -> None:
    memory = uw.data.digits().subset(range(50))
    file = mapped(memory, tmp_path)
    for ours, its in zip(memory.split(20), file.split(20), strict=True):
        again = its.subset([3, 1])
        assert isinstance(its.x, Rows)
        assert isinstance(again.x, Rows)
        assert mapping_of(its.x.whole) is not None
        assert (its.x.nbytes, its.x.size, its.x.ndim) == (ours.x.nbytes, ours.x.size, ours.x.ndim)
        assert np.array_equal(its.floats(), ours.x)
        assert np.array_equal(again.floats(), ours.x[[3, 1]])
        assert np.array_equal(np.asarray(its.x), ours.x)
        assert its.is_unit
        order = torch.tensor([4, 0, 4])
        assert torch.equal(Kept(its.x)[order], Kept(ours.x)[order])
        assert torch.equal(Kept(its.x)[2:5], Kept(ours.x)[2:5])
    with pytest.raises(TypeError, match="Rows are indexed by items alone"):
        its.x[0, 1]


def test_bits_and_bytes_of_a_mapped_array_too(tmp_path: Path) -> None:
    bits = Bits.pack(uw.data.digits().x[:30] > 0.5)
    np.save(tmp_path / "bits.npy", bits.packed)
    x = Bits(np.load(tmp_path / "bits.npy", mmap_mode="r"), bits.item).take([5, 2, 9])
    assert isinstance(x.packed, Rows)
    assert np.array_equal(x[:], bits[[5, 2, 9]])
    assert np.array_equal(Kept(x)[:].numpy(), bits[[5, 2, 9]])


@pytest.mark.slow
def test_a_run_on_a_mapped_file_is_the_run_in_memory_and_resumes_bit_for_bit(
    tmp_path: Path,
) -> None:
    memory = tiny()
    file = tiny(data=mapped(memory.data, tmp_path))
    runs = [
        fit(recipe, tmp_path / name, evaluate=False, quiet=True, device="cpu")
        for name, recipe in (("memory", memory), ("file", file))
    ]
    for ours, its in zip(*(run.model.parameters() for run in runs), strict=True):
        assert torch.equal(ours, its)
    trainer = Trainer(file, "cpu")
    halfway = iter([False, False, True])
    trainer.run_epoch(lambda: next(halfway), lambda _: None)
    state = trainer.state()
    other = Trainer(file, "cpu")
    other.restore(state)
    while not other.done:
        other.run_epoch(lambda: False, lambda _: None)
    for ours, its in zip(other.model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(ours, its)


def test_what_comes_next_is_asked_for_once_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = Items("training", mapped(uw.data.digits().subset(range(60)), tmp_path), tiny())
    order = torch.randperm(60).reshape(15, 4)
    asked: list[list[int]] = []
    monkeypatch.setattr(Kept, "soon", lambda _, index: asked.append(index.tolist()))
    for step, batch in enumerate(items.ahead(order)):
        assert torch.equal(batch, order[step])
        assert len(asked) == min(step + AHEAD, len(order))
    assert asked == order.tolist()


def test_a_device_that_holds_all_items_gets_them_once_and_another_batch_by_batch(
    tmp_path: Path,
) -> None:
    """On the device `meta`, which has shapes and no numbers."""
    part, _ = mapped(uw.data.digits().subset(range(60)), tmp_path).split(20)
    whole, batches = Kept(part.x, "meta", fits=True), Kept(part.x, "meta", fits=False)
    assert (whole.tensor.device.type, whole.tensor.shape) == ("meta", (40, 8, 8))
    assert batches.tensor.device.type == "cpu"
    for kept in (whole, batches):
        batch = kept[torch.tensor([1, 2, 3], device=kept.tensor.device)]
        assert (batch.device.type, batch.shape) == ("meta", (3, 8, 8))


STREAM = """
import ctypes, sys, numpy as np, torch
import unweave as uw
from unweave.evaluation.encoded import posterior
from unweave.training.trainer import Trainer

def private():
    ctypes.CDLL(None).malloc_trim(0)  # what is freed is not held
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

def work(data):
    train, test = data.split(len(data) // 10)
    recipe = uw.Recipe(
        "streamed", train, lambda: uw.models.vae(train.shape, hidden=(8, 4), normals=2),
        uw.elbo, held_out=len(train) // 10, batch=1000, epochs=1, logged=1,
    )
    trainer = Trainer(recipe, "cpu")
    trainer.run_epoch(lambda: False, lambda _: None)
    list(trainer.close_epoch())
    posterior(trainer.model.eval(), test)

torch.set_num_threads(1)
small = np.random.default_rng(0).integers(0, 256, (10_000, 48, 64), dtype=np.uint8)
work(uw.data.read(small, say=lambda _: None))
del small
before = private()
work(uw.data.read(sys.argv[1], say=lambda _: None))
print(private() - before)
"""


@ON_LINUX
@pytest.mark.slow
def test_a_file_of_300_mb_is_trained_on_without_a_copy_of_it(tmp_path: Path) -> None:
    """Private memory grows by less than 100 MB, of which 50 are a part that is encoded.

    A copy of the training part would take 249.
    """
    shape = (100_000, 48, 64)
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        begin = file.tell()
        file.write(np.arange(48 * 64 * 20, dtype=np.uint8).data)  # not black alone
        file.truncate(begin + 48 * 64 * shape[0])
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path / "x.npy")],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100
