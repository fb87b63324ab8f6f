"""Data as arrays, and a function for each source of them.

Importing this is light: a reader imports the library that it needs when it is called.
"""

from collections.abc import Callable

from unweave.data.cars3d import cars3d
from unweave.data.celeba import celeba
from unweave.data.data import Data
from unweave.data.digits import digits
from unweave.data.documents import documents
from unweave.data.dsprites import dsprites
from unweave.data.files import directory, fetch, set_directory
from unweave.data.idx import fashion_mnist, mnist
from unweave.data.mouse import mouse
from unweave.data.mpi3d import mpi3d
from unweave.data.multi_digits import compose, multi_digits, windows
from unweave.data.newsgroups import newsgroups
from unweave.data.own import read
from unweave.data.programs import programs
from unweave.data.sampling import correlated, held_out, hierarchical, independent
from unweave.data.shapes3d import shapes3d
from unweave.data.small_norb import small_norb
from unweave.data.sparse import Sparse
from unweave.data.sprites import Scene, sprites
from unweave.data.store import Bits
from unweave.data.tables import columns
from unweave.data.yaleb import yaleb

__all__ = [
    "SOURCES",
    "Bits",
    "Data",
    "Scene",
    "Sparse",
    "cars3d",
    "celeba",
    "columns",
    "compose",
    "correlated",
    "digits",
    "directory",
    "documents",
    "dsprites",
    "fashion_mnist",
    "fetch",
    "held_out",
    "hierarchical",
    "independent",
    "mnist",
    "mouse",
    "mpi3d",
    "multi_digits",
    "newsgroups",
    "programs",
    "read",
    "set_directory",
    "shapes3d",
    "small_norb",
    "sprites",
    "windows",
    "yaleb",
]

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
