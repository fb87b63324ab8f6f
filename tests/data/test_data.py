"""Tests of data: real contents, fixed splits, files that are either whole and right or refused."""

import dataclasses
import gzip
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
from sklearn.datasets import load_digits
from support.real import real

from unweave.data import (
    Bits,
    Data,
    digits,
    directory,
    fashion_mnist,
    fetch,
    idx,
    mnist,
    set_directory,
)
from unweave.data.data import some

SIDES = Data(
    x=np.array([[0.0, 0.5], [1.0, 0.5], [0.2, 0.1], [0.3, 0.3]], dtype=np.float32),
    factors=np.array([[0, 2], [1, 0], [-1, 1], [1, -1]]),
    names=("side", "size"),
    sizes=(2, 3),
    values=(("left", "right"), ("small", "middle", "large")),
    name="sides",
)


# Data


def test_data_is_a_table_of_items() -> None:
    assert len(SIDES) == 4
    assert repr(SIDES) == "Data(sides: 4 items of shape (2,); factors: side (2), size (3))"
    with pytest.raises(dataclasses.FrozenInstanceError):
        SIDES.name = "other"  # type: ignore[misc]


def test_data_without_labels() -> None:
    data = dataclasses.replace(
        SIDES, factors=np.zeros((4, 0), dtype=np.int64), names=(), sizes=(), values=()
    )
    assert data.subset([1]).factors.shape == (1, 0)
    assert "factors: none" in repr(data)


def with_x(row: int, value: float) -> np.ndarray:
    x = SIDES.x.copy()
    x[row, 0] = value
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": with_x(2, np.nan)},
            r"x has NaN or infinite numbers in items 2 \(1 of 4\); expected finite",
        ),
        ({"x": with_x(0, np.inf)}, r"x has NaN or infinite numbers in items 0 "),
        (
            {"x": SIDES.x.astype(np.float64)},
            r"x is float64; expected a NumPy array of float32, .* np.asarray\(",
        ),
        ({"x": SIDES.x.tolist()}, "x is list; expected a NumPy array of float32"),
        ({"x": SIDES.x[:, 0]}, r"x has shape \(4,\); expected \(n, \*shape\)"),
        ({"x": SIDES.x[:0], "factors": SIDES.factors[:0]}, r"x has shape \(0, 2\)"),
        (
            {"factors": SIDES.factors.astype(np.int32)},
            "factors is int32; expected a NumPy array of int64",
        ),
        ({"factors": SIDES.factors[:3]}, r"factors has shape \(3, 2\); expected \(4, 2\)"),
        ({"factors": SIDES.factors[:, 0]}, r"factors has shape \(4,\); expected \(4, 2\)"),
        (
            {"factors": SIDES.factors[:, ::-1].copy()},
            r"'side' has 2 in items 0 .*expected 0 to 1, or -1",
        ),
        ({"factors": SIDES.factors - 1}, r"'side' has -2 in items 2 "),
        ({"names": ("side", "side")}, r"\('side', 'side'\); expected a different one"),
        ({"sizes": (2, 4)}, r"sizes are \(2, 4\) .* \(2, 3\) values"),
        ({"sizes": (2,), "values": (("left", "right"),)}, r"sizes are \(2,\)"),
    ],
)
def test_data_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)sides: .*{message}"):
        dataclasses.replace(SIDES, **change)


@pytest.mark.parametrize(
    ("value", "is_unit"), [(1.0, True), (0.0, True), (255.0, False), (-0.5, False)]
)
def test_numbers_outside_the_unit_interval_are_told(value: float, is_unit: bool) -> None:
    assert dataclasses.replace(SIDES, x=with_x(3, value)).is_unit == is_unit


def test_subset_takes_items_in_the_given_order() -> None:
    assert SIDES.subset([3, 0]).factors.tolist() == [[1, -1], [0, 2]]
    assert SIDES.subset(SIDES.factors[:, 0] == 1).x.tolist() == SIDES.x[[1, 3]].tolist()
    assert SIDES.subset(2).x.shape == (1, 2)
    for nothing in ([], np.zeros(4, dtype=bool)):
        with pytest.raises(ValueError, match="no items"):
            SIDES.subset(nothing)
    with pytest.raises(IndexError):
        SIDES.subset([True, False])


def test_split_is_disjoint_complete_and_reproducible() -> None:
    x = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    data = Data(x, np.zeros((100, 0), dtype=np.int64), (), (), (), "line")
    rest, held_out = data.split(30)
    assert (len(rest), len(held_out)) == (70, 30)
    assert sorted([*rest.x.ravel(), *held_out.x.ravel()]) == x.ravel().tolist()
    assert np.array_equal(data.split(30)[1].x, held_out.x)
    assert not np.array_equal(data.split(30, seed=1)[1].x, held_out.x)
    # Written down, so that no version of NumPy changes a published split unseen.
    assert (held_out.x.ravel() * 99).round().astype(int)[:6].tolist() == [1, 2, 3, 11, 13, 15]
    for n in (0, 100, -1):
        with pytest.raises(ValueError, match=f"{n} items to hold out of 100; expected 1 to 99"):
            data.split(n)


# digits


def test_digits_are_scikit_learns() -> None:
    found, parts = load_digits(), [digits("train"), digits("test")]
    assert [part.x.shape for part in parts] == [(1437, 8, 8), (360, 8, 8)]
    ours = [
        (x.tobytes(), y)
        for part in parts
        for x, y in zip(part.x * 16, part.factors[:, 0], strict=True)
    ]
    theirs = [
        (x.astype(np.float32).tobytes(), y) for x, y in zip(found.images, found.target, strict=True)
    ]
    assert sorted(ours) == sorted(
        theirs
    )  # so the parts are disjoint, too: together they are everything once


def test_digits_split_is_fixed_and_stratified() -> None:
    train, test = digits("train"), digits("test")
    assert (test.names, test.sizes, test.values) == (("digit",), (10,), (tuple("0123456789"),))
    counts = np.bincount(test.factors[:, 0])
    total = counts + np.bincount(train.factors[:, 0])
    assert np.abs(counts - total * 360 / 1797).max() < 1
    assert hashlib.sha256(np.uint8(test.x * 16).tobytes()).hexdigest()[:16] == "d6ab97a4d05712d9"
    with pytest.raises(ValueError, match="digits has no split 'valid'; expected 'train' or 'test'"):
        digits("valid")


# idx


def encode(array: np.ndarray) -> bytes:
    """Write the idx format, independently of the reader's table."""
    code = {"|u1": 8, "|i1": 9, "<i2": 11, "<i4": 12, "<f4": 13, "<f8": 14}[array.dtype.str]
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return (
        bytes([0, 0, code, array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (3, 1, 2, 2), (0, 5)])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_round_trip(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], pack: Callable[[bytes], bytes]
) -> None:
    array = (
        (np.arange(math.prod(shape)) * 5.5 - (0 if dtype == "u1" else 40))
        .astype(dtype)
        .reshape(shape)
    )
    (tmp_path / "file").write_bytes(pack(encode(array)))
    found = idx.read(tmp_path / "file")
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file: it starts with nothing"),
        (b"<html>no such page</html>", "not an idx file: it starts with 3c 68 74 6d"),
        (
            b"\0\0\x0a\x01\0\0\0\0",
            "not an idx file: .* expected 00 00, a type .08, 09, 0b, 0c, 0d, 0e. and a rank",
        ),
        (b"\0\0\x08\0\7", "not an idx file: .* a rank of at least 1"),
        (encode(PIXELS)[:10], "is truncated: it has 10 bytes"),
        (
            encode(PIXELS)[:-1],
            r"is truncated: it has 39 bytes; expected 40 for shape \(2, 3, 4\) of uint8",
        ),
        (encode(PIXELS) + b"\0", "is followed by other bytes: it has 41 bytes; expected 40"),
        (gzip.compress(encode(PIXELS))[:-9], "damaged gzip file"),
        (gzip.compress(encode(PIXELS))[:12] + b"\xff" * 20, "damaged gzip file"),
        (gzip.compress(encode(PIXELS)) + b"more", "damaged gzip file"),
    ],
)
def test_idx_damage_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"file.* is.* {message.removeprefix('is ')}"):
        idx.read(tmp_path / "file")


def test_images_and_labels_agree_in_count(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(encode(PIXELS))
    labels.write_bytes(encode(np.array([4, 1], dtype=np.uint8)))
    x, y = idx.read_pair(images, labels)
    assert (x.shape, y.tolist()) == ((2, 3, 4), [4, 1])
    for wrong in (np.zeros(3, dtype=np.uint8), np.zeros((2, 1), dtype=np.uint8)):
        labels.write_bytes(encode(wrong))
        with pytest.raises(
            ValueError, match=r"images has shape \(2, 3, 4\) and .*labels .*a label for each image"
        ):
            idx.read_pair(images, labels)


# directory


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNWEAVE_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("UNWEAVE_DATA", raising=False)
    return tmp_path / "config"


def test_precedence_of_directories(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert directory() == Path(pooch.os_cache("unweave"))
    assert set_directory(tmp_path / "saved") == tmp_path / "saved" == directory()
    monkeypatch.setenv("UNWEAVE_DATA", "")
    assert directory() == tmp_path / "saved"
    monkeypatch.setenv("UNWEAVE_DATA", str(tmp_path / "environment"))
    assert directory() == tmp_path / "environment"
    assert directory(str(tmp_path / "argument")) == tmp_path / "argument"
    assert directory("~/data") == Path.home() / "data"
    assert not (tmp_path / "argument").exists()


def test_the_setting_is_absolute_and_can_be_replaced(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    set_directory("first")
    set_directory("second")
    monkeypatch.chdir("/")
    assert directory() == tmp_path / "second"
    assert json.loads((config / "data.json").read_text()) == {"directory": str(tmp_path / "second")}
    assert os.listdir(config) == ["data.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_setting_names_the_fix(config: Path, tmp_path: Path, content: str) -> None:
    config.mkdir()
    (config / "data.json").write_text(content)
    with pytest.raises(ValueError, match=r"data.json can't be read.*unweave data --set-dir"):
        directory()
    set_directory(tmp_path)
    assert directory() == tmp_path


def test_a_file_is_no_directory(config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file; expected a directory"):
        set_directory(tmp_path / "file")
    assert not config.exists()


# fetch

CONTENT = b"published bytes " * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirrors(BaseHTTPRequestHandler):
    """Folders of a server: one good, the others broken in the ways that real ones are."""

    asked: list[str]

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.asked.append(self.path)
        if kind == "missing":
            self.send_error(404)
            return
        body = {"wrong": b"<html>please log in</html>", "silent": b""}.get(kind, CONTENT)
        if kind == "silent":  # closes without an answer
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if kind == "halfway" else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Mirrors, "asked", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirrors) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def retrieve(url: str, *args: object, **kwargs: object) -> str:
        asked.append(url)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    return asked


def under(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_right_file_is_found_without_asking_anyone(tmp_path: Path, offline: list[str]) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.gz").write_bytes(CONTENT)
    assert (
        fetch("set", "file.gz", SHA256, ["http://mirror/"], tmp_path)
        == tmp_path / "set" / "file.gz"
    )
    assert offline == []


@pytest.mark.parametrize(
    ("content", "truncated"),
    [(CONTENT[:-1], True), (b"", True), (CONTENT + b"!", False), (CONTENT[::-1], False)],
)
def test_a_wrong_file_is_refused_and_left_alone(
    tmp_path: Path, offline: list[str], content: bytes, truncated: bool
) -> None:
    place = tmp_path / "set" / "file.gz"
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(ValueError, match="is not the published file") as refusal:
        fetch("set", "file.gz", SHA256, ["http://mirror/"], tmp_path, size=len(CONTENT))
    told = str(refusal.value)
    for part in (
        str(place),
        SHA256,
        hashlib.sha256(content).hexdigest(),
        f"{len(content):,} bytes",
        "Remove it",
    ):
        assert part in told
    assert ("truncated" in told) == truncated
    assert place.read_bytes() == content
    assert (under(tmp_path), offline) == (["set/file.gz"], [])


def test_torchvisions_layout_is_read_if_right(tmp_path: Path, offline: list[str]) -> None:
    place = tmp_path / "MNIST" / "raw" / "file.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert (
        fetch("mnist", "file.gz", SHA256, ["http://mirror/"], tmp_path, also=["MNIST/raw"]) == place
    )
    place.write_bytes(b"another file")
    with pytest.raises(FileNotFoundError, match=r"MNIST/raw/file.gz: not the published file"):
        fetch("mnist", "file.gz", SHA256, ["http://mirror/"], tmp_path, also=["MNIST/raw"])
    assert place.read_bytes() == b"another file"


@pytest.mark.parametrize(
    "broken", [[], ["missing"], ["wrong"], ["halfway"], ["silent"], ["missing", "halfway"]]
)
def test_download_from_the_first_mirror_that_works(
    tmp_path: Path, server: str, broken: list[str]
) -> None:
    urls = [f"{server}{kind}/" for kind in [*broken, "good", "never"]]
    level = pooch.get_logger().level
    path = fetch("set", "file.gz", SHA256, urls, tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o444 == 0o444  # others of a shared directory can read it
    assert under(tmp_path) == ["set/file.gz"]
    assert Mirrors.asked == [f"/{kind}/file.gz" for kind in [*broken, "good"]]
    assert pooch.get_logger().level == level
    fetch("set", "file.gz", SHA256, urls, tmp_path)
    assert len(Mirrors.asked) == len(broken) + 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "HTTP 404"),
        ("wrong", "served another file"),
        ("halfway", "ChunkedEncodingError|served another file"),
        ("silent", "ConnectionError"),
    ],
)
def test_a_failed_download_leaves_nothing_behind(
    tmp_path: Path, server: str, kind: str, reason: str
) -> None:
    with pytest.raises(FileNotFoundError, match=f"{server}{kind}/: ({reason})"):
        fetch("set", "file.gz", SHA256, [f"{server}{kind}/"], tmp_path)
    assert list((tmp_path / "set").iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(url: str, known_hash: str, fname: str, path: Path, downloader: object) -> str:
        (path / fname).write_bytes(CONTENT[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(KeyboardInterrupt):
        fetch("set", "file.gz", SHA256, ["http://mirror/"], tmp_path)
    assert list((tmp_path / "set").iterdir()) == []


def test_offline_says_what_to_do(tmp_path: Path, offline: list[str]) -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        mnist("test", root=tmp_path)
    told = str(refusal.value)
    file = "t10k-images-idx3-ubyte.gz"
    for part in (
        file,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6, 1,648,877 bytes",
        str(tmp_path / "mnist" / file),
        "UNWEAVE_DATA",
        "unweave data --set-dir",
        "--data-dir",
        *(f"{mirror}: Network is unreachable" for mirror in idx.MNIST.mirrors),
    ):
        assert part in told
    assert offline == [mirror + file for mirror in idx.MNIST.mirrors]


def test_a_directory_that_cannot_be_written(tmp_path: Path, offline: list[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        OSError, match=r"file.gz is to be downloaded, but .*can't be written \(Not a directory\)"
    ):
        fetch("set", "file.gz", SHA256, ["http://mirror/"], tmp_path / "file")
    assert offline == []


def test_other_splits_are_refused_before_any_download(offline: list[str]) -> None:
    for load in (mnist, fashion_mnist):
        with pytest.raises(ValueError, match="has no split 'valid'; expected 'train' or 'test'"):
            load("valid")
    assert offline == []


# The published files


@pytest.fixture
def published(offline: list[str]) -> Path:
    """Provide a directory with the real files of both sets."""
    real("mnist", "train-images-idx3-ubyte.gz")
    return real("fashion_mnist", "train-images-idx3-ubyte.gz")


@pytest.mark.parametrize(
    ("load", "split", "n", "first", "counts"),
    [
        (
            mnist,
            "train",
            60_000,
            [5, 0, 4, 1, 9],
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        (
            mnist,
            "test",
            10_000,
            [7, 2, 1, 0, 4],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ),
        (fashion_mnist, "train", 60_000, [9, 0, 0, 3, 0], [6000] * 10),
        (fashion_mnist, "test", 10_000, [9, 2, 1, 1, 6], [1000] * 10),
    ],
)
def test_published_files(
    published: Path,
    load: Callable[..., Data],
    split: str,
    n: int,
    first: list[int],
    counts: list[int],
) -> None:
    data = load(split, root=published)
    labels = data.factors[:, 0]
    assert (data.name, data.x.shape, data.x.dtype) == (load.__name__, (n, 28, 28), np.float32)
    assert labels[:5].tolist() == first
    assert np.bincount(labels).tolist() == counts
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    assert np.array_equal(np.unique(data.x), np.arange(256, dtype=np.float32) / np.float32(255))


def test_published_means(published: Path) -> None:
    """Compare the pixels' mean and deviation with the figures that everyone quotes."""
    for load, mean, deviation in ((mnist, 0.1307, 0.3081), (fashion_mnist, 0.2860, 0.3530)):
        x = load(root=published).x.astype(np.float64)
        assert (x.mean(), x.std()) == pytest.approx((mean, deviation), abs=5e-5)
    assert fashion_mnist("test", root=published).values[0][:2] == ("T-shirt/top", "Trouser")


def test_importing_is_light() -> None:
    libraries = "torch scipy sklearn pyarrow h5py PIL pooch requests platformdirs"
    code = (
        "import sys; old = set(sys.modules); import unweave.data; "
        f"print(set('{libraries}'.split()) & set(sys.modules) - old)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert answer.stdout.strip() == "set()"


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_some_items_are_taken_from_all_over():
    sizes = (3, 6, 40, 32, 32)  # dSprites, in the order of its factors
    n = int(np.prod(sizes))
    for k in (1000, 5760, 10_000):  # 5,760 even steps would take one position alone
        taken = some(n, k)
        assert len(np.unique(taken)) == k
        assert (np.diff(taken) > 0).all()
        for size, values in zip(sizes, np.unravel_index(taken, sizes), strict=True):
            counts = np.bincount(values, minlength=size)
            # beyond 5 standard errors once in a million cells
            assert (abs(counts - k / size) < 5.5 * np.sqrt(k / size)).all()
    assert some(5, 9).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(Data(*ordered(100)).split(30)[1].factors[:, 0], some(100, 30))


def ordered(n):
    """Return arguments of data whose items are numbered by their factor."""
    number = np.arange(n)
    words = (tuple(map(str, number)),)
    return number[:, None].astype(np.float32), number[:, None], ("number",), (n,), words, "ordered"


def test_zeros_and_ones_are_not_read_as_a_255th():
    truths = np.arange(60).reshape(30, 2) % 3 == 0
    bits = Bits.pack(truths)
    none = np.empty((30, 0), dtype=np.int64), (), (), ()
    assert Data(bits, *none, "truths").floats().max() == 1
    with pytest.raises(ValueError, match=r"would be read as 0 and 1/255.*Bits.pack"):
        Data(truths.astype(np.uint8), *none, "truths")
    for kind in (bool, np.int64, np.float64):
        with pytest.raises(ValueError, match=r"expected.*Bits.pack\(x\) zeros and ones"):
            Data(truths.astype(kind), *none, "truths")
    dark = np.zeros((30, 2), dtype=np.uint8)
    dark[0] = 200
    assert len(Data(dark, *none, "dark").subset(np.arange(1, 30))) == 29
