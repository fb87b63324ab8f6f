"""Digits with a few labels: which are known, how often they are seen, and a small run on real
MNIST.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from support.real import real

import unweave as uw
from unweave.recipes.semi_supervised import semi_supervised
from unweave.training.trainer import Trainer


@pytest.fixture(scope="module")
def mnist():
    return {"data_dir": str(real("mnist", "train-images-idx3-ubyte.gz")), "quick": True}


def few(labelled=30, **changes):
    recipe = uw.Recipe(
        name="few",
        data=uw.data.digits().with_labels("digit", 45, seed=1),
        model=lambda: uw.models.hfvae((8, 8), (32, 16), temperature=None),
        objective=uw.elbo + 10 * uw.label,
        groups=("y", "z"),
        labels={"y": "digit"},
        labelled=labelled,
        batch=100,
        epochs=1,
    )
    return dataclasses.replace(recipe, **changes)


def test_labels_are_balanced_and_a_function_of_the_seed():
    whole = uw.data.digits()
    data = whole.with_labels("digit", 45, seed=1)
    kept = data.factors[:, 0] >= 0
    assert np.bincount(data.factors[kept, 0]).tolist() == [5] * 5 + [4] * 5
    assert (data.factors[kept] == whole.factors[kept]).all()
    assert (data.factors == whole.with_labels("digit", 45, seed=1).factors).all()
    assert (kept != (whole.with_labels("digit", 45, seed=2).factors[:, 0] >= 0)).any()
    with pytest.raises(KeyError, match="no factor 'shape'; its factors are: 'digit'"):
        whole.with_labels("shape", 10)
    with pytest.raises(
        ValueError, match=r"200 labels of digit '0' are asked for, of 1[0-9][0-9] items"
    ):
        whole.with_labels("digit", 2000)


def test_labelled_items_are_seen_as_often_as_the_recipe_says():
    """Each batch ends in 30 labelled items; each of the 45 is seen as often as the others, give or
    take one.
    """
    trainer = Trainer(few())
    order = trainer.epoch_order(0)
    assert order.shape == (len(uw.data.digits()) // 70, 100)
    labelled = order[:, 70:].flatten()
    assert (trainer.train.labels["y"][labelled] >= 0).all()
    counts = torch.bincount(labelled, minlength=len(trainer.train))[trainer.train.known]
    assert counts.max() - counts.min() <= 1
    assert len(order[:, :70].unique()) == order[:, :70].numel()
    assert (trainer.epoch_order(0) == order).all()
    assert (trainer.epoch_order(1) != order).any()


@pytest.mark.parametrize("changes", [{"labelled": 100}, {"labelled": -1}, {"labels": {}}])
def test_impossible_shares_are_refused(changes):
    with pytest.raises(ValueError, match=r"labelled=.* expected fewer"):
        Trainer(few(**changes))


def test_a_share_of_no_labelled_items_is_refused():
    blank = few().data
    blank = dataclasses.replace(blank, factors=np.full_like(blank.factors, -1))
    with pytest.raises(
        ValueError, match=r"labelled=30, but no item has all of its labels \(digit\)"
    ):
        Trainer(few(data=blank))


@pytest.mark.parametrize("method", ["views", "yz", "zy", "m1"])
def test_methods_train(mnist, method, tmp_path):
    recipe = semi_supervised(method=method, samples=2 if method == "zy" else 1, **mnist)
    if method != "m1":
        assert np.bincount(recipe.data.factors[recipe.data.factors >= 0]).tolist() == [10] * 10
    if method != "views":
        recipe = dataclasses.replace(recipe, data=recipe.data.split(1500)[1], epochs=1)
    run = uw.fit(recipe, tmp_path / "run", evaluate=method == "views", quiet=True)
    if method != "views":
        return
    scores = json.loads((run.folder / "scores.json").read_text())
    wrong, error = scores["error"]["y"]
    assert 0 < error < 0.03
    assert wrong < 0.4
    titles = [finding["title"] for finding in scores["findings"]]
    assert titles[2:5] == [
        "Style fixed, digit varied",
        "Digit fixed, style varied",
        "Digit and style apart",
    ]


@pytest.fixture(scope="module")
def coder(tmp_path_factory):
    """The folder of a VAE of MNIST that was trained for nothing."""
    folder = tmp_path_factory.mktemp("vae")
    uw.save(uw.models.vae((28, 28), (30,), 5), folder)
    return str(folder)


def test_a_class_and_a_style_of_a_code_are_evaluated(mnist, coder, tmp_path):
    recipe = semi_supervised(method="m1m2", code=coder, neighbours=True, **mnist)
    truth = uw.data.mnist("train", root=mnist["data_dir"]).split(4000)[1].factors
    wrong_of_hundred = 100 * (recipe.data.factors != truth).mean()
    small = recipe.data.split(1500)[1]
    recipe = dataclasses.replace(recipe, data=small, test=recipe.test.split(200)[1], epochs=1)
    run = uw.fit(recipe, tmp_path / "run", quiet=True)
    error, bound, wrong, *_ = run.scores["findings"]
    assert (error["title"], bound["title"]) == ("Test error with 100 labels", "ELBO of test digits")
    assert np.isfinite(bound["value"])
    assert wrong["title"] == "Wrong labels passed on"
    assert wrong["value"] == pytest.approx(wrong_of_hundred)


def test_neighbours_name_every_digit(mnist, coder):
    few, all_named = (
        semi_supervised(method="yz", code=code, neighbours=code is not None, **mnist)
        for code in (None, coder)
    )
    known = few.data.factors >= 0
    assert (few.labelled, all_named.labelled) == (100, 0)
    assert (all_named.data.factors[known] == few.data.factors[known]).all()
    assert all_named.data.factors.min() >= 0


def test_validation_digits_are_training_digits(mnist):
    made = semi_supervised(validate=True, **mnist)
    assert (len(made.data), len(made.test)) == (3500, 500)
    assert made.test.name == semi_supervised(**mnist).data.name


def test_a_code_that_nothing_reads_is_refused(mnist):
    with pytest.raises(ValueError, match="'views' uses no codes: say neighbours=True"):
        semi_supervised(code="runs/vae-seed0", **mnist)


def test_m1_is_trained_once(mnist, tmp_path, monkeypatch, capsys):
    """The same VAE is asked for three times, another one by another seed."""
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path))
    first = semi_supervised(method="m1m2", **mnist)
    assert "trained once" in capsys.readouterr().err
    second = semi_supervised(method="m1m2", **mnist)
    semi_supervised(method="yz", neighbours=True, **mnist)
    assert not capsys.readouterr().err
    weights = [recipe.model().encoder.below.state_dict() for recipe in (first, second)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    semi_supervised(method="m1m2", seed=1, **mnist)
    assert "trained once" in capsys.readouterr().err


def test_the_classifier_alone_sees_labelled_items_only(mnist):
    recipe = semi_supervised(alone=True, labels=600, **mnist)
    assert len(recipe.data) == 600
    assert (recipe.data.factors >= 0).all()
    assert str(recipe.objective) == "log q(y|x)"
    assert recipe.epochs * (600 // recipe.batch) == 50


def test_a_seed_draws_labels_of_its_own(mnist):
    one, other = (semi_supervised(seed=seed, **mnist).data.factors for seed in (0, 1))
    assert (one != other).any()


def test_information_about_a_factor_is_that_of_data_whose_labels_are_there(tmp_path):
    """Labels that training lacks are no class of few items: the test data's are used, every class
    among them.
    """
    recipe = few(test=uw.data.digits("test"), epochs=3)
    scores = uw.fit(recipe, tmp_path / "run", quiet=True).scores
    assert all(row is not None for row in scores["I(y;z)"]["per_class"])
    assert scores["entropy_y"] == pytest.approx(np.log(10), abs=0.01)
