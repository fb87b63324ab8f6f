"""The demo: classes without labels, the best of several starts, and what units of style move."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.real import real

import unweave as uw
from unweave.models.views import Views, _bends
from unweave.recipes import clusters, digits_findings
from unweave.training.trainer import trained


@pytest.fixture(scope="module")
def short():
    """A sixth of the demo's training, from one start."""
    recipe = uw.recipes.digits(starts=1, epochs=25)
    return recipe, trained(recipe)


def test_a_short_training_finds_classes_that_are_digits_and_a_style_that_is_not(short):
    """A class that does not reach the decoder, or views that do not agree, would fail this."""
    recipe, model = short
    test = recipe.test
    q = model.posterior(test.floats())
    classes = q["y"].dist.mean.argmax(-1).numpy()
    assert uw.metrics.clustering_accuracy(classes, test.factors[:, 0]) > 0.7
    alone = model.decode(y=np.arange(10), z=np.zeros((10, 6), np.float32))
    apart = torch.cdist(alone.flatten(1), alone.flatten(1)) + 9 * torch.eye(10)
    assert apart.min() > 0.5


def test_the_findings_are_numbers_pictures_and_a_table_of_units(short):
    recipe, model = short
    nmi, of_all, in_use, classes, styles, moves = digits_findings.findings(model, recipe)
    assert 0.5 < nmi.value <= 1
    everything = np.concatenate([recipe.data.floats(), recipe.test.floats()])
    digit = np.concatenate([recipe.data.factors[:, 0], recipe.test.factors[:, 0]])
    named = model.posterior(everything)["y"].dist.mean.argmax(-1).numpy()
    assert of_all.value == pytest.approx(uw.metrics.clustering_accuracy(named, digit))
    assert of_all.unit.endswith("1,797 items")
    units = int(in_use.value)
    assert styles.images.shape == (units, 3 * 5 + 2, 8, 8)
    assert np.isnan(styles.images[:, 5::6]).all()  # a gap between digits
    assert len(moves.rows) == units
    assert classes.images.shape == (5, 10, 8, 8)
    shown = recipe.test.floats([np.flatnonzero(recipe.test.factors[:, 0] == 3)[0]])
    assert np.array_equal(classes.images[1, 3], shown[0])


def test_the_start_that_tells_most_is_kept():
    recipe = uw.recipes.digits(starts=2, epochs=1)
    alone, starts = recipe.start.args
    assert starts == 2
    told = {}
    for seed in (0, 1):
        small = trained(replace(alone, seed=seed))
        told[clusters._told(alone, small)] = small.encoder.y.state_dict()
    model = recipe.model()
    recipe.start(model)
    kept = model.encoder.y.state_dict()
    best = told[max(told)]
    assert all(torch.equal(kept[name], best[name]) for name in best)


def test_bends_move_places_as_they_say():
    """On an image whose ink is the column's number, a view shows how far each place moved."""
    columns = torch.arange(12.0).expand(500, 12, 12)
    still = dict.fromkeys(("rotation", "shear", "zoom", "shift", "width", "dim"), 0.0)
    view = Views(**still, bend=1.5)
    torch.manual_seed(0)
    seen = view(columns)
    torch.manual_seed(0)
    view._affine(columns, still=False)  # draws first
    moves = _bends(columns, 12, 12, 1.5)[..., 0] * 12 / 2  # pixels across
    inside = (slice(None), slice(3, -3), slice(3, -3))
    assert torch.allclose((seen - columns)[inside], moves[inside], atol=1e-4)
    corners = moves[:, [0, 0, -1, -1], [0, -1, 0, -1]]  # the knots themselves
    assert corners.abs().max() <= 1.5
    assert corners.mean().abs() < 4 * 1.5 / (3 * 2000) ** 0.5
    assert corners.std() == pytest.approx(1.5 / 3**0.5, rel=0.05)
    steps = moves.diff(dim=-1).abs().max()
    assert steps < 1.5  # smooth: neighbours move alike


def test_without_bends_views_draw_what_they_drew():
    x = torch.rand(5, 8, 8)
    torch.manual_seed(0)
    one = Views()(x)
    torch.manual_seed(0)
    other = Views(bend=0.0)(x)
    assert torch.equal(one, other)
    assert torch.equal(Views(bend=2.0)(x, still=True), x)


def test_features_are_moments_of_ink():
    """A stroke from bottom left to top right leans by a column a row; a bar is as wide as it is."""
    lean = torch.eye(8).flip(1).numpy()[None]
    bar = np.zeros((1, 8, 8))
    bar[0, 2, 1:7] = 0.5
    leaning, lying = digits_findings._features(lean), digits_findings._features(bar)
    assert leaning["slant"] == pytest.approx(1.0)
    assert leaning["weight"] == pytest.approx(8.0)
    assert lying["width"] == pytest.approx(np.arange(1, 7).std())
    assert lying["height"] == pytest.approx(0.0, abs=1e-6)
    assert (lying["sideways"], lying["upwards"]) == (3.5, -2.0)


def test_units_are_named_by_what_they_move_most_each_feature_once():
    """Units 0 and 1 both move slant most, unit 1 more so; unit 3 moves nothing clearly."""
    effects = {"slant": np.array([2.0, -3.0, 9.0, 0.4]), "width": np.array([-1.0, 2.5, 0.0, 0.1])}
    assert digits_findings._names(effects, [0, 1, 3]) == ["width", "slant", "shape"]
    assert digits_findings._names(effects, []) == []


def test_the_class_of_mnist_begins_balanced_and_is_then_free():
    """Classes need not stay equally frequent: 1s are 11.2 % of MNIST, and 5s 9.0 %."""
    folder = real("mnist", "train-images-idx3-ubyte.gz")
    recipe = uw.recipes.clustering(epochs=4, data_dir=str(folder))
    alone, starts = recipe.start.args
    assert (starts, alone.epochs, recipe.epochs) == (1, 6, 4)
    for plan in (alone, recipe):
        assert plan.model().encoder.view == Views(rotation=12.0, shear=0.15, zoom=0.1, shift=1.5)
    for step, weight in ((0, 60), (197, 60), (462, 2), (659, 2)):
        assert str(alone.objective_at(step)) == str(
            uw.formula(f"10*label - {weight}*kl[0].of('y')")
        )
    for step, beta in ((0, 1), (88, 1), (176, 13), (264, 25), (439, 25)):
        classes = "11*mi.of('y') - kl[0].of('y') + 10*label"
        expected = uw.formula(f"hfvae(1, {beta}, 1) + {classes}")
        assert str(recipe.objective_at(step)) == str(expected)


def test_clothes_have_views_and_starts_of_their_own():
    """The best of three short trainings goes on alone, and then with its style; clothes are equally
    frequent, and stay so.
    """
    folder = real("fashion_mnist", "train-images-idx3-ubyte.gz")
    of_clothes = partial(uw.recipes.clustering, data="fashion-mnist", data_dir=str(folder))
    recipe = of_clothes()
    assert recipe.model().encoder.view.flip == 0.5
    alone, one = recipe.start.args
    for plan, weight in ((alone, "60"), (recipe, "59")):
        last = plan.epochs * plan.per_epoch - 1
        assert f"+ {weight}·log p(y)" in str(plan.objective_at(last))
    brief, several = alone.start.args
    assert (one, several, brief.epochs, brief.start) == (1, 3, 3, None)
    still = of_clothes(views="none").model().encoder.view
    assert (still.rotation, still.shift, still.width, still.dim, still.flip) == (0, 0, 0, 0, 0)
