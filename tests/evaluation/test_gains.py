"""Information in single units, where a program draws them given other latents."""

import math

import pytest
import torch
from torch import nn

import unweave as uw
from unweave.evaluation.gains import gains
from unweave.models import Model

N = 600


class Encoder(nn.Module):
    """y uniform on three classes whatever x is, z = 6 times the class, and `share` of x in w."""

    def __init__(self, discrete, share=0.0):
        super().__init__()
        self.discrete, self.share = discrete, share

    def forward(self, x, y=None):
        q = uw.Trace()
        logits = torch.zeros(len(x), 3)
        if self.discrete == "concrete":
            y = q.concrete(logits, 0.1, value=y, name="y")
        else:
            y = q.categorical(logits, value=y, name="y")
        centre = (y * torch.tensor([0.0, 6.0, 12.0])).sum(-1, keepdim=True)
        q.normal(centre + self.share * x, 1.0, name="z")
        q.normal(x, 0.5, name="w")
        return q


class Decoder(nn.Module):
    def forward(self, x, q):
        p = uw.Trace()
        if "y" in q:
            p.sample(type(q["y"].dist)(torch.zeros(3), 0.1), value=q["y"], name="y") if isinstance(
                q["y"].dist, uw.Concrete
            ) else p.categorical(torch.zeros(3), value=q["y"], name="y")
        p.normal(0.0, 9.0, value=q["z"], name="z")
        p.normal(0.0, 1.0, value=q["w"], name="w")
        return p


def found(discrete, share=0.0):
    torch.manual_seed(0)
    x = torch.randn(N, 1)
    model = Model(Encoder(discrete, share), Decoder())
    with torch.no_grad():
        q = model.encoder(x)
        rows = q.draw()
        d = uw.Densities(rows, model.decoder(x, rows), aggregate=uw.exact(q))
        return gains(model, x, q, d, ["y", "z[0]", "w[0]"])


@pytest.mark.parametrize("discrete", ["concrete", "categorical"])
def test_a_unit_that_ignores_x_carries_nothing(discrete):
    """It was given I(x, y; z), 1.7 nats or more, where y is relaxed.

    q(z) sums over N draws of y, and q(z|x) over as many as the module says, so the mean of the
    difference of logarithms is below 0.03 in size for three classes.
    """
    carried = found(discrete)
    assert abs(float(carried["z[0]"].mean())) < 0.03
    assert abs(float(carried["y"].mean())) < 0.01


@pytest.mark.parametrize("discrete", ["concrete", "categorical"])
def test_what_a_unit_carries_beside_the_class(discrete):
    """I(x; z) of z = 6k + 0.5 x + noise: that of a Gaussian channel, as the classes lie far apart.

    Three standard errors over 500 rows, one way in 370 to fail by chance, and 0.03 for the above.
    """
    carried = found(discrete, share=0.5)
    for unit, exact in (("z[0]", 0.5 * math.log(1 + 0.25)), ("w[0]", 0.5 * math.log(1 + 4))):
        values = carried[unit]
        error = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean()) - exact) < 3 * error + 0.03


class Steps(nn.Module):
    """z_0 given x, then z_1 given z_0, which every third item lacks."""

    def forward(self, x):
        q = uw.Trace()
        before = q.normal(x, 1.0, name="z_0")
        q.normal(before + x, 0.5, name="z_1", where=torch.arange(len(x)) % 3 > 0)
        return q


class Prior(nn.Module):
    def forward(self, x, q):
        p = uw.Trace()
        for site in ("z_0", "z_1"):
            p.normal(0.0, 1.0, value=q[site], name=site)
        return p


@torch.no_grad()
def test_an_entry_that_does_not_exist_carries_nothing():
    """An integral over the absent draw's density is no part of q(z|x); with it, nats were added."""
    torch.manual_seed(0)
    x = torch.randn(60, 1)
    model = Model(Steps(), Prior())
    q = model.encoder(x)
    d = uw.Densities(q, model.decoder(x, q), aggregate=uw.exact(q))
    carried = gains(model, x, q, d, ["z_1[0]"])["z_1[0]"]
    absent = torch.arange(60) % 3 == 0
    torch.testing.assert_close(carried[absent], torch.zeros(20))
    assert float(carried[~absent].mean()) > 0.1
