"""The report of `generalisation`: cells that were left out against cells that were seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from unweave.data.data import random_keys, some
from unweave.runs.findings import Array, Finding, Number, Picture

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.training.recipe import Recipe

Features: TypeAlias = Callable[[Array], Array]
Reader: TypeAlias = Callable[[Array, Array], Array]

PROBED = 2000
"""Training items whose codes the read-out is fitted on."""

GAIN = 0.01
"""Share of items by which products of codes must read more than the codes alone."""

WITHIN = 3
"""Steps of a place, of 32, by which it may be wrong and still count as right."""

WINDOW = 16
"""Pixels a side of the windows about the mass in which shapes are named."""

SHOWN = 10
"""Left-out items in the picture."""


def of_sprites(
    model: Model, recipe: Recipe, *, held: Data, everything: Data, words: tuple[str, str]
) -> Sequence[Finding]:
    """Compare errors, read-outs and what is drawn again, of sprites.

    Args:
        model: The trained model.
        recipe: Its recipe, whose test items are of cells that were seen.
        held: Test items of cells that were left out.
        everything: Items of all cells, by which the classifier names images.
        words: Names of the cells and of the model.
    """
    read = _read(model, recipe, held, "shape", {"posX": WITHIN, "posY": WITHIN})
    drawn = [_drawn_right(model, part, everything) for part in _parts(recipe, held)]
    return [
        *_errors(model, recipe, held),
        *_shares("shape and place read from the code", read),
        *_shares("shape and place right in the image drawn again", drawn),
        _picture(model, held, words),
    ]


def of_digits(
    model: Model, recipe: Recipe, *, held: Data, everything: Data, words: tuple[str, str]
) -> Sequence[Finding]:
    """Compare errors, read-outs and images of classes with styles, of digits.

    The arguments are those of `of_sprites`.
    """
    read = _read(model, recipe, held, "digit", {"style": 0})
    seen, _ = parts = _parts(recipe, held)
    named = [_exchanged(model, part, seen, everything) for part in parts]
    return [
        *_errors(model, recipe, held),
        *_shares("digit and style read from the code", read),
        *_shares("digit named in the image of a class and a style", named),
        _picture(model, held, words),
    ]


def _parts(recipe: Recipe, held: Data) -> tuple[Data, Data]:
    """Return test items of cells that were seen, and of cells that were left out."""
    assert recipe.test is not None
    return recipe.test, held


def _shares(what: str, shares: Sequence[float]) -> list[Finding]:
    """Return a share of the items of seen and of left-out cells as numbers."""
    seen, out = shares
    return [
        Number(f"Seen: {what}", seen, unit="share of test items", better=1),
        Number(f"Left out: {what}", out, unit="share of test items", better=1),
    ]


def _picture(model: Model, held: Data, words: tuple[str, str]) -> Picture:
    """Set left-out images above what the model draws of them."""
    cells, name = words
    x = held.floats(some(len(held), SHOWN))
    again = model.reconstruct(x).numpy()
    return Picture(f"Left out of training: {cells}", np.stack([x, again]), ("image", name))


# -- errors ----------------------------------------------------------------------------------------


def _errors(model: Model, recipe: Recipe, held: Data) -> list[Finding]:
    """Return how badly items of both kinds of cells are drawn again, and the ratio."""
    from unweave.evaluation.codes import bound

    seen, out = (bound(model, part, recipe)["recon"] for part in _parts(recipe, held))
    unit = "nats per image, −log p(x|z)"
    return [
        Number("Error of seen cells", -seen[0], seen[1], unit, -1),
        Number("Error of left-out cells", -out[0], out[1], unit, -1),
        Number("Error of left-out cells over that of seen ones", out[0] / seen[0], better=-1),
    ]


# -- reading codes ---------------------------------------------------------------------------------


def _read(
    model: Model, recipe: Recipe, held: Data, named: str, ordered: Mapping[str, int]
) -> list[float]:
    """Return the shares of items of seen and of left-out cells whose factors are read rightly.

    Args:
        model: The trained model.
        recipe: Its recipe.
        held: Items of cells that were left out.
        named: The factor without an order.
        ordered: The other factors, each with the steps by which it may be wrong.
    """
    train = recipe.data.subset(some(len(recipe.data), PROBED))
    parts = _parts(recipe, held)
    codes = _codes(model, train)
    new = [_codes(model, part) for part in parts]
    right = [np.ones(len(part), dtype=bool) for part in parts]
    for factor, steps in {named: None, **ordered}.items():
        reader = _reader(codes, _factor(train, factor), steps)
        for i, part in enumerate(parts):
            right[i] &= reader(new[i], _factor(part, factor))
    return [float(np.mean(part)) for part in right]


def _codes(model: Model, data: Data) -> Array:
    """Return the codes (n, units): means, and classes one-hot."""
    import torch

    from unweave.evaluation.encoded import posterior
    from unweave.models.model import hard

    q = posterior(model, data)
    codes = torch.cat([hard(node).flatten(1) for node in q.values()], -1)
    return codes.double().numpy()


def _reader(codes: Array, classes: Array, steps: int | None) -> Reader:
    """Return a function that tells of which items a factor is read rightly from their codes.

    Classes are read by logistic regression, and those in an order as numbers by ridge regression.
    Both see the codes, and the products of any two where these read `GAIN` more of the last half of
    the items, fitted on the first.

    Args:
        codes: Codes (n, units) to fit on.
        classes: The factor's classes, (n,).
        steps: The steps by which a class may be wrong, None for classes without an order.
    """
    half = len(codes) // 2
    shares = []
    for features in (_plain, _products):
        trial = _fitted(features, codes[:half], classes[:half], steps)
        shares.append(trial(codes[half:], classes[half:]).mean())
    alone, together = shares
    return _fitted(_products if together > alone + GAIN else _plain, codes, classes, steps)


def _fitted(features: Features, codes: Array, classes: Array, steps: int | None) -> Reader:
    """Return the function of `_reader` for given features of the codes."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(max_iter=1000) if steps is None else Ridge()
    read = make_pipeline(StandardScaler(), regression).fit(features(codes), classes)

    def right(new: Array, true: Array) -> Array:
        off = abs(read.predict(features(new)) - true)
        near: Array = off < (steps or 0) + 0.5
        return near

    return right


def _plain(codes: Array) -> Array:
    return codes


def _products(codes: Array) -> Array:
    """Return codes with the products of any two."""
    i, j = np.triu_indices(codes.shape[1])
    return np.hstack([codes, codes[:, i] * codes[:, j]])


def _factor(data: Data, name: str) -> Array:
    """Return the classes of a factor, (n,)."""
    classes: Array = data.factors[:, data.names.index(name)]
    return classes


# -- a classifier that knows nothing of the model --------------------------------------------------


def _named(known: Array, classes: Array, x: Array) -> Array:
    """Return the class of images x (n, …) by those of the five nearest of known images."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier().fit(known.reshape(len(known), -1), classes)
    names: Array = classifier.predict(x.reshape(len(x), -1))
    return names


def _drawn_right(model: Model, data: Data, everything: Data) -> float:
    """Return the share of images whose shape and place survive being drawn again.

    The shape is that of the nearest images of all cells, in windows about the mass; the place is
    the centre of the mass.
    """
    known, _ = _windows(everything.floats())
    windows, centre = _windows(model.reconstruct(data.floats()).numpy())
    right = _named(known, _factor(everything, "shape"), windows) == _factor(data, "shape")
    pixels = data.shape[0] / 64  # a pixel of dSprites
    steps = (centre / pixels + 16) * 31 / 32  # (n, 2)
    true = np.stack([_factor(data, "posX"), _factor(data, "posY")], -1)
    near = abs(steps - true) < WITHIN + 0.5
    return float((right & near.all(-1)).mean())


def _windows(x: Array) -> tuple[Array, Array]:
    """Return images in windows about their mass, (n, side, side), and its centres, (n, 2)."""
    import torch

    from unweave.affine import Pose, look, moments

    images = torch.as_tensor(x)
    centre, size = moments(images)
    upright = Pose(centre, 1.1 * size, torch.zeros_like(size))
    return look(images, upright, WINDOW).numpy(), centre.numpy()


def _exchanged(model: Model, data: Data, donors: Data, everything: Data) -> float:
    """Return the share of images, decoded from a class and another digit's style, with its name.

    Each item gives its class y. The style z is that of a donor of the same quarter and of another
    class.
    """
    from unweave.evaluation.encoded import posterior

    z = posterior(model, donors)["z"].dist.mean.numpy()  # type: ignore[union-attr]
    digit = _factor(data, "digit")
    images = model.decode(y=digit, z=z[_donated(data, donors)]).numpy()
    names = _named(everything.floats(), _factor(everything, "digit"), images)
    return float((names == digit).mean())


def _donated(data: Data, donors: Data) -> Array:
    """Choose for each item a donor of the same quarter and another digit, (n,)."""
    digit, style = _factor(data, "digit"), _factor(data, "style")
    other, its_style = _factor(donors, "digit"), _factor(donors, "style")
    chosen = []
    for i, key in enumerate(random_keys(len(data), 0)):
        fit = np.flatnonzero((other != digit[i]) & (its_style == style[i]))
        chosen.append(fit[int(key) % len(fit)])
    return np.array(chosen)
