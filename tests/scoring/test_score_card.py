"""Scores of codes from elsewhere: whatever form they come in, with known answers, a page that says
what was found.
"""

import csv
import dataclasses
import html
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import unweave as uw
from unweave import plots
from unweave.metrics import battery
from unweave.metrics.information import mig, modularity
from unweave.scoring import card as scorecard
from unweave.scoring import inputs
from unweave.scoring import page as page_module

QUICK = ("mig", "sap")


def drawn(n=600, seed=0):
    """Two independent factors of 3 and 4 values, and codes that are each a function of one of them,
    in other order.
    """
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(0, 3, n), rng.integers(0, 4, n)], 1)
    return 2.0 * factors[:, ::-1] - 1, factors


def score(codes, factors, **settings):
    return uw.score(codes, factors, **{"which": QUICK, "level": None, **settings})


# -- values ----------------------------------------------------------------------------------------


def test_perfect_codes():
    """A code a factor: all of its entropy, nothing of the other's but what 600 items give by
    chance.
    """
    codes, factors = drawn()
    card = score(codes, factors)
    assert np.array_equal(card.information.argmax(0), [1, 0])
    assert card.information.max(0) == pytest.approx(card.entropies, abs=1e-12)
    assert card.information.min() < 12 / (2 * 600) * 3
    _, counts = np.unique(factors[:, 0], return_counts=True)
    p = counts / 600
    assert card.entropies[0] == pytest.approx(-(p * np.log(p)).sum(), abs=1e-12)
    assert 0.98 < card["MIG"].value <= 1


def test_rotation_and_copies_lose_the_gap():
    codes, factors = drawn()
    turned = codes @ np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    assert score(turned, factors)["MIG"].value < 0.5
    assert score(np.hstack([codes, codes]), factors)["MIG"].value == 0


def test_the_card_says_what_the_metrics_say():
    codes, factors = drawn()
    noisy = codes + np.random.default_rng(1).normal(size=codes.shape)
    card = score(noisy, factors, which=["mig", "modularity"])
    assert card["MIG"].value == mig(noisy, factors).value
    assert card["modularity"].value == modularity(noisy, factors).value
    assert str(card).splitlines()[0] == str(card["MIG"])
    with pytest.raises(KeyError, match="no score is called 'DCI'; there are: MIG"):
        card["DCI"]


def test_intervals_come_on_demand():
    codes, factors = drawn()
    noisy = codes + np.random.default_rng(1).normal(size=codes.shape)
    found = score(noisy, factors, which=["mig"], level=0.9)["MIG"]
    assert found.level == 0.9
    assert found.interval[0] < found.interval[1]
    assert score(noisy, factors, which=["mig"], level=0.9)["MIG"].interval == found.interval
    assert score(noisy, factors, which=["mig"])["MIG"].interval is None


def test_one_factor_leaves_out_what_needs_two():
    codes, factors = drawn()
    card = uw.score(codes, factors[:, 0], level=None)
    told = {s.name for s in card.scores}
    for name in ("modularity", "DCI disentanglement", "factor_vae_score", "beta_vae_score"):
        assert name not in told
        assert [text for text in card.warnings if text.startswith(f"{name} is left out")]
    assert "FactorVAE score" not in told
    assert [text for text in card.warnings if text.startswith("one factor only")]
    assert card.importance.shape == (codes.shape[1], 1)  # of one factor too
    with pytest.raises(
        ValueError, match="no score could be computed: modularity is left out: one factor"
    ):
        score(codes, factors[:, 0], which=["modularity"])


def test_notes_call_factors_by_name():
    codes, factors = drawn()
    factors[0, 1] = 7  # a class of one item
    card = score(
        codes,
        factors,
        which=["explicitness", "factor_vae_score"],
        level=None,
        factor_names=["shape", "size"],
    )
    assert len([text for text in card.warnings if "size" in text]) == 2
    assert not any("factor 0" in text or "factor 1" in text for text in card.warnings)


# -- forms of codes and factors --------------------------------------------------------------------

CODES, FACTORS = drawn(60)
SHAPES = np.array(["ellipse", "heart", "square"])[FACTORS[:, 0]]


def write_csv(path, head, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.mark.parametrize("ending", ["npy", "npz", "csv", "tsv", "parquet"])
def test_files_give_what_arrays_give(tmp_path, ending):
    frame = pd.DataFrame(CODES, columns=["first", "second"])
    path = tmp_path / f"codes.{ending}"
    match ending:
        case "npy":
            np.save(path, CODES)
        case "npz":
            np.savez(path, first=CODES[:, 0], second=CODES[:, 1])
        case "parquet":
            frame.to_parquet(path)
        case _:
            frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    card = score(path, FACTORS)
    assert card.codes == (("z[0]", "z[1]") if ending == "npy" else ("first", "second"))
    assert np.array_equal(card.information, score(CODES, FACTORS).information)
    assert card["MIG"].value == score(str(path), FACTORS)["MIG"].value


def test_text_classes_score_as_their_numbers(tmp_path):
    path = write_csv(
        tmp_path / "factors.csv", ["shape", "size"], zip(SHAPES, FACTORS[:, 1], strict=True)
    )
    card, same = score(CODES, path), score(CODES, FACTORS)
    assert card.factors == ("shape", "size")
    assert np.array_equal(card.information, same.information)
    assert card["SAP"].value == same["SAP"].value


def test_missing_text_and_numbers_are_left_out_of_their_factor(tmp_path):
    shapes, sizes = SHAPES.astype(object), FACTORS[:, 1].astype(object)
    shapes[:5], sizes[50:] = "", ""
    path = write_csv(tmp_path / "factors.csv", ["shape", "size"], zip(shapes, sizes, strict=True))
    card = score(CODES, path)
    alone = score(CODES[5:], FACTORS[5:, 0])
    assert card.information[:, 0] == pytest.approx(alone.information[:, 0], abs=1e-12)
    assert any("missing" in text and "shape 5, size 10" in text for text in card.warnings)


def test_a_column_without_a_name_is_called_as_its_file(tmp_path):
    np.save(tmp_path / "digit.npy", FACTORS[:, 0])
    assert score(CODES, tmp_path / "digit.npy").factors == ("digit",)
    assert score(CODES, FACTORS[:, 0]).factors == ("v[0]",)


def test_frames_tensors_and_lists():
    same = score(CODES, FACTORS)["MIG"].value
    assert score(pd.DataFrame(CODES), pd.DataFrame(FACTORS))["MIG"].value == same
    assert (
        score(torch.tensor(CODES, requires_grad=True), torch.tensor(FACTORS))["MIG"].value == same
    )
    assert score(torch.tensor(CODES, dtype=torch.bfloat16), FACTORS)["MIG"].value == same
    assert score(CODES.tolist(), FACTORS.tolist())["MIG"].value == same


def test_columns_are_chosen_and_named():
    frame = pd.DataFrame({"id": range(60), "label": SHAPES, "z0": CODES[:, 0], "z1": CODES[:, 1]})
    with pytest.raises(ValueError, match="codes label hold text: expected numbers; choose columns"):
        score(frame, FACTORS)
    card = score(frame, frame, code_names=["z*"], factor_names=["label"])
    assert (card.codes, card.factors) == (("z0", "z1"), ("label",))
    assert score(CODES, FACTORS, factor_names=["shape", "size"]).factors == ("shape", "size")
    assert score(CODES, FACTORS, factor_names=["v[1]"]).factors == ("v[1]",)
    with pytest.raises(
        ValueError,
        match=r"no column of the factors matches 'sise'; expected one of: v\[0\], v\[1\]",
    ):
        score(CODES, FACTORS, factor_names=["sise"])


def test_an_index_that_was_saved_along_is_left_out():
    frame = pd.DataFrame({"index": range(60), "z": CODES[:, 0]})
    card = score(frame, FACTORS)
    assert card.codes == ("z",)
    assert "code index numbers the rows and is left out" in card.warnings


def test_factors_that_say_nothing_are_left_out():
    names = np.random.default_rng(0).permutation([f"item {i}" for i in range(60)])
    card = score(CODES, {"shape": SHAPES, "file": names, "always": np.ones(60)})
    assert card.factors == ("shape",)
    assert any("factor file has a class of its own for each item" in text for text in card.warnings)
    assert "factor always has one class only and is left out" in card.warnings
    with pytest.raises(
        ValueError, match="nothing to score against: factor file has a class of its own"
    ):
        score(CODES, {"file": names})


def test_constant_codes_and_continuous_factors_are_said(tmp_path):
    card = score(np.column_stack([CODES, np.ones(60)]), {"x": CODES[:, 0] + 0.25, "shape": SHAPES})
    assert "code z[2] is constant" in card.warnings
    assert any(text.startswith("factor x is continuous") for text in card.warnings)
    assert np.all(card.information[2] == 0)


def test_few_items_are_said():
    """What noise that fills its cells tells by chance is about the share that the warning gives."""
    rng = np.random.default_rng(0)
    factor = np.arange(400) % 5
    card = score(rng.uniform(size=(400, 300)), factor)
    share = re.search(r"by chance: v\[0\] (\d+)%", " ".join(card.warnings)).group(1)
    told = card.information[:, 0] / card.entropies[0]
    error = told.std() / np.sqrt(300)
    # the warning is the bias's first order, (19 · 4) / (2 · 400) nats, rounded to a percent; the
    # second order is less than a tenth of it
    assert abs(told.mean() - int(share) / 100) < 5 * error + 0.005 + 0.1 * told.mean()
    assert not any("by chance" in text for text in score(*drawn(5000)).warnings)


@pytest.mark.parametrize(
    ("codes", "factors", "said"),
    [
        (
            CODES[:-1],
            FACTORS,
            "codes have 59 rows and factors 60: one row apart, is a line of names missing",
        ),
        (
            CODES[:30],
            FACTORS,
            "codes have 30 rows and factors 60: expected a row in both for each item",
        ),
        (CODES.reshape(60, 2, 1), FACTORS, r"shape \(60, 2, 1\)"),
        (np.where(CODES > 3, np.nan, CODES), FACTORS, "NaN or infinite"),
        (CODES, np.ones(60), "no factor"),
        ("nothing.npy", FACTORS, "nothing.npy"),
    ],
)
def test_errors_say_what_was_expected(codes, factors, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        score(codes, factors)


# -- encoders --------------------------------------------------------------------------------------


def test_an_encoder_is_called_in_chunks():
    sizes = []

    def encoder(x):
        sizes.append(len(x))
        return x.sum((1, 2))

    x = np.random.default_rng(0).normal(size=(600, 3, 2))
    assert np.array_equal(inputs.encode(encoder, x)[:, 0], x.sum((1, 2)))
    assert sizes == [256, 256, 88]


def test_a_torch_model_is_an_encoder(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(60, 5)
    model = torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.Dropout(0.5)).eval()
    card = score(x, FACTORS, encoder=model)
    assert np.array_equal(card.information, score(model(x), FACTORS).information)
    assert not any("training mode" in text for text in card.warnings)
    assert any(
        "training mode" in text for text in score(x, FACTORS, encoder=model.train()).warnings
    )
    np.save(tmp_path / "x.npy", x.numpy())
    read = score(tmp_path / "x.npy", FACTORS, encoder=lambda a: model.eval()(torch.from_numpy(a)))
    assert np.array_equal(read.information, card.information)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (
            lambda x: (x, x),
            r"returned a tuple of 2: expected codes \(60, codes\).*lambda x: encoder\(x\)\[0\]",
        ),
        (lambda x: x[:, :, None], r"shape \(60, 2, 1\) of 60 items"),
        (lambda x: x[:1], r"shape \(1, 2\) of 60 items: expected \(60, codes\)"),
    ],
)
def test_what_encoders_must_return(encoder, said):
    with pytest.raises(ValueError, match=said):
        score(CODES, FACTORS, encoder=encoder)


# -- files and page --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def card():
    codes, factors = drawn()
    noise = np.random.default_rng(2).normal(size=(len(codes), 3))
    z = np.column_stack(
        [
            codes[:, 0] + 0.3 * noise[:, 0],
            codes[:, 1] + 0.6 * noise[:, 1],
            noise[:, 2],
            0 * noise[:, 0],
        ]
    )
    return uw.score(z, factors, which=QUICK, factor_names=["shape", "size"])


def text_of(page):
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", page, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)))


def test_the_page_says_what_was_found(card):
    page = scorecard.render(card)
    text = text_of(page)
    for s in card.scores:
        low, high = s.interval
        for part in (
            s.name,
            s.convention,
            f"{s.value:.3f}",
            f"{low:.3f} to {high:.3f}",
            card.asks[s.name],
        ):
            assert part in text
    assert "4 codes against 2 factors: shape, size" in text
    assert "Code z[3] is constant" in text
    cells = re.findall(r">(\d\.\d\d)<", page)
    for value in (*card.information.max(0), *card.entropies):
        assert f"{value:.2f}" in cells
    assert f"the best code of each: shape: z[1] {card.information[1, 0]:.2f}" in page


def test_the_page_is_one_file_that_runs_nothing():
    evil = "<script>alert('$1')</script>\"&--><img src=x>"
    codes, factors = drawn(60)
    page = scorecard.render(
        score({evil: codes[:, 0], "b": codes[:, 1]}, {evil: factors[:, 0], "v": factors[:, 1]})
    )
    assert not re.search(r"<script|<img|https?:|@import|<link|<iframe", page)
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert not re.search("#010203|#fcfdfe", page)  # charts take the page's colours
    assert "prefers-color-scheme: dark" in page


def test_importance_is_shown_where_a_score_has_it(card):
    assert "Which codes a predictor uses" not in scorecard.render(card)
    importance = np.array([[0.0, 3.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    page = scorecard.render(dataclasses.replace(card, importance=importance))
    assert "Which codes a predictor uses" in page
    assert {"1.00", "0.75", "0.25"} <= set(
        re.findall(r">(\d\.\d\d)<", page.partition('id="importance"')[2])
    )


def test_many_codes_show_those_that_tell_most():
    codes, factors = drawn()
    noise = np.random.default_rng(0).normal(size=(600, 60))
    card = score(np.column_stack([noise, codes]), factors)
    order = page_module._order(card.information, card.entropies)
    assert order[:2] == [61, 60]
    assert len(order) == page_module.SHOWN
    assert "40 of 62 codes are shown" in text_of(scorecard.render(card))


def test_files(card, tmp_path):
    page = scorecard.write(card, tmp_path / "new" / "folder")
    assert page.read_text(encoding="utf-8") == scorecard.render(card)
    assert sorted(path.name for path in page.parent.iterdir()) == [
        "score.html",
        "scores.csv",
        "scores.json",
    ]
    found = json.loads((page.parent / "scores.json").read_text())
    assert [s["value"] for s in found["scores"]] == [s.value for s in card.scores]
    assert found["information"] == card.information.tolist()
    assert found["factors"] == ["shape", "size"]
    rows = list(csv.DictReader((page.parent / "scores.csv").read_text().splitlines()))
    assert [(r["metric"], float(r["value"]), float(r["low"])) for r in rows] == [
        (s.name, s.value, s.interval[0]) for s in card.scores
    ]


def test_the_command_repeats_it(tmp_path):
    np.save(tmp_path / "my codes.npy", CODES)
    np.save(tmp_path / "v.npy", FACTORS)
    made = score(
        tmp_path / "my codes.npy", tmp_path / "v.npy", code_names=["z[0]", "z[1]"], seed=3
    ).source["command"]
    assert made == (
        f"unweave score '{tmp_path}/my codes.npy' {tmp_path}/v.npy --metric mig --metric sap "
        "--seed 3 --code 'z[0]' --code 'z[1]' --no-intervals"
    )
    assert (
        score(tmp_path / "my codes.npy", tmp_path / "v.npy", bins=10).source["command"] is None
    )  # has no flag
    assert score(CODES, FACTORS).source["command"] is None


def test_every_metric_asks_something():
    for name in battery.METRICS:
        assert len(battery.question(name)) > 20, name


# -- charts ----------------------------------------------------------------------------------------


def test_gaps_are_drawn_where_they_are():
    information = np.array([[0.5, 0.1], [0.2, 0.1], [0.0, 0.8]])
    ax = plots.factor_gaps(information, ["a", "b", "c"], ["v", "w"], [1.0, 2.0])
    thick = [bar for bar in ax.patches if bar.get_height() == 0.5]
    assert [(bar.get_x(), bar.get_width()) for bar in thick] == [
        pytest.approx((0.2, 0.3)),
        pytest.approx((0.05, 0.35)),
    ]
    assert [text.get_text() for text in ax.texts] == ["a, then b", "c, then a"]


def test_heat_maps_write_their_values():
    information = np.array([[0.5, 0.001], [0.25, 0.1]])
    ax = plots.code_factor_information(information, ["a", "b"], ["v", "w"], [0.5, 2.0])
    assert [t.get_text() for t in ax.texts] == [
        "0.50",
        "·",
        "0.25",
        "0.10",
        "0.50",
        "2.00",
        "entropy",
    ]
    assert ax.collections[0].get_array().filled().ravel() == pytest.approx([1, 0.0005, 0.5, 0.05])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.code_factor_importance(np.zeros((2, 3)), ["a"], ["v"]),
            r"\(2, 3\): expected \(1 codes, 1",
        ),
        (
            lambda: plots.code_factor_information(np.zeros((1, 1)), ["a"], ["v"], [1, 2]),
            "an entropy for each of 1",
        ),
        (
            lambda: plots.factor_gaps(np.zeros((1, 1)), ["a", "b"], ["v"], [1]),
            r"expected \(2 codes, 1 factors\)",
        ),
    ],
)
def test_charts_check_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_swapped_codes_and_factors_are_suspected(tmp_path):
    codes, factors = drawn()
    codes = codes + 0.1 * np.random.default_rng(0).normal(size=codes.shape)
    swapped = inputs.read(factors, codes)
    assert swapped.remarks[0].startswith("are codes and factors swapped? Codes z[0], z[1] have few")
    angles = np.column_stack([factors[:, 0], factors[:, 1] / 7])  # factors as fractions
    assert "swapped?" in inputs.read(angles, codes).remarks[0]
    for z, v in ((codes, factors), (codes, angles), (factors, angles), (codes, codes)):
        assert not any("swapped" in remark for remark in inputs.read(z, v).remarks)
    write_csv(tmp_path / "codes.csv", ["a", "b"], factors.tolist())
    write_csv(tmp_path / "factors.csv", ["c", "d"], codes.tolist())
    card = score(tmp_path / "codes.csv", tmp_path / "factors.csv")
    assert card.warnings[0].startswith("are codes and factors swapped? Codes a, b have few values")


def test_columns_of_codes_that_name_items_are_left_out():
    codes, factors = drawn()
    names = [f"item {k}" for k in range(600)]
    permuted = np.random.default_rng(0).permutation(600) + 1000
    table = {"name": names, "a": codes[:, 0], "item_id": permuted, "b": codes[:, 1]}
    read = inputs.read(table, factors)
    assert read.code_names == ("a", "b")
    assert read.remarks[0] == "code name, item_id numbers the rows and is left out"
