import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch import nn
from torch.distributions import (
    Bernoulli,
    Independent,
    MultivariateNormal,
    Normal,
    RelaxedOneHotCategorical,
)

import unweave as uw

# -- the talk's programs, with only the import's name changed --------------------------------------


class Encoder(nn.Module):
    def __init__(self, x_sz, h_sz, y_sz, z_sz):
        super().__init__()
        self.h = nn.Sequential(nn.Linear(x_sz, h_sz), nn.ReLU())
        self.y_log_weights = nn.Linear(h_sz, y_sz)
        self.z_mean = nn.Linear(h_sz + y_sz, z_sz)
        self.z_log_std = nn.Linear(h_sz + y_sz, z_sz)

    def z_std(self, hy):
        return self.z_log_std(hy).exp()

    def forward(self, x, y_values=None):
        q = uw.Trace()
        h = self.h(x)
        y = q.concrete(self.y_log_weights(h), 0.66, value=y_values, name="y")
        hy = torch.cat([h, y], -1)
        q.normal(self.z_mean(hy), self.z_std(hy), name="z")
        return q


class Decoder(nn.Module):
    def __init__(self, x_sz, h_sz, y_sz, z_sz):
        super().__init__()
        self.y_log_weights = nn.Parameter(torch.zeros(y_sz))
        self.h = nn.Sequential(nn.Linear(y_sz + z_sz, h_sz), nn.ReLU())
        self.x_mean = nn.Sequential(nn.Linear(h_sz, x_sz), nn.Sigmoid())
        self.bce = nn.BCELoss(reduction="none")

    def forward(self, x, q):
        p = uw.Trace()
        y = p.concrete(self.y_log_weights, 0.66, value=q["y"], name="y")
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        h = self.h(torch.cat([y, z], -1))
        p.loss(self.bce, self.x_mean(h), x, name="x")
        return p


SIZES = (16, 12, 3, 2)


def talk(n=60):
    """The two programs, and pictures of three kinds with their labels."""
    label = torch.arange(n) % 3
    x = (torch.rand(n, 16) < torch.eye(3).repeat_interleave(6, 1)[label, :16] * 0.8 + 0.1).double()
    return Encoder(*SIZES), Decoder(*SIZES), x, label


@pytest.mark.parametrize("labelled", ["none", "all", "some"])
def test_the_talks_programs_train(labelled):
    encoder, decoder, x, label = talk()
    values = {
        "none": None,
        "all": label,
        "some": torch.where(torch.arange(len(x)) % 2 == 0, label, -1),
    }[labelled]
    objective = uw.hfvae(alpha=1, beta=4, gamma=2) + 10 * uw.label
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
    losses = []
    for _ in range(60):
        q = encoder(x, values)
        loss = -objective(q, decoder(x, q), groups=("y", "z"), aggregate=uw.minibatch(600)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < sum(losses[:10]) - 10
    for module in (encoder, decoder):
        assert all(w.grad is not None and w.grad.isfinite().all() for w in module.parameters())
    if labelled != "none":
        assert (encoder.y_log_weights(encoder.h(x)).argmax(-1) == label).double().mean() > 0.8


def test_the_talks_elbo_is_the_formula():
    encoder, decoder, x, label = talk()
    q = encoder(x, label)
    p = decoder(x, q)
    y, z = torch.nn.functional.one_hot(label, 3).double(), q["z"]
    same(q["y"].value, y)
    mean = decoder.x_mean(decoder.h(torch.cat([y, z.value], -1)))
    log_x = (x * mean.log() + (1 - x) * (1 - mean).log()).sum(-1)
    kl = 0.5 * (z.dist.loc**2 + z.dist.scale**2 - 1 - 2 * z.dist.scale.log()).sum(-1)
    same(uw.elbo(q, p), log_x - math.log(3) - kl)


def test_the_talks_decoder_generates_without_data():
    encoder, decoder, x, _ = talk()
    p = decoder(None, encoder(x).free(64))
    assert [(name, node.role) for name, node in p.items()] == [
        ("y", "sampled"),
        ("z", "sampled"),
        ("x", "free"),
    ]
    assert [tuple(node.value.shape) for node in p.values()] == [(64, 3), (64, 2), (64, 16)]
    assert len(p["z"].value.unique()) == 128  # each draw is its own, also from an unexpanded prior
    assert len(p["y"].value[:, 0].unique()) == 64
    with pytest.raises(ValueError, match="without a distribution has no log-density"):
        _ = p["x"].log_prob


@pytest.mark.parametrize("y", [torch.arange(3), torch.eye(3)], ids=["class numbers", "one-hot"])
def test_the_talks_decoder_takes_chosen_codes(y):
    """Class numbers are read as such where K items give them the shape of one one-hot row."""
    encoder, decoder, x, _ = talk()
    p = decoder(None, encoder(x).free(3, y=y))
    same(p["y"].value, torch.eye(3))
    assert (p["y"].role, p["z"].role, p["x"].role) == ("reused", "sampled", "free")
    p = decoder(None, uw.Trace.given(y=y, z=torch.zeros(3, 2)))
    same(p["y"].value, torch.eye(3))
    same(p["y"].log_prob, torch.full((3,), -math.log(3)))
    assert p["x"].value.shape == (3, 16)
    with pytest.raises(KeyError, match="no site 'w' in this trace; its sites are: 'y', 'z'"):
        encoder(x).free(3, w=y)


def test_free_drops_samples_and_keeps_units():
    q = uw.Trace()
    q.normal(torch.zeros(7, 5, 2, 3), 1.0, name="w")
    q.sample(MultivariateNormal(torch.zeros(7, 5, 4), torch.eye(4)), name="u")
    free, p = q.free(9, batch_dim=1), uw.Trace()
    p.normal(torch.zeros(2, 3), 1.0, value=free["w"], name="w")
    p.sample(MultivariateNormal(torch.zeros(4), torch.eye(4)), free["u"], name="u")
    assert [tuple(node.value.shape) for node in p.values()] == [(9, 2, 3), (9, 4)]


# -- samples in leading dimensions -----------------------------------------------------------------


def test_samples_lead():
    """IWAE by hand: the log of the mean over samples of exp(ELBO) is `evidence`."""
    encoder, decoder, x, label = talk(6)
    q = encoder(x.expand(8, 6, 16), label.expand(8, 6))
    p = decoder(x.expand(8, 6, 16), q)
    elbo = uw.elbo(q, p, batch_dim=1, kl="sampled")
    assert elbo.shape == (8, 6)
    assert len(elbo.unique()) == 48
    same(uw.evidence(q, p, batch_dim=1), (elbo.logsumexp(0) - math.log(8)).expand(8, 6))


# -- roles, values, and what a trace shows ---------------------------------------------------------


def test_roles_say_where_values_came_from():
    q, p = uw.Trace(), uw.Trace()
    z = q.normal(torch.zeros(3, 2), 1.0, name="z")
    y = q.concrete(torch.zeros(3, 4), 0.66, value=torch.tensor([0, 3, -1]), name="y")
    assert p.normal(0.0, 1.0, value=q["z"], name="z") is z
    assert p.concrete(torch.zeros(4), 0.66, value=q["y"], name="y") is y
    p.bernoulli(torch.zeros(3, 5), value=torch.ones(3, 5), name="x")
    p.factor(torch.zeros(3), name="f")
    p.loss(lambda a, b: (a - b) ** 2, z, None, name="l")
    assert [node.role for node in q.values()] == ["sampled", "observed"]
    assert [node.role for node in p.values()] == ["reused", "reused", "observed", "scored", "free"]
    assert repr(q) == (
        "site  role              distribution  value\n"
        "z     sampled           Normal        (3, 2)\n"
        "y     observed in part  Concrete      (3, 4)"
    )
    assert repr(p).splitlines()[-2:] == [
        "f     scored    score         (3,)",
        "l     free      -             (3, 2)",
    ]
    assert (len(q), list(q), "z" in q, "x" in q, q.get("x", 7)) == (2, ["z", "y"], True, False, 7)


def test_log_densities_wait_until_they_are_asked_for():
    calls = []

    class Watched(Normal):
        def log_prob(self, value):
            calls.append(value.shape)
            return super().log_prob(value)

    q = uw.Trace()
    q.sample(Watched(torch.zeros(3, 2), 1.0), name="z")
    repr(q), q["z"].value, q.free(4)
    assert calls == []
    assert q["z"].log_prob is q["z"].log_prob
    assert len(calls) == 1


def test_a_loss_is_minus_its_function_and_returns_its_input():
    p, target = uw.Trace(), torch.rand(3, 2)
    out = p.loss(lambda a, b: (a - b).abs(), torch.zeros(3, 2), target, name="x")
    same(out, torch.zeros(3, 2))
    same(p["x"].log_prob, -target)
    same(p["x"].value, out)


def test_priors_need_no_expansion():
    """Numbers, units, one row, and the full shape say the same."""
    z = torch.randn(4, 3)
    for loc, scale in (
        (0.0, 0.7),
        (torch.zeros(3), 0.7),
        (torch.zeros(1, 3), 0.7),
        (torch.zeros(4, 3), torch.tensor(0.7)),
    ):
        p = uw.Trace()
        p.normal(loc, scale, value=z, name="z")
        same(p["z"].log_prob, Normal(0.0, 0.7).log_prob(z))


def test_numbers_take_precision_and_device_from_the_tensors_beside_them():
    torch.set_default_dtype(torch.float32)
    q, p = uw.Trace(), uw.Trace()
    z = q.normal(torch.zeros(3, 2, dtype=torch.float64), 0.1, name="z")
    assert q["z"].dist.scale.dtype == z.dtype == torch.float64
    assert float(q["z"].dist.scale[0, 0]) == 0.1
    q.normal(torch.zeros(3, 2, device="meta"), 0.1, name="w")
    assert q["w"].dist.scale.device.type == "meta"
    assert p.normal(0.1, 1.0, value=q["z"], name="z") is z
    assert p["z"].dist.loc.dtype == torch.float64
    p.normal(0.5, 0.5, value=torch.tensor([1, 2]), name="count")
    same(p["count"].log_prob, Normal(0.5, 0.5).log_prob(torch.tensor([1.0, 2.0])))


def test_scale_is_a_standard_deviation():
    q = uw.Trace()
    q.normal(torch.zeros(1), 3.0, value=torch.tensor([3.0]), name="z")
    same(q["z"].log_prob, torch.tensor([-0.5 - math.log(3) - 0.5 * math.log(2 * math.pi)]))


def test_grey_values_are_scored_by_cross_entropy():
    p, logits, x = uw.Trace(), torch.randn(3, 4), torch.rand(3, 4)
    p.bernoulli(logits, value=x, name="x")
    same(p["x"].log_prob, x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log())


def test_values_in_part_observed_are_drawn_elsewhere():
    """Entries that were not observed are drawn, with a gradient; observed ones have none."""
    q, loc = uw.Trace(), torch.full((4, 2), 50.0, requires_grad=True)
    seen = torch.tensor([[True, False], [False, False], [True, True], [False, True]])
    z = q.normal(loc, 1.0, value=torch.zeros(4, 2), observed=seen, name="z")
    assert torch.equal(z == 0, seen)
    assert (z[~seen] > 40).all()
    z.sum().backward()
    same(loc.grad, (~seen).double())


def test_missing_entries_of_a_shared_distribution_are_drawn_one_by_one():
    p = uw.Trace()
    x = p.normal(0.0, 1.0, value=torch.zeros(50, 4), observed=torch.arange(50) < 10, name="x")
    assert len(x.unique()) == 1 + 40 * 4


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 3, 2)])
def test_a_mask_counts_dimensions_from_the_first(shape):
    seen = torch.tensor([True, False, False, True])
    q = uw.Trace()
    z = q.normal(torch.full(shape, 50.0), 1.0, value=torch.zeros(shape), observed=seen, name="z")
    assert torch.equal(z == 0, seen[:, None, None].expand(shape))


# -- errors ----------------------------------------------------------------------------------------


def test_names_are_used_once():
    q = uw.Trace()
    q.normal(torch.zeros(3), 1.0, name="z")
    with pytest.raises(
        ValueError, match=r"site 'z' is already in this trace.*give this one another"
    ):
        q.factor(torch.zeros(3), name="z")
    with pytest.raises(TypeError):
        q["w"] = q["z"]
    with pytest.raises(TypeError):
        del q["z"]


def test_a_typo_in_a_name_never_samples():
    q = uw.Trace()
    with pytest.raises(KeyError, match="no site 'z' in this trace; its sites are: none yet"):
        q["z"]
    z = q.normal(torch.zeros(3, 2), 1.0, name="z")
    q.normal(z, 1.0, name="w")
    p = uw.Trace()
    with pytest.raises(KeyError, match="no site 'zz' in this trace; its sites are: 'z', 'w'"):
        p.normal(0.0, 1.0, value=q["zz"], name="z")
    p.normal(0.0, 1.0, value=q["z"], name="zz")
    with pytest.raises(KeyError, match="q draws 'z', but p has no such site; its sites are: 'zz'"):
        uw.elbo(q, p)


@pytest.mark.parametrize(
    ("dist", "shape"),
    [
        (Normal(torch.zeros(4, 3), 1.0), (4,)),
        (Normal(torch.zeros(4, 3), 1.0), (4, 1)),
        (Normal(torch.zeros(4, 1), 1.0), (4,)),
        (Normal(torch.zeros(4), 1.0), (3, 4, 3)),
        (MultivariateNormal(torch.zeros(3), torch.eye(3)), (4, 2)),
        (MultivariateNormal(torch.zeros(4, 3), torch.eye(3)), (5, 3)),
        (uw.Concrete(torch.zeros(3), 0.5), ()),
    ],
)
def test_values_of_another_shape_are_never_broadcast(dist, shape):
    with pytest.raises(
        ValueError, match=r"site 'z': the value has shape .* describes values of shape"
    ):
        uw.Trace().sample(dist, torch.zeros(shape), name="z")
    with pytest.raises(ValueError, match="site 'z': the value has shape"):
        uw.Trace().sample(dist, uw.Node(torch.zeros(shape), "sampled", dist), name="z")


def test_classes_beyond_the_last_are_named():
    with pytest.raises(
        ValueError, match="site 'y': class number 4 given, expected 0 to 3, or below zero"
    ):
        uw.Trace().concrete(torch.zeros(2, 4), 0.66, value=torch.tensor([1, 4]), name="y")


def test_masks_of_another_shape_are_refused():
    with pytest.raises(
        ValueError,
        match=r"site 'y': observed= has shape \(5,\), but the value's entries have shape \(2, 5\)",
    ):
        uw.Trace().concrete(
            torch.zeros(2, 5, 4),
            0.66,
            value=torch.zeros(2, 5, dtype=int),
            observed=torch.ones(5) > 0,
            name="y",
        )


def test_losses_that_reduce_are_refused():
    with pytest.raises(
        ValueError, match=r"at site 'x' returned one number for the whole batch.*reduction='none'"
    ):
        uw.Trace().loss(nn.BCELoss(), torch.rand(3, 2), torch.rand(3, 2), name="x")


# -- Concrete --------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.3, 0.66, 1.0, 2.5])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_concrete_density_is_that_of_torch(temperature, k):
    logits = 2 * torch.randn(50, k)
    mine, theirs = (
        uw.Concrete(logits, temperature),
        RelaxedOneHotCategorical(torch.tensor(temperature), logits=logits),
    )
    y = theirs.rsample((4,)).clamp_min(1e-12)
    y = y / y.sum(-1, keepdim=True)
    same(mine.log_prob(y), theirs.log_prob(y), 1e-9)
    same(uw.Concrete(logits + 5, temperature).log_prob(y), mine.log_prob(y), 1e-9)
    tensor = torch.tensor(temperature, requires_grad=True)
    same(uw.Concrete(logits, tensor).log_prob(y), mine.log_prob(y))


@pytest.mark.parametrize("temperature", [0.66, 1.0, 2.0])
def test_concrete_density_integrates_to_one(temperature):
    """K = 2, in the log odds u of the value, where dy = y(1−y) du and the integrand decays."""
    u = torch.linspace(-60, 60, 20_001)
    y = torch.stack([u.sigmoid(), (-u).sigmoid()], -1)
    density = uw.Concrete(torch.tensor([0.7, -0.4]), temperature).log_prob(y).exp()
    same(torch.trapezoid(density * y[:, 0] * y[:, 1], u), 1.0, 1e-9)


def test_concrete_samples_have_the_classes_frequencies():
    """The argmax is a draw of the discrete variable: 5 standard errors, false failure 2e-6."""
    d, n = uw.Concrete(torch.tensor([1.0, 0.0, -1.0]), 0.66), 20_000
    y = d.rsample((n,))
    same(y.sum(-1), torch.ones(n))
    share, p = torch.nn.functional.one_hot(y.argmax(-1), 3).double().mean(0), d.logits.softmax(-1)
    assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_concrete_is_finite_at_the_corners(dtype):
    """Saturated samples hold exact zeros, and float32 has no 1 − 1e-9."""
    logits = torch.tensor([[400.0, 0.0, -400.0], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    d = uw.Concrete(logits, 0.1)
    for y in (
        d.rsample((200,)),
        torch.eye(3, dtype=dtype)[:2],
        torch.tensor([0.0, 1e-44, 1.0]).to(dtype).expand(2, 3),
    ):
        log_prob = d.log_prob(y)
        assert log_prob.isfinite().all()
        (grad,) = torch.autograd.grad(log_prob.sum(), logits)
        assert grad.isfinite().all()


def test_concrete_gradients_agree_with_finite_differences():
    logits, temperature = (
        torch.randn(4, 3, requires_grad=True),
        torch.tensor(0.66, requires_grad=True),
    )

    def fixed(logits, temperature):
        torch.manual_seed(1)
        d = uw.Concrete(logits, temperature)
        return d.log_prob(d.rsample()), d.log_mass(torch.eye(3)[[0, 1, 2, 0]])

    assert torch.autograd.gradcheck(fixed, (logits, temperature))


def test_labels_are_scored_by_the_mass_of_their_class():
    logits, label = torch.randn(5, 4), torch.tensor([0, 3, 1, -1, 2])
    mass = logits.log_softmax(-1).gather(-1, label.clamp_min(0)[:, None])[:, 0]
    q = uw.Trace()
    q.concrete(logits, 0.66, value=label, name="y")
    same(q["y"].log_prob[label >= 0], mass[label >= 0])
    same(q["y"].log_prob[label < 0], q["y"].dist.log_prob(q["y"].value)[label < 0])
    q = uw.Trace()
    q.categorical(logits, value=label.clamp_min(0), name="y")
    same(q["y"].log_prob, mass.where(label >= 0, logits.log_softmax(-1)[:, 0]))
    soft = torch.rand(5, 4).softmax(-1)
    same(uw.Concrete(logits, 0.66).log_mass(soft), (soft * logits.log_softmax(-1)).sum(-1))


# -- any torch distribution ------------------------------------------------------------------------


def test_sample_takes_any_distribution():
    q = uw.Trace()
    q.sample(Independent(Normal(torch.zeros(3, 2), 1.0), 1), name="a")
    q.sample(torch.distributions.Gamma(torch.ones(3), 2.0), name="b")
    q.sample(Bernoulli(logits=torch.zeros(3)), torch.ones(3), name="c")
    assert [tuple(node.log_prob.shape) for node in q.values()] == [(3,), (3,), (3,)]
    same(q["b"].log_prob, math.log(2) - 2 * q["b"].value)
