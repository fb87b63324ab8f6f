"""scikit-learn's handwritten digits: real data that needs no download."""

from pathlib import Path

import numpy as np

from unweave.data.data import Data, random_keys

HELD_OUT = 360


def digits(split: str = "train", root: str | Path | None = None) -> Data:
    """1,797 handwritten digits of 8x8 pixels in 17 grey levels, divided by 16.

    E. Alpaydin and C. Kaynak, "Cascading classifiers", Kybernetika 34 (1998); the test set of the
    UCI collection "Optical Recognition of Handwritten Digits" (CC BY 4.0), shipped with
    scikit-learn.

    There is no published split of these. Ours is fixed: 1,437 to train and 360 to test, each class
    in proportion. The writers are not recorded, so the two parts share them.

    Args:
        split: ``"train"`` or ``"test"``.
        root: Not used: the data come with scikit-learn. Here so that all sources are called alike.

    Returns:
        x of shape (1437 or 360, 8, 8); one factor, "digit".

    Raises:
        ValueError: If the split has another name.

    >>> data = digits("test")
    >>> data
    Data(digits: 360 items of shape (8, 8); factors: digit (10))
    >>> np.bincount(data.factors[:, 0]).tolist()
    [36, 37, 35, 37, 36, 36, 37, 36, 34, 36]
    """
    if split not in ("train", "test"):
        raise ValueError(f"digits has no split {split!r}; expected 'train' or 'test'")
    from sklearn.datasets import load_digits

    found = load_digits()
    labels = np.asarray(found.target, dtype=np.int64)
    x = np.asarray(found.images / 16, dtype=np.float32)  # (1797, 8, 8)
    values = tuple(map(str, range(10)))
    every = Data(x, labels[:, None], ("digit",), (10,), (values,), "digits")
    # Shuffled within classes, the classes one after another: equal steps then take from each in
    # proportion.
    order = np.lexsort((random_keys(len(x), seed=0), labels))
    test = np.zeros(len(x), dtype=bool)
    test[order[np.arange(HELD_OUT) * len(x) // HELD_OUT]] = True
    return every.subset(test if split == "test" else ~test)
