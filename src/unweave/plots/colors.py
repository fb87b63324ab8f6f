"""Colours and markers, so that groups, classes and methods are told apart by everyone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgba

# Okabe & Ito: told apart under every common colour blindness, mid-tones first (they hold on white
# and on black).
GROUP_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
# Petroff (2021), accessible colour sequences: the longest one in use, ten colours.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#57b8bd",
)  # fmt: skip

# Methods of a study: a colour and a marker each, so that neither has to be told apart alone.
METHOD_COLORS = (*GROUP_COLORS[:5], "#8a63d2", "#8c8c8c", "#a3623a", "#a8a81f", "#2fb5a8")
# By marker, the factor of its area with which all look alike in size.
METHOD_MARKERS = {
    "o": 1.0, "s": 0.9, "^": 1.25, "D": 0.75, "v": 1.25, "P": 1.3,
    "X": 1.3, "p": 1.25, "<": 1.25, ">": 1.25, "h": 1.2, "d": 1.2,
}  # fmt: skip

SHADES = LinearSegmentedColormap.from_list(
    "", [to_rgba(GROUP_COLORS[0], 0.04), to_rgba(GROUP_COLORS[0], 0.75)]
)

SIGNED = LinearSegmentedColormap.from_list(
    "",
    [
        to_rgba(GROUP_COLORS[1], 0.8),
        to_rgba(GROUP_COLORS[1], 0.02),
        to_rgba(GROUP_COLORS[0], 0.02),
        to_rgba(GROUP_COLORS[0], 0.8),
    ],
)
"""Shades of numbers about 0: orange below, blue above."""


def group_colors(groups: Sequence[str]) -> dict[str, str]:
    """Return a colour for each group, in order of appearance.

    >>> group_colors(["y", "z", "z"])
    {'y': '#0072b2', 'z': '#d55e00'}
    """
    names = dict.fromkeys(groups)
    return {name: GROUP_COLORS[i % len(GROUP_COLORS)] for i, name in enumerate(names)}


def method_looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each method, in order of appearance.

    There are sixty pairs before one comes again.

    >>> method_looks(["VAE", "β-VAE", "VAE"])
    {'VAE': ('#0072b2', 'o'), 'β-VAE': ('#d55e00', 's')}
    """
    markers = list(METHOD_MARKERS)
    looks = {}
    for i, method in enumerate(dict.fromkeys(methods)):
        looks[method] = METHOD_COLORS[i % len(METHOD_COLORS)], markers[i % len(markers)]
    return looks


def class_colors(classes: int) -> list[str]:
    """Return a colour for each class.

    They come from a set made to be told apart, or, where it does not suffice, along the rainbow.

    >>> class_colors(2), len(set(class_colors(38)))
    (['#3f90da', '#ffa90e'], 38)
    """
    if classes <= len(CLASS_COLORS):
        return list(CLASS_COLORS[:classes])
    rainbow = colormaps["turbo"]
    return [to_hex(rainbow(0.05 + 0.9 * c / (classes - 1))) for c in range(classes)]
