"""Slips that would be finite and wrong numbers: refused by the site's name, with what to do."""

import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import Bernoulli, RelaxedOneHotCategorical

import unweave as uw
from unweave.trace import limits


@pytest.fixture(autouse=True)
def forget_calls():
    limits._calls.clear()


@pytest.mark.parametrize("scale", [-0.5, torch.tensor([[1.0, -0.5]] * 4)])
def test_a_negative_scale_is_refused(scale):
    """Whichever call it is, on the CPU."""
    for _ in range(2):
        q = uw.Trace()
        q.normal(torch.zeros(4, 2), 1.0, name="w")
        with pytest.raises(ValueError, match=r"site 'z': its scale is as low as -0.5.*log_std.exp"):
            q.normal(torch.zeros(4, 2), scale, name="z")


@pytest.mark.parametrize("t", [0.0, -1.0, torch.tensor(0.0), torch.tensor([0.5, 0.5, -1.0])])
def test_a_temperature_is_above_0(t):
    with pytest.raises(ValueError, match=r"site 'y': its temperature is as low as .* above 0"):
        uw.Trace().concrete(torch.zeros(3, 4), t, name="y")


def test_probabilities_are_no_log_weights():
    probabilities = torch.randn(5, 3).softmax(-1)
    for add in (
        lambda q: q.categorical(probabilities, name="y"),
        lambda q: q.concrete(probabilities, 0.66, name="y"),
    ):
        limits._calls.clear()
        with pytest.raises(ValueError, match=r"site 'y': its logits are probabilities.*\.log\(\)"):
            add(uw.Trace())
        limits._calls.clear()
    uw.Trace().categorical(probabilities.log(), name="y")
    uw.Trace().categorical(torch.full((5, 3), 1 / 3), name="y")


def test_many_log_odds_between_0_and_1_are_suspected():
    p = uw.Trace()
    with pytest.warns(UserWarning, match="site 'x': all its logits lie between 0 and 1"):
        p.bernoulli(torch.randn(8, 16).sigmoid(), value=torch.ones(8, 16), name="x")


def test_looks_that_wait_for_a_device_are_few():
    t = torch.zeros(())
    due = [count for count in range(1, 100) if limits._is_due("z", "scale", t)]
    assert due == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64])
def test_integers_and_booleans_are_outcomes(dtype):
    """Scored as the same numbers in floating point are."""
    x = torch.rand(4, 5) > 0.5
    logits = torch.randn(4, 5)
    for add in (
        lambda p, value: p.bernoulli(logits, value=value, name="x"),
        lambda p, value: p.sample(Bernoulli(logits=logits), value=value, name="x"),
        lambda p, value: p.bernoulli(logits, value, name="x", observed=torch.ones(4) > 0),
    ):
        p, wanted = uw.Trace(), uw.Trace()
        add(p, x.to(dtype))
        add(wanted, x.to(logits.dtype))
        same(p["x"].log_prob, wanted["x"].log_prob)


@pytest.mark.parametrize(
    "x", [torch.arange(20, dtype=torch.uint8), torch.arange(20) - 5, torch.linspace(0, 255, 20)]
)
def test_bytes_are_no_outcomes(x):
    with pytest.raises(ValueError, match=r"site 'x': its values .* range from .* x / 255"):
        uw.Trace().bernoulli(torch.zeros(4, 5), value=x.reshape(4, 5), name="x")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (1,), ()])
def test_each_item_may_have_a_temperature(shape):
    """Densities are torch's own, and a loop's over items; the aggregate posterior too."""
    t = torch.rand(shape) + 0.3
    logits = torch.randn(4, 3)
    q, p = uw.Trace(), uw.Trace()
    y = q.concrete(logits, t, name="y")
    p.concrete(torch.zeros(3), 0.5, value=q["y"], name="y")
    each = t.reshape(-1).expand(4)
    pairs = torch.stack(
        [RelaxedOneHotCategorical(each[j], logits=logits[j]).log_prob(y) for j in range(4)], -1
    )
    same(q["y"].log_prob, pairs.diagonal())
    log_q = pairs.logsumexp(-1) - torch.tensor(4.0).log()
    same(uw.mi(q, p, aggregate=uw.exact(q)), pairs.diagonal() - log_q)
    some = q.take(torch.tensor([2, 0]))
    same(some["y"].log_prob, pairs.diagonal()[[2, 0]])


def test_each_unit_may_have_a_temperature():
    t, logits = torch.rand(4, 2) + 0.3, torch.randn(4, 2, 3)
    q = uw.Trace()
    y = q.concrete(logits, t, name="y")
    wanted = [
        [RelaxedOneHotCategorical(t[i, k], logits=logits[i, k]).log_prob(y[i, k]) for k in (0, 1)]
        for i in range(4)
    ]
    same(q["y"].log_prob, torch.tensor(wanted))
    with pytest.raises(ValueError, match=r"temperatures of shape \(3,\): give one number"):
        uw.Trace().concrete(logits, torch.ones(3), name="y")


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (lambda t: t.normal(math.nan, 1.0, name="z"), "site 'z': its mean is NaN or infinite"),
        (lambda t: t.normal(math.inf, 1.0, name="z"), "site 'z': its mean is NaN or infinite"),
        (lambda t: t.normal(torch.tensor([0, math.nan]), 1.0, name="z"), "its mean is NaN"),
        (lambda t: t.normal(torch.zeros(2), 0.0, name="z"), "its scale is as low as 0"),
        (lambda t: t.normal(torch.zeros(2), math.nan, name="z"), "its scale is as low as nan"),
        (lambda t: t.normal(torch.zeros(2), math.inf, name="z"), "its scale is as low as inf"),
        (lambda t: t.normal(0.0, torch.zeros(2), name="z"), "its scale is as low as 0"),
        (lambda t: t.normal(0.0, torch.tensor([1, math.nan]), name="z"), "as low as nan"),
        (lambda t: t.concrete(torch.randn(3, 2), 0.0, name="y"), "temperature is as low as 0"),
        (lambda t: t.concrete(torch.randn(3, 2), math.nan, name="y"), "temperature is as low as"),
        (lambda t: t.concrete(torch.full((3, 2), math.nan), 1.0, name="y"), "logits are NaN"),
        (lambda t: t.categorical(torch.full((3, 2), math.nan), name="y"), "logits are NaN"),
        (lambda t: t.bernoulli(torch.full((3, 2), math.nan), name="x"), "logits are NaN"),
    ],
)
def test_numbers_and_constants_that_no_distribution_has(site, said):
    with pytest.raises(ValueError, match=said):
        site(uw.Trace())


def test_networks_that_diverge_are_left_to_training():
    """It says at which step, and for which items."""
    broken = torch.full((2, 3), math.nan, requires_grad=True)
    uw.Trace().normal(broken, broken, name="z")
    with torch.no_grad():
        uw.Trace().normal(broken, broken, name="z")
