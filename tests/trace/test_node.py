"""One change for all tensors of a site, whatever its distribution and fields."""

from dataclasses import fields, replace

import pytest
import torch
from support.programs import covariances, float64, same  # noqa: F401
from torch import distributions as td
from torch.distributions import transforms as tt

import unweave as uw
from unweave.trace import Axes, Law
from unweave.trace.parameters import changed

N = 4
EVENT = N  # as many as items: shapes alone do not tell them apart


def rand(*shape):
    return torch.rand(*shape) + 0.5


def tril(*lead):
    a = torch.randn(*lead, EVENT, EVENT)
    return torch.linalg.cholesky(a @ a.mT + torch.eye(EVENT))


def affine(loc, scale):
    return td.TransformedDistribution(
        td.Normal(torch.zeros(N, 2), 1.0), [tt.AffineTransform(loc, scale)]
    )


KINDS = {
    "normal": lambda: td.Normal(torch.randn(N, 2), rand(N, 2)),
    "normal, one scale": lambda: td.Normal(torch.randn(N, 2), 0.7),
    "student": lambda: td.StudentT(rand(N, 2) + 2, torch.randn(N, 2), rand(N, 2)),
    "gamma": lambda: td.Gamma(rand(N, 2), rand(N, 2)),
    "beta": lambda: td.Beta(rand(N, 2), rand(N, 2)),
    "von mises": lambda: td.VonMises(torch.randn(N, 2), rand(N, 2)),
    "laplace": lambda: td.Laplace(torch.randn(N, 2), rand(N, 2)),
    "uniform": lambda: td.Uniform(-rand(N, 2), rand(N, 2)),
    "poisson": lambda: td.Poisson(rand(N, 2)),
    "negative binomial": lambda: td.NegativeBinomial(rand(N, 2), logits=torch.randn(N, 2)),
    "weibull": lambda: td.Weibull(rand(N, 2), rand(N, 2)),
    "weibull, one scale": lambda: td.Weibull(torch.ones(()), rand(N, 2)),
    "kumaraswamy": lambda: td.Kumaraswamy(rand(N, 2), rand(N, 2)),
    "pareto": lambda: td.Pareto(rand(N, 2), rand(N, 2)),
    "log normal": lambda: td.LogNormal(torch.randn(N, 2), rand(N, 2)),
    "half normal": lambda: td.HalfNormal(rand(N, 2)),
    "gumbel": lambda: td.Gumbel(torch.randn(N, 2), rand(N, 2)),
    "logistic normal": lambda: td.LogisticNormal(torch.randn(N, 2), rand(N, 2)),
    "affine": lambda: affine(torch.randn(N, 2), rand(N, 2)),
    "affine, per item": lambda: affine(torch.randn(N, 1), rand(N, 1)),
    "affine, per unit": lambda: affine(torch.randn(2), rand(2)),
    "inverse": lambda: td.TransformedDistribution(
        td.Normal(torch.zeros(N, 2), 1.0), [tt.AffineTransform(torch.randn(N, 2), rand(N, 2)).inv]
    ),
    "composed": lambda: td.TransformedDistribution(
        td.Normal(torch.zeros(N, 2), rand(N, 2)),
        [
            tt.ComposeTransform(
                [tt.AffineTransform(torch.randn(N, 2), rand(N, 2)), tt.ExpTransform()]
            )
        ],
    ),
    "event": lambda: td.TransformedDistribution(
        td.Independent(td.Normal(torch.zeros(N, EVENT), 1.0), 1),
        [tt.AffineTransform(torch.randn(EVENT), rand(N, EVENT), event_dim=1)],
    ),
    "mvn": lambda: td.MultivariateNormal(torch.randn(N, EVENT), scale_tril=tril(N)),
    "mvn, one scale_tril": lambda: td.MultivariateNormal(torch.randn(N, EVENT), scale_tril=tril()),
    "mvn, one covariance": lambda: td.MultivariateNormal(torch.randn(N, EVENT), covariances(EVENT)),
    "low rank": lambda: td.LowRankMultivariateNormal(
        torch.randn(N, EVENT), torch.randn(EVENT, 2), rand(EVENT)
    ),
    "independent": lambda: td.Independent(td.Normal(torch.randn(N, EVENT), rand(EVENT)), 1),
    "mixture": lambda: td.MixtureSameFamily(
        td.Categorical(logits=torch.randn(N, 3)), td.Normal(torch.randn(N, 3), rand(N, 3))
    ),
    "mixture of vectors": lambda: td.MixtureSameFamily(
        td.Categorical(logits=torch.randn(N, 3)),
        td.Independent(td.Normal(torch.randn(N, 3, 2), rand(N, 3, 2)), 1),
    ),
    "dirichlet": lambda: td.Dirichlet(rand(N, EVENT)),
    "one-hot": lambda: td.OneHotCategorical(logits=torch.randn(N, EVENT)),
    "relaxed": lambda: td.RelaxedOneHotCategorical(torch.tensor(0.7), logits=torch.randn(N, EVENT)),
    "concrete": lambda: uw.Concrete(torch.randn(N, EVENT), 0.66),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [[2, 0, 3, 1], [3, 1], [0, 0, 1, 2, 3]])
def test_some_items_have_the_densities_that_they_have_among_all(kind, index):
    torch.manual_seed(1)
    q, index = uw.Trace(), torch.tensor(index)
    q.sample(KINDS[kind](), name="z")
    some = q.take(index)["z"]
    same(some.value, q["z"].value[index])
    same(some.log_prob, q["z"].log_prob[index])
    assert some.dist.batch_shape == some.log_prob.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_that_changes_nothing(kind):
    torch.manual_seed(1)
    dist = KINDS[kind]()
    value = dist.sample()
    twin = changed(dist, lambda t, lacks: t.clone())
    same(twin.log_prob(value), dist.log_prob(value))
    assert (twin.batch_shape, twin.event_shape) == (dist.batch_shape, dist.event_shape)


def test_a_node_forgets_no_field():
    """Each tensor of each field is changed: a field that is added without that fails here."""
    at = iter(range(100))

    def tensor():
        return torch.full((N,), float(next(at)))

    law = Law(lambda z, h: td.Normal(z + h, 1.0), ("z",), (tensor(), tensor()))
    full = uw.Node(
        tensor(), "sampled", td.Normal(tensor(), tensor()), tensor(), tensor(),
        Axes((2,), (N,)), tensor(), tensor(), law, 0,
    )  # fmt: skip
    assert all(getattr(full, each.name) is not None for each in fields(full))
    seen = []
    new = full.changed(lambda t, lacks: seen.append((float(t[0]), lacks)) or t + 100)
    assert sorted(seen) == [(float(k), 0) for k in range(next(at))]
    tensors = [new.value, new.dist.loc, new.dist.scale, new.observed, new.score, new.label]
    assert all(float(t[0]) >= 100 for t in (*tensors, new.exists, *new.law.inputs))
    kept = full.changed(lambda t, lacks: t + 100, label=None)
    assert kept.label is None
    same(replace(kept, label=full.label).value, full.value + 100)


def test_what_lacks_the_items_is_left():
    """A unit's own parameter is no item's, though there are as many units as items."""
    node = uw.Node(torch.zeros(N, N), "sampled", td.Normal(torch.arange(4.0), 1.0))
    lacks = []
    node.changed(lambda t, missing: lacks.append(missing) or t)
    assert lacks == [0, 1, 1]
    taken = node.along(0, lambda t, dim: t.index_select(dim, torch.tensor([1])))
    same(taken.dist.loc, torch.arange(4.0))
