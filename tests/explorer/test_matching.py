"""Units of two runs are matched by what they say of the same items."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from support.explorer import session as small

from unweave.explorer.matching import matched, rank_correlations


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return small(tmp_path_factory.mktemp("run"))


class Turned:
    """The session's units in another order, with other signs and class numbers."""

    def __init__(self, session):
        classes = (session.codes[:, 0] + 3) % 10
        self.sites, self.columns = session.sites, session.columns
        self.codes = np.stack([classes, *(session.codes[:, [3, 1, 2]] * [-1, 1, -2]).T], 1)


def test_correlations_are_spearmans():
    a, b = np.random.default_rng(0).normal(size=(2, 30, 3)).round(1)
    expected = spearmanr(a, b).statistic[:3, 3:]
    np.testing.assert_allclose(rank_correlations(a, b), expected, atol=1e-12)


def test_units_in_another_order_are_found(session):
    found = {match["unit"]: match for match in matched(session, Turned(session))}
    assert {unit: match["other"] for unit, match in found.items()} == {0: 0, 1: 2, 2: 3, 3: 1}
    assert [found[unit]["alike"] for unit in (1, 2, 3)] == pytest.approx([1, -1, -1])
    assert found[0]["alike"] == pytest.approx(1)
    for k in np.unique(session.codes[:, 0]).astype(int):
        assert found[0]["classes"][k] == (k + 3) % 10


def test_runs_of_other_items_are_refused(session):
    fewer = Turned(session)
    fewer.codes = fewer.codes[:5]
    with pytest.raises(ValueError, match="runs of 200 and 5 items"):
        matched(session, fewer)
