"""A model of ten classes takes any number of items: none of its sizes is guessed from another."""

import pytest
import torch

import unweave as uw


def model():
    torch.manual_seed(0)
    return uw.models.hfvae((64,), hidden=(32, 16), temperature=None).eval()


@pytest.mark.parametrize("items", [1, 2, 9, 10, 11])
def test_any_number_of_items_is_encoded_decoded_and_scored(items):
    made, x = model(), torch.rand(12, 64).round()
    assert made.encode(x[:items]).shape == (items, 11)
    assert made.reconstruct(x[:items]).shape == (items, 64)
    assert (
        made.decode(y=torch.eye(10)[: min(items, 10)], z=torch.zeros(min(items, 10), 10)).shape[1]
        == 64
    )

    torch.manual_seed(1)
    q, p = made(x[:items])
    assert (q["y"].value.shape, q["z"].value.shape) == ((10, items, 10), (10, items, 10))
    value = uw.elbo(q, p)
    weights = q["y"].dist.logits.softmax(-1)
    assert value.shape == (items,)
    loop = torch.zeros(items)
    for k in range(10):
        z = q["z"].value[k]
        one = uw.Trace.given(y=torch.eye(10)[k].expand(items, 10), z=z)
        log_x = made.decoder(x[:items], one)["x"].log_prob.sum(-1)
        loop = loop + weights[:, k] * log_x
    recon = uw.recon(q, p)
    torch.testing.assert_close(recon, loop)


@pytest.mark.parametrize("items", [2, 9, 10, 11])
@pytest.mark.parametrize("objective", [uw.elbo, uw.hfvae(1, 12, 4)])
def test_batches_of_any_size_train(items, objective):
    made, x = model().train(), torch.rand(items, 64).round()
    loss = -objective(*made(x), groups=("y", "z"), aggregate=uw.minibatch(100)).mean()
    loss.backward()
    assert all(bool(w.grad.isfinite().all()) for w in made.parameters() if w.grad is not None)


@pytest.mark.parametrize("items", [1, 10])
def test_exact_terms_over_as_many_items_as_classes(items):
    """The terms of ten items are those of the same items among eleven, by the same q(z)."""
    made, x = model(), torch.rand(11, 64).round()
    torch.manual_seed(1)
    q, p = made(x)
    d = uw.Densities(q, p, groups=("y", "z"), aggregate=uw.exact(q))
    index = torch.arange(items)
    some = uw.Densities(
        q.take(index), p.take(index), groups=("y", "z"), aggregate=uw.exact(q), kl="sampled"
    )
    for term in (uw.mi, uw.kl[0], uw.tc[0], uw.kl[-1], uw.recon):
        torch.testing.assert_close(some.score(term), d.score(term)[:items])


def test_networks_of_ones_own_join_classes_with_features():
    """`torch.cat` with an enumerated y, as a person writes it, at ten classes and ten items."""
    x, w = torch.rand(10, 5), torch.randn(15, 3)
    q = uw.Trace()
    y = q.categorical(torch.zeros(10, 10), name="y")
    z = q.normal(torch.cat([x, y], -1) @ w, 1.0, name="z")
    assert z.shape == (10, 10, 3)
    torch.testing.assert_close(
        q["z"].dist.loc[4], torch.cat([x, torch.eye(10)[4].expand(10, 10)], -1) @ w
    )
    with pytest.raises(
        ValueError, match=r"cat\(…, dim=1\).*dim=-1 for what is dim=1 without classes"
    ):
        torch.cat([x, y], 1)
