"""Tests of the recipe `celeba`, on drawn faces in the form of the sample of the published ones."""

from pathlib import Path

import numpy as np
import pytest

import unweave as uw
from unweave.recipes import celeba_findings as shown

NAMES = ("Smiling", "Eyeglasses", "Blond_Hair")


def faces(folder: Path, n: int = 1400) -> None:
    """Write pictures whose three attributes are stripes of grey, as the sample's file has them."""
    rng = np.random.default_rng(0)
    signs = 2 * rng.integers(0, 2, (n, len(NAMES))) - 1
    images = rng.integers(60, 90, (n, 64, 64, 3), dtype=np.uint8)
    for k in range(len(NAMES)):
        images[:, 20 * k : 20 * k + 20] += np.uint8(60) * (signs[:, k] > 0)[:, None, None, None]
    (folder / "celeba").mkdir()
    np.savez(
        folder / "celeba" / "celeba_5000_64x64.npz",
        images=images,
        attributes=signs.astype(np.int8),
        attribute_names=np.array(NAMES),
    )


@pytest.mark.slow
def test_a_quick_run_reports_attributes_and_units(tmp_path: Path) -> None:
    faces(tmp_path)
    recipe = uw.recipes.celeba(quick=True, data_dir=str(tmp_path))
    assert recipe.test is not None
    assert (len(recipe.data), len(recipe.test)) == (200, 100)
    run = uw.fit(recipe, out=tmp_path / "run", quick=True, quiet=True)
    page = (tmp_path / "run" / "report.html").read_text()
    for expected in ("TAD", "Attributes that single units tell", "Units found by number"):
        assert expected in page
    assert uw.load(run.folder).decoder.x_log_scale.shape == (64, 64, 3)


def test_settings_are_chosen_without_the_test_pictures(tmp_path: Path) -> None:
    faces(tmp_path)
    recipe = uw.recipes.celeba(data_dir=str(tmp_path))
    tried = uw.recipes.celeba(validate=True, data_dir=str(tmp_path))
    assert recipe.test is not None
    assert tried.test is not None
    tested = {picture.tobytes() for picture in np.asarray(recipe.test.x[:])}
    for part in (tried.data, tried.test):
        assert not tested & {picture.tobytes() for picture in np.asarray(part.x[:])}


def test_a_unit_that_mirror_images_turn_is_orientation() -> None:
    rng = np.random.default_rng(1)
    side, size = rng.normal(size=(2, 50))
    one = shown.Codes(("z[0]", "z[1]"), np.stack([side, size], 1))
    other = shown.Codes(("z[0]", "z[1]"), np.stack([-side, size], 1))
    np.testing.assert_allclose(shown._turned(one, other), [-1, 1], atol=1e-12)


def test_a_unit_moves_alone_and_a_class_from_one_to_the_other() -> None:
    model = uw.models.hfvae(
        (8, 8, 3), hidden=(4,), classes=2, normals=3, net="conv", likelihood="normal"
    )
    codes = shown.Codes(("y=1", "z[0]", "z[1]", "z[2]"), np.zeros((5, 4)))
    even = np.full((7, 2), 0.5, np.float32)
    z = np.zeros((7, 3), np.float32)
    z[:, 1] = -shown.STEPS
    expected = model.decode(y=even, z=z).numpy().clip(0, 1)
    np.testing.assert_allclose(shown._moved(model, codes, 2, rises=False), expected)
    y = np.stack([np.linspace(1, 0, 7), np.linspace(0, 1, 7)], 1).astype(np.float32)
    expected = model.decode(y=y, z=np.zeros((7, 3), np.float32)).numpy().clip(0, 1)
    np.testing.assert_allclose(shown._moved(model, codes, 0, rises=True), expected, atol=1e-6)
