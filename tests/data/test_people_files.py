"""Tests of files as people have them: each is read as what a person would see in it, and said."""

import io
import struct
import zlib

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from unweave.data import Bits, names, read


def silent(sentence):
    pass


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels=None, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(8, 8) if pixels is None else pixels).save(path, **settings)


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_pixels_of_16_bits_that_use_fewer(tmp_path, bits, ending):
    pixels = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    save(tmp_path / f"a.{ending}", pixels)
    save(tmp_path / f"b.{ending}", pixels // 2)  # as bright as in the first image, halved
    said = []
    x = read(tmp_path, say=said.append).x
    np.testing.assert_array_equal(x[0], np.rint(pixels / (2**bits - 1) * 255))
    np.testing.assert_array_equal(x[1], np.rint(pixels // 2 / (2**bits - 1) * 255))
    top = f"{2**bits - 1:,}"
    assert f"2 images of 16 bits go to {top}: 0 to {top} become 0 to 255" in said


def test_pixels_whose_range_is_unknown_are_named(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.tif", np.full((8, 8), -3, dtype=np.int32))
    save(tmp_path / "c.tif", np.full((8, 8), 0.5, dtype=np.float32))
    said = []
    assert len(read(tmp_path, say=said.append)) == 1
    assert "b.tif (pixels are negative" in said[1]
    assert "c.tif (pixels are floats" in said[1]


def test_colours_of_16_bits_are_said(tmp_path):
    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = b"".join(b"\0" + struct.pack(">24H", *[3000] * 24) for _ in range(8))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    content = header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    said = []
    read(tmp_path, say=said.append)
    assert "1 images have 16 bits a colour, of which pillow reads the upper 8" in said[1]


def test_an_image_that_is_too_large_is_left_out_alone(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    save(tmp_path / "huge.png", noise(64, 64))
    save(tmp_path / "large.png", noise(30, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)  # pillow warns beyond, and refuses twice it
    said = []
    data = read(tmp_path, size=8, say=said.append)
    assert len(data) == 2
    assert said[1].startswith("1 unreadable files left out: huge.png (Image size (4096 pixels)")


def test_folders_that_are_links_are_read_once_each(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / "store" / name / "1.png")
    album = tmp_path / "album"
    album.mkdir()
    for name in ("cat", "dog"):
        (album / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "store" / "dog" / "round").symlink_to(album)  # a circle
    (album / "lost.png").symlink_to(tmp_path / "nowhere.png")
    said = []
    data = read(album, say=said.append)
    assert data.values == (("cat", "dog"),)
    assert data.factors.tolist() == [[0], [1]]
    assert "1 unreadable files left out: lost.png" in said[1]


def test_further_frames_are_said(tmp_path):
    frames = [Image.fromarray(noise(8, 8, seed=k)) for k in range(3)]
    for name in ("film.gif", "stack.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    save(tmp_path / "one.tif")
    said = []
    x = read(tmp_path, say=said.append).x
    np.testing.assert_array_equal(x[1], noise(8, 8))
    assert said[1].startswith(
        "2 files hold several frames, of which the first is read: film.gif (3), stack.tif (3); "
    )


def test_images_and_films_that_pillow_does_not_read_are_said(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"film")
    with pytest.raises(ValueError, match=r"no image in it but film.mp4; expected"):
        read(tmp_path)
    save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("of no concern")
    said = []
    assert len(read(tmp_path, say=said.append)) == 1
    assert said[1] == "1 files of kinds that are no photographs left out: film.mp4"


def test_documents_are_never_given_to_their_readers(tmp_path, monkeypatch):
    """Those of .eps start Ghostscript, whatever the file is called."""
    from PIL import EpsImagePlugin, PsdImagePlugin

    for reader in (EpsImagePlugin.EpsImageFile, PsdImagePlugin.PsdImageFile):
        monkeypatch.setattr(reader, "_open", lambda _: pytest.fail("a document was read"))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    for name in ("drawing.eps", "drawing.ps", "mask.png"):
        (tmp_path / name).write_bytes(script)
    (tmp_path / "layers.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    save(tmp_path / "a.png")
    said = []
    assert len(read(tmp_path, say=said.append)) == 1
    assert said[1] == "1 unreadable files left out: mask.png (not an image)"
    left = "3 files of kinds that are no photographs left out: drawing.eps, drawing.ps, layers.psd"
    assert said[2] == left


# -- names of files --------------------------------------------------------------------------------

FILES = ["cat/001.png", "cat/002.JPG", "dog/010.png"]
NAMED = {
    "paths": (["cat/001.png", "cat/002.JPG", "dog/010.png"], "as written"),
    "names": (["001.png", "002.JPG", "010.png"], "as written"),
    "without endings": (["001", "002", "010"], "without ending"),
    "another ending": (["001.jpeg", "cat/002", "010.png"], "without ending"),
    "numbers": ([1, 2, 10], "zeros"),
    "floats": ([1.0, 2.0, 10.0], "zeros"),
    "without zeros": (["1.png", "2.png", "10.png"], "zeros"),
    "more zeros": (["0001", "0002", "0010"], "zeros"),
    "capitals": (["CAT/001.PNG", "002.jpg", "Dog/010.png"], "capitals"),
    "blanks": ([" 001.png", "002.JPG ", "010"], "blanks"),
    "from above": (["data/cat/001.png", "data\\cat\\002.JPG", "./dog/010.png"], "as written"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_names_a_person_would_give(tmp_path, kind):
    given, how = NAMED[kind]
    for file in FILES:
        save(tmp_path / file.replace(".JPG", ".jpg"))
    (tmp_path / "cat" / "002.jpg").rename(tmp_path / "cat" / "002.JPG")
    shuffled = [given[k] for k in (2, 0, 1)]
    said = []
    data = read(tmp_path, labels={"n": ["c", "a", "b"], "file": shuffled}, say=said.append)
    assert data.names == ("folder", "n")
    assert data.factors[:, 1].tolist() == [0, 1, 2]
    sentence = next(text for text in said if "3 of 3 images are named in 'file'" in text)
    assert (how in sentence) or how == "as written"


def test_ids_read_from_a_file_lose_no_file(tmp_path):
    for file in FILES:
        save(tmp_path / file)
    (tmp_path / "labels.csv").write_text("id;height\n001;1,5\n002;?\n010;2,5\n")
    data = read(tmp_path, labels="labels.csv", say=silent)
    assert data.values[1] == ("1.5", "2.5")
    assert data.factors[:, 1].tolist() == [0, -1, 1]


def test_names_that_fit_several_files_or_none_are_said(tmp_path):
    for file in ("cat/1.png", "dog/1.png", "dog/02.png", "dog/2.png"):
        save(tmp_path / file)
    said = []
    table = {"file": ["1.png", "cow/1.png", "2", "3.png"], "n": [1, 2, 3, 4]}
    data = read(tmp_path, labels=table, say=said.append)
    assert data.factors[:, 1].tolist() == [-1, -1, -1, 0]
    assert (
        "1 of 4 images are named in 'file', 1 without ending; 2 rows have no image (cow/1.png, "
        "3.png); 1 rows name several (1.png); without labels: cat/1.png, dog/02.png, dog/1.png"
    ) in said[-2]
    with pytest.raises(ValueError, match="name 'dog/2' 2 times in 'file'; expected one row"):
        read(tmp_path, labels={"file": ["2", "dog/2"], "n": [1, 2]}, say=silent)


def test_columns_that_happen_to_be_numbers_name_no_files(tmp_path):
    for k in range(4):
        save(tmp_path / f"{k}.png")
    table = {"age": [0, 1, 1, 2], "file": ["3", "2", "1", "0"], "n": [2, 1, 3, 0]}
    data = read(tmp_path, labels=table, say=silent)
    assert data.names == ("age", "n")
    assert data.factors[:, 0].tolist() == [2, 1, 1, 0]


def test_matching_is_what_trying_all_pairs_is():
    files = ["a/1.png", "a/01.png", "b/1.png", "c/2.jpg", "b/3.png"]
    words = ["a/1.png", "b/1", "1.png", "2", "x/c/2.jpg", "03", "", "b/03.PNG", "4"]
    found = names.match(np.array(words), files)
    expected = np.full(len(files), -1)
    for row, word in enumerate(words):
        for how in names.READINGS.values():
            read_word = "/" + how(word)
            fitting = [
                k
                for k, file in enumerate(files)
                if word
                and (("/" + how(file)).endswith(read_word) or read_word.endswith("/" + how(file)))
            ]
            if len(fitting) == 1:
                expected[fitting[0]] = row
                break
    np.testing.assert_array_equal(found.row, expected)


# -- tables ----------------------------------------------------------------------------------------


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pandas.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40)})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("who", [f"person {k}" for k in range(40)]),
        ("when", list(pandas.date_range("2020", periods=40).astype(str))),
        ("k", range(40)),
        ("row", range(1, 41)),
        ("patient_id", np.random.default_rng(1).permutation(1000)[:40]),
        ("PatientId", range(500, 460, -1)),
        ("ID", range(70, 110)),
    ],
)
def test_columns_that_name_the_rows_are_left_out(frame, name, values):
    said = []
    data = read(frame.assign(**{name: list(values)}), say=said.append)
    assert data.shape == (2,)
    assert f"left out, as it only names or counts rows: {name}" in said
    labelled = read(frame.assign(**{name: list(values), "n": 0}), labels=name, say=silent)
    assert labelled.shape == (2,)  # asked for as a label, it is no x


@pytest.mark.parametrize(
    ("name", "values"),
    [("humid", range(70, 110)), ("age", range(20, 60)), ("id", [1, 2] * 20), ("t", 0.5)],
)
def test_other_columns_are_kept(frame, name, values):
    values = np.arange(40) * values if name == "t" else list(values)
    assert read(frame.assign(**{name: values}), say=silent).shape == (3,)


def test_identifiers_among_labels_are_no_factors(tmp_path, frame):
    said = []
    labels = {"id": range(100, 140), "kind": ["a", "b"] * 20}
    data = read(frame.to_numpy(), labels=labels, say=said.append)
    assert data.names == ("kind",)
    assert said == ["left out, as it only names or counts rows: id"]


def test_columns_can_be_dropped(frame, tmp_path):
    frame["note"] = ["x", "y"] * 20
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv", say=silent).shape == (4,)
    for source in (frame, tmp_path / "t.csv", dict(frame)):
        assert read(source, drop="note", say=silent).shape == (2,)
        assert read(source, drop=["note", "a"], say=silent).shape == (1,)
        with pytest.raises(KeyError, match="no column 'notes' to drop; there are a, b, note"):
            read(source, drop="notes", say=silent)


@pytest.mark.parametrize("scale", [1e20, 1e-25, 1e300, 1e-300])
def test_columns_that_training_cannot_take_are_named(frame, scale):
    frame["mass"] = frame.a * scale
    with pytest.raises(ValueError, match=r"mass goes to .*give these in other units"):
        read(frame, say=silent)
    with pytest.raises(ValueError, match="column 2 goes to"):
        read(frame.to_numpy(), say=silent)
    with pytest.raises(ValueError, match="x goes to"):
        read(np.random.default_rng(0).random((9, 4, 4)) * scale, say=silent)


def test_numbers_that_float32_would_round_away_are_named(frame):
    frame["time"] = 1.7e9 + 10 * frame.a
    with pytest.raises(ValueError, match=r"time goes to 1.7e\+09 and varies by .*subtract"):
        read(frame, say=silent)
    frame["time"] -= 1.7e9
    assert read(frame, say=silent).shape == (3,)


def test_masked_numbers_are_missing():
    masked = np.ma.array(np.random.default_rng(0).random((9, 3)), mask=np.eye(9, 3))
    with pytest.raises(ValueError, match="NaN or infinite numbers in 3 of 9 items"):
        read(masked, say=silent)


def test_classes_that_differ_in_capitals_or_blanks_are_said(frame):
    said = []
    frame["kind"] = ["Cat", "cat", "cat ", "dog"] * 10
    data = read(frame, labels="kind", say=said.append)
    assert data.sizes == (4,)
    assert "kind: 'Cat', 'cat', 'cat ' differ in capitals or blanks, and stay 3 classes" in said


# -- arrays and data sets --------------------------------------------------------------------------


def test_an_archive_like_dsprites(tmp_path):
    images, classes = noise(30, 8, 8) % 2, noise(30, 6) % 3
    metadata = np.array({"author": "someone"}, dtype=object)
    values = classes / 2
    path = tmp_path / "shapes.npz"
    np.savez(path, imgs=images, latents_classes=classes, latents_values=values, metadata=metadata)
    said = []
    data = read(path, labels="latents_classes", drop="latents_values", say=said.append)
    np.testing.assert_array_equal(data.floats(), images)
    assert data.names[0] == "latents_classes.0"
    assert said[0] == "shapes.npz: left out, as only pickle reads it, and that runs code: metadata"
    with pytest.raises(ValueError, match=r"leave imgs and latents_values for x.*drop=\[…\]"):
        read(path, labels="latents_classes", say=silent)
    np.savez(path, imgs=images, names=np.array(["a", "b"]), rate=25, kind=classes[:, 0])
    data = read(path, say=said.append)
    assert data.names == ("kind",)
    assert "left out, as no labels of imgs's 30 items: names, rate" in said


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_that_come_first_are_moved_last(channels):
    x = noise(5, channels, 32, 24)
    np.testing.assert_array_equal(read(x, say=silent).x, np.moveaxis(x, 1, 3))
    last = noise(5, 32, 24, channels)
    np.testing.assert_array_equal(read(last, say=silent).x, last)


def test_the_range_of_float_images_is_said():
    said = []
    read(noise(5, 4, 4).astype(float), say=said.append)
    read(noise(5, 4, 4) / 255, say=said.append)
    assert said == ["x holds numbers from 1 to 248, kept as they are"]


class Endless(torch.utils.data.Dataset):
    """A data set as torch's documentation writes it: for any number, it has an item."""

    def __init__(self, n, item):
        self.n, self.item = n, item

    def __len__(self):
        return self.n

    def __getitem__(self, k):
        return self.item(k)


def test_map_style_data_sets():
    x = torch.rand(6, 3, 8, 8)
    expected = np.moveaxis(x.numpy(), 1, 3)
    for data in (
        read(Endless(6, lambda k: x[k % 6]), say=silent),
        read(Endless(6, lambda k: (x[k % 6], k % 2)), say=silent),
        read(torch.utils.data.TensorDataset(x, torch.arange(6) % 2), say=silent),
        read(Endless(6, lambda k: {"image": x[k % 6], "label": k % 2}), say=silent),
    ):
        np.testing.assert_array_equal(data.x, expected)
        assert data.names in ((), ("label",))
        assert data.factors.ravel().tolist() in ([], [0, 1] * 3)
    drawn = read(Endless(3, lambda k: (Image.fromarray(noise(8, 8)), torch.arange(2))), say=silent)
    assert drawn.shape == (8, 8)
    assert drawn.names == ("label.0", "label.1")
    with pytest.raises(ValueError, match=r"shapes \(1,\), \(2,\).*one form"):
        read(Endless(2, lambda k: np.zeros(k + 1)))


def test_what_has_no_items_by_number_says_so():
    class Stream:
        def __getitem__(self, k):
            return np.zeros(2)

    with pytest.raises(ValueError, match=r"a Stream has no length.*define __len__"):
        read(Stream())
    loader = torch.utils.data.DataLoader(Endless(4, lambda k: np.zeros(2)))
    for stream in (loader, iter([1, 2]), io.BytesIO()):
        with pytest.raises(ValueError, match=f"a {type(stream).__name__} .*expected"):
            read(stream)


def test_tensors_on_their_way_through_a_network():
    x = torch.rand(5, 4, requires_grad=True)
    np.testing.assert_array_equal(read(x, say=silent).x, x.detach().numpy())
    assert read(x.to(torch.bfloat16), say=silent).x.dtype == np.float32
    assert isinstance(read(x > 0.5, say=silent).x, Bits)
