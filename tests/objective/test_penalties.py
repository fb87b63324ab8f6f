"""Non-linear terms against closed forms, numpy and double loops; and the published objectives,
trained on real digits.

Monte Carlo tests allow four standard errors: one in 16,000 would fail by chance, were the seeds not
fixed.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.programs import covariances as random_covariances
from support.programs import decode, drawn, encode, reused, same
from support.programs import float64 as float64
from support.training import tiny
from torch.distributions import (
    Bernoulli,
    Dirichlet,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    TransformedDistribution,
    kl_divergence,
    transforms,
)

import unweave as uw
from unweave.objective.objective import Objective
from unweave.objective.penalties import MMD
from unweave.training.trainer import Trainer

LEADS = [(6,), (3, 5)]
STANDARD = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def normals(*lead, size=3, prior=STANDARD):
    """Normals z, one site, drawn from a random encoder."""
    dist = Normal(torch.randn(*lead, size), torch.rand(*lead, size) + 0.3)
    q = drawn(z=(dist, dist.sample()))
    return uw.Densities(q, reused(q, z=prior), batch_dim=len(lead) - 1)


def one(d, objective):
    """A statistic of the batch, which every item is given alike."""
    scores = d.score(objective)
    same(scores, scores.flatten()[0].expand(scores.shape))
    return scores.flatten()[0]


# -- capacity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("at", [0.5, 50.0])
def test_capacity_is_the_distance_of_the_mean(lead, at):
    d = normals(*lead)
    loc, scale = d.q["z"].dist.loc, d.q["z"].dist.scale
    kl = (scale**2 + loc**2 - 1 - 2 * scale.log()).sum(-1) / 2
    same(one(d, uw.capacity(uw.mi + uw.kl[0], at)), abs(kl.mean() - at))
    same(d.score(uw.annealed_vae(7.0, at)), d.score(uw.recon) - 7 * abs(kl.mean() - at))


def test_the_mean_is_inside_the_distance():
    q = drawn(z=(Normal(torch.tensor([[0.0], [4.0]]), 1.0), torch.zeros(2, 1)))
    d = uw.Densities(q, reused(q, z=STANDARD))  # the items' KLs are 0 and 8 nats
    same(one(d, uw.capacity(uw.mi + uw.kl[0], 4.0)), torch.zeros(()))


def test_capacities_of_groups_are_apart():
    q = encode((6,))
    d, spent = uw.Densities(q, decode(q)), uw.mi + uw.kl[0]
    joint = uw.recon - 3 * uw.capacity(spent.of("z"), 5.0) - 4 * uw.capacity(spent.of("y"), 2.0)
    z, y = d.score(spent.of("z")).mean(), d.score(spent.of("y")).mean()
    same(d.score(joint), d.score(uw.recon) - 3 * abs(z - 5) - 4 * abs(y - 2))


@pytest.mark.parametrize(("at", "sign"), [(0.0, 1.0), (100.0, -1.0)])
def test_below_its_capacity_information_is_rewarded(at, sign):
    loc, q = torch.randn(6, 2, requires_grad=True), uw.Trace()
    q.normal(loc, 0.5, name="z")
    uw.Densities(q, reused(q, z=STANDARD)).score(
        uw.capacity(uw.mi + uw.kl[0], at)
    ).mean().backward()
    same(loc.grad, sign * loc.detach() / 6)


def test_capacities_and_weights_follow_schedules():
    annealed = uw.annealed_vae(capacity=uw.ramp(0, 25, last=100))
    assert annealed.at(40) == uw.annealed_vae(capacity=10.0)
    assert (
        str(annealed)
        == "log p(x|z) - 1000·|mean(log q(z|x) - log p(z)) - (0 to 25 over steps 0 to 100)|"
    )
    with pytest.raises(
        ValueError, match=r"the capacity is a schedule, .* score objective\.at\(step\)"
    ):
        normals(6).score(annealed)
    rising = uw.ramp(0, 10, last=100)
    assert uw.dip_vae_i(rising, 10 * rising).at(50) == uw.dip_vae_i(5, 50)
    assert uw.dip_vae_ii(rising, rising).at(50) == uw.dip_vae_ii(5, 5)
    assert uw.mmd_vae(1 + rising, alpha=rising / 10).at(50) == uw.mmd_vae(6, alpha=0.5)
    assert uw.capacity(rising * uw.mi, rising).at(50) == uw.capacity(5 * uw.mi, 5.0)


# -- moments ---------------------------------------------------------------------------------------


def penalties(c):
    """Σ_{i≠j} C_ij² and Σ_i (C_ii − 1)² by loops."""
    n = len(c)
    off = sum(c[i, j] ** 2 for i in range(n) for j in range(n) if i != j)
    return off, sum((c[i, i] - 1) ** 2 for i in range(n))


@pytest.mark.parametrize("lead", LEADS)
def test_moments_are_numpys(lead):
    """numpy's covariance divided by the number of rows; the mean variances on the diagonal, nowhere
    else.
    """
    d = normals(*lead, size=4)
    mu, var = (t.numpy().reshape(-1, 4) for t in (d.q["z"].dist.loc, d.q["z"].dist.variance))
    of_means = np.cov(mu, rowvar=False, bias=True)
    for total, c in [(False, of_means), (True, of_means + np.diag(var.mean(0)))]:
        off, diag = penalties(c)
        same(one(d, uw.covariances(total=total)), off)
        same(one(d, uw.variances(total=total)), diag)
        alias = uw.dip_vae_ii if total else uw.dip_vae_i
        same(d.score(alias(3.0, 5.0)), d.score(uw.elbo) - 3 * off - 5 * diag)
        off, diag = penalties(c[np.ix_([0, 2], [0, 2])])
        same(one(d, uw.covariances("z[0]", "z[2]", total=total)), off)
        same(one(d, uw.variances("z[0]", "z[2]", total=total)), diag)


def kinds(n):
    """Sites of every kind that has moments: correlated, of two dimensions, broadcast, of no
    dimension.
    """
    return drawn(
        u=(MultivariateNormal(torch.randn(n, 2), random_covariances(n, 2)), torch.randn(n, 2)),
        v=(
            LowRankMultivariateNormal(torch.randn(n, 2), torch.randn(n, 2, 1), torch.rand(n, 2)),
            torch.randn(n, 2),
        ),
        w=(Normal(torch.randn(n, 2, 1), torch.tensor(0.7)), torch.randn(n, 2, 2)),
        c=(MultivariateNormal(torch.randn(3), random_covariances(3)), torch.randn(n, 3)),
        s=(Independent(Normal(torch.randn(n, 2), torch.rand(n, 2)), 1), torch.randn(n, 2)),
        l=(Laplace(torch.randn(n), torch.rand(n)), torch.randn(n)),
    )


def test_the_total_covariance_is_that_of_the_aggregate_posterior():
    """q(z) = 1/N Σ_n q(z|x_n): E[zz'] − E[z]E[z]', item by item, of all kinds of sites together."""
    n = 5
    q = kinds(n)
    blocks = {
        "u": lambda i: (q["u"].dist.mean[i], q["u"].dist.covariance_matrix[i]),
        "v": lambda i: (q["v"].dist.mean[i], q["v"].dist.covariance_matrix[i]),
        "w": lambda i: (q["w"].dist.mean[i].expand(2, 2).flatten(), 0.49 * torch.eye(4)),
        "c": lambda i: (q["c"].dist.mean, q["c"].dist.covariance_matrix),
        "s": lambda i: (q["s"].dist.mean[i], q["s"].dist.variance[i].diag()),
        "l": lambda i: (q["l"].dist.loc[i, None], 2 * q["l"].dist.scale[i].square().reshape(1, 1)),
    }
    first, second = torch.zeros(14), torch.zeros(14, 14)
    for i in range(n):
        parts = [of(i) for of in blocks.values()]
        mean = torch.cat([m for m, _ in parts])
        first += mean / n
        second += (torch.block_diag(*(s for _, s in parts)) + torch.outer(mean, mean)) / n
    off, diag = penalties(second - torch.outer(first, first))
    d = uw.Densities(q, reused(q, **{site: node.dist for site, node in q.items()}))
    same(one(d, uw.covariances(*q, total=True)), off)
    same(one(d, uw.variances(*q, total=True)), diag)
    off, diag = penalties(
        (second - torch.outer(first, first))[:-1, :-1]
    )  # by default those that are Normal
    same(one(d, uw.covariances(total=True)), off)
    same(one(d, uw.variances(total=True)), diag)


def test_a_minibatchs_squares_are_too_large_by_the_estimates_variance():
    """Independent standard means: (B−1)/B² a pair."""
    b, size, repeats = 16, 3, 4000
    mu = torch.randn(repeats, b, size)
    values = torch.stack([normals_at(m) for m in mu])
    expected = size * (size - 1) * (b - 1) / b**2
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(repeats)


def normals_at(loc):
    q = drawn(z=(Normal(loc, torch.ones(())), loc))
    return one(uw.Densities(q, reused(q, z=STANDARD)), uw.covariances())


def test_moments_have_gradients_of_means_and_scales():
    """Of B = 2 items with means ±m and scale s: C = m m' + s², so d/dm Σ_{i≠j} C_ij² = 4 m_i
    Σ_{j≠i} m_j².
    """
    m, s = torch.tensor([0.5, -1.5, 2.0], requires_grad=True), torch.tensor(0.7, requires_grad=True)
    q = uw.Trace()
    q.normal(torch.stack([m, -m]), s, name="z")
    d = uw.Densities(q, reused(q, z=STANDARD))
    (of_m,) = torch.autograd.grad(one(d, uw.covariances(total=True)), m)
    squares = m.detach() ** 2
    same(of_m, 4 * m.detach() * (squares.sum() - squares))
    (of_s,) = torch.autograd.grad(one(d, uw.variances(total=True)), s)
    same(of_s, (4 * 0.7 * (squares + 0.49 - 1)).sum())


NO_MOMENTS = {
    "a Concrete": lambda: uw.Concrete(torch.randn(4, 3), 0.66),
    "a OneHotCategorical": lambda: OneHotCategorical(logits=torch.randn(4, 3)),
    "a Bernoulli": lambda: Bernoulli(logits=torch.randn(4)),
    "a Dirichlet": lambda: Dirichlet(torch.rand(4, 3) + 0.5),
    "a TransformedDistribution": lambda: TransformedDistribution(
        Normal(torch.zeros(4), torch.ones(4)), [transforms.TanhTransform()]
    ),
    "a MultivariateNormal": lambda: MultivariateNormal(
        torch.randn(4, 2, 3), torch.eye(3)
    ),  # rows of coordinates
}


@pytest.mark.parametrize("what", NO_MOMENTS)
def test_sites_without_moments_are_refused(what):
    dist = NO_MOMENTS[what]()
    q = drawn(s=(dist, dist.sample()), z=(Normal(torch.randn(4), 1.0), torch.randn(4)))
    d = uw.Densities(q, reused(q, s=dist, z=STANDARD))
    for term in (uw.covariances("s"), uw.variances("z", "s", total=True)):
        with pytest.raises(ValueError, match=rf"site 's' is {what}, .* out of: 's', 'z'"):
            d.score(term)


def test_no_normal_site_to_match():
    dist = uw.Concrete(torch.randn(4, 3), 0.66)
    q = drawn(y=(dist, dist.sample()))
    with pytest.raises(ValueError, match=r"no latent site is Normal, .* the latents are: 'y'"):
        uw.Densities(q, reused(q, y=dist)).score(uw.dip_vae_i())


# -- kernel distance -------------------------------------------------------------------------------


def kernel(a, b, kind, bandwidth):
    c, squared = (
        2 * len(a) * bandwidth**2,
        sum((s - t) ** 2 for s, t in zip(a.tolist(), b.tolist(), strict=True)),
    )
    return math.exp(-squared / c) if kind == "rbf" else c / (c + squared)


def double_loop(z, prior, kind, bandwidth):
    """Every ordered pair of two items."""
    n, total = len(z), 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += kernel(z[i], z[j], kind, bandwidth) + kernel(
                    prior[i], prior[j], kind, bandwidth
                )
                total -= kernel(z[i], prior[j], kind, bandwidth) + kernel(
                    z[j], prior[i], kind, bandwidth
                )
    return total / (n * (n - 1))


@pytest.mark.parametrize("kind", ["rbf", "imq"])
@pytest.mark.parametrize("lead", LEADS)
def test_mmd_is_a_double_loop_over_pairs(lead, kind):
    """With the draws that its prior makes: the same random state, site after site."""
    q = encode(lead)
    p = decode(q, correlated=True)
    d = uw.Densities(q, p, batch_dim=len(lead) - 1)
    for bandwidth, of in [(1.0, ()), (0.3, ("y", "z[:2]", "w[:, 1]"))]:
        torch.manual_seed(5)
        got = one(d, uw.mmd(kind, bandwidth, of=of))
        torch.manual_seed(5)
        z, prior = [], []
        for site in ("z", "w", "y") if of else ("z", "w", "y", "u", "s"):
            value, dist = q[site].value, p[site].dist
            fresh = dist.expand(value.shape[: value.ndim - len(dist.event_shape)]).sample()
            for columns, values in ((z, value), (prior, fresh)):
                part = (
                    {"z": values[..., :2], "w": values[..., 1]}.get(site, values) if of else values
                )
                columns.append(part.reshape(-1, lead[-1], math.prod(part.shape[len(lead) :])))
        z, prior = torch.cat(z, -1), torch.cat(prior, -1)
        assert z.shape[-1] == (7 if of else 14)
        same(
            got,
            np.mean([double_loop(a, b, kind, bandwidth) for a, b in zip(z, prior, strict=True)]),
        )


def gaussian_mean(kind, shift, variance, size, bandwidth):
    """E k(a, b) of a − b ~ N(shift, variance) in each of `size` dimensions: closed for RBF, by
    quadrature for IMQ.

    C/(C + r) = ∫_0^∞ exp(−t (1 + r/C)) dt, whose integrand is an RBF kernel's mean.
    """
    c = 2 * size * bandwidth**2

    def rbf(width):
        return math.sqrt(width / (width + 2 * variance)) ** size * math.exp(
            -size * shift**2 / (width + 2 * variance)
        )

    if kind == "rbf":
        return rbf(c)
    u = (np.arange(20_000) + 0.5) / 20_000  # t = −log u
    return float(np.mean([rbf(c / -math.log(v)) for v in u]))


@pytest.mark.parametrize("kind", ["rbf", "imq"])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.8, 0.5), (-0.3, 1.7)])
def test_mmd_is_unbiased(kind, shift, scale):
    """The closed form of two Gaussians, zero where they are equal; the statistic with i = j is off
    by what is said.
    """
    n, size, bandwidth, repeats = 6, 2, 0.7, 6000
    z = shift + scale * torch.randn(repeats, n, size)
    q = drawn(z=(Normal(torch.zeros(()), 1.0).expand(z.shape), z))
    d = uw.Densities(q, reused(q, z=STANDARD), batch_dim=1)
    term = MMD(kind, bandwidth)
    both, own, prior = (
        gaussian_mean(kind, m, v, size, bandwidth)
        for m, v in [(shift, scale**2 + 1), (0, 2 * scale**2), (0, 2)]
    )
    expected = own + prior - 2 * both
    assert expected == pytest.approx(0, abs=1e-12) if (shift, scale) == (0, 1) else expected > 0.01
    means = torch.stack([one(d, uw.mmd(kind, bandwidth)) for _ in range(2)])
    p = torch.randn(repeats, n, size)
    h = term.k(z, z) + term.k(p, p) - 2 * term.k(z, p)
    unbiased = (h.sum((-2, -1)) - h.diagonal(dim1=-2, dim2=-1).sum(-1)) / (n * (n - 1))
    assert abs(means - expected).max() < 4 * unbiased.std() / math.sqrt(repeats)
    with_pairs_of_one = (
        term.k(z, z) + term.k(p, p) - 2 * term.k(z, p[torch.randperm(repeats)])
    ).mean((-2, -1))
    bias = (2 - own - prior) / n
    assert abs(
        with_pairs_of_one.mean() - expected - bias
    ) < 4 * with_pairs_of_one.std() / math.sqrt(repeats)


def test_a_prior_that_depends_on_the_item_keeps_mmd_unbiased():
    """z and the prior's draw of one item go together: such pairs are left out. Here p(z|x) =
    q(z|x), so MMD is 0.
    """
    n, repeats = 4, 6000
    loc = 3 * torch.randn(repeats, n, 1)
    z = loc + 0.1 * torch.randn(repeats, n, 1)
    q = drawn(z=(Normal(loc, 0.1), z))
    d = uw.Densities(q, reused(q, z=Normal(loc, 0.1)), batch_dim=1)
    spread = one(normals(repeats, n, size=1), uw.mmd())
    assert spread > 0  # the statistic sees something elsewhere
    p, k = loc + 0.1 * torch.randn(repeats, n, 1), MMD().k
    h = k(z, z) + k(p, p) - 2 * k(z, p)
    each = (h.sum((-2, -1)) - h.diagonal(dim1=-2, dim2=-1).sum(-1)) / (n * (n - 1))
    assert abs(one(d, uw.mmd())) < 4 * each.std() / math.sqrt(repeats)


def test_mmd_trains_encoders_and_learned_priors():
    """Towards each other: with k(m) = E k(z, p) at distance m, d MMD²/dm = −2 dk/dm = 4m/(C +
    2v)·k(m) in each unit.
    """
    m, c, v = 1.5, 4.0, 1.01
    loc, prior = torch.full((2000, 2), m, requires_grad=True), torch.zeros(2, requires_grad=True)
    q = uw.Trace()
    q.normal(loc, 0.1, name="z")
    uw.Densities(q, reused(q, z=Normal(prior, 1.0))).score(uw.mmd()).mean().backward()
    expected = 4 * m / (c + 2 * v) * gaussian_mean("rbf", m, v, 2, 1.0)
    assert loc.grad.sum(0).tolist() == pytest.approx([expected] * 2, rel=0.1)  # standard error 2 %
    assert prior.grad.tolist() == pytest.approx([-expected] * 2, rel=0.1)


def test_mmd_draws_afresh_and_from_any_prior():
    d = normals(6)
    assert one(d, uw.mmd()) != one(d, uw.mmd())
    mixture = MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        Independent(Normal(torch.randn(2, 3), torch.ones(2, 3)), 1),
    )
    assert torch.isfinite(one(normals(6, prior=mixture), uw.mmd()))
    assert torch.isfinite(one(normals(2, 6, prior=mixture), uw.mmd("imq")))


def test_mmd_of_equal_items_is_finite_with_its_gradient():
    loc = torch.zeros(5, 2, requires_grad=True)
    q = uw.Trace()
    q.normal(loc, 1e-40, name="z")  # every pair at a distance whose square is 0
    uw.Densities(q, reused(q, z=STANDARD)).score(uw.mmd()).mean().backward()
    assert torch.isfinite(loc.grad).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: uw.mmd("gauss"), "kernel 'gauss': expected one of 'rbf', 'imq'"),
        (lambda: uw.mmd(bandwidth=0), "bandwidth=0: expected a number above 0"),
        (
            lambda: uw.mmd_vae(1e-3),
            r"alpha \+ lam - 1 = -0.999 .* rewards distance .* give lam of 1 - alpha or more",
        ),
        (lambda: uw.mmd_vae(10.0, alpha=-9.5), r"= -0.5 is the MMD's weight"),
        (lambda: uw.mmd_vae(uw.ramp(0.5, 9), alpha=uw.ramp(0, 1)), r"= -0.5 is the MMD's weight"),
        (
            lambda: normals(1).score(uw.mmd()),
            "pairs of items, and the batch has 1: give it 2 or more",
        ),
    ],
)
def test_what_mmd_refuses(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_zhaos_parametrisation():
    d = normals(6)

    def value(objective):
        torch.manual_seed(3)
        return d.score(objective)

    assert uw.mmd_vae(1) == uw.elbo
    assert uw.mmd_vae(7, alpha=1) == uw.recon - 7 * uw.mmd()
    kl, distance = d.score(uw.mi + uw.kl[0]), value(uw.mmd("imq", 2.0))
    same(
        value(uw.mmd_vae(10, alpha=-0.5, kernel="imq", bandwidth=2.0)),
        d.score(uw.recon) - 1.5 * kl - 8.5 * distance,
    )
    same(value(uw.mmd_vae()), d.score(uw.recon) - kl - 999 * value(uw.mmd()))


# -- as terms --------------------------------------------------------------------------------------

ALL = {
    uw.annealed_vae: "log p(x|z) - 1000·|mean(log q(z|x) - log p(z)) - 25|",
    uw.dip_vae_i: "log p(x|z) - log q(z|x) + log p(z) - 10·Σ_i≠j Cov[mu(z)]_ij² "
    "- 100·Σ_i (Cov[mu(z)]_ii - 1)²",
    uw.dip_vae_ii: "log p(x|z) - log q(z|x) + log p(z) - 10·Σ_i≠j Cov[z]_ij² "
    "- 10·Σ_i (Cov[z]_ii - 1)²",
    uw.mmd_vae: "log p(x|z) - log q(z|x) + log p(z) - 999·MMD²(q(z), p(z); rbf, 1)",
}


@pytest.mark.parametrize(("alias", "text"), ALL.items())
def test_objectives_print_and_are_values(alias, text):
    assert str(alias()) == text
    assert alias() == alias()
    assert hash(next(reversed(alias().coefficients))) == hash(next(reversed(alias().coefficients)))
    assert alias() - alias() == Objective({})
    assert 2 * alias() - alias() == alias()
    assert alias().circled().startswith("① + ")


def test_terms_of_other_settings_are_other_terms():
    terms = [
        *(uw.capacity(form, at) for form in (uw.mi, uw.mi.of("z")) for at in (1.0, 2.0)),
        *(
            fn(*of, total=total)
            for fn in (uw.covariances, uw.variances)
            for of in ((), ("z",))
            for total in (False, True)
        ),
        *(
            uw.mmd(kind, width, of=of)
            for kind in ("rbf", "imq")
            for width in (1.0, 2.0)
            for of in ((), ("z",))
        ),
    ]
    assert len(sum(terms, Objective({})).coefficients) == len(terms) == 20


@pytest.mark.parametrize("term", [uw.covariances(), uw.mmd()])
def test_draws_that_not_all_items_made_are_refused(term):
    q = uw.Trace()
    q.normal(
        torch.randn(4, 2),
        1.0,
        torch.randn(4, 2),
        name="z",
        observed=torch.tensor([True, False, True, False]),
    )
    q.normal(torch.randn(4, 2), 1.0, name="w")
    d = uw.Densities(q, reused(q, z=STANDARD, w=STANDARD))
    with pytest.raises(
        ValueError, match=r"site 'z' is observed, for some items at least, .* out of: 'z', 'w'"
    ):
        d.score(term)
    d.score(uw.covariances("w") + uw.mmd(of=("w",)))


# -- trained ---------------------------------------------------------------------------------------


def batch_parts(trainer):
    """A batch's densities at the trained weights; reconstruction and KL per item by formulas."""
    x, labels = trainer.train.batch(trainer.epoch_order(0)[0])
    d = trainer.densities(*trainer.model(x, **labels))
    pixels = d.p["x"]
    recon = (
        (pixels.value * pixels.dist.logits - torch.nn.functional.softplus(pixels.dist.logits))
        .flatten(1)
        .sum(-1)
    )
    loc, scale = d.q["z"].dist.loc, d.q["z"].dist.scale
    kl_z = (scale**2 + loc**2 - 1 - 2 * scale.log()).sum(-1) / 2
    return d, recon, kl_z + d.q["y"].log_prob - d.p["y"].log_prob


TRAINED = {
    "annealed": (
        uw.annealed_vae(30.0, 4.0),
        lambda d, recon, kl: recon - 30 * abs(kl.mean() - 4),
    ),
    "dip-i": (
        uw.dip_vae_i(),
        lambda d, recon, kl: recon - kl - np.dot((10, 100), penalties(covariance(d))),
    ),
    "dip-ii": (
        uw.dip_vae_ii(),
        lambda d, recon, kl: (
            recon - kl - np.dot((10, 10), penalties(covariance(d) + mean_variance(d)))
        ),
    ),
    "mmd": (uw.mmd_vae(200.0), lambda d, recon, kl: recon - kl - 199 * mmd_by_hand(d, "rbf", 1.0)),
    "mmd-imq": (
        uw.mmd_vae(200.0, alpha=1.0, kernel="imq", bandwidth=0.5),
        lambda d, recon, kl: recon - 200 * mmd_by_hand(d, "imq", 0.5),
    ),
}


def covariance(d):
    return np.cov(d.q["z"].dist.loc.numpy(), rowvar=False, bias=True)


def mean_variance(d):
    return np.diag(d.q["z"].dist.variance.numpy().mean(0))


def mmd_by_hand(d, kind, bandwidth):
    torch.manual_seed(9)
    q = {site: d.q[site].value for site in ("y", "z")}
    p = {
        site: d.p[site].dist.expand((32,) if site == "y" else (32, 3)).sample()
        for site in ("y", "z")
    }
    z, prior = (torch.cat([t["y"], t["z"]], -1) for t in (q, p))
    return double_loop(z, prior, kind, bandwidth)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAINED)
def test_trained_on_digits_the_loss_is_its_recomputation(kind):
    """250 steps; recomputed from pixels, moments and pairs. Figures are float32's, hence five
    digits.
    """
    torch.set_default_dtype(torch.float32)
    objective, by_hand = TRAINED[kind]
    trainer = Trainer(tiny(objective=objective, epochs=50))
    started = None
    while not trainer.done:
        trainer.run_epoch(lambda: False, lambda _: None)
        lines = {line["split"]: line for line in trainer.close_epoch()}
        started = started or lines
    assert trainer.step == 250
    assert lines["train"]["recon"] > started["train"]["recon"] + 5
    assert lines["valid"]["loss"] < started["valid"]["loss"]
    with torch.no_grad():
        d, recon, kl = batch_parts(trainer)
        torch.manual_seed(9)
        got = d.score(trainer.recipe.objective_at(trainer.step))
        expected = by_hand(d, recon, kl)
    torch.testing.assert_close(
        got, torch.as_tensor(expected, dtype=got.dtype).expand(32), rtol=1e-5, atol=1e-4
    )


@pytest.mark.slow
def test_what_the_penalties_are_for():
    """Trained as above: the capacity is met, moments are nearer to those of the prior, and so is
    q(z).
    """
    torch.set_default_dtype(torch.float32)

    def after(objective):
        trainer = Trainer(dataclasses.replace(tiny(objective=objective, epochs=50)))
        while not trainer.done:
            trainer.run_epoch(lambda: False, lambda _: None)
        with torch.no_grad():
            return batch_parts(trainer)

    (*_, little), (*_, more) = (
        after(uw.annealed_vae(100.0, 3.0)),
        after(uw.annealed_vae(100.0, 9.0)),
    )
    assert float(more.mean() - little.mean()) == pytest.approx(6, abs=1.5)
    plain, *_ = after(uw.elbo)
    for penalty, weight in [
        (uw.covariances(), 10),
        (uw.variances(), 100),
        (uw.variances(total=True), 10),
    ]:
        d, *_ = after(uw.elbo - weight * penalty)
        assert one(d, penalty) < one(plain, penalty)


# -- restricted to some latents --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "part"),
    [
        (uw.mmd("imq", 2.0), uw.mmd("imq", 2.0, of=("z",))),
        (uw.covariances(), uw.covariances("z")),
        (uw.variances(total=True), uw.variances("z", total=True)),
        (uw.capacity(uw.mi + uw.kl[0], 5.0), uw.capacity((uw.mi + uw.kl[0]).of("z"), 5.0)),
        (uw.critic_tc(hidden=(8,)), uw.critic_tc(hidden=(8,), of=("z",))),
        (uw.conditioned(uw.mi), uw.conditioned(uw.mi.of("z"))),
    ],
)
def test_penalties_are_restricted_to_some_latents(whole, part):
    assert whole.of("z") == part != whole
    assert (uw.elbo - 3 * whole).of("z") == uw.elbo.of("z") - 3 * part
    assert (whole + part).of("z") == 2 * part
    assert str(whole.of("z")) == str(part)


def test_a_restricted_penalty_is_that_of_a_model_with_those_latents_alone():
    """And not that of all, and a restricted covariance is a block of the whole one."""
    torch.manual_seed(0)
    mean, scale = torch.randn(6, 3), torch.rand(6, 3) + 0.3
    q, p = uw.Trace(), uw.Trace()
    q.normal(mean, scale, name="z")
    q.normal(torch.randn(6, 2), 1.0, name="w")
    for name in ("z", "w"):
        p.normal(0.0, 1.0, value=q[name], name=name)
    d = uw.Densities(q, p)
    centred = mean - mean.mean(0)
    off = (centred.mT @ centred / 6).triu(1).square().sum() * 2
    same(d.score(uw.covariances().of("z")), off.expand(6))
    kl = kl_divergence(q["z"].dist, STANDARD).sum(-1).mean()
    same(d.score(uw.capacity(uw.mi + uw.kl[0], 5.0).of("z")), (kl - 5).abs().expand(6))


def test_a_term_that_cannot_be_restricted_says_so():
    form = uw.elbo + uw.Objective({torch.sum: 1.0})
    with pytest.raises(TypeError, match=r"cannot be restricted to 'z': .*give it a method on"):
        form.of("z")
