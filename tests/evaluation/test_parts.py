"""The parts of an evaluation, as a person sees them."""

import time

import unweave as uw
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.parts import SHARES, Parts


def test_a_part_that_fails_is_left_out_with_its_reason(capsys):
    with Parts(set(SHARES)) as parts:
        with parts("codes of test items"):
            raise ValueError("they have none")
        with parts("scores of test items"):
            pass
    assert parts.skipped == {"codes of test items": "they have none"}
    said = capsys.readouterr().err
    assert said == "note: codes of test items: left out, they have none\n"  # no bar in a file


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
