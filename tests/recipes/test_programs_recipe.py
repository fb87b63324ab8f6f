"""The recipe of simulated programs reports what it found, with and without the batch."""

import numpy as np
import pytest

import unweave as uw
from unweave.recipes import programs
from unweave.recipes.programs import correlations, matched
from unweave.runs.findings import Number


@pytest.mark.parametrize("given", [True, False])
def test_a_small_run_has_its_findings(tmp_path, given):
    recipe = programs(quick=True, given=given, latents=6, epochs=2)
    assert recipe.data.shape == (62 if given else 60,)
    run = uw.fit(recipe, tmp_path, quick=True, quiet=True)
    assert [found["title"] for found in run.scores["findings"]] == [
        "Recovery of programs",
        "Mixing of batches",
        "Programs and units",
    ]
    values = [found.value for found in recipe.findings(run.model, recipe) if type(found) is Number]
    assert all(np.isfinite(values))


def test_units_are_matched_with_programs():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (400, 2))
    codes = np.column_stack([rng.normal(size=400), -np.exp(factors[:, 1]), factors[:, 0]])
    found = correlations(codes, factors)
    unit, agreed = matched(found)
    assert unit.tolist() == [2, 1]
    np.testing.assert_allclose(agreed, 1)
