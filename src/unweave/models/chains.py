r"""Exact messages on a chain: of a discrete state by forward and backward sums, of a
linear-Gaussian one by quadratics.

A message is what is known of the state from one side of the chain. Discrete states s_t of K values
with scores ℓ_t(k) = log p(data_t | s_t = k), missing ones 0, pass log-probabilities forward and
backward. Continuous states z_t = A z_{t-1} + b + ε, ε ~ N(0, I), seen as x_t = C z_t + d + noise of
standard deviation σ, pass

.. math:: \log p(x_{t:T} | z_t) = -½ z_t^⊤ J_t z_t + h_t^⊤ z_t + c_t

backward. Everything is in nats and log space; T = time stands before the last dimensions, other
dimensions lead.

Sources: Rabiner, "A tutorial on hidden Markov models" (1989); the backward information filter as in
Bishop, "Pattern Recognition and Machine Learning" (2006), section 13.3, solved from the other end.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


def forward_backward(
    scores: Tensor, log_initial: Tensor, log_transition: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(data) (…) and log p(s_t | data) (…, T, K) of a hidden Markov chain, from scores (…, T,
    K).

    `log_initial` (K,) is log p(s_1), `log_transition` (K, K) log p(s_t | s_{t-1}), from rows to
    columns.

    >>> evidence, states = forward_backward(torch.zeros(5, 3), torch.full((3,), 1 / 3).log(), torch.eye(3).log())
    >>> round(float(evidence), 5), states.exp()[4].tolist() == states.exp()[0].tolist()
    (0.0, True)
    """
    forward, backward = [log_initial + scores[..., 0, :]], [torch.zeros_like(scores[..., 0, :])]
    for score in scores[..., 1:, :].unbind(-2):
        forward.append(passed(forward[-1], log_transition) + score)
    for score in reversed(scores[..., 1:, :].unbind(-2)):
        backward.append(passed(backward[-1] + score, log_transition.mT))
    joint = torch.stack(forward, -2) + torch.stack(backward[::-1], -2)
    return forward[-1].logsumexp(-1), joint.log_softmax(-1)


def passed(log_p: Tensor, log_transition: Tensor) -> Tensor:
    """log Σ_j p(j) P_jk: a message (…, K) one step on."""
    return (log_p.unsqueeze(-1) + log_transition).logsumexp(-2)


def viterbi(scores: Tensor, log_initial: Tensor, log_transition: Tensor) -> Tensor:
    """The most probable path (…, T) of states, as numbers."""
    best, origins = log_initial + scores[..., 0, :], []
    for score in scores[..., 1:, :].unbind(-2):
        best, origin = (best.unsqueeze(-1) + log_transition).max(-2)
        best = best + score
        origins.append(origin)
    path = [best.argmax(-1)]
    for origin in reversed(origins):
        path.append(origin.gather(-1, path[-1].unsqueeze(-1)).squeeze(-1))
    return torch.stack(path[::-1], -1)


class Quadratic(NamedTuple):
    """−½ zᵀ J z + hᵀ z + c, with J (…, D, D), h (…, D) and c (…)."""

    j: Tensor
    h: Tensor
    c: Tensor


def linear_messages(
    x: Tensor, seen: Tensor, a: Tensor, b: Tensor, emit: Tensor, d: Tensor, sigma: Tensor
) -> Quadratic:
    """log p(x_{t:T} | z_t) for every t, as quadratics in z_t with T before their dimensions.

    x (…, T, P) where `seen` (…, T), anything finite elsewhere; a (D, D), b (D,), emit C (P, D), d
    (P,), sigma ().
    """
    steps, size = x.shape[-2], a.shape[0]
    some = seen.to(x.dtype)
    rest = x - d
    h = some[..., None] * (rest @ emit) / sigma**2
    j = some[..., None, None] * (emit.mT @ emit) / sigma**2
    c = some * (
        -0.5 * (rest / sigma).square().sum(-1)
        - x.shape[-1] * (sigma.log() + 0.5 * math.log(2 * math.pi))
    )
    messages = [Quadratic(j[..., -1, :, :], h[..., -1, :], c[..., -1])]
    for t in range(steps - 2, -1, -1):
        through = _through(messages[-1], a, b, torch.eye(size, dtype=x.dtype, device=x.device))
        own = (j[..., t, :, :], h[..., t, :], c[..., t])
        messages.append(Quadratic(*(p + q for p, q in zip(own, through, strict=True))))
    back = messages[::-1]
    return Quadratic(
        torch.stack([m.j for m in back], -3),
        torch.stack([m.h for m in back], -2),
        torch.stack([m.c for m in back], -1),
    )


def _through(message: Quadratic, a: Tensor, b: Tensor, eye: Tensor) -> Quadratic:
    """log ∫ N(z'; A z + b, I) exp(message(z')) dz' as a quadratic in z."""
    root = torch.linalg.cholesky(eye + message.j)
    j = eye - torch.cholesky_inverse(
        root
    )  # precision of z' about A z + b, with the noise integrated
    mean = torch.cholesky_solve(message.h.unsqueeze(-1), root).squeeze(-1)
    inside = 0.5 * (message.h * mean).sum(-1) - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    jb = (j @ b.unsqueeze(-1)).squeeze(-1)
    return Quadratic(
        a.mT @ j @ a,
        (mean - jb) @ a,
        message.c + inside + (mean * b).sum(-1) - 0.5 * (jb * b).sum(-1),
    )


def combined(message: Quadratic, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """N(z; loc, scale²) exp(message(z)), normalised: its mean, the root L of its precision LLᵀ, log
    of its integral.

    With loc = A z_{t-1} + b it is the exact p(z_t | z_{t-1}, x_{t:T}); at t = 1, from the prior,
    the integral is p(x).
    """
    precision = message.j + torch.diag_embed(scale.expand(message.h.shape) ** -2)
    root = torch.linalg.cholesky(precision)
    pull = message.h + loc / scale**2
    mean = torch.cholesky_solve(pull.unsqueeze(-1), root).squeeze(-1)
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + scale.expand(
        message.h.shape
    ).log().sum(-1)
    return (
        mean,
        root,
        message.c + 0.5 * (pull * mean).sum(-1) - 0.5 * (loc / scale).square().sum(-1) - log_det,
    )
