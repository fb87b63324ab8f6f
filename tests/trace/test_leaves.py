import pytest

from unweave.trace.leaves import block

SHAPES = {"y": (), "z": (4,), "w": (2, 3)}


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("y", [0]),
        ("y[0]", [0]),
        ("y[-1]", [0]),
        ("z", [0, 1, 2, 3]),
        ("z[:]", [0, 1, 2, 3]),
        ("z[2]", [2]),
        ("z[-1]", [3]),
        ("z[-3:-1]", [1, 2]),
        ("z[::2]", [0, 2]),
        ("z[::-1]", [0, 1, 2, 3]),
        ("z[1:9]", [1, 2, 3]),
        (" z[ 1 : 3 ] ", [1, 2]),
        ("w", [0, 1, 2, 3, 4, 5]),
        ("w[1]", [3, 4, 5]),
        ("w[:, 0]", [0, 3]),
        ("w[:, 1:]", [1, 2, 4, 5]),
        ("w[-1, -1]", [5]),
        ("w[::-1, ::2]", [0, 2, 3, 5]),
    ],
)
def test_leaves_index_units_as_tensors_do(leaf, expected):
    assert block(leaf, SHAPES) == ((leaf.split("[")[0].strip(), tuple(expected)),)
