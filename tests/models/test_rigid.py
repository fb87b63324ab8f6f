"""Rigid shapes: circle, poses, hypotheses and laws against brute force and closed forms."""

import math

import torch
from torch.distributions import Normal

import unweave as uw
from unweave.affine import Pose, cells, look, moments, paint
from unweave.models.rigid import _Laws


def test_a_wrapped_normal_is_the_sum_over_turns_and_integrates_to_one():
    theta = torch.arange(2000, dtype=torch.double) * (2 * math.pi / 2000) - math.pi
    for scale in (0.05, 0.7, 3.0):
        loc = torch.tensor(2.9, dtype=torch.double)
        own = uw.WrappedNormal(loc, torch.tensor(scale, dtype=torch.double)).log_prob(theta)
        turns = 2 * math.pi * torch.arange(-20, 21, dtype=torch.double)
        brute = Normal(loc, scale).log_prob(theta[:, None] + turns).logsumexp(-1)
        torch.testing.assert_close(own, brute, rtol=0, atol=1e-5)
        assert abs(float(own.exp().mean()) * 2 * math.pi - 1) < 1e-5


def test_hypotheses_score_as_their_sum():
    log_w = torch.randn(4, 3).double()
    each = uw.WrappedNormal(torch.randn(4, 3).double(), torch.rand(4, 3).double() + 0.1)
    value = torch.randn(4).double()
    brute = (log_w.log_softmax(-1).exp() * each.log_prob(value[:, None]).exp()).sum(-1).log()
    found = uw.Hypotheses(log_w, each).log_prob(value)
    torch.testing.assert_close(found, brute, rtol=0, atol=1e-10)


def test_hypotheses_weigh_as_the_integral_over_the_circle():
    """Laplace's weights of two peaks against the integral, which Bessel functions give."""
    angles = torch.arange(24, dtype=torch.double) * (2 * math.pi / 24) - math.pi
    for kappa in (5.0, 20.0, 80.0):
        low = kappa * torch.cos(angles + 1.3)
        high = kappa * torch.cos(angles - 1.7) + 0.6
        found = uw.peaks(torch.logaddexp(low, high), 8)
        k = torch.tensor(kappa, dtype=torch.double)
        one = k + torch.special.i0e(k).log() + math.log(2 * math.pi)  # log of ∫ exp(κ cos θ) dθ
        integral = one + math.log(1 + math.exp(0.6))
        error = 1 / (4 * kappa) + (2 * math.pi / 24) ** 2 * kappa / 8  # of Laplace, of the parabola
        assert abs(float(found.log_weights.logsumexp(-1) - integral)) < error
        shares = found.log_weights.softmax(-1).sort().values[-2:]
        assert abs(float((shares[1] / shares[0]).log()) - 0.6) < 2 * error


def test_a_pose_inward_undoes_outward():
    pose = Pose(torch.randn(5, 2), torch.rand(5) + 0.5, torch.randn(5))
    points = torch.randn(5, 7, 2)
    torch.testing.assert_close(pose.inward(pose.outward(points)), points, rtol=1e-4, atol=1e-4)


def test_a_painted_bump_is_measured_and_seen_where_it_was_put():
    u = cells(32, torch.zeros(()))
    bump = (-8 * u.square().sum(-1)).exp().reshape(32, 32)
    place = torch.tensor([5.0, -3.0])
    pose = Pose(place, torch.tensor(10.0), torch.tensor(0.7))
    image = paint(bump, pose, (64, 64))
    centre, _ = moments(image, rounds=2)
    torch.testing.assert_close(centre, place, rtol=0, atol=0.1)
    assert float((look(image, pose, 32) - bump).abs().max()) < 0.05


def test_laws_are_those_of_the_weighted_items():
    torch.manual_seed(0)
    laws = _Laws(2, 1.0)
    for running in (laws.sizes, laws.offsets):
        running.decay = 1.0
        running.total.zero_()
        running.weight.zero_()
    n, offset = 40_000, torch.tensor([0.2, -0.1])
    log_size, turn = 2 + 0.3 * torch.randn(n), 2 * math.pi * torch.rand(2, n)
    cos, sin = turn[0].cos(), turn[0].sin()
    across = cos * offset[0] + sin * offset[1]
    down = -sin * offset[0] + cos * offset[1]
    centre = torch.randn(n, 2) + log_size.exp()[:, None] * torch.stack([across, down], -1)
    shares = torch.tensor([[1.0, 0.0]]).expand(n, 2)
    laws.learn(shares, centre, log_size, turn, torch.zeros(n, 2, 24))
    mean, sd = laws.log_size()
    torch.testing.assert_close(mean[0], log_size.mean(), rtol=0, atol=1e-3)
    torch.testing.assert_close(sd[0], log_size.std(), rtol=0, atol=1e-3)
    torch.testing.assert_close(laws.centre()[0], -offset, rtol=0, atol=0.01)


def test_a_shape_that_looks_the_same_after_a_quarter_turn_lies_about_its_middle():
    """Squares on one side, turned by less than an eighth, do not look as if they lay beside it."""
    laws, n = _Laws(2, 0.0), 500
    angles = torch.arange(24) * (2 * math.pi / 24)
    scores = 9 * torch.stack([torch.cos(4 * angles), torch.cos(angles)])  # (classes, turns)
    turn = (torch.rand(2, n) - 0.5) * math.pi / 2
    on_the_left = torch.tensor([-8.0, 0.0]).expand(n, 2)
    laws.learn(torch.ones(n, 2), on_the_left, torch.zeros(n), turn, scores.expand(n, 2, 24))
    assert laws.order().tolist() == [4, 1]
    assert laws.centre()[0].abs().max() == 0
    assert laws.centre()[1].abs().max() > 1


def test_a_small_program_finds_the_shapes_and_their_symmetries():
    data = uw.data.sprites(1200, seed=0)
    torch.manual_seed(0)
    model = uw.models.rigid((64, 64), 3, cooling=5)
    x = torch.as_tensor(data.floats())
    model.encoder.begin(x[:200])
    with torch.no_grad():
        for batch in x[200:520].split(64):
            model(batch)
    assert sorted(model.decoder.laws.order().tolist()) == [1, 2, 4]
    y = model.eval().encode(x[600:900])[:, 0].long().numpy()
    assert uw.metrics.clustering_accuracy(y, data.factors[600:900, 0]) > 0.97


def test_the_recipe_trains():
    recipe = uw.recipes.sprites(quick=True, items=64)
    from unweave.training.trainer import trained

    model = trained(recipe)
    assert model.encode(recipe.test.floats(slice(3))).shape == (3, 5)
