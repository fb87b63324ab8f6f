"""Items are drawn as images, films, words or columns, by what they are."""

import numpy as np
import pytest
from support.explorer import of_columns, of_scenes, of_sequences, of_words
from support.explorer import session as of_images

import unweave as uw
from unweave.explorer.drawing import Drawing


@pytest.mark.parametrize(
    ("make", "kind", "shape"),
    [
        (of_images, "image", (8, 8, 1)),
        (of_columns, "columns", (7,)),
        (of_words, "words", (20,)),
        (of_sequences, "film", (6, 24, 24, 1)),
        (of_scenes, "image", (20, 20, 1)),
    ],
)
def test_items_are_drawn_by_what_they_are(make, kind, shape, tmp_path):
    session = make(tmp_path)
    drawing = session.drawing
    assert (drawing.kind, drawing.shape) == (kind, shape)
    size = 1 if kind in ("image", "film") else 4
    decoded = session.pictures(session.decode(session.codes[:3]))
    assert len(decoded) == 3 * size * np.prod(shape)
    assert len(session.item(0)) == size * np.prod(shape)


def test_columns_are_measured_where_they_are_known():
    x = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 4.0], [2.0, 5.0, 8.0]], dtype=np.float32)
    nothing = np.zeros((3, 0), np.int64)
    drawing = Drawing.of(uw.data.Data(x, nothing, (), (), (), "table", missing=True))
    assert drawing.names == ("x[0]", "x[1]", "x[2]")
    np.testing.assert_allclose(drawing.middle, [2, 5, 6])
    np.testing.assert_allclose(drawing.spread, [np.sqrt(2 / 3), 1, 2])  # 1 if it does not vary


def test_words_are_measured_by_how_often_they_occur(tmp_path):
    session = of_words(tmp_path)
    counts = session.data.floats().sum(0)
    np.testing.assert_allclose(session.drawing.middle, counts / counts.sum(), rtol=1e-6)


def test_missing_frames_are_grey(tmp_path):
    session = of_sequences(tmp_path)
    lasting = (~np.isnan(session.data.floats()).any((2, 3))).sum(1)
    item = int(lasting.argmin())
    frames = np.frombuffer(session.item(item), np.uint8).reshape(6, -1)
    assert (frames[lasting[item] :] == 128).all()
    assert not (frames[: lasting[item]] == 128).all()
