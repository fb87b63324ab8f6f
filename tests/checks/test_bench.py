"""The comparison is fair: what is timed by hand is our loss, to the last gradient."""

import json
import math

import pytest
import torch

import unweave as uw
from unweave.checks import bench_classes, bench_marginal, bench_peers, bench_step, problem, timing
from unweave.fused import native, pure
from unweave.training.trainer import Trainer


@pytest.fixture
def pair():
    """The library's trainer and the hand-written networks, with the same weights."""
    trainer = Trainer(bench_step.recipe(16, 200), "cpu")
    parts = bench_step.hand_parts()
    ours = trainer.model.state_dict().values()
    parts.load_state_dict(
        dict(zip(parts.state_dict(), ours, strict=True))
    )  # in the order of their definition
    return trainer, parts


def test_the_loss_by_hand_is_ours(pair):
    trainer, parts = pair
    items = trainer.epoch_order(0)[0]
    x, _ = trainer.train.batch(items)

    torch.manual_seed(1)
    d = trainer.densities(*trainer.model(x))
    ours = -d.score(trainer.recipe.objective_at(0)).mean()
    torch.manual_seed(1)
    hand = bench_step.hand_loss(parts, x.flatten(1), bench_step.log_weights(16, 200))

    torch.testing.assert_close(hand, ours, rtol=1e-5, atol=0)
    theirs = torch.autograd.grad(hand, list(parts.parameters()))
    for (name, weight), gradient in zip(trainer.model.named_parameters(), theirs, strict=True):
        (expected,) = torch.autograd.grad(ours, weight, retain_graph=True)
        scale = float(expected.abs().max())
        torch.testing.assert_close(
            gradient,
            expected,
            rtol=1e-3,
            atol=1e-4 * scale,
            msg=lambda m, name=name: f"{name}: {m}",
        )


def test_the_loss_is_that_of_the_mnist_recipe(pair):
    trainer, _ = pair
    assert trainer.recipe.objective == uw.hfvae(1, 12, 4)
    assert trainer.recipe.aggregate == uw.minibatch(200)
    assert trainer.model.config == uw.models.hfvae((28, 28)).config
    assert (trainer.recipe.groups, trainer.recipe.lr) == (("y", "z"), 1e-3)


def test_log_weights_are_the_balanced_ones():
    w = bench_step.log_weights(5, 40).exp()
    assert w.diagonal().tolist() == pytest.approx([1 / 40] * 5)
    assert float(w[0, 1]) == pytest.approx(39 / (40 * 4))
    assert w.sum(1).tolist() == pytest.approx([1.0] * 5)


def test_the_step_by_hand_trains(monkeypatch):
    losses = []

    def recorded(*args, plain=bench_step.hand_loss):
        loss = plain(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(bench_step, "hand_loss", recorded)
    torch.manual_seed(0)
    _, by_hand = bench_step.steps(16, 64)
    for _ in range(20):
        by_hand()
    assert losses[-1] < losses[0] - 1


def test_quartiles_and_interleaving():
    order = []
    times = timing.interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, wall=False
    )
    assert len(order) == 2 * (3 + 5)
    assert order[:4] == ["b", "a", "a", "b"]  # each goes first in turn
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert timing.quartiles([0.001, 0.002, 0.003]) == "2.00 [1.00 to 3.00]"
    assert math.isclose(bench_step.GOAL, 1.10)


def test_the_elbo_by_hand_is_ours(pair):
    trainer, parts = pair
    x, _ = trainer.train.batch(trainer.epoch_order(0)[0])
    torch.manual_seed(1)
    d = trainer.densities(*trainer.model(x))
    torch.manual_seed(1)
    torch.testing.assert_close(
        bench_step.elbo_loss(parts, x.flatten(1)), -d.score(uw.elbo).mean(), rtol=1e-5, atol=0
    )


def test_peers_that_are_missing_are_named(monkeypatch, capsys):
    monkeypatch.setattr(bench_peers, "find_spec", lambda name: None)
    assert list(bench_peers.steps(16)) == ["unweave, ELBO", "unweave, TC-VAE"]
    bench_peers.peers(repeats=2, batches=(16,))
    said = capsys.readouterr().out
    assert "pythae: not installed" in said
    assert "times ours" in said


def test_one_class_adds_nothing_to_the_loss_that_is_timed():
    losses = []
    for count in (0, 1):
        torch.manual_seed(0)
        losses.append(bench_classes.objective(count, dependent=False)())
    torch.testing.assert_close(*losses, rtol=1e-5, atol=0)


# -- the estimator ---------------------------------------------------------------------------------


def test_all_that_is_timed_is_the_same_estimate():
    """Values and gradients, on several samples too: what is compared is the same work."""
    for samples in (0, 3):
        x = problem.Problem.random(12, 7, samples=samples, dtype=torch.float64)
        assert x.subsets == [tuple(range(7)), (0, 1), (2, 3, 4), (5, 6), *((u,) for u in range(7))]
        found = {}
        for name, estimate in problem.estimators().items():
            value = problem.loss(x, estimate).detach()
            found[name] = (estimate(x).detach(), value, *(leaf.grad.clone() for leaf in x.leaves))
        for name, parts in found.items():
            for part, expected in zip(parts, found["naive"], strict=True):
                torch.testing.assert_close(
                    part, expected, rtol=1e-10, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}"
                )


def test_errors_are_those_of_float32():
    for found in problem.errors(1e-2, batch=50, units=10).values():
        assert 0 < found["value"] < 1e-4
        assert 0 < found["gradient"] < 1e-5


def test_memory_is_that_of_the_largest_moment():
    grown = bench_marginal._peak(lambda: torch.ones(4_000_000).sum())
    assert grown is None or 15e6 < grown < 25e6


def measured(ratio, spread=0.0):
    """As the children would report it, with the fused estimators `ratio` times as fast as the naive
    one.
    """
    times = {"naive": [1.0 - spread, 1.0, 1.0, 1.0 + spread]}
    times |= {name: [1.0 / ratio] * 4 for name in ("pure", "native")}
    rows = [
        {"B": b, "D": d, "seconds": times, "memory": {"naive": None, "pure": 1e6, "native": 9e7}}
        for b, d in ((128, 10), (1024, 10))
    ]
    growth = {
        "pure": {label: [s] * 4 for label, s in zip(GROWTH, (1.0, 16.0, 6.0, 8.0), strict=True)}
    }
    heap = {"rows": rows}
    error = {"1": {"pure": {"value": 1e-5, "gradient": 2e-6}}}
    return {
        "cold": heap,
        "warm": heap,
        "growth": growth,
        "error": error,
        "load before": 0.0,
        "load after": 0.0,
    }


GROWTH = ("B=1024 D=10", "B=4096 D=10", "B=1024 D=50", "B=1024 D=10 S=8")


def test_goals_are_judged_and_noise_decides_nothing():
    verdicts = {g["goal"]: g["verdict"] for g in bench_marginal._goals(measured(10.0))}
    assert verdicts["pure, B=128 D=10, cold heap: at least 3.5 times as fast as naive"] == "pass"
    assert verdicts["pure, B=1024 D=10, cold heap: at least 12 times as fast as naive"] == "fail"
    assert verdicts["native, B=1024 D=10: at most 8 MB + 64 (S+1) B D bytes"] == "fail"
    assert verdicts["pure, B 1024 to 4096: at most 17 times the time"] == "pass"
    assert verdicts["pure, D 10 to 50: at most 5.5 times the time"] == "fail"
    assert verdicts["pure, std 1e-4 to 1: float32 error in values at most 0.0001"] == "pass"
    assert verdicts["pure, std 1e-4 to 1: float32 error in gradients at most 1e-06"] == "fail"
    noisy = {g["goal"]: g["verdict"] for g in bench_marginal._goals(measured(10.0, spread=0.5))}
    assert noisy["pure, B=128 D=10, cold heap: at least 3.5 times as fast as naive"] == "pass"
    assert (
        noisy["pure, B=1024 D=10, cold heap: at least 12 times as fast as naive"]
        == "inconclusive: noisy"
    )


@pytest.mark.slow
def test_the_children_measure_and_all_is_written(tmp_path, monkeypatch, capsys):
    small = {"naive": problem.naive, "pure": problem.of_body(pure.Pure)}
    out = bench_marginal._child("warm", {"sizes": [[16, 5]], "repeats": 2, "threads": 1})
    (row,) = out["rows"]
    assert (row["B"], row["D"]) == (16, 5)
    assert set(small) <= set(row["seconds"])
    monkeypatch.setattr(
        bench_marginal,
        "_child",
        lambda heap, task: {**measured(20.0), "rows": measured(20.0)["cold"]["rows"]},
    )
    bench_marginal.marginal(quick=True, json=tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert len(written["goals"]) > 8
    assert written["back end"] == native.status()
    said = capsys.readouterr().out
    assert "time grows as B^2.00" in said
