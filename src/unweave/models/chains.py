r"""Exact messages on a chain: sums for discrete states, quadratics for linear-Gaussian ones.

A message carries the knowledge of the state from one side of the chain. Discrete states s_t of K
values with scores ℓ_t(k) = log p(data_t | s_t = k), 0 where data are missing, pass
log-probabilities forward and backward. Continuous states z_t = A z_{t-1} + b + ε, ε ~ N(0, I), seen
as x_t = C z_t + d + noise of standard deviation σ, pass

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
    """Return log p(data) and log p(s_t | data) of a hidden Markov chain.

    >>> initial, transition = torch.full((3,), 1 / 3).log(), torch.eye(3).log()
    >>> evidence, states = forward_backward(torch.zeros(5, 3), initial, transition)
    >>> round(float(evidence), 5), states.exp()[4].tolist() == states.exp()[0].tolist()
    (0.0, True)

    Args:
        scores: log p(data_t | s_t), (…, T, K).
        log_initial: log p(s_1), (K,).
        log_transition: log p(s_t | s_{t-1}), (K, K), from rows to columns.

    Returns:
        log p(data), (…), and log p(s_t | data), (…, T, K).
    """
    first, *rest = scores.unbind(-2)  # (…, K) each
    forward = [log_initial + first]
    for score in rest:
        forward.append(passed(forward[-1], log_transition) + score)
    backward = [torch.zeros_like(first)]
    for score in reversed(rest):
        backward.append(passed(backward[-1] + score, log_transition.mT))
    backward.reverse()
    joint = torch.stack(forward, -2) + torch.stack(backward, -2)  # (…, T, K)
    evidence = forward[-1].logsumexp(-1)
    return evidence, joint.log_softmax(-1)


def passed(log_p: Tensor, log_transition: Tensor) -> Tensor:
    """Return a message (…, K) one step on: log Σ_j p(j) P_jk."""
    joint = log_p.unsqueeze(-1) + log_transition  # (…, K, K)
    return joint.logsumexp(-2)


def viterbi(scores: Tensor, log_initial: Tensor, log_transition: Tensor) -> Tensor:
    """Return the most probable path of states, as numbers (…, T); see `forward_backward`."""
    first, *rest = scores.unbind(-2)  # (…, K) each
    best = log_initial + first
    origins = []
    for score in rest:
        joint = best.unsqueeze(-1) + log_transition  # (…, K, K)
        best, origin = joint.max(-2)  # (…, K) each
        best = best + score
        origins.append(origin)
    path = [best.argmax(-1)]  # from the last state to the first
    for origin in reversed(origins):
        before = origin.gather(-1, path[-1].unsqueeze(-1))
        path.append(before.squeeze(-1))
    path.reverse()
    return torch.stack(path, -1)


class Quadratic(NamedTuple):
    """A quadratic in z: −½ zᵀ J z + hᵀ z + c, with J (…, D, D), h (…, D) and c (…)."""

    j: Tensor
    h: Tensor
    c: Tensor

    def at(self, t: int) -> Quadratic:
        """Return the quadratic of step t, where T stands before the dimensions of all."""
        return Quadratic(self.j[..., t, :, :], self.h[..., t, :], self.c[..., t])


def linear_messages(
    x: Tensor, seen: Tensor, a: Tensor, b: Tensor, emit: Tensor, d: Tensor, sigma: Tensor
) -> Quadratic:
    """Return log p(x_{t:T} | z_t) for every t, as quadratics in z_t.

    Args:
        x: Frames (…, T, P); where a frame is not seen, any finite numbers.
        seen: The frames that are seen, (…, T).
        a: A of z_t = A z_{t-1} + b + ε, (D, D).
        b: b, (D,).
        emit: C of x_t = C z_t + d + noise, (P, D).
        d: d, (P,).
        sigma: Standard deviation of the noise, ().

    Returns:
        J, h and c, with T before their dimensions.
    """
    own = _evidence(x, seen, emit, d, sigma)
    eye = torch.eye(a.shape[0], dtype=x.dtype, device=x.device)
    last = x.shape[-2] - 1
    message = own.at(last)
    messages = [message]  # from the last step to the first
    for t in reversed(range(last)):
        here, through = own.at(t), _through(message, a, b, eye)
        message = Quadratic(here.j + through.j, here.h + through.h, here.c + through.c)
        messages.append(message)
    messages.reverse()
    return Quadratic(
        torch.stack([m.j for m in messages], -3),
        torch.stack([m.h for m in messages], -2),
        torch.stack([m.c for m in messages], -1),
    )


def _evidence(x: Tensor, seen: Tensor, emit: Tensor, d: Tensor, sigma: Tensor) -> Quadratic:
    """Return log p(x_t | z_t) for every t, as quadratics in z_t that are 0 where x is not seen."""
    some = seen.to(x.dtype)
    rest = x - d
    h = some[..., None] * (rest @ emit) / sigma**2  # (…, T, D)
    j = some[..., None, None] * (emit.mT @ emit) / sigma**2  # (…, T, D, D)
    squares = (rest / sigma).square().sum(-1)
    log_norm = sigma.log() + 0.5 * math.log(2 * math.pi)  # of one number
    c = some * (-0.5 * squares - x.shape[-1] * log_norm)  # (…, T)
    return Quadratic(j, h, c)


def _through(message: Quadratic, a: Tensor, b: Tensor, eye: Tensor) -> Quadratic:
    """Return log ∫ N(z'; A z + b, I) exp(message(z')) dz' as a quadratic in z."""
    root = torch.linalg.cholesky(eye + message.j)
    # precision of z' about A z + b, with the noise integrated
    j = eye - torch.cholesky_inverse(root)
    mean = _solved(root, message.h)
    inside = 0.5 * (message.h * mean).sum(-1) - _half_log_det(root)
    jb = (j @ b.unsqueeze(-1)).squeeze(-1)
    linear, squared = (mean * b).sum(-1), (jb * b).sum(-1)
    c = message.c + inside + linear - 0.5 * squared
    return Quadratic(a.mT @ j @ a, (mean - jb) @ a, c)


def _solved(root: Tensor, h: Tensor) -> Tensor:
    """Return (L Lᵀ)⁻¹ h (…, D) for triangular roots L (…, D, D)."""
    column = h.unsqueeze(-1)
    return torch.cholesky_solve(column, root).squeeze(-1)


def _half_log_det(root: Tensor) -> Tensor:
    """Return ½ log det (L Lᵀ) of triangular roots L (…, D, D)."""
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def combined(message: Quadratic, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise N(z; loc, scale²) exp(message(z)).

    With loc = A z_{t-1} + b it is the exact p(z_t | z_{t-1}, x_{t:T}); at t = 1, from the prior,
    the integral is p(x).

    Returns:
        Its mean (…, D), the root L of its precision LLᵀ (…, D, D), the log of its integral (…).
    """
    spread = scale.expand(message.h.shape)  # (…, D)
    precision = message.j + torch.diag_embed(spread**-2)
    root = torch.linalg.cholesky(precision)
    pull = message.h + loc / scale**2
    mean = _solved(root, pull)
    log_det = _half_log_det(root) + spread.log().sum(-1)
    drawn = 0.5 * (pull * mean).sum(-1)
    prior = 0.5 * (loc / scale).square().sum(-1)
    return mean, root, message.c + drawn - prior - log_det
