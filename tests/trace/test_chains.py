"""Conditional sites: q(z) of chains with an exact posterior, a finite mixture of joint normals."""

import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import MultivariateNormal, Normal

import unweave as uw
from unweave.aggregate import rewrite
from unweave.objective.bounds import breaches

STEPS, D = 4, 2


def items(n):
    return {
        "a": 0.6 * torch.randn(n, STEPS, D, D),
        "b": torch.randn(n, STEPS, D),
        "s": torch.rand(n, STEPS, D) + 0.4,
    }


def follow(z, a, b, s):
    return Normal((a @ z.unsqueeze(-1)).squeeze(-1) + b, s)


def encode(of, lengths=None, samples=()):
    """q(z_0|x_n) Π q(z_t | z_{t-1}, x_n), linear and Gaussian."""
    q = uw.Trace()
    a, b, s = (of[name].expand(*samples, *of[name].shape) for name in "abs")
    where = [None if lengths is None else (t < lengths).expand(*samples, -1) for t in range(STEPS)]
    q.normal(b[..., 0, :], s[..., 0, :], name="z_0", where=where[0])
    for t in range(1, STEPS):
        inputs = a[..., t, :, :], b[..., t, :], s[..., t, :]
        q.conditional(follow, f"z_{t - 1}", *inputs, name=f"z_{t}", where=where[t])
    return q


def joint(of, n):
    """q(z_0, …, z_T|x_n) as one multivariate normal."""
    a, b, s = (of[name][n] for name in "abs")
    eye, below = torch.eye(STEPS * D), torch.zeros(STEPS * D, STEPS * D)
    for t in range(1, STEPS):
        below[t * D : (t + 1) * D, (t - 1) * D : t * D] = a[t]
    out = torch.linalg.inv(eye - below)
    return MultivariateNormal(out @ b.flatten(), out @ s.flatten().square().diag() @ out.mT)


def marginal(dist, at):
    index = torch.tensor(at)
    return MultivariateNormal(dist.loc[index], dist.covariance_matrix[index[:, None], index])


def path(q):
    return torch.cat([q[f"z_{t}"].value for t in range(STEPS)], -1)


def block(*steps):
    return tuple((f"z_{t}", tuple(range(D))) for t in steps)


def test_a_chain_under_q_is_a_mixture_of_its_joint_normals():
    of, n = items(7), 7
    q = encode(of)
    found = uw.exact(q)(q, [block(*range(STEPS)), block(0, 1), (*block(0), ("z_1", (1,)))])
    each = [joint(of, j) for j in range(n)]
    for log_q, at in zip(found, ([*range(STEPS * D)], [*range(2 * D)], [0, 1, 3]), strict=True):
        twin = torch.stack(
            [marginal(dist, at).log_prob(path(q)[:, at]) for dist in each], -1
        ).logsumexp(-1)
        same(log_q, twin - math.log(n))


def test_its_gradient_is_that_of_the_mixture():
    of, n = items(5), 5
    for t in of.values():
        t.requires_grad_()
    q = encode(of)
    c = torch.randn(n)
    (log_q,) = uw.exact(q)(q, [block(*range(STEPS))])
    twin = torch.stack([joint(of, j).log_prob(path(q)) for j in range(n)], -1).logsumexp(-1)
    for left, right in zip(
        *(
            torch.autograd.grad((c * v).sum(), of.values(), retain_graph=True)
            for v in (log_q, twin)
        ),
        strict=True,
    ):
        same(left, right)


def test_few_pairs_at_a_time_give_the_same_values_and_gradients(monkeypatch):
    of = items(9)
    for t in of.values():
        t.requires_grad_()
    q, results = encode(of), []
    for most in (2**22, 1):
        monkeypatch.setattr(rewrite, "PAIRS", most)
        (log_q,) = uw.minibatch(50)(q, [block(*range(STEPS))])
        results.append(
            [log_q, *torch.autograd.grad(log_q.square().sum(), of.values(), retain_graph=True)]
        )
    for whole, chunked in zip(*results, strict=True):
        same(chunked, whole)


def test_the_terms_add_up_to_the_elbo():
    of = items(6)
    q, p, before = encode(of), uw.Trace(), torch.zeros(())
    for t in range(STEPS):
        before = p.normal(0.5 * before, 1.2, value=q[f"z_{t}"], name=f"z_{t}")
    groups = (tuple(f"z_{t}" for t in range(STEPS)),)
    d = uw.Densities(q, p, groups=groups, aggregate=uw.minibatch(6), kl="sampled")
    same(d.score(uw.recon - uw.mi - uw.kl[0]), d.score(uw.elbo))
    log_q = torch.stack([joint(of, j).log_prob(path(q)) for j in range(6)], -1)
    same(d.score(uw.mi), log_q.diagonal() - log_q.logsumexp(-1) + math.log(6))


def test_lengths_and_samples():
    of, n, lengths = items(6), 6, torch.tensor([4, 2, 3, 4, 1, 3])
    q = encode(of, lengths, samples=(3,))
    (log_q,) = uw.minibatch(n)(q, [block(*range(STEPS))], 1)
    whole = [joint(of, j) for j in range(n)]
    for k in range(3):
        for i, length in enumerate(lengths.tolist()):
            at = [*range(length * D)]
            among = [j for j in range(n) if lengths[j] >= length]
            each = torch.stack([marginal(whole[j], at).log_prob(path(q)[k, i, at]) for j in among])
            same(log_q[k, i], each.logsumexp(0) - math.log(len(among)))


def test_steps_that_leave_out_what_is_between_are_refused():
    q = encode(items(5))
    with pytest.raises(ValueError, match=r"holds 'z_2' and 'z_0', but not all of 'z_1'"):
        uw.minibatch(5)(q, [block(0, 2)])
    with pytest.raises(ValueError, match=r"holds 'z_1' and 'z_0', but not all of 'z_0'"):
        uw.minibatch(5)(q, [(("z_0", (0,)), ("z_1", (0,)))])


def test_a_step_alone_is_right_in_the_mean_for_other_items():
    """Component j at row i ≠ j, averaged over j's draws, is q(z_t|x_j).

    Within 4.5 standard errors (1 in 150,000).
    """
    of, draws = items(2), 20_000
    q = encode(of, samples=(draws,))
    at = torch.tensor([0.3, -0.2])
    found = q["z_2"].dist.log_prob(at)[:, 1].sum(-1).exp()
    exact = marginal(joint(of, 1), [4, 5]).log_prob(at).exp()
    assert (found.mean() - exact).abs() < 4.5 * found.std() / math.sqrt(draws)


def test_part_of_the_items_and_aligned_traces_keep_the_law():
    of = items(6)
    q = encode(of)
    some = torch.tensor([4, 1, 2])
    (log_q,) = uw.exact(q)(q.take(some), [block(*range(STEPS))])
    (whole,) = uw.exact(q)(q, [block(*range(STEPS))])
    same(log_q, whole[some])
    (among,) = uw.exact(q.take(some))(q, [block(*range(STEPS))])
    twin = torch.stack([joint(of, j).log_prob(path(q)) for j in some.tolist()], -1).logsumexp(-1)
    same(among, twin - math.log(3))


def test_classes_beside_a_chain():
    """A chain whose class is summed over: Σ_n Σ_k q(k|x_n) q(z_0|x_n, k) q(z_1|z_0, x_n)."""
    n, classes = 5, 3
    of, logits, shift = items(n), torch.randn(n, classes), torch.randn(classes, D)
    q = uw.Trace()
    y = q.categorical(logits, name="y")
    q.normal(of["b"][:, 0] + y @ shift, of["s"][:, 0], name="z_0")
    q.conditional(follow, "z_0", *(of[name][:, 1] for name in "abs"), name="z_1")
    log_q = uw.exact(q)(q.aligned(), [block(0, 1)], 1)[0]
    rows = torch.cat([q["z_0"].value, q["z_1"].value], -1)  # (classes, n, 2 D)
    twin = torch.stack(
        [
            logits[j].log_softmax(-1)[k]
            + Normal(of["b"][j, 0] + shift[k], of["s"][j, 0]).log_prob(rows[..., :D]).sum(-1)
            + follow(rows[..., :D], *(of[name][j, 1] for name in "abs"))
            .log_prob(rows[..., D:])
            .sum(-1)
            for j in range(n)
            for k in range(classes)
        ]
    )
    same(log_q, twin.logsumexp(0) - math.log(n))


def test_a_correlated_prior_raises_no_alarm_for_negative_correlations():
    """tc is less the prior's: under a chain's prior it may be below 0; mi and KL may not."""
    terms = {"tc[0]": (-3.0, 0.1), "kl[1]": (-1.0, 0.1)}
    assert len(breaches(terms, 100, "exact")) == 2
    assert [text.split()[0] for text in breaches(terms, 100, "exact", factorises=False)] == [
        "kl[1]"
    ]


def test_a_conditional_that_no_class_changes():
    """Beside two enumerated sites, a chain that depends on neither is the chain alone."""
    n = 4
    of = items(n)
    torch.manual_seed(3)
    q = uw.Trace()
    q.normal(of["b"][:, 0], of["s"][:, 0], name="z_0")
    q.categorical(torch.randn(n, 3), name="y")
    q.categorical(torch.randn(n, n), name="c")
    q.conditional(follow, "z_0", *(of[name][:, 1] for name in "abs"), name="z_1")
    alone = uw.Trace.of({name: q[name] for name in ("z_0", "z_1")})
    assert q["z_1"].value.shape == (n, D)
    together = uw.exact(q)(q.aligned(), [block(0, 1)], 2)[0]
    same(together.expand(n, 3, n)[2, 1], uw.exact(alone)(alone, [block(0, 1)], 0)[0])
