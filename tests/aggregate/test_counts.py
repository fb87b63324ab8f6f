"""Objects that exist as a latent count says: terms of q(z) against loops over counts and items."""

import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import Normal

import unweave as uw

GROUPS = ("n", ("z_0", "z_1"))


def scenes(logits, means):
    """A count n of 0 to 2, and of two objects those that it says."""
    q, p = uw.Trace(), uw.Trace()
    n = q.categorical(logits, name="n")
    count = (n * torch.arange(3.0)).sum(-1)
    for k in range(2):
        q.normal(means[:, k], 1.0, name=f"z_{k}", where=count > k)
    p.categorical(torch.zeros(3), value=q["n"], name="n")
    for k in range(2):
        p.normal(0.0, 1.0, value=q[f"z_{k}"], name=f"z_{k}")
    return q, p


@pytest.mark.parametrize("estimate", ["exact", "minibatch", "drawn rows"])
def test_an_encoder_that_ignores_x_has_no_information_and_no_correlation(estimate):
    logits = torch.zeros(6, 3, requires_grad=estimate != "drawn rows")
    q, p = scenes(logits, torch.zeros(6, 2, 4))
    aggregate = uw.minibatch(6) if estimate == "minibatch" else uw.exact(q)
    rows = q.draw() if estimate == "drawn rows" else q
    if estimate == "drawn rows":
        p = uw.Trace()
        p.categorical(torch.zeros(3), value=rows["n"], name="n")
        for k in range(2):
            p.normal(0.0, 1.0, value=rows[f"z_{k}"], name=f"z_{k}")
    d = uw.Densities(rows, p, groups=GROUPS, aggregate=aggregate, kl="sampled")
    for term in (uw.mi, uw.kl[0], uw.kl[-1], uw.mi.of("n"), uw.mi.of("z_0")):
        same(d.score(term).mean(), 0.0)
    correlation = d.score(uw.tc[0]).mean()
    same(correlation, 0.0)
    if estimate != "drawn rows":
        correlation.backward()
        same(logits.grad, torch.zeros(6, 3))


@pytest.mark.parametrize("weights", [uw.balanced, uw.stratified])
def test_blocks_with_and_without_the_count_against_loops(weights):
    """q(n, z) = Σ_j w q(n|x_j) q(z|x_j, n); without n, q(z | z exists), by their definitions."""
    items, data = 5, 9
    logits, means = torch.randn(items, 3), torch.randn(items, 2, 2)
    q, _ = scenes(logits, means)
    log_w = [math.log(w) for w in weights(items, data)]
    blocks = [
        (("n", (0,)), ("z_0", (0, 1)), ("z_1", (0, 1))),
        (("z_0", (0, 1)),),
        (("n", (0,)), ("z_1", (1,))),
    ]
    found = uw.minibatch(data, weights)(q.aligned(), blocks, 1)
    log_n = logits.log_softmax(-1)
    for i in range(items):
        w = torch.tensor([log_w[2]] * items)
        w[(i + 1) % items], w[i] = log_w[1], log_w[0]
        z = [q[f"z_{k}"].value[..., i, :].reshape(-1, 2)[-1] for k in range(2)]
        log_z = [Normal(means[:, k], 1.0).log_prob(z[k]) for k in range(2)]
        for n in range(3):
            inside = [log_z[k].sum(-1) for k in range(2) if k < n]
            same(found[0][n, i], (w + log_n[:, n] + sum(inside, torch.zeros(items))).logsumexp(0))
            last = log_z[1][:, 1] if n > 1 else torch.zeros(items)
            same(found[2][n, i], (w + log_n[:, n] + last).logsumexp(0))
        exists = w + log_n[:, 1:].logsumexp(-1)
        total = w.logsumexp(0)
        alone = (exists + log_z[0].sum(-1)).logsumexp(0) - (exists.logsumexp(0) - total)
        same(found[1].expand(3, items)[2, i], alone)
