"""The estimator passes scikit-learn's own checks, and does what its users expect."""

import pickle
import pickletools

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator_sparse_array,
    check_estimator_sparse_matrix,
    parametrize_with_checks,
)

import unweave as uw

StructuredVAE = uw.sklearn.StructuredVAE
SMALL = {"normals": 2, "hidden": (16,), "epochs": 2, "random_state": 0}


def of_four_labels(estimator):
    """Checks that expect as many probabilities as y has labels, which are four."""
    if estimator.classes != 10:
        return {}
    reason = "the model has ten classes; below it passes with four"
    return {f"check_estimator_sparse_{kind}": reason for kind in ("array", "matrix")}


@parametrize_with_checks(
    [StructuredVAE(**SMALL), StructuredVAE(classes=10, **SMALL)],
    expected_failed_checks=of_four_labels,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", [check_estimator_sparse_array, check_estimator_sparse_matrix])
def test_sparse_rows_with_as_many_classes_as_labels(check):
    check("StructuredVAE", StructuredVAE(classes=4, **SMALL))


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def fitted(iris):
    X, y = iris
    return StructuredVAE(classes=3, **SMALL).fit(X, y)


def test_codes_are_exact_posterior_means(iris, fitted):
    """Against a loop over classes of q(z|x, y = k), weighted by q(y = k|x)."""
    X = torch.tensor(iris[0].to_numpy())
    with torch.no_grad():
        total = 0
        for k in range(3):
            labels = torch.full((len(X),), k)
            of_class = fitted.model_.encoder(X, y=labels)
            probs = of_class["y"].dist.mean[:, k, None]
            total = total + probs * of_class["z"].dist.mean
    codes = fitted.transform(iris[0])
    assert codes.shape == (150, 5)
    np.testing.assert_allclose(codes[:, 3:], total, rtol=1e-10)
    np.testing.assert_allclose(codes[:, :3].sum(1), 1, rtol=1e-10)
    np.testing.assert_array_equal(codes[:, :3], fitted.predict_proba(iris[0]))


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("scale", [1.0, 20.0])  # Bernoulli, and Normal with means measured
def test_sparse_rows_give_what_dense_ones_give(classes, scale, monkeypatch):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((90, 12)) < 0.2, scale * rng.random((90, 12)), 0).astype(np.float32)
    X[:, 3] = 0  # a column without a number
    monkeypatch.setattr(uw.sklearn, "ROWS", 40)
    dense, sparse = (StructuredVAE(classes=classes, **SMALL).fit(x) for x in (X, csc_array(X)))
    assert sparse.n_features_in_ == 12
    codes = dense.transform(X)
    np.testing.assert_allclose(sparse.transform(csr_matrix(X)), codes, atol=1e-4)
    np.testing.assert_allclose(sparse.transform(X), sparse.transform(csr_matrix(X)), rtol=1e-9)
    assert sparse.score(csr_matrix(X)) == pytest.approx(dense.score(X), rel=0.05)


def test_columns_have_names(iris, fitted):
    frame = clone(fitted).set_output(transform="pandas").fit(*iris).transform(iris[0])
    assert list(frame.columns) == ["y=0", "y=1", "y=2", "z[0]", "z[1]"]
    assert list(fitted.feature_names_in_) == list(iris[0].columns)
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(iris[0].iloc[:, ::-1])


def test_a_hundred_labels_name_digits():
    X, y = load_digits(return_X_y=True)
    train, test = np.arange(1500), np.arange(1500, 1797)
    partly = np.full(1500, -1)
    few = np.random.default_rng(0).choice(1500, 100, replace=False)
    partly[few] = y[few]
    vae = StructuredVAE(classes=10, normals=5, hidden=(64,), epochs=20, lr=5e-3, random_state=0)
    vae.fit(X[train] / 16, partly)
    assert np.mean(vae.predict(X[test] / 16) == y[test]) > 0.75


def test_words_are_labels_and_missing_is_minus_one(iris):
    X, y = iris
    words = np.asarray(["setosa", "versicolor", "virginica"], object)[y]
    words[::2] = -1
    vae = StructuredVAE(classes=4, **SMALL).fit(X, words)
    assert vae.classes_.tolist() == ["setosa", "versicolor", "virginica", "class 3"]


def test_it_works_in_pipelines_and_searches(iris):
    X, y = iris
    steps = make_pipeline(StandardScaler(), StructuredVAE(**SMALL), LogisticRegression())
    assert cross_val_score(steps, X, y, cv=3).mean() > 0.3
    search = GridSearchCV(StructuredVAE(**SMALL), {"objective": ["elbo", "beta_vae(100)"]}, cv=2)
    search.fit(X)
    assert search.best_params_["objective"] in ("elbo", "beta_vae(100)")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_score_is_the_elbo(iris, fitted):
    X = torch.tensor(iris[0].to_numpy())
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        bound = uw.elbo(*fitted.model_(X)).mean()
    assert fitted.score(iris[0]) == pytest.approx(float(bound), rel=1e-12)


def test_files_and_copies_give_the_same_codes(iris, fitted, tmp_path):
    X = iris[0]
    expected = fitted.transform(X)
    read = StructuredVAE.load(fitted.save(tmp_path / "vae"))
    copied = pickle.loads(pickle.dumps(fitted))
    for other in (read, copied):
        np.testing.assert_array_equal(other.transform(X), expected)
        np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
        assert other.get_params() == fitted.get_params()


def test_a_pickle_holds_no_object_of_torch(fitted):
    names = [str(argument) for _, argument, _ in pickletools.genops(pickle.dumps(fitted))]
    assert not [name for name in names if name.startswith("torch")]


@pytest.mark.parametrize(
    ("settings", "fitting", "error", "message"),
    [
        ({}, {"sample_weight": np.ones(150)}, TypeError, "equal weight"),
        ({"classes": 2}, {"y": "labels"}, ValueError, "y has 3 classes, the model has classes=2"),
        ({"classes": 3, "objective": "elbo"}, {"y": "labels"}, ValueError, "no term for it"),
        ({"classes": 3}, {"y": np.linspace(0, 1, 150)}, ValueError, "'continuous'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(iris, settings, fitting, error, message):
    X, y = iris
    given = {name: y if isinstance(value, str) else value for name, value in fitting.items()}
    with pytest.raises(error, match=message):
        StructuredVAE(**{**SMALL, **settings}).fit(X, **given)


def test_a_model_without_classes_predicts_none(iris):
    vae = StructuredVAE(**SMALL).fit(*iris)
    assert not hasattr(vae, "predict")
    assert vae.inverse_transform(vae.transform(iris[0])).shape == (150, 4)
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        vae.inverse_transform(np.zeros((3, 5)))
