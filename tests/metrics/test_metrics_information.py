"""Tests of information-based and linear scores: closed forms, twins and published values."""

import math

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from unweave import metrics
from unweave.metrics.information import entropy, gap, information, modularity_per_code
from unweave.metrics.score import cells, paired
from unweave.metrics.separation import highest, lines

ALL = {
    "mig": metrics.mig,
    "mig_sup": metrics.mig_sup,
    "dcimig": metrics.dcimig,
    "jemmig": metrics.jemmig,
    "modularity": metrics.modularity,
    "sap": metrics.sap,
    "info_modularity": metrics.info_modularity,
    "info_compactness": metrics.info_compactness,
    "info_explicitness": metrics.info_explicitness,
}
PLUG_IN = [metrics.mig, metrics.mig_sup, metrics.dcimig, metrics.jemmig, metrics.modularity]


def example(n=600):
    """Return codes that know of factors in part, without random numbers, for all libraries."""
    i = np.arange(n)
    v = np.stack([i % 3, (i // 3) % 4, (i // 12) % 5], 1)
    z = [
        v[:, 0] + 0.3 * np.sin(i),
        v[:, 1] + 0.8 * np.cos(1.7 * i),
        v[:, 0] - 0.5 * v[:, 2] + 0.2 * np.sin(3.1 * i),
        np.sin(0.37 * i),
    ]
    return np.stack(z, 1), v


def identity(n=3000):
    """Return disentanglement_lib's test data: ten independent factors, 1 to 10, also as codes."""
    v = np.random.RandomState(0).randint(1, 11, size=(n, 10))
    return v.astype(float), v


def loop_information(z, v, bins):
    """Sum over cells and classes, (codes, factors); missing items, −1, are left out."""
    cut = cells(z, bins)
    mutual = np.zeros((z.shape[1], v.shape[1]))
    for j in range(z.shape[1]):
        for k in range(v.shape[1]):
            here = v[:, k] >= 0
            for a in set(cut[here, j]):
                for b in set(v[here, k]):
                    both = np.mean((cut[here, j] == a) & (v[here, k] == b))
                    if both:
                        mutual[j, k] += both * math.log(
                            both / np.mean(cut[here, j] == a) / np.mean(v[here, k] == b)
                        )
    return mutual


def loop_entropy(column):
    return -sum(
        p * math.log(p) for p in (np.mean(column == value) for value in set(column.tolist()))
    )


# information


def test_information_is_that_of_a_loop_and_of_scikit_learn():
    z, v = example()
    v = v.copy()
    v[::7, 1] = -1
    v[1::5, 2] = -1
    found = information(paired(z, v))
    np.testing.assert_allclose(found.mutual, loop_information(z, v, 20), atol=1e-12)
    cut, known = cells(z), v[:, 2] >= 0
    for j in range(4):
        assert found.mutual[j, 2] == pytest.approx(
            mutual_info_score(cut[known, j], v[known, 2]), abs=1e-12
        )
        assert found.codes[j, 2] == pytest.approx(loop_entropy(cut[known, j]), abs=1e-12)
        pair = cut[known, j] * 5 + v[known, 2]
        assert found.joint[j, 2] == pytest.approx(loop_entropy(pair), abs=1e-12)
    assert found.factors[2] == pytest.approx(loop_entropy(v[known, 2]), abs=1e-12)
    assert found.classes.tolist() == [3, 4, 5]


def test_published_information():
    """Take disentanglement_lib's own cases of entropy and information."""
    both = np.array([[1, 1, 2, 2, 3, 3], [3, 3, 2, 2, 1, 1]]).T
    np.testing.assert_allclose(information(paired(both, both, least=1)).factors, np.log(3))
    xs, ys = np.array([[1, 2, 1, 2], [1, 1, 2, 2]]).T, np.array([[1, 2, 1, 2], [2, 2, 1, 1]]).T
    expected = [[np.log(2), 0], [0, np.log(2)]]
    np.testing.assert_allclose(information(paired(xs, ys, least=1)).mutual, expected, atol=1e-15)


def test_entropy_of_equal_counts_is_the_log_of_their_number():
    assert entropy(np.array([7, 7, 7, 7, 0])) == pytest.approx(math.log(4), abs=1e-15)
    assert entropy(np.array([7, 0])) == 0


def test_gap_beside_nothing_is_the_value():
    assert gap(np.array([[0.3, 0.5]])).tolist() == [0.3, 0.5]
    assert gap(np.array([[0.3, 0.5], [0.1, 0.9], [0.2, 0.9]])).tolist() == pytest.approx([0.1, 0.0])


# scores of plug-in information


def test_scores_are_their_definitions_in_loops():
    z, v = example()
    mutual, h = loop_information(z, v, 12), [loop_entropy(column) for column in v.T]
    of_codes = [loop_entropy(column) for column in cells(z, 12).T]
    J, K = mutual.shape
    gaps, chen, ubisoft, nats, ratios = [], [], [], [], []
    for k in range(K):
        first, second = sorted(mutual[:, k], reverse=True)[:2]
        gaps.append((first - second) / h[k])
        chen.append((first - second) / math.log(len(set(v[:, k]))))
        a, b = sorted((mutual[j, k] / of_codes[j] for j in range(J)), reverse=True)[:2]
        ubisoft.append(a - b)
        best = max(range(J), key=lambda j, k=k: mutual[j, k])
        nats.append(of_codes[best] + h[k] - first - first + second)
        ratios.append(1 - nats[-1] / (h[k] + math.log(12)))
    supplement, modular, own_gap, own = [], [], np.zeros(J), np.zeros(J, int)
    for j in range(J):
        a, b = sorted((mutual[j, k] / h[k] for k in range(K)), reverse=True)[:2]
        supplement.append(a - b)
        own[j] = max(range(K), key=lambda k, j=j: mutual[j, k])
        own_gap[j] = mutual[j, own[j]] - max(mutual[j, k] for k in range(K) if k != own[j])
        rest = sum(mutual[j, k] ** 2 for k in range(K) if k != own[j])
        modular.append(1 - rest / (mutual[j, own[j]] ** 2 * (K - 1)))
    best_gaps = [max([own_gap[j] for j in range(J) if own[j] == k], default=0) for k in range(K)]
    expected = [
        (metrics.mig(z, v, bins=12), np.mean(gaps)),
        (metrics.mig(z, v, bins=12, convention="chen"), np.mean(chen)),
        (metrics.mig(z, v, bins=12, convention="ubisoft"), np.mean(ubisoft)),
        (metrics.mig_sup(z, v, bins=12), np.mean(supplement)),
        (metrics.dcimig(z, v, bins=12), sum(best_gaps) / sum(h)),
        (metrics.jemmig(z, v, bins=12), np.mean(ratios)),
        (metrics.jemmig(z, v, bins=12, convention="do"), np.mean(nats)),
        (metrics.modularity(z, v, bins=12), np.mean(modular)),
    ]
    for score, value in expected:
        assert score.value == pytest.approx(value, abs=1e-12), score


def test_values_that_ubisofts_program_printed():
    """Compare with mig.py, mig_sup.py, dcimig.py and jemmig.py at 05d5667.

    They ran with pyitlib 0.3.1, nb_bins=20 and discrete factors.
    """
    z, v = example()
    assert metrics.mig(z, v, convention="ubisoft").value == pytest.approx(
        0.2870014992022653, abs=1e-12
    )
    assert metrics.mig_sup(z, v, convention="ubisoft").value == pytest.approx(
        0.21729526678171923, abs=1e-12
    )
    assert metrics.dcimig(z, v).value == pytest.approx(0.591223396039182, abs=1e-12)
    assert metrics.jemmig(z, v).value == pytest.approx(0.4491703870407952, abs=1e-12)


def test_one_representation_has_two_migs():
    z, v = example()
    assert metrics.mig(z, v).value - metrics.mig(z, v, convention="ubisoft").value > 0.25


def test_chen_differs_where_values_are_not_equally_frequent():
    z, v = example()
    assert metrics.mig(z, v, convention="chen").value == pytest.approx(
        metrics.mig(z, v).value, abs=1e-12
    )
    rare = np.where(np.arange(600) % 10 == 0, v[:, 0], 0)
    assert metrics.mig(rare, rare, convention="chen").value < 0.9 < metrics.mig(rare, rare).value


def test_published_mig():
    """Take disentanglement_lib's cases: the factors, zeros, the factors twice.

    Ten cells keep 1 to 10 apart.
    """
    z, v = identity()
    assert 0.9 <= metrics.mig(z, v, bins=10).value <= 1
    assert 0 <= metrics.mig(np.zeros_like(z), v, bins=10).value <= 0.2
    assert 0 <= metrics.mig(np.hstack([z, z]), v, bins=10).value <= 0.1


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.diag(5.0 * np.ones(5)), 1),
        (np.array([[1.0, 0], [0, 1], [0, 0]]), 2 / 3),
        (np.zeros((10, 10)), 0),
        (np.vstack([5 * np.eye(5)] * 2), 1),
        (5 * np.eye(5)[:2], 1),
        (np.hstack([5 * np.eye(5)] * 2), 1 - 1 / 9),
    ],
)
def test_published_modularity_of_matrices(matrix, expected):
    assert modularity_per_code(matrix).mean() == pytest.approx(expected, abs=1e-12)


def test_published_modularity():
    z, v = identity()
    assert 0.9 <= metrics.modularity(z, v, bins=10).value <= 1
    assert 0.9 <= metrics.modularity(np.hstack([z, z]), v, bins=10).value <= 1
    z, v = identity(20_000)
    mixed = np.random.default_rng(0).permuted(z, axis=1)
    assert 0 <= metrics.modularity(mixed, v, bins=10).value <= 0.2


def test_closed_forms():
    """Keep two bits apart, copy them, add them; a code for each and one for both."""
    v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    both = 2 * v[:, :1] + v[:, 1:]
    added = v.sum(1, keepdims=True)  # I = H(1/4, 1/2, 1/4) − log 2 = log(2)/2 nats about either
    cases = {
        "apart": (v, 1, 1, 1, 1),
        "copied": (np.hstack([v, v]), 0, 1, 1, 1),
        "both in one": (both, 1, 0, 0, 0),
        "added": (added, 0.5, 0, 0, 0),
        "one of two": (v[:, :1], 0.5, 1, 0.5, 1),
    }
    for name, (z, *expected) in cases.items():
        scores = [
            f(z, v).value
            for f in (metrics.mig, metrics.mig_sup, metrics.dcimig, metrics.modularity)
        ]
        assert scores == pytest.approx(expected, abs=1e-12), name
    # the code of both bits has H = log 4, and knows log 2 more than the second: H(z, v) − I = log 4
    # − log 2
    assert metrics.jemmig(both, v, convention="do").value == pytest.approx(math.log(2), abs=1e-12)
    assert metrics.jemmig(both, v, bins=4).value == pytest.approx(1 - 1 / 3, abs=1e-12)


@pytest.mark.parametrize("metric", PLUG_IN)
def test_order_and_scale_of_codes_and_names_of_classes_are_of_no_effect(metric):
    z, v = example()
    value = metric(z, v).value
    assert metric(z[:, [2, 0, 3, 1]] * 4 + 1, 7 - v[:, [1, 0, 2]]).value == pytest.approx(
        value, abs=1e-12
    )
    turn = np.random.default_rng(0).permutation(600)
    assert metric(z[turn], v[turn]).value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("metric", [metrics.mig, metrics.jemmig, metrics.dcimig, metrics.sap])
def test_a_factor_with_one_class_is_left_out(metric):
    z, v = example()
    score = metric(z, np.column_stack([v[:, :2], np.full(600, 3)]))
    assert score.value == pytest.approx(metric(z, v[:, :2]).value, abs=1e-12)
    assert np.isnan(score.parts["per_factor"]).tolist() == [False, False, True]
    assert any("one class" in note for note in score.notes)


@pytest.mark.parametrize("name", ["mig", "jemmig", "info_compactness", "info_explicitness"])
def test_missing_entries_are_left_out_of_their_factor(name):
    """Compare a factor's part with that of the items where it is known, given the same cells."""
    z, v = example()
    z = np.column_stack([cells(z), v[:, 1]]).astype(float)
    z[0], z[-1] = 0, 19  # the ends of all codes stay known
    gone = v.copy()
    gone[5:300, 1] = -1
    rest = np.r_[:5, 300:600]
    part = ALL[name](z, gone).parts["per_factor"]
    alone, whole = (
        ALL[name](z[items], v[items]).parts["per_factor"] for items in (rest, slice(None))
    )
    assert part == pytest.approx([whole[0], alone[1], whole[2]], abs=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_constant_codes_know_nothing(name):
    z, v = example()
    more = np.column_stack([z, np.full(600, 2.0)])
    value, with_constant = ALL[name](z, v).value, ALL[name](more, v)
    share_of_codes = 4 / 5 if name in ("mig_sup", "modularity") else 1
    assert with_constant.value == pytest.approx(
        share_of_codes * value, abs=1e-6 if "explicit" in name else 1e-12
    )
    assert "1 of 5 codes are constant" in with_constant.notes


@pytest.mark.parametrize("name", ALL)
def test_scores_lie_within_their_range_and_name_their_convention(name):
    z, v = example()
    for codes in (z, np.random.default_rng(0).normal(size=(600, 3)), v.astype(float)):
        score = ALL[name](codes, v)
        assert score.range[0] <= score.value <= score.range[1]
        assert score.convention


@pytest.mark.parametrize("name", ALL)
def test_nan_is_refused(name):
    z, v = example()
    z[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        ALL[name](z, v)


def test_unknown_conventions_are_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match="'kim': expected one of disentanglement_lib, ubisoft, chen"
    ):
        metrics.mig(*example(), convention="kim")


@pytest.mark.parametrize("metric", [metrics.modularity, metrics.info_modularity])
def test_scores_that_compare_factors_need_two(metric):
    z, v = example()
    with pytest.raises(ValueError, match="two or more"):
        metric(z, v[:, 0])


def test_continuous_factors_are_cut_as_codes_are():
    z, _ = example()
    smooth = z[:, 0] + 0.05 * z[:, 1]
    np.testing.assert_allclose(
        metrics.mig(z, smooth, bins=8).parts["mutual_information"],
        loop_information(z, cells(smooth[:, None], 8), 8),
        atol=1e-12,
    )


# SAP


def objective(line, x, y, weights):
    return (line @ line) / 2 + (weights * np.maximum(0, 1 - y * (line[0] * x + line[1])) ** 2).sum()


@pytest.mark.parametrize("n_classes", [2, 3, 9])
@pytest.mark.parametrize("shift", [0, 3])
def test_lines_are_the_minimum_and_liblinears(n_classes, shift):
    rng = np.random.default_rng(n_classes)
    y = rng.choice(
        n_classes, size=400, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum()
    )
    x = np.round(rng.normal(size=400) + 0.5 * y + shift, 1)  # with ties
    slope, intercept, of = lines(x, y[:, None])
    assert of.tolist() == [[0] * n_classes, list(range(n_classes))]
    model = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000).fit(
        x[:, None], y
    )
    theirs = np.stack([model.coef_[:, 0], model.intercept_])
    ours = np.stack([slope, intercept])[:, -1:] if n_classes == 2 else np.stack([slope, intercept])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)  # liblinear stops at its tolerance
    for k in range(n_classes):
        inside = 0.01 * 400 / (n_classes * np.sum(y == k))
        outside = 0.01 * 400 / (2 * np.sum(y != k)) if n_classes == 2 else 0.01
        sign, weights = np.where(y == k, 1, -1), np.where(y == k, inside, outside)
        line = np.array([slope[k], intercept[k]])
        active = sign * (line[0] * x + line[1]) < 1
        pull = (weights * (sign - line[0] * x - line[1]))[active]  # y (1 − y f) = y − f
        gradient = line - 2 * np.array([pull @ x[active], pull.sum()])
        np.testing.assert_allclose(gradient, 0, atol=1e-10)


@pytest.mark.parametrize(
    "code", [np.zeros(30), np.full(30, 5.0), np.r_[np.zeros(29), 1e6], np.arange(30) * 1e-9]
)
def test_lines_of_degenerate_codes_are_a_minimum(code):
    y = np.arange(30) % 3
    slope, intercept, _ = lines(code, y[:, None])
    for k in range(3):
        sign, weights = np.where(y == k, 1, -1), np.where(y == k, 0.01 * 30 / 30, 0.01)
        line = np.array([slope[k], intercept[k]])
        best = objective(line, code, sign, weights)
        for nearby in (1e-3 * np.random.default_rng(0).normal(size=(50, 2))) * (
            1 / max(1, abs(code).max()),
            1,
        ):
            assert objective(line + nearby, code, sign, weights) >= best - 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_line_is_the_largest_value(seed):
    rng = np.random.default_rng(seed)
    slope, intercept = rng.normal(size=(2, 12)).round(
        1 if seed else 0
    )  # the first with parallel and equal lines
    at = 3 * rng.normal(size=200)
    values = slope[:, None] * at + intercept[:, None]
    found = highest(slope, intercept, at)
    np.testing.assert_allclose(values[found, np.arange(200)], values.max(0), atol=1e-12)
    assert all(
        np.flatnonzero((slope == slope[k]) & (intercept == intercept[k]))[0] == k for k in found
    )


def test_lines_of_factors_together_are_those_of_each_alone_where_it_is_known():
    z, v = example()
    v = v.copy()
    v[::4, 1] = -1
    v[v[:, 2] == 3, 2] = 1  # a class that no item has
    together = np.stack(lines(z[:, 0], v)[:2])
    alone = [np.stack(lines(z[v[:, k] >= 0, 0], v[v[:, k] >= 0, k : k + 1])[:2]) for k in range(3)]
    np.testing.assert_allclose(together, np.hstack(alone), atol=1e-12)
    assert lines(z[:, 0], v)[2].tolist() == [
        [0] * 3 + [1] * 4 + [2] * 4,
        [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 4],
    ]


def test_sap_measures_a_factor_where_it_is_known():
    z, v = example()
    gone = v.copy()
    gone[::4, 1] = -1
    held = np.random.default_rng(0).permutation(600) < 200
    fit, measure = ~held & (gone[:, 1] >= 0), held & (gone[:, 1] >= 0)
    accuracy = []
    for j in range(4):
        model = LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000)
        accuracy.append(
            model.fit(z[fit, j : j + 1], v[fit, 1]).score(z[measure, j : j + 1], v[measure, 1])
        )
    found = metrics.sap(z, gone).parts["predictability"]
    np.testing.assert_allclose(found[:, 1], accuracy, atol=1e-12)
    np.testing.assert_array_equal(
        found[:, [0, 2]], metrics.sap(z, v).parts["predictability"][:, [0, 2]]
    )


def test_a_factor_needs_known_items_on_both_sides():
    z, v = example()
    v = v.copy()
    v[np.random.default_rng(0).permutation(600) < 200, 1] = -1
    with pytest.raises(ValueError, match="no item to fit or of none to test"):
        metrics.sap(z, v)


def test_sap_is_that_of_scikit_learns_classifier_in_a_loop():
    z, v = example()
    held = np.random.default_rng(4).permutation(600) < 200
    accuracy = np.zeros((4, 3))
    for j in range(4):
        for k in range(3):
            model = LinearSVC(
                C=0.01, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000
            )
            accuracy[j, k] = model.fit(z[~held, j : j + 1], v[~held, k]).score(
                z[held, j : j + 1], v[held, k]
            )
    score = metrics.sap(z, v, seed=4)
    np.testing.assert_allclose(score.parts["predictability"], accuracy, atol=1e-12)
    ordered = np.sort(accuracy, 0)
    assert score.value == pytest.approx(np.mean(ordered[-1] - ordered[-2]), abs=1e-12)


def test_published_sap():
    """Take disentanglement_lib's cases, whose factors count as continuous, and one of classes."""
    z, v = identity()
    assert 0.9 <= metrics.sap(z, v, continuous=True).value <= 1
    assert 0 <= metrics.sap(np.zeros_like(z), v, continuous=True).value <= 0.2
    assert 0 <= metrics.sap(np.hstack([z, z]), v, continuous=True).value <= 0.2
    assert 0 <= metrics.sap(np.hstack([z, z]), v).value <= 0.2


def test_sap_of_continuous_factors_is_the_squared_correlation():
    z, v = example()
    smooth = np.column_stack([z[:, 0] + 0.3 * z[:, 1], z[:, 2] + 0.1 * v[:, 1]])
    smooth[::9, 1] = np.nan
    known = ~np.isnan(smooth[:, 1])
    expected = [
        [
            np.corrcoef(z[:, j], smooth[:, 0])[0, 1] ** 2,
            np.corrcoef(z[known, j], smooth[known, 1])[0, 1] ** 2,
        ]
        for j in range(4)
    ]
    found = metrics.sap(z, smooth).parts["predictability"]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("test", [0, 1])
def test_sap_needs_items_to_fit_and_to_test(test):
    with pytest.raises(ValueError, match="leaves items to fit and to measure"):
        metrics.sap(*example(), test=test)


# InfoMEC


def their_shares(z, v, seed):
    """Compute shares like the authors: scikit-learn's estimator, code by code, over the entropy."""
    shares = np.zeros((z.shape[1], v.shape[1]))
    for j in range(z.shape[1]):
        code = StandardScaler().fit_transform(z[:, j : j + 1])
        for k in range(v.shape[1]):
            told = mutual_info_classif(
                code, v[:, k], discrete_features=False, n_neighbors=10, random_state=seed
            )[0]
            shares[j, k] = told / mutual_info_score(v[:, k], v[:, k])
    return shares


def test_infomec_is_that_of_the_authors_program():
    z, v = example()
    z = np.column_stack(
        [z[:, :3], np.round(z[:, 0]), 1e-3 * z[:, 1]]
    )  # a code with ties, and an inactive one
    v = v.copy()
    v[0, 0] = 9  # a class of one item
    shares = their_shares(z, v, seed=3)
    active = np.ptp(z, 0) > np.ptp(z, 0).max() / 20
    assert active.tolist() == [True] * 4 + [False]
    pruned = shares[active].T  # (factors, codes), as theirs
    modular = (np.mean(pruned.max(0) / pruned.sum(0)) - 1 / 3) / (1 - 1 / 3)
    compact = (np.mean(pruned.max(1) / pruned.sum(1)) - 1 / 4) / (1 - 1 / 4)
    found = metrics.info_modularity(z, v, seed=3)
    np.testing.assert_allclose(found.parts["shares"], shares, atol=1e-12)
    assert found.value == pytest.approx(modular, abs=1e-12)
    assert np.isnan(found.parts["per_code"]).tolist() == (~active).tolist()
    assert metrics.info_compactness(z, v, seed=3).value == pytest.approx(compact, abs=1e-12)


def test_infomec_of_discrete_codes_counts():
    z, v = example()
    z = np.column_stack([np.round(z), np.ones(600)])
    shares = np.array(
        [[mutual_info_score(a, b) / mutual_info_score(b, b) for b in v.T] for a in z.T]
    )
    pruned = shares[:-1]
    modular = (np.mean(pruned.max(1) / pruned.sum(1)) - 1 / 3) / (1 - 1 / 3)
    compact = (np.mean(pruned.max(0) / pruned.sum(0)) - 1 / 4) / (1 - 1 / 4)
    assert metrics.info_modularity(z, v, discrete=True).value == pytest.approx(modular, abs=1e-12)
    assert metrics.info_compactness(z, v, discrete=True).value == pytest.approx(compact, abs=1e-12)


def test_explicitness_is_that_of_the_authors_program():
    """Fit zeros too, as they do: the loss is then the log of the number of classes."""
    z, v = example()
    v = v.copy()
    v[v[:, 0] == 2, 0] = np.where(np.arange(200) % 4, 1, 2)  # classes of unequal size
    each = []
    for k in range(3):
        losses = []
        for seen in (StandardScaler().fit_transform(z), np.zeros_like(z)):
            model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(
                seen, v[:, k]
            )
            losses.append(log_loss(v[:, k], model.predict_proba(seen)))
        each.append(1 - losses[0] / losses[1])
    np.testing.assert_allclose(
        metrics.info_explicitness(z, v).parts["per_factor"], each, atol=1e-10
    )


def test_explicitness_of_what_is_linear_is_one_and_of_noise_is_none():
    _, v = example()
    assert metrics.info_explicitness(v.astype(float), v > 0).value > 0.99
    assert metrics.info_explicitness(v.astype(float), v, discrete=True).value > 0.99
    noise = np.random.default_rng(0).normal(size=(600, 2))
    # a likelihood ratio: 2n · gain is χ² with (classes − 1) · 2 degrees of freedom; 1e-6 of the
    # largest, 8, is at 42
    assert metrics.info_explicitness(noise, v).value * np.log(3) < 42 / 1200


def test_compactness_needs_two_active_codes():
    z, v = example()
    with pytest.raises(ValueError, match="1 active codes"):
        metrics.info_compactness(z[:, 0], v)
    with pytest.raises(ValueError, match="all codes are constant"):
        metrics.info_modularity(np.ones(600), v)


def test_uninformative_discrete_codes_are_at_chance():
    v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    z = v[:, :1] ^ v[:, 1:]
    assert metrics.info_modularity(z, v, discrete=True).value == pytest.approx(0, abs=1e-12)
