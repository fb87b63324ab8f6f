"""An estimator of scikit-learn: structured representations of tables and arrays.

It is a transformer in pipelines and searches, and a classifier of its own classes where it has any.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import check_is_fitted, validate_data

from . import models
from .data import Data, Sparse
from .models.model import Model, seeded
from .objective.densities import Densities
from .objective.formula import formula
from .objective.literature import elbo
from .runs.artifact import load, save
from .runs.files import read_json, write_json
from .trace.groups import Tree
from .trace.trace import Trace
from .training.recipe import Recipe
from .training.trainer import trained

Floats = NDArray[np.float64]

MISSING = -1
"""The label of an item whose class is unknown, as elsewhere in scikit-learn."""

OBJECTIVES = {
    "none": "elbo",
    "found": "elbo + 11*mi.of('y') - 49*kl[0].of('y')",
    "labelled": "elbo + 50*label",
}
"""Objectives by default: without classes, with classes to be found, with labels for some items."""

ROWS = 4096
"""Rows of a sparse X that are dense at once when codes are read."""

ARRAYS = ("classes_", "feature_names_in_")
"""Arrays that an estimator learns beside its model."""


def _has_classes(estimator: StructuredVAE) -> bool:
    """Return true if the model has classes to predict."""
    return bool(estimator.classes)


class StructuredVAE(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A variational autoencoder with classes y and Normals z, as scikit-learn's estimators are.

    The model is q(y|x) q(z|x, y) against p(y) p(z) p(x|y, z), y summed over exactly (`hfvae`), or
    q(z|x) against p(z) p(x|z) where there are no classes (`vae`). Columns reach the networks with
    mean 0 and standard deviation 1, unless all numbers lie in [0, 1].

    `transform` gives posterior means: a column q(y = k|x) a class, then E[z|x], the classes summed
    over. `fit(X, y)` takes labels where `classes` is set, −1 where a label is missing (Kingma et
    al., "Semi-Supervised Learning with Deep Generative Models", 2014).

    Args:
        classes: The number of classes of y; 0 for a model without them.
        normals: The number of Normals z.
        objective: A formula, such as "hfvae(1, 6, 1)"; by default the ELBO, with a term that uses
            all classes where they are to be found, or 50 log q(y|x) of the labels.
        groups: A tree of sites and slices, such as ("y", ("z[:5]", "z[5:]")); by default one group
            a site.
        likelihood: "bernoulli" for numbers in [0, 1], "normal" for any, or "auto".
        hidden: The units of the hidden layers, those next to x first.
        epochs: The number of passes over the data.
        batch: The number of items of a step, fewer if the data have fewer.
        lr: Adam's learning rate.
        random_state: A seed, a RandomState, or None.

    Attributes:
        model_: The trained `Model`, with all that models do.
        classes_: The labels of the classes, where there are classes.
        n_features_in_: The number of columns.
        feature_names_in_: The columns' names, where X has any.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = StructuredVAE(normals=2, hidden=(32,), epochs=20, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.get_feature_names_out().tolist()
    ((150, 2), ['z[0]', 'z[1]'])
    """

    def __init__(
        self,
        *,
        classes: int = 0,
        normals: int = 10,
        objective: str | None = None,
        groups: Tree | None = None,
        likelihood: str = "auto",
        hidden: Sequence[int] = (128, 64),
        epochs: int = 100,
        batch: int = 128,
        lr: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.classes = classes
        self.normals = normals
        self.objective = objective
        self.groups = groups
        self.likelihood = likelihood
        self.hidden = hidden
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags = ClassifierTags() if self.classes else None
        return tags

    # -- training ----------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **unknown: Any) -> Self:
        """Train on the rows of X (n, columns), with labels y (n,) where there are classes.

        A sparse X stays sparse until a batch is read.

        Raises:
            TypeError: If weights of items are given.
            ValueError: If X has missing numbers or fewer than two rows, y has more classes than the
                model, or the objective leaves given labels out.
        """
        if unknown:
            raise TypeError(
                f"fit got {', '.join(unknown)}: objectives are means over items of equal weight; "
                "repeat the rows that count more"
            )
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, ensure_min_samples=2)
        labels = self._labels(y, rows.shape[0])
        data = _data(rows, labels, self.classes)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        is_unit = self.likelihood == "bernoulli" or (self.likelihood == "auto" and data.is_unit)
        moments = _moments(rows) if issparse(rows) else data.floats()
        build = partial(self._model, moments, "bernoulli" if is_unit else "normal")
        has_labels = labels is not None
        recipe = Recipe(
            name="StructuredVAE",
            data=data,
            model=build,
            objective=formula(self._objective(has_labels)),
            groups=self.groups,
            labels={"y": "class"} if has_labels else {},
            epochs=self.epochs,
            batch=min(self.batch, len(data)),
            lr=self.lr,
            seed=seed,
            logged=0,
        )
        self.model_ = trained(recipe).double()  # codes do not depend on the rows beside them
        return self

    def _labels(self, y: ArrayLike | None, n: int) -> NDArray[np.int64] | None:
        """Return class numbers (n,), −1 where missing; note the classes' labels."""
        if not self.classes:
            return None
        self.classes_ = np.arange(self.classes)
        if y is None:
            return None
        given = np.asarray(y).ravel()
        known = np.array([label not in (MISSING, str(MISSING)) for label in given.tolist()])
        kind = type_of_target(given[known].tolist())
        if len(given) != n or kind not in ("binary", "multiclass"):
            raise ValueError(
                f"y has {len(given)} entries of kind {kind!r}: expected a class label for each of "
                f"the {n} rows, {MISSING} where it is missing"
            )
        found = np.unique(given[known])
        if len(found) > self.classes:
            raise ValueError(
                f"y has {len(found)} classes, the model has classes={self.classes}: expected as "
                "many, or more, which are found without labels"
            )
        self.classes_ = _completed(found, self.classes)
        numbers = np.full(n, -1, dtype=np.int64)
        numbers[known] = np.searchsorted(found, given[known])
        return numbers

    def _objective(self, has_labels: bool) -> str:
        """Return the objective's formula."""
        if self.objective is None:
            case = "labelled" if has_labels else "found" if self.classes else "none"
            return OBJECTIVES[case]
        if has_labels and "label" not in self.objective:
            raise ValueError(
                f"y is given, but the objective {self.objective!r} has no term for it: add "
                "50*label, or leave y out"
            )
        return self.objective

    def _model(self, x: NDArray[np.floating[Any]], likelihood: Any) -> Model:
        """Build the model of items whose means and deviations are those of x (n, columns)."""
        shape, hidden = x.shape[1:], tuple(self.hidden)
        standardise = likelihood == "normal"
        settings: dict[str, Any] = {
            "normals": self.normals,
            "likelihood": likelihood,
            "standardise": standardise,
        }
        if self.classes:
            model = models.hfvae(shape, hidden, self.classes, temperature=None, **settings)
        else:
            model = models.vae(shape, hidden, **settings)
        return models.measured(model, x) if standardise else model

    # -- codes -------------------------------------------------------------------------------------

    def transform(self, X: ArrayLike) -> Floats:
        """Return posterior means (n, units): q(y = k|x) of each class, then E[z|x]."""
        return np.concatenate(list(self._means(X).values()), axis=1)

    def inverse_transform(self, X: ArrayLike) -> Floats:
        """Return the mean of p(x|y, z), (n, columns), at codes (n, units).

        Of q(y|x), the most probable class is taken.
        """
        check_is_fitted(self)
        codes = np.asarray(X, dtype=np.float64)
        units = len(self.get_feature_names_out())
        if codes.ndim != 2 or codes.shape[1] != units:
            raise ValueError(f"X has shape {codes.shape}: expected (n, {units}), as of transform")
        sites = {"z": codes[:, self.classes :]}  # (n, normals)
        if self.classes:
            sites["y"] = codes[:, : self.classes].argmax(1)
        decoded = self.model_.decode(**sites)  # (n, columns)
        return _float64(decoded)

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row, by its label, (n,)."""
        most_probable = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[most_probable]
        return labels

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return q(y = k|x), (n, classes)."""
        return self._means(X)["y"]

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return the mean ELBO of the rows in nats, one draw of z a row; labels do not count."""
        scores = []
        with torch.no_grad(), seeded(0):
            for items in self._items(X):
                q, p = self.model_(items)
                scores.append(Densities(q, p).score(elbo))
        return float(torch.cat(scores).mean())

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns of `transform`: y=…, then z[0], z[1], …"""
        check_is_fitted(self)
        classes = [f"y={label}" for label in self.classes_] if self.classes else []
        normals = [f"z[{k}]" for k in range(self.normals)]
        return np.asarray([*classes, *normals], dtype=object)

    def _items(self, X: ArrayLike) -> Iterator[torch.Tensor]:
        """Yield the rows of X as dense items, all at once, or some at a time of a sparse X."""
        check_is_fitted(self)
        rows = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        at_once = ROWS if issparse(rows) else rows.shape[0]
        for start in range(0, rows.shape[0], at_once):
            some = rows[start : start + at_once]
            dense = some.toarray() if issparse(some) else some
            yield torch.tensor(dense).to(next(self.model_.parameters()))

    @torch.no_grad()
    def _means(self, X: ArrayLike) -> dict[str, Floats]:
        """Return posterior means: of "y" (n, classes) where there are any, of "z" (n, normals).

        E[z|x] = Σ_k q(y = k|x) E[z|x, y = k].
        """
        parts = [self._means_of(items) for items in self._items(X)]
        return {site: np.concatenate([part[site] for part in parts]) for site in parts[0]}

    def _means_of(self, items: torch.Tensor) -> dict[str, Floats]:
        """Return posterior means of dense items (n, columns)."""
        q: Trace = self.model_.encoder(items)
        of_z: torch.Tensor = q["z"].dist.mean  # type: ignore[union-attr]
        if not self.classes:
            return {"z": _float64(of_z)}
        of_y: torch.Tensor = q["y"].dist.mean  # type: ignore[union-attr]
        weights = of_y.T[..., None]  # (classes, n, 1)
        means = (weights * of_z).sum(0)  # (classes, n, normals) -> (n, normals)
        return {"y": _float64(of_y), "z": _float64(means)}

    # -- files -------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the estimator into a folder: safetensors and JSON, which `load` reads.

        Raises:
            TypeError: If an argument is no plain value, such as a RandomState.
        """
        check_is_fitted(self)
        fitted: dict[str, Any] = {"n_features_in_": self.n_features_in_}
        for name in ARRAYS:
            if hasattr(self, name):
                fitted[name] = getattr(self, name).tolist()
        folder = save(self.model_, folder)
        write_json(folder / "estimator.json", {"parameters": self.get_params(), "fitted": fitted})
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the estimator that `save` wrote; nothing in the folder is run.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged or of another version.
        """
        content = read_json(Path(folder) / "estimator.json")
        try:
            parameters = {name: _tupled(value) for name, value in content["parameters"].items()}
            estimator = cls(**parameters)
            for name, value in content["fitted"].items():
                fitted = np.asarray(value, object) if name in ARRAYS else value
                setattr(estimator, name, fitted)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{folder}/estimator.json describes no estimator: {error}") from None
        estimator.model_ = load(folder).double()
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy holds: the model as the bytes of safetensors and JSON."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                saved = save(state["model_"], folder)
                state["model_"] = {file.name: file.read_bytes() for file in saved.iterdir()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.get("model_")
        if files:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    Path(folder, Path(name).name).write_bytes(content)
                state = {**state, "model_": load(folder).double()}
        super().__setstate__(state)


def _moments(rows: Any) -> Floats:
    """Return two rows whose means and standard deviations are those of all rows of a sparse X."""
    mean, variance = mean_variance_axis(rows, axis=0)
    return np.stack([mean - np.sqrt(variance), mean + np.sqrt(variance)])


def _data(rows: Any, labels: NDArray[np.int64] | None, classes: int) -> Data:
    """Return rows (n, columns), dense or sparse, and their class numbers as data."""
    x: Any = Sparse.of(rows) if issparse(rows) else rows.astype(np.float32)
    if labels is None:
        return Data(x, np.empty((len(x), 0), np.int64), (), (), (), "X")
    named = tuple(map(str, range(classes)))
    return Data(x, labels[:, None], ("class",), (classes,), (named,), "X")


def _completed(labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return labels followed by new ones for the classes that have none."""
    spare = range(len(labels), classes)
    if not spare:
        return labels
    if labels.dtype.kind in "biuf":
        first = int(labels.max(initial=-1)) + 1
        return np.append(labels, [first + k for k in range(len(spare))])
    return np.append(labels, [f"class {k}" for k in spare])


def _tupled(value: Any) -> Any:
    """Return a value with tuples where JSON has lists."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _float64(t: torch.Tensor) -> Floats:
    return t.detach().numpy().astype(np.float64)
