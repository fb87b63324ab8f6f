"""Concrete rows under Concrete components, against the distribution's own density and autograd."""

import math

import pytest
import torch
from support.programs import float64, same  # noqa: F401

from unweave.fused.relaxed import HOTTEST, RelaxedChunk
from unweave.trace.concrete import Concrete

K = 4


def plain(temperature, y, logits, inward):
    """Densities (rows, C) of each pair alone, and the gradients of Σ inward · density."""
    y, logits = y.clone().requires_grad_(), logits.clone().requires_grad_()
    rows, components = torch.broadcast_tensors(y[:, None], logits)  # (rows, C, K)
    density = Concrete(components, temperature).log_prob(rows)
    return density.detach(), torch.autograd.grad(density, (y, logits), inward)


def by_products(temperature, y, logits, inward, keep=None):
    """The same by `RelaxedChunk`, as the second of two sets."""
    tensors = [torch.stack([torch.full_like(t, 0.25), t]) for t in (y, logits)]
    sinks = [torch.zeros_like(t) for t in tensors]
    rows = slice(0, len(y))
    chunk = RelaxedChunk(temperature, keep, 1, rows, tensors, sinks)
    chunk.pull(inward)
    assert not any(sink[0].any() for sink in sinks)
    return chunk.density, [sink[1] for sink in sinks]


@pytest.mark.parametrize("temperature", [0.1, 0.66, HOTTEST])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_of_wide_logits_and_exact_zeros(temperature, dtype):
    logits = (20 * torch.randn(6, K)).to(dtype)
    corners = torch.tensor([[0.0, 1e-44, 0.5, 0.5]])
    y = torch.cat([torch.eye(K), torch.rand(2, K).softmax(-1), corners]).to(dtype)
    inward = torch.rand(7, 6, dtype=dtype)
    density, gradients = plain(temperature, y, logits, inward)
    ours, found = by_products(temperature, y, logits, inward)
    eps, least = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    size = K * (-(temperature + 1) * math.log(least) + logits.abs().max().item())  # of the summands
    torch.testing.assert_close(ours, density, rtol=0, atol=4 * eps * size)
    for one, other in zip(found, gradients, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e3 * eps, atol=1e3 * eps)


@pytest.mark.parametrize("temperature", [0.66, HOTTEST])
def test_gradients_are_finite_where_terms_are_far_apart(temperature):
    """float32, 100 saturated rows whose class is the components' only likely one."""
    logits = torch.tensor([[0.0, -88.0, -88.0]] * 2, dtype=torch.float32)
    y = torch.eye(3, dtype=torch.float32)[:1].expand(100, 3)
    inward = torch.ones(100, 2, dtype=torch.float32)
    _, (_, expected) = plain(temperature, y, logits, inward)
    _, (_, found) = by_products(temperature, y, logits, inward)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_rows_that_are_not_latent_have_no_density_and_no_gradient():
    y, logits, inward = torch.randn(5, K).softmax(-1), torch.randn(3, K), torch.randn(5, 3)
    keep = torch.tensor([[True] * 5, [True, False, True, True, False]])
    density, gradients = plain(0.5, y, logits, inward * keep[1][:, None])
    ours, found = by_products(0.5, y, logits, inward, keep)
    same(ours, density * keep[1][:, None])
    for one, other in zip(found, gradients, strict=True):
        same(one, other)
