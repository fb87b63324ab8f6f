"""Tests of tables: the reader returns a file's content and types, or an error says the fix."""

import numpy as np
import pandas
import pyarrow
import pytest
from pyarrow import parquet

from unweave.data.tables import columns

TABLE = {
    "count": np.array([3, -1, 2**53 + 1]),
    "height": np.array([0.1, np.nan, -3e300]),
    "round": np.array([True, False, True]),
    "shape": np.array(["heart", "éllipse, broad", "10"]),
}
MISSING = {
    "shape": np.array(["heart", None, "square"], dtype=object),
    "count": np.array([1.0, np.nan, 3.0]),
}


def same(found, expected):
    assert list(found) == list(expected)
    for name, column in expected.items():
        assert found[name].dtype.kind == np.asarray(column).dtype.kind, name
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize("table", [TABLE, MISSING], ids=["full", "missing"])
def test_every_source_gives_the_same_columns(tmp_path, table):
    frame = pandas.DataFrame(table)
    frame.to_parquet(tmp_path / "table.parquet")
    frame.to_csv(
        tmp_path / "table.csv", index=False, quoting=2
    )  # quotes around text, and around nothing
    frame.to_csv(tmp_path / "table.tsv", index=False, sep="\t")
    arrow = pyarrow.table(
        {name: pyarrow.array(column, from_pandas=True) for name, column in table.items()}
    )
    sources = [
        table,
        frame,
        arrow,
        columns(table),
        tmp_path / "table.parquet",
        str(tmp_path / "table.csv"),
    ]
    for source in sources:
        same(columns(source), table)
    assert list(columns(tmp_path / "table.tsv")) == list(table)


def test_polars_frames_come_by_the_arrow_interface():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    same(
        columns(polars.DataFrame({"a": [1, 2], "t": ["x", "y"]})),
        {"a": np.array([1, 2]), "t": np.array(["x", "y"])},
    )


def test_anything_with_the_arrow_interface_is_a_frame():
    class Foreign:
        def __arrow_c_stream__(self, requested_schema=None):
            return pyarrow.table({"a": [1, None], "when": ["x", None]}).__arrow_c_stream__(
                requested_schema
            )

    same(
        columns(Foreign()),
        {"a": np.array([1.0, np.nan]), "when": np.array(["x", None], dtype=object)},
    )


def test_arrays_and_their_files(tmp_path):
    codes = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "codes.npy", codes)
    expected = {"0": np.array([0.0, 2, 4]), "1": np.array([1.0, 3, 5])}
    for source in (
        codes,
        codes.tolist(),
        tmp_path / "codes.npy",
        np.asfortranarray(codes),
        codes.astype(">f2"),
    ):
        same(columns(source), expected)
    same(columns(np.array([1, 2], dtype=np.uint8)), {"0": np.array([1, 2])})
    several = {"z": codes, "y": np.array(["a", "b", "c"]), "w": np.array([[1], [2], [3]])}
    np.savez(tmp_path / "several.npz", **several)
    named = {
        "z.0": expected["0"],
        "z.1": expected["1"],
        "y": several["y"],
        "w": np.array([1, 2, 3]),
    }
    same(columns(tmp_path / "several.npz"), named)
    np.savez(tmp_path / "one.npz", z=codes)
    assert list(columns(tmp_path / "one.npz")) == ["z.0", "z.1"]
    structured = np.array([(1, 0.5), (2, 1.5)], dtype=[("a", "i4"), ("b", "f4")])
    same(columns(structured), {"a": np.array([1, 2]), "b": np.array([0.5, 1.5])})


def test_what_python_and_numpy_call_missing_is_missing():
    found = columns(
        {
            "a": [1, None, 3],
            "b": [True, None, False],
            "c": ["x", None, float("nan")],
            "d": [None] * 3,
        }
    )
    np.testing.assert_array_equal(found["a"], [1, np.nan, 3])
    np.testing.assert_array_equal(found["b"], [1, np.nan, 0])
    assert found["c"].tolist() == ["x", None, None]
    assert np.isnan(found["d"]).all()
    np.testing.assert_array_equal(columns(np.ma.array([1, 2], mask=[0, 1]))["0"], [1, np.nan])


def test_types_of_frames_that_numpy_lacks():
    frame = pandas.DataFrame(
        {
            "category": pandas.Categorical(["b", "a", "b"]),
            "day": pandas.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
            "nullable": pandas.array([1, None, 3], dtype="Int64"),
        },
        index=["x", "y", "z"],
    )
    found = columns(frame)
    assert list(found) == ["category", "day", "nullable"]  # and no index
    assert found["category"].tolist() == ["b", "a", "b"]
    assert found["day"][0].startswith("2020-01-01")
    np.testing.assert_array_equal(found["nullable"], [1, np.nan, 3])


def test_a_type_is_that_of_all_rows_of_a_long_csv(tmp_path):
    n = 400_000  # beyond the reader's first megabyte
    path = tmp_path / "long.csv"
    path.write_text("a,b\n" + "1,2\n" * n + "1.5,x\n")
    found = columns(path)
    assert found["a"].dtype == np.float64
    assert found["a"][-1] == 1.5
    assert found["b"][-1] == "x"
    assert len(found["b"]) == n + 1


def test_a_parquet_file_of_wide_types(tmp_path):
    path = tmp_path / "wide.parquet"
    table = pyarrow.table(
        {
            "u": pyarrow.array([1, 2], pyarrow.uint64()),
            "l": pyarrow.array(["a", "b"]).dictionary_encode(),
        }
    )
    parquet.write_table(table, path)
    same(columns(path), {"u": np.array([1, 2]), "l": np.array(["a", "b"])})


CSVS = {
    "": "empty.*write it again",
    "a,b\n": "no rows",
    "a,b\n1,2\n1,2,3\n": "Expected 2 columns, got 3.*mend that line",
    "a,b,a\n1,2,3\n": "several columns are called a.*rename",
    "a;b\n1;2\n1;2;3\n": "Expected 2 columns, got 3.*mend that line",
    "0.5,1.5\n1,2\n": "first line has numbers.*line of names",
    ",a\n5,1\n": "column 1 has no name.*index=False",
}


@pytest.mark.parametrize("text", CSVS)
def test_csv_errors_say_the_fix(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=CSVS[text]):
        columns(tmp_path / "t.csv")


NUMBERS = {
    "semicolons": ("a;b\n1;2.5\n3;4\n", "t.csv is delimited by semicolons"),
    "tabs": ("a\tb\n1\t2.5\n3\t4\n", "t.csv is delimited by tabs"),
    "decimal commas": ("a;b\n1;2,5\n3;4,0\n", "decimal commas, which are read as points: b"),
    "tabs and commas": ("a\tb\n1\t2,5\n3\t4\n", "decimal commas, which are read as points: b"),
    "blanks": ("a, b\n1, 2.5\n3 , 4\n", None),
    "blanks and quotes": ('"a", "b"\n1, "2.5"\n3, "4"\n', None),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers_in_other_forms_of_text(tmp_path, form):
    text, sentence = NUMBERS[form]
    (tmp_path / "t.csv").write_text(text)
    said = []
    same(columns(tmp_path / "t.csv", say=said.append), {"a": [1, 3], "b": [2.5, 4]})
    assert sentence in said[-1] if sentence else said == []


def test_thousands_are_no_decimals(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,"1,234"\n2,"5,678"\n')
    assert columns(tmp_path / "t.csv")["b"].tolist() == ["1,234", "5,678"]
    (tmp_path / "t.csv").write_text("a;b\n1,5;1.234\n2,5;5.678\n")
    found = columns(tmp_path / "t.csv", say=lambda sentence: None)
    same(found, {"a": [1.5, 2.5], "b": ["1.234", "5.678"]})


@pytest.mark.parametrize("word", ["?", "-", ".", "None", "–"])
def test_words_for_missing_numbers_are_text_among_text(tmp_path, word):
    (tmp_path / "t.csv").write_text(f"n,kind\n1,a\n{word},{word}\n3,b\n", encoding="utf-8")
    said = []
    found = columns(tmp_path / "t.csv", say=said.append)
    same(found, {"n": [1.0, np.nan, 3.0], "kind": ["a", word, "b"]})
    assert said == [f"n: {word!r} is read as missing, in 1 of 3 rows"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_in_the_encodings_of_spreadsheets(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("größe;art\n1,5;fünf\n2;sechs\n".encode(encoding))
    said = []
    found = columns(tmp_path / "t.csv", say=said.append)
    same(found, {"größe": [1.5, 2.0], "art": ["fünf", "sechs"]})
    is_other = encoding in ("utf-16", "cp1252")
    assert (f"t.csv is no UTF-8 and is read as {encoding}" in said) == is_other


def test_text_of_no_encoding_says_so(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a\nf\x81nf\n")
    with pytest.raises(ValueError, match=r"neither UTF-8 nor cp1252.*save it as UTF-8"):
        columns(tmp_path / "t.csv")


def test_an_index_that_pandas_wrote_is_left_out(tmp_path):
    pandas.DataFrame({"a": [5, 1, 4]}).to_csv(tmp_path / "t.csv")
    said = []
    same(columns(tmp_path / "t.csv", say=said.append), {"a": [5, 1, 4]})
    assert said == ["t.csv: column 1 has no name, counts the rows and is left out"]


def test_what_spreadsheets_add_is_left_out(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\na;b;\n1;2,5;\n3;4;\n")
    said = []
    same(columns(tmp_path / "t.csv", say=said.append), {"a": [1, 3], "b": [2.5, 4]})
    assert said[-1] == "t.csv: column 3 has no name, is empty and is left out"


def test_what_is_dropped_is_not_read(tmp_path):
    strange = pandas.DataFrame({"a": [1, 2], "boxes": [[1], [2, 3]]})
    strange.to_parquet(tmp_path / "t.parquet")
    for source in (strange, tmp_path / "t.parquet"):
        same(columns(source, drop=["boxes"]), {"a": [1, 2]})
        with pytest.raises(KeyError, match="no column 'box' to drop; there are a, boxes"):
            columns(source, drop=["box"])
    objects = np.array([{}, 1], dtype=object)
    np.savez(tmp_path / "t.npz", a=[1, 2], objects=objects)
    said = []
    same(columns(tmp_path / "t.npz", drop=["objects"], say=said.append), {"a": [1, 2]})
    assert said == []
    same(columns(tmp_path / "t.npz", say=said.append), {"a": [1, 2]})
    assert said == ["t.npz: left out, as only pickle reads it, and that runs code: objects"]


WRONG = [
    ({"a": [1, 2], "b": [1]}, "'a' 2, 'b' 1"),
    ({"a": np.array([1, "x"], dtype=object)}, "dtype object and holds int, str.*astype"),
    ({"a": np.array([[1], [2, 3]], dtype=object)}, "list<.*leave it out"),
    ({"a.0": [1, 2], "a": np.zeros((2, 2))}, "several columns are called a.0"),
    ({}, "no columns"),
    (np.zeros((0, 3)), "no rows"),
    (np.zeros((3, 0)), "no columns"),
    (np.zeros((3, 2, 2)), "reshape"),
    (np.zeros(()), "expected .n,."),
    (np.zeros(3, dtype=complex), "complex128.*convert"),
    (np.array([2**63], dtype=np.uint64), "beyond int64"),
    (pandas.Series([1, 2]), "to_frame"),
    (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "[Dd]uplicate|several columns"),
    (pandas.DataFrame({"a": [1, "x"]}), "the data frame.*expected columns"),
    (pandas.DataFrame({"a": [[1], [2]]}), "leave it out"),
]


@pytest.mark.parametrize(("source", "message"), WRONG)
def test_errors_say_the_fix(source, message):
    with pytest.raises(ValueError, match=message):
        columns(source)


def test_files_that_are_not_what_they_seem(tmp_path):
    for ending in ("npy", "npz", "parquet"):
        path = tmp_path / f"broken.{ending}"
        path.write_bytes(b"no such thing" * 9)
        with pytest.raises(ValueError, match=r"save it again|pickle"):
            columns(path)
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"only pickle reads.*astype"):
        columns(tmp_path / "objects.npy")
    (tmp_path / "t.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"unknown ending '.xlsx'.*convert"):
        columns(tmp_path / "t.xlsx")
    with pytest.raises(FileNotFoundError, match="no such file"):
        columns(tmp_path / "absent.csv")
