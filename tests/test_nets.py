"""Network parts against torch's own operations, item by item, and which pixels they see."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unweave as uw
from unweave.models.views import Views

SHAPES = [(8, 8), (28, 28), (11, 16, 3), (37, 18), (64, 64)]
STILL = {"rotation": 0.0, "shear": 0.0, "zoom": 0.0, "shift": 0.0, "width": 0.0, "dim": 0.0}


def positive(net):
    """All weights positive: no ReLU is off, and no two paths cancel."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.abs_().add_(1e-3)
    return net.double()


@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions_see_every_pixel(shape):
    torch.manual_seed(0)
    net = positive(uw.nets.conv(shape, 3, channels=4))
    x = torch.rand(1, int(np.prod(shape)), dtype=torch.double)
    assert (torch.autograd.functional.jacobian(net, x).reshape(3, -1) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_is_drawn_from_every_number(shape):
    torch.manual_seed(0)
    net = positive(uw.nets.deconv(2, shape, channels=4))
    drawn = torch.autograd.functional.jacobian(net, torch.rand(1, 2, dtype=torch.double))
    assert (drawn.reshape(-1, 2) > 0).all()


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_leading_dimensions_are_items_one_by_one(shape):
    torch.manual_seed(0)
    pixels = int(np.prod(shape))
    for net, size in ((uw.nets.conv(shape, 3), pixels), (uw.nets.deconv(5, shape), 5)):
        x = torch.rand(2, 3, size)
        whole = net(x)
        each = torch.stack(
            [torch.stack([net(x[i, j][None])[0] for j in range(3)]) for i in range(2)]
        )
        torch.testing.assert_close(whole, each, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_convolutions_are_torchs_with_colours_last():
    """At 8 pixels a side there is one layer: written out in torch's own words, with the colours
    moved to the front.
    """
    net = uw.nets.conv((8, 8, 3), 6, channels=4)
    first, last = (part for part in net.modules() if isinstance(part, nn.Conv2d | nn.Linear))
    x = torch.rand(5, 8, 8, 3)
    h = F.conv2d(x.permute(0, 3, 1, 2), first.weight, first.bias, stride=2, padding=1).relu()
    torch.testing.assert_close(net(x.flatten(1)), last(h.flatten(1)))

    back = uw.nets.deconv(2, (8, 8, 3), channels=4)
    first, last = (
        part for part in back.modules() if isinstance(part, nn.Linear | nn.ConvTranspose2d)
    )
    z = torch.rand(5, 2)
    h = first(z).relu().unflatten(1, (4, 4, 4))
    x = F.conv_transpose2d(h, last.weight, last.bias, stride=2, padding=1)
    torch.testing.assert_close(back(z).unflatten(1, (8, 8, 3)), x.permute(0, 2, 3, 1))


@torch.no_grad()
@pytest.mark.parametrize("lead", [(), (5,), (2, 1, 3)])
@pytest.mark.parametrize("dims", [1, 3])
def test_layers_of_one_batch_dimension_are_applied_item_by_item(dims, lead):
    weight = torch.randn(6, 5)
    layer, item = {
        1: (lambda x: torch.mm(x, weight), (6,)),  # matrices alone
        3: (nn.Conv2d(3, 4, 3), (3, 8, 9)),
    }[dims]
    x = torch.randn(*lead, *item)
    found = uw.nets.batch_apply(layer, x, dims=dims)
    each = torch.stack([layer(one[None])[0] for one in x.reshape(-1, *item)])
    torch.testing.assert_close(found, each.reshape(*lead, *each.shape[1:]))


# -- windows about the mass ------------------------------------------------------------------------


def square(side, across, down, brightness=1.0, frame=96):
    """A filled square about a point, which lies between pixels."""
    x = torch.zeros(1, frame, frame)
    x[0, down - side // 2 : down + side // 2, across - side // 2 : across + side // 2] = brightness
    return x


def blob(sigma, across, down, frame=96):
    at = torch.arange(frame) + 0.5
    return (-((at - across) ** 2 + ((at - down) ** 2)[:, None]) / (2 * sigma**2)).exp()[None]


def test_a_square_fills_the_same_part_of_its_window_wherever_it_is_and_however_large():
    """A window of 2.2 sides has eight columns, of which the middle four lie within the square:
    1.1·(2i + 1)/8 < 0.5.

    The nearest to an edge is 0.0875 sides away, over a pixel at 12 pixels a side: interpolation
    does not blur it.
    """
    view = Views(**STILL, window=8)
    want = torch.zeros(8, 8)
    want[2:6, 2:6] = 1
    for side in (12, 20, 28):
        for across, down in ((48, 48), (20, 70), (81, 15)):
            seen = view(square(side, across, down), still=True)[0]
            torch.testing.assert_close(seen, want, rtol=0, atol=1e-4)


def test_a_blob_shifted_by_whole_pixels_gives_the_same_window():
    view = Views(**STILL, window=16)
    here, there = (view(blob(4.0, *at), still=True) for at in ((48.0, 48.0), (40.0, 57.0)))
    torch.testing.assert_close(here, there, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sigma", [4.0, 6.0, 8.0])
def test_a_window_shows_a_blob_in_units_of_its_size(sigma):
    """The mass of a Gaussian is 2πσ²: a window's half side is 1.1·√(2π) σ. Bilinear interpolation
    between pixels errs by at most 1/8 of the second derivative a dimension, 1/(4σ²) in all.
    """
    half = 1.1 * np.sqrt(2 * np.pi)
    at = half * (torch.arange(16) * 2 + 1 - 16) / 16
    want = (-(at**2 + (at**2)[:, None]) / 2).exp()
    seen = Views(**STILL, window=16)(blob(sigma, 48.0, 48.0), still=True)[0]
    assert (seen - want).abs().max() <= 1 / (4 * sigma**2)


def test_views_without_change_are_still():
    x = torch.cat([blob(5.0, 30.0, 60.0), square(12, 40, 40)])
    view = Views(**STILL, window=16)
    assert torch.equal(view(x), view(x, still=True))
    assert torch.equal(Views()(x, still=True), x)  # without a window, the image itself
    assert not torch.equal(Views()(x), x)
