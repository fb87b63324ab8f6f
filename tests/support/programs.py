"""Random programs, and slow twins of the core: explicit loops over items, units and blocks."""

import math
import random
from itertools import pairwise

import pytest
import torch
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    RelaxedOneHotCategorical,
)

import unweave as uw


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def same(left, right, tol=1e-10):
    """Identities in float64: equal shapes, no broadcasting, 1e-10 of the larger of 1 and the
    value.
    """
    left, right = torch.as_tensor(left), torch.as_tensor(right)
    assert left.shape == right.shape
    torch.testing.assert_close(left, right.to(left.dtype), rtol=tol, atol=tol)


def covariances(*shape):
    a = torch.randn(*shape, shape[-1])
    return a @ a.mT + torch.eye(shape[-1])


def drawn(**sites):
    """A trace of (distribution, value) pairs, as if the values had been drawn."""
    q = uw.Trace()
    for name, (dist, value) in sites.items():
        q._add(name, uw.Node(value, "sampled", dist))
    return q


def reused(q, **priors):
    """A trace that scores q's values under the priors."""
    p = uw.Trace()
    for name, dist in priors.items():
        p.sample(dist, q[name], name=name)
    return p


LEAVES = ["z[:2]", "z[2]", "w[:, 0]", "w[:, 1]", "y", "u", "s[0]", "s[-1]"]


def encode(lead):
    """Five latent sites of different kinds: units of one and two dimensions, a simplex, correlated
    units.
    """
    q = uw.Trace()
    z = q.normal(torch.randn(*lead, 3), torch.rand(*lead, 3) + 0.3, name="z")
    q.normal(torch.randn(*lead, 2, 2), torch.rand(*lead, 2, 2) + 0.3, name="w")
    q.concrete(torch.randn(*lead, 3) + z, 0.66, name="y")
    q.sample(MultivariateNormal(torch.randn(*lead, 2), covariances(*lead, 2)), name="u")
    q.sample(Independent(Normal(torch.randn(*lead, 2), torch.rand(*lead, 2) + 0.3), 1), name="s")
    return q


def decode(q, correlated=False):
    """Fixed and learned priors, none expanded; observed data, labels and a factor."""
    p, lead = uw.Trace(), q["y"].value.shape[:-1]
    if correlated:
        p.sample(MultivariateNormal(torch.randn(3), covariances(3)), q["z"], name="z")
    else:
        p.normal(0.0, 1.0, value=q["z"], name="z")
    p.normal(torch.randn(2, 2), 0.7, value=q["w"], name="w")
    p.concrete(torch.randn(3), 0.5, value=q["y"], name="y")
    p.sample(MultivariateNormal(torch.randn(2), covariances(2)), q["u"], name="u")
    p.sample(Independent(Normal(torch.randn(2), torch.rand(2) + 0.5), 1), q["s"], name="s")
    p.bernoulli(torch.randn(*lead, 4), value=torch.rand(*lead, 4).round(), name="x")
    p.categorical(torch.randn(*lead, 3), value=torch.randint(3, lead), name="c")
    p.factor(torch.randn(*lead), name="f")
    return p


def tree(rng: random.Random, depth: int, leaves=LEAVES):
    """A random tree of groups of exactly this depth."""
    leaves = rng.sample(leaves, len(leaves))
    if depth == 1:
        return tuple(leaves)
    cuts = (
        sorted({0, len(leaves), *rng.sample(range(1, len(leaves)), rng.randint(1, 3))})
        if len(leaves) > 3
        else None
    )
    parts = [leaves[a:b] for a, b in pairwise(cuts)] if cuts else [leaves]
    deep = rng.randrange(len(parts))
    return tuple(
        tree(rng, depth - 1, part) if i == deep else part[0] if len(part) == 1 else tuple(part)
        for i, part in enumerate(parts)
    )


# -- twins -----------------------------------------------------------------------------------------


def pick(dist, value, index):
    """The distribution of one item, however little its parameters were expanded."""
    if isinstance(dist, Independent):
        return pick(dist.base_dist, value, index)
    if isinstance(dist, Normal):
        return Normal(dist.loc.expand(value.shape)[index], dist.scale.expand(value.shape)[index])
    lead = value.shape[:-1]
    if isinstance(dist, MultivariateNormal):
        size = value.shape[-1]
        cov = dist.covariance_matrix.expand(*lead, size, size)
        return MultivariateNormal(dist.loc.expand(value.shape)[index], cov[index])
    logits = dist.logits.expand(*lead, dist.logits.shape[-1])[index]
    if isinstance(dist, uw.Concrete):
        return RelaxedOneHotCategorical(torch.tensor(dist.temperature), logits=logits)
    return OneHotCategorical(logits=logits)


def log_marginal(dist, value, units):
    """log-density of some units of one item, from the formulas."""
    if isinstance(dist, Normal):
        loc, scale, value = dist.loc.flatten(), dist.scale.flatten(), value.flatten()
        z = [(value[u] - loc[u]) / scale[u] for u in units]
        return sum(
            -0.5 * z[i] ** 2 - scale[u].log() - 0.5 * math.log(2 * math.pi)
            for i, u in enumerate(units)
        )
    if isinstance(dist, MultivariateNormal):
        u = torch.tensor(list(units))
        r, cov = (value - dist.loc)[u], dist.covariance_matrix[u][:, u]
        return -0.5 * (r @ torch.linalg.inv(cov) @ r + torch.logdet(2 * math.pi * cov))
    return dist.log_prob(value)


def is_observed(node, index, unit):
    observed = torch.as_tensor(node.observed)
    if observed.ndim == 0:
        return bool(observed)
    entry = observed[index]
    return bool(entry.flatten()[unit] if entry.ndim else entry)


def latent(q, block, index):
    """A block's units that were not observed at this item."""
    kept = [
        (site, [u for u in units if not is_observed(q[site], index, u)]) for site, units in block
    ]
    return [(site, units) for site, units in kept if units]


def log_p_block(q, p, block, index):
    """log p(z_block) of one item; with p=q, log q(z_block|x)."""
    total = torch.zeros(())
    for site, units in latent(q, block, index):
        node = p[site]
        total = total + log_marginal(pick(node.dist, node.value, index), node.value[index], units)
    return total


def log_q_block(q, posterior, weights, block, index):
    """log Σ_j w_j q(z_block|x_j) of one item; items are the last entry of `index`."""
    total = torch.zeros(())
    for j, w in enumerate(weights):
        each = torch.zeros(())
        for site, units in latent(q, block, index):
            value = q[site].value[index]
            at = (*index[:-1], j) if posterior[site].value.ndim == q[site].value.ndim else (j,)
            each = each + log_marginal(
                pick(posterior[site].dist, posterior[site].value, at), value, units
            )
        total = total + w * each.exp()
    return total.log()


def indices(lead):
    return [
        tuple(i.tolist())
        for i in torch.cartesian_prod(*map(torch.arange, lead)).reshape(-1, len(lead))
    ]


def each_item(lead, fn):
    """fn(index) for every sample and item."""
    return torch.stack([torch.as_tensor(fn(index)) for index in indices(lead)]).reshape(lead)


def balanced_row(batch, n, i):
    return [1 / n if j == i else (n - 1) / (n * (batch - 1)) for j in range(batch)]
