r"""State-space models of sequences of images: one latent site z_0, z_1, … a frame, each from the
one before.

.. math:: p(x, z) = \prod_t p(z_t | z_{t-1}) \, p(x_t | z_t), \quad q(z | x) = \prod_t q(z_t | z_{t-1}, x_{t:T})

The posterior is structured as the exact one is: given z_{t-1}, all else that z_t depends on is what
follows, carried by messages from the end of the sequence: a recurrent network's, or in the
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

from ..nets import mlp, scale
from ..trace.trace import Trace
from .chains import Quadratic, combined, forward_backward, linear_messages, passed
from .model import Model, family


def frames(x: Tensor) -> tuple[Tensor, Tensor]:
    """Frames (…, T, h·w), zeros where missing, and which are seen (…, T)."""
    flat = x.flatten(-2)
    seen = ~flat.isnan().any(-1)
    return torch.where(seen.unsqueeze(-1), flat, 0.0), seen


def lasting(seen: Tensor) -> Tensor:
    """Which steps (…, T) are not beyond the last frame seen."""
    return seen.flip(-1).cummax(-1).values.flip(-1)


class _Frame(nn.Module):
    """p(x_t | z_t): Normal about a network of z_t, with one learned scale; all frames of a sequence
    are one site.
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        self.mean = mlp([normals, hidden, 2 * hidden, math.prod(self.size)])
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def forward(self, p: Trace, z: Tensor, x: Tensor | None) -> None:
        seen = None if x is None else frames(x)[1]
        p.normal(
            self.mean(z).unflatten(-1, self.size),
            scale(self.log_scale),
            value=x,
            observed=seen,
            name="x",
        )


class _Backward(nn.Module):
    """q(z_t | z_{t-1}, x_{t:T}): a recurrent network reads the frames from the last; a missing one
    changes nothing.
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(normals))
        self.read = nn.Sequential(nn.Linear(math.prod(shape[-2:]), hidden), nn.ReLU())
        self.cell = nn.GRUCell(hidden, hidden)
        self.before = nn.Linear(normals, hidden)
        self.z_mean, self.z_log_scale = nn.Linear(hidden, normals), nn.Linear(hidden, normals)

    def forward(self, x: Tensor) -> Trace:
        q, (x, seen) = Trace(), frames(x)
        there = lasting(seen)
        for t, h in enumerate(self.messages(x, seen)):
            if t == 0:
                q.sample(self.step(self.start, h), name="z_0", where=there[..., 0])
            else:
                q.conditional(self.step, f"z_{t - 1}", h, name=f"z_{t}", where=there[..., t])
        return q

    def step(self, z: Tensor, h: Tensor) -> Normal:
        """q(z_t | z_{t-1}, h_t)"""
        h = 0.5 * (torch.tanh(self.before(z)) + h)
        return Normal(self.z_mean(h), scale(self.z_log_scale(h)), validate_args=False)

    def messages(self, x: Tensor, seen: Tensor) -> list[Tensor]:
        """What x_{t:T} says of z_t, (…, hidden) for every t."""
        read, back = self.read(x), [x.new_zeros(*x.shape[:-2], self.cell.hidden_size)]
        for t in range(x.shape[-2] - 1, -1, -1):
            h = self.cell(read[..., t, :].flatten(0, -2), back[-1].flatten(0, -2)).view_as(back[-1])
            back.append(torch.where(seen[..., t, None], h, back[-1]))
        return back[:0:-1]


class _Gated(nn.Module):
    """p(z_t | z_{t-1}): between a linear step and a network's, as a gate says; it begins as the
    identity.
    """

    def __init__(self, normals: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.curved = mlp([normals, hidden, normals]), mlp([normals, hidden, normals])
        self.straight, self.log_scale = nn.Linear(normals, normals), nn.Linear(normals, normals)
        nn.init.eye_(self.straight.weight)
        nn.init.zeros_(self.straight.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        gate, curved = self.gate(z).sigmoid(), self.curved(z)
        return (1 - gate) * self.straight(z) + gate * curved, scale(
            self.log_scale(curved.relu()) - 1
        )


class _Markov(nn.Module):
    """p(z_0) = N(0, I), p(z_t | z_{t-1}) gated, p(x | z) frame by frame."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.step, self.frame = _Gated(normals, hidden), _Frame(shape, normals, hidden)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        path = [p.normal(0.0, 1.0, value=q["z_0"], name="z_0")]
        for t in range(1, len(q)):
            loc, spread = self.step(path[-1])
            path.append(p.normal(loc, spread, value=q[f"z_{t}"], name=f"z_{t}"))
        self.frame(p, torch.stack(path, -2), x)
        return p


class _Switching(nn.Module):
    r"""p(z_t | z_{t-1}, s_t) = N(A_s z_{t-1} + b_s, diag σ_s²) with s_t a Markov chain that is
    summed out.

    Σ_s is exact: p(z_t | z_{<t}) = Σ_k p(s_t = k | z_{<t}) N(z_t; A_k z_{t-1} + b_k, σ_k²), a
    mixture whose weights the forward messages of the chain give, so the product over t is p(z).
    """

    def __init__(self, shape: Sequence[int], normals: int, hidden: int, states: int) -> None:
        super().__init__()
        self.frame = _Frame(shape, normals, hidden)
        self.a = nn.Parameter(torch.eye(normals) + 0.1 * torch.randn(states, normals, normals))
        self.b = nn.Parameter(0.1 * torch.randn(states, normals))
        self.log_scale = nn.Parameter(torch.full((states, normals), -1.0))
        self.log_initial = nn.Parameter(torch.zeros(states))
        self.log_transition = nn.Parameter(3 * torch.eye(states))

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p, (log_s, log_transition) = Trace(), self.chain()
        path = [p.normal(0.0, 1.0, value=q["z_0"], name="z_0")]
        for t in range(1, len(q)):
            each = self.step(path[-1])
            some = Categorical(logits=log_s.expand(each.batch_shape), validate_args=False)
            z = p.sample(
                MixtureSameFamily(some, each, validate_args=False), q[f"z_{t}"], name=f"z_{t}"
            )
            log_s = passed((log_s + each.log_prob(z.unsqueeze(-2))).log_softmax(-1), log_transition)
            path.append(z)
        self.frame(p, torch.stack(path, -2), x)
        return p

    def step(self, z: Tensor) -> Independent[Normal]:
        """What each state makes of z_{t-1} (…, D): Normals over (…, K), of D units."""
        loc = (self.a @ z[..., None, :, None]).squeeze(-1) + self.b
        return Independent(
            Normal(loc, scale(self.log_scale), validate_args=False), 1, validate_args=False
        )

    def chain(self) -> tuple[Tensor, Tensor]:
        """log p(s_1) (K,) and log p(s_t | s_{t-1}) (K, K)."""
        return self.log_initial.log_softmax(-1), self.log_transition.log_softmax(-1)

    def states(self, z: Tensor) -> Tensor:
        """log p(s_t | z) (…, T − 1, K) of the steps into z_1, …, z_{T-1} of a path (…, T, D), by
        forward-backward.
        """
        scores = self.step(z[..., :-1, :]).log_prob(z[..., 1:, None, :])
        return forward_backward(scores, *self.chain())[1]


class _Linear(nn.Module):
    """p(z_0) = N(m, diag s²), p(z_t | z_{t-1}) = N(A z_{t-1} + b, I), p(x_t | z_t) = N(C z_t + d,
    σ²).
    """

    def __init__(self, shape: Sequence[int], normals: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        pixels = math.prod(self.size)
        self.a, self.b = nn.Parameter(0.9 * torch.eye(normals)), nn.Parameter(torch.zeros(normals))
        self.emit, self.d = (
            nn.Parameter(torch.randn(pixels, normals) / normals),
            nn.Parameter(torch.zeros(pixels)),
        )
        self.m, self.log_s = nn.Parameter(torch.zeros(normals)), nn.Parameter(torch.zeros(normals))
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        path = [p.normal(self.m, scale(self.log_s), value=q["z_0"], name="z_0")]
        for t in range(1, len(q)):
            path.append(
                p.normal(path[-1] @ self.a.mT + self.b, 1.0, value=q[f"z_{t}"], name=f"z_{t}")
            )
        seen = None if x is None else frames(x)[1]
        mean = (torch.stack(path, -2) @ self.emit.mT + self.d).unflatten(-1, self.size)
        p.normal(mean, scale(self.log_scale), value=x, observed=seen, name="x")
        return p


class _Exact(nn.Module):
    """q(z_t | z_{t-1}, x_{t:T}) = p(z_t | z_{t-1}, x_{t:T}) of the linear model, by exact messages.

    It is the posterior, so log p(x, z) − log q(z|x), the ELBO at any draw, is log p(x).
    """

    def __init__(self, p: _Linear) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Trace:
        q, (x, seen), p = Trace(), frames(x), self.p
        j, h, c = linear_messages(x, seen, p.a, p.b, p.emit, p.d, scale(p.log_scale))
        there = lasting(seen)
        for t in range(x.shape[-2]):
            message = j[..., t, :, :], h[..., t, :], c[..., t]
            if t == 0:
                q.sample(
                    _posterior(Quadratic(*message), p.m, scale(p.log_s)),
                    name="z_0",
                    where=there[..., 0],
                )
            else:
                q.conditional(self.step, f"z_{t - 1}", *message, name=f"z_{t}", where=there[..., t])
        return q

    def step(self, z: Tensor, j: Tensor, h: Tensor, c: Tensor) -> MultivariateNormal:
        """p(z_t | z_{t-1}, x_{t:T})"""
        return _posterior(Quadratic(j, h, c), z @ self.p.a.mT + self.p.b, torch.ones_like(self.p.b))


def _posterior(message: Quadratic, loc: Tensor, scale: Tensor) -> MultivariateNormal:
    mean, root, _ = combined(message, loc, scale)
    return MultivariateNormal(mean, precision_matrix=root @ root.mT, validate_args=False)


class _Alone(nn.Module):
    """q(z_t | x_t): every frame by itself; one site z (T, normals)."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.h = nn.Sequential(
            nn.Linear(math.prod(shape[-2:]), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.z_mean, self.z_log_scale = nn.Linear(hidden, normals), nn.Linear(hidden, normals)

    def forward(self, x: Tensor) -> Trace:
        q, (x, seen) = Trace(), frames(x)
        h = self.h(x)
        q.normal(self.z_mean(h), scale(self.z_log_scale(h)), name="z", where=seen)
        return q


class _Frames(nn.Module):
    """p(z) = N(0, I), p(x | z) frame by frame."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.frame = _Frame(shape, normals, hidden)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        self.frame(p, p.normal(0.0, 1.0, value=q["z"], name="z"), x)
        return p


@family
def deep_markov(shape: Sequence[int], normals: int = 8, hidden: int = 128) -> Model:
    """The deep Markov model with its structured posterior (Krishnan et al., 2017), for items (T, h,
    w).
    """
    return Model(_Backward(shape, normals, hidden), _Markov(shape, normals, hidden))


@family
def switching_linear(
    shape: Sequence[int], normals: int = 8, hidden: int = 128, states: int = 8
) -> Model:
    """A switching linear dynamical system under a network of images; its discrete states are summed
    out exactly.

    After the model of Johnson et al. (2016) for mice, with the structured posterior of the deep
    Markov model in place of conjugate potentials. `decoder.states(z)` recovers the states from a
    path.
    """
    return Model(_Backward(shape, normals, hidden), _Switching(shape, normals, hidden, states))


@family
def linear_dynamics(shape: Sequence[int], normals: int = 16) -> Model:
    """A linear dynamical system on pixels with its exact posterior: every draw of the ELBO is log
    p(x).
    """
    p = _Linear(shape, normals)
    return Model(_Exact(p), p)


@family
def static_frames(shape: Sequence[int], normals: int = 8, hidden: int = 128) -> Model:
    """A VAE of single frames, to hold against models of their sequence."""
    return Model(_Alone(shape, normals, hidden), _Frames(shape, normals, hidden))
