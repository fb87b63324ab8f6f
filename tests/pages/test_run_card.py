"""The model card of a run says what was measured, as far as it was."""

import re

import pytest

from unweave.pages.card import write_card
from unweave.runs.scores import typed

TERM = {"exact": 2.5, "se": 0.125, "minibatch": 3.0, "minibatch_sd": 1.0}


@pytest.mark.parametrize(
    ("changes", "value", "how"),
    [
        (
            {},
            "2.50 ± 0.12",
            "exact q(z) of 1,000 items, averaged over 500 of them; the minibatch value is 3.00",
        ),
        (
            {"exact_n": None},
            "2.50 ± 0.12",
            "exact q(z), averaged over 500 items; the minibatch value is 3.00",
        ),
        (
            {"exact_points": None, "terms": {"mi": {**TERM, "minibatch": None}}},
            "2.50 ± 0.12",
            "exact q(z) of 1,000 items",
        ),
        (
            {"terms": {"mi": {**TERM, "se": None}}},
            "2.50",
            "exact q(z) of 1,000 items, averaged over 500 of them; the minibatch value is 3.00",
        ),
    ],
)
def test_what_a_run_does_not_say_is_left_out(tmp_path, changes, value, how):
    content = {"exact_n": 1000, "exact_points": 500, "terms": {"mi": TERM}, **changes}
    card = write_card(tmp_path, {}, typed(content))
    assert f"| mi | {value} | {how} |" in card.read_text().splitlines()


def test_a_hub_reads_the_front_of_the_card(tmp_path):
    text = write_card(tmp_path, {}, typed({})).read_text()
    front, body = re.fullmatch(r"---\n(.*?)\n---\n\n(# .*)", text, flags=re.DOTALL).groups()
    assert "\nlicense: unknown  # name that of your model" in front
    assert body.startswith("# unknown: a model trained by unweave")
    hub = pytest.importorskip("huggingface_hub", exc_type=ImportError)
    data = hub.ModelCard(text).data
    assert (data.library_name, data.license) == ("unweave", "unknown")
    assert "disentanglement" in data.tags


def test_shares_and_test_terms(tmp_path):
    content = {"test": {"elbo": [-98.4, None]}, "error": {"y": [0.25, 0.5]}, "accuracy": {"y": 0.5}}
    text = write_card(tmp_path, {}, typed(content)).read_text()
    assert "| elbo on test items | -98.40 | " in text
    assert "| error of y | 0.2500 ± 0.5000 (a share) | " in text
    assert "| accuracy of y | 0.500 (a share) | " in text
