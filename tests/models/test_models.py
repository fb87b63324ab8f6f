"""Models and their parts: what encode, decode, reconstruct and sample mean, and that they disturb
nothing.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

import unweave as uw
from unweave.models.model import hard, mean, seeded, unit_names
from unweave.nets import cat, mlp, scale

FAMILIES = {
    "hfvae": lambda shape: uw.models.hfvae(shape, hidden=(16, 8), classes=4, normals=3),
    "vae": lambda shape: uw.models.vae(shape, hidden=(16, 8), normals=3),
    "autoencoder": lambda shape: uw.models.autoencoder(shape, hidden=(16, 8), normals=3),
}
SHAPES = [(8, 8), (28, 28), (3, 4, 5), (6,)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def images(shape, n=5):
    return np.random.default_rng(0).random((n, *shape), dtype=np.float32)


def columns(family):
    return 3 + (family == "hfvae")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(family, shape):
    model = FAMILIES[family](shape)
    x = images(shape)
    codes = model.encode(x)
    assert codes.shape == (5, columns(family))
    assert model.reconstruct(x).shape == x.shape
    q, p = model(torch.as_tensor(x))
    assert p["x"].value.shape == x.shape
    assert model.units() == ["y", "z[0]", "z[1]", "z[2]"][-columns(family) :]
    if family != "autoencoder":
        drawn = model.sample(7)
        assert drawn.shape == (7, *shape)
        assert uw.elbo(q, p).shape == (5,)
    assert all(0 < value < 1 for value in model.reconstruct(x).flatten().tolist())


def test_codes_are_means_and_class_numbers():
    model = FAMILIES["hfvae"]((8, 8))
    model.encoder.y_log_weights.weight.data.mul_(50)  # so that classes differ
    x = images((8, 8), 40)
    codes, q = model.encode(x, seed=2), model.posterior(x, seed=2)
    assert torch.equal(codes[:, 0], q["y"].dist.logits.argmax(-1).float())
    assert len(codes[:, 0].unique()) > 1
    assert torch.equal(codes[:, 1:], q["z"].dist.loc)
    assert not torch.equal(codes[:, 1:], q["z"].value)

    flat = FAMILIES["vae"]((8, 8))
    assert torch.equal(
        flat.encode(x, seed=1), flat.encode(x, seed=2)
    )  # nothing is drawn on the way to the mean
    plain = FAMILIES["autoencoder"]((8, 8))
    assert torch.equal(plain.encode(x), plain.encoder.z(torch.as_tensor(x).flatten(1)))


def test_decode_is_the_decoders_mean():
    model = FAMILIES["hfvae"]((8, 8))
    y, z = torch.eye(4)[[1, 2, 3]], torch.randn(3, 3)
    by_hand = model.decoder.x(torch.cat([y, z], -1)).sigmoid().reshape(3, 8, 8)
    torch.testing.assert_close(model.decode(y=y, z=z), by_hand)
    torch.testing.assert_close(
        model.decode(z=z, y=torch.tensor([1, 2, 3])), by_hand
    )  # by class number, in any order
    torch.testing.assert_close(model.decode(y=y.numpy(), z=z.numpy()), by_hand)
    with pytest.raises(KeyError, match="given y, but not z"):
        model.decode(y=y)


def test_reconstruction_decodes_the_mean_codes():
    model = FAMILIES["hfvae"]((8, 8))
    x = images((8, 8))
    codes = model.encode(x)
    y = torch.eye(4)[codes[:, 0].long()]
    assert torch.equal(model.reconstruct(x), model.decode(y=y, z=codes[:, 1:]))
    assert torch.equal(hard(model.posterior(x)["y"]), y)


def test_seeds_decide_and_the_global_random_state_is_untouched(family):
    model = FAMILIES[family]((8, 8))
    x = images((8, 8))
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def results(seed):
        found = [model.encode(x, seed=seed), model.reconstruct(x, seed=seed)]
        return (
            found
            if family == "autoencoder"
            else [*found, model.sample(6, seed=seed), model.posterior(x, seed=seed)["z"].value]
        )

    first, model_units = results(1), model.units()
    torch.rand(10)
    second = results(1)
    assert model_units == model.units()
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    if family != "autoencoder":
        assert not torch.equal(first[2], results(2)[2])
        assert len({tuple(row.flatten().tolist()) for row in first[2]}) == 6  # six different draws
    torch.set_rng_state(before)
    results(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_come_from_the_prior():
    """z of the decoder is standard Normal: means within five standard errors (fails once in a
    million or so).
    """
    model = FAMILIES["hfvae"]((8, 8))
    n = 4000
    with torch.no_grad(), seeded(0):
        q = model.encoder(torch.zeros(1, 8, 8))
        p = model.decoder(None, q.free(n))
    assert float(p["z"].value.mean(0).abs().max()) < 5 / math.sqrt(n)
    assert float((p["z"].value.var(0) - 1).abs().max()) < 5 * math.sqrt(2 / n)
    share = torch.bincount(p["y"].value.argmax(-1), minlength=4) / n
    assert float((share - 1 / 4).abs().max()) < 5 * math.sqrt(3 / 16 / n)
    assert torch.equal(model.sample(n, seed=0), mean(p))


def test_what_has_no_prior_cannot_be_sampled():
    with pytest.raises(ValueError, match="no prior to draw from"):
        FAMILIES["autoencoder"]((8, 8)).sample(3)
    own = uw.models.Model(nn.Linear(1, 1), nn.Linear(1, 1))
    with pytest.raises(ValueError, match="does not know its data's shape"):
        own.sample(3)


def test_names_of_units_with_shapes():
    q = uw.Trace()
    q.normal(torch.zeros(5, 2, 2), 1.0, name="w")
    q.normal(torch.zeros(5), 1.0, name="s")
    q.concrete(torch.zeros(5, 3), 0.5, name="y")
    names = [name for site, node in q.items() for name in unit_names(site, node)]
    assert names == ["w[0,0]", "w[0,1]", "w[1,0]", "w[1,1]", "s", "y"]


def test_the_networks_of_the_published_model():
    """784-400, y from 400, z from (400+10)-200, and (10+10)-200-400-784 back."""
    model = uw.models.hfvae((28, 28))
    shapes = {
        name: tuple(w.shape) for name, w in model.named_parameters() if name.endswith("weight")
    }
    assert shapes == {
        "encoder.h.0.weight": (400, 784),
        "encoder.y_log_weights.weight": (10, 400),
        "encoder.z_mean.0.weight": (200, 410),
        "encoder.z_mean.2.weight": (10, 200),
        "encoder.z_log_scale.0.weight": (200, 410),
        "encoder.z_log_scale.2.weight": (10, 200),
        "decoder.x.0.weight": (200, 20),
        "decoder.x.2.weight": (400, 200),
        "decoder.x.4.weight": (784, 400),
    }
    assert model.config == {
        "family": "hfvae",
        **{
            "shape": (28, 28),
            "hidden": (400, 200),
            "classes": 10,
            "normals": 10,
            "temperature": 0.66,
            "prior": "standard",
            "net": "mlp",
            "likelihood": "bernoulli",
            "order": "yz",
            "standardise": False,
            "scales": None,
        },
    }


@pytest.mark.parametrize("temperature", [None, 0.66])
def test_a_batch_may_be_empty(temperature):
    q, p = uw.models.hfvae((8, 8), hidden=(16, 16), temperature=temperature)(torch.zeros(0, 8, 8))
    assert uw.elbo(q, p).shape == (0,)


def test_labels_are_given_to_the_encoder():
    """z is drawn from q(z|x, y) at the label; items without one draw their own y."""
    model = FAMILIES["hfvae"]((8, 8))
    x = torch.as_tensor(images((8, 8)))
    q = model.encoder(x, torch.tensor([0, 3, -1, 1, -1]))
    assert torch.equal(q["y"].value[[0, 1, 3]], torch.eye(4)[[0, 3, 1]])
    assert q["y"].observed.tolist() == [True, True, False, True, False]
    other = model.encoder(x, torch.tensor([1, 3, -1, 1, -1]))
    same = (q["z"].dist.loc == other["z"].dist.loc).all(-1)
    assert same[[0, 1, 3]].tolist() == [False, True, True]


# -- nets ------------------------------------------------------------------------------------------


def test_mlp():
    net = mlp([6, 5, 4, 3], nn.Tanh)
    assert [type(part).__name__ for part in net] == ["Linear", "Tanh", "Linear", "Tanh", "Linear"]
    x = torch.randn(2, 6)
    by_hand = x
    for i, part in enumerate(p for p in net if isinstance(p, nn.Linear)):
        by_hand = by_hand @ part.weight.T + part.bias
        by_hand = by_hand.tanh() if i < 2 else by_hand
    torch.testing.assert_close(net(x), by_hand)
    assert len(mlp([6, 5])) == 1


@pytest.mark.parametrize("bound", [7.0, 2.0])
def test_scale_is_bounded_and_exp_to_third_order(bound):
    raw = torch.tensor([-1e30, -1e4, -50.0, 0.0, 50.0, 1e4, 1e30], dtype=torch.double)
    found = scale(raw, bound)
    assert torch.isfinite(found).all()
    assert float(found.min()) == pytest.approx(math.exp(-bound))
    assert float(found.max()) == pytest.approx(math.exp(bound))
    assert (found.diff() >= 0).all()
    zero = torch.zeros((), dtype=torch.double, requires_grad=True)
    value = scale(zero, bound)
    (first,) = torch.autograd.grad(value, zero, create_graph=True)
    (second,) = torch.autograd.grad(first, zero)
    assert (value.item(), first.item(), second.item()) == pytest.approx((1, 1, 1))
    gap = [
        abs(float(scale(torch.tensor(h, dtype=torch.double), bound)) - math.exp(h))
        for h in (0.1, 0.05)
    ]
    assert gap[0] / gap[1] == pytest.approx(8, rel=0.1)  # the first term that differs is the third
    extreme = torch.tensor([1e30, -1e30], requires_grad=True)
    scale(extreme, bound).sum().backward()
    assert torch.isfinite(extreme.grad).all()


def test_cat_broadcasts_all_but_its_dimension():
    a, b = torch.randn(5, 3), torch.randn(2, 1, 4)
    found = cat([a, b])
    assert found.shape == (2, 5, 7)
    assert torch.equal(found[1, 4], torch.cat([a[4], b[1, 0]]))
    assert torch.equal(cat([a, a]), torch.cat([a, a], -1))
    c, d = torch.randn(2, 5, 3), torch.randn(4, 1)
    assert torch.equal(cat([c, d], -2), torch.cat([c, d.expand(2, 4, 3)], -2))
    with pytest.raises(RuntimeError, match=r"shape mismatch|broadcast"):
        cat([torch.zeros(5, 3), torch.zeros(4, 3)])


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["learned", "correlated", "mixture"])
def test_learned_priors_train_save_and_draw(prior, tmp_path):
    """Each learns away from where it starts, and its part of the total correlation is in the
    terms.
    """
    recipe = uw.recipes.digits_hfvae(objective="bottleneck(1, 2) - kl[-1]", prior=prior, epochs=8)
    run = uw.fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    start = recipe.model().decoder.prior
    learnt = run.model.decoder.prior.state_dict()
    assert all(
        float((w - learnt[name]).abs().max()) > 1e-3 for name, w in start.state_dict().items()
    )
    assert uw.load(tmp_path / "run").sample(7).shape == (7, 8, 8)
    q, p = run.model(torch.as_tensor(recipe.data.x[:64]))
    d = uw.Densities(q, p, groups=("y", "z"))
    gap = (d[uw.Atom("p", 1)] - d[uw.Atom("p", 2)]).abs().max()
    assert (gap > 1e-3) == (prior != "learned")


def test_an_unknown_prior_is_named():
    with pytest.raises(
        ValueError, match=r"prior='gamma'\): expected one of standard, learned, correlated, mixture"
    ):
        uw.models.hfvae((8, 8), prior="gamma")


def test_views_keep_size_range_and_differ():
    torch.manual_seed(0)
    x = torch.rand(5, 28, 28).round()
    model = uw.models.invariant((28, 28))
    a, b = model.encoder.view(x), model.encoder.view(x)
    assert a.shape == x.shape
    assert not torch.equal(a, b)
    assert a.min() >= -1e-6
    assert a.max() <= 1 + 1e-6
    rest = dict.fromkeys(("shear", "zoom", "shift", "width", "dim"), 0.0)
    still = uw.models.invariant((28, 28), views={**rest, "rotation": 0.0})
    torch.testing.assert_close(still.encoder.view(x), x, rtol=1e-5, atol=1e-5)
    turned = uw.models.invariant((28, 28), views=rest)
    assert (turned.encoder.view(x).sum() / x.sum() - 1).abs() < 0.15


def test_the_invariant_model_scores_a_second_view_while_training():
    x = torch.rand(6, 28, 28)
    model = uw.models.invariant((28, 28))
    q, p = model(x)
    assert list(q) == ["y", "view", "z"]
    d = uw.Densities(q, p, aggregate=uw.minibatch(50))
    assert (d.score(uw.label) < 0).all()
    torch.testing.assert_close(d.score(uw.label), (q["y"].dist.probs.T * q["view"].score).sum(0))
    q, p = model.eval()(x)
    assert list(q) == ["y", "z"]
    assert float(uw.label(q, p).abs().max()) == 0


class Exact(nn.Module):
    """The posterior of z ~ N(0, 1), x ~ N(z, 1), which is N(x/2, 1/2)."""

    def forward(self, x):
        q = uw.Trace()
        q.normal(x / 2, torch.full_like(x, math.sqrt(0.5)), name="z")
        return q


class OfExact(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))  # of the precision

    def forward(self, x, q):
        p = uw.Trace()
        z = p.normal(torch.zeros_like(q["z"].value), 1.0, value=q["z"], name="z")
        p.normal(z + self.weight, 1.0, value=x, name="x")
        return p


def test_log_prob_is_log_p_of_x_where_the_posterior_is_exact():
    model = uw.models.Model(Exact(), OfExact())
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    known = (-(x**2) / 4 - math.log(4 * math.pi) / 2).sum(-1)  # x ~ N(0, 2)
    torch.testing.assert_close(model.log_prob(x, draws=3), known, rtol=0, atol=1e-10)
    # the divergence is exact, but the reconstruction is of one draw: the mean over many is right
    mean_elbo = torch.stack([model.elbo(x, seed=seed) for seed in range(400)]).mean(0)
    error = x[:, 0].abs() / 2 + 1  # above the deviation of (x − z)² / 2 under q
    assert bool(((mean_elbo - known).abs() < 5 * error / 20).all())


@pytest.mark.parametrize("name", ["vae", "hfvae"])
def test_more_draws_bound_log_p_of_x_more_closely(name):
    model = FAMILIES[name]((8, 8))
    x = images((8, 8), n=40)
    bounds = [model.log_prob(x, draws=draws).mean() for draws in (1, 100)]
    assert bounds[0] < bounds[1]
    assert model.elbo(x).shape == model.log_prob(x, draws=2).shape == (40,)
    with pytest.raises(ValueError, match="draws=0: expected 1 or more"):
        model.log_prob(x, draws=0)


def test_a_traversal_moves_one_unit_and_keeps_the_others():
    model = FAMILIES["hfvae"]((8, 8))
    x = images((8, 8))
    codes = model.encode(x)
    y = nn.functional.one_hot(codes[:, 0].long(), 4).float()
    moved = model.traverse("z[1]", x, [-1.0, 3.0])
    z = codes[:, 1:].clone()
    z[:, 1] = 3.0
    assert moved.shape == (2, 5, 8, 8)
    assert torch.equal(moved[1], model.decode(y=y, z=z))
    of_classes = model.traverse("y", x)
    assert torch.equal(of_classes[2], model.decode(y=torch.full((5,), 2), z=codes[:, 1:]))
    assert len(of_classes) == 4
    assert len(model.traverse("z[0]", x)) == 9
    with pytest.raises(KeyError, match=r"no unit 'z\[9\]'; the model's units are y, z\[0\]"):
        model.traverse("z[9]", x)


def test_decoding_without_a_site_says_what_to_give():
    model = FAMILIES["hfvae"]((8, 8))
    with pytest.raises(KeyError, match=r"not y: give every .* decode\(z=\.\.\., y=\.\.\.\)"):
        model.decode(z=torch.zeros(2, 3))


def test_an_encoder_without_draws_says_so():
    model = uw.models.invariant((8, 8), hidden=(16,), classes=3, normals=2).eval()
    x = images((8, 8))
    assert model.elbo(x).shape == (5,)
    with pytest.raises(ValueError, match=r"failed on items of shape \(2, 5, 8, 8\)"):
        model.log_prob(x, draws=2)


@torch.no_grad()
def test_pixels_have_one_scale_or_each_its_own():
    x = torch.rand(4, 8, 8)
    for scales, shape in ((None, ()), ("one", ()), ("each", (8, 8))):
        model = uw.models.hfvae((8, 8), hidden=(6, 5), likelihood="normal", scales=scales)
        log_scale = model.decoder.x_log_scale
        assert log_scale.shape == shape
        log_scale.data.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
        _, p = model(x)
        expected = torch.distributions.Normal(p["x"].dist.mean, scale(log_scale)).log_prob(x)
        torch.testing.assert_close(p["x"].dist.log_prob(x), expected)
    with pytest.raises(ValueError, match=r"scales='two'\): expected one of one, each, None"):
        uw.models.hfvae((8, 8), likelihood="normal", scales="two")
