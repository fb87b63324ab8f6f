"""Intrinsic images of faces: what the encoder does not see, Bayes' rule, the bound against a loop,
which are known.
"""

import math

import numpy as np
import pytest
import torch
from support.programs import float64  # noqa: F401
from support.real import real
from torch.distributions import Normal, kl_divergence

import unweave as uw
from unweave.data.yaleb import _data, directions, mirrored
from unweave.models.faces import DARK, _Kinds, _Lighting, contrast
from unweave.recipes.yaleb import some_cells, yaleb
from unweave.runs.findings import Picture
from unweave.training.trainer import Trainer

MIRROR = [2, 1, 0, 3]


@pytest.fixture
def lit():
    """Every person of 38 under every light of 64, without pictures worth seeing."""
    azimuth = np.concatenate([np.arange(-155, 160, 10), np.arange(-155, 160, 10)])
    elevation = np.repeat([-20, 30], 32)
    person, light = np.divmod(np.arange(38 * 64), 64)
    return _data(np.zeros((38 * 64, 24, 21), np.uint8), person, azimuth[light], elevation[light])


def test_contrast_does_not_see_how_bright_an_image_is():
    x = torch.rand(3, 24, 21)
    brighter = 1.7 * (x + DARK) - DARK
    torch.testing.assert_close(contrast(brighter), contrast(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        contrast(torch.full((1, 24, 21), 0.3)), torch.zeros(1, 24, 21), rtol=0, atol=1e-10
    )


def test_a_mirror_image_is_lit_from_the_other_side():
    lighting = _Lighting((24, 20), MIRROR).eval()
    x = torch.rand(5, 24, 20)
    torch.testing.assert_close(lighting(x.flip(-1)), lighting(x)[:, MIRROR], rtol=0, atol=1e-10)


def test_classes_are_inferred_by_bayes_rule():
    kinds, code = _Kinds(3, 4), torch.randn(5, 4)
    with torch.no_grad():
        kinds.log_scale.normal_()
    density = torch.stack([kinds(one_hot).log_prob(code).sum(-1) for one_hot in torch.eye(3)], -1)
    torch.testing.assert_close(
        kinds.log_weights(code).softmax(-1), density.softmax(-1), rtol=0, atol=1e-10
    )


def test_the_bound_is_that_of_a_loop_over_identities_and_lights():
    """Σ q(i|x) q(l|x) (log p(x|r, s) − KL(q(r|x) ‖ p(r|i)) − KL(q(s|x) ‖ p(s|l)) − log 3 q(i|x) −
    log 4 q(l|x)).
    """
    model = uw.models.faces((24, 20), MIRROR, people=3, hidden=8, surface=2, shading=2).eval()
    x = torch.rand(6, 24, 20)
    q, p = model(x)
    r, s = (q[site].dist for site in ("r", "s"))
    log_i, log_l = (q[site].dist.logits.log_softmax(-1) for site in ("identity", "lighting"))
    log_x = p["x"].log_prob.flatten(1).sum(1)
    loop = torch.zeros(6)
    for i, r_mean in enumerate(model.decoder.people.means):
        for l, s_mean in enumerate(model.decoder.lights.means):
            kl_r = kl_divergence(r, Normal(r_mean, model.decoder.people.log_scale.exp())).sum(-1)
            kl_s = kl_divergence(s, Normal(s_mean, model.decoder.lights.log_scale.exp())).sum(-1)
            surprise = log_i[:, i] + math.log(3) + log_l[:, l] + math.log(4)
            loop = loop + (log_i[:, i] + log_l[:, l]).exp() * (log_x - kl_r - kl_s - surprise)
    bound = uw.elbo(q, p, groups=("identity", "r", "lighting", "s"))
    torch.testing.assert_close(bound, loop, rtol=0, atol=1e-8)


def test_x_is_reflectance_times_shading():
    model = uw.models.faces((24, 20), MIRROR, people=3, hidden=8, surface=2, shading=2)
    codes = {
        "identity": torch.eye(3)[:2],
        "lighting": torch.eye(4)[:2],
        "r": torch.randn(2, 2),
        "s": torch.randn(2, 2),
    }
    reflectance, shading = model.decoder.images(codes["r"], codes["s"])
    assert reflectance.shape == shading.shape == (2, 24, 20)
    assert 0 < reflectance.min() < reflectance.max() < 1
    assert shading.min() > 0
    torch.testing.assert_close(model.decode(**codes), reflectance * shading, rtol=0, atol=1e-10)


def test_lights_are_directions_and_have_mirror_images(lit):
    toward, mirror = directions(lit), mirrored(lit)
    assert np.abs((toward**2).sum(1) - 1).max() < 1e-12
    assert np.abs(toward[mirror] - toward * [-1, 1, 1]).max() < 1e-12


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_share_of_the_cells_is_in_every_row_and_column(lit, share):
    chosen = some_cells(lit, share, seed=3)
    by_person, by_light = (np.bincount(lit.factors[chosen, k]) for k in (0, 1))
    assert abs(by_person - 64 * share).max() <= 1
    assert abs(by_light - 38 * share).max() <= 1
    assert (chosen == some_cells(lit, share, seed=3)).all()
    assert (chosen != some_cells(lit, share, seed=4)).any()


def test_a_share_of_labels_is_one():
    with pytest.raises(ValueError, match=r"yaleb\(labels=20\): expected float <= 1"):
        yaleb(labels=20)


def test_a_small_run_on_real_faces():
    root = real("yaleb", "yaleb_cropped_96x84.npz")
    torch.set_default_dtype(torch.float32)
    recipe = yaleb(labels=0.2, quick=True, data_dir=str(root))
    known = recipe.data.factors >= 0
    assert (known.all(1) == known.any(1)).all()
    assert 0.1 < known[:, 0].mean() < 0.3
    assert (recipe.test.factors >= 0).all()
    trainer = Trainer(recipe)
    first = float(trainer.validate(trainer.train)["loss"])
    trainer.run_epoch(lambda: False, lambda _: None)
    assert trainer.validate(trainer.train)["loss"] < first
    with torch.no_grad():
        shown = recipe.findings(trainer.model.eval(), recipe)
    pictures = [found.images for found in shown if isinstance(found, Picture)]
    assert [len(rows) for rows in pictures] == [4, 4, 2]
    assert all(rows.min() >= 0 and rows.max() <= 1 for rows in pictures)
