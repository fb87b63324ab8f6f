"""Classes without weight: a logit of −∞, as a masked softmax has, adds nothing to any term."""

import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401
from torch.distributions import Independent, MultivariateNormal, Normal

import unweave as uw

TERMS = {
    "recon": uw.recon, "mi": uw.mi, "tc": uw.tc[0], "units": uw.kl[-1], "kl": uw.kl[0],
    "elbo": uw.elbo, "beta": uw.beta_vae(12), "hfvae": uw.hfvae(1, 12, 4), "mi of y": uw.mi.of("y"),
    "mi of z": uw.mi.of("z"), "kl of y": uw.kl[0].of("y"),
}  # fmt: skip
MASKS = {
    "some items": torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1]]) > 0,
    "all items": torch.tensor([[0, 1, 0]] * 5) > 0,
}


class Program:
    """y of three classes, z given y, x given both, in parameters that carry gradients."""

    def __init__(self, correlated=False, lead=(5,)):
        torch.manual_seed(0)
        self.raw = torch.randn(5, 3, requires_grad=True)
        self.mean = torch.randn(5, 2, requires_grad=True)
        self.means, self.noise = torch.randn(3, 2), torch.randn(*lead, 2)
        self.correlated, self.lead = correlated, lead

    def traces(self, mask, instead, prior=0.0):
        """The program with the masked logits replaced, at the same draws."""
        q, p = uw.Trace(), uw.Trace()
        logits = torch.where(mask, instead, self.raw).expand(*self.lead, 3)
        y = q.categorical(logits, name="y")
        dist = Independent(Normal(self.mean + y @ self.means, 0.5), 1)
        if self.correlated:
            dist = MultivariateNormal(dist.mean, torch.eye(2) * 0.3 + 0.1)
        torch.manual_seed(1)
        q.sample(dist, name="z")
        p.categorical(torch.where(mask, prior, 0.0), value=q["y"], name="y")
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        p.normal(z, 1.0, value=torch.ones(*self.lead, 2), name="x")
        return q, p

    def scored(self, form, q, p, **more):
        value = form(q, p, batch_dim=len(self.lead) - 1, **more)
        inputs = [self.raw, self.mean]
        gradients = torch.autograd.grad(value.sum(), inputs, allow_unused=True, retain_graph=True)
        return value, [g for g in gradients if g is not None]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("name", TERMS)
def test_a_class_without_weight_adds_nothing(name, correlated, mask):
    """Values and gradients are those of a weight of e⁻⁸⁰⁰, which is 0 in float64."""
    program = Program(correlated)
    q, p = program.traces(mask, -math.inf)
    twin = program.traces(mask, -800.0)
    for kl in ("closed", "sampled"):
        for aggregate in (uw.minibatch(9), uw.minibatch(5), uw.exact):
            by = aggregate(q) if aggregate is uw.exact else aggregate
            its = aggregate(twin[0]) if aggregate is uw.exact else aggregate
            value, gradients = program.scored(TERMS[name], q, p, aggregate=by, kl=kl)
            wanted, others = program.scored(TERMS[name], *twin, aggregate=its, kl=kl)
            same(value, wanted)
            for gradient, other in zip(gradients, others, strict=True):
                same(gradient, other)


@pytest.mark.parametrize("name", TERMS)
def test_a_class_that_no_item_has_might_as_well_not_be_there(name):
    program, mask = Program(), MASKS["all items"]
    q, p = program.traces(mask, -math.inf, prior=-math.inf)
    whole, _ = program.scored(TERMS[name], q, p, aggregate=uw.exact(q))
    kept = [0, 2]
    less, prior = uw.Trace(), uw.Trace()
    y = less.categorical(program.raw[:, kept], name="y")
    less.sample(Independent(Normal(program.mean + y @ program.means[kept], 0.5), 1), name="z")
    z = q["z"].value[kept]
    node = less["z"]
    less._nodes["z"] = uw.Node(z, node.role, node.dist, axes=node.axes, classes=1)
    prior.categorical(torch.zeros(5, 2), value=less["y"], name="y")
    z = prior.normal(0.0, 1.0, value=less["z"], name="z")
    prior.normal(z, 1.0, value=torch.ones(5, 2), name="x")
    same(whole, TERMS[name](less, prior, aggregate=uw.exact(less)))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_rows_with_drawn_classes_meet_classes_without_weight(mask):
    program = Program()
    q, _ = program.traces(mask, -math.inf)
    twin, _ = program.traces(mask, -800.0)
    torch.manual_seed(2)
    drawn = q.draw()
    prior = uw.Trace()
    prior.categorical(torch.zeros(5, 3), value=drawn["y"], name="y")
    prior.normal(0.0, 1.0, value=drawn["z"], name="z")
    for form in (uw.mi, uw.tc[0], uw.kl[-1], uw.mi.of("y")):
        with torch.no_grad():
            one, other = (form(drawn, prior, aggregate=uw.exact(each)) for each in (q, twin))
        same(one, other)
        assert one.isfinite().all()


def test_the_evidence_counts_the_classes_that_are_weighted():
    """It is the log of the mean over draws of Σ_k p(x, z, k) / q(z|x, k) over those classes."""
    program, mask = Program(lead=(7, 5)), MASKS["some items"]
    q, p = program.traces(mask, -math.inf)
    value, gradients = program.scored(uw.evidence, q, p)
    log_x = p["x"].log_prob.sum(-1)
    log_w = log_x + p["z"].log_prob.sum(-1) - q["z"].log_prob - math.log(3)  # (classes, 7, 5)
    log_w = log_w.masked_fill(mask.T[:, None], -math.inf)
    same(value, (log_w.logsumexp((0, 1)) - math.log(7)).expand(7, 5))
    assert all(g.isfinite().all() for g in gradients)
