"""Each operation of page/network.js gives what torch gives, to 1e-4."""

import numpy as np
import pytest
import torch
from support.browsing import chromium, loaded
from support.explorer import session as small
from torch.nn import functional

from unweave.explorer import embedded

pytestmark = pytest.mark.slow

DRAWS = torch.Generator().manual_seed(0)


def some(*shape):
    return torch.randn(*shape, generator=DRAWS)


W, V, BIAS = some(6, 5), some(3, 4, 2), some(5)
KERNEL, TRANSPOSED = some(4, 2, 3, 3), some(2, 4, 4, 4)
PLACES = torch.tensor([2, 0, 5, 5, -1])


def images(z, transposed=False):
    """A convolution of z as images of two channels, or its transpose."""
    x = z.view(-1, 2, 3, 2)
    if transposed:
        return functional.conv_transpose2d(x, TRANSPOSED, stride=2, padding=1)
    return functional.conv2d(x, KERNEL, padding=1, stride=2)


# From z (n, 12), which the page has as a tensor (1, 12), to any shape.
OPERATIONS = {
    "addmm": lambda z: torch.addmm(BIAS, z[:, :6], W),
    "addmm of rows": lambda z: functional.linear(z.view(-1, 2, 6), W.T, BIAS),
    "mm": lambda z: z.view(-1, 6) @ W,
    "bmm": lambda z: torch.bmm(z.view(3, 1, 4), V),
    "cat": lambda z: torch.cat([z.view(-1, 3, 4), V[None, :, :, 0], 2 * z.view(-1, 3, 4)], 1),
    "stack": lambda z: torch.stack([z, z.exp(), z.neg()], 1),
    "stack last": lambda z: torch.stack([z, z.tanh()], -1),
    "permute": lambda z: z.view(-1, 2, 3, 2).permute(0, 3, 1, 2).contiguous(),
    "t": lambda z: (W.T @ z[:, :6].t()).t().contiguous(),
    "transpose": lambda z: z.view(-1, 3, 4).transpose(-1, -2).reshape(-1, 12),
    "convolution": lambda z: images(z),
    "its transpose": lambda z: images(z, transposed=True),
    "larger": lambda z: functional.interpolate(z.view(-1, 1, 3, 4), (7, 9), mode="bilinear"),
    "larger, corners kept": lambda z: functional.interpolate(
        z.view(-1, 1, 3, 4), (7, 9), mode="bilinear", align_corners=True
    ),
    "twice as large": lambda z: functional.interpolate(
        z.view(-1, 2, 3, 2), scale_factor=2, mode="bilinear"
    ),
    "select": lambda z: z.view(-1, 3, 4)[:, -1],
    "slice": lambda z: z.view(-1, 3, 4)[:, :, 1::2].exp(),
    "unbind": lambda z: z.view(-1, 4, 3).unbind(1)[2] * z.view(-1, 4, 3).unbind(1)[-1],
    "unbind last": lambda z: torch.mul(*z.view(-1, 6, 2).unbind(-1)),
    "chunk": lambda z: torch.sub(*z.chunk(2, -1)),
    "split": lambda z: z.view(-1, 6, 2).split(4, 1)[1].exp(),
    "split in parts": lambda z: z.split([3, 7, 2], -1)[1].tanh(),
    "index": lambda z: z[:, PLACES],
    "index of rows": lambda z: z.view(-1, 6, 2)[:, PLACES],
    "relu": lambda z: z.relu(),
    "sigmoid": lambda z: z.sigmoid(),
    "tanh": lambda z: z.tanh(),
    "exp": lambda z: z.exp(),
    "expm1": lambda z: (0.001 * z).expm1() * 1000,
    "log": lambda z: z.abs().log(),
    "log1p": lambda z: (0.001 * z).log1p() * 1000,
    "sqrt": lambda z: z.abs().sqrt(),
    "neg": lambda z: -z,
    "abs": lambda z: z.abs(),
    "softplus": lambda z: functional.softplus(20 * z, beta=2.0),
    "clamp": lambda z: z.clamp(-0.5, 0.7),
    "clamp_min": lambda z: z.clamp_min(-0.2),
    "clamp_max": lambda z: z.clamp_max(0.2),
    "softmax": lambda z: (30 * z).view(-1, 3, 4).softmax(1),
    "log_softmax": lambda z: (30 * z).log_softmax(-1),
    "logsumexp": lambda z: (30 * z).view(-1, 3, 4).logsumexp(1),
    "logsumexp, kept": lambda z: z.view(-1, 3, 4).logsumexp((1, 2), keepdim=True),
    "sum": lambda z: z.view(-1, 3, 4).sum(1),
    "sum of all": lambda z: z + z.sum(),
    "mean": lambda z: z.view(-1, 3, 2, 2).mean((-1, 1), keepdim=True),
    "add, broadcast": lambda z: z.view(-1, 6, 2) + W[:, :1],
    "sub": lambda z: z[:, :5] - BIAS,
    "rsub": lambda z: 1 - z,
    "mul": lambda z: z.view(-1, 3, 4) * V[:, :, 0],
    "div": lambda z: z[:, :5] / BIAS,
    "pow": lambda z: z**3,
    "lt and gt": lambda z: (z < 0.1) * 2.0 + (z > 0.5),
    "expand": lambda z: z.view(-1, 1, 12).expand(-1, 3, 12) * torch.arange(3.0).view(3, 1),
    "unsqueeze and squeeze": lambda z: z.unsqueeze(1).squeeze(1) + 1,
}

CARRY_OUT = """async ([network, constants, rows]) => {
  const { Network } = await import("network.js");
  const shapes = network.constants;
  const tensor = ([k, data]) => [k, { data: Float32Array.from(data), shape: shapes[k] }];
  const known = Object.fromEntries(Object.entries(constants).map(tensor));
  const sites = [{ classes: 0, shape: [1, 12] }];
  const net = new Network({ ...network, sites }, known);
  return rows.map((row) => Array.from(net.decode(row)));
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    file = folder / "page.html"
    embedded.export(file, small(folder))
    with chromium() as browser, loaded(browser, file.as_uri(), offline=True) as page:
        yield page


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_torchs(name, page):
    z = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    network, constants = embedded.written(OPERATIONS[name], [z])
    flat = {str(number): values.ravel().tolist() for number, values in constants.items()}
    found = page.evaluate(CARRY_OUT, [network, flat, z.tolist()])
    expected = [OPERATIONS[name](row[None]).ravel().numpy() for row in z]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_every_operation_is_tried():
    z = torch.ones(2, 12)
    tried = set()
    for operation in OPERATIONS.values():
        network, _ = embedded.written(operation, [z])
        tried |= {step["operation"] for step in network["steps"]}
    assert tried >= embedded.KNOWN - embedded.SAME


def test_what_rounds_is_refused():
    with pytest.raises(ValueError, match=r"does not know its operations to torch\.int64"):
        embedded.written(lambda z: z.long() + z, [torch.ones(2, 12)])
