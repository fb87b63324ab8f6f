"""What the explorer shows is what the model says."""

import numpy as np
import pytest
import torch
from support.explorer import of_scenes
from support.explorer import session as small

import unweave as uw
from unweave.explorer.codes import given, sites_of
from unweave.explorer.session import Session


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return small(tmp_path_factory.mktemp("run"))


def test_codes_are_those_of_the_model(session):
    expected = session.model.encode(session.data.floats()).numpy()
    np.testing.assert_array_equal(session.codes, expected)
    assert session.units == ["y", "z[0]", "z[1]", "z[2]"]


def test_decoding_is_the_models(session):
    codes = session.codes[:5]
    classes = codes[:, 0].astype(int)
    expected = session.model.decode(y=classes, z=codes[:, 1:])
    np.testing.assert_array_equal(session.decode(codes), expected.numpy())


def test_sites_of_several_units_and_classes_come_back():
    q = uw.Trace()
    q.concrete(torch.zeros(7, 2, 3), 0.5, name="kinds")
    q.normal(torch.randn(7, 4, 2), 0.1, name="steps")
    sites = sites_of(q)
    assert [len(site.units) for site in sites] == [2, 8]
    rows = np.concatenate([site.columns(q[site.name].value) for site in sites], 1)
    values = given(rows, sites)
    torch.testing.assert_close(values["steps"], q["steps"].value)
    assert (values["kinds"].argmax(-1) == q["kinds"].value.argmax(-1)).all()


def test_curves_are_shares(session):
    described = session.described()
    unit = described["sites"][1]["units"][0]
    drawn = session.draws[:, 1]
    low, high = unit["ends"]
    inside = ((drawn >= low) & (drawn <= high)).mean()
    assert sum(unit["histogram"]) == pytest.approx(inside)
    assert unit["quantiles"][50] == pytest.approx(np.median(drawn))
    assert sum(described["sites"][0]["units"][0]["shares"]) == pytest.approx(1)


def test_bounds_are_the_models(session):
    bound = session.bounds["elbo"]
    assert bound.shape == (200,)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        q, p = session.model(torch.as_tensor(session.data.floats()))
        np.testing.assert_array_equal(bound, uw.elbo(q, p).numpy())


def test_components_are_those_of_the_covariance(session):
    places = session.plane("z", "pca")
    spread = np.linalg.eigvalsh(np.cov(session.codes[:, 1:].T))[::-1][:2]
    np.testing.assert_allclose(np.cov(places.T), np.diag(spread), atol=1e-6 * spread[0])


def test_a_selection_by_a_unit_is_told_by_that_unit(session):
    inside = session.codes[:, 2] > np.quantile(session.codes[:, 2], 0.7)
    found = session.selected(inside)
    assert found["items"] == 60
    of_normals = [unit for unit, _, _ in found["units"] if unit != "y"]
    assert of_normals[0] == "z[1]"
    np.testing.assert_allclose(found["mean"][1:], session.codes[inside, 1:].mean(0), rtol=1e-5)


def test_names_are_kept_and_forgotten(session):
    session.rename("z[1]", "slant", "to the right")
    assert session.described()["names"] == {"z[1]": {"name": "slant", "note": "to the right"}}
    assert session.rename("z[1]", "", "") == {}
    with pytest.raises(ValueError, match=r"no unit 'w'; there are y, z\[0\]"):
        session.rename("w", "x", "")
    with pytest.raises(ValueError, match="expected at most 80"):
        session.rename("y", "x" * 81, "")


def test_conditional_sites_follow_their_class(tmp_path):
    """A scene's digit k exists where the count is more than k."""
    described = of_scenes(tmp_path).described()
    follows = {site["name"]: site["follows"] for site in described["sites"]}
    assert follows["count"] is None
    for k in range(2):
        classes = list(range(k + 1, 3))
        for site in ("where", "digit", "style"):
            assert follows[f"{site}_{k}"] == {"column": 0, "classes": classes}


def test_sites_that_may_not_exist_are_in_no_selection(tmp_path):
    session = of_scenes(tmp_path)
    inside = np.arange(len(session.codes)) < 10
    assert [unit for unit, _, _ in session.selected(inside)["units"]] == ["count"]


def test_some_items_keep_their_numbers(session):
    few = np.array([5, 17, 100])
    part = Session(session.model, session.whole, session.folder, session.groups, few)
    described = part.described()
    assert (described["items"], described["all"]) == (3, 200)
    assert described["numbers"] == [5, 17, 100]
    assert part.item(1) == session.item(17)
    assert session.described()["numbers"] is None
