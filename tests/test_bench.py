"""The comparison is fair: what is timed by hand is our loss, to the last gradient."""

import math

import pytest
import torch

import unweave as uw
from unweave import bench
from unweave.train import Trainer


@pytest.fixture
def pair():
    """The library's trainer and the hand-written networks, with the same weights."""
    trainer = Trainer(bench.recipe(16, 200), "cpu")
    parts = bench.hand_parts()
    ours = trainer.model.state_dict().values()
    parts.load_state_dict(dict(zip(parts.state_dict(), ours, strict=True)))  # in the order of their definition
    return trainer, parts


def test_the_loss_by_hand_is_ours(pair):
    trainer, parts = pair
    items = trainer.epoch_order(0)[0]
    x, _ = trainer.train.batch(items)

    torch.manual_seed(1)
    d = trainer.densities(*trainer.model(x))
    ours = -d.score(trainer.recipe.objective_at(0)).mean()
    torch.manual_seed(1)
    hand = bench.hand_loss(parts, x.flatten(1), bench.log_weights(16, 200))

    torch.testing.assert_close(hand, ours, rtol=1e-5, atol=0)
    theirs = torch.autograd.grad(hand, list(parts.parameters()))
    for (name, weight), gradient in zip(trainer.model.named_parameters(), theirs, strict=True):
        (expected,) = torch.autograd.grad(ours, weight, retain_graph=True)
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            gradient, expected, rtol=1e-3, atol=1e-4 * scale, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_the_loss_is_that_of_the_mnist_recipe(pair):
    trainer, _ = pair
    assert trainer.recipe.objective == uw.hfvae(1, 12, 4)
    assert trainer.aggregate == uw.minibatch(200)
    assert trainer.model.config == uw.models.hfvae((28, 28)).config
    assert (trainer.recipe.groups, trainer.recipe.lr) == (("y", "z"), 1e-3)


def test_log_weights_are_the_balanced_ones():
    w = bench.log_weights(5, 40).exp()
    assert w.diagonal().tolist() == pytest.approx([1 / 40] * 5)
    assert float(w[0, 1]) == pytest.approx(39 / (40 * 4))
    assert w.sum(1).tolist() == pytest.approx([1.0] * 5)


def test_the_step_by_hand_trains(monkeypatch):
    losses = []

    def recorded(*args, plain=bench.hand_loss):
        loss = plain(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(bench, "hand_loss", recorded)
    torch.manual_seed(0)
    _, by_hand = bench.steps(16, 64)
    for _ in range(20):
        by_hand()
    assert losses[-1] < losses[0] - 1


def test_quartiles_and_interleaving():
    order = []
    times = bench._interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, wall=False)
    assert len(order) == 2 * (3 + 5)
    assert order[:4] == ["b", "a", "a", "b"]  # each goes first in turn
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert bench._quartiles([0.001, 0.002, 0.003]) == "2.00 [1.00 to 3.00]"
    assert math.isclose(bench.GOAL, 1.10)
