"""Expectations under q(z|x, y) by importance weights: against the sum written out, and against
quadrature.
"""

import math

import pytest
import torch

import unweave as uw
from unweave.models import hfvae

CLASSES, S, B = 3, 6, 5


def programs(samples, y, order="zy", temperature=None, seed=0):
    torch.manual_seed(seed)
    model = hfvae(
        (4,), hidden=(7, 6), classes=CLASSES, normals=2, temperature=temperature, order=order
    ).double()
    x = torch.rand(B, 4, dtype=torch.float64).expand(samples, B, 4)
    with torch.no_grad():
        return model(x, y=y.expand(samples, B))


@pytest.mark.parametrize("temperature", [None, 0.66])
def test_weights_are_written_out(temperature):
    """Given, missing, given, …: each item's mean over samples with weights of its own."""
    y = torch.tensor([0, -1, 2, 1, -1])
    q, p = programs(S, y, temperature=temperature)
    d = uw.Densities(q, p, groups=("y", "z"), batch_dim=1)
    plain, log_q = d.score(uw.elbo), d[uw.Atom("label")]
    found = d.score(uw.conditioned(uw.elbo))
    for b in range(B):
        if y[b] < 0:
            torch.testing.assert_close(found[:, b], plain[:, b], rtol=1e-12, atol=1e-12)
            continue
        w = log_q[:, b].exp() / sum(float(t) for t in log_q[:, b].exp())
        expected = sum(float(w[s]) * float(plain[s, b]) for s in range(S))
        assert math.isclose(float(found[:, b].mean()), expected, rel_tol=1e-12)


def test_y_before_z_has_equal_weights():
    q, p = programs(S, torch.zeros(B, dtype=torch.long), order="yz")
    d = uw.Densities(q, p, groups=("y", "z"), batch_dim=1)
    torch.testing.assert_close(
        d.score(uw.conditioned(uw.elbo)), d.score(uw.elbo), rtol=1e-12, atol=1e-12
    )


def test_one_sample_is_the_form_itself():
    q, p = programs(1, torch.zeros(B, dtype=torch.long))
    d = uw.Densities(q, p, groups=("y", "z"), batch_dim=1)
    torch.testing.assert_close(
        d.score(uw.conditioned(uw.elbo)), d.score(uw.elbo), rtol=1e-12, atol=1e-12
    )


def test_estimates_the_posterior_mean():
    """z ~ N(0, 1), q(y=1|z) = sigmoid(2z): E[z|y=1] by quadrature, and by weights on 200,000 draws
    (5 errors).
    """
    torch.manual_seed(0)
    n = 200_000
    q, p = uw.Trace(), uw.Trace()
    z = q.normal(torch.zeros(n, 1, dtype=torch.float64), 1.0, name="z")
    q.categorical(torch.stack([-z, z], -1), value=torch.ones(n, 1, dtype=torch.long), name="y")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.categorical(torch.zeros(2, dtype=torch.float64), value=q["y"], name="y")
    p.factor(z, name="f")
    d = uw.Densities(q, p, batch_dim=1)
    value = d.score(uw.conditioned(uw.recon))
    at = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    density = (-at.square() / 2).exp() * torch.sigmoid(2 * at)
    expected = float((at * density).sum() / density.sum()) - math.log(2)
    assert math.isclose(float(value.mean()), expected, abs_tol=5 / math.sqrt(n))


def test_schedules_and_formulas():
    form = uw.formula("conditioned(elbo + ramp(0, 2, last=10) * mi.of('y')) + 50*label")
    assert form.at(10) == uw.conditioned(uw.elbo + 2 * uw.mi.of("y")) + 50 * uw.label
    assert "E_q(z|x,y)[" in str(form)


def test_trains(tmp_path):
    """Style first, two samples, labels of some items: the encoder learns to name the digits of new
    ones.
    """
    data, test = uw.data.digits(), uw.data.digits("test")
    recipe = uw.Recipe(
        name="few",
        data=data.with_labels("digit", 200),
        test=test,
        model=lambda: hfvae((8, 8), (64, 32), temperature=None, order="zy"),
        objective=uw.conditioned(uw.elbo) + 20 * uw.label,
        groups=("y", "z"),
        labels={"y": "digit"},
        labelled=30,
        samples=2,
        epochs=12,
        batch=100,
        lr=3e-3,
    )
    model = uw.fit(recipe, tmp_path / "run", evaluate=False, quiet=True).model
    wrong = (
        model.posterior(test.x)["y"].dist.logits.argmax(-1).numpy() != test.factors[:, 0]
    ).mean()
    assert wrong < 0.25
