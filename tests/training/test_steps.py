"""Steps: rates that rise and fall, clipped gradients, optimisers, weights to begin with."""

import dataclasses

import pytest
import torch
from support.training import bits, interrupting, tiny
from torch import nn

import unweave as uw
from unweave.run import fit
from unweave.training.loop import Interrupted
from unweave.training.trainer import Trainer


def test_the_learning_rate_rises_and_falls():
    plain = tiny(lr=0.1, epochs=4)  # 20 steps
    assert {plain.lr_at(step) for step in range(20)} == {0.1}
    warm = dataclasses.replace(plain, warmup=4)
    assert [warm.lr_at(step) for step in (0, 1, 3, 19)] == pytest.approx([0.025, 0.05, 0.1, 0.1])
    for schedule, half, late in (("linear", 0.05, 0.025), ("cosine", 0.05, 0.1 * 0.1464466)):
        falling = dataclasses.replace(plain, schedule=schedule)
        rates = [falling.lr_at(step) for step in (0, 10, 15, 20)]
        assert rates == pytest.approx([0.1, half, late, 0], abs=1e-8)
    both = dataclasses.replace(plain, lr=uw.ramp(0.1, 0.2, last=20), schedule="linear")
    assert both.lr_at(10) == pytest.approx(0.075)


def test_the_rate_reaches_the_optimiser():
    trainer = Trainer(tiny(lr=0.1, epochs=2, schedule="linear"))
    rates = []
    while not trainer.done:
        trainer.run_epoch(
            lambda: False, lambda trainer: rates.append(trainer.optimizer.param_groups[0]["lr"])
        )
    assert rates == pytest.approx([0.1 * (1 - step / 10) for step in range(10)])


def test_no_step_is_longer_than_the_clipped_gradient():
    """Without momentum and with rate 1, a step of sgd is the gradient."""
    sizes = []
    for clip in (None, 1e-3):
        trainer = Trainer(tiny(lr=1.0, optimizer="sgd", clip=clip))
        trainer.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
        before = nn.utils.parameters_to_vector(trainer.model.parameters()).detach().clone()
        trainer.one_step(trainer.epoch_order(0)[0])
        after = nn.utils.parameters_to_vector(trainer.model.parameters()).detach()
        sizes.append(float((after - before).norm()))
    assert sizes[0] > 1
    assert sizes[1] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "radam", "rmsprop", "sgd"])
def test_every_optimiser_learns_and_goes_on_to_the_same_bits(tmp_path, optimizer):
    lr = {"sgd": 1e-3, "radam": 1e-2}.get(optimizer, 1e-3)
    recipe = tiny(lr=lr, optimizer=optimizer, clip=100.0)
    whole = fit(recipe, tmp_path / "whole", evaluate=False, quiet=True)
    losses = [line["loss"] for line in whole.history if line["split"] == "train"]
    assert losses[-1] < losses[0]
    with interrupting(7), pytest.raises(Interrupted):
        fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    fit(recipe, tmp_path / "run", resume=True, evaluate=False, quiet=True)
    assert bits(tmp_path / "run") == bits(tmp_path / "whole")


def test_training_begins_with_the_weights_of_a_run(tmp_path):
    first = fit(tiny(epochs=1), tmp_path / "first", evaluate=False, quiet=True)
    origin = str(first.folder)
    trainer = Trainer(tiny(from_run=origin, objective=uw.elbo))
    trainer.begin()
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, first.model.state_dict()[name])
    assert trainer.model.training
    other = tiny(from_run=origin, model=lambda: uw.models.hfvae((8, 8), hidden=(32, 16), normals=4))
    with pytest.raises(ValueError, match="size mismatch"):
        fit(other, tmp_path / "other", evaluate=False, quiet=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": "lion"}, "optimizer='lion': expected one of adam, adamw, radam"),
        ({"schedule": "step"}, "schedule='step': expected one of constant, linear, cosine"),
        ({"clip": 0.0}, "clip=0.0: expected the largest norm of a gradient, above 0"),
        ({"warmup": 16}, "warmup=16 steps, but training has 15"),
    ],
)
def test_what_no_step_can_do_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Trainer(tiny(**changes))


def test_a_run_that_goes_on_takes_steps_as_before(tmp_path):
    fit(tiny(epochs=1, optimizer="adamw"), tmp_path / "run", evaluate=False, quiet=True)
    with pytest.raises(ValueError, match="optimizer = 'adamw', not 'adam': resume it as it was"):
        fit(tiny(epochs=2), tmp_path / "run", resume=True, evaluate=False, quiet=True)
