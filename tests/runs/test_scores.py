"""Scores and arrays of a run have types; their files stay as they are."""

import json

import numpy as np
import pytest

from unweave.runs import arrays, measures, scores
from unweave.runs.compare import KINDS, table

TERM = {"exact": 9.7, "se": 0.1, "minibatch": 8.8, "minibatch_sd": 1.0}
METRIC = {
    "name": "MIG",
    "value": None,
    "convention": "disentanglement_lib",
    "range": [0, None],
    "parts": {"mig": 0.25},
    "notes": ["a note"],
    "interval": None,
    "level": None,
    "asks": "A question?",
}
EVERYTHING = {
    "test": {"elbo": [-98.4, 0.4], "kl": [10.5, float("nan")]},
    "batch": 128,
    "log_n": 10.9,
    "terms": {"mi": TERM, "tc[0]": TERM},
    "exact_n": 55000,
    "exact_points": 2000,
    "joint_rows": 256,
    "joint_se": 0.009,
    "units": ["y", "z[0]", "z[1]"],
    "unit_group": ["y", "z", "z"],
    "I(x;z)": {"y": [1.9, 0.01], "z[0]": [0.04, 0.01], "z[1]": [0.6, 0.01]},
    "breaches": [],
    "prior_factorises": True,
    "I(y;z)": {
        "names": ["y", "z[0]"],
        "kinds": ["group", "unit"],
        "total": [1.5, 0],
        "per_class": [[1.0, 2.0], None],
    },
    "entropy_y": 2.3,
    "I(v;z)": {"names": ["y"], "factors": ["a", "b"], "total": [[1.0], [0.5]], "entropy": [1, 2.0]},
    "conditional_entropy": {"y": 0.4},
    "discrete_information": {"y": 1.9},
    "factor": "digit",
    "classes": ["0", "1"],
    "error": {"y": [0.02, 0.001]},
    "accuracy": {"w": 0.6},
    "metrics": {"mig": METRIC},
    "findings": [{"kind": "Number", "title": "Off by", "value": 0.4, "error": 0.1, "unit": "m"}],
    "remarks": ["Nothing was learnt."],
    "skipped": {"discrete sites": "none"},
}


@pytest.mark.parametrize("content", [EVERYTHING, {}, {"findings": []}, {"breaches": []}])
def test_the_file_is_written_as_it_was_read(tmp_path, content):
    """Keys in their order, whole numbers whole, NaN as Python writes it."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    scores.write(tmp_path, content)
    assert (tmp_path / scores.FILE).read_text() == text
    scores.write(tmp_path, scores.plain(scores.read(tmp_path)))
    assert (tmp_path / scores.FILE).read_text() == text


def test_every_field_is_in_the_file_that_has_everything():
    assert list(EVERYTHING) == list(scores.Scores.__struct_encode_fields__)


def test_files_of_other_versions_are_read(tmp_path):
    (tmp_path / scores.FILE).write_text(json.dumps({"later": 3, "terms": {"mi": {"exact": 1.0}}}))
    found = scores.read(tmp_path)
    assert (found.terms["mi"].exact, found.terms["mi"].se) == (1.0, None)
    assert (found.label, found.test, found.breaches) == ("label", {}, None)


@pytest.mark.parametrize("content", ['{"terms": {"mi": 3}}', '{"test": {"elbo": 1}}', "[]", "{"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / scores.FILE).write_text(content)
    with pytest.raises(ValueError, match=r"scores.json is damaged.*: restore it, or "):
        scores.read(tmp_path)


def test_names_that_no_run_has_are_not_written(tmp_path):
    with pytest.raises(KeyError, match=r"I\(z;x\): no scores of a run; there are test, .*I\(x;z\)"):
        scores.write(tmp_path, {"I(z;x)": {}})
    with pytest.raises(KeyError, match="y: no arrays of a run; there are x, labels"):
        arrays.write(tmp_path, {"y": np.zeros(3)})
    assert not list(tmp_path.iterdir())


def test_arrays_come_back_by_their_names(tmp_path):
    held = {
        "x": np.zeros((2, 8, 8)),
        "traversal/z[0]": np.ones((5, 11, 8, 8)),
        "traversal_at/z[0]": np.arange(11),
        "embedding_kind": "codes",
        "findings/0/curves/a/b": np.arange(3.0),
    }
    arrays.write(tmp_path, held)
    with np.load(tmp_path / arrays.FILE) as file:
        assert set(file) == set(held)
    found = arrays.read(tmp_path)
    assert found.traversal["z[0]"].shape == (5, 11, 8, 8)
    assert found.reconstruction is None
    flat = arrays.flat(found)
    assert set(flat) == set(held)
    for name, values in held.items():
        np.testing.assert_array_equal(flat[name], values)


def test_a_table_of_runs_has_a_row_for_each_measure_by_its_stable_name(tmp_path):
    for name, seconds in (("a", 60.0), ("b", None)):
        folder = tmp_path / name
        scores.write(folder, EVERYTHING)
        (folder / "config.json").write_text(json.dumps({"seconds": seconds} if seconds else {}))
    heads, rows = table([tmp_path / "a", tmp_path / "b"])
    assert heads == ["score", "a", "b", "mean ± sd"]
    assert [row[0] for row in rows] == [
        "seconds",
        *("elbo, test", "kl, test", "mi", "tc[0]", "mi, minibatch", "tc[0], minibatch"),
        *("I(x;y)", "I(x;z) #1", "I(x;z) #2", "I(digit;y)", "I(digit;z) #1"),
        *("H(y|x)", "discrete I(x;y)", "error of y", "accuracy of w"),
    ]
    assert dict(zip([row[0] for row in rows], rows, strict=True))["I(x;z) #1"][1:] == (
        *("0.600", "0.600"),
        "0.600 ± 0.000",
    )
    assert rows[0] == ("seconds", "60.000", "nan", "")


def test_no_two_measures_share_a_key():
    """In one run, over every kind; and idle units do not count as active."""
    found = scores.typed(EVERYTHING)
    kinds = (*KINDS, measures.metrics, measures.active_units, measures.findings)
    measured = [pair for kind in kinds for pair in kind(found)]
    keys = [measure.key for measure, _ in measured]
    assert len(set(keys)) == len(keys)
    values = {measure.key: mean.value for measure, mean in measured}
    assert values["active_units"] == 2
    assert (values["mig.mig"], "mig" in values) == (0.25, False)
    assert values["finding.off_by"] == 0.4
