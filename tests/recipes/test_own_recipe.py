"""The recipe of a person's own data, with the tables that people have."""

import json

import numpy as np
import pandas
import pytest

from unweave.recipes import own


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"patient_id": rng.permutation(1000)[:40]})
    frame["name"] = [f"person {k}" for k in range(40)]
    frame["sex"] = ["m", "f"] * 20
    frame["height"] = rng.normal(170, 10, 40)
    frame["weight"] = rng.normal(70, 10, 40)
    frame.loc[3, "weight"] = np.nan
    frame.to_csv(tmp_path / "t.csv", sep=";", decimal=",", encoding="cp1252", na_rep="?")
    return str(tmp_path / "t.csv")


def test_identifiers_do_not_stop_it_and_columns_can_be_left_out(table, capsys):
    with pytest.raises(ValueError, match=r"sex hold text.*`--labels sex`.*`--drop sex`"):
        own(data=table)
    with pytest.raises(ValueError, match=r"missing in weight \(1\).*`--drop NAMES`.*`--missing"):
        own(data=table, drop="sex")
    assert own(data=table, drop="sex, weight").data.shape == (1,)
    made = own(data=table, labels="sex", missing="mean")
    assert made.data.shape == (2,)
    assert made.data.names == ("sex",)
    said = capsys.readouterr().err
    assert "left out, as it only names or counts rows: patient_id, name" in said
    json.dumps(dict(made.flags))


def test_labels_of_an_array_are_a_file_beside_it(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((30, 4)))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    made = own(data=str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"))
    assert made.data.names == ("label",)
