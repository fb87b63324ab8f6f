"""Structured priors: correlated, mixtures, conditional; their part of each term where it does not
vanish.
"""

import math

import pytest
import torch
from support.programs import covariances, drawn, float64, reused, same  # noqa: F401
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

import unweave as uw

N = 4_000


def as_prior(dist, n=N):
    """A q whose posteriors are points drawn from `dist`, so that log p(z) of its values is what a
    prior's part sees.
    """
    q, z = uw.Trace(), dist.sample((n,))
    q._add("z", uw.Node(z, "sampled", Normal(z, torch.full_like(z, 0.3))))
    return q


def test_the_total_correlation_of_a_correlated_prior():
    """At z ~ p the prior's part of tc[0] is its own total correlation, ½(Σ log Σ_dd − log det
    Σ).
    """
    cov = covariances(3)
    prior = MultivariateNormal(torch.randn(3), cov)
    q = as_prior(prior)
    d = uw.Densities(q, reused(q, z=prior), groups=("z[:2]", "z[2]"))
    between = d[uw.Atom("p", 0)] - d[uw.Atom("p", 1)]
    within = d[uw.Atom("p", 1)] - d[uw.Atom("p", 2)]
    blocks = torch.logdet(cov[:2, :2]) + cov[2, 2].log()
    for values, exact in (
        (between, blocks - torch.logdet(cov)),
        (within, cov.diagonal().log().sum() - blocks),
    ):
        assert exact > 0.05
        assert abs(values.mean() - exact / 2) < 5 * values.std() / math.sqrt(N)


def test_a_mixture_priors_marginals():
    loc, scale, log_w = torch.randn(4, 3), torch.rand(4, 3) + 0.3, torch.randn(4)
    z = torch.randn(5, 3)
    q = drawn(z=(Normal(z, 0.5 * torch.ones(5, 3)), z))
    prior = MixtureSameFamily(Categorical(logits=log_w), Independent(Normal(loc, scale), 1))
    p = reused(q, z=prior)
    d = uw.Densities(q, p, groups=("z[:2]", "z[2]"), aggregate=uw.minibatch(9))

    def log_p(units):
        parts = Independent(Normal(loc[:, units], scale[:, units]), 1)
        return MixtureSameFamily(Categorical(logits=log_w), parts).log_prob(z[:, units])

    same(d[uw.Atom("p", 0)], prior.log_prob(z))
    same(d[uw.Atom("p", 1)], log_p([0, 1]) + log_p([2]))
    same(d[uw.Atom("p", -1)], log_p([0]) + log_p([1]) + log_p([2]))
    same(uw.elbo(q, p), prior.log_prob(z) - q["z"].log_prob.sum(-1))
    correlated = MixtureSameFamily(
        Categorical(logits=log_w), MultivariateNormal(loc, covariances(4, 3))
    )
    d = uw.Densities(q, reused(q, z=correlated), groups=("z[:2]", "z[2]"))
    part = MultivariateNormal(
        loc[:, :2], correlated.component_distribution.covariance_matrix[:, :2, :2]
    )
    same(d[uw.Atom("p", 1)] - d.score(uw.Objective({uw.Atom("p", 0, ("z[2]",)): 1.0})),
         MixtureSameFamily(Categorical(logits=log_w), part).log_prob(z[:, :2]))  # fmt: skip


def chain_program(n, a=0.8):
    """z1, z2 with q independent and p(z2|z1) = N(a·z1, 0.6): p(z2) = N(0, a² + 0.36)."""
    q = uw.Trace()
    q.normal(torch.randn(n, 2), 0.5, name="z1")
    q.normal(torch.randn(n, 2), 0.5, name="z2")
    return q, lambda q: chain_prior(q, a)


def chain_prior(q, a):
    p = uw.Trace()
    z1 = p.normal(0.0, 1.0, value=q["z1"], name="z1")
    p.normal(a * z1, 0.6, value=q["z2"], name="z2")
    return p


def test_a_conditional_prior_needs_draws_of_its_parents():
    q, prior = chain_program(6)
    p = prior(q)
    same(uw.elbo(q, p).shape == (6,), True)
    d = uw.Densities(q, p, groups=("z1", "z2"), aggregate=uw.minibatch(20))
    d.score(uw.hfvae(1, 1, 1))
    same(d[uw.Atom("p", 0)], sum(p[name].log_prob.sum(-1) for name in p))
    with pytest.raises(
        ValueError,
        match=r"density of 'z2' under the prior integrates over 'z1'.*prior=decoder\(None",
    ):
        d.score(uw.hfvae(1, 12, 4))


def test_a_conditional_priors_marginal_is_the_mean_over_draws():
    q, prior = chain_program(6)
    p, calls = prior(q), []

    def draws():
        calls.append(1)
        return prior(q.free(50_000))

    d = uw.Densities(q, p, groups=("z1", "z2"), aggregate=uw.minibatch(20), prior=draws)
    d.score(uw.elbo)
    assert not calls
    z2 = q["z2"].value
    marginal = Normal(0.0, math.sqrt(0.64 + 0.36)).log_prob(z2)
    values = d[uw.Atom("p", 1)] - p["z1"].log_prob.sum(-1)
    d[uw.Atom("p", 2)]
    assert calls == [1]
    loc = d.prior["z2"].dist.loc
    each = Normal(loc, 0.6).log_prob(z2[:, None]).sum(-1)
    same(values, each.logsumexp(-1) - math.log(50_000))
    error = each.exp().std(-1) / each.exp().mean(-1) / math.sqrt(50_000)
    assert ((values - marginal.sum(-1)).abs() < 5 * error).all()
    assert values.requires_grad is False


def test_a_block_that_splits_a_chain_is_refused():
    q = uw.Trace()
    for name in ("a", "b", "c"):
        q.normal(torch.randn(4, 1), 0.5, name=name)

    def prior(q):
        p = uw.Trace()
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        b = p.normal(a, 1.0, value=q["b"], name="b")
        p.normal(b, 1.0, value=q["c"], name="c")
        return p

    d = uw.Densities(q, prior(q), groups=(("a", "c"), "b"), prior=lambda: prior(q.free(100)))
    with pytest.raises(
        ValueError, match=r"'a' and 'c' under the prior integrates over 'b'.*hangs together"
    ):
        d[uw.Atom("p", 1)]


def test_a_prior_that_is_written_out_for_every_item_is_no_conditional_one():
    q = uw.Trace()
    q.normal(torch.randn(4, 2), 0.5, name="a")
    q.normal(torch.randn(4, 2), 0.5, name="b")
    p = uw.Trace()
    p.normal(0.0, 1.0, value=q["a"], name="a")
    p.normal(torch.zeros(4, 2), torch.ones(4, 2), value=q["b"], name="b")
    d = uw.Densities(q, p, aggregate=uw.minibatch(9))
    same(d[uw.Atom("p", -1)], d[uw.Atom("p", 0)])


def branches(n, labels=None):
    """a → b and y → s → t, branches that know nothing of each other; y is enumerated where it is
    not known.
    """
    q, means = uw.Trace(), torch.tensor([[-1.0], [0.5], [2.0]])
    q.categorical(torch.randn(n, 3), value=labels, name="y")
    for name in "abst":
        q.normal(torch.randn(n, 1), 0.5, name=name)

    def decode(q):
        p = uw.Trace()
        p.normal(0.0, 1.0, value=q["a"], name="a")
        p.conditional(lambda a: Normal(0.8 * a, 0.6), "a", value=q["b"], name="b")
        p.categorical(torch.zeros(3), value=q["y"], name="y")
        p.conditional(lambda y: Normal(y @ means, 0.7), "y", value=q["s"], name="s")
        p.conditional(lambda s: Normal(s.sin(), 0.4), "s", value=q["t"], name="t")
        return p

    return q, decode


@pytest.mark.parametrize("labels", [None, [0, 2, 1, -1, -1]])
def test_a_conditional_depends_on_what_it_is_given_and_on_nothing_else_before_it(labels):
    """Blocks that hold whole branches have their priors in closed form: no draws, no mistaken
    parents.
    """
    q, decode = branches(5, labels if labels is None else torch.tensor(labels))
    p = decode(q)
    d = uw.Densities(q, p, groups=(("a", "b"), ("y", "s", "t")), aggregate=uw.minibatch(20))
    each = sum(
        p[name].log_prob if name == "y" else p[name].log_prob.squeeze(-1) for name in p
    )  # (classes, items)
    share, given = q["y"].dist.probs.clone(), torch.zeros(5)
    for i, y in enumerate(labels or ()):
        if y >= 0:
            share[i], given[i] = (
                torch.eye(3)[y],
                math.log(1 / 3),
            )  # p(y) counts in `recon` where y is not drawn
    same(d[uw.Atom("p", 1)], (share.T * each).sum(0) - given)
    same(d[uw.Atom("p", 1)], d[uw.Atom("p", 0)])
    q, decode = branches(5)
    with pytest.raises(ValueError, match="integrates over 's', which 't' depends on"):
        uw.Densities(
            q, decode(q), groups=(("a", "b"), ("y", "t"), "s"), aggregate=uw.minibatch(20)
        )[uw.Atom("p", 1)]


def test_a_conditional_depends_on_what_its_parents_depend_on():
    """z3 of a chain is not independent of z1 because only z2 is named."""
    q = uw.Trace()
    for name in ("z1", "z2", "z3"):
        q.normal(torch.randn(5, 1), 0.5, name=name)
    p = uw.Trace()
    p.normal(0.0, 1.0, value=q["z1"], name="z1")
    for before, name in (("z1", "z2"), ("z2", "z3")):
        p.conditional(lambda z: Normal(z, 0.6), before, value=q[name], name=name)
    d = uw.Densities(q, p, groups=(("z1", "z3"), "z2"), prior=lambda: p, aggregate=uw.minibatch(20))
    with pytest.raises(ValueError, match="'z1' and 'z3' under the prior integrates over 'z2'"):
        d[uw.Atom("p", 1)]
