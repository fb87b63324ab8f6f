"""Models of tables: each likelihood against scipy, missing numbers against sums over them."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, Normal, Poisson

import unweave as uw
from unweave.models.families import measured
from unweave.models.rows import Given, Row, ZeroInflated
from unweave.models.seen import Seen
from unweave.models.tables import Pooled, table
from unweave.nets import scale

N = 400


def rows(seed=0):
    """Rows of every kind: normal, log-normal, 0/1, counts, a class of three, a batch of two."""
    rng = np.random.default_rng(seed)
    kinds = [
        ("normal", 1),
        ("log_normal", 1),
        ("bernoulli", 1),
        ("poisson", 2),
        ("negative_binomial", 2),
        ("zero_inflated_negative_binomial", 1),
        ("categorical", 3),
        ("given", 2),
    ]
    x = np.empty((N, 13))
    x[:, 0] = rng.normal(170, 10, N)
    x[:, 1] = np.exp(rng.normal(1, 0.5, N))
    x[:, 2] = rng.random(N) < 0.3
    x[:, 3:5] = rng.poisson([2.0, 7.0], (N, 2))
    x[:, 5:7] = rng.negative_binomial(2, 0.3, (N, 2))
    x[:, 7] = rng.negative_binomial(2, 0.3, N) * (rng.random(N) < 0.7)
    x[:, 8:11] = np.eye(3)[rng.integers(0, 3, N)]
    x[:, 11:13] = np.eye(2)[rng.integers(0, 2, N)]
    return kinds, torch.tensor(x)


def model_of_all_kinds(**changes):
    kinds, x = rows()
    torch.manual_seed(0)
    return measured(table((13,), kinds, hidden=(16, 8), normals=2, **changes).double(), x), x


def of_x(model, x):
    with torch.no_grad():
        q = model.encoder(x)
        return model.decoder(x, q)["x"]


def test_each_kind_has_scipys_log_density():
    model, x = model_of_all_kinds(library=True)
    decoder = model.decoder.rows
    with torch.no_grad():
        decoder.spread.uniform_(-1, 1)
        q = model.encoder(x)
        site = model.decoder(x, q)["x"]
        f = decoder.net(q["z"].value, decoder.seen.covariates(x)).numpy()
    seen, theta = decoder.seen, scale(decoder.spread.detach()).numpy()
    base, mean, sd = seen.base.numpy(), seen.mean.numpy(), seen.sd.numpy()
    counts = x[:, [3, 4, 5, 6, 7]].numpy()
    size = counts.sum(1) / base[3:8].sum()
    v = x.numpy()
    rate = size[:, None] * base[3:8] * scale(torch.tensor(f[:, 3:8])).numpy()
    expected = stats.norm.logpdf(v[:, 0], mean[0] + sd[0] * f[:, 0], sd[0] * theta[0])
    expected += stats.lognorm.logpdf(
        v[:, 1], sd[1] * theta[1], scale=np.exp(mean[1] + sd[1] * f[:, 1])
    )
    share = 1 / (1 + np.exp(-f[:, 2] - np.log(base[2] / (1 - base[2]))))
    expected += stats.bernoulli.logpmf(v[:, 2], share)
    expected += stats.poisson.logpmf(v[:, 3:5], rate[:, :2]).sum(1)
    r = theta[5:8]
    each = stats.nbinom.logpmf(v[:, 5:8], r, r / (r + rate[:, 2:]))
    expected += each[:, :2].sum(1)
    zero = 1 / (1 + np.exp(2.0))
    expected += np.where(
        v[:, 7] == 0, np.log(zero + (1 - zero) * np.exp(each[:, 2])), np.log(1 - zero) + each[:, 2]
    )
    weights = f[:, 8:11] + np.log(base[8:11])
    log_p = weights - np.log(np.exp(weights).sum(1, keepdims=True))
    expected += (v[:, 8:11] * log_p).sum(1)
    np.testing.assert_allclose(site.log_prob.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_a_zero_inflated_law_sums_to_one_and_has_its_mean():
    base = Poisson(torch.tensor([0.5, 6.0], dtype=torch.double))
    law = ZeroInflated(base, torch.tensor([-1.0, 2.0], dtype=torch.double))
    counts = torch.arange(80, dtype=torch.double)[:, None]
    mass = law.log_prob(counts).exp()
    np.testing.assert_allclose(mass.sum(0), 1, atol=1e-12)
    np.testing.assert_allclose((counts * mass).sum(0), law.mean, atol=1e-10)


def test_draws_have_the_means_of_the_laws():
    """A mean of 100,000 draws is within five standard errors; by chance one in 1e5 runs is not."""
    torch.manual_seed(0)
    parts = [
        ZeroInflated(Poisson(torch.tensor([[3.0]])), torch.tensor([0.5])),
        Normal(torch.tensor([[1.0]]), 2.0, validate_args=False),
    ]
    row = Row(parts, [[1], [0]])
    drawn = row.sample((100_000,))[:, 0]  # (draws, columns)
    error = drawn.std(0) / np.sqrt(len(drawn))
    assert (abs(drawn.mean(0) - row.mean[0]) < 5 * error).all()


def test_a_missing_number_is_summed_over():
    """log p of the known columns is that of the row, summed over all values of the missing one."""
    classes = torch.distributions.OneHotCategorical(logits=torch.randn(1, 3).double())
    parts = [
        Bernoulli(logits=torch.randn(1, 2).double()),
        classes,
        Poisson(torch.full((1, 1), 2.0).double()),
    ]
    row = Row(parts, [[0, 3], [1, 2, 4], [5]])
    x = torch.tensor([[1.0, 0, 1, 0, 0, 2]], dtype=torch.double)
    hole = x.clone()
    hole[:, 3] = torch.nan
    both = torch.stack([x, x.clone()])
    both[1, :, 3] = 1
    torch.testing.assert_close(row.log_prob(hole), row.log_prob(both).logsumexp(0))
    hole = x.clone()
    hole[:, 2] = torch.nan  # any of the classes' columns: the class is missing
    each = x.repeat(3, 1, 1)
    each[:, 0, [1, 2, 4]] = torch.eye(3).double()
    torch.testing.assert_close(row.log_prob(hole), row.log_prob(each).logsumexp(0))


def test_missing_numbers_leave_gradients_finite_and_alone():
    model, x = model_of_all_kinds(missing=True)
    holes = x.clone()
    holes[::2, :8] = torch.nan
    holes[::3, 8] = torch.nan
    _, p = model(holes)
    loss = p["x"].log_prob.sum()
    loss.backward()
    assert all(w.grad is None or w.grad.isfinite().all() for w in model.parameters())
    assert loss.isfinite()


def test_networks_see_zeros_for_what_is_missing_and_a_mask():
    kinds, x = rows()
    seen = Seen(kinds, mask=True).double().measure(x)
    shown = seen(x)
    assert shown.shape == (N, 26)
    np.testing.assert_allclose(shown[:, :2].mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(shown[:, :8].std(0, correction=0)[[0, 1, 3, 4, 5, 6, 7]], 1)
    holes = x.clone()
    holes[5, 1] = torch.nan
    again = seen(holes)
    assert again[5, 1] == 0
    assert again[5, 14] == 0
    assert again[:, 13:].sum() == N * 13 - 1


def test_measures_leave_missing_numbers_out():
    kinds, x = rows()
    holes = x.clone()
    holes[:200, 0] = torch.nan
    seen = Seen(kinds).double().measure(holes)
    np.testing.assert_allclose(seen.mean[0], x[200:, 0].mean())
    np.testing.assert_allclose(seen.sd[0], x[200:, 0].std(correction=0))


def test_a_rows_size_is_its_counts_over_those_expected_of_known_columns():
    kinds, x = rows()
    seen = Seen(kinds, library=True).double().measure(x)
    counts, base = x[:, 3:8], x[:, 3:8].mean(0)
    torch.testing.assert_close(seen.size(x)[:, 0], counts.sum(1).clamp_min(0) / base.sum())
    holes = x.clone()
    holes[0, 4] = torch.nan
    expected = counts[0, [0, 2, 3, 4]].sum() / base[[0, 2, 3, 4]].sum()
    torch.testing.assert_close(seen.size(holes)[0, 0], expected)
    assert seen.size(None) == 1


def test_imputed_numbers_keep_what_is_known_and_follow_the_posterior():
    """With one unit and no noise of the encoder, draws are those of p(x|z)."""
    model, x = model_of_all_kinds(missing=True)
    holes = x.clone()
    holes[3, 0] = torch.nan
    holes[4, 8:11] = torch.nan
    drawn = model.impute(holes, 300)
    assert drawn.shape == (300, N, 13)
    known = ~holes.isnan()
    assert (drawn[:, known] == holes[known]).all()
    assert drawn.isfinite().all()
    assert drawn[:, 3, 0].std() > 1
    assert (drawn[:, 4, 8:11].sum(-1) == 1).all()
    torch.testing.assert_close(model.impute(holes, 2), model.impute(holes, 2))


def test_given_columns_reach_the_decoder_and_are_not_modelled():
    model, x = model_of_all_kinds()
    site = of_x(model, x)
    other = x.clone()
    other[:, 11:13] = 1 - x[:, 11:13]
    torch.testing.assert_close(site.dist.mean[:, 11:], x[:, 11:])
    assert (of_x(model, other).dist.mean[:, :11] != site.dist.mean[:, :11]).any()
    parts = [Normal(torch.zeros(4, 1), 1.0, validate_args=False), Given(torch.ones(4, 2))]
    row = Row(parts, [[0], [1, 2]])
    value = torch.randn(4, 3)
    torch.testing.assert_close(row.log_prob(value), parts[0].log_prob(value[:, :1]).sum(-1))


def test_pooled_rates_are_the_mean_of_the_blocks_rates():
    torch.manual_seed(0)
    net = Pooled([1, 2], 2, 5).double()
    z, given = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    first = net.nets[0](torch.cat([z[:, :1], given], -1)).exp()
    second = net.nets[1](torch.cat([z[:, 1:], given], -1)).exp()
    torch.testing.assert_close(net(z, given).exp(), (first + second) / 2)


@pytest.mark.parametrize("temperature", [0.66, None])
def test_classes_are_relaxed_or_summed_over(temperature):
    kinds, x = rows()
    torch.manual_seed(0)
    model = table(
        (13,), kinds, hidden=(16, 8), classes=3, normals=2, temperature=temperature, missing=True
    )
    model = measured(model, x).double()
    q, p = model(x)
    assert uw.elbo(q, p).isfinite().all()
    if temperature is None:  # the mean over classes, one decoder's run for each
        weights = q["y"].dist.probs
        inner = p["x"].log_prob  # (classes, batch)
        assert inner.shape == (3, N)
        torch.testing.assert_close(uw.recon(q, p), (weights.T * inner).sum(0))
    assert model.encode(x).shape == (N, 3)
    assert model.sample(5).shape == (5, 13)


def test_a_row_of_another_batch_shape_expands():
    parts = [Normal(torch.zeros(4, 2), 1.0, validate_args=False)]
    assert Row(parts, [[1, 0]]).expand((3, 4)).sample().shape == (3, 4, 2)


def test_a_wrong_kind_and_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"kind='gamma': expected one of normal, log_normal"):
        table((1,), [("gamma", 1)])
    with pytest.raises(ValueError, match=r"the kinds have 2 columns"):
        table((3,), [("normal", 2)])
    with pytest.raises(ValueError, match=r"add up to 3, of 4 units"):
        table((2,), [("normal", 2)], normals=4, blocks=[1, 2])


def test_reconstructions_have_the_rows_sizes_and_what_is_given():
    model, x = model_of_all_kinds(library=True)
    q = model.encoder(x)
    with torch.no_grad():
        p = model.decoder(x, uw.Trace.given(z=q["z"].dist.mean))
    again = model.reconstruct(x)
    torch.testing.assert_close(again, p["x"].dist.mean)
    torch.testing.assert_close(again[:, 11:], x[:, 11:])
    counts = x[:, 3:8].sum(1)
    large = counts > counts.median()
    assert again[large, 3:8].sum(1).mean() > 1.5 * again[~large, 3:8].sum(1).mean()
