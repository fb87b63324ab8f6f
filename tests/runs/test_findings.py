"""Findings of recipes: kept whole in a run folder, drawn in light and dark without a script."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from support.pages import Page

import unweave as uw
from unweave.models.model import seeded
from unweave.pages import exhibits, pictures
from unweave.pages import run as report
from unweave.run import fit
from unweave.runs.arrays import named
from unweave.runs.findings import Film, Lines, Number, Picture, Scatter, Table, packed, unpacked
from unweave.runs.scores import typed

RNG = np.random.default_rng(0)
GREY, COLOURS = RNG.uniform(0.1, 1, (2, 3, 5, 7)), RNG.uniform(0, 1, (2, 3, 5, 7, 3))
ALL = [
    Number("Error", 2.41, 0.06, "%"),
    Table(
        "Errors",
        ("method", "error", "source"),
        [("ours", 2.4, None), ("theirs", "0.96 ± 0.1", "a paper")],
        "In %.",
    ),
    Picture("Faces", COLOURS, rows=("a", "b"), columns=("x", "y", "z"), note="Side by side."),
    Film("Balls", np.stack([GREY, 1 - GREY, GREY**2])),
    Scatter(
        "Codes",
        {"y": RNG.normal(size=(9, 2)), "z": np.eye(9)[:, :2]},
        np.arange(9) % 3 - 1,
        ("cat", "dog"),
    ),
    Lines(
        "Error over time",
        np.arange(4.0),
        {"ours": [1, np.nan, 3, 4], "theirs": [2, 2, 2, 2]},
        "step",
        "nats",
    ),
]


def page_of(findings):
    described, arrays = packed(findings)
    scores = typed({"findings": json.loads(json.dumps(described))})
    return report.render({}, [], scores, named(arrays))


def raster(html, k=0):
    """A picture of the page as frames of RGBA."""
    image = Page(html).all("img")[k]
    film = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
    frames = []
    for t in range(getattr(film, "n_frames", 1)):
        film.seek(t)
        frames.append(np.array(film.convert("RGBA")))
    return frames


def test_findings_come_back_as_they_were():
    described, arrays = packed(ALL)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    buffer.seek(0)
    back = unpacked(json.loads(json.dumps(described)), dict(np.load(buffer)))
    assert [type(found) for found in back] == [type(found) for found in ALL]
    for found, was in zip(back, ALL, strict=True):
        for part in dataclasses.fields(was):
            now, then = getattr(found, part.name), getattr(was, part.name)
            if part.name == "images":  # half floats
                np.testing.assert_allclose(now, then, atol=2**-11)
            elif part.name in ("panels", "curves"):
                assert list(now) == list(then)
                for name in now:
                    np.testing.assert_array_equal(
                        np.array(now[name], float), np.array(then[name], float)
                    )
            elif isinstance(then, np.ndarray):
                np.testing.assert_array_equal(now, then)
            elif part.name != "rows" or isinstance(was, Picture):
                assert list(now) == list(then) if isinstance(then, tuple) else now == then
    assert [list(row) for row in back[1].rows] == [list(row) for row in ALL[1].rows]


def test_findings_are_the_first_sections_and_numbers_are_tiles():
    page = Page(page_of(ALL))
    assert page.sections == [*(f"finding-{i}" for i in range(1, 6)), "about"]
    assert [a["href"] for a in page.all("a")] == [f"#{section}" for section in page.sections]
    for text in (
        "2.41%",
        "± 0.06",
        "ours",
        "0.96 ± 0.1",
        "cat",
        "without class",
        "Side by side.",
        "theirs",
    ):
        assert text in page.text


def test_a_table_sets_its_numbers_to_the_right():
    html = page_of(
        [
            Table(
                "T",
                ("name", "n", "nats", "why"),
                [("a", 3, -1.5, "1st"), ("b", 40_000, None, "so")],
            )
        ]
    )
    cells = re.findall(r'<td( class="number")?>([^<]*)</td>', html)
    assert [text for _, text in cells] == ["a", "3", "−1.50", "1st", "b", "40\u202f000", "–", "so"]
    assert [bool(right) for right, _ in cells] == [False, True, True, False] * 2


@pytest.mark.parametrize("images", [GREY, COLOURS])
def test_pictures_keep_their_pixels_and_names_are_text(images):
    html = page_of([Picture("P", images, rows=("first", "second"))])
    (frame,) = raster(html)
    times = 5  # 5 pixels become 25, 24 or more
    at = frame[: 5 * times : times, : 7 * times : times]
    want = np.round(255 * (images[0, 0] if images.ndim == 5 else np.stack([images[0, 0]] * 3, -1)))
    assert np.abs(at[..., :3].astype(int) - want).max() <= 1  # kept as half floats
    assert {"first", "second"} <= set(Page(html).words)


def test_gaps_are_invisible():
    images = GREY.copy()
    images[0, 1] = np.nan
    images[1, 2, 3, 4] = np.nan
    (frame,) = raster(page_of([Picture("P", images)]))
    h, w = 5 * 5 + 1, 7 * 5 + 1
    assert (frame[:h, w : 2 * w, 3] == 0).all()  # with its part of the grey between images
    pixel = frame[h:, 2 * w :][3 * 5 : 4 * 5, 4 * 5 : 5 * 5, 3]
    assert (pixel == 0).all()
    assert (frame[: h - 1, : w - 1, 3] == 255).all()


def test_a_film_moves_and_loops():
    html = page_of([Film("F", np.stack([GREY, 1 - GREY, GREY]), rate=4)])
    frames = raster(html)
    assert len(frames) == 3
    assert not np.array_equal(frames[0], frames[1])
    assert np.array_equal(frames[0], frames[2])
    film = Image.open(
        io.BytesIO(base64.b64decode(Page(html).all("img")[0]["src"].partition(",")[2]))
    )
    assert film.info["loop"] == 0
    assert film.info["duration"] == 250
    assert Page(html).all("source")[0]["media"] == "(prefers-reduced-motion: reduce), print"


def test_strokes_on_black_are_ink_on_a_light_page_and_photographs_are_not():
    digits = uw.data.digits().floats(slice(6)).reshape(2, 3, 8, 8) * np.pad(np.ones((6, 6)), 1)
    assert 'class="ink"' in page_of([Picture("P", digits)])
    assert 'class="ink"' not in page_of([Picture("P", np.stack([digits] * 3, -1))])
    assert 'class="ink"' not in page_of([Picture("P", GREY)])


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 40, 28, 28), (3, 5, 96, 84, 3), (12, 2, 8, 3)])
def test_pictures_are_shown_in_whole_pixels_or_shrunk_smoothly(shape):
    (drawn,) = exhibits.exhibits(
        [Picture("P", np.ones(shape), rows=[f"row {i}" for i in range(shape[0])])], None
    )
    assert drawn["shown"] % drawn["image"]["width"] == 0
    assert drawn["smooth"] or drawn["shown"] <= exhibits.WIDE


def test_many_classes_have_a_colour_each():
    n = 38
    scatter = Scatter("S", {"z": np.zeros((n, 2))}, np.arange(n))
    (drawn,) = exhibits.exhibits([scatter], lambda ax, label: label)
    assert len({color for _, color in drawn["legend"]}) == n


def test_hostile_words_are_shown_not_run():
    evil = "<script>alert(1)</script>\"'&"
    html = page_of(
        [
            Number(evil, 1.0, None, evil),
            Table(evil, (evil,), [(evil,)], evil),
            Picture(evil, GREY, (evil,) * 2, (evil,) * 3, evil),
            Film(evil, GREY[None], (evil,) * 2, (evil,) * 3, evil),
            Scatter(evil, {evil: np.zeros((2, 2))}, np.arange(2), (evil,) * 2, evil),
            Lines(evil, np.arange(2), {evil: np.arange(2)}, evil, evil, evil),
        ]
    )
    assert not Page(html).all("script")
    assert evil in Page(html).text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Picture("P", np.zeros((2, 3, 4))),
            r"images of shape \(2, 3, 4\), expected \(rows, columns, h, w\)",
        ),
        (lambda: Picture("P", GREY, rows=("a",)), "1 names for 2 rows"),
        (lambda: Film("F", np.zeros((2, 3, 4, 5))), "expected .time, rows, columns, h, w"),
        (lambda: Table("T", ("a", "b"), [(1.0,)]), "a row of 1 cells"),
        (
            lambda: Scatter("S", {"z": np.zeros((3, 2))}, np.arange(2)),
            r"'z' have shape \(3, 2\), expected \(2, 2\)",
        ),
        (lambda: Lines("L", np.arange(3), {"c": np.arange(2)}), "curve 'c' has shape"),
    ],
)
def test_errors_say_what_was_expected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- in a run --------------------------------------------------------------------------------------


def found(model, recipe):
    """Findings with noise, which shows that the random state is the recipe's own."""
    assert not model.training
    assert not torch.is_grad_enabled()
    x = recipe.test.floats(slice(3))
    images = torch.stack([torch.as_tensor(x), model.reconstruct(x)]).numpy()
    return [Number("Noise", torch.rand(()).item()), Picture("Digits", images, ("data", "model"))]


@pytest.mark.slow
def test_evaluation_writes_them_and_the_report_shows_them(tmp_path):
    data = uw.data.digits()
    recipe = uw.Recipe(
        "mine",
        data.subset(range(60)),
        lambda: uw.models.vae((8, 8), hidden=(8, 8), normals=2),
        uw.elbo,
        test=data.subset(range(60, 90)),
        epochs=1,
        batch=20,
        seed=5,
        findings=found,
    )
    run = fit(recipe, tmp_path / "run", quiet=True)
    scores = json.loads((run.folder / "scores.json").read_text())
    assert scores["findings"] == run.scores["findings"]
    assert "skipped" not in scores
    with seeded(5):
        assert scores["findings"][0]["value"] == pytest.approx(torch.rand(()).item())
    with np.load(run.folder / "evaluation.npz") as arrays:
        assert arrays[scores["findings"][1]["images"]["array"]].shape == (2, 3, 8, 8)
    page = Page((run.folder / "report.html").read_text())
    assert page.sections[0] == "finding-1"
    assert {"Digits", "model"} <= set(page.words)


class Steps(torch.nn.Module):
    """A class and a place for each moment of a sequence: sites of several units, over items that
    are no images.
    """

    def __init__(self):
        super().__init__()
        self.y, self.z = torch.nn.Linear(2, 3), torch.nn.Linear(2, 2)

    def forward(self, x):
        q = uw.Trace()
        y = q.concrete(self.y(x), 0.5, name="y")  # (n, T, 3)
        q.normal(self.z(x) + y[..., :2], 0.1, name="z")  # (n, T, 2)
        q.concrete(self.y(x[:, 0]), 0.5, name="w")
        return q


class Path(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.x = torch.nn.Linear(8, 2)

    def forward(self, x, q):
        p = uw.Trace()
        y = p.concrete(torch.zeros(3), 0.5, value=q["y"], name="y")
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        w = p.concrete(torch.zeros(3), 0.5, value=q["w"], name="w")
        wide = w[..., None, :].expand(*y.shape)
        p.normal(self.x(torch.cat([y, z, wide], -1)), 1.0, value=x, name="x")
        return p


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, 60])
def test_sequences_with_several_discrete_sites_are_evaluated(tmp_path, steps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, steps, 2)).astype(np.float32)
    data = uw.data.Data(
        x, rng.integers(0, 3, (40, 2)), ("a", "b"), (3, 3), (("0", "1", "2"),) * 2, "paths"
    )
    recipe = uw.Recipe(
        "paths", data, lambda: uw.models.Model(Steps(), Path()), uw.elbo, epochs=1, batch=20
    )
    run = fit(recipe, tmp_path / "run", quiet=True)
    assert "accuracy" in run.scores
    assert set(run.scores["accuracy"]) == {"w"}
    few = steps < 10
    assert len(run.scores["I(x;z)"]) == (3 * steps + 1 if few else 3)
    assert set(run.scores.get("skipped", {})) == (set() if few else {"what latent units do"})
    page = Page((run.folder / "report.html").read_text())
    assert "reconstructions" not in page.sections
    assert ("skipped" in page.sections) != few
    with np.load(run.folder / "evaluation.npz") as arrays:
        if few:  # a step of y moves one moment's class alone
            assert arrays["traversal/y[2]"].shape == (5, 3, steps, 2)
            still = np.delete(arrays["traversal/y[2]"], 2, axis=2)
            np.testing.assert_array_equal(still, still[:, :1].repeat(3, 1))
            assert np.ptp(arrays["traversal/y[2]"][:, :, 2], axis=1).max() > 0


def test_what_stops_a_part_is_said_and_the_rest_is_shown(tmp_path, monkeypatch, capsys):
    from unweave.evaluation import terms

    def refuse(*_, **__):
        raise ValueError("no such information")

    monkeypatch.setattr(terms, "information", refuse)
    data = uw.data.digits().subset(range(60))
    recipe = uw.Recipe(
        "mine", data, lambda: uw.models.vae((8, 8), (8, 8), 2), uw.elbo, epochs=1, batch=20
    )
    run = fit(recipe, tmp_path / "run", quiet=True)
    assert run.scores["skipped"] == {
        "information and the terms of the bound": "no such information"
    }
    assert "no such information" in capsys.readouterr().err
    page = Page((run.folder / "report.html").read_text())
    assert {"reconstructions", "labels", "skipped"} <= set(page.sections)


def test_a_recipes_pictures_are_one_picture(tmp_path):
    described, arrays = packed(ALL)
    (tmp_path / "scores.json").write_text(json.dumps({"findings": described}))
    np.savez(tmp_path / "evaluation.npz", **arrays)
    for runs, width in (([tmp_path], 990), ([tmp_path, tmp_path], 1188)):
        with Image.open(pictures.findings(runs, tmp_path / "out.png")) as drawn:
            image = np.asarray(drawn.convert("L"))
        assert image.shape[1] == width
        assert image.std() > 10
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(
        ValueError, match="has no pictures of its recipe's own: draw its units or codes"
    ):
        pictures.findings([tmp_path], tmp_path / "out.png")
