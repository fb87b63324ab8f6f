r"""State-space models of sequences of images: a latent site z_0, z_1, … for each frame.

.. math:: p(x, z) = \prod_t p(z_t | z_{t-1}) \, p(x_t | z_t), \quad
    q(z | x) = \prod_t q(z_t | z_{t-1}, x_{t:T})

The posterior is structured as the exact one is: given z_{t-1}, z_t depends only on the frames that
follow. Messages from the end of the sequence carry them: a recurrent network's, or in the
linear-Gaussian model exact ones. Items are (T, h, w); frames of NaN are missing. A sequence ends
with the last frame that is not, and z_t beyond it does not exist; where frames are missing within,
z_t is there all the same. A program runs as long as its data, or the trace it reads.

Sources: Krishnan, Shalit and Sontag, "Structured Inference Networks for Nonlinear State Space
Models" (2017); Johnson, Duvenaud, Wiltschko, Adams and Datta, "Composing graphical models with
neural networks" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from ..arguments import Size
from ..nets import mlp, scale
from ..trace.trace import Trace
from .chains import Quadratic, combined, forward_backward, linear_messages, passed
from .model import Model, family


def frames(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return frames (…, T, h·w), zeros where missing, and which are seen (…, T)."""
    flat = x.flatten(-2)  # (…, T, h·w)
    seen = ~flat.isnan().any(-1)
    return torch.where(seen.unsqueeze(-1), flat, 0.0), seen


def lasting(seen: Tensor) -> Tensor:
    """Return which steps (…, T) are not beyond the last frame seen."""
    backward = seen.flip(-1)
    return backward.cummax(-1).values.flip(-1)


class _Frame(nn.Module):
    """The program p(x_t | z_t): Normal about a network of z_t, with one learned scale.

    All frames of a sequence are one site.
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        self.mean = mlp([normals, hidden, 2 * hidden, math.prod(self.size)])
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def forward(self, p: Trace, z: Tensor, x: Tensor | None) -> None:
        mean = self.mean(z).unflatten(-1, self.size)  # (…, T, h, w)
        observe(p, mean, scale(self.log_scale), x)


def observe(p: Trace, mean: Tensor, sd: Tensor, x: Tensor | None) -> None:
    """Add the site x, Normal, whose missing frames are not observed."""
    seen = None if x is None else frames(x)[1]
    p.normal(mean, sd, value=x, observed=seen, name="x")


class _Backward(nn.Module):
    """The program Π_t q(z_t | z_{t-1}, x_{t:T}), by a recurrent network.

    It reads the frames from the last to the first; a missing one changes nothing.
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(normals))
        pixels = math.prod(shape[-2:])
        self.read = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU())
        self.cell = nn.GRUCell(hidden, hidden)
        self.before = nn.Linear(normals, hidden)
        self.z_mean = nn.Linear(hidden, normals)
        self.z_log_scale = nn.Linear(hidden, normals)

    def forward(self, x: Tensor) -> Trace:
        q = Trace()
        flat, seen = frames(x)
        first, *rest = zip(self.messages(flat, seen), lasting(seen).unbind(-1), strict=True)
        h, there = first
        q.sample(self.step(self.start, h), name="z_0", where=there)
        for t, (h, there) in enumerate(rest, start=1):
            q.conditional(self.step, f"z_{t - 1}", h, name=f"z_{t}", where=there)
        return q

    def step(self, z: Tensor, h: Tensor) -> Normal:
        """Return q(z_t | z_{t-1}, h_t)."""
        h = 0.5 * (torch.tanh(self.before(z)) + h)
        return Normal(self.z_mean(h), scale(self.z_log_scale(h)), validate_args=False)

    def messages(self, x: Tensor, seen: Tensor) -> list[Tensor]:
        """Return for every t a summary (…, hidden) of x_{t:T}."""
        read = self.read(x)  # (…, T, hidden)
        after = x.new_zeros(*x.shape[:-2], self.cell.hidden_size)  # (…, hidden)
        back = []
        for t in reversed(range(x.shape[-2])):
            now = read[..., t, :].flatten(0, -2)  # (n, hidden)
            h = self.cell(now, after.flatten(0, -2)).view_as(after)
            after = torch.where(seen[..., t, None], h, after)
            back.append(after)
        back.reverse()
        return back


class _Gated(nn.Module):
    """Mean and standard deviation of p(z_t | z_{t-1}), by a gate.

    It is between a linear step, which begins as the identity, and a network's.
    """

    def __init__(self, normals: int, hidden: int) -> None:
        super().__init__()
        sizes = [normals, hidden, normals]
        self.gate = mlp(sizes)
        self.curved = mlp(sizes)
        self.straight = nn.Linear(normals, normals)
        self.log_scale = nn.Linear(normals, normals)
        nn.init.eye_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        gate, curved = self.gate(z).sigmoid(), self.curved(z)
        mean = (1 - gate) * self.straight(z) + gate * curved
        return mean, scale(self.log_scale(curved.relu()) - 1)


class _Markov(nn.Module):
    """The program p(z_0) = N(0, I), p(z_t | z_{t-1}) gated, p(x | z) frame by frame."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.step, self.frame = _Gated(normals, hidden), _Frame(shape, normals, hidden)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        z = p.normal(0.0, 1.0, value=q["z_0"], name="z_0")
        path = [z]
        for t in range(1, len(q)):
            mean, sd = self.step(z)
            site = f"z_{t}"
            z = p.normal(mean, sd, value=q[site], name=site)
            path.append(z)
        self.frame(p, torch.stack(path, -2), x)
        return p


class _Switching(nn.Module):
    r"""The program p(z_t | z_{t-1}, s_t) = N(A_s z_{t-1} + b_s, diag σ_s²), s_t summed out.

    s_t is a Markov chain. Σ_s is exact: p(z_t | z_{<t}) = Σ_k p(s_t = k | z_{<t}) N(z_t; A_k
    z_{t-1} + b_k, σ_k²), a mixture whose weights the forward messages of the chain give, so the
    product over t is p(z).
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int, states: int) -> None:
        super().__init__()
        self.frame = _Frame(shape, normals, hidden)
        differences = 0.1 * torch.randn(states, normals, normals)
        self.a = nn.Parameter(torch.eye(normals) + differences)
        self.b = nn.Parameter(0.1 * torch.randn(states, normals))
        self.log_scale = nn.Parameter(torch.full((states, normals), -1.0))
        self.log_initial = nn.Parameter(torch.zeros(states))
        self.log_transition = nn.Parameter(3 * torch.eye(states))

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        log_s, log_transition = self.chain()
        z = p.normal(0.0, 1.0, value=q["z_0"], name="z_0")
        path = [z]
        for t in range(1, len(q)):
            steps = self.step(z)
            state = Categorical(logits=log_s.expand(steps.batch_shape), validate_args=False)
            mixture = MixtureSameFamily(state, steps, validate_args=False)
            site = f"z_{t}"
            z = p.sample(mixture, q[site], name=site)
            path.append(z)
            joint = log_s + steps.log_prob(z.unsqueeze(-2))  # (…, K)
            log_s = passed(joint.log_softmax(-1), log_transition)
        self.frame(p, torch.stack(path, -2), x)
        return p

    def step(self, z: Tensor) -> Independent[Normal]:
        """Return the states' p(z_t | z_{t-1}, s_t) for z_{t-1} (…, D): Normals over (…, K)."""
        turned = (self.a @ z[..., None, :, None]).squeeze(-1)  # (…, K, D)
        each = Normal(turned + self.b, scale(self.log_scale), validate_args=False)
        return Independent(each, 1, validate_args=False)

    def chain(self) -> tuple[Tensor, Tensor]:
        """Return log p(s_1) (K,) and log p(s_t | s_{t-1}) (K, K)."""
        return self.log_initial.log_softmax(-1), self.log_transition.log_softmax(-1)

    def states(self, z: Tensor) -> Tensor:
        """Recover log p(s_t | z) (…, T − 1, K) from a path (…, T, D), by forward-backward.

        The states are those of the steps into z_1, …, z_{T-1}.
        """
        before, after = z[..., :-1, :], z[..., 1:, None, :]
        scores = self.step(before).log_prob(after)  # (…, T − 1, K)
        _, log_states = forward_backward(scores, *self.chain())
        return log_states


class _Linear(nn.Module):
    """The program of a linear dynamical system.

    p(z_0) = N(m, diag s²), p(z_t | z_{t-1}) = N(A z_{t-1} + b, I), p(x_t | z_t) = N(C z_t + d, σ²).
    """

    def __init__(self, shape: Sequence[int], normals: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        pixels = math.prod(self.size)
        self.a = nn.Parameter(0.9 * torch.eye(normals))
        self.b = nn.Parameter(torch.zeros(normals))
        self.emit = nn.Parameter(torch.randn(pixels, normals) / normals)
        self.d = nn.Parameter(torch.zeros(pixels))
        self.m = nn.Parameter(torch.zeros(normals))
        self.log_s = nn.Parameter(torch.zeros(normals))
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        z = p.normal(self.m, scale(self.log_s), value=q["z_0"], name="z_0")
        path = [z]
        for t in range(1, len(q)):
            mean = z @ self.a.mT + self.b
            site = f"z_{t}"
            z = p.normal(mean, 1.0, value=q[site], name=site)
            path.append(z)
        z = torch.stack(path, -2)  # (…, T, normals)
        pixels = z @ self.emit.mT + self.d  # (…, T, h·w)
        mean = pixels.unflatten(-1, self.size)
        observe(p, mean, scale(self.log_scale), x)
        return p


class _Exact(nn.Module):
    """The exact posterior Π_t p(z_t | z_{t-1}, x_{t:T}) of the linear model, by messages.

    It is the posterior, so log p(x, z) − log q(z|x), the ELBO at any draw, is log p(x).
    """

    def __init__(self, p: _Linear) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Trace:
        q, p = Trace(), self.p
        flat, seen = frames(x)
        sigma = scale(p.log_scale)
        messages = linear_messages(flat, seen, p.a, p.b, p.emit, p.d, sigma)
        first, *rest = lasting(seen).unbind(-1)
        posterior = _posterior(messages.at(0), p.m, scale(p.log_s))
        q.sample(posterior, name="z_0", where=first)
        for t, there in enumerate(rest, start=1):
            message = messages.at(t)
            q.conditional(self.step, f"z_{t - 1}", *message, name=f"z_{t}", where=there)
        return q

    def step(self, z: Tensor, j: Tensor, h: Tensor, c: Tensor) -> MultivariateNormal:
        """Return p(z_t | z_{t-1}, x_{t:T})."""
        p = self.p
        mean, sd = z @ p.a.mT + p.b, torch.ones_like(p.b)
        return _posterior(Quadratic(j, h, c), mean, sd)


def _posterior(message: Quadratic, loc: Tensor, scale: Tensor) -> MultivariateNormal:
    """Return N(z; loc, scale²) exp(message(z)), normalised."""
    mean, root, _ = combined(message, loc, scale)
    return MultivariateNormal(mean, precision_matrix=root @ root.mT, validate_args=False)


class _Alone(nn.Module):
    """The program Π_t q(z_t | x_t), every frame by itself, with one site z (T, normals)."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        pixels = math.prod(shape[-2:])
        self.h = nn.Sequential(*mlp([pixels, hidden, hidden]), nn.ReLU())
        self.z_mean = nn.Linear(hidden, normals)
        self.z_log_scale = nn.Linear(hidden, normals)

    def forward(self, x: Tensor) -> Trace:
        q = Trace()
        flat, seen = frames(x)
        h = self.h(flat)  # (…, T, hidden)
        sd = scale(self.z_log_scale(h))
        q.normal(self.z_mean(h), sd, name="z", where=seen)
        return q


class _Frames(nn.Module):
    """The program p(z) = N(0, I), p(x | z) frame by frame."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.frame = _Frame(shape, normals, hidden)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        self.frame(p, z, x)
        return p


@family
def deep_markov(shape: Sequence[Size], normals: Size = 8, hidden: Size = 128) -> Model:
    """The deep Markov model with its structured posterior (Krishnan et al., 2017).

    Args:
        shape: Frames T, height and width of a sequence.
        normals: Units of z_t.
        hidden: Units of the hidden layers.
    """
    return Model(_Backward(shape, normals, hidden), _Markov(shape, normals, hidden), sequences=True)


@family
def switching_linear(
    shape: Sequence[Size], normals: Size = 8, hidden: Size = 128, states: Size = 8
) -> Model:
    """A switching linear dynamical system under a network of images, its states summed out exactly.

    It is after the model of Johnson et al. (2016) for mice, with the structured posterior of the
    deep Markov model in place of conjugate potentials. `decoder.states(z)` recovers the states from
    a path.

    Args:
        shape: Frames T, height and width of a sequence.
        normals: Units of z_t.
        hidden: Units of the hidden layers.
        states: Discrete states.
    """
    return Model(
        _Backward(shape, normals, hidden),
        _Switching(shape, normals, hidden, states),
        sequences=True,
    )


@family
def linear_dynamics(shape: Sequence[Size], normals: Size = 16) -> Model:
    """A linear dynamical system on pixels with its exact posterior.

    Every draw of the ELBO is log p(x).

    Args:
        shape: Frames T, height and width of a sequence.
        normals: Units of z_t.
    """
    p = _Linear(shape, normals)
    return Model(_Exact(p), p, sequences=True)


@family
def static_frames(shape: Sequence[Size], normals: Size = 8, hidden: Size = 128) -> Model:
    """A VAE of single frames, to compare with models of their sequence.

    Args:
        shape: Frames T, height and width of a sequence.
        normals: Units of z_t.
        hidden: Units of the hidden layers.
    """
    return Model(_Alone(shape, normals, hidden), _Frames(shape, normals, hidden), sequences=True)
