"""Schedules: piecewise linear coefficients, and objectives that hold them."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.programs import decode, encode, float64, same  # noqa: F401

import unweave as uw
from unweave.objective.schedule import Ramp, ramp

ramps = st.lists(
    st.tuples(st.integers(0, 50), st.floats(-5, 5)),
    min_size=1,
    max_size=4,
    unique_by=lambda k: k[0],
).map(lambda knots: Ramp(tuple(sorted(knots))))


@given(ramps, ramps, st.floats(-3, 3), st.integers(-5, 60))
def test_schedules_are_numbers_at_each_step(a, b, c, step):
    for form, value in (
        (a + b, a(step) + b(step)),
        (a - c, a(step) - c),
        (c - a, c - a(step)),
        (c * a, c * a(step)),
        (a / 4, a(step) / 4),
        (-a, -a(step)),
    ):
        assert form(step) == pytest.approx(value, abs=1e-9)


def test_a_ramp_is_constant_outside():
    a = ramp(12, 1, 6, 11)
    assert [a(step) for step in (-1, 0, 6, 7, 11, 12, 10**9)] == [12, 12, 12, 9.8, 1, 1, 1]
    with pytest.raises(ValueError, match="steps increasing"):
        ramp(0, 1, 5, 5)
    with pytest.raises(
        TypeError, match=r"\(12 to 1 over steps 6 to 11\) times .* not piecewise linear"
    ):
        a * a


@pytest.mark.parametrize(
    "form",
    [
        lambda c: uw.beta_vae(c),
        lambda c: uw.hfvae(1, c, 4),
        lambda c: uw.elbo + c * uw.mi.of("y") - (c - 1) * uw.kl[0].of("z"),
        lambda c: uw.corex(c, "y"),
    ],
)
def test_an_objective_with_schedules_is_the_plain_one_at_each_step(form):
    q = encode((4,))
    d = uw.Densities(q, decode(q), aggregate=uw.minibatch(20))
    for step, value in ((0, 12.0), (7, 9.8), (20, 1.0)):
        same(d.score(form(ramp(12, 1, 6, 11)).at(step)), d.score(form(value)))


def test_objectives_with_schedules_print_and_refuse_to_be_scored():
    form = uw.beta_vae(ramp(0, 4, last=10_000))
    assert str(form) == (
        "log p(x|z) - (0 to 4 over steps 0 to 10,000)·log q(z|x) + (0 to 4 over steps 0 to "
        "10,000)·log p(z)"
    )
    assert (
        uw.hfvae(1, ramp(1, 12, last=100), 4).circled()
        == "① + ② + ③ + (1 to 12 over steps 0 to 100)·Ⓐ + 4ⓘ + ⓘⓘ"
    )
    q = encode((4,))
    with pytest.raises(ValueError, match=r"is a schedule, .* score objective\.at\(step\)"):
        form(q, decode(q))
    assert uw.elbo.at(3) is uw.elbo


def test_terms_that_change_are_taken_at_the_step():
    class Wanted:
        def __init__(self, target):
            self.target = target

        def at(self, step):
            return Wanted(self.target(step))

        def __call__(self, d):
            return torch.tensor(float(self.target))

    q = encode((4,))
    form = uw.recon - uw.Objective({Wanted(ramp(0, 25, last=10)): 2.0})
    d = uw.Densities(q, decode(q))
    same(d.score(form.at(5)), d.score(uw.recon) - 25)


def test_terms_that_meet_at_a_step_are_added():
    up, down = ramp(0, 10, last=10), ramp(10, 0, last=10)
    q = encode((4,))
    d = uw.Densities(q, decode(q), aggregate=uw.minibatch(9), kl="sampled")
    form = 2 * uw.capacity(uw.kl[0], up) + 3 * uw.capacity(uw.kl[0], down)
    spent = d.score(uw.kl[0]).mean()
    for step in (4, 5, 6):
        value = 2 * (spent - up(step)).abs() + 3 * (spent - down(step)).abs()
        same(d.score(form.at(step)), value.expand(4))
    assert form.at(5) == 5 * uw.capacity(uw.kl[0], 5.0)
    assert uw.conditioned(up * uw.mi).at(5) == uw.conditioned(5.0 * uw.mi)
    both = uw.conditioned(up * uw.mi) + uw.conditioned(down * uw.mi)
    assert both.at(5) == 2 * uw.conditioned(5.0 * uw.mi)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda: math.inf * uw.elbo, "the coefficient of log p(x|z) is inf; expected a finite"),
        (lambda: uw.elbo + math.nan * uw.label, "the coefficient of log q(y|x) is nan"),
        (lambda: 1e308 * uw.recon + 1e308 * uw.recon, "the coefficient of log p(x|z) is inf"),
        (lambda: uw.elbo / 0, "division by zero"),
        (lambda: uw.ramp(0, 1) / 0, "division by zero"),
        (lambda: uw.ramp(0, math.inf), "all of them finite numbers"),
        (lambda: uw.ramp(0, 1, last=math.nan), "steps increasing, all of them finite"),
        (lambda: uw.beta_vae(-4), "beta of beta_vae is -4; expected 0 or more"),
        (lambda: uw.beta_vae(math.nan), "beta of beta_vae is nan"),
        (lambda: uw.hfvae(1, gamma=uw.ramp(1, -1)), "gamma of hfvae is (1 to -1 over"),
        (lambda: uw.tc_vae(beta=-1), "beta of tc_vae is -1"),
        (lambda: uw.corex(-1, "y"), "lam of corex is -1"),
        (lambda: uw.dip_vae_ii(10, -1), "diag of dip_vae_ii is -1"),
        (lambda: uw.annealed_vae(-1), "gamma of annealed_vae is -1"),
        (lambda: uw.capacity(uw.mi, -1), "nats of capacity is -1"),
        (lambda: uw.factor_vae(-35), "gamma of factor_vae is -35"),
        (lambda: uw.critic_tc(hidden=(0,)), "hidden=(0,) of a critic"),
        (lambda: uw.critic_tc(lr=math.nan), "lr=nan of a critic"),
        (lambda: uw.critic_tc(betas=(1.0, 0.9)), "betas=(1.0, 0.9) of a critic"),
        (lambda: uw.mmd(bandwidth=math.inf), "bandwidth=inf: expected a number above 0"),
    ],
)
def test_coefficients_that_make_no_sense_are_refused(write, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        write()


def test_information_may_be_rewarded():
    """α of HFVAE weighs a term that is bounded, so that either sign makes sense."""
    assert uw.hfvae(-1) == uw.recon + uw.mi - uw.tc[:] - uw.kl[-1]
