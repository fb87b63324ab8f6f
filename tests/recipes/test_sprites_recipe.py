"""The recipe of sprites: controls, and poses that are read off."""

from typing import Any

import numpy as np
import pytest
import torch

import unweave as uw
from unweave.recipes.sprites import FLIPPED, _flipped
from unweave.recipes.sprites_findings import findings, reading_errors


@pytest.fixture(scope="module")
def small() -> tuple[uw.models.Model, uw.data.Data]:
    """A program that was not trained: moments, beginnings and closed forms alone.

    A class's centre is a mean over images at all places, 9 pixels apart: 500 images fix it to 0.4.
    """
    data = uw.data.sprites(2600, seed=0)
    torch.manual_seed(0)
    model = uw.models.rigid((64, 64), 3, cooling=5)
    x = torch.as_tensor(data.floats())
    encoder: Any = model.encoder
    encoder.begin(x[:200])
    with torch.no_grad():
        for batch in x[200:1700].split(100):
            model(batch)
    return model.eval(), data.subset(np.arange(1700, 2600))


def test_poses_are_read_off_within_a_pixel_5_percent_and_10_degrees(small):
    errors = reading_errors(*small)
    medians = {what: float(np.median(off)) for (what, _), off in errors.items()}
    assert medians["Place"] < 1
    assert medians["Size"] < 5
    assert medians["Turn"] < 10


def test_readings_of_other_images_are_far_off(small):
    """The errors are no artefact of the origins that are taken from the data."""
    model, data = small
    order = np.random.default_rng(0).permutation(len(data))
    others = uw.data.Data(
        data.x.take(order), data.factors, data.names, data.sizes, data.values, data.name
    )
    errors = reading_errors(model, others)
    assert np.median(errors["Place", "pixels"]) > 5
    assert np.median(errors["Size", "%"]) > 10
    assert np.median(errors["Turn", "degrees"]) > 12  # uniform errors: 22.5, 45 and 90 by shape


def test_the_control_flips_its_share_of_pixels():
    data = uw.data.sprites(50, seed=0)
    flipped = _flipped(data, seed=0)
    share = float(np.mean(flipped.floats() != data.floats()))
    sd = (FLIPPED * (1 - FLIPPED) / flipped.x.size) ** 0.5
    assert abs(share - FLIPPED) < 5 * sd


def test_a_run_reports_its_readings(small):
    model, _ = small
    recipe = uw.recipes.sprites(quick=True, items=64)
    titles = [finding.title for finding in findings(model, recipe)]
    assert titles == [
        "Place, median error",
        "Size, median error",
        "Turn, median error",
        "Drawn again",
        "Read off without labels",
    ]
