"""Densities under an encoder that is given some of its sites, against runs one by one."""

import math

import pytest
import torch
from torch import nn

import unweave as uw
from unweave.evaluation import terms
from unweave.evaluation.apart import apart
from unweave.evaluation.gains import gains
from unweave.evaluation.joint import VALUES, joint
from unweave.models.model import Model, seeded

N, ROWS = 40, 7
BLOCK = (("y", (0,)), ("z", (0, 1)))


class Counted(nn.Linear):
    """The part of an encoder that y does not reach; it counts the items that it has seen."""

    seen = 0

    def forward(self, x):
        self.seen += x.shape[:-1].numel()
        return super().forward(x)


class Encoder(nn.Module):
    """q(y|x) q(z|x, y), with the two joined as each program likes to."""

    def __init__(self, join):
        super().__init__()
        self.join = join
        self.h, self.y, self.z = Counted(4, 8), nn.Linear(8, 3), nn.Linear(11, 4)

    def forward(self, x, y=None):
        q = uw.Trace()
        h = self.h(x).tanh()
        y = q.concrete(self.y(h), 0.6, value=y, name="y")
        mean, scale = self.z(self.join(h, y)).chunk(2, -1)
        q.normal(mean, scale.exp(), name="z")
        return q


def by_cat(h, y):
    return uw.nets.cat([h, y])


def by_strict_cat(h, y):
    """Joins tensors of the same shape alone: another dimension is an error."""
    return torch.cat([h, y], -1)


def by_mixing_values(h, y):
    """Takes any shape, and mixes the values that stand before the items."""
    return uw.nets.cat([h, y.mean(0, keepdim=True) if y.ndim > 2 else y])


class Decoder(nn.Module):
    def forward(self, x, q):
        p = uw.Trace()
        p.concrete(torch.zeros(3), 0.6, value=q["y"], name="y")
        p.normal(0.0, 1.0, value=q["z"], name="z")
        return p


def setting(join, seed=0):
    with seeded(seed):
        encoder = Encoder(join).double()
        for weight in encoder.parameters():
            weight.data.normal_(0, 0.7)
        x = torch.randn(N, 4, dtype=torch.double)
        with torch.no_grad():
            q = encoder(x)
    return Model(encoder, Decoder()), x, q


@torch.no_grad()
@pytest.mark.parametrize("join", [by_cat, by_strict_cat, by_mixing_values])
def test_the_joint_is_that_of_one_run_for_each_row(join):
    """To rounding where rows broadcast; a program that refuses or mixes them runs row by row."""
    model, x, q = setting(join)
    rows = q.take(torch.arange(ROWS))
    found = joint(model, x, rows, BLOCK)
    expected = []
    for i in range(ROWS):
        y, z = rows["y"].value[i], rows["z"].value[i]
        given = model.encoder(x, y=y.expand(N, 3))
        log_q = given["y"].dist.log_prob(y) + given["z"].dist.log_prob(z).sum(-1)
        expected.append(log_q.logsumexp(0) - math.log(N))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_layers_that_y_does_not_reach_run_once_an_item():
    model, x, q = setting(by_cat)
    rows = q.take(torch.arange(N))
    model.encoder.h.seen = 0
    joint(model, x, rows, BLOCK)
    tried = 5 * 4  # five items, three rows one by one and then together
    assert model.encoder.h.seen == N * math.ceil(N / VALUES) + tried


@torch.no_grad()
def test_the_joint_leaves_the_random_state_as_it_was():
    model, x, q = setting(by_cat)
    before = torch.random.get_rng_state()
    joint(model, x, q, BLOCK)
    assert torch.equal(torch.random.get_rng_state(), before)


@torch.no_grad()
@pytest.mark.parametrize("join", [by_cat, by_strict_cat])
def test_draws_that_the_encoder_takes_together_integrate_as_one_by_one(join):
    """Both are means over 500 draws; they differ by their errors, here far below 0.05 nats."""
    model, x, q = setting(join)
    d = uw.Densities(q, model.decoder(x, q), aggregate=uw.exact(q), kl="sampled")
    carried = gains(model, x, q, d, ["z[0]", "z[1]"])
    with seeded(1):
        draws = [model.encoder(x)["z"].dist.log_prob(q["z"].value) for _ in range(20_000)]
    log_q_x = torch.stack(draws).logsumexp(0) - math.log(len(draws))
    log_q = d.aggregate(q, [(("z", (0,)),), (("z", (1,)),)], 0)
    for unit in (0, 1):
        expected = log_q_x[:, unit] - log_q[unit]
        difference = carried[f"z[{unit}]"] - expected
        assert abs(float(difference.mean())) < 0.05


# -- layers of tensors side by side ----------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_parts_is_that_of_what_they_make_together(bias):
    torch.manual_seed(0)
    layer = nn.Linear(9, 4, bias=bias).double()
    h, y, w = (torch.randn(*shape).double() for shape in ((5, 3), (7, 1, 4), (7, 5, 2)))
    parts = [h.expand(7, 5, 3), y.expand(7, 5, 4), w]
    expected = layer(torch.cat(parts, -1))
    with apart():
        torch.testing.assert_close(layer(torch.cat(parts, -1)), expected)
        joined = torch.cat(parts, -1)
        assert joined.shape == (7, 5, 9)
        torch.testing.assert_close((joined * 2).sum(-1), 2 * torch.cat(parts, -1).sum(-1))
        torch.testing.assert_close(torch.cat([h, h]), h.repeat(2, 1))  # another dimension


# -- rows by the standard error --------------------------------------------------------------------


class Drawn:
    """Rows whose gaps are drawn already: what `dependence` sees of a model."""

    def __init__(self, gaps):
        self.gaps = gaps

    def take(self, numbers):
        return self.gaps[numbers]

    def values(self):
        yield uw.Node(self.gaps, "sampled")


def stopped(monkeypatch, gaps, wanted):
    model, x, q = setting(by_cat)
    d = uw.Densities(q, model.decoder(x, q), groups=("y", "z"), aggregate=uw.exact(q))
    monkeypatch.setattr(terms, "_gap", lambda model, x, rows, d, parts: rows)
    return terms.dependence(model, x, Drawn(gaps), d, wanted=wanted)


def test_rows_are_added_until_the_standard_error_is_as_wanted(monkeypatch):
    torch.manual_seed(0)
    gaps = torch.randn(5000).exp()
    found = stopped(monkeypatch, gaps, wanted=0.05)
    n = len(found.rows)
    assert n % VALUES == 0
    assert 2 * VALUES < n < 5000
    torch.testing.assert_close(found.levels[0], gaps[found.rows])
    before = found.levels[0][:-VALUES]
    assert found.error() <= 0.05 < float(before.std()) / math.sqrt(len(before))
    assert len(stopped(monkeypatch, gaps, wanted=0.0).rows) == 5000  # all that there are


def test_a_mean_that_stops_by_its_standard_error_is_biased_by_less_than_that(monkeypatch):
    """Exponential gaps, of skewness 2: over 200 samples the mean of the estimates is within the
    standard error, 0.05, of 1. Its own error is 0.05/√200, so chance fails this by 14 of them.
    """
    torch.manual_seed(1)
    estimates = []
    for _ in range(200):
        gaps = torch.empty(3000).exponential_()
        found = stopped(monkeypatch, gaps, wanted=0.05)
        estimates.append(float(found.levels[0].mean()))
    assert abs(sum(estimates) / len(estimates) - 1) < 0.05


def test_the_standard_error_counts_what_the_two_means_share():
    """At all rows it is that of the sums; at some it is measured over many draws of the rows."""
    torch.manual_seed(2)
    values = torch.randn(1000).double()
    gap = 0.7 * values + torch.randn(1000).double()

    class Scored:
        def score(self, term):
            return values

    everywhere = terms.Gaps(torch.arange(1000), {0: gap})
    term = uw.Objective({uw.Atom("q", 0): 1.0})
    found = terms._exact(Scored(), term, everywhere)
    total = values + gap
    assert found["exact"] == pytest.approx(float(total.mean()), abs=1e-12)
    assert found["se"] == pytest.approx(float(total.std()) / math.sqrt(1000), abs=1e-12)
    errors, estimates = [], []
    for _ in range(400):
        values = torch.randn(1000).double()
        gap = 0.7 * values[:100] + torch.randn(100).double()
        some = terms._exact(Scored(), term, terms.Gaps(torch.arange(100), {0: gap}))
        errors.append(some["se"])
        estimates.append(some["exact"])
    spread = torch.tensor(estimates).std()
    # a standard deviation of 400 numbers has a relative error of 1/√800; four of them
    assert float(torch.tensor(errors).mean()) == pytest.approx(
        float(spread), rel=4 / math.sqrt(800)
    )
