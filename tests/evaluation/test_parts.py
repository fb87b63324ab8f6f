"""The parts of an evaluation, as a person sees them."""

import json
import time

import numpy as np
import pytest

import unweave as uw
from unweave.evaluation import codes, pictures
from unweave.evaluation import evaluate as evaluation
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.parts import SHARES, Parts
from unweave.runs import seal
from unweave.runs.scores import read as read_scores


def test_parts_are_left_out_where_they_have_no_place_and_where_they_fail(capsys):
    with Parts(set(SHARES)) as parts:
        with parts("the codes of the data"):
            pictures.plane(np.zeros((20, 4)))
        with parts("codes of test items"):
            raise MemoryError("none left")
        with parts("scores of test items"):
            pass
    why = "the codes of all 20 items are equal"
    assert parts.skipped == {"the codes of the data": why, "codes of test items": "none left"}
    assert parts.failed == ["codes of test items"]
    said = capsys.readouterr().err  # no bar in a file
    assert said == (
        f"note: the codes of the data: left out, {why}\nnote: codes of test items: failed, none "
        "left\n"
    )


def counted(monkeypatch):
    """The names of functions that an evaluation calls from here on."""
    called = []
    functions = [(codes, "bound"), (codes, "metrics"), (pictures, "traversals")]
    for module, name in [*functions, (evaluation, "_terms")]:
        function = getattr(module, name)

        def call(*given, name=name, function=function):
            called.append(name)
            return function(*given)

        monkeypatch.setattr(module, name, call)
    return called


def test_an_evaluation_does_what_is_missing(tmp_path, monkeypatch, capsys):
    """After a part that failed, after a stop, after damage, and with other settings."""
    recipe = uw.recipes.digits_hfvae()
    model = recipe.model()

    def again(points=4, **options):
        called.clear()
        found = evaluate(recipe, model, tmp_path, points=points, quick=True, **options)
        return found, list(called)

    def out_of_memory(*_):
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr(codes, "metrics", out_of_memory)
        called = counted(patch)
        scores, _ = again()
    assert scores["skipped"] == {"metrics of codes against factors": "none left"}
    assert not seal.is_whole(tmp_path)
    called = counted(monkeypatch)
    mended, done = again()
    assert done == ["metrics"]
    assert mended["metrics"]
    assert "skipped" not in mended
    assert {name: mended[name] for name in ("test", "I(x;z)")} == {
        name: json.loads(json.dumps(scores[name])) for name in ("test", "I(x;z)")
    }
    assert seal.is_whole(tmp_path)
    before = (tmp_path / "scores.json").read_bytes()
    capsys.readouterr()
    assert again()[1] == []
    assert "nothing is missing" in capsys.readouterr().err
    assert (tmp_path / "scores.json").read_bytes() == before
    everything = ["bound", "_terms", "metrics", "traversals"]
    assert again(again=True)[1] == everything
    assert again(points=5)[1] == everything
    (tmp_path / "scores.json").write_bytes(before.replace(b"0.", b"1.", 1))
    assert not seal.is_whole(tmp_path)
    with pytest.raises(ValueError, match=r"scores.json in .*: damaged, or changed since .*"):
        read_scores(tmp_path)
    assert again(points=5)[1] == everything


def test_an_evaluation_that_was_stopped_goes_on(tmp_path, monkeypatch, capsys):
    recipe = uw.recipes.digits_hfvae()
    model = recipe.model()

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(codes, "metrics", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(recipe, model, tmp_path, points=4, quick=True)
    assert "does the rest" in capsys.readouterr().err
    called = counted(monkeypatch)
    evaluate(recipe, model, tmp_path, points=4, quick=True)
    assert called == ["metrics", "traversals"]
    assert seal.is_whole(tmp_path)


@pytest.mark.parametrize(
    ("word", "other"),
    [('"metrics"', '"metrix"'), ('"failed": ["b"]', '"failed": []'), ('"digest"', '"digests"')],
)
def test_a_damaged_seal_is_refused(tmp_path, word, other):
    seal.write(tmp_path, {"seed": 1}, {"a": seal.Part(("metrics",))}, ["b"])
    assert seal.read(tmp_path).missing == ("b",)
    place = tmp_path / seal.FILE
    content = json.dumps(json.loads(place.read_text()))
    place.write_text(content)
    assert seal.read(tmp_path).missing == ("b",)
    assert word in content
    place.write_text(content.replace(word, other))
    with pytest.raises(ValueError, match=r"evaluation.json is damaged .* makes it anew"):
        seal.check(tmp_path)


def test_a_terminal_shows_the_part_and_the_time_that_is_left(capsys, monkeypatch):
    """Half of the shares took ten seconds, so ten are left; three of them pass."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    monkeypatch.setenv("COLUMNS", "120")
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setitem(SHARES, "scores of test items", 6)
    with Parts({"codes of all items", "scores of test items"}) as parts:
        parts.show("codes of all items")
        now[0] += 10
        parts.show("scores of test items")
        now[0] += 3
    said = capsys.readouterr().err
    assert "scores of test items" in said
    assert "about 7 s left" in said


def test_parts_have_the_names_by_which_shares_are_known(tmp_path, monkeypatch):
    """All of them are met in an evaluation of the demo, but for findings, which it has none of."""
    met = []
    show = Parts.show
    monkeypatch.setattr(Parts, "show", lambda self, name: (met.append(name), show(self, name)))
    recipe = uw.recipes.digits_hfvae()
    scores = evaluate(recipe, recipe.model(), tmp_path, points=4, quick=True, quiet=True)
    assert SHARES.keys() - set(met) == {"the recipe's own findings"}
    assert scores["exact_points"] == 4


def test_a_quick_evaluation_looks_at_less(tmp_path):
    recipe = uw.recipes.digits_hfvae()
    scores = evaluate(recipe, recipe.model(), tmp_path, quick=True)
    assert scores["exact_points"] == 200 < recipe.points
    assert scores["joint_rows"] <= 200
