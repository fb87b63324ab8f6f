"""Tests of sprites against images, closed forms and a loop; of samplers cell by cell.

A chi-square test is refused at p < 1e-6: with other seeds, one in a million would fail by chance.
"""

import math

import numpy as np
import pytest
from scipy import stats
from support.real import real

from unweave.data import Bits, Scene, correlated, held_out, hierarchical, independent, sprites
from unweave.data.outlines import HEART, SHAPES
from unweave.data.sampling import draw

SIZES = {"shape": 3, "scale": 6, "posX": 4, "posY": 4}
EVERY = ("square", "ellipse", "heart", "triangle", "cross")


# Images


def test_images_of_dsprites_are_drawn_again():
    genuine = "dsprites", "dsprites_genuine_358_64x64.npz"
    with np.load(real(*genuine).joinpath(*genuine)) as found:
        classes, images = found["latents_classes"][:, 1:], found["imgs"]
    wrong = (Scene().render(classes) != 255 * images).sum((1, 2))
    assert wrong.max() <= 2  # pixels of 4,096
    total = [int(wrong[classes[:, 0] == shape].sum()) for shape in range(3)]
    assert total == [3, 4, 11]  # over 86 squares, 71 ellipses, 201 hearts
    assert (wrong == 0).sum() == 343


def by_loop(shape, size, scale, angle, x, y):
    """Draw one image, a pixel at a time, in float64 until the outline is asked."""
    image = np.zeros((size, size), dtype=np.uint8)
    for row in range(size):
        for column in range(size):
            dx = (column + 0.5) * 64 / size - (16 + 32 * x)
            dy = (row + 0.5) * 64 / size - (16 + 32 * y)
            u = (math.cos(angle) * dx - math.sin(angle) * dy) / scale
            w = (math.sin(angle) * dx + math.cos(angle) * dy) / scale
            image[row, column] = (
                255 * SHAPES[shape](np.array([u], np.float32), np.array([w], np.float32))[0]
            )
    return image


@pytest.mark.parametrize("shape", EVERY)
def test_images_are_those_of_a_loop_also_beyond_the_frame(shape):
    places, angles, scales = (-0.53, 0.217, 1.481), (0.3, 2.1), (0.613, 2.37)
    scene = Scene(19, EVERY, scales, angles, places, places)
    classes = draw(independent, 12, scene.counts)
    classes[:, 0] = EVERY.index(shape)
    for image, (_, s, a, i, j) in zip(scene.render(classes), classes, strict=True):
        np.testing.assert_array_equal(
            image, by_loop(shape, 19, scales[s], angles[a], places[i], places[j])
        )


@pytest.mark.parametrize("m", [2, 3])
def test_smooth_pixels_are_means_of_finer_ones(m):
    smooth, fine = Scene(24, samples=m), Scene(24 * m)
    classes = draw(independent, 300, smooth.counts)
    blocks = (fine.render(classes) / 255).reshape(300, 24, m, 24, m).mean((2, 4))
    np.testing.assert_array_equal(smooth.render(classes), np.rint(255 * blocks.astype(np.float32)))


def heart_area():
    """Compute twice the area under the half's Bézier curves, by Green's theorem.

    The integrands are polynomials, integrated exactly.
    """
    total = 0.0
    for points in np.array(HEART):
        x, y = (np.polynomial.Polynomial(np.array(BERNSTEIN).T @ points[:, k]) for k in (0, 1))
        area = (x * y.deriv() - y * x.deriv()).integ()
        total += (area(1) - area(0)) / 2
    return 2 * abs(total)


BERNSTEIN = [
    (1, -3, 3, -1),
    (0, 3, -6, 3),
    (0, 0, 3, -3),
    (0, 0, 0, 1),
]  # powers of t, one curve weight a row
AREAS = {
    "square": (2 * 9.5967) ** 2,
    "ellipse": math.pi * 12.766 * 7.214,
    "heart": heart_area(),
    "triangle": 18**2 / 3**0.5,
    "cross": 22**2 - 4 * 7.5**2,
}


@pytest.mark.parametrize("shape", EVERY)
def test_areas_are_those_of_the_outlines(shape):
    scene = Scene(512, (shape,), scales=(0.8,), orientations=(0.5,), x=1, y=1)
    area = (scene.render([[0] * 5]) > 0).sum() / 8**2  # in pixels of dSprites, 8 times as large
    perimeter = 100 * 0.8  # none is longer
    # only pixels that the outline crosses are in doubt
    assert abs(area - 0.8**2 * AREAS[shape]) < perimeter * 2**0.5 / 8 / 2


def test_colours_tint_the_grey_image():
    grey, tinted = (
        Scene(16, samples=2),
        Scene(16, samples=2, colours=("#ff0000", "rgb(0, 128, 255)")),
    )
    classes = draw(independent, 200, tinted.counts)
    share = grey.render(classes[:, :-1])[..., None] / 255
    palette = np.array([[255, 0, 0], [0, 128, 255]])[classes[:, -1], None, None]
    assert np.abs(tinted.render(classes) - share * palette).max() <= 1  # each rounds to a level
    assert tinted.values[-1] == ("#ff0000", "rgb(0, 128, 255)")


def test_data_are_bits_or_bytes_with_their_factors():
    data = sprites(300, Scene(32), seed=5)
    assert isinstance(data.x, Bits)
    np.testing.assert_array_equal(data.floats() * 255, Scene(32).render(data.factors))
    assert data.names == ("shape", "scale", "orientation", "posX", "posY")
    assert data.sizes == (3, 6, 40, 32, 32)
    assert data.values[:2] == (
        ("square", "ellipse", "heart"),
        ("0.5", "0.6", "0.7", "0.8", "0.9", "1"),
    )
    smooth = sprites(3, Scene(32, samples=3))
    assert isinstance(smooth.x, np.ndarray)
    assert smooth.x.dtype == np.uint8
    np.testing.assert_array_equal(sprites(300, Scene(32), seed=5).factors, data.factors)
    assert (sprites(300, Scene(32), seed=6).factors != data.factors).any()


def test_an_image_follows_its_factors():
    right, down = Scene(x=2, y=1, orientations=1).render([[0, 5, 0, 0, 0], [0, 5, 0, 1, 0]])
    np.testing.assert_array_equal(np.roll(right, 32, axis=1), down)
    quarter = Scene(shapes=("heart",), orientations=(0, np.pi / 2), x=1, y=1).render(
        [[0, 5, 0, 0, 0], [0, 5, 1, 0, 0]]
    )
    np.testing.assert_array_equal(np.rot90(quarter[0]), quarter[1])  # anticlockwise


# Samplers


def fits(classes, names, expected):
    """Whether the table of two factors is as expected: nothing where it is 0, else p > 1e-6."""
    columns = [classes[:, list(SIZES).index(name)] for name in names]
    found = np.zeros(expected.shape)
    np.add.at(found, tuple(columns), 1)
    possible = expected > 0
    assert not found[~possible].any()
    assert math.isclose(expected.sum(), 1)
    assert stats.chisquare(found[possible], len(classes) * expected[possible]).pvalue > 1e-6


def test_independent_factors():
    classes = draw(independent, 50_000, SIZES, seed=1)
    fits(classes, ("shape", "scale"), np.full((3, 6), 1 / 18))
    fits(classes, ("posX", "posY"), np.full((4, 4), 1 / 16))


@pytest.mark.parametrize("strength", [0, 0.3, 0.9, 1])
@pytest.mark.parametrize("pair", [("posX", "posY"), ("scale", "posX"), ("posX", "shape")])
def test_correlated_factors_have_the_documented_table(pair, strength):
    a, b = SIZES[pair[0]], SIZES[pair[1]]
    expected = np.zeros((a, b))
    for i in range(a):
        for j in range(b):
            shared = max(0, min((i + 1) / a, (j + 1) / b) - max(i / a, j / b))
            expected[i, j] = (1 - strength) / (a * b) + strength * shared
    expected[expected < 1e-12] = 0  # the rounding of a/A
    np.testing.assert_allclose(expected.sum(0), 1 / b)
    classes = draw(correlated(*pair, strength), 50_000, SIZES, seed=2)
    fits(classes, pair, expected)
    other = next(name for name in SIZES if name not in pair)
    fits(classes, (other, pair[1]), np.full((SIZES[other], b), 1 / (SIZES[other] * b)))


def test_strength_is_the_correlation_of_as_many_classes():
    classes = draw(correlated("posX", "posY", 0.6), 50_000, SIZES, seed=3)
    # standard error of a correlation is at most 1/√n; 5 of them: fails once in 1.7 million
    assert abs(np.corrcoef(classes[:, 2], classes[:, 3])[0, 1] - 0.6) < 5 / 50_000**0.5


def test_hierarchical_factors_follow_their_graph():
    third = np.zeros((3, 6))
    for shape in range(3):
        third[shape, 2 * shape : 2 * shape + 2] = 1 / 6
    fits(draw(hierarchical("scale", given="shape"), 50_000, SIZES), ("shape", "scale"), third)
    values = [(0,), (1, 4, 5), (0, 1, 2, 3, 4, 5)]
    table = np.array([[1 / 3, 0, 0, 0, 0, 0], [0, 1 / 9, 0, 0, 1 / 9, 1 / 9], [1 / 18] * 6])
    classes = draw(hierarchical("scale", given="shape", values=values), 50_000, SIZES)
    fits(classes, ("shape", "scale"), table)
    fits(classes, ("shape", "posX"), np.full((3, 4), 1 / 12))


def test_samplers_compose_into_a_chain():
    chain = correlated("posX", "posY", 1, base=hierarchical("posX", given="shape"))
    classes = draw(chain, 20_000, SIZES)
    np.testing.assert_array_equal(classes[:, 2], classes[:, 3])
    runs = np.array([[1 / 6, 1 / 6, 0, 0], [0, 0, 1 / 3, 0], [0, 0, 0, 1 / 3]])
    fits(classes, ("shape", "posX"), runs)


@pytest.mark.parametrize("names", [("shape", "scale"), ("posX", "shape", "posY")])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_held_out_combinations_are_disjoint_and_complete(names, share):
    at = [list(SIZES).index(name) for name in names]
    shape = tuple(SIZES[name] for name in names)
    counts = []
    for sampler in held_out(*names, share=share, seed=4):
        classes = draw(sampler, 50_000, SIZES, seed=5)
        count = np.zeros(shape)
        np.add.at(count, tuple(classes[:, at].T), 1)
        counts.append(count)
        assert stats.chisquare(count[count > 0]).pvalue > 1e-6
        rest = next(name for name in SIZES if name not in names)
        assert stats.chisquare(np.bincount(classes[:, list(SIZES).index(rest)])).pvalue > 1e-6
    train, test = (count > 0 for count in counts)
    assert not (train & test).any()
    assert (train | test).all()
    assert test.sum() == round(share * math.prod(shape))
    for axis in range(len(shape)):
        assert train.any(
            tuple(k for k in range(len(shape)) if k != axis)
        ).all()  # every value is known


def test_which_combinations_are_held_out_depends_on_the_seed():
    def combinations(seed):
        classes = draw(held_out("shape", "scale", seed=seed)[1], 500, SIZES)
        return {(int(a), int(b)) for a, b in classes[:, :2]}

    assert combinations(0) == combinations(0)
    assert len({frozenset(combinations(seed)) for seed in range(5)}) > 1


WRONG = [
    (lambda: Scene(size=0), ValueError, "expected both to be at least 1"),
    (lambda: Scene(shapes=("star",)), ValueError, "no shape 'star'; expected square, ellipse"),
    (lambda: Scene(scales=0), ValueError, "scale has no value"),
    (lambda: Scene(scales=(0.5, 0)), ValueError, "expected positive"),
    (lambda: Scene(colours=("rad",)), ValueError, "'rad'.*pillow names"),
    (lambda: Scene(colours=("red", "red")), ValueError, "different"),
    (lambda: Scene().render([[0, 0, 0, 0, 32]]), ValueError, r"posY \(0 to 31\)"),
    (lambda: Scene().render([[0.0, 0, 0, 0, 0]]), ValueError, "expected whole numbers"),
    (lambda: Scene(samples=2).pack([[0] * 5]), ValueError, r"render\(\)"),
    (lambda: sprites(0), ValueError, "n is 0"),
    (lambda: correlated("posX", "posY", 1.5), ValueError, "strength is 1.5"),
    (
        lambda: sprites(9, sampling=correlated("posX", "colour", 1)),
        KeyError,
        "no factor 'colour'; the factors are shape",
    ),
    (lambda: sprites(9, sampling=correlated("posX", "posX", 1)), ValueError, "different"),
    (
        lambda: sprites(9, sampling=hierarchical("shape", given="scale")),
        ValueError,
        "give the values",
    ),
    (
        lambda: sprites(9, sampling=hierarchical("scale", "shape", [(0,), (6,), (1,)])),
        ValueError,
        "3 sequences",
    ),
    (lambda: held_out("shape"), ValueError, "two factors or more"),
    (
        lambda: sprites(9, sampling=held_out("shape", "scale", share=0.9)[0]),
        ValueError,
        "12 at the very most",
    ),
    (
        lambda: sprites(9, sampling=held_out("shape", "scale", share=0.01)[0]),
        ValueError,
        "at least 1",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_errors_say_the_fix(call, error, message):
    with pytest.raises(error, match=message):
        call()
