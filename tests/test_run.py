"""A run in Python: opened as it was returned, shown in words and pictures, told line by line."""

import dataclasses
import re

import pytest
import torch
from support.training import bits, model, tiny

import unweave as uw


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a<b"
    return uw.fit(tiny(epochs=2), folder, quick=True, quiet=True)


@pytest.mark.slow
def test_an_opened_run_is_the_run_that_fit_returned(run):
    opened = uw.open(run.folder)
    assert opened.history == run.history
    assert opened.scores == run.scores
    assert opened.measured == run.measured
    assert opened.config["objective"] == str(tiny().objective)
    x = tiny().data.x[:5]
    assert torch.equal(opened.model.encode(x), run.model.encode(x))


@pytest.mark.slow
def test_a_run_is_shown_in_words(run):
    elbo = run.measured.test["elbo"]
    assert f"{elbo.value:.2f} ± {elbo.error:.2f} nats, test" in repr(run)
    assert re.search("^epochs +2$", repr(run), flags=re.MULTILINE)
    gone = dataclasses.replace(run, folder=run.folder / "gone")
    assert f"{elbo.value:.2f}" in repr(gone)
    assert len(repr(run).splitlines()) < 40
    page = run._repr_html_()
    assert "a&lt;b" in page
    assert "a<b" not in page
    assert page.count("<tr>") == len(repr(run).splitlines()) - 1


@pytest.mark.slow
def test_a_run_has_its_recipe(run, tmp_path, monkeypatch):
    assert run.recipe.batch == tiny().batch
    with pytest.raises(ValueError, match="a recipe of its author's own, 'mine'"):
        _ = uw.open(run.folder).recipe
    monkeypatch.chdir(tmp_path)
    made = uw.recipes.digits_hfvae(epochs=1, seed=3)
    uw.fit(made, "run", evaluate=False, quiet=True)
    opened = uw.open(tmp_path / "run")
    assert opened.recipe.flags == made.flags
    assert opened.recipe is opened.recipe
    assert len(opened.recipe.test) == len(made.test)


def test_a_recipe_is_shown_in_words():
    shown = repr(tiny())
    assert shown.startswith("Recipe('mine')\ndata           Data(digits: 200 items of shape (8, 8)")
    assert "training       3 epochs of 5 steps of 32" in shown
    assert f"objective      {tiny().objective}" in shown
    page = dataclasses.replace(tiny(), name="a<b")._repr_html_()
    assert "<b>a&lt;b</b>" in page
    assert page.count("<tr>") == len(shown.splitlines()) - 1


@pytest.mark.slow
def test_a_run_has_a_frame_and_figures(run):
    frame = run.frame()
    assert list(frame.split) == ["train", "valid"] * 2
    assert frame.elbo.tolist() == [line["elbo"] for line in run.history]
    figures = run.figures()
    assert {"loss", "elbo", "recon"} <= set(figures)
    assert "seconds" not in figures
    assert figures["elbo"].axes[0].get_ylabel() == "elbo (nats)"


@pytest.mark.slow
def test_a_run_without_scores_opens_and_a_folder_without_a_run_does_not(tmp_path):
    run = uw.fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True)
    opened = uw.open(run.folder)
    assert opened.scores == run.scores == {}
    assert opened.measured.test == {}
    assert re.search("^epochs +1$", repr(opened), flags=re.MULTILINE)
    saved = uw.save(run.model, tmp_path / "saved")
    with pytest.raises(ValueError, match="holds a saved model, but no run: `load` returns"):
        uw.open(saved)
    with pytest.raises(FileNotFoundError, match="no unweave run"):
        uw.open(tmp_path / "nothing")


@pytest.mark.slow
def test_a_model_of_ones_own_opens_as_its_card_says(tmp_path):
    def own():
        built = model()
        built.config = None
        return built

    recipe = tiny(epochs=1)
    run = uw.fit(dataclasses.replace(recipe, model=own), tmp_path / "own", quick=True, quiet=True)
    card = (run.folder / "README.md").read_text()
    assert 'model = uw.load("own", model=model)' in card
    with pytest.raises(ValueError, match="holds a model of its author's own: build it"):
        uw.open(run.folder)
    opened = uw.open(run.folder, own())
    x = recipe.data.x[:5]
    assert torch.equal(opened.model.encode(x), run.model.encode(x))


@pytest.mark.slow
def test_the_log_is_told_line_by_line_and_changes_no_bit(tmp_path):
    told = []

    def on_log(line):
        torch.rand(3)
        told.append(line)

    plain = uw.fit(tiny(epochs=2), tmp_path / "plain", evaluate=False, quiet=True)
    uw.fit(tiny(epochs=1), tmp_path / "run", evaluate=False, quiet=True, on_log=on_log)
    assert len(told) == 2
    run = uw.fit(
        tiny(epochs=2), tmp_path / "run", resume=True, evaluate=False, quiet=True, on_log=on_log
    )
    assert told == run.history
    assert bits(run.folder) == bits(plain.folder)
