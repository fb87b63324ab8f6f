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
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform

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


# -- dependence is the program's, not the batch's --------------------------------------------------


def pair_of(prior):
    """a, then b whose prior depends on a: by `sample`, by `conditional`, or in a transform."""

    def decode(q):
        p = uw.Trace()
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        if prior == "sample":
            p.normal(0.8 * a, 0.6, value=q["b"], name="b")
        elif prior == "conditional":
            p.conditional(lambda a: Normal(0.8 * a, 0.6), "a", value=q["b"], name="b")
        else:
            base = Normal(torch.zeros(a.shape), 0.6 * torch.ones(a.shape))
            moved = TransformedDistribution(base, AffineTransform(0.8 * a, 1.0))
            p.sample(moved, value=q["b"], name="b")
        return p

    q = uw.Trace()
    for name in "ab":
        q.normal(torch.randn(5, 2), 0.5, name=name)
    return q, decode


PRIORS = ["sample", "conditional", "transformed"]


@pytest.mark.parametrize("prior", PRIORS)
def test_an_item_alone_has_the_terms_that_it_has_among_others(prior):
    q, decode = pair_of(prior)
    draws = decode(q.free(200))
    loc = 0.8 * draws["a"].value
    for rows in ([0], [0, 1, 2, 3, 4]):
        some = q.take(torch.tensor(rows))
        d = uw.Densities(some, decode(some), aggregate=uw.exact(q), prior=draws)
        each = Normal(loc, 0.6).log_prob(some["b"].value[:, None]).sum(-1)  # (rows, draws)
        a = Normal(0.0, 1.0).log_prob(some["a"].value).sum(-1)
        same(d[uw.Atom("p", 1)], a + each.logsumexp(-1) - math.log(200))
        assert not d.factorises


@pytest.mark.parametrize("prior", PRIORS)
def test_an_item_alone_needs_draws_as_others_do(prior):
    q, decode = pair_of(prior)
    one = q.take(torch.tensor([3]))
    with pytest.raises(ValueError, match="integrates over 'a', which 'b' depends on"):
        uw.Densities(one, decode(one), aggregate=uw.exact(q))[uw.Atom("p", 1)]


def test_rows_of_one_class_do_not_hide_that_a_prior_depends_on_the_class():
    q, p, means = uw.Trace(), uw.Trace(), torch.tensor([[-2.0], [3.0]])
    q.categorical(torch.tensor([[40.0, 0.0]]).expand(4, 2), name="y")
    q.normal(torch.randn(4, 1), 0.5, name="z")
    rows = q.draw()

    def decode(q):
        p = uw.Trace()
        y = p.categorical(torch.zeros(2), value=q["y"], name="y")
        p.normal(y @ means, 0.7, value=q["z"], name="z")
        return p

    draws = decode(rows.free(100))
    p = decode(rows)
    assert (p["z"].dist.loc == -2).all()
    d = uw.Densities(rows, p, aggregate=uw.exact(q), prior=draws)
    each = Normal(draws["z"].dist.loc, 0.7).log_prob(rows["z"].value[:, None]).squeeze(-1)
    same(d[uw.Atom("p", -1)], -math.log(2) + each.logsumexp(-1) - math.log(100))


@pytest.mark.parametrize("items", [1, 3])
def test_draws_show_that_a_prior_written_out_for_one_item_depends_on_nothing(items):
    q = uw.Trace()
    q.normal(torch.randn(items, 2), 0.5, name="a")
    q.normal(torch.randn(items, 2), 0.5, name="b")

    def decode(q):
        p = uw.Trace()
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        p.normal(torch.zeros_like(a), torch.ones_like(a), value=q["b"], name="b")
        return p

    p = decode(q)
    d = uw.Densities(q, p, prior=lambda: decode(q.free(10)))
    assert d.factorises
    same(d[uw.Atom("p", -1)], d[uw.Atom("p", 0)])
    d = uw.Densities(q, p)
    assert d.factorises == (items > 1)
    same(d[uw.Atom("p", 0)], sum(p[name].log_prob.sum(-1) for name in p))


def test_a_block_is_averaged_only_where_its_parents_are_elsewhere():
    """p(a) p(b|a) E p(z|y) in a block that holds a, b and z, with y outside."""
    q = uw.Trace()
    for name in "abyz":
        q.normal(torch.randn(6, 1), 0.5, name=name)

    def decode(q):
        p = uw.Trace()
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        p.normal(0.8 * a, 0.6, value=q["b"], name="b")
        p.normal(0.0, 1.0, value=q["y"], name="y")
        p.conditional(lambda y: Normal(0.7 * y, 0.5), "y", value=q["z"], name="z")
        return p

    p, draws = decode(q), decode(q.free(300))
    d = uw.Densities(q, p, groups=(("a", "b", "z"), "y"), prior=draws)
    each = Normal(0.7 * draws["y"].value, 0.5).log_prob(q["z"].value[:, None]).squeeze(-1)
    known = sum(p[name].log_prob.squeeze(-1) for name in "aby")
    same(d[uw.Atom("p", 1)], known + each.logsumexp(-1) - math.log(300))


def test_a_block_with_a_class_and_what_depends_on_it_and_on_more_is_refused():
    """Draws of t are made with classes of their own, not with the row's."""
    q, shift = uw.Trace(), torch.tensor([[-1.0], [2.0]])
    q.categorical(torch.randn(4, 2), name="y")
    for name in "at":
        q.normal(torch.randn(4, 1), 0.5, name=name)

    def decode(q):
        p = uw.Trace()
        y = p.categorical(torch.zeros(2), value=q["y"], name="y")
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        p.normal(a + y @ shift, 0.5, value=q["t"], name="t")
        return p

    d = uw.Densities(q, decode(q), groups=(("y", "t"), "a"), prior=lambda: decode(q.free(50)))
    with pytest.raises(ValueError, match="integrates over 'a', which 't' depends on"):
        d[uw.Atom("p", 1)]


# -- labels in part, and priors that depend on them ------------------------------------------------

SOME = torch.tensor([0, -1, 2, -1, 1])
"""Labels of three items of five."""


def labelled(kind, how, labels=SOME):
    """y in part known, enumerated or relaxed, and z whose prior depends on it."""
    means = torch.tensor([[-1.0, 0.0], [0.5, 2.0], [2.0, -1.5]])
    q, noise = uw.Trace(), torch.randn(5, 2)
    logits = torch.randn(5, 3)
    if kind == "enumerated":
        q.categorical(logits, value=labels, name="y")
    else:
        q.concrete(logits, 0.5, value=labels, name="y")
    q.normal(noise, 0.5, name="z")

    def decode(q):
        p = uw.Trace()
        if kind == "enumerated":
            y = p.categorical(torch.zeros(3), value=q["y"], name="y")
        else:
            y = p.concrete(torch.zeros(3), 0.5, value=q["y"], name="y")
        if how == "sample":
            p.normal(y @ means, 0.7, value=q["z"], name="z")
        else:
            p.conditional(lambda y: Normal(y @ means, 0.7), "y", value=q["z"], name="z")
        return p

    return q, decode, means


@pytest.mark.parametrize("how", ["sample", "conditional"])
@pytest.mark.parametrize("kind", ["enumerated", "concrete"])
def test_labels_are_given_where_they_are_known(kind, how):
    """At labelled items the prior of z alone is p(z|label), and its correlation with y is none."""
    torch.manual_seed(3)
    q, decode, means = labelled(kind, how)
    draws = decode(q.free(400))
    d = uw.Densities(q, decode(q), aggregate=uw.exact(q), kl="sampled", prior=draws)
    known = SOME >= 0
    z = q["z"].value.reshape(-1, 5, 2)[0]
    given = Normal(means[SOME], 0.7).log_prob(z).sum(-1)
    same(d[uw.Atom("p", 1)][known], given[known])
    same(d.score(uw.tc[0])[known], torch.zeros(3))
    if kind == "concrete":
        each = Normal(draws["y"].value @ means, 0.7).log_prob(z[:, None]).sum(-1)
        alone = decode(q)["y"].log_prob + each.logsumexp(-1) - math.log(400)
        same(d[uw.Atom("p", 1)][~known], alone[~known])


def test_an_item_that_knows_some_of_what_a_prior_depends_on_is_refused():
    q = uw.Trace()
    q.concrete(torch.randn(5, 3), 0.5, value=SOME, name="y")
    q.normal(torch.randn(5, 3), 0.5, name="a")
    q.normal(torch.randn(5, 3), 0.5, name="z")

    def decode(q, given):
        p = uw.Trace()
        y = p.concrete(torch.zeros(3), 0.5, value=q["y"], name="y")
        a = p.normal(0.0, 1.0, value=q["a"], name="a")
        if given:
            p.conditional(lambda y: Normal(y, 0.7), "y", value=q["z"], name="z")
        else:
            p.normal(y + a, 0.7, value=q["z"], name="z")
        return p

    d = uw.Densities(q, decode(q, False), prior=lambda: decode(q.free(50), False))
    with pytest.raises(ValueError, match=r"depends on 'a' and 'y', of which some items have a pa"):
        d[uw.Atom("p", 1)]
    d = uw.Densities(q, decode(q, True), prior=lambda: decode(q.free(50), True))
    assert d[uw.Atom("p", 1)].isfinite().all()


def test_a_prior_recorded_at_another_classes_draw_is_refused_where_classes_are_summed():
    """p(t | a, y) p(a) p(y) summed over y asks for t's prior at the row's a and each y."""
    q, shift = uw.Trace(), torch.tensor([[-1.0], [2.0]])
    y = q.categorical(torch.randn(4, 2), name="y")
    q.normal(torch.randn(4, 1) + y @ shift, 0.5, name="a")
    q.normal(torch.randn(4, 1), 0.5, name="t")
    p = uw.Trace()
    y = p.categorical(torch.zeros(2), value=q["y"], name="y")
    a = p.normal(0.0, 1.0, value=q["a"], name="a")
    p.normal(a + y @ shift, 0.5, value=q["t"], name="t")
    d = uw.Densities(q, p, groups=("y", ("a", "t")))
    with pytest.raises(ValueError, match=r"sums over the classes of 'y', and 't' depends on 'a'"):
        d[uw.Atom("p", 1)]
    assert d[uw.Atom("p", 0)].isfinite().all()


def test_a_relaxed_class_of_one_item_has_its_prior():
    q, p, logits = uw.Trace(), uw.Trace(), torch.randn(3)
    q.concrete(torch.randn(4, 3), 0.6, name="y")
    one = q.take(torch.tensor([2]))
    p.concrete(logits, 0.6, value=one["y"], name="y")
    same(p["y"].log_prob[0], uw.Concrete(logits.expand(4, 3), 0.6).log_prob(q["y"].value)[2])
