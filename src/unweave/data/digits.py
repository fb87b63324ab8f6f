"""scikit-learn's handwritten digits: real data that needs no download."""

from pathlib import Path

import numpy as np

from unweave.data.data import Data, random_keys

HELD_OUT = 360


def digits(split: str = "train", root: str | Path | None = None) -> Data:
    """Load scikit-learn's 1,797 digits of 8x8 pixels in 17 grey levels, divided by 16.

    E. Alpaydin and C. Kaynak, "Cascading classifiers", Kybernetika 34 (1998); the test set of the
    UCI collection "Optical Recognition of Handwritten Digits" (CC BY 4.0), shipped with
    scikit-learn.

    They have no published split. Ours is fixed: 1,437 to train and 360 to test, each class in
    proportion. The writers are not recorded, so the two parts share them.

    Args:
        split: ``"train"`` or ``"test"``.
        root: Not used, because the data come with scikit-learn; all sources take it.

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
    # The classes come one after another, each shuffled: equal steps take from each in proportion.
    order = np.lexsort((random_keys(len(x), seed=0), labels))
    steps = np.arange(HELD_OUT) * len(x) // HELD_OUT
    test = np.zeros(len(x), dtype=bool)
    test[order[steps]] = True
    return every.subset(test if split == "test" else ~test)
