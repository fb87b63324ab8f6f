"""The idx format, and the data sets published in it: MNIST and Fashion-MNIST."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data
from unweave.data.files import fetch

# The types of numbers by the third byte of the magic number; all that follows is big-endian.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MOST_SIZES = 32
"""The rank of an array at most, as all versions of NumPy have it."""


def mnist(split: str = "train", root: str | Path | None = None) -> Data:
    """Load MNIST: 70,000 handwritten digits of 28x28 pixels in 256 grey levels, divided by 255.

    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86 (1998). Licence: CC BY-SA 3.0.

    Args:
        split: ``"train"`` (60,000) or ``"test"`` (10,000).
        root: The data directory, if not the usual one (see `directory`). The files may lie in its
            folder ``mnist`` or ``MNIST/raw``; missing ones are downloaded, 12 MB in all.

    Returns:
        x of shape (60000 or 10000, 28, 28); one factor, "digit".

    Raises:
        ValueError: If the split has another name, or a file is there but is not the published one.
        FileNotFoundError: If a file is not there and can't be downloaded; the error says where to
            put it.
        OSError: If a file is to be downloaded and the directory can't be written.

    >>> mnist("test")  # doctest: +SKIP
    Data(mnist: 10000 items of shape (28, 28); factors: digit (10))
    """
    return _load(MNIST, split, root)


def fashion_mnist(split: str = "train", root: str | Path | None = None) -> Data:
    """Load Fashion-MNIST: 70,000 articles of clothing, 28x28 in 256 grey levels, divided by 255.

    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747 (2017). Licence: MIT.

    Splits, shape and errors are those of `mnist`; the one factor is "class". The files may lie in
    the folder ``fashion_mnist`` or ``FashionMNIST/raw``; missing ones are downloaded, 31 MB in all.

    >>> fashion_mnist("test").values[0][9]  # doctest: +SKIP
    'Ankle boot'
    """
    return _load(FASHION_MNIST, split, root)


def read(path: str | Path) -> npt.NDArray[Any]:
    """Read the array in an idx file, plain or gzipped.

    The format is: two zero bytes, the type of number, the rank, that many sizes (four bytes each)
    and the numbers, all big-endian (Y. LeCun, "The MNIST database of handwritten digits").

    Raises:
        ValueError: If the file is damaged or not in this format.
    """
    content = _unpacked(Path(path))
    is_headed = len(content) >= 4 and content[:2] == b"\0\0" and content[2] in DTYPES
    if not is_headed or not 0 < content[3] <= MOST_SIZES:
        types = ", ".join(f"{code:02x}" for code in DTYPES)
        raise ValueError(
            f"{path} is not an idx file: it starts with {content[:4].hex(' ') or 'nothing'}; "
            f"expected 00 00, a type ({types}) and a rank of at least 1, at most {MOST_SIZES}"
        )
    dtype = np.dtype(DTYPES[content[2]])
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "followed by other bytes"
        raise ValueError(
            f"{path} is {what}: it has {len(content):,} bytes; "
            f"expected {expected:,} for shape {shape} of {dtype.name}: get it again"
        )
    found = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return found.astype(dtype.newbyteorder("="))


def read_pair(images: str | Path, labels: str | Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Read two idx files that belong together: images (n, *shape) and their labels (n,)."""
    x, y = read(images), read(labels)
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"{images} has shape {x.shape} and {labels} {y.shape}; expected a label for each "
            "image: take both files from the same split"
        )
    return x, y


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}): get it again") from error


@dataclass(frozen=True)
class _Published:
    """A set in four idx files: the (sha256, size) of images and labels in each split."""

    name: str
    factor: str
    values: tuple[str, ...]
    torchvision: str
    mirrors: tuple[str, ...]
    train: tuple[tuple[str, int], tuple[str, int]]
    test: tuple[tuple[str, int], tuple[str, int]]


def _load(source: _Published, split: str, root: str | Path | None) -> Data:
    splits = {"train": ("train", source.train), "test": ("t10k", source.test)}
    if split not in splits:
        raise ValueError(f"{source.name} has no split {split!r}; expected 'train' or 'test'")
    prefix, published = splits[split]
    files = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    mirrors, also = source.mirrors, (source.torchvision,)
    paths = []
    for file, (sha256, size) in zip(files, published, strict=True):
        path = fetch(source.name, file, sha256, mirrors, root, size=size, also=also)
        paths.append(path)
    images, labels = read_pair(*paths)
    x = np.divide(images, 255, dtype=np.float32)  # (n, 28, 28)
    factors = labels.astype(np.int64)[:, None]  # (n, 1)
    return Data(
        x,
        factors,
        names=(source.factor,),
        sizes=(len(source.values),),
        values=(source.values,),
        name=source.name,
    )


MNIST = _Published(
    name="mnist",
    factor="digit",
    values=tuple("0123456789"),
    torchvision="MNIST/raw",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    train=(
        ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9912422),
        ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28881),
    ),
    test=(
        ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1648877),
        ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4542),
    ),
)
FASHION_MNIST = _Published(
    name="fashion_mnist",
    factor="class",
    values=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    torchvision="FashionMNIST/raw",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    train=(
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26421880),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29515),
    ),
    test=(
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4422102),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5148),
    ),
)
