"""The columns of a table on a page: exact changes, the largest first, by name, at any width."""

import numpy as np
import pytest
from support.pages import Page

from unweave.pages import columns
from unweave.pages.run import render
from unweave.runs.arrays import named
from unweave.runs.scores import typed

NAMES = ["height", "weight", "income"]
MEAN, SD = np.array([170.0, 70.0, 3e4]), np.array([10.0, 5.0, 1e4])


def arrays(width=3, **changes):
    """A run of a table where z[0] raises the first column by 2 sd and lowers the second by 1."""
    rng = np.random.default_rng(0)
    names = np.array((NAMES + [f"gene {k}" for k in range(3, width)])[:width])
    mean, sd = np.resize(MEAN, width), np.resize(SD, width)
    course = np.zeros((5, 11, width))
    t = np.linspace(0, 1, 11)
    course[:, :, 0] = 2 * t - 1
    course[:, :, 1] = 0.5 - t
    x = mean + sd * rng.normal(size=(40, width))
    found = {
        "x": x,
        "reconstruction": mean + 0.5 * (x - mean),
        "prior_samples": mean + sd * rng.normal(size=(60, width)),
        "labels": np.zeros(40),
        "traversal/z[0]": mean + sd * course,
        "traversal_at/z[0]": np.linspace(-2, 2, 11),
        "traversal_quantiles": np.linspace(0.02, 0.98, 11),
        "columns": names,
        "column_mean": mean,
        "column_sd": sd,
    }
    return named(found | changes)


def test_a_card_names_the_columns_that_move_with_their_changes():
    run = arrays()
    card = columns.card(run.traversal["z[0]"], columns.of(run), 1.0)
    rows = [(row["name"], row["ends"], row["moved"], row["sds"]) for row in card["moves"]]
    assert rows == [
        ("height", "160.0 → 180.0", "+20.00", "+2.00"),
        ("weight", "72.50 → 67.50", "−5.00", "−1.00"),
    ]
    assert card["others"] == "1 other column stays"


def test_a_column_that_turns_back_moves_as_far_as_it_goes():
    course = np.array([[0.0], [3.0], [1.0]])
    assert columns.moves(course).tolist() == [3.0]
    assert columns.moves(-course).tolist() == [-3.0]


def test_a_column_that_does_not_vary_does_not_move():
    run = arrays(column_sd=np.array([10.0, 0.0, 1e4]))
    card = columns.card(run.traversal["z[0]"], columns.of(run), 1.0)
    assert [row["name"] for row in card["moves"]] == ["height"]


def test_the_variance_that_reconstructions_explain_leaves_missing_numbers_out():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 2))
    again = 0.5 * x
    again[:, 1] = 0.0
    share = columns.explained(x, again)
    centred = x - x.mean(0)
    expected = 1 - np.square(x - again).sum(0) / np.square(centred).sum(0)
    np.testing.assert_allclose(share, expected, atol=1e-12)
    some = x.copy()
    some[:250, 0] = np.nan
    np.testing.assert_allclose(
        columns.explained(some, again)[0], columns.explained(x[250:], again[250:])[0], atol=1e-12
    )


@pytest.mark.parametrize("width", [3, 2000])
def test_a_page_of_a_table_has_its_columns_by_name(width):
    scores = typed({"units": ["z[0]"], "unit_group": ["z"], "I(x;z)": {"z[0]": [1.2, 0.1]}})
    page = Page(render({}, [], scores, arrays(width)))
    assert {"reconstructions", "units", "prior"} <= set(page.sections)
    assert {"height", "160.0 → 180.0", "−5.00"} <= set(page.words)
    rows = [row for row in page.elements if row[0] == "tr"]
    assert len(rows) < 100
    if width > 100:
        assert "the 30 best kept of 2\u202f000 columns" in page.text
        assert "the 30 columns of 2\u202f000 that move most" in page.text


def test_columns_without_names_are_numbered():
    page = Page(render({}, [], typed({}), arrays(columns=np.array(["other"]))))
    assert "x[0]" in page.words
