"""The recipe of a person's own data, with the tables that people have."""

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest
from PIL import Image
from support.pages import Page

import unweave as uw
from unweave.recipes import own


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"patient_id": rng.permutation(1000)[:40]})
    frame["name"] = [f"person {k}" for k in range(40)]
    frame["sex"] = ["m", "f"] * 20
    frame["height"] = rng.normal(170, 10, 40)
    frame["weight"] = rng.normal(70, 10, 40)
    frame.loc[3, "weight"] = np.nan
    frame.to_csv(tmp_path / "t.csv", sep=";", decimal=",", encoding="cp1252", na_rep="?")
    return str(tmp_path / "t.csv")


def test_identifiers_do_not_stop_it_and_columns_can_be_left_out(table, capsys):
    with pytest.raises(ValueError, match=r"missing in weight \(1\).*`--drop NAMES`.*`--missing"):
        own(data=table, drop="sex", missing="refuse")
    assert own(data=table, drop="sex, weight").data.shape == (1,)
    made = own(data=table, labels="sex", missing="mean")
    assert made.data.shape == (2,)
    assert made.data.names == ("sex",)
    said = capsys.readouterr().err
    assert "left out, as it only names or counts rows: patient_id, name" in said
    json.dumps(dict(made.flags))


def test_images_are_trained_on_in_views(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(30):
        pixels = rng.integers(0, 255, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    made = own(data=str(tmp_path), views="flip, shift=2", epochs=1, batch=9)
    assert (made.views.flip, made.views.shift, made.views.rotation) == (0.5, 2, 0)
    trained_on = []

    def views(x):
        trained_on.append(made.views(x))
        return trained_on[-1]

    run = uw.fit(replace(made, views=views), tmp_path / "run", evaluate=False, quiet=True)
    assert [x.shape for x in trained_on] == [(9, 20, 20, 3)] * made.per_epoch
    held = [made.data.floats(slice(None)).mean(), float(trained_on[0].mean())]
    assert held[0] == pytest.approx(held[1], abs=0.02)
    assert run.config["flags"]["views"] == "flip, shift=2"


def test_views_are_of_images(table):
    with pytest.raises(ValueError, match="are of images; these items are of shape"):
        own(data=table, drop="name", missing="mean", views="flip")


def patients(n=120):
    """Measurements, counts, a truth, a class and a date, some of them missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 2))
    frame = pandas.DataFrame({"height": 170 + 9 * z[:, 0] + rng.normal(size=n)})
    frame["weight"] = 70 + 8 * z[:, 0] + 4 * z[:, 1] + rng.normal(size=n)
    frame["crp"] = np.exp(1 + z[:, 1] + rng.normal(size=n))
    frame["visits"] = rng.poisson(2 * np.exp(0.2 * z[:, 1]))
    frame["falls"] = rng.negative_binomial(1, 0.2, n)
    frame["smoker"] = rng.random(n) < 0.3
    frame["blood"] = np.array(["A", "B", "0"])[rng.integers(0, 3, n)]
    frame["seen"] = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    frame["site"] = np.array(["north", "south"])[rng.integers(0, 2, n)]
    frame.loc[rng.random(n) < 0.2, "weight"] = np.nan
    frame.loc[rng.random(n) < 0.1, "blood"] = None
    return frame


def test_each_column_gets_a_likelihood_by_its_kind(tmp_path, capsys):
    patients().to_csv(tmp_path / "p.csv", index=False)
    made = own(data=str(tmp_path / "p.csv"), given="site", latents=3)
    kinds = made.model().config["kinds"]
    assert [tuple(kind) for kind in kinds] == [
        ("normal", 2),
        ("log_normal", 1),
        ("poisson", 1),
        ("negative_binomial", 1),
        ("bernoulli", 1),
        ("categorical", 3),
        ("normal", 1),
        ("given", 2),
    ]
    said = capsys.readouterr().err
    assert "missing numbers are kept, and left out of likelihoods: weight" in said
    assert "log_normal for crp; poisson for visits; negative_binomial for falls" in said
    assert "epochs: 200, as 108 items are 2 steps an epoch" in said
    other = own(data=str(tmp_path / "p.csv"), likelihood="visits=zero_inflated_poisson,normal")
    kinds = [tuple(kind) for kind in other.model().config["kinds"]]
    assert kinds[:3] == [("normal", 3), ("zero_inflated_poisson", 1), ("normal", 2)]


@pytest.mark.parametrize(
    ("likelihood", "message"),
    [
        ("gamma", "likelihood 'gamma': expected auto, normal"),
        ("normal,poisson", "for all columns; expected one"),
        ("height=poisson", r"height goes from .*, not all of them whole, and poisson is for whole"),
        ("visits=log_normal", "visits goes from 0 .* and log_normal is for numbers above 0"),
    ],
)
def test_a_likelihood_that_does_not_fit_is_refused_by_name(tmp_path, likelihood, message):
    patients().to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ValueError, match=message):
        own(data=str(tmp_path / "p.csv"), likelihood=likelihood)
    with pytest.raises(KeyError, match="no column 'hight'"):
        own(data=str(tmp_path / "p.csv"), likelihood="hight=normal")


def test_a_table_leads_from_a_raw_file_to_a_finding(tmp_path):
    """From a CSV with gaps to the page that says which columns a unit moves, and back to frames."""
    frame = patients()
    frame.to_csv(tmp_path / "p.csv", index=False)
    made = own(data=str(tmp_path / "p.csv"), given="site", latents=3, epochs=8)
    run = uw.fit(made, tmp_path / "run", quick=True, quiet=True)
    assert not {part for part in run.scores.get("skipped", {}) if "factor" not in part}
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert {"height", "blood=A", "Variance explained", "From → to"} <= set(page.words)
    assert "site=north" not in page.words  # it is given
    model = uw.load(tmp_path / "run")
    codes = model.encode(frame)
    assert codes.shape == (120, 3)
    assert codes.isfinite().all()
    data = uw.data.read(frame, like=model.inputs.prepared, say=lambda text: None)
    np.testing.assert_allclose(model.encode(data.floats()), codes, atol=1e-6)
    drawn = model.impute(frame, 50)
    weights = drawn[:, :, 1].numpy()  # (draws, patients)
    is_missing = frame.weight.isna().to_numpy()
    assert (weights.std(0)[is_missing] > 0.5).all()
    assert (np.ptp(weights, axis=0)[~is_missing] == 0).all()


def test_labels_of_an_array_are_a_file_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((30, 4)))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    made = own(data=str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"))
    assert made.data.names == ("label",)


def test_photographs_lead_from_a_folder_to_a_finding(tmp_path, capsys):
    """From a folder with a table of labels to a page with traversals in colour, and back."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    bright = rng.random(40)
    for k in range(40):
        pixels = np.clip(255 * bright[k] + rng.normal(0, 9, (20, 20, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k:03d}.png")
    kinds = pandas.DataFrame({"file": [f"{k:03d}.png" for k in range(40)]})
    kinds["light"] = np.where(bright > 0.5, "day", "night")
    kinds.to_csv(tmp_path / "labels.csv", index=False)
    made = own(data=str(folder), labels=str(tmp_path / "labels.csv"), size=16, latents=2, epochs=2)
    assert made.data.names == ("light",)
    run = uw.fit(made, tmp_path / "run", quick=True, quiet=True)
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert {"reconstructions", "units", "prior", "labels"} <= set(page.sections)
    assert run.model.inputs.prepared == {"size": [16, 16], "colour": True}
    again = uw.data.read(folder, like=run.model.inputs.prepared, say=lambda text: None)
    assert run.model.encode(again.floats()).shape == (40, 2)
    assert "networks: convolutions" in capsys.readouterr().err


def test_codes_lead_from_a_file_to_a_score(tmp_path):
    """Somebody else's codes and factors, from a CSV to metrics with names."""
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (300, 2))
    codes = pandas.DataFrame(factors + 0.1 * rng.normal(size=(300, 2)), columns=["a", "b"])
    codes.to_csv(tmp_path / "codes.csv", index=False)
    pandas.DataFrame(factors, columns=["shape", "size"]).to_csv(
        tmp_path / "factors.csv", index=False
    )
    card = uw.score(
        str(tmp_path / "codes.csv"), str(tmp_path / "factors.csv"), which=["mig"], level=None
    )
    assert card.codes == ("a", "b")
    assert card.factors == ("shape", "size")
    assert card.scores[0].value > 0.9


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (0, "no rows; expected a table"),
        (1, r"expected numbers that vary from row to row \(rows: 1\)"),
        (2, "too few items, 2: expected 4 or more, 2 to train on and 2 to test on"),
        (3, "too few items, 3: expected 4 or more"),
    ],
)
def test_few_items_are_refused_in_a_sentence_that_makes_sense(tmp_path, rows, said):
    lines = [f"{k + 0.5},{(k * k) % 5}\n" for k in range(rows)]
    (tmp_path / "few.csv").write_text("a,b\n" + "".join(lines))
    with pytest.raises(ValueError, match=said):
        own(data=str(tmp_path / "few.csv"))


@pytest.mark.parametrize(
    ("n", "said"), [(1, "data has one item to train on: expected 2 or more"), (2, "expected 2$")]
)
def test_few_items_in_python(tmp_path, n, said):
    data = uw.data.read(np.linspace(0, 1, 3 * n).reshape(n, 3), say=lambda text: None)
    recipe = uw.Recipe("few", data, lambda: uw.models.vae((3,), (4,), 2), uw.elbo)
    with pytest.raises(ValueError, match=said):
        uw.fit(recipe, tmp_path / "run", quiet=True)
