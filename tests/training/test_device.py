"""The device of a training: steps that wait for nothing, bfloat16 in networks alone, compilation.

There is no GPU here. The device `meta` has shapes and no numbers: a step that goes through there
looks at no number and mixes no devices, which is what a GPU asks.
"""

import functools

import pytest
import torch
from support.training import tiny
from torch import nn
from torch.distributions import Distribution

import unweave as uw
from unweave.fused import sweep
from unweave.fused.sweep import promised
from unweave.training.device import in_bfloat16, networks, without_waits
from unweave.training.recipe import OPTIMIZERS
from unweave.training.trainer import Trainer


def categorical():
    return uw.models.hfvae((8, 8), hidden=(32, 16), normals=3, temperature=None)


RECIPES = {
    "hfvae": {},
    "elbo": {"objective": uw.elbo},
    "total correlation": {"objective": uw.tc_vae(6.0)},
    "enumerated classes": {"model": categorical},
    "labels": {"labels": {"y": "digit"}, "objective": uw.hfvae(1, 2, 3) + 3 * uw.label},
    "a critic": {"objective": uw.factor_vae(5.0, uw.Critic(hidden=(8,)))},
    "samples": {"samples": 2},
    "a clipped gradient": {"clip": 1.0},
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_step_looks_at_no_number_that_a_device_would_have_to_send(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = torch.optim.Adam  # a fused one is refused on this device
    monkeypatch.setattr(
        torch.optim, "Adam", lambda *args, fused, **rest: functools.partial(plain, *args)(**rest)
    )
    monkeypatch.setitem(OPTIMIZERS, "adam", plain)
    trainer = Trainer(tiny(**RECIPES[kind]), "meta")
    assert trainer.check_every == 50
    trainer.step = 1  # in the first step the loss is read
    trainer.log_every = 1
    before = [w.shape for w in trainer.model.parameters()]
    trainer.one_step(trainer.epoch_order(0)[1])
    assert trainer.sums["loss"].device.type == "meta"
    assert [w.shape for w in trainer.model.parameters()] == before


LINEAR = {
    "hfvae": uw.hfvae(1.5, 12, 4),
    "tc_vae": uw.tc_vae(6.0),
    "labels": uw.hfvae(1, 2, 3) + 3 * uw.label,
}


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("kind", LINEAR)
def test_what_is_promised_holds(kind: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradients with the promise are those without, to the bit."""
    labels = {"y": "digit"} if kind == "labels" else {}
    recipe = tiny(objective=LINEAR[kind], samples=samples, labels=labels)
    looked: list[bool] = []
    plain = sweep._common_factor

    def spied(coef, ahead, is_sure):  # type: ignore[no-untyped-def]
        looked.append(is_sure)
        return plain(coef, ahead, is_sure)

    monkeypatch.setattr(sweep, "_common_factor", spied)
    gradients = []
    for is_sure in (False, True):
        with torch.random.fork_rng():
            trainer = Trainer(recipe, "cpu")
            x, given = trainer.train.batch(trainer.epoch_order(0)[0])
            with promised(is_sure):
                d = trainer.densities(*trainer.model(x, **given))
                (-d.score(recipe.objective_at(0)).mean()).backward()
        gradients.append([w.grad for w in trainer.model.parameters()])
    assert set(looked) == {False, True}
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize(
    ("objective", "holds"), [(uw.hfvae(1, 12, 4), True), (uw.elbo - uw.capacity(uw.kl, 5.0), False)]
)
def test_only_linear_forms_promise_and_torchs_checks_come_back(objective, holds) -> None:  # type: ignore[no-untyped-def]
    before = Distribution._validate_args
    with without_waits(torch.device("meta"), objective):
        assert sweep._promised.get() == holds
        assert not Distribution._validate_args
    assert Distribution._validate_args == before
    assert not sweep._promised.get()
    with without_waits(torch.device("cpu"), objective):
        assert not sweep._promised.get()
        assert Distribution._validate_args == before


# -- precision -------------------------------------------------------------------------------------


def traces(model: nn.Module, x: torch.Tensor):  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    return model(x)


def test_networks_multiply_in_bfloat16_and_all_else_is_float32() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = uw.models.hfvae((8, 8), hidden=(32, 16), normals=3)
        x = torch.as_tensor(uw.data.digits().x[:40])
        exact = traces(model, x)
        multiplied = []
        for network in networks(model):
            for part in network.modules():
                if isinstance(part, nn.Linear):
                    part.register_forward_hook(lambda _, __, out: multiplied.append(out.dtype))
        in_bfloat16(model)
        close = traces(model.train(), x)
        assert set(multiplied) == {torch.bfloat16}
        for ours, its in zip(exact, close, strict=True):
            for name, node in its.items():
                assert node.value.dtype == torch.float32
                assert node.log_prob.dtype == torch.float32
                ours_at, its_at = ours[name].log_prob.mean(), node.log_prob.mean()
                assert not torch.equal(ours_at, its_at) or name == "x"
                torch.testing.assert_close(its_at, ours_at, rtol=0.03, atol=0.05)
        again = traces(model.eval(), x)
        for ours, its in zip(exact, again, strict=True):
            for name, node in its.items():
                assert torch.equal(node.log_prob, ours[name].log_prob)
        assert {w.dtype for w in model.parameters()} == {torch.float32}


def test_a_network_that_fails_leaves_autocast_as_it_was() -> None:
    model = nn.ModuleList([nn.Linear(2, 3)])
    in_bfloat16(model)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        model[0](torch.zeros(1, 7))
    assert not torch.is_autocast_enabled("cpu")


def test_training_in_bfloat16_learns_as_in_float32() -> None:
    losses = {}
    for precision in ("float32", "bf16"):
        with torch.random.fork_rng():
            trainer = Trainer(tiny(precision=precision), "cpu")
            found = []
            while not trainer.done:
                trainer.run_epoch(lambda: False, lambda _: None)
                valid = list(trainer.close_epoch())[-1]
                found.append(valid["loss"])
        losses[precision] = found
    first, *_, last = losses["float32"]
    assert last < first
    assert losses["bf16"] != losses["float32"]
    assert losses["bf16"][-1] == pytest.approx(last, abs=0.5)


def test_every_network_is_compiled_once_and_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []

    def noted(call, dynamic):  # type: ignore[no-untyped-def]
        asked.append(call.args[0])
        return call

    monkeypatch.setattr(torch, "compile", noted)
    trainer = Trainer(tiny(compiled=True), "cpu")
    assert asked == list(networks(trainer.model))
    held = [w for network in asked for w in network.parameters()]
    assert {id(w) for w in held} == {id(w) for w in trainer.model.parameters()}
    assert len(held) == len({id(w) for w in held})
    assert trainer.model.encoder not in asked
