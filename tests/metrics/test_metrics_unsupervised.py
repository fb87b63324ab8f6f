"""Tests of scores of codes alone: closed forms, the library's own cases and loops."""

import math

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from unweave.metrics import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_information,
)
from unweave.metrics.score import cells

ALL = [gaussian_total_correlation, gaussian_wasserstein_correlation, pairwise_information]


def with_covariance(covariance, n=50):
    """Return codes whose sample covariance is as given, to rounding."""
    white = np.random.default_rng(0).normal(size=(n, len(covariance)))
    white -= white.mean(0)
    white = white @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + 7


TWO = np.array([[1, 0.9], [0.9, 1]])
MANY = np.cov(np.random.default_rng(1).normal(size=(9, 5)) * [1, 2, 3, 0.1, 1], rowvar=False)


@pytest.mark.parametrize("metric", ALL[:2])
def test_uncorrelated_codes_are_at_zero(metric):
    assert metric(with_covariance(np.diag([1.0, 4, 9, 0.01, 1]))).value == pytest.approx(
        0, abs=1e-10
    )


def test_total_correlation_of_two_codes_is_minus_half_log_one_minus_r_squared():
    assert gaussian_total_correlation(with_covariance(TWO)).value == pytest.approx(
        -0.5 * math.log(1 - 0.81), abs=1e-10
    )


def test_total_correlation_is_a_kl_of_normals():
    other = np.diag(np.diag(MANY))
    kl = 0.5 * (
        np.trace(np.linalg.inv(other) @ MANY)
        - 5
        + np.log(np.linalg.det(other) / np.linalg.det(MANY))
    )
    assert gaussian_total_correlation(with_covariance(MANY)).value == pytest.approx(kl, abs=1e-10)


@pytest.mark.parametrize("covariance", [TWO, MANY])
def test_wasserstein_is_the_published_formula(covariance):
    other = np.diag(np.diag(covariance))
    expected = np.trace(covariance + other - 2 * sqrtm(covariance @ other).real)
    z = with_covariance(covariance)
    assert gaussian_wasserstein_correlation(z).value == pytest.approx(
        expected, abs=1e-8
    )  # of sqrtm's rounding
    ratio = gaussian_wasserstein_correlation(z, normalised=True)
    assert ratio.value == pytest.approx(expected / np.trace(covariance), abs=1e-8)
    assert gaussian_wasserstein_correlation(3 * z, normalised=True).value == pytest.approx(
        ratio.value, abs=1e-10
    )


def test_wasserstein_of_two_codes():
    """Use the eigenvalues of [[1, r], [r, 1]], which are 1 ± r."""
    expected = 4 - 2 * (math.sqrt(1.9) + math.sqrt(0.1))
    assert gaussian_wasserstein_correlation(with_covariance(TWO)).value == pytest.approx(
        expected, abs=1e-10
    )


def test_codes_that_determine_one_another():
    z = with_covariance(TWO)
    copied = np.column_stack([z, z[:, 0] - 2 * z[:, 1]])
    score = gaussian_total_correlation(copied)
    assert score.value == math.inf
    assert score.notes == ("codes are linearly dependent",)
    assert 0 < gaussian_wasserstein_correlation(copied, normalised=True).value < 2


def test_pairwise_information_is_a_mean_over_pairs():
    z = with_covariance(MANY, n=400)
    cut = cells(z, 7)
    pairs = [mutual_info_score(cut[:, i], cut[:, j]) for i in range(5) for j in range(5) if i != j]
    score = pairwise_information(z, bins=7)
    assert score.value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert score.range == (0, math.log(7))
    assert score.parts["mutual_information"][2, 2] == pytest.approx(
        mutual_info_score(cut[:, 2], cut[:, 2]), abs=1e-12
    )


def test_information_of_a_code_with_its_copy_is_its_entropy():
    assert pairwise_information(np.tile(np.arange(40.0)[:, None], 3)).value == pytest.approx(
        math.log(20), abs=1e-12
    )


@pytest.mark.parametrize("metric", ALL[:2])
def test_constant_codes_add_nothing(metric):
    z = with_covariance(MANY)
    score = metric(np.column_stack([z, np.ones(50)]))
    assert score.value == pytest.approx(metric(z).value, abs=1e-12)
    assert score.notes == ("1 of 6 codes are constant, and left out",)
    assert metric(np.ones((50, 3))).value == 0
    assert metric(z[:, 0]).value == pytest.approx(0, abs=1e-12)


def test_a_constant_code_tells_nothing_of_others():
    z = with_covariance(TWO)
    score = pairwise_information(np.column_stack([z, np.ones(50)]))
    assert score.value == pytest.approx(pairwise_information(z).value / 3, abs=1e-12)
    assert score.notes == ("1 of 3 codes are constant",)


@pytest.mark.parametrize("metric", ALL)
def test_refused(metric):
    with pytest.raises(ValueError, match="NaN or infinite"):
        metric([[0, np.nan], [1, 2]])
    with pytest.raises(ValueError, match="expected two"):
        metric([[1.0, 2]])


def test_one_code_has_no_pairs():
    with pytest.raises(ValueError, match="no pairs"):
        pairwise_information(np.arange(10.0))


def test_normalised_score_of_constants_is_zero():
    assert gaussian_wasserstein_correlation(np.ones((5, 2)), normalised=True).value == 0
