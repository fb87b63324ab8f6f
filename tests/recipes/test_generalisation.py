"""The recipe of cells that training leaves out: cells, read-outs, the classifier, a small run."""

from typing import Any

import numpy as np
import pytest
import torch
from support.real import real

import unweave as uw
from unweave.data import grid
from unweave.data.dsprites import SIZES
from unweave.recipes import generalisation_findings as found
from unweave.recipes.generalisation import element, on_the_right, squares_on_the_right
from unweave.recipes.styled_digits import _with_styles
from unweave.training.trainer import trained


def test_cells_of_the_whole_grid_are_as_many_as_their_factors_say():
    shape, scale, orientation, across, down = grid.classes(SIZES).T
    assert element(shape, scale, orientation, across, down).sum() == 4 * 14 * 11 * 11
    assert squares_on_the_right(shape, across).sum() == 6 * 40 * 16 * 32
    assert on_the_right(across).sum() == 3 * 6 * 40 * 16 * 32


@pytest.mark.parametrize("split", ["element", "range", "extrapolation"])
def test_no_left_out_cell_is_trained_on_and_seen_ones_differ_in_place_alone(split):
    made = uw.recipes.generalisation(split=split, method="vae", quick=True)
    findings: Any = made.findings
    seen, held = made.test.factors, findings.keywords["held"].factors
    left_out = {tuple(row) for row in held}
    assert not left_out & {tuple(row) for row in made.data.factors}
    assert not left_out & {tuple(row) for row in seen}
    for factor in range(3):  # shape, scale and orientation
        assert set(seen[:, factor]) == set(held[:, factor])
    assert set(seen[:, 3]) != set(held[:, 3]) or set(seen[:, 4]) != set(held[:, 4])


def test_a_control_is_trained_on_the_left_out_cells():
    made = uw.recipes.generalisation(control=True, method="vae", quick=True)
    shape, across = made.data.factors[:, 0], made.data.factors[:, 3]
    assert squares_on_the_right(shape, across).any()


def test_digits_are_refused_to_the_program():
    with pytest.raises(ValueError, match="digits are no rigid shapes; expected method vae"):
        uw.recipes.generalisation(method="program", split="digits")


# -- measures --------------------------------------------------------------------------------------


def test_a_reader_uses_products_where_they_tell_more():
    codes = np.random.default_rng(0).normal(size=(2000, 2))
    straight = np.digitize(codes[:, 0], [-1, 0, 1])
    crossed = (codes.prod(1) > 0).astype(int)
    new, new_crossed = codes[:500], crossed[:500]
    assert found._reader(codes, straight, 1)(new, straight[:500]).mean() > 0.99
    assert found._reader(codes, crossed, None)(new, new_crossed).mean() > 0.95
    plain = found._fitted(found._plain, codes, crossed, None)
    assert plain(new, new_crossed).mean() < 0.7


class Shows:
    """A model that draws given images, whatever it is shown."""

    def __init__(self, images):
        self.images = torch.as_tensor(images)

    def reconstruct(self, x):
        return self.images


def test_the_classifier_names_images_and_no_others():
    scene = uw.data.Scene(size=32)
    known, data = uw.data.sprites(3000, scene, seed=0), uw.data.sprites(300, scene, seed=1)
    x = data.floats()
    elsewhere = np.roll(x, 5, axis=2)  # 10 of 32 steps to the right
    others = np.roll(x, 1, axis=0)
    assert found._drawn_right(Shows(x), data, known) > 0.9
    assert found._drawn_right(Shows(elsewhere), data, known) < 0.05
    assert found._drawn_right(Shows(others), data, known) < 0.1


def styled(n, seed):
    random = np.random.default_rng(seed)
    factors = np.stack([random.integers(0, 10, n), random.integers(0, 4, n)], 1)
    values = (tuple("0123456789"), tuple("0123"))
    x = np.zeros((n, 1), np.float32)
    return uw.data.Data(x, factors, ("digit", "style"), (10, 4), values, "styled")


def test_donors_have_the_same_style_and_another_digit():
    data, donors = styled(200, 0), styled(300, 1)
    chosen = donors.factors[found._donated(data, donors)]
    assert (chosen[:, 1] == data.factors[:, 1]).all()
    assert (chosen[:, 0] != data.factors[:, 0]).all()


def test_quarters_are_those_of_the_class():
    digits = uw.data.digits()
    random = np.random.default_rng(0)
    digit = digits.factors[:, 0]
    places = random.normal(size=len(digits)) + digit
    edges = [np.quantile(places[digit == d], [0.25, 0.5, 0.75]) for d in range(10)]
    made = _with_styles(digits, places, np.stack(edges))
    for d in range(10):
        counts = np.bincount(made.factors[digit == d, 1])
        assert counts.max() - counts.min() <= 1
        means = [places[(digit == d) & (made.factors[:, 1] == k)].mean() for k in range(4)]
        assert means == sorted(means)


@pytest.mark.slow
def test_the_program_draws_cells_that_it_never_saw_as_well_as_others():
    """Thirty steps do; a place that is learned from images alone does not reach beyond them."""
    made = uw.recipes.generalisation(split="extrapolation", quick=True, batch=64)
    findings: Any = made.findings
    with torch.no_grad():
        seen, out, ratio = found._errors(trained(made), made, findings.keywords["held"])
    assert seen.value < 80
    assert ratio.value == out.value / seen.value < 1.2


@pytest.mark.slow
def test_digits_of_every_class_and_quarter_but_the_left_out_ones_are_trained_on():
    root = real("mnist")
    made = uw.recipes.generalisation(
        method="beta-vae", split="digits", quick=True, data_dir=str(root)
    )
    trained_on = {tuple(row) for row in made.data.factors}
    assert trained_on == {(d, k) for d in range(10) for k in range(4) if d % 4 != k}
    findings: Any = made.findings
    with torch.no_grad():
        numbers = [f.value for f in findings(trained(made), made) if hasattr(f, "value")]
    *_, named_seen, named_left_out = numbers
    assert named_seen > 0.3  # chance is 0.1
    assert named_left_out > 0.3
