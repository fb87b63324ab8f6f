"""Models without some of their units do as whole models whose units are fixed there."""

import pytest
import torch

import unweave as uw
from unweave.explorer.session import Session
from unweave.models.model import seeded

KEPT = [1, 4]
GONE = [0, 2, 3]
X = torch.rand(6, 8, 8, generator=torch.Generator().manual_seed(0)).double()


def whole(**settings):
    """A small model with weights of some size, in float64."""
    model = uw.models.hfvae((8, 8), hidden=(7, 6), classes=3, normals=5, **settings).double()
    for weight in model.parameters():
        weight.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    return model.eval()


def pruned(model, *others):
    return uw.models.prune(model, [*others, "z[1]", "z[4]"])


@torch.no_grad()
@pytest.mark.parametrize("y", [True, False])
@pytest.mark.parametrize("prior", ["standard", "learned", "mixture"])
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_decoding_is_that_of_units_at_their_priors_means(net, prior, y):
    model = whole(net=net, prior=prior)
    small = pruned(model, "y") if y else pruned(model)
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).double()
    at = model.decoder.prior().mean if prior != "standard" else torch.zeros(5).double()
    z[:, GONE] = at[GONE]
    classes = torch.eye(3).double()[[0, 2, 1, 1]] if y else torch.full((4, 3), 1 / 3).double()
    codes = {"y": classes, "z": z[:, KEPT]} if y else {"z": z[:, KEPT]}
    torch.testing.assert_close(small.decode(**codes), model.decode(y=classes, z=z))


@torch.no_grad()
@pytest.mark.parametrize("prior", ["learned", "mixture"])
def test_the_prior_is_the_marginal_of_the_units_that_stay(prior):
    model = whole(prior=prior)
    small = pruned(model, "y")
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(3)).double()
    found = small.decoder.prior().log_prob(z)
    law = model.decoder.prior()
    if prior == "learned":
        each = torch.distributions.Normal(law.loc[KEPT], law.scale[KEPT])
        torch.testing.assert_close(found, each.log_prob(z))
        return
    parts = law.component_distribution.base_dist
    each = torch.distributions.Normal(parts.loc[:, KEPT], parts.scale[:, KEPT])
    of_parts = each.log_prob(z[:, None]).sum(-1)  # (50, parts)
    torch.testing.assert_close(found, (law.mixture_distribution.logits + of_parts).logsumexp(-1))


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.66, None])
@pytest.mark.parametrize("order", ["yz", "zy"])
def test_encoding_is_that_of_the_units_that_stay(order, temperature):
    model = whole(order=order, temperature=temperature)
    with seeded(0):
        q = model.encoder(X)
    with seeded(0):
        found = pruned(model, "y").encoder(X)
    if order == "yz":
        torch.testing.assert_close(found["y"].dist.logits, q["y"].dist.logits)
        if temperature is None:  # all classes, in their order
            torch.testing.assert_close(found["z"].dist.mean, q["z"].dist.mean[..., KEPT])
            torch.testing.assert_close(found["z"].dist.stddev, q["z"].dist.stddev[..., KEPT])
    else:
        torch.testing.assert_close(found["z"].dist.mean, q["z"].dist.mean[..., KEPT])


@torch.no_grad()
def test_an_encoder_without_y_is_given_its_mean():
    model = whole()
    y = torch.full((6, 3), 1 / 3).double()
    q = model.encoder(X, y=y)
    found = pruned(model).encoder(X)
    assert list(found) == ["z"]
    torch.testing.assert_close(found["z"].dist.mean, q["z"].dist.mean[:, KEPT])


@torch.no_grad()
def test_classes_given_style_see_the_means_of_units_that_went():
    model = whole(order="zy")
    small = pruned(model, "y")
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(4)).double()
    z[:, GONE] = 0
    h = model.encoder.h(X.flatten(1))
    expected = model.encoder.y_log_weights(torch.cat([h, z], -1))
    found = small.encoder.y_log_weights(torch.cat([h, z[:, KEPT]], -1))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_a_unit_that_nobody_reads_costs_nothing():
    """Its posterior is the prior and its column is zero: the bound is the same without it."""
    model = uw.models.vae((8, 8), hidden=(7, 6), normals=5).double()
    for net in (model.encoder.z_mean, model.encoder.z_log_scale):
        net[-1].weight.data[GONE] = 0
        net[-1].bias.data[GONE] = 0
    model.decoder.x[0].weight.data[:, GONE] = 0
    noise = torch.randn(6, 5, generator=torch.Generator().manual_seed(5)).double()

    def bound(model, noise):
        law = model.encoder(X)["z"].dist
        z = law.mean + law.stddev * noise
        pixels = torch.distributions.Bernoulli(model.decode(z=z), validate_args=False)
        standard = torch.distributions.Normal(z.new_zeros(()), 1.0)
        kl = torch.distributions.kl_divergence(law, standard).sum(-1)
        return pixels.log_prob(X).sum((1, 2)) - kl

    torch.testing.assert_close(bound(pruned(model), noise[:, KEPT]), bound(model, noise))


def test_all_units_kept_is_the_same_model_and_the_whole_is_left_as_it_was():
    model = whole()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    same = uw.models.prune(model, model.units())
    pruned(model)
    assert model.state_dict().keys() == same.state_dict().keys()
    for name, tensor in same.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert torch.equal(model.state_dict()[name], before[name])


def test_a_pruned_model_saves_loads_and_explores(tmp_path):
    model = uw.models.vae((8, 8), hidden=(7, 6), normals=5)
    small = pruned(model)
    loaded = uw.load(uw.save(small, tmp_path / "small"))
    x = X.float()
    torch.testing.assert_close(loaded.encode(x), model.encode(x)[:, KEPT])
    session = Session(loaded, uw.data.digits("test"), tmp_path / "small")
    assert session.units == ["z[0]", "z[1]"]
    items = torch.as_tensor(session.codes[:6]).float()
    torch.testing.assert_close(items, small.encode(session.data.floats(slice(6))))


def test_errors_say_what_is_expected():
    model = whole()
    with pytest.raises(ValueError, match=r"no unit 'z\[9\]'; the model's units are y, z\[0\]"):
        uw.models.prune(model, ["z[9]"])
    with pytest.raises(ValueError, match="one or more units of z"):
        uw.models.prune(model, ["y"])
    with pytest.raises(ValueError, match="'autoencoder': expected 'vae' or 'hfvae'"):
        uw.models.prune(uw.models.autoencoder((4,), hidden=(3,), normals=2), ["z[0]"])
    with pytest.raises(ValueError, match="correlated"):
        pruned(whole(prior="correlated"))
