"""The report of a study: numbers as they are in the runs, honest about what is missing, complete
and self-contained.
"""

import csv
import itertools
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from unweave.runs.findings import Number, Table, packed
from unweave.runs.scores import typed
from unweave.studies import charts, tables
from unweave.studies import page as study_report
from unweave.studies import results as results_module
from unweave.studies.grid import Study
from unweave.studies.results import caption, collect, command, markdown, summary
from unweave.studies.work import jobs_of, prepare

METHODS = {
    "VAE": {"objective": "vae"},
    "β-VAE": {"objective": "beta_vae({beta})", "beta": 4},
    "<HFVAE> & views": {"objective": "hfvae(1, 3, 6)"},
}
SEEDS = (0, 1, 2)
MIG = {
    "VAE": (0.10, 0.20, 0.15),
    "β-VAE": (0.12, 0.21, 0.18),
    "<HFVAE> & views": (0.40, 0.52, 0.43),
}
ELBO = {
    "VAE": (-90.0, -95.0, -91.0),
    "β-VAE": (-91.0, -92.0, -94.0),
    "<HFVAE> & views": (-110.0, -112.0, -111.0),
}


def scores(method, seed):
    rng = np.random.default_rng(seed)
    found = {
        "test": {
            "elbo": [ELBO[method][seed], 0.4],
            "recon": [ELBO[method][seed] + 15, 0.4],
            "kl": [15.0, 0.1],
        },
        "terms": {"mi": {"exact": 9.0 + seed, "se": 0.1, "minibatch": 8.0, "minibatch_sd": 1.0}},
        "units": ["y", "z[0]", "z[1]"],
        "unit_group": ["y", "z", "z"],
        "I(x;z)": {"y": [1.0, 0.01], "z[0]": [2.0, 0.01], "z[1]": [0.001, 0.01]},
        "I(v;z)": {
            "names": ["y", "z", "z[0]", "z[1]"],
            "factors": ["shape", "scale"],
            "total": [[0.9, 1.0, 0.2, -0.01], [0.1, 1.7, 1.0 + seed / 10, 0.3]],
            "entropy": [1.1, 1.8],
        },
        "factor": "shape",
        "metrics": {
            "mig": metric("MIG", MIG[method][seed]),
            "sap": metric("SAP", None),
            "dci": metric(
                "DCI disentanglement",
                0.5,
                completeness=0.4,
                disentanglement=0.5,
                informativeness_train=0.9,
            ),
            "gaussian_total_correlation": metric("Gaussian TC", float(rng.uniform())),
        },
    }
    return found | ({"accuracy": {"y": 0.5 + seed / 10}} if "views" in method else {})


def metric(name, value, **parts):
    return {
        "name": name,
        "value": value,
        "convention": "a, b",
        "range": [0, 1],
        "parts": parts,
        "notes": [],
    }


def finish(folder, job):
    """A run as training leaves it, invented."""
    folder.mkdir(exist_ok=True)
    config = {
        "recipe": job.recipe, "flags": dict(job.flags),
        "objective": "log p(x|z) - ⟨…⟩", "circled": "① + 4ⓘ",
        "seconds": 60.0, "parameters": 12345,
        "data": {"name": "digits", "n": 1500, "test": 297, "shape": [8, 8]},
        "machine": "2 x AMD EPYC", "versions": {"torch": "2.13.0"}, "unweave": "0.1.0",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "scores.json").write_text(json.dumps(scores(job.method, job.seed)))
    (folder / "report.html").write_text("a report")
    x = np.zeros((4, 8, 8), np.float32)
    strips = {
        f"traversal/{u}": np.zeros((5, n, 8, 8), np.float32)
        for u, n in (("y", 3), ("z[0]", 11), ("z[1]", 11))
    }
    at = {
        "traversal_at/y": np.arange(3),
        "traversal_at/z[0]": np.linspace(-2, 2, 11),
        "traversal_at/z[1]": np.zeros(11),
    }
    np.savez(folder / "evaluation.npz", x=x, reconstruction=x, **strips, **at)


def make(folder, seeds=SEEDS, skip=(), failed=()):
    """A study's folder; jobs in `skip` have not begun, those in `failed` have failed, both as
    (method, seed).
    """
    study = Study("tiny", "digits-hfvae", METHODS, seeds, {"epochs": 2}, "β-VAE", "About <this>.")
    for job in prepare(study, folder):
        if (job.method, job.seed) in failed:
            said = {"status": 1, "attempts": 2, "log": "ValueError: <z> is NaN"}
            (folder / "logs" / f"{job.key}.failed.json").write_text(json.dumps(said))
        elif (job.method, job.seed) not in skip:
            finish(folder / job.key, job)
    return folder


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("studies") / "tiny")


@pytest.fixture(scope="module")
def html(folder):
    return study_report.write(folder).read_text(encoding="utf-8")


# -- numbers ---------------------------------------------------------------------------------------


def test_errors_count_and_scores_that_one_factor_makes_1_do_not():
    told = scores(next(iter(MIG)), 0) | {"error": {"y": [0.02, 0.001]}}
    found = {
        measure.key: (measure, value)
        for measure, value in results_module._measured({}, typed(told))
    }
    assert "dci" in found
    measure, value = found["error.y"]
    assert (value, measure.better, measure.headline) == (0.02, -1, True)
    del told["I(v;z)"]
    assert "dci" not in {measure.key for measure, _ in results_module._measured({}, typed(told))}


def test_numbers_that_a_recipe_finds_are_measures():
    """Under a name made of their titles, with the direction that the recipe gives them; other
    findings are not.
    """
    numbers = [
        Number("Light off by", 0.4, 0.1, "degrees", -1),
        Number("Held-out log p(x)", 608.7),
        Number("None", np.nan),
    ]
    found, _ = packed([*numbers, Table("Errors", ("", "%"), [("ours", 1.0)])])
    measured = {
        measure.key: (measure, value)
        for measure, value in results_module._measured({}, typed({"findings": found}))
    }
    light, value = measured["finding.light_off_by"]
    assert (light.name, light.convention, light.better, light.headline, value) == (
        "Light off by", "degrees", -1, True, 0.4
    )  # fmt: skip
    assert measured["finding.held_out_log_p_x"][0].better == 0
    assert len(measured) == 2


def test_scores_have_stable_names_and_come_as_they_are(folder):
    results = collect(folder)
    run = results.of("VAE")[1]
    assert (run.values["elbo"], run.values["mig"], run.values["mi_exact"]) == (-95.0, 0.20, 10.0)
    assert run.values["active_units"] == 2
    assert run.values["dci.completeness"] == 0.4
    assert not {"sap", "dci.disentanglement", "dci.informativeness_train", "accuracy.y"} & set(
        run.values
    )
    assert results.values("mig") == {
        m: dict(zip(SEEDS, held, strict=True)) for m, held in MIG.items()
    }
    assert results.baseline == "β-VAE"
    assert results.varied == ["objective"]
    assert [m.key for m in results.headline] == ["elbo", "recon", "mig", "dci", "accuracy.y"]
    better = {m.key: m.better for m in results.measures}
    assert (
        better["mig"],
        better["gaussian_total_correlation"],
        better["mi_exact"],
        better["kl"],
    ) == (1, -1, 0, 0)


def test_bold_is_who_is_ahead_of_the_runner_up_by_a_paired_interval(folder):
    results = collect(folder)
    measures = {m.key: m for m in results.measures}
    ahead = np.subtract(MIG["<HFVAE> & views"], MIG["β-VAE"])
    assert stats.ttest_1samp(ahead, 0).confidence_interval(0.95).low > 0
    assert results.order(measures["mig"]) == ["<HFVAE> & views", "β-VAE", "VAE"]
    assert results.winner(measures["mig"]) == "<HFVAE> & views"
    assert results.winner(measures["elbo"]) is None  # VAE and β-VAE: −92 and −92.3
    assert results.winner(measures["mi_exact"]) is None  # neither more nor less is better
    assert results.winner(measures["dci"]) is None  # all the same


def test_the_terminal_and_markdown_show_means_and_half_widths(folder):
    heads, rows = summary(folder)
    assert heads == [
        "method",
        "runs",
        "ELBO ↑",
        "reconstruction ↑",
        "MIG ↑",
        "DCI disentanglement ↑",
        "accuracy of y ↑",
    ]
    half = stats.t.ppf(0.975, 2) * np.std(MIG["VAE"], ddof=1) / np.sqrt(3)
    assert rows[0][:2] == ("VAE", "3/3")
    assert rows[0][4] == f"0.15 ± {half:.2f}"
    assert rows[0][6] == "–"
    table = markdown(folder).splitlines()
    assert table[1].startswith("| --- | --: |")
    assert "**0.45 ± 0.16**" in table[4]
    assert sum("**" in line for line in table) == 1
    assert "3 seeds" in caption(collect(folder))


def test_csv_has_a_row_a_run_and_a_table_of_what_columns_are(folder, html):
    with open(folder / "study.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert [(r["method"], r["seed"]) for r in rows[:3]] == [(m, "0") for m in METHODS]
    assert float(rows[4]["mig"]) == 0.21
    assert rows[1]["objective"] == "beta_vae(4)"
    assert rows[0]["accuracy.y"] == ""
    with open(folder / "study_scores.csv", encoding="utf-8") as file:
        scores = {row["score"]: row for row in csv.DictReader(file)}
    assert set(scores) == set(rows[0]) - {"method", "seed", "key", "state", "objective"}
    assert scores["mig"] == {
        "score": "mig", "name": "MIG", "convention": "a, b",
        "lowest": "0", "highest": "1", "better": "more",
    }  # fmt: skip


def test_the_command_names_the_study_or_its_file(folder):
    assert command(collect(folder)) == "unweave study tiny/study.json"


def test_the_command_of_a_shipped_study_is_its_name(tmp_path):
    from unweave.studies.grid import read

    prepare(read("dsprites-small"), tmp_path / "s")
    assert command(collect(tmp_path / "s")) == "unweave study dsprites-small"
    prepare(read("dsprites-small", seeds=2), tmp_path / "s")
    assert command(collect(tmp_path / "s")) == "unweave study s/study.json"


# -- the page --------------------------------------------------------------------------------------


def test_page_is_complete(html):
    page = Page(html)
    sections = [section["id"] for section in page.all("section")]
    assert sections == [
        "methods",
        "scores",
        "seeds",
        "differences",
        "ranks",
        "tradeoffs",
        "factors",
        "units",
        "about",
    ]
    assert {f"#{name}" for name in sections} == {
        a["href"] for a in page.all("a") if a["href"].startswith("#")
    }
    for text in (
        "About <this>.",
        "<HFVAE> & views",
        "9 of 9 runs finished",
        "log p(x|z) - ⟨…⟩",
        "0.45",
        "± 0.16",
    ):
        assert text in page.text
    assert "<HFVAE>" not in html
    assert page.text.count("baseline") >= 2
    # 5 headline scores, 4 of which the baseline has; 3 trade-offs; places by MIG; the factors
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 5 + 4 + 3 + 1 + 1


def test_page_asks_for_nothing_outside_itself_but_links_to_its_runs(html, folder):
    assert not re.search(r"https?:|@import|<script|<link|<iframe|nan|Undefined", html)
    keys = {f"{job.key}/report.html" for job in jobs_of(folder)}
    links = {a["href"] for a in Page(html).all("a") if not a["href"].startswith("#")}
    assert links == keys
    ids = [attributes["id"] for _, attributes in Page(html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_pictures_are_described(html):
    page = Page(html)
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in page.all("svg"))
    # the best method's and the baseline's active units, y and z[0]; idle ones are left out
    assert [image["alt"] for image in page.all("img")] == [
        f"Traversal of {unit}: 2 items by {n} values"
        for _ in range(2)
        for unit, n in (("y", 3), ("z[0]", 11))
    ]


def test_factors_show_the_best_units_mean_over_seeds(html):
    told = next(
        s["aria-label"] for s in Page(html).all("svg") if "best unit" in s.get("aria-label", "")
    )
    assert "VAE: shape 0.90, scale 1.10" in told


def test_methods_with_other_factors_stand_beside_one_another():
    """A control may have data of its own: what a method lacks is a gap, and no fault."""
    method = next(iter(MIG))
    coloured = scores(method, 0)
    coloured["I(v;z)"] = {
        "names": ["z[0]"],
        "factors": ["shape", "colour"],
        "total": [[0.5], [0.25]],
        "entropy": [1.1, 0.7],
    }
    of = {
        "plain": [SimpleNamespace(scores=typed(scores(method, 0)))],
        "coloured": [SimpleNamespace(scores=typed(coloured))],
    }
    results = SimpleNamespace(methods=tuple(of), of=of.__getitem__)
    told = charts.factors(results, lambda ax, label: label)
    assert "plain: shape 0.90, scale 1.00; coloured: shape 0.50, colour 0.25" in told


def test_methods_look_the_same_everywhere_and_apart(html):
    from unweave.plots import method_looks

    looks = method_looks([str(i) for i in range(60)])
    assert len(set(looks.values())) == 60
    assert all(
        a[0] != b[0] and a[1] != b[1]
        for a, b in itertools.combinations(list(looks.values())[:10], 2)
    )
    assert "currentColor" in html
    assert not re.search("#010203|#fcfdfe|#0072b2(?!;)", html)  # the accent is the page's own


def test_failed_and_missing_runs_are_left_out_and_said(tmp_path):
    folder = make(tmp_path / "s", skip=[("VAE", 2)], failed=[("β-VAE", 1)])
    page = Page(study_report.write(folder).read_text(encoding="utf-8"))
    assert "7 of 9 runs finished" in page.text
    assert "1 failed, 1 waiting" in page.text
    assert "β-VAE, seed 1: exit status 1 after 2 attempts" in page.text
    assert "ValueError: <z> is NaN" in page.text
    assert page.text.count("2 of 3 seeds") == 2
    results = collect(folder)
    assert results.estimates("mig")["VAE"].n == 2
    assert tables.ranks(results, results.headline[:1])["feet"][0]["n"] == 1
    with open(folder / "study.csv", encoding="utf-8") as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert sorted(states) == ["failed", *["finished"] * 7, "waiting"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_few_seeds_make_a_page_without_warnings(tmp_path, seeds):
    page = Page(study_report.write(make(tmp_path / "s", seeds)).read_text(encoding="utf-8"))
    assert ("One seed has no interval" in page.text) == (len(seeds) == 1)
    assert ("±" in summary(tmp_path / "s")[1][0][4]) == (len(seeds) == 2)
    assert "nan" not in page.text.replace("tiny", "")


def test_a_study_without_finished_runs_has_a_page(tmp_path):
    folder = make(tmp_path / "s", skip=list(itertools.product(METHODS, SEEDS)))
    page = Page(study_report.write(folder).read_text(encoding="utf-8"))
    assert [section["id"] for section in page.all("section")] == ["methods", "about"]
    assert "9 waiting" in page.text
    assert summary(folder)[1][0] == ("VAE", "0/3")
    assert len((folder / "study.csv").read_text().splitlines()) == 10


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"study\.json is missing"):
        study_report.write(tmp_path)


def test_columns_have_as_many_digits_as_their_intervals_support():
    e = results_module.Estimate
    assert [results_module.digits([e(0.5, 1.0, h, 5)]) for h in (0.5, 0.05, 0.005, 0.0)] == [
        2,
        3,
        3,
        3,
    ]
    assert [results_module.digits([e(-100.0, 1.0, h, 5)]) for h in (30.0, 3.0, 0.3)] == [1, 1, 2]
    assert results_module.text(e(-0.0001, 1.0, 0.0, 5), 3) == "0.000 ± 0.000"
    assert results_module.text(e(None, None, None, 0), 3) == "–"


@pytest.mark.slow
def test_a_real_study_of_two_methods_and_two_seeds(mended):
    page = Page(study_report.write(mended.out).read_text(encoding="utf-8"))
    assert "4 of 4 runs finished" in page.text
    links = [a["href"] for a in page.all("a") if a["href"].endswith("report.html")]
    assert len(links) >= 4
    assert all((mended.out / link).is_file() for link in links)
    heads, rows = summary(mended.out)
    assert {"ELBO ↑", "MIG ↑"} <= set(heads)
    assert all(row[1] == "2/2" and "±" in row[2] for row in rows)
