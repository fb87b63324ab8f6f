import random
import re

import pytest
from support.programs import LEAVES, tree

from unweave.trace.groups import chain, every, intersect, union
from unweave.trace.leaves import block, name

SHAPES = {"y": (), "z": (4,), "w": (2, 3)}


def units(part):
    return sorted((site, u) for site, numbers in part for u in numbers)


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [
        ("z", [[4], [4], [1] * 4]),
        (("z",), [[4], [4], [1] * 4]),
        (("z[:1]", "z[1:]"), [[4], [1, 3], [1] * 4]),
        ((("z[0]", "z[1]"), "z[2:]"), [[4], [2, 2], [1, 1, 2], [1] * 4]),
        (((("z[0]", "z[1]"), "z[2]"), "z[3]"), [[4], [3, 1], [2, 1, 1], [1, 1, 1, 1], [1] * 4]),
    ],
)
def test_chains_start_with_everything_and_end_with_units(groups, sizes):
    levels = chain(groups, {"z": (4,)})
    assert [[len(units(b)) for b in level] for level in levels] == sizes


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_every_level_is_a_partition_that_refines_the_one_above(depth):
    shapes = {"z": (3,), "w": (2, 2), "y": (), "u": (2,), "s": (2,)}
    rng = random.Random(depth)
    for _ in range(25):
        levels = chain(tree(rng, depth, LEAVES), shapes)
        assert len(levels) == depth + 2
        whole = sorted(u for b in every(shapes) for u in units(b))
        assert len(levels[0]) == 1
        for coarse, fine in zip(levels, [*levels[1:], every(shapes)], strict=True):
            assert sorted(u for b in coarse for u in units(b)) == whole
            assert all(sum(set(units(b)) <= set(units(c)) for c in coarse) == 1 for b in fine)


def test_a_group_of_slices_of_one_site_is_one_block():
    assert chain((("z[3]", "z[:2]"), "z[2]"), {"z": (4,)})[1] == [
        (("z", (0, 1, 3)),),
        (("z", (2,)),),
    ]


def test_blocks_are_written_intersected_and_joined():
    a, b = block("z[:3]", SHAPES), block("z[2:]", SHAPES)
    assert intersect(a, b) == (("z", (2,)),)
    assert intersect(a, block("y", SHAPES)) == ()
    assert (
        name(union([block("y", SHAPES), block("z[2]", SHAPES), block("z[0]", SHAPES)]), SHAPES)
        == "y, z[0 2]"
    )


@pytest.mark.parametrize(
    ("groups", "error", "says"),
    [
        (("y", "z", "w", "style"), KeyError, r"'style', but the latent sites are: 'y', 'z', 'w'"),
        (("y", "z", "w", "z[3]"), ValueError, r"hold z\[3\] more than once"),
        (("y", ("z", "z[1:]"), "w"), ValueError, r"hold z\[1\], z\[2\], z\[3\] more than once"),
        (
            ("y", "z[1:]", "w[:, 0]"),
            ValueError,
            r"leave out z\[0\], w\[1\], w\[2\], w\[4\], w\[5\]",
        ),
        (("y", "z", ()), ValueError, "a group is empty"),
        ((), ValueError, "a group is empty"),
        (("z[4]",), ValueError, r"out of range: that dimension has 4 units, 0 to 3"),
        (("z[-5]",), ValueError, "out of range"),
        (("z[2:2]",), ValueError, "picks no unit"),
        (("z[a]",), ValueError, "is no slice"),
        (("z[-:2]",), ValueError, "is no slice"),
        (("z[1:2:3:4]",), ValueError, "is no slice"),
        (("z[1, 2]",), ValueError, r"2 indices, but site 'z' has units of shape \(4,\)"),
        (("y[0, 0]",), ValueError, "2 indices"),
        (("z[]",), KeyError, "groups name"),
    ],
)
def test_errors_name_the_fault(groups, error, says):
    with pytest.raises(error, match=says):
        chain(groups, SHAPES)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (("z", 3), "groups have the leaf 3, int: a group is a site's name"),
        (("z", None), "groups have the leaf None, NoneType"),
        (None, "groups have the leaf None"),
        ({"z": 1}, "groups have the leaf {'z': 1}, dict"),
        (b"z", "groups have the leaf 122, int"),
        (("z[::0]",), "is no slice"),
        (("z[" + 900 * "9" + "]",), "no slice"),
    ],
)
def test_leaves_that_are_no_text_are_named(tree, said):
    with pytest.raises((ValueError, KeyError), match=re.escape(said)):
        chain(tree, {"z": (3,)})


def test_trees_without_end_and_endless_leaves_are_refused_at_once():
    tree = "z"
    for _ in range(10_000):
        tree = (tree,)
    with pytest.raises(ValueError, match="more than 64 levels"):
        chain(tree, {"z": (3,)})
    with pytest.raises(KeyError, match="the latent sites are: 'z'"):
        chain("z" + 100_000 * " " + "[", {"z": (3,)})
