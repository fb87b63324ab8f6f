"""Tests of published sets: their formats, read from small files, and real files if present."""

import gzip
import hashlib
import importlib
import io
import math
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pooch
import pytest
import scipy.io
from PIL import Image
from support.real import real

from unweave.data import (
    SOURCES,
    Data,
    celeba,
    dsprites,
    grid,
    mpi3d,
    npz,
    shapes3d,
    small_norb,
    yaleb,
)
from unweave.data.prepared import cache, prepared

RNG = np.random.default_rng(0)


def module(name: str) -> ModuleType:
    """Return a source's module: the package's attribute of that name is the function."""
    return importlib.import_module(f"unweave.data.{name}")


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(*args: object, **kwargs: object) -> str:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(pooch, "retrieve", retrieve)


# What all have in common


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"digits"}))
def test_what_is_missing_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"(?is)is not in the data directory.*put it at"
    ) as refusal:
        SOURCES[name](root=tmp_path)
    folder = {"newsgroups": "20newsgroups"}.get(name, name)
    assert str(tmp_path / folder) in str(refusal.value)
    assert "UNWEAVE_DATA" in str(refusal.value)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_unknown_splits_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name}.* has no split 'held-out'.*; .*expected '"):
        SOURCES[name]("held-out", tmp_path)


@pytest.mark.parametrize("sizes", [(2, 3), (1, 4, 2), (5,)])
def test_a_grid_holds_each_combination_once_in_order(sizes: tuple[int, ...]) -> None:
    assert [tuple(row) for row in grid.classes(sizes)] == list(np.ndindex(*sizes))


# Prepared arrays


def source(tmp_path: Path) -> Path:
    path = tmp_path / "set.v1.bin"
    path.write_bytes(b"published")
    return path


def test_an_array_is_prepared_once_and_mapped_from_then_on(tmp_path: Path, cached: Path) -> None:
    path, made = source(tmp_path), []
    x = RNG.integers(0, 256, (7, 3, 2), dtype=np.uint8)

    def parts() -> Iterator[np.ndarray]:
        made.append(True)
        yield from (x[:4], x[4:])

    for _ in range(2):
        found = prepared(path, "pixels", x.shape, parts)
        assert np.array_equal(found, x)
        assert not found.flags.writeable
    assert len(made) == 1
    assert [file.name.startswith("set-pixels-") for file in cached.iterdir()] == [True]
    os.utime(path, ns=(1, 1))
    prepared(path, "pixels", x.shape, parts)
    assert len(made) == 2  # another file, though it has the same name


def test_what_fails_half_way_leaves_nothing(tmp_path: Path, cached: Path) -> None:
    def parts() -> Iterator[np.ndarray]:
        yield np.zeros((2, 3), dtype=np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(source(tmp_path), "pixels", (4, 3), parts)
    with pytest.raises(ValueError, match="2 rows were found, expected 4"):
        prepared(source(tmp_path), "pixels", (4, 3), lambda: [np.zeros((2, 3), dtype=np.uint8)])
    with pytest.raises(ValueError, match=r"rows 0.. are float64 of shape \(3,\)"):
        prepared(source(tmp_path), "pixels", (4, 3), lambda: [np.zeros((4, 3))])
    assert list(cached.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match=r"can't be written .*UNWEAVE_CACHE=DIR"):
        prepared(source(tmp_path), "pixels", (1, 1), lambda: [])
    monkeypatch.delenv("UNWEAVE_CACHE")
    assert cache() == Path(pooch.os_cache("unweave")) / "prepared"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_rows_of_an_npz(tmp_path: Path, save: Any, dtype: type) -> None:
    x = RNG.integers(0, 99, (11, 2, 3)).astype(dtype)
    save(tmp_path / "a.npz", x=x, y=np.asfortranarray(x[:, 0]))
    for at_once in (1, 4, 11, 50):
        assert np.array_equal(np.concatenate(list(npz.rows(tmp_path / "a.npz", "x", at_once))), x)
    assert npz.shapes(tmp_path / "a.npz") == {"x": ((11, 2, 3), dtype), "y": ((11, 3), dtype)}
    with pytest.raises(ValueError, match=r"y is .* in Fortran order"):
        next(npz.rows(tmp_path / "a.npz", "y"))


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(1000))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"not an \.npz file, or is truncated"):
        npz.check(tmp_path / "a.npz", x=(1000,))


# dSprites


class Trap:
    """An object that raises where it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("raise RuntimeError('unpickled')",)


@pytest.fixture
def sprites(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Return the arrays of a small dSprites: a grid of 24 images, and pickled metadata."""
    sizes = (3, 2, 1, 2, 2)
    values = (("square", "ellipse", "heart"), ("0.5", "1"), ("0",), ("0", "1"), ("0", "1"))
    monkeypatch.setattr(module("dsprites"), "SIZES", sizes)
    monkeypatch.setattr(module("dsprites"), "VALUES", values)
    classes = np.array(list(np.ndindex(1, *sizes)))
    return {
        "imgs": RNG.integers(0, 2, (24, 64, 64), dtype=np.uint8),
        "latents_classes": classes,
        "latents_values": classes.astype(np.float64),
        "metadata": np.array(Trap(), dtype=object),
    }


def save_sprites(root: Path, arrays: dict[str, np.ndarray], source: str = "published") -> None:
    path = root / "dsprites" / module("dsprites").FILES[source][1]
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)


def test_dsprites_are_packed_and_equal(tmp_path: Path, sprites: dict[str, np.ndarray]) -> None:
    save_sprites(tmp_path, sprites)
    for _ in range(2):
        data = dsprites(root=tmp_path)
        assert repr(data).startswith(
            "Data(dsprites: 24 items of shape (64, 64); factors: shape (3), scale (2),"
        )
        assert data.x.nbytes == 24 * 64 * 64 // 8
        assert np.array_equal(data.floats(), sprites["imgs"])
        assert np.array_equal(data.factors, sprites["latents_classes"][:, 1:])


def test_rerendered_sprites_are_called_so(tmp_path: Path, sprites: dict[str, np.ndarray]) -> None:
    save_sprites(tmp_path, sprites, "rerendered")
    assert dsprites(root=tmp_path, source="rerendered").name == "re-rendered dSprites"
    with pytest.raises(
        FileNotFoundError, match=r"(?s)google-deepmind/dsprites-dataset.*source='rerendered'"
    ):
        dsprites(root=tmp_path)  # the one never stands for the other unasked
    with pytest.raises(ValueError, match="no source 'mine'"):
        dsprites(root=tmp_path, source="mine")


def test_other_sprites_are_refused(tmp_path: Path, sprites: dict[str, np.ndarray]) -> None:
    wrong = {
        "latents_classes are not the grid": {"latents_classes": sprites["latents_classes"][::-1]},
        "x holds 2; expected zeros and ones": {"imgs": sprites["imgs"] * 2},
        r"has the arrays .* expected {'imgs': \(24, 64, 64\)}": {"imgs": sprites["imgs"][1:]},
    }
    for message, change in wrong.items():
        save_sprites(tmp_path, sprites | change)
        with pytest.raises(ValueError, match=message):
            dsprites(root=tmp_path)


@pytest.fixture(scope="module")
def rerendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Data, int]]:
    """Return the whole grid, and the most memory (MiB) that a process took to pack it."""
    root = real("dsprites", "dsprites_rerendered_sh3sc6or40x32y32_64x64.npz")
    folder = tmp_path_factory.mktemp("packed")
    code = (
        # ru_maxrss would count what pytest held
        "import unweave.data as d; d.dsprites(source='rerendered'); print(*(int(line.split()[1]) "
        "// 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder))
        patch.setenv("UNWEAVE_DATA", str(root))
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        yield dsprites(root=root, source="rerendered"), int(done.stdout)
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_packing_737280_images_takes_little_memory(rerendered: tuple[Data, int]) -> None:
    data, peak = rerendered
    assert (len(data), data.x.nbytes, data.name) == (737_280, 737_280 * 512, "re-rendered dSprites")
    assert peak < 500


@pytest.mark.slow
def test_the_rerendered_grid_agrees_with_genuine_images(rerendered: tuple[Data, int]) -> None:
    """Find 348 of 358 identical; the others differ in 11 pixels together, one or two each."""
    data, _ = rerendered
    path = (
        real("dsprites", "dsprites_genuine_358_64x64.npz")
        / "dsprites"
        / "dsprites_genuine_358_64x64.npz"
    )
    items = np.ravel_multi_index(tuple(npz.read(path, "latents_classes")[:, 1:].T), data.sizes)
    wrong = (data.floats(items) != npz.read(path, "imgs")).sum((1, 2))
    assert (len(wrong), (wrong == 0).sum(), wrong.sum(), wrong.max()) == (358, 348, 11, 2)


@pytest.mark.slow
def test_the_factors_values_are_the_files(rerendered: tuple[Data, int]) -> None:
    data, _ = rerendered
    file = module("dsprites").FILES["rerendered"][1]
    values = npz.read(real("dsprites", file) / "dsprites" / file, "latents_values")
    for column, words in enumerate(data.values[1:], start=1):
        of_class = np.array(words, dtype=np.float64)[data.factors[:, column]]
        assert np.allclose(of_class, values[:, column + 1], rtol=5e-4)  # words have four digits


# 3D Shapes


def test_shapes3d(tmp_path: Path) -> None:
    levels = [
        np.linspace(0, 0.9, 2),
        [0.0, 0.1],
        [0.0, 0.3, 0.5],
        [0.75, 1.25],
        [0, 1, 2, 3],
        [-30.0, 30.0],
    ]
    labels = np.stack(np.meshgrid(*levels, indexing="ij"), -1).reshape(-1, 6)
    images = RNG.integers(0, 256, (len(labels), 64, 64, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, compression="gzip", compression_opts=1)
        file.create_dataset("labels", data=labels, compression="gzip")
    data = module("shapes3d").read(tmp_path / "3dshapes.h5")
    assert np.array_equal(data.x, images)
    assert data.x.dtype == np.uint8
    assert (data.sizes, data.names[:2]) == ((2, 2, 3, 2, 4, 2), ("floor_hue", "wall_hue"))
    assert data.values[5] == ("-30", "30")
    for column, words in enumerate(data.values):
        assert np.array_equal(
            np.array(words, dtype=float)[data.factors[:, column]], labels[:, column]
        )
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["labels"] = labels
    with pytest.raises(ValueError, match=r"holds {'labels': \(192, 6\)}; expected images"):
        module("shapes3d").read(tmp_path / "other.h5")
    (tmp_path / "shapes3d").mkdir()
    (tmp_path / "3dshapes.h5").rename(tmp_path / "shapes3d" / "3dshapes.h5")
    with pytest.raises(ValueError, match="is not the published file"):
        shapes3d(root=tmp_path)


# Cars3D


def save_cars(path: Path, cars: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, mesh in {"data/sprites/sprite.mat": np.zeros(3), **cars}.items():
            buffer = io.BytesIO()
            scipy.io.savemat(buffer, {"im": mesh, "mask": np.zeros(2)})
            member = tarfile.TarInfo(name)
            member.size = len(buffer.getvalue())
            archive.addfile(member, io.BytesIO(buffer.getvalue()))


def test_cars3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour each picture by its place: red by car, green by azimuth, blue by elevation."""
    monkeypatch.setattr(module("cars3d"), "SIZES", (4, 24, 2))
    car = np.zeros((128, 128, 3, 24, 4), dtype=np.uint8)
    car[:, :, 1] = np.arange(24)[:, None]
    car[:, :, 2] = np.arange(4)
    second = car.copy()
    second[:, :, 0] = 1
    path = tmp_path / "cars3d" / "nips2015-analogy-data.tar.gz"
    save_cars(path, {"data/cars/car_002_mesh.mat": second, "data/cars/car_001_mesh.mat": car})
    data = SOURCES["cars3d"](root=tmp_path)
    assert (data.x.shape, data.names) == ((192, 64, 64, 3), ("elevation", "azimuth", "object"))
    assert (data.x == data.x[:, :1, :1]).all()
    assert np.array_equal(data.x[:, 0, 0, ::-1], data.factors)
    save_cars(path, {"data/cars/car_001_mesh.mat": car})
    with pytest.raises(ValueError, match=r"holds 1 files .*expected 2"):
        SOURCES["cars3d"](root=tmp_path)
    save_cars(path, {f"data/cars/car_00{i}_mesh.mat": car[..., :3] for i in (1, 2)})
    with pytest.raises(ValueError, match=r"car_001_mesh.mat has shape \(128, 128, 3, 24, 3\)"):
        SOURCES["cars3d"](root=tmp_path)


def test_cars_are_halved_as_elsewhere() -> None:
    mesh = RNG.integers(0, 256, (128, 128, 3, 2, 3), dtype=np.uint8)
    halved = module("cars3d")._halved(mesh)
    for elevation, azimuth in np.ndindex(3, 2):
        picture = Image.fromarray(np.ascontiguousarray(mesh[:, :, :, azimuth, elevation]))
        picture.thumbnail((64, 64), Image.Resampling.LANCZOS)
        assert np.array_equal(halved[elevation, azimuth], np.asarray(picture))


# Small NORB


def matrix(array: np.ndarray) -> bytes:
    """Write the binary matrix, independently of the reader's table."""
    magic = {
        "|u1": 507333717,
        "<i4": 507333716,
        "<f4": 507333713,
        "<f8": 507333715,
        "<i2": 507333718,
    }[array.dtype.str]
    sizes = [*array.shape, *[1] * (3 - array.ndim)]
    return (
        b"".join(word.to_bytes(4, "little") for word in (magic, array.ndim, *sizes))
        + array.tobytes()
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("dtype", ["u1", "<i2", "<i4", "<f4", "<f8"])
def test_norb_matrices(tmp_path: Path, dtype: str, shape: tuple[int, ...], pack: Any) -> None:
    array = np.arange(math.prod(shape)).astype(dtype).reshape(shape)
    (tmp_path / "file").write_bytes(pack(matrix(array)))
    found = module("small_norb").read(tmp_path / "file")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_damaged_norb_matrices(tmp_path: Path) -> None:
    content = matrix(np.arange(6, dtype="<i4"))
    for damaged, message in (
        (b"", "nothing"),
        (b"<html>....", "3c 68 74 6d"),
        (content[:-1], "has 43 bytes; expected 44"),
    ):
        (tmp_path / "file").write_bytes(damaged)
        with pytest.raises(ValueError, match=message):
            module("small_norb").read(tmp_path / "file")


def test_small_norb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small_norb").mkdir()
    parts: dict[str, Any] = {}
    columns = {}
    for part, files in module("small_norb").PARTS.items():
        n = 6
        pictures = RNG.integers(0, 256, (n, 2, 96, 96), dtype=np.uint8)
        factors = np.stack([RNG.integers(0, size, n) for size in (5, 10, 9, 18, 6)], 1).astype(
            "<i4"
        )
        info = factors[:, 1:] * np.array([1, 1, 2, 1], dtype="<i4")
        columns[part] = pictures, factors
        parts[part] = {}
        for file, array in zip(files, (pictures, factors[:, 0], info), strict=True):
            content = gzip.compress(matrix(array))
            (tmp_path / "small_norb" / file).write_bytes(content)
            parts[part][file] = hashlib.sha256(content).hexdigest(), len(content)
    with pytest.raises(ValueError, match="is not the published file"):
        small_norb(root=tmp_path)
    monkeypatch.setattr(module("small_norb"), "PARTS", parts)
    for part, (pictures, factors) in columns.items():
        data = small_norb(part, tmp_path)
        assert (data.x.shape, data.x.dtype, data.names[0]) == ((6, 64, 64), np.uint8, "category")
        assert np.array_equal(data.factors, factors)
        first = Image.fromarray(pictures[3, 0]).resize((64, 64), Image.Resampling.LANCZOS)
        assert np.array_equal(data.x[3], np.asarray(first))
    both = small_norb(root=tmp_path)
    assert np.array_equal(both.factors, np.concatenate([columns["train"][1], columns["test"][1]]))
    assert both.values[2][0] == "30"


# MPI3D


def test_mpi3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("mpi3d"), "SIZES", (2, 2, 2, 1, 1, 3, 2))
    images = RNG.integers(0, 256, (48, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "mpi3d").mkdir()
    np.savez(tmp_path / "mpi3d" / "mpi3d_real.npz", images=images)
    data = mpi3d(root=tmp_path, variant="real")
    assert data.name == "mpi3d_real"
    assert np.array_equal(
        data.x.reshape(2, 2, 2, 1, 1, 3, 2, 64, 64, 3)[tuple(data.factors[29])], images[29]
    )
    assert (data.values[0], data.values[5]) == (("white", "green"), ("0", "1", "2"))
    np.savez(tmp_path / "mpi3d" / "mpi3d_toy.npz", images=images[1:])
    with pytest.raises(ValueError, match=r"expected {'images': \(48, 64, 64, 3\)}"):
        mpi3d(root=tmp_path)
    with pytest.raises(ValueError, match="no variant 'dream'"):
        mpi3d(root=tmp_path, variant="dream")


# CelebA


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Provide five faces of one colour each, three attributes, parts 0 0 1 2 2."""
    folder = tmp_path / "celeba"
    folder.mkdir()
    signs = [[-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, -1], [1, 1, 1]]
    files = [f"{i:06d}.jpg" for i in range(1, 6)]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for i, file in enumerate(files):
            buffer = io.BytesIO()
            Image.new("RGB", (178, 218), (40 * i, 200, 100)).save(buffer, "JPEG", quality=95)
            archive.writestr(f"img_align_celeba/{file}", buffer.getvalue())
    rows = [
        f"{file} {' '.join(f'{sign:2d}' for sign in row)}"
        for file, row in zip(files, signs, strict=True)
    ]
    (folder / "list_attr_celeba.txt").write_text("\n".join(["5", "Bald Male Young ", *rows, ""]))
    parts = [f"{file} {part}" for file, part in zip(files, [0, 0, 1, 2, 2], strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts))
    return tmp_path


def test_celeba(faces: Path) -> None:
    data = celeba("all", faces)
    assert (data.x.shape, data.x.dtype, data.names) == (
        (5, 64, 64, 3),
        np.uint8,
        ("Bald", "Male", "Young"),
    )
    assert data.factors.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert data.values == (("absent", "present"),) * 3
    assert (
        np.abs(data.x[:, :, :, 0].astype(int) - 40 * np.arange(5)[:, None, None]).max() <= 4
    )  # JPEG loses a little
    for split, items in {"train": [0, 1], "valid": [2], "test": [3, 4]}.items():
        part = celeba(split, faces)
        assert np.array_equal(part.x, data.x[items])
        assert np.array_equal(part.factors, data.factors[items])


def test_celeba_finds_the_sample_where_it_lies_alone(tmp_path: Path) -> None:
    folder = tmp_path / "celeba"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    attributes = 2 * np.eye(3, 2, dtype=np.int8) - 1
    names = np.array(["Bald", "Male"])
    np.savez(
        folder / "celeba_5000_64x64.npz",
        images=images,
        attributes=attributes,
        attribute_names=names,
    )
    assert celeba(root=tmp_path).name == "celeba sample"
    with pytest.raises(FileNotFoundError, match="img_align_celeba"):
        celeba("test", root=tmp_path)
    (folder / "list_attr_celeba.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="img_align_celeba"):
        celeba(root=tmp_path)


def test_celebas_crop_is_the_centre() -> None:
    """Paint the frame outside the central 148x148 pixels red: it leaves no trace."""
    picture = Image.new("RGB", (178, 218), (255, 0, 0))
    picture.paste((0, 0, 255), (15, 35, 163, 183))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    assert (module("celeba")._small(buffer.getvalue()) == [0, 0, 255]).all()


def test_celebas_parts_need_not_be_in_one_piece(faces: Path) -> None:
    rows = (
        (faces / "celeba" / "list_eval_partition.txt")
        .read_text()
        .replace("000003.jpg 1", "000003.jpg 0")
    )
    rows = rows.replace("000002.jpg 0", "000002.jpg 1")
    (faces / "celeba" / "list_eval_partition.txt").write_text(rows)
    assert np.array_equal(celeba("train", faces).x, celeba("all", faces).x[[0, 2]])


def test_damaged_lists_of_celeba(faces: Path) -> None:
    path = faces / "celeba" / "list_eval_partition.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:3]))
    with pytest.raises(ValueError, match=r"lacks 2 of 5 files, such as 000004\.jpg"):
        celeba("train", faces)
    path = faces / "celeba" / "list_attr_celeba.txt"
    for old, new, message in (
        (" 1  1  1", " 1  1", "expected 5 with a file"),
        (" 1  1  1", " 1  1  0", "attributes hold"),
    ):
        content = path.read_text()
        path.write_text(content.replace(old, new))
        with pytest.raises(ValueError, match=message):
            module("celeba")._faces(
                np.zeros((5, 1), np.uint8), *module("celeba").read_attributes(path)[:0:-1], "celeba"
            )
        path.write_text(content)


def test_the_celeba_sample() -> None:
    root = real("celeba", module("celeba").SAMPLE)
    data = celeba(root=root, source="sample")
    assert (data.name, data.x.shape, data.sizes) == ("celeba sample", (5000, 64, 64, 3), (2,) * 40)
    for name, share in {"Male": 0.42, "Smiling": 0.48, "Young": 0.78}.items():
        column = data.factors[:, data.names.index(name)]
        assert column.mean() == pytest.approx(
            share, abs=0.02
        )  # published of all images; 3 standard errors of 5,000
    with pytest.raises(ValueError, match=r"celeba .sample. has no split 'test'"):
        celeba("test", root, source="sample")


# Extended Yale B


def test_yaleb(tmp_path: Path) -> None:
    shots = {
        "yaleB01_P00A+000E+00.pgm": (0, (0, 0)),
        "yaleB01_P00A-130E+20.pgm": (0, (-130, 20)),
        "yaleB39_P00A+000E+90.pgm": (1, (0, 90)),
        "yaleB39_P00A+000E+00.pgm": (1, (0, 0)),
    }
    lights = sorted({light for _, light in shots.values()})
    pictures = {}
    for name in [*shots, "yaleB01_P00_Ambient.pgm"]:
        path = tmp_path / "yaleb" / "CroppedYale" / name[:7] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures[name] = RNG.integers(0, 256, (192, 168), dtype=np.uint8)
        Image.fromarray(pictures[name]).save(path)
    (tmp_path / "yaleb" / "CroppedYale" / "yaleB01" / "yaleB01_P00A+000E-35.pgm.bad").touch()
    data = yaleb(root=tmp_path)
    assert (data.x.shape, data.names) == (
        (4, 96, 84),
        ("identity", "lighting", "azimuth", "elevation"),
    )
    assert data.sizes == (2, 3, 2, 3)
    assert data.values[:2] == (("yaleB01", "yaleB39"), ("A-130E+20", "A+000E+00", "A+000E+90"))
    for row, name in enumerate(sorted(shots)):
        person, light = shots[name]
        assert data.factors[row, :2].tolist() == [person, lights.index(light)]
        assert [int(data.values[c][data.factors[row, c]]) for c in (2, 3)] == list(light)
        mean = pictures[name].reshape(96, 2, 84, 2).astype(float).mean((1, 3))
        assert np.abs(data.x[row] - mean).max() <= 0.5
    with pytest.raises(ValueError, match="holds no pictures such as"):
        module("yaleb").read(tmp_path / "cache")


def test_the_published_faces() -> None:
    data = yaleb(root=real("yaleb", module("yaleb").SMALL))
    assert (len(data), data.shape, data.sizes) == (2414, (96, 84), (38, 64, 29, 12))
    counts = np.bincount(data.factors[:, 0])
    assert ((counts >= 59) & (counts <= 64)).all()
    assert (counts < 64).sum() == 7
    pairs = {(lighting, a, e) for lighting, a, e in data.factors[:, 1:].tolist()}
    assert len(pairs) == 64  # azimuth and elevation are functions of the lighting
