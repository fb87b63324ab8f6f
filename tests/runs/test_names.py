"""Names of units are kept in the run's folder, and its page shows them."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from unweave.runs import names


def test_names_are_kept_and_forgotten(tmp_path):
    assert names.read(tmp_path) == {}
    names.keep(tmp_path, "z[0]", "slant", "to the right")
    names.keep(tmp_path, "z[1]", "width")
    assert names.read(tmp_path) == {
        "z[0]": names.Named("slant", "to the right"),
        "z[1]": names.Named("width"),
    }
    assert "z[0]" not in names.keep(tmp_path, "z[0]", "", "")


def test_names_that_are_kept_at_once_are_all_kept(tmp_path):
    units = [f"z[{k}]" for k in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(names.keep, tmp_path, name="slant"), units))
    assert names.read(tmp_path).keys() == set(units)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / names.FILE).write_text('{"z[0]": 3}')
    with pytest.raises(ValueError, match=r"names.json is damaged .*: restore it, or remove it"):
        names.read(tmp_path)
