"""The published sets by name."""

from __future__ import annotations

from collections.abc import Callable

from .cars3d import cars3d
from .celeba import celeba
from .data import Data
from .digits import digits
from .dsprites import dsprites
from .idx import fashion_mnist, mnist
from .mpi3d import mpi3d
from .newsgroups import newsgroups
from .shapes3d import shapes3d
from .small_norb import small_norb
from .yaleb import yaleb

SOURCES: dict[str, Callable[..., Data]] = {
    "cars3d": cars3d,
    "celeba": celeba,
    "digits": digits,
    "dsprites": dsprites,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
    "mpi3d": mpi3d,
    "newsgroups": newsgroups,
    "shapes3d": shapes3d,
    "small_norb": small_norb,
    "yaleb": yaleb,
}
"""The published sets by name: functions of `(split, root)` that return `Data`."""
