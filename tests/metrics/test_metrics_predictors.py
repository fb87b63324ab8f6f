"""Tests of DCI, explicitness, probes, UDR and clusters: published cases, twins, closed forms."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from unweave import metrics
from unweave.metrics.probes import held_out
from unweave.metrics.regressors import ESTIMATORS, areas, completeness, disentanglement
from unweave.metrics.stability import lasso, relative_strength

FAST = {"estimator": "lightgbm"}


def example(n=600, seed=0):
    """Return codes that know of factors in part: one of two factors, one of none.

    The factors have 3, 4 and 5 values.
    """
    rng = np.random.default_rng(seed)
    v = np.stack([rng.integers(0, k, n) for k in (3, 4, 5)], 1)
    noise = rng.normal(size=(n, 4))
    z = np.stack([v[:, 0], v[:, 1], v[:, 0] - 0.5 * v[:, 2], np.zeros(n)], 1) + noise * [
        0.2,
        0.6,
        0.2,
        1,
    ]
    return z, v


def identity(n=1500):
    """Return disentanglement_lib's test data: ten independent factors, 1 to 10, also as codes."""
    v = np.random.default_rng(0).integers(1, 11, (n, 10))
    return v.astype(float), v


# DCI

DIAGONAL = 5 * np.eye(5)
PUBLISHED = {  # of disentanglement_lib's dci_test.py: importances, disentanglement, completeness
    "diagonal": (DIAGONAL, 1, 1),
    "empty codes": (np.array([[1.0, 0], [0, 1], [0, 0]]), 1, 1),
    "zero": (np.zeros((10, 10)), 0, 0),
    "redundant codes": (np.vstack([DIAGONAL, DIAGONAL]), 1, 1 - np.log(2) / np.log(10)),
    "missed factors": (DIAGONAL[:2], 1, 1),
    "one code, two factors": (np.hstack([DIAGONAL, DIAGONAL]), 1 - np.log(2) / np.log(10), 1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_importances_of_disentanglement_lib_have_its_scores(name):
    importance, d, c = PUBLISHED[name]
    np.testing.assert_allclose(
        [disentanglement(importance), completeness(importance)], [d, c], atol=1e-7
    )


def test_disentanglement_and_completeness_are_those_of_a_loop():
    importance = np.random.default_rng(0).random((4, 3)) ** 3

    def loop(rows):
        total = 0.0
        for row in rows:
            p = row / row.sum()
            total += row.sum() / rows.sum() * (1 + sum(x * np.log(x) for x in p) / np.log(len(p)))
        return total

    assert disentanglement(importance) == pytest.approx(
        loop(importance), abs=1e-9
    )  # 1e-11 is added to each entry
    assert completeness(importance) == pytest.approx(loop(importance.T), abs=1e-9)


def test_gradient_boosting_is_that_of_disentanglement_lib():
    z, v = example(120)
    found = metrics.dci(z, v, seed=3)
    new = held_out(120, 1 / 3, 3)
    models = [GradientBoostingClassifier(random_state=3).fit(z[~new], v[~new, k]) for k in range(3)]
    importance = np.stack([np.abs(m.feature_importances_) for m in models], 1)
    accuracy = [m.score(z[new], v[new, k]) for k, m in enumerate(models)]
    np.testing.assert_allclose(found.parts["importance"], importance, atol=1e-12)
    np.testing.assert_allclose(found.parts["predictability"], accuracy)
    assert found.value == pytest.approx(disentanglement(importance))
    assert found.parts["informativeness"] == pytest.approx(np.mean(accuracy))
    assert found.convention == "disentanglement_lib, gradient boosting"


def test_the_fast_booster_finds_importances_near_the_published_ones():
    z, v = example(600)
    slow, fast = (
        metrics.dci(z, v, estimator=e).parts["importance"]
        for e in ("gradient boosting", "lightgbm")
    )
    assert np.abs(slow - fast).max() < 0.1  # both are shares of gains, of two criteria
    assert (slow.argmax(0) == fast.argmax(0)).all()


@pytest.mark.slow
def test_published_cases_of_whole_data_sets():
    z, v = identity()
    permuted = np.random.default_rng(1).permuted(z, axis=1)
    good, bad = (metrics.dci(codes, v, **FAST).parts for codes in (z, permuted))
    assert good["disentanglement"] > 0.9
    assert good["completeness"] > 0.9
    assert bad["disentanglement"] < 0.2
    assert bad["completeness"] < 0.2


def test_published_case_of_codes_twice():
    v = np.random.default_rng(0).integers(0, 3, (150, 3))
    z = np.hstack([v, v])
    published, fast = (metrics.dci(z, v, **settings).parts for settings in ({}, FAST))
    assert published["disentanglement"] > 0.9
    assert abs(published["completeness"] - (1 - np.log(2) / np.log(6))) < 0.1
    assert fast["completeness"] > 0.9  # of copies it uses the first, as its documentation says


def test_lasso_is_eastwood_and_williams():
    z, v = example()
    found = metrics.dci(z, v, estimator="lasso")
    new = held_out(len(z), 1 / 3, 0)
    scale, target = StandardScaler().fit(z[~new]), StandardScaler().fit(v[~new])
    x, y, new_x, new_y = (
        scale.transform(z[~new]),
        target.transform(v[~new]),
        scale.transform(z[new]),
        target.transform(v[new]),
    )
    models = [Lasso(alpha=0.02).fit(x, y[:, k]) for k in range(3)]
    errors = [
        np.sqrt(np.mean((m.predict(new_x) - new_y[:, k]) ** 2)) / new_y[:, k].std()
        for k, m in enumerate(models)
    ]
    importance = np.abs(np.stack([m.coef_ for m in models], 1))
    p = importance / importance.sum(0)
    c = np.mean(1 + np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(0) / np.log(4))
    np.testing.assert_allclose(found.parts["importance"], importance, atol=1e-10)
    assert found.parts["informativeness"] == pytest.approx(np.mean(errors))
    assert found.parts["completeness"] == pytest.approx(c, abs=1e-8)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_codes_that_are_a_permutation_are_disentangled_and_dead_ones_unimportant(estimator):
    v = np.random.default_rng(0).integers(0, 3, (150, 2))
    z = np.column_stack([v[:, 1], np.ones(150), v[:, 0]])
    found = metrics.dci(z, v, estimator=estimator)
    assert found.value > 0.95
    assert found.parts["completeness"] > 0.95
    assert found.parts["importance"][1].tolist() == [0, 0]
    assert "1 of 3 codes are constant" in found.notes


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_missing_entries_and_single_classes_are_left_out(estimator):
    z, v = example(150)
    v = np.column_stack([v[:, :2], np.ones(150, dtype=int)])
    v[::5, 1] = -1
    found = metrics.dci(z, v, estimator=estimator)
    assert np.isfinite(found.value)
    assert np.isnan(found.parts["importance"][:, 2]).all()
    assert np.isnan(found.parts["per_factor"]).tolist() == [False, False, True]
    z[v[:, 1] < 0] = 100  # nothing that the factor's predictor could see
    other = metrics.dci(z, v, estimator=estimator)
    np.testing.assert_array_equal(found.parts["importance"][:, 1], other.parts["importance"][:, 1])


def test_the_value_is_the_part_asked_for():
    z, v = example(120)
    for part in ("disentanglement", "completeness", "informativeness"):
        found = metrics.dci(z, v, part=part, estimator="lasso")
        assert found.value == found.parts[part]
        assert found.name == f"DCI {part}"


@pytest.mark.slow
def test_processes_change_nothing():
    z, v = example(60)
    one, two = (metrics.dci(z, v, jobs=jobs, **FAST) for jobs in (1, 2))
    np.testing.assert_array_equal(one.parts["importance"], two.parts["importance"])


def test_continuous_factors_are_regressed_or_cut():
    rng = np.random.default_rng(0)
    v = rng.random((300, 2))
    z = v[:, ::-1] ** 2
    for estimator in ("lasso", "lightgbm"):
        assert metrics.dci(z, v, estimator=estimator).parts["importance"].argmax(0).tolist() == [
            1,
            0,
        ]


def test_dci_refuses_what_it_cannot_do():
    z, v = example(60)
    with pytest.raises(ValueError, match="estimator 'svm': expected one of gradient boosting"):
        metrics.dci(z, v, estimator="svm")
    with pytest.raises(ValueError, match="part 'modularity': expected one of disentanglement"):
        metrics.dci(z, v, part="modularity", **FAST)
    with pytest.raises(ValueError, match="test=0"):
        metrics.dci(z, v, test=0, **FAST)
    with pytest.raises(ValueError, match="NaN or infinite"):
        metrics.dci(np.where(z > 1, np.nan, z), v, **FAST)


# explicitness


def test_areas_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, truths = rng.integers(0, 6, (50, 4)) / 5, rng.random((50, 4)) < 0.4
    np.testing.assert_allclose(
        areas(scores, truths), roc_auc_score(truths, scores, average=None), atol=1e-12
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_explicitness_is_that_of_scikit_learns_parts(classes):
    rng = np.random.default_rng(0)
    v = rng.integers(0, classes, (300, 1))
    z = np.hstack([v + rng.normal(size=(300, 1)), rng.normal(size=(300, 2)), np.ones((300, 1))])
    new = held_out(300, 1 / 3, 0)
    scale = StandardScaler().fit(z[~new])
    model = LogisticRegression(max_iter=1000).fit(scale.transform(z[~new]), v[~new, 0])
    found = metrics.explicitness(z, v)
    for name, part in (("per_factor", new), ("train", ~new)):
        expected = roc_auc_score(
            np.eye(classes)[v[part, 0]], model.predict_proba(scale.transform(z[part]))
        )
        assert found.parts[name][0] == pytest.approx(expected, abs=1e-12)


def test_explicitness_is_half_for_noise_and_leaves_out_rare_classes():
    rng = np.random.default_rng(0)
    v = rng.integers(0, 3, (2000, 1))
    # an area over 222 and 445 items has a standard error of 0.024, and their mean no larger one:
    # five of them
    assert abs(metrics.explicitness(rng.normal(size=(2000, 2)), v).value - 0.5) < 5 * 0.024
    v[0] = 3  # once: either fitted or measured
    found = metrics.explicitness(v + rng.normal(size=v.shape), v)
    assert np.isfinite(found.value)
    assert any("to fit or to measure only" in note for note in found.notes)


# probes


def test_probes_are_scikit_learns_classifiers_on_groups():
    z, v = example()
    v = v.copy()
    v[::6, 1] = -1
    groups = {"a": [0, 2], "b": [1], "c": [3]}
    new = held_out(len(z), 1 / 3, 0)
    for probe, model in (
        (metrics.linear_probe, LogisticRegression(max_iter=1000)),
        (metrics.neighbour_probe, KNeighborsClassifier(5)),
    ):
        found = probe(z, v, groups=groups)
        assert found.parts["groups"] == ("a", "b", "c")
        rows = [found.parts["per_factor"], *found.parts["accuracy"]]
        for columns, row in zip([range(4), *groups.values()], rows, strict=False):
            for k in range(3):
                fit, measure = ~new & (v[:, k] >= 0), new & (v[:, k] >= 0)
                scale = StandardScaler().fit(z[fit][:, columns])
                model.fit(scale.transform(z[fit][:, columns]), v[fit, k])
                assert row[k] == pytest.approx(
                    model.score(scale.transform(z[measure][:, columns]), v[measure, k])
                )
        assert found.value == pytest.approx(found.parts["per_factor"].mean())


def test_probes_of_noise_are_at_chance_and_of_unknown_columns_refused():
    rng = np.random.default_rng(0)
    z, v = rng.normal(size=(3000, 2)), rng.integers(0, 2, 3000)
    found = metrics.linear_probe(z, v)
    assert abs(found.value - 0.5) < 5 * 0.5 / np.sqrt(
        1000
    )  # five standard errors: fails once in a million seeds
    with pytest.raises(
        ValueError, match=r"group 'w' has columns \[2\]: expected one or more of 0 to 1"
    ):
        metrics.linear_probe(z, v, groups={"w": [2]})
    with pytest.raises(ValueError, match="none of them to fit or none to measure"):
        metrics.linear_probe(z, np.where(np.arange(3000) < 2, np.arange(3000) % 2 + 1, -1))


# UDR


def test_relative_strength_of_published_cases():
    blocks = np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    found = [relative_strength(r) for r in (np.eye(3), blocks, np.ones((3, 3)), np.zeros((3, 3)))]
    np.testing.assert_allclose(found, [1, 2 / 3, 1 / 3, 0])


def test_lasso_of_correlations_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    y = x @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3))
    x, y = (StandardScaler().fit_transform(a) for a in (x, y))
    expected = Lasso(alpha=0.1, tol=1e-14, max_iter=100_000).fit(x, y).coef_.T
    np.testing.assert_allclose(lasso(x.T @ x / 200, x.T @ y / 200), expected, atol=1e-8)


@pytest.mark.parametrize("similarity", ["lasso", "spearman"])
def test_udr_is_a_loop_over_pairs_of_models(similarity):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 4))
    models = [base @ rng.normal(size=(4, 4)) + 0.3 * rng.normal(size=(300, 4)) for _ in range(3)]
    kl = [[1, 1, 0, 1], [1, 0.005, 1, 1], [1, 1, 1, 1]]
    terms = np.full((3, 3), np.nan)
    for a in range(3):
        for b in range(3):
            if a != b:
                x, y = (
                    StandardScaler().fit_transform(models[a]),
                    StandardScaler().fit_transform(models[b]),
                )
                x, y = x[:, np.array(kl[a]) > 0.01], y[:, np.array(kl[b]) > 0.01]
                if similarity == "lasso":
                    like = np.abs(Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(x, y).coef_.T)
                else:
                    like = np.abs([[spearmanr(i, j)[0] for j in y.T] for i in x.T])
                by_row = [max(r) ** 2 / sum(r) if sum(r) else 0 for r in like]
                by_column = [max(r) ** 2 / sum(r) if sum(r) else 0 for r in like.T]
                terms[a, b] = (np.mean(by_row) + np.mean(by_column)) / 2
    found = metrics.udr(models, similarity=similarity, kl=kl)
    for b in range(3):
        np.testing.assert_allclose(found[b].parts["pairwise"], terms[:, b], atol=1e-8)
        assert found[b].value == pytest.approx(np.median(np.delete(terms[:, b], b)), abs=1e-8)
        assert found[b].convention == f"disentanglement_lib, {similarity}"


@pytest.mark.parametrize("similarity", ["lasso", "spearman"])
def test_udr_of_published_cases(similarity):
    rng = np.random.default_rng(0)
    z = rng.random((1000, 10))
    other = z[:, rng.permutation(10)] * rng.choice([-1, 1], 10)
    assert all(0.8 <= float(s) <= 1 for s in metrics.udr([z, other], similarity=similarity))
    noisy = [np.column_stack([z[:, 0], rng.random((1000, 9))]) for _ in range(2)]
    told = [[1.0] + [0.0] * 9] * 2
    assert all(float(s) < 0.2 for s in metrics.udr(noisy, similarity=similarity))
    assert all(float(s) > 0.8 for s in metrics.udr(noisy, similarity=similarity, kl=told))


def test_udr_leaves_out_dead_codes_and_refuses_other_items():
    z = np.random.default_rng(0).normal(size=(100, 3))
    dead = np.column_stack([z[:, 1], np.zeros(100), 1e-3 * z[:, 0], z[:, 0]])
    first, second, none = metrics.udr([z[:, :2], dead, np.zeros((100, 2))], similarity="spearman")
    assert second.parts["informative"].tolist() == [True, False, False, True]
    assert first.parts["pairwise"][1] > 0.8
    assert first.parts["pairwise"][2] == 0
    assert none.value == 0
    assert "2 of 4 codes are not informative" in second.notes[0]
    with pytest.raises(ValueError, match=r"models of \[100, 50\] items"):
        metrics.udr([z, z[:50]])
    with pytest.raises(ValueError, match=r"KLs of \[2, 3\] codes: expected \[3, 3\]"):
        metrics.udr([z, z], kl=[[1, 1], [1, 1, 1]])
    with pytest.raises(ValueError, match="similarity 'cka'"):
        metrics.udr([z, z], similarity="cka")


# clusters


def test_nmi_and_ari_are_their_formulas():
    rng = np.random.default_rng(0)
    c, l = rng.integers(0, 4, (2, 40))
    l = np.where(rng.random(40) < 0.5, c, l)

    def entropy(*columns):
        _, counts = np.unique(np.stack(columns, 1), axis=0, return_counts=True)
        return -(counts / 40 * np.log(counts / 40)).sum()

    mutual = entropy(c) + entropy(l) - entropy(c, l)
    assert metrics.nmi(c, l) == pytest.approx(2 * mutual / (entropy(c) + entropy(l)), abs=1e-12)
    pairs = list(combinations(range(40), 2))
    in_c, in_l = (np.array([x[i] == x[j] for i, j in pairs]) for x in (c, l))
    mean = in_c.sum() * in_l.sum() / len(pairs)
    adjusted = ((in_c & in_l).sum() - mean) / ((in_c.sum() + in_l.sum()) / 2 - mean)
    assert metrics.ari(c, l) == pytest.approx(adjusted, abs=1e-12)


def test_nmi_and_ari_refuse_arrays_of_other_shapes():
    for score in (metrics.nmi, metrics.ari):
        with pytest.raises(ValueError, match="expected class numbers"):
            score([0, 1], [0, 1, 1])
