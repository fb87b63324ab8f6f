"""CelebA: aligned faces with 40 attributes."""

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unweave.data import npz
from unweave.data.data import Data
from unweave.data.files import directory, placed
from unweave.data.prepared import Pixels, prepared
from unweave.data.store import Store

SIDE = 64
CROP = 148
PARTS = ("train", "valid", "test")
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
# Checksums as in tensorflow_datasets' url_checksums/celeb_a.txt.
FILES = {
    "img_align_celeba.zip": (
        "sha256 46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74"
    ),
    "list_attr_celeba.txt": (
        "sha256 f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0"
    ),
    "list_eval_partition.txt": (
        "sha256 fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7"
    ),
}
SAMPLE = "celeba_5000_64x64.npz"


def celeba(
    split: str = "train", root: str | Path | None = None, *, source: str | None = None
) -> Data:
    """Load CelebA: 202,599 faces with 40 attributes, their central 148x148 pixels made 64x64.

    Z. Liu, P. Luo, X. Wang and X. Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015.
    Licence: for non-commercial research; the images may not be passed on.

    An attribute is published as 1 or −1, present or absent; here it is class 1 or 0, and none is
    missing. PIL's bilinear filter makes the faces small, all parts at once, into the cache
    (`prepared.cache`): computed, 202599·64·64·3 bytes = 2.5 GB there. They are mapped afterwards,
    and a part is a view of them. The files' names, counts and columns are checked at each load. The
    files' checksums are not; the error for a missing file tells them.

    Args:
        split: ``"train"`` (162,770), ``"valid"`` (19,867), ``"test"`` (19,962), or ``"all"``.
        root: The data directory, if not the usual one (see `directory`). Its folder ``celeba``
            holds img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt.
        source: ``"published"``, or ``"sample"``: the file celeba_5000_64x64.npz there, 5,000
            training faces with keys images, attributes, attribute_names. Its split is ``"train"``,
            its name "celeba sample". None takes the sample if it alone is there and the split is
            ``"train"``.

    Returns:
        x uint8 of shape (n, 64, 64, 3), channels last; 40 factors with the values "absent" and
        "present".

    Raises:
        ValueError: If the split or source has another name, or the files disagree.
        FileNotFoundError: If a file is not there; the error says where to get it and where to put
            it.

    >>> celeba("test").names[:2]  # doctest: +SKIP
    ('5_o_Clock_Shadow', 'Arched_Eyebrows')
    """
    if source is None:
        here = directory(root) / "celeba"
        is_alone = (here / SAMPLE).exists() and not any((here / file).exists() for file in FILES)
        source = "sample" if is_alone and split == "train" else "published"
    if source not in ("published", "sample"):
        raise ValueError(f"celeba has no source {source!r}; expected 'published' or 'sample'")
    parts = (*PARTS, "all") if source == "published" else ("train",)
    if split not in parts:
        raise ValueError(
            f"celeba ({source}) has no split {split!r}; expected {', '.join(map(repr, parts))}"
        )
    return _sample(root) if source == "sample" else _published(split, root)


def _sample(root: str | Path | None) -> Data:
    path = placed("celeba", SAMPLE, root, page=PAGE)
    n = npz.shapes(path)["images"][0][0]
    names = tuple(npz.read(path, "attribute_names").tolist())
    npz.check(path, images=(n, SIDE, SIDE, 3), attributes=(n, len(names)))
    return _faces(npz.read(path, "images"), npz.read(path, "attributes"), names, "celeba sample")


def _published(split: str, root: str | Path | None) -> Data:
    archive, attributes, partition = (
        placed("celeba", file, root, page=PAGE, facts=facts) for file, facts in FILES.items()
    )
    files, names, signs = read_attributes(attributes)
    part = read_partition(partition, files)

    def parts() -> Iterator[Pixels]:
        with zipfile.ZipFile(archive) as pictures:
            for file in files:
                face = _small(pictures.read(f"img_align_celeba/{file}"))
                yield face[None]

    order = zlib.crc32("".join(files).encode())  # another list of files makes other rows
    x: Store = prepared(archive, f"pixels{order:x}", (len(files), SIDE, SIDE, 3), parts)
    chosen = np.arange(len(files))
    if split != "all":
        chosen = np.flatnonzero(part == PARTS.index(split))
    if len(chosen):
        first, last = int(chosen[0]), int(chosen[-1])
        if last - first + 1 == len(chosen):  # in one piece, as published: a view, not a copy
            rows = slice(first, last + 1)
            return _faces(x[rows], signs[rows], names, "celeba")
    return _faces(x[chosen], signs[chosen], names, "celeba")


def _faces(x: Store, signs: npt.NDArray[np.int8], names: tuple[str, ...], name: str) -> Data:
    if not np.isin(signs, (-1, 1)).all():
        raise ValueError(
            f"{name}: attributes hold {np.unique(signs).tolist()}; expected -1 (absent) and 1 "
            "(present)"
        )
    return Data(
        x,
        factors=(signs > 0).astype(np.int64),
        names=names,
        sizes=(2,) * len(names),
        values=(("absent", "present"),) * len(names),
        name=name,
    )


def read_attributes(path: Path) -> tuple[list[str], tuple[str, ...], npt.NDArray[np.int8]]:
    """Read list_attr_celeba.txt, which holds a count, the attributes' names and a row a file.

    Returns:
        The files, the attributes' names and the attributes' signs (n, attributes).
    """
    count, header, *rows = path.read_text(encoding="ascii").splitlines()
    cells = [row.split() for row in rows if row.strip()]
    names = tuple(header.split())
    if len(cells) != int(count) or any(len(row) != len(names) + 1 for row in cells):
        raise ValueError(
            f"{path} has {len(cells)} rows; expected {count} with a file and {len(names)} "
            "attributes each"
        )
    files = [row[0] for row in cells]
    signs = np.array([row[1:] for row in cells])
    return files, names, signs.astype(np.int8)


def read_partition(path: Path, files: list[str]) -> npt.NDArray[np.int8]:
    """Read the part of each file, 0 to 2, from list_eval_partition.txt: a file and a part a row."""
    lines = path.read_text(encoding="ascii").splitlines()
    rows = dict(line.split() for line in lines if line.strip())
    missing = [file for file in files if file not in rows]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of {len(files)} files, such as {missing[0]}: get it again"
        )
    return np.array([rows[file] for file in files]).astype(np.int8)


def _small(content: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    face = Image.open(BytesIO(content)).convert("RGB")
    left = (face.width - CROP) // 2
    top = (face.height - CROP) // 2
    square = face.crop((left, top, left + CROP, top + CROP))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
