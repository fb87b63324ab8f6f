"""The page of a run: complete, self-contained, honest about gaps, safe with hostile strings."""

import inspect
import json
import re

import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from support.browsing import chromium
from support.pages import Page

from unweave import plots
from unweave.pages import run as report
from unweave.pages import terms
from unweave.runs.arrays import named
from unweave.runs.scores import typed

UNITS = ["y", *(f"z[{d}]" for d in range(6))]
SECTIONS = [
    "reconstructions",
    "units",
    "prior",
    "information",
    "labels",
    "terms",
    "embedding",
    "curves",
    "about",
]


def warp(image, unit, value):
    """A stand-in for a decoder: each unit slants, turns, thickens, stretches or shifts a digit."""
    t = 0.35 * value
    matrix = {
        "z[0]": [[1, 0], [t, 1]],
        "z[1]": [[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]],
        "z[3]": [[1, 0], [0, np.exp(t / 2)]],
    }.get(unit, [[1, 0], [0, 1]])
    centre = (np.array(image.shape) - 1) / 2
    image = ndimage.affine_transform(image, matrix, centre - np.array(matrix) @ centre, order=1)
    if unit == "z[2]":
        image = ndimage.gaussian_filter(image, 0.8) * np.exp(1.2 * t)
    return np.clip(image, 0, 1)


def make_run(folder, side=24):
    """Make a run folder of scikit-learn's digits and invented numbers, as evaluation writes it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    digits = load_digits()
    small = digits.images / 16
    x = np.clip(ndimage.zoom(small[:48], (1, side / 8, side / 8), order=3), 0, 1).astype(np.float32)
    blurred = ndimage.gaussian_filter(x, (0, side / 20, side / 20))
    first = [int(np.flatnonzero(digits.target[:48] == c)[0]) for c in (0, 2, 3, 4, 7)]
    quantiles = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98])
    at = np.linspace(-2.05, 2.05, 11)
    classes = blurred[[int(np.flatnonzero(digits.target[:48] == c)[0]) for c in range(10)]]
    arrays = {
        "x": x,
        "reconstruction": np.clip(1.2 * blurred, 0, 1),
        "labels": digits.target[:48],
        "prior_samples": np.clip(1.2 * blurred[rng.permutation(48)], 0, 1),
        "traversal_quantiles": quantiles,
        "traversal/y": np.array(
            [[warp(c, "z[0]", s) for c in classes] for s in (-1.2, -0.6, 0.0, 0.6, 1.2)]
        ),
        "traversal_at/y": np.arange(10),
        "embedding": PCA(2, random_state=0).fit_transform(digits.data),
        "embedding_labels": digits.target,
        "embedding_kind": np.array("t-SNE of codes"),
    }
    for unit in UNITS[1:]:
        arrays[f"traversal/{unit}"] = np.array([[warp(x[i], unit, v) for v in at] for i in first])
        arrays[f"traversal_at/{unit}"] = at
    np.savez(folder / "evaluation.npz", **arrays)

    information = dict(zip(UNITS, [1.91, 1.62, 2.31, 0.84, 1.47, 0.004, 0.012], strict=True))
    per_unit = (
        np.abs(rng.normal(0.2, 0.25, (len(UNITS), 10)))
        * np.array(list(information.values()))[:, None]
    )
    per_unit[0] = rng.uniform(1.2, 2.2, 10)
    table = np.stack([per_unit[0], per_unit[1:].sum(0) * 0.6, np.full(10, 2.2), *per_unit])
    exact = {"recon": -85.13, "mi": 9.71, "tc[0]": 0.0412, "tc[1]": 0.613, "kl[2]": 0.218}
    exact["elbo"] = exact["recon"] - sum(v for k, v in exact.items() if k != "recon")
    error = {
        "recon": 0.31,
        "mi": 0.011,
        "tc[0]": 0.0021,
        "tc[1]": 0.014,
        "kl[2]": 0.006,
        "elbo": 0.36,
    }
    bias = {"mi": -0.92, "tc[0]": 0.41, "tc[1]": 0.73, "kl[2]": 0.02}
    scores = {
        "terms": {
            k: {
                "exact": v,
                "se": error[k],
                "minibatch": v + bias.get(k, 0.1),
                "minibatch_sd": 9 * error[k],
            }
            for k, v in exact.items()
        },
        "exact_n": 55000,
        "exact_points": 2000,
        "batch": 128,
        "log_n": float(np.log(55000)),
        "units": UNITS,
        "unit_group": ["y"] + ["z"] * 6,
        "I(x;z)": {u: [v, 0.004 + 0.01 * v] for u, v in information.items()},
        "I(y;z)": {
            "names": ["y", "z", "y,z", *UNITS],
            "kinds": ["group", "group", "all"] + ["unit"] * 7,
            "total": table.mean(1).tolist(),
            "per_class": table.T.tolist(),
        },
        "classes": [str(c) for c in range(10)],
        "factor": "digit",
        "entropy_y": 2.3023,
        "test": {"elbo": [-98.41, 0.41], "recon": [-87.9, 0.36], "kl": [10.51, 0.05]},
        "accuracy": {"y": 0.613},
        "conditional_entropy": {"y": 0.412},
    }
    (folder / "scores.json").write_text(json.dumps(scores))

    lines, start = (
        [],
        {"recon": -400.0, "mi": 1.0, "tc[0]": 1.5, "tc[1]": 3.0, "kl[2]": 2.0, "elbo": -410.0},
    )
    for step in range(86, 4301, 86):  # 430 steps an epoch, ten epochs
        for split in ["train", "valid"] if step % 430 == 0 else ["train"]:
            noise = 0.25 if split == "train" else 0.02
            line = {"split": split, "step": step, "epoch": (step - 1) // 430, "seconds": step / 50}
            for k, v in exact.items():
                line[k] = (
                    v
                    + (start[k] - v) * np.exp(-step / 300)
                    + noise * rng.normal() * (20 * error[k]) ** 0.5
                )
            lines.append({**line, "loss": -line["elbo"], "items_per_second": 9000.0})
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"split": "tr'
    )

    config = {
        "unweave": "0.1.0",
        "recipe": "mnist",
        "flags": {
            "beta": 12.0,
            "gamma": 4.0,
            "lr": 5e-4,
            "enumerate_y": True,
            "limit": None,
            "seed": 0,
        },
        "model": {"family": "hfvae", "shape": [side, side], "styles": 6, "classes": 10},
        "groups": ["y", "z"],
        "objective": "log p(x|z) - log q(z|x) - 11·log q(z) + 8·(log q(y) + log q(z)) "
        "+ 4·Σ log q(z_d) + Σ log p(z_d)",
        "circled": "① + ③ + ② + 12Ⓐ + 4ⓘ + ⓘⓘ",
        "data": {"name": "mnist", "n": 55000, "held_out": 5000, "shape": [side, side]},
        "estimator": "minibatch(n=55000, weights=balanced), B=128",
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
        "machine": "2 x AMD EPYC",
        "started": "2026-11-22T18:30:00",
        "seconds": 312.5,
        "parameters": 1234567,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "mnist")


@pytest.fixture(scope="module")
def html(run):
    return report.write(run).read_text(encoding="utf-8")


def parts(run):
    """Return the contents of the four files of a run."""
    with np.load(run / "evaluation.npz") as file:
        arrays = dict(file)
    config, scores = (
        json.loads((run / name).read_text()) for name in ("config.json", "scores.json")
    )
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()[:-1]]
    return config, history, scores, arrays


def render(config, history, scores, arrays):
    """Return the page of a run from the contents of its files."""
    return report.render(config, history, typed(scores), named(arrays))


def test_page_is_complete(html):
    page = Page(html)
    assert page.sections == SECTIONS
    assert set(SECTIONS) == {a["href"][1:] for a in page.all("a")}
    assert "<title>mnist · hfvae · unweave</title>" in html
    assert "unweave train mnist --beta 12 --gamma 4 --lr 0.0005 --enumerate-y --seed 0" in page.text
    for text in (
        "−85.1 ±\N{NO-BREAK SPACE}0.3",
        "61.3%",
        "how far y and z are from independent",
        "at most log N = 10.9",
        "5 min 12 s",
    ):
        assert text in page.text
    assert len(html) < 3e6


def test_page_asks_for_nothing_outside_itself(html):
    assert not re.search(r"https?:|@import|<script|<link|<iframe", html)
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


def test_pictures_are_described_and_ids_unique(html):
    page = Page(html)
    assert all(image["alt"] for image in page.all("img"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = re.findall(r"url\(#([^)]*)\)", html) + [
        attributes[name][1:]
        for _, attributes in page.elements
        for name in ("href", "xlink:href")
        if attributes.get(name, "").startswith("#")
    ]
    assert set(wanted) <= set(ids)


def test_charts_take_their_colours_from_the_page(html):
    assert "currentColor" in html
    assert not re.search("#010203|#fcfdfe|DejaVu", html)


def test_units_stand_by_information_within_their_group(html):
    names = [a["aria-label"].split()[1] for a in Page(html).all("input")]
    assert names == ["y", "z[1]", "z[0]", "z[3]", "z[2]", "z[5]", "z[4]"]


def test_terms_add_up_to_the_elbo(run):
    config, _, scores, _ = parts(run)
    rows = terms.terms(config, typed(scores))
    assert [row["name"] for row in rows] == ["recon", "mi", "tc[0]", "tc[1]", "kl[2]", "elbo"]
    assert sum(row["sign"] * row["exact"] for row in rows) == pytest.approx(
        rows[-1]["exact"], abs=1e-9
    )
    assert rows[-2]["span"][1] == pytest.approx(rows[-1]["span"][1], abs=1e-9)


@pytest.mark.parametrize(
    ("gone", "sections"),
    [
        (("reconstruction",), {"reconstructions"}),
        (("prior_samples",), {"prior"}),
        (("traversal/",), {"units"}),
        (("embedding",), {"embedding"}),
        (("I(x;z)",), {"information"}),
        (("I(y;z)",), {"labels"}),
        (("terms",), {"terms"}),
        (("recon", "mi", "tc", "kl", "elbo", "loss"), {"reconstructions", "curves", "terms"}),
    ],
)
def test_missing_parts_leave_their_section_out(run, gone, sections):
    def keep(mapping):
        return {k: v for k, v in mapping.items() if not k.startswith(gone)}

    config, history, scores, arrays = parts(run)
    scores = keep({**scores, "terms": keep(scores["terms"])})
    scores = {k: v for k, v in scores.items() if v != {}}
    page = Page(render(config, [keep(line) for line in history], scores, keep(arrays)))
    assert set(SECTIONS) - set(page.sections) == sections
    assert {a["href"][1:] for a in page.all("a")} == set(page.sections)


def test_an_autoencoder_has_no_information_to_show(run):
    config, history, scores, arrays = parts(run)
    config |= {"groups": None, "circled": "", "model": {"family": "autoencoder"}}
    history = [
        {k: v for k, v in line.items() if k in ("split", "step", "epoch", "recon", "loss")}
        for line in history
    ]
    del arrays["prior_samples"]
    page = Page(render(config, history, {"test": {"recon": scores["test"]["recon"]}}, arrays))
    assert page.sections == ["reconstructions", "units", "embedding", "curves", "about"]
    assert len(page.all("input")) == len(UNITS)
    assert "I(x;z" not in page.text


def test_what_was_scored_on_training_data_is_called_so(run):
    config, history, scores, arrays = parts(run)
    assert (
        "test data"
        not in Page(render({**config, "data": {"test": 0}}, history, scores, arrays)).text
    )


def test_metrics_and_what_units_tell_of_factors(run):
    from unweave.metrics import battery
    from unweave.metrics.score import described

    config, history, scores, arrays = parts(run)
    rng = np.random.default_rng(0)
    found = battery.scores(
        rng.normal(size=(200, 3)), rng.integers(0, 3, (200, 2)), which=["mig", "dci", "jemmig"]
    )
    scores["metrics"] = {s.name: described(s) | {"asks": "A question?"} for s in found}
    scores["metrics"]["MIG"]["notes"] = scores["metrics"]["JEMMIG"]["notes"] = ["a note on both"]
    undefined = {
        "name": "info_modularity",
        "value": None,
        "range": [None, None],
        "convention": "none",
    }
    scores["metrics"]["info_modularity"] = undefined | {"notes": ["one factor"], "parts": {}}
    scores["I(v;z)"] = {
        "names": ["y", "z", *UNITS[1:]],
        "factors": ["shape", "size"],
        "total": rng.uniform(0, 1, (2, len(UNITS) + 1)).tolist(),
        "entropy": [1.1, 1.05],
    }
    html = render(config, history, scores, arrays)
    page = Page(html)
    at = page.sections.index("labels")
    assert page.sections[at : at + 4] == ["labels", "factors", "terms", "metrics"]
    for score in found:
        assert score.convention in page.words
        assert f"{score.value:.3f}".replace("-", "−") in page.words
    assert "MIG, JEMMIG: a note on both" in page.text
    assert "info modularity is left out: one factor" in page.text
    best = max(zip(scores["I(v;z)"]["total"][1], scores["I(v;z)"]["names"], strict=True))
    assert f"size: {best[1]} {best[0]:.2f}" in html
    assert html.count("A question?") == 3


def test_the_error_of_labelled_sites_is_a_tile(run):
    config, history, scores, arrays = parts(run)
    page = Page(render(config, history, scores | {"error": {"y": [0.0241, 0.0015]}}, arrays))
    assert {"Error of y", "2.41%", "± 0.15"} <= set(page.words)


def test_an_empty_run_still_has_a_page():
    assert Page(render({}, [], {}, {})).sections == ["about"]


@pytest.mark.parametrize("width", [6, 5000])
def test_vectors_are_shown_column_by_column(run, width):
    config, history, scores, arrays = parts(run)
    rng = np.random.default_rng(0)
    shapes = {
        "x": (32, width),
        "reconstruction": (32, width),
        "prior_samples": (40, width),
        "traversal/z[0]": (4, 11, width),
    }
    arrays = {k: v for k, v in arrays.items() if not k.startswith("traversal/")}
    arrays |= {name: rng.normal(size=shape) for name, shape in shapes.items()}
    page = Page(render(config, history, scores, arrays))
    assert page.sections == SECTIONS
    assert {"Variance explained", "From → to"} <= set(page.words)
    assert any(re.fullmatch(r"x\[\d+\]", word) for word in page.words)


def test_total_correlations_beside_a_prior_that_has_some_are_said_to_be_less_it(run):
    config, history, scores, arrays = parts(run)
    plain = Page(render(config, history, scores, arrays)).text
    assert "0 is independent" in plain
    assert "prior has of it" not in plain
    chained = Page(render(config, history, scores | {"prior_factorises": False}, arrays)).text
    assert "0 is independent" not in chained
    assert "nats, less the prior's own" in chained
    assert "from independent, less what the prior has of it" in chained


def test_colour_images(run):
    config, history, scores, arrays = parts(run)
    arrays = {k: np.stack([v] * 3, -1) if v.ndim > 2 else v for k, v in arrays.items()}
    html = render(config, history, scores, arrays)
    assert Page(html).sections == SECTIONS
    assert 'class="ink"' not in html  # a photograph is never shown as its negative


@pytest.mark.parametrize(("side", "values"), [(64, 6), (32, 11)])
def test_large_images_in_colour_show_each_second_value(run, side, values):
    config, history, scores, arrays = parts(run)
    rng = np.random.default_rng(0)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("traversal/")}
    images = rng.random((5, 11, side, side, 3))
    arrays |= {"x": images[:, 0], "traversal/z[0]": images}
    for name in ("reconstruction", "prior_samples"):
        del arrays[name]
    page = Page(render(config, history, scores, arrays))
    alts = [image["alt"] for image in page.all("img")]
    assert f"Traversal of z[0]: 5 items by {values} values" in alts
    assert ("2%, 20%, 40%, 60%, 80%, 98%" in page.text) == (values == 6)


def test_hostile_strings_are_shown_not_run(run):
    evil = "<script>alert('$1_{')</script>\"&--><img src=x>]]>"
    config, history, scores, arrays = parts(run)
    config = {**config, "recipe": evil, "circled": evil + "Ⓐ", "objective": evil, "machine": evil}
    config |= {
        "data": {"name": evil},
        "flags": {"note": evil},
        "groups": [evil, "z"],
        "model": {"family": evil},
    }
    scores |= {
        "factor": evil,
        "classes": [evil] * 10,
        "units": [evil, *UNITS[1:]],
        "accuracy": {evil: 0.5},
    }
    scores["I(x;z)"][evil] = [1.0, 0.1]
    scores["I(y;z)"]["names"][0] = evil
    scores["terms"][evil] = {"exact": 1.0}
    scores["conditional_entropy"] = {evil: 0.5}
    arrays |= {f"traversal/{evil}": arrays["traversal/y"], "embedding_kind": np.array(evil)}
    html = render(config, [{**line, evil: 1.0} for line in history], scores, arrays)
    page = Page(html)
    assert not page.all("script")
    assert all(image.get("src", "").startswith("data:") for image in page.all("img"))
    assert evil in page.text


@pytest.mark.parametrize("name", ["config.json", "scores.json", "evaluation.npz"])
def test_a_missing_file_names_the_command_that_makes_it(tmp_path, name):
    run = make_run(tmp_path / "run")
    (run / name).unlink()
    command = "unweave train" if name == "config.json" else f"unweave evaluate {run}"
    with pytest.raises(FileNotFoundError, match=re.escape(name) + ".*" + re.escape(command)):
        report.write(run)


def test_a_failed_write_leaves_the_old_report_alone(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run")
    (run / "report.html").write_text("old")
    before = sorted(run.iterdir())

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space"):
            report.write(run)
    assert (run / "report.html").read_text() == "old"
    assert sorted(run.iterdir()) == before
    report.write(run)
    assert sorted(run.iterdir()) == sorted([*before, run / "README.md"])
    assert (run / "report.html").read_text().startswith("<!doctype html>")


def test_the_same_run_gives_the_same_page(run, html):
    assert report.write(run).read_text(encoding="utf-8") == html


def test_curves_frame_what_comes_after_the_start():
    history = [
        {"split": "train", "step": s, "epoch": s // 10, "loss": 1e4 if s == 0 else 5.0 + s % 2}
        for s in range(100)
    ]
    low, high = plots.curves(history, "loss").get_ylim()
    assert 4 < low < 5
    assert 6 < high < 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.image_grid(np.zeros((4, 9)), 2), r"\(4, 9\).*expected \(m, h, w\)"),
        (lambda: plots.traversal(np.zeros((4, 8, 8))), r"expected \(rows, columns, h, w\)"),
        (
            lambda: plots.reconstructions(np.zeros((4, 8, 8)), np.zeros((3, 8, 8))),
            "expected the same",
        ),
        (lambda: plots.scatter(np.zeros((4, 3))), r"expected \(n, 2\)"),
        (
            lambda: plots.class_information(np.zeros((2, 3)), np.zeros(3), ["a"], ["0", "1"]),
            "2 classes, 1 names",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_show_draws_a_picture_as_it_is():
    picture = plots.image_grid(np.random.default_rng(0).random((4, 8, 8)), 2)
    assert np.array_equal(plots.show(picture).get_images()[0].get_array(), picture)


@pytest.mark.parametrize("module", [plots, report])
def test_no_torch_and_no_pyplot(module):
    lines = [line for line in inspect.getsource(module).splitlines() if "import" in line.split()]
    assert not [line for line in lines if "torch" in line or "pyplot" in line]


if __name__ == "__main__":  # look at one: python tests/pages/test_run_page.py FOLDER
    import sys
    from pathlib import Path

    print(report.write(make_run(Path(sys.argv[1]))))


# -- headlines that say something ------------------------------------------------------------------


def test_a_level_that_splits_no_group_has_no_tile(run):
    config, history, scores, arrays = parts(run)
    assert "TC between groups" in Page(render(config, history, scores, arrays)).words
    zero = {"exact": 0.0, "se": 0.0, "minibatch": 0.0, "minibatch_sd": 0.0}
    for term, kept in (("tc[0]", "0.613"), ("tc[1]", "0.041")):
        changed = scores | {"terms": scores["terms"] | {term: zero}}
        page = Page(render({**config, "groups": ["z"]}, history, changed, arrays))
        assert "TC between groups" not in page.words
        assert "TC within groups" not in page.words
        assert page.words[page.words.index("Total correlation") + 1].startswith(kept)
        assert "0 for any codes: this level of the groups splits none of them." in page.words


def test_remarks_stand_above_the_numbers(run):
    config, history, scores, arrays = parts(run)
    html = render(config, history, scores | {"remarks": ["Nothing <i>was</i> learnt."]}, arrays)
    remark = html.index("Nothing &lt;i&gt;was&lt;/i&gt; learnt.")
    assert remark < html.index('<dl class="tiles">')
    assert 'class="remarks"' not in render(config, history, scores, arrays)


def test_metrics_that_one_factor_cannot_tell_have_no_value(run):
    from unweave.metrics import battery
    from unweave.metrics.score import described

    config, history, scores, arrays = parts(run)
    rng = np.random.default_rng(0)
    z, v = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    found = battery.scores(z, v, which=["dci", "factor_vae_score"])
    scores["metrics"] = {s.name: described(s) for s in found}
    page = Page(render(config, history, scores, arrays))
    assert "1.000" not in page.words
    assert f"completeness {found[0].parts['completeness']:.3f}" in page.text
    assert "DCI disentanglement is left out: one factor that varies" in page.text
    assert "factor vae score is left out: factor 0 alone can be held" in page.text


@pytest.mark.parametrize(
    ("module", "name", "part"),
    [
        ("units", "drawable", "pictures"),
        ("units", "cards", "what latent units do"),
        ("terms", "tiles", "tiles"),
        ("terms", "terms", "the bound"),
        ("diagrams", "information", "information in units"),
        ("diagrams", "embedding", "codes in the plane"),
        ("diagrams", "curves", "curves"),
        ("exhibits", "exhibits", "findings"),
    ],
)
def test_a_part_that_cannot_be_drawn_is_named_and_the_rest_is_there(
    run, monkeypatch, module, name, part
):
    def broken(*_):
        raise ZeroDivisionError("no such <picture>")

    monkeypatch.setattr(getattr(report, module), name, broken)
    html = render(*parts(run))
    assert f"{part}: no such &lt;picture&gt;" in html
    page = Page(html)
    assert len(page.sections) >= 5
    assert {"skipped", "about"} <= set(page.sections)


# -- on phones -------------------------------------------------------------------------------------


def test_regions_that_may_be_wider_than_the_page_are_reached_by_keyboard(html):
    regions = [held for held in Page(html).all("div", "figure") if held.get("class") == "scroll"]
    assert len(regions) == 3
    for region in regions:
        assert (region["tabindex"], region["role"]) == ("0", "region")
        assert region["aria-label"]


@pytest.mark.slow
def test_numbers_fit_a_phone_and_what_does_not_fades_until_its_end(run):
    report.write(run)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto((run / "report.html").resolve().as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        cells = page.locator("#terms td")
        assert cells.count() == 6 * 6
        for cell in cells.all():
            box = cell.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        faded = "region => getComputedStyle(region).getPropertyValue('--fade')"
        table, chart = page.locator("#terms .scroll"), page.locator("#labels .scroll")
        assert table.evaluate(faded) == "0px"
        assert chart.evaluate(faded) == "48px"
        chart.evaluate("region => region.scrollTo(1000, 0)")
        page.wait_for_timeout(200)
        assert chart.evaluate(faded) == "0px"
