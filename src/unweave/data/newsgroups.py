"""20 Newsgroups: posts in 20 groups, as counts of words."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data
from unweave.data.documents import counted, plain_words, stop_words, vocabulary
from unweave.data.files import placed
from unweave.data.sparse import Sparse

PAGE = "http://qwone.com/~jason/20Newsgroups/"
FOLDER = "20newsgroups"
ARCHIVE = "20news-bydate.tar.gz"

GROUPS = (
    "alt.atheism",
    "comp.graphics",
    "comp.os.ms-windows.misc",
    "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware",
    "comp.windows.x",
    "misc.forsale",
    "rec.autos",
    "rec.motorcycles",
    "rec.sport.baseball",
    "rec.sport.hockey",
    "sci.crypt",
    "sci.electronics",
    "sci.med",
    "sci.space",
    "soc.religion.christian",
    "talk.politics.guns",
    "talk.politics.mideast",
    "talk.politics.misc",
    "talk.religion.misc",
)

ADDRESS = re.compile(r"\S+@\S+")
QUOTED = re.compile(r"^\s*(?:[A-Za-z]{0,3}>|[|:])")
ATTRIBUTION = re.compile(r"(?:writes|wrote):?\s*$|^In article\b")


def newsgroups(
    split: str = "train", root: str | Path | None = None, *, source: str = "ecrtm5000"
) -> Data:
    """Load 20 Newsgroups: 11,314 training and 7,532 test posts by date, as counts of words.

    K. Lang, "Newsweeder: Learning to filter netnews", ICML 1995; split by J. Rennie.

    Posts that hold no word of the vocabulary are left out. `Data.prepared` has the vocabulary under
    "columns".

    Args:
        split: "train" or "test".
        root: The data directory, if not the usual one (see `directory`). Its folder 20newsgroups
            has the files named below.
        source: "ecrtm5000", the 5,000 words of Wu et al., "Effective neural topic modeling with
            embedding clustering regularization" (2023): folder ecrtm5000 with train_bow.npz,
            train_labels.txt, test_… and vocab.txt. "counts", 2,000 words counted before:
            train_counts.npz, train_labels.npy, test_… and vocab.txt. "archive", counted here from
            20news-bydate.tar.gz by `words_of`: the 2,000 words that most training posts hold.

    Returns:
        x as `Sparse` counts (n, words); one factor, "group".

    Raises:
        ValueError: If the split or source has another name.
        FileNotFoundError: If a file is not there; the error says where to get it and where to put
            it.
    """
    _check_split(split)
    if source == "archive":
        x, labels, words = _from_archive(split, root)
    elif source == "ecrtm5000":
        x = _matrix(f"{source}/{split}_bow.npz", root)
        labels = np.loadtxt(_file(f"{source}/{split}_labels.txt", root), dtype=np.int64)
        words = _file(f"{source}/vocab.txt", root).read_text("utf-8").split()
    elif source == "counts":
        x = _matrix(f"{split}_counts.npz", root)
        labels = np.load(_file(f"{split}_labels.npy", root), allow_pickle=False)
        words = _file("vocab.txt", root).read_text("utf-8").split()
    else:
        raise ValueError(
            f"newsgroups has no source {source!r}; expected 'ecrtm5000', 'counts' or 'archive'"
        )
    whole = Data(
        x,
        labels[:, None].astype(np.int64),
        ("group",),
        (len(GROUPS),),
        (GROUPS,),
        f"20 newsgroups ({source})",
        prepared={"columns": words},
    )
    return whole.subset(np.diff(x.starts) > 0)


def newsgroups_texts(split: str = "train", root: str | Path | None = None) -> list[list[str]]:
    """Read the words of all posts of a split in their order (`words_of`), by group and number.

    Windows of words need them (`metrics.in_windows`, by the numbers of `data.in_order`).

    Args:
        split: "train" or "test".
        root: The data directory, if not the usual one. It has 20newsgroups/20news-bydate.tar.gz.

    Raises:
        ValueError: If the split has another name.
        FileNotFoundError: If the file is not there; the error says where to get it.
    """
    _check_split(split)
    return _posts(_file(ARCHIVE, root), split)[0]


def words_of(post: str) -> list[str]:
    """Return the words of a post in their order, in lower case.

    What stands before the first empty line (the header), quoted lines, lines that say who wrote
    what is quoted, what follows a line that begins with "--" (the signature), and e-mail addresses
    are left out. A word is three letters a to z or more.

    >>> words_of("From: me\\n\\nIn article <1> you wrote:\\n> Old news.\\nNew 3d news!\\n-- \\nme")
    ['new', 'news']
    """
    _, _, body = post.replace("\r", "").partition("\n\n")
    kept = []
    for line in body.split("\n"):
        if line.startswith("--"):
            break
        if not QUOTED.search(line) and not ATTRIBUTION.search(line):
            kept.append(line)
    text = ADDRESS.sub(" ", "\n".join(kept))
    return plain_words(text)


def _check_split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"newsgroups has no split {split!r}; expected 'train' or 'test'")


def _from_archive(
    split: str, root: str | Path | None
) -> tuple[Sparse, npt.NDArray[np.int64], list[str]]:
    path = _file(ARCHIVE, root)
    train, labels = _posts(path, "train")
    words = vocabulary(train, 2000, stop_words())
    documents = train
    if split == "test":
        documents, labels = _posts(path, "test")
    return counted(documents, words), np.array(labels), words


def _posts(path: Path, split: str) -> tuple[list[list[str]], list[int]]:
    """Read the words and the group of each post of a split, by group and number."""
    found = []
    with tarfile.open(path) as archive:
        for member in archive:
            folder, group, number = ("/" + member.name).rsplit("/", 2)
            if member.isfile() and folder.endswith(f"-{split}") and group in GROUPS:
                content = archive.extractfile(member)
                assert content is not None
                words = words_of(content.read().decode("latin-1"))
                found.append((GROUPS.index(group), int(number), words))
    found.sort(key=lambda post: post[:2])
    return [words for _, _, words in found], [group for group, _, _ in found]


def _matrix(file: str, root: str | Path | None) -> Sparse:
    from scipy import sparse

    return Sparse.of(sparse.load_npz(_file(file, root)))


def _file(file: str, root: str | Path | None) -> Path:
    return placed(FOLDER, file, root, page=PAGE)
