"""Tests of one's own data: the reader finds what a test wrote, and says each decision."""

import numpy as np
import pandas
import pytest
from PIL import Image

from unweave.data import Bits, read
from unweave.data.labels import CELLS, classes


def silent(sentence):
    pass


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def album(tmp_path):
    """Write three cats and two dogs of several formats, sizes and modes.

    Beside them lie a broken file, a text and a hidden folder.
    """
    for name in ("cat", "dog", ".hidden"):
        (tmp_path / name).mkdir()
    Image.fromarray(noise(120, 90, 3)).save(tmp_path / "cat" / "a.png")
    Image.fromarray(noise(200, 300)).save(tmp_path / "cat" / "b.jpg")
    Image.fromarray(noise(80, 80, 4)).save(tmp_path / "cat" / "c.webp")
    Image.fromarray(noise(100, 150)).convert("1").save(tmp_path / "dog" / "d.tif")
    Image.fromarray(noise(70, 200, 3)).convert("P").save(tmp_path / "dog" / "e.gif")
    (tmp_path / "dog" / "f.png").write_bytes(b"no image at all")
    whole = (tmp_path / "cat" / "a.png").read_bytes()
    (tmp_path / "dog" / "g.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("cats and dogs")
    Image.fromarray(noise(9, 9)).save(tmp_path / ".hidden" / "h.png")
    return tmp_path


def test_a_folder_of_all_sorts(album):
    said = []
    data = read(album, say=said.append)
    assert data.x.dtype == np.uint8
    assert data.x.shape == (5, 64, 64, 3)
    assert data.names == ("folder",)
    assert data.values == (("cat", "dog"),)
    assert data.factors.ravel().tolist() == [0, 0, 0, 1, 1]
    assert (
        said[0]
        == "5 images from 7 files, resized and centre-cropped to 64x64 pixels from 80x80 … 300x200"
    )
    assert said[1].startswith("2 unreadable files left out: dog/f.png (not an image), dog/g.png (")
    assert said[2] == "in colour: red, green and blue"


def test_images_that_fit_are_kept_to_the_bit(tmp_path):
    x = noise(4, 28, 28)
    for k, image in enumerate(x):
        Image.fromarray(image).save(tmp_path / f"{k}.png")
    said = []
    data = read(tmp_path, say=said.append)
    np.testing.assert_array_equal(data.x, x)
    assert data.names == ()
    assert said == ["4 images from 4 files, of 28x28 pixels", "no image has colours: grey"]
    np.testing.assert_array_equal(
        read(tmp_path, colour=True, say=silent).x, x[..., None].repeat(3, -1)
    )
    assert read(tmp_path, size=(10, 20), say=silent).shape == (10, 20)


def test_the_centre_is_cut_out(tmp_path):
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, 20:40] = (10, 200, 30)
    Image.fromarray(image).save(tmp_path / "wide.png")
    data = read(tmp_path, size=20, say=silent)
    np.testing.assert_array_equal(data.x[0], np.broadcast_to(np.uint8([10, 200, 30]), (20, 20, 3)))
    grey = read(tmp_path, size=20, colour=False, say=silent).x
    assert (grey == round(0.299 * 10 + 0.587 * 200 + 0.114 * 30)).all()


def test_pixels_of_16_bits_transparency_and_turned_cameras(tmp_path):
    Image.fromarray(np.full((8, 8), 32896, dtype=np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 8, 4), dtype=np.uint8)).save(tmp_path / "b.png")
    upright = np.zeros((8, 8), dtype=np.uint8)
    upright[:, 0] = 255
    turned = Image.fromarray(np.rot90(upright).copy())
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned.save(tmp_path / "c.png", exif=exif)
    x = read(tmp_path, say=silent).x
    assert (x[0] == 128).all()
    assert (x[1] == 255).all()
    np.testing.assert_array_equal(x[2], upright)


def test_labels_beside_a_folder_are_partly_missing(album):
    table = (
        "photo,animal age,wild\ncat/a.png,3,yes\ncat/b.jpg,,no\ndog/d.tif,5,\ndog/gone.png,9,no\n"
    )
    (album / "labels.csv").write_text(table)
    for labels in ("labels.csv", album / "labels.csv", pandas.read_csv(album / "labels.csv")):
        said = []
        data = read(album, labels=labels, say=said.append)
        assert data.names == ("folder", "animal age", "wild")
        assert data.values == (("cat", "dog"), ("3", "5"), ("no", "yes"))
        assert data.factors.tolist() == [
            [0, 0, 1],
            [0, -1, 0],
            [0, -1, -1],
            [1, 1, -1],
            [1, -1, -1],
        ]
        assert "3 of 5 images are named in 'photo'; 1 rows have no image" in said[3]
        assert "animal age is missing in 3 of 5 items" in said
    for keys in (["a.png", "e.gif"], ["a", "e"]):
        found = read(album, labels={"file": keys, "n": [1, 2]}, say=silent)
        assert found.factors[:, 1].tolist() == [0, -1, -1, -1, 1]
    with pytest.raises(ValueError, match=r"no column of the labels .x. names files"):
        read(album, labels={"x": ["cow.png"]}, say=silent)
    with pytest.raises(ValueError, match=r"name 'a.png' 2 times.*one row for each"):
        read(album, labels={"x": ["a.png", "a.png"], "y": [1, 2]}, say=silent)


def test_each_level_of_folders_that_differs_is_a_factor(tmp_path):
    for path in ("all/cat/old", "all/cat/new", "all/dog"):
        (tmp_path / path).mkdir(parents=True)
        Image.fromarray(noise(8, 8)).save(tmp_path / path / "1.png")
    data = read(tmp_path, say=silent)
    assert data.names == ("folder 2", "folder 3")
    assert data.values == (("cat", "dog"), ("new", "old"))
    assert data.factors.tolist() == [[0, 0], [0, 1], [1, -1]]


def test_folders_without_images_say_so(tmp_path):
    with pytest.raises(ValueError, match="no image in it; expected photographs"):
        read(tmp_path)
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(ValueError, match=r"none of 1 image files can be read \(a.png"):
        read(tmp_path)


def test_arrays_in_memory_and_in_files(tmp_path):
    x, y = noise(30, 8, 8), np.arange(30) % 3
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "xy.npz", x=x, kind=y, more=np.stack([y, y[::-1]], 1))
    for data in (
        read(x, labels=y, say=silent),
        read(tmp_path / "x.npy", labels=tmp_path / "y.npy", say=silent),
        read({"x": x, "label": y}, say=silent),
    ):
        np.testing.assert_array_equal(data.x, x)
        assert data.names == ("label",)
        np.testing.assert_array_equal(data.factors[:, 0], y)
    data = read(tmp_path / "xy.npz", labels=["more", "kind"], say=silent)
    assert data.names == ("kind", "more.0", "more.1")
    assert data.name == "xy"
    with pytest.raises(ValueError, match=r"leave x and more for x.*labels=\[…\]"):
        read(tmp_path / "xy.npz", say=silent)
    with pytest.raises(KeyError, match="no column 'colour'; there are x, kind, more"):
        read(tmp_path / "xy.npz", labels="colour", say=silent)
    with pytest.raises(ValueError, match="30 items and the labels 29 rows"):
        read(x, labels=y[1:], say=silent)


def test_how_arrays_are_kept():
    assert isinstance(read(noise(9, 4, 4) > 99, say=silent).x, Bits)
    zeros_and_ones = (noise(9, 4, 4) > 99).astype(np.uint8)
    np.testing.assert_array_equal(read(zeros_and_ones, say=silent).floats(), zeros_and_ones)
    assert read(noise(9, 4, 4).astype(np.int64), say=silent).x.dtype == np.uint8
    counts = read(np.arange(27).reshape(9, 3) * 100, say=silent)
    assert counts.x.dtype == np.float32
    assert counts.x.max() == 2600
    floats = np.random.default_rng(0).random((9, 3, 4, 5))
    said = []
    moved = read(floats, say=said.append)
    np.testing.assert_array_equal(moved.x, np.moveaxis(floats, 1, 3).astype(np.float32))
    assert said == ["channels are moved last: (3, 4, 5) to (4, 5, 3)"]
    with pytest.raises(ValueError, match="NaN or infinite numbers in 1 of 9 items, the first 4"):
        read(np.where(np.arange(9)[:, None] == 4, np.nan, 1.0), say=silent)
    with pytest.raises(ValueError, match="expected numbers"):
        read(np.array([["a", "b"]]), say=silent)
    with pytest.raises(ValueError, match="for folders"):
        read(noise(9, 4, 4), size=8, say=silent)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"a": rng.normal(size=200), "b": rng.integers(0, 9, 200), "same": np.ones(200)}
    )
    frame["kind"] = np.where(rng.random(200) < 0.2, None, np.where(frame.a > 0, "high", "low"))
    frame["weight"] = np.where(rng.random(200) < 0.1, np.nan, rng.random(200))
    return frame


def test_tables_from_csv_parquet_and_frames_are_the_same(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (frame, tmp_path / "t.csv", str(tmp_path / "t.parquet"), dict(frame)):
        said = []
        data = read(source, labels=["kind", "weight"], say=said.append)
        np.testing.assert_array_equal(data.x, frame[["a", "b"]].to_numpy(np.float32))
        assert data.names == ("kind", "weight")
        assert data.sizes == (2, CELLS)
        assert data.values[0] == ("high", "low")
        kind = frame.kind.map({"high": 0, "low": 1}).fillna(-1).to_numpy(int)
        np.testing.assert_array_equal(data.factors[:, 0], kind)
        np.testing.assert_array_equal(data.factors[:, 1] < 0, frame.weight.isna())
        assert said[:2] == [
            "x: 2 columns of numbers, a, b",
            "left out of x, as they are constant: same",
        ]
        assert "values, cut into 20 cells" in said[2]
        assert said[3].startswith("kind is missing in ")


def test_what_a_table_lacks_is_refused_with_the_fix(frame):
    many = frame.assign(place=[f"place {k % 60}" for k in range(200)])
    with pytest.raises(ValueError, match=r"place \(60\) hold text.*labels=\['place'\]"):
        read(many, labels="kind", say=silent)
    with pytest.raises(ValueError, match=r"missing in weight \(\d+\) of 200 rows.*missing='mean'"):
        read(frame, labels="kind", say=silent)
    x = read(frame, labels="kind", missing="mean", say=silent).x
    np.testing.assert_allclose(x[:, 2], frame.weight.fillna(frame.weight.mean()), rtol=1e-6)
    with pytest.raises(ValueError, match="no column is left for x"):
        read(frame[["kind"]], labels="kind", say=silent)
    with pytest.raises(ValueError, match="expected names of columns"):
        read(frame, labels=3, say=silent)


def test_text_becomes_classes_dates_days_and_what_is_given_stands_last(frame):
    frame["when"] = np.datetime64("2000-01-03") + np.arange(200) % 9
    frame["zone"] = np.arange(200) % 3
    said = []
    data = read(
        frame, labels="weight", categories="zone", given="kind", missing="keep", say=said.append
    )
    names = ["a", "b", "when", "zone=0", "zone=1", "zone=2", "kind=high", "kind=low"]
    assert data.prepared == {
        "columns": names,
        "categories": {"kind": ["high", "low"], "zone": ["0", "1", "2"]},
        "dates": ["when"],
        "given": ["kind"],
        "missing": True,
    }
    np.testing.assert_array_equal(data.x[:, 2], 2 + np.arange(200) % 9)
    np.testing.assert_array_equal(data.x[:, 3:6], np.eye(3)[np.arange(200) % 3])
    is_high = frame.kind.map({"high": 1.0, "low": 0.0}).to_numpy(float)
    np.testing.assert_array_equal(data.x[:, 6], is_high.astype(np.float32))
    assert data.missing
    assert "dates are days since 2000-01-01: when" in said
    assert (
        "columns of classes, each of which is a column of zeros and ones: zone (3), kind (2)"
        in (said)
    )
    again = read(frame[::-1].drop(columns="same"), like=data.prepared, say=silent)
    np.testing.assert_array_equal(again.x, data.x[::-1])


def test_what_is_read_can_be_written_and_read_again(tmp_path):
    data = read({"x": noise(40, 5, 5), "kind": np.array(["a", "b"] * 20)}, say=silent)
    words = np.array(data.values[0])[data.factors[:, 0]]
    np.savez(tmp_path / "again.npz", x=data.x, kind=words)
    again = read(tmp_path / "again.npz", say=silent)
    np.testing.assert_array_equal(again.x, data.x)
    np.testing.assert_array_equal(again.factors, data.factors)
    assert again.values == data.values


def test_cells_hold_as_many_items_each_and_what_their_names_say():
    value = np.random.default_rng(1).exponential(size=1000)
    factors, _, (size,), (names,) = classes({"t": value}, 1000, silent)
    assert size == CELLS
    assert np.ptp(np.bincount(factors[:, 0])) <= 1
    for k, name in enumerate(names):
        low, high = map(float, name.split(" to "))
        held = value[factors[:, 0] == k]
        assert low * (1 - 1e-3) <= held.min()
        assert held.max() <= high * (1 + 1e-3)  # names have four digits


def test_labels_that_say_nothing_are_left_out():
    said = []
    columns = {
        "id": np.array([f"item {k}" for k in range(30)]),
        "empty": np.full(30, np.nan),
        "class": np.arange(30) % 4 - 1,
        "sign": np.tile([-1, 1], 15),
        "truth": np.tile([True, False], 15),
    }
    factors, names, sizes, values = classes(columns, 30, said.append)
    assert names == ("class", "sign", "truth")
    assert sizes == (3, 2, 2)
    assert values == (("0", "1", "2"), ("-1", "1"), ("False", "True"))
    assert (factors[:, 0] == -1).sum() == 8
    assert said == [
        "id is left out: it is different in every item, so it names items and is no factor",
        "empty is left out: it has no value",
        "class: −1 is read as missing, in 8 of 30 items",
    ]


def test_sources_that_are_not_there():
    with pytest.raises(FileNotFoundError, match="no such file"):
        read("nowhere.csv")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read("nowhere")
