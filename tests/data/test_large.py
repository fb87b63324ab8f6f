"""Tests of arrays that stay in files: what is read from them is what was written."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from unweave.data import Bits, read, store, tables
from unweave.data.prepared import converted
from unweave.data.store import Rows, extremes, mapping_of, parts_of

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 6, 5), dtype=np.uint8)
LABELS = np.arange(40) % 3


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arrays of 100 bytes and more stay in files, and 200 bytes are read at once."""
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    for module in ("hdf5", "tables"):
        monkeypatch.setattr(f"unweave.data.{module}.LARGE", 100)
    monkeypatch.setattr(store, "AT_ONCE", 200)
    monkeypatch.setattr("unweave.data.hdf5.AT_ONCE", 200)


def quiet(_: str) -> None:
    pass


def saved(folder: Path, kind: str, x: np.ndarray) -> Path:
    path = folder / f"some.{kind.split()[0]}"
    if kind == "npy":
        np.save(path, x)
    elif kind.startswith("npz"):
        save = np.savez_compressed if "compressed" in kind else np.savez
        save(path, x=x, side=LABELS)
    else:
        options = {"compression": "gzip", "chunks": (7, *x.shape[1:])} if "chunks" in kind else {}
        with h5py.File(path, "w") as file:
            file.create_dataset("a/x", data=x, **options)
            file["side"] = LABELS
    return path


KINDS = ("npy", "npz", "npz compressed", "h5", "h5 in chunks")
FORMS = {
    "bytes": (BYTES, BYTES / np.float32(255)),
    "bits": (BYTES > 99, (BYTES > 99).astype(np.float32)),
    "floats": ((BYTES / 99).astype(np.float32), (BYTES / 99).astype(np.float32)),
    "doubles": (BYTES / 99, (BYTES / 99).astype(np.float32)),
    "whole numbers": (BYTES.astype(np.int64), BYTES / np.float32(255)),
    "channels first": (BYTES[:, None], BYTES[..., None] / np.float32(255)),
    "vectors": (BYTES.reshape(40, -1) / 7, (BYTES.reshape(40, -1) / 7).astype(np.float32)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_in_every_file_is_read_as_in_memory_and_stays_in_a_file(
    tmp_path: Path, kind: str, form: str
) -> None:
    x, expected = FORMS[form]
    data = read(saved(tmp_path, kind, x), say=quiet)
    assert np.array_equal(data.floats(), expected)
    packed = data.x.packed if isinstance(data.x, Bits) else data.x
    assert mapping_of(packed) is not None
    assert data.factors[:, 0].tolist() == LABELS.tolist() if kind != "npy" else not data.names
    part, _ = data.split(10)
    assert isinstance(part.x.packed if isinstance(part.x, Bits) else part.x, Rows)
    in_memory = read(x, say=quiet)
    assert type(in_memory.x) is type(data.x)
    assert np.array_equal(part.floats(), in_memory.split(10)[0].floats())
    low, high = part.extremes
    if form in ("floats", "doubles", "vectors"):
        axis = 0 if part.x.ndim == 2 else None
        assert np.array_equal(low, part.floats().min(axis))
        assert np.array_equal(high, part.floats().max(axis))


def test_another_content_of_a_file_is_converted_again(tmp_path: Path) -> None:
    for shift in (0, 1):
        data = read(saved(tmp_path, "h5 in chunks", BYTES / 99 + shift), say=quiet)
        assert np.array_equal(data.floats(), (BYTES / 99 + shift).astype(np.float32))


def test_two_arrays_of_one_file_have_copies_of_their_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = BYTES / 99, BYTES / 77
    for name, scale in (("a", 99), ("b", 77)):
        (other,) = {"a", "b"} - {name}
        data = read(tmp_path / "two.h5", drop=other, say=quiet)
        assert np.array_equal(data.floats(), (BYTES / scale).astype(np.float32))


def test_what_is_wrong_in_a_file_is_said_as_in_memory(tmp_path: Path) -> None:
    x = BYTES / 99
    x[[3, 30]] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in 2 of 40 items, the first 3"):
        read(saved(tmp_path, "h5", x), say=quiet)
    (tmp_path / "no.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.h5: no HDF5 file that h5py reads"):
        read(tmp_path / "no.h5")
    with pytest.raises(KeyError, match="no array 'b' to drop; there are a/x, side"):
        read(saved(tmp_path, "h5", BYTES), drop="b")


def test_an_hdf5_file_is_refused_that_claims_much(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "claims.h5", "w") as file:
        file.create_dataset("x", (2**33, 2), "f4", chunks=(2**10, 2), compression="gzip")
    with pytest.raises(ValueError, match=r"says that x takes 68,719,476,736 bytes.*cannot hold"):
        read(tmp_path / "claims.h5", say=quiet)


def test_an_hdf5_file_gives_nothing_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(range(80)))
    with h5py.File(tmp_path / "leads.h5", "w") as file:
        file["x"] = BYTES
        file.create_dataset("away", (40, 2), "u1", external=[(str(tmp_path / "secret"), 0, 80)])
        layout = h5py.VirtualLayout((40, 2), "u1")
        layout[:] = h5py.VirtualSource("own.h5", "x", (40, 2))
        file.create_virtual_dataset("seen", layout)
        file["link"] = h5py.ExternalLink("own.h5", "/")
    said: list[str] = []
    assert len(read(tmp_path / "leads.h5", say=said.append)) == len(BYTES)
    assert "leads.h5: left out, as neither numbers nor text of its own: away, seen" in said


def test_a_damaged_heap_of_text_is_refused_and_not_searched_for_ever(tmp_path: Path) -> None:
    place = tmp_path / "text.h5"
    with h5py.File(place, "w") as file:
        file["x"] = BYTES
        file["kind"] = ["a", "b"] * 20
    whole = place.read_bytes()
    assert read(place, say=quiet).names == ("kind",)
    heap = whole.index(b"GCOL")
    for length in (2**64 - 16, 2**64 - 1, 5000):
        size = length.to_bytes(8, "little")
        place.write_bytes(whole[: heap + 24] + size + whole[heap + 32 :])
        with pytest.raises(ValueError, match="a heap of text has an object that ends beyond it"):
            read(place, say=quiet)


def test_text_of_an_hdf5_file_is_a_label_and_what_is_neither_is_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["x"] = BYTES
        file["kind"] = ["a", "b"] * 20
        file["waves"] = np.zeros(40, dtype=np.complex64)
    data = read(tmp_path / "some.h5", say=said.append)
    assert (data.names, data.values) == (("kind",), (("a", "b"),))
    assert "some.h5: left out, as neither numbers nor text of its own: waves" in said
    assert list(tables.columns(tmp_path / "some.h5", drop=["x", "waves"])) == ["kind"]


def test_parts_and_extremes_are_those_of_the_whole() -> None:
    x = RNG.normal(size=(50, 3))
    x[4, 1] = np.nan
    rows = Rows(x, np.arange(50)[::-2])
    assert np.array_equal(np.concatenate(list(parts_of(rows))), x[::-2], equal_nan=True)
    assert len(list(parts_of(rows))) > 1
    for axis in (None, 0):
        low, high = extremes(rows, axis)
        assert np.array_equal(low, np.nanmin(x[::-2], axis))
        assert np.array_equal(high, np.nanmax(x[::-2], axis))


def test_what_lies_in_memory_is_changed_in_memory(tmp_path: Path) -> None:
    assert converted(BYTES, "twice", lambda rows: rows * 2).tolist() == (BYTES * 2).tolist()
    assert not (tmp_path / "cache").exists()


# Folders of images


def album(folder: Path, colour: bool) -> Path:
    from PIL import Image

    folder.mkdir()
    for k, pixels in enumerate(RNG.integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)):
        grey = np.repeat(pixels[..., :1], 3, axis=2)
        Image.fromarray(pixels if colour and k == 8 else grey).save(folder / f"{k}.png")
    Image.effect_noise((64, 64), 50).save(folder / "4a.jpg")
    whole = (folder / "4a.jpg").read_bytes()
    (folder / "4a.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize("colour", [True, False])
def test_many_images_are_decoded_once_and_mapped_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: bool
) -> None:
    place = album(tmp_path / "album", colour)
    said: list[str] = []
    in_memory = read(place, size=8, say=said.append)
    assert isinstance(in_memory.x, np.ndarray)
    monkeypatch.setattr("unweave.data.folder.LARGE", 100)
    monkeypatch.setattr("unweave.data.folder.PART", 2)
    again: list[str] = []
    first = read(place, size=8, say=again.append)
    assert again == said
    assert len(first) == 9
    monkeypatch.setattr("unweave.data.folder._read", None)  # it is not asked again
    second = read(place, size=8, say=again.append)
    for mapped in (first, second):
        assert isinstance(mapped.x, Rows)
        assert mapping_of(mapped.x.whole) is not None
        assert np.array_equal(mapped.floats(), in_memory.floats())
    assert any("1 unreadable files left out: 4a.jpg (it could not be read as" in s for s in again)


def test_a_folder_that_has_changed_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setattr("unweave.data.folder.LARGE", 100)
    place = album(tmp_path / "album", True)
    before = read(place, size=8, say=quiet)
    Image.fromarray(np.zeros((12, 10, 3), dtype=np.uint8)).save(place / "0.png")
    after = read(place, size=8, say=quiet)
    assert not after.floats(0).any()
    assert before.floats(0).any()
    assert np.array_equal(after.floats(slice(1, None)), before.floats(slice(1, None)))


# Tables


def table(folder: Path, missing: bool = False) -> Path:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "height": RNG.normal(size=60),
            "count": RNG.integers(3, 900, 60),
            "flag": RNG.random(60) < 0.5,
            "kind": ["a", "b", None] * 20,
            "row": np.arange(60),
            "same": 3.0,
            "weight": RNG.normal(size=60) + 7,
        }
    )
    if missing:
        frame.loc[[4, 9], "weight"] = np.nan
    path = folder / "table.parquet"
    frame.to_parquet(path, row_group_size=17)
    return path


@pytest.mark.parametrize("missing", [False, True])
def test_a_large_table_in_parquet_is_read_as_a_small_one_and_stays_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    path = table(tmp_path, missing)
    said: dict[str, list[str]] = {"large": [], "small": []}
    how = {"labels": "kind", "missing": "mean" if missing else "refuse"}
    large = read(path, say=said["large"].append, **how)
    monkeypatch.setattr("unweave.data.tables.LARGE", 10**9)
    small = read(path, say=said["small"].append, **how)
    assert said["large"] == said["small"]
    assert mapping_of(large.x) is not None
    assert mapping_of(small.x) is None
    assert large.prepared == small.prepared == {"columns": ["height", "count", "flag", "weight"]}
    assert np.array_equal(large.floats(), small.floats())
    assert np.array_equal(large.factors, small.factors)
    for a, b in zip(large.extremes, small.extremes, strict=True):
        assert np.array_equal(a, b)


def test_what_is_wrong_in_a_large_table_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, missing=True)
    with pytest.raises(ValueError, match=r"numbers are missing in weight \(2\) of 60 rows"):
        read(path, labels="kind", say=quiet)
    with pytest.raises(ValueError, match="NaN or infinite numbers in 2 of 60 items, the first 4"):
        read(path, like={"columns": ["height", "weight"]}, say=quiet)
    with pytest.raises(KeyError, match="no column 'width' to drop"):
        read(path, drop="width", say=quiet)
