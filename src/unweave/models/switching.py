r"""Switching vector autoregression: a path whose law of motion switches by a hidden Markov chain.

.. math:: p(s_t | s_{t-1}) = P_{s_{t-1} s_t}, \quad
    y_t = W_{s_t} u_t + L_{s_t} ε_t, \quad ε_t \sim N(0, I)

Outputs y_t are a frame's numbers, inputs u_t those of the frames before, and 1. States are summed
out exactly, so the likelihood is exact, and expectation maximisation climbs it: the E step is
`forward_backward`, the M step is a weighted regression for each state. From a start that is drawn
it finds a local maximum; `fit` takes several, and keeps that which says held-out paths best.

Sources: Hamilton, "A new approach to the economic analysis of nonstationary time series" (1989);
Wiltschko et al., "Mapping Sub-Second Structure in Mouse Behavior" (2015), who find syllables of
mice so; Fox et al., "A sticky HDP-HMM" (2011), for the stickiness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .chains import forward_backward

SHRUNK = 0.05
"""Variance, as a share of the outputs' own, that the prior of each state's noise says."""

PRIOR = 5.0
"""Steps that this prior counts for."""

ENOUGH = 1e-5
"""Nats a step of a round of EM below which it ends."""


class Steps(NamedTuple):
    """Steps of paths: what each step is told, and what it says."""

    inputs: Tensor
    """u_t, (n, T, inputs)."""
    outputs: Tensor
    """y_t, (n, T, outputs)."""
    there: Tensor
    """Steps that exist, (n, T); the others hold finite numbers that are not read."""

    def of(self, rows: slice) -> Steps:
        """Return the steps of some of the paths."""
        return Steps(self.inputs[rows], self.outputs[rows], self.there[rows])


@dataclass(frozen=True)
class Law:
    """The law of a switching regression.

    Args:
        weights: W, (states, outputs, inputs).
        root: L, triangular with a positive diagonal, (states, outputs, outputs).
        log_initial: log p(s_1), (states,).
        log_transition: log P, (states, states), from rows to columns.
    """

    weights: Tensor
    root: Tensor
    log_initial: Tensor
    log_transition: Tensor

    def double(self) -> Law:
        """Return the law in double precision, without gradients."""
        return Law(*(getattr(self, part.name).detach().double() for part in fields(self)))

    def means(self, inputs: Tensor) -> Tensor:
        """Return W_s u_t of all states, (…, states, outputs)."""
        means: Tensor = torch.einsum("kof,...f->...ko", self.weights, inputs)
        return means

    def scores(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return log p(y_t | u_t, s_t) in nats, (…, states)."""
        noise = whitened(outputs.unsqueeze(-2) - self.means(inputs), self.root)
        spread = self.root.diagonal(dim1=-2, dim2=-1)
        log_norm = spread.log() + 0.5 * math.log(2 * math.pi)
        return (-0.5 * noise.square() - log_norm).sum(-1)

    def messages(self, steps: Steps) -> tuple[Tensor, Tensor]:
        """Return log p(y | u) of paths (n,), and log p(s_t | y, u) (n, T, states)."""
        scores = self.scores(steps.inputs, steps.outputs)
        known = scores.where(steps.there.unsqueeze(-1), 0.0)
        return forward_backward(known, self.log_initial, self.log_transition)

    def log_prob(self, steps: Steps) -> float:
        """Return log p(y | u) in nats a step."""
        evidence, _ = self.messages(steps)
        return float(evidence.detach().sum() / steps.there.sum())


def whitened(rest: Tensor, root: Tensor) -> Tensor:
    """Return the ε of L ε = rest, (…, states, outputs)."""
    noise: Tensor = torch.linalg.solve_triangular(root, rest.unsqueeze(-1), upper=False)
    return noise.squeeze(-1)


def lagged(path: Tensor, lags: int) -> Tensor:
    """Return 1 and the frames before each frame but the first, (…, T − 1, 1 + lags · D).

    Before the first frame the path stands still.

    >>> path = torch.tensor([[10.0], [20.0], [30.0]])
    >>> lagged(path, 2).tolist()
    [[1.0, 10.0, 10.0], [1.0, 20.0, 10.0]]

    Args:
        path: z, (…, T, D).
        lags: The number of frames before.
    """
    now = torch.arange(1, path.shape[-2], device=path.device)
    parts = [torch.ones_like(path[..., 1:, :1])]
    for lag in range(1, lags + 1):
        before = (now - lag).clamp_min(0)
        parts.append(path[..., before, :])
    return torch.cat(parts, -1)


# -- expectation maximisation ----------------------------------------------------------------------


@dataclass(frozen=True)
class Statistics:
    """Sums over steps, weighed by p(s_t | y, u), from which the M step makes a law."""

    uu: Tensor
    """Σ u uᵀ, (states, inputs, inputs)."""
    yu: Tensor
    """Σ y uᵀ, (states, outputs, inputs)."""
    yy: Tensor
    """Σ y yᵀ, (states, outputs, outputs)."""
    steps: Tensor
    """Steps of each state, (states,)."""
    first: Tensor
    """First steps of each state, (states,)."""
    pairs: Tensor
    """Steps from a state to a state, (states, states)."""

    @staticmethod
    def sums(steps: Steps, weights: Tensor, pairs: Tensor) -> Statistics:
        """Sum over steps with weights (n, T, states), 0 where there is no step."""
        of_first = weights[:, 0].sum(0)
        u, y, w = steps.inputs.flatten(0, 1), steps.outputs.flatten(0, 1), weights.flatten(0, 1)
        weighed_u = torch.einsum("ik,if->kif", w, u)
        weighed_y = torch.einsum("ik,io->kio", w, y)
        return Statistics(
            u.T @ weighed_u, weighed_y.mT @ u, weighed_y.mT @ y, w.sum(0), of_first, pairs
        )

    def merged(self, j: int, k: int) -> Statistics:
        """Return the sums if states j < k were one, which takes the place of j."""
        states = len(self.steps)
        into = torch.eye(states, dtype=self.steps.dtype)
        into[k], into[k, j] = 0.0, 1.0
        kept = [state for state in range(states) if state != k]
        into = into[:, kept]  # (states, states − 1)
        sums = (self.uu, self.yu, self.yy, self.steps, self.first)
        uu, yu, yy, steps, first = (torch.einsum("k...,kj->j...", t, into) for t in sums)
        return Statistics(uu, yu, yy, steps, first, into.T @ self.pairs @ into)

    def law(self, noise: Tensor, stickiness: float = 0.0) -> Law:
        """Return the law that maximises the expected log-density under the prior: the M step.

        Args:
            noise: The prior's variance of each output, (outputs,).
            stickiness: Steps from each state to itself that the prior adds.
        """
        little = 1e-3 * torch.eye(self.uu.shape[-1]).to(self.uu)
        weights = torch.linalg.solve(self.uu + little, self.yu.mT).mT
        left = self.yy - weights @ self.yu.mT
        left = (left + left.mT) / 2 + PRIOR * noise.diag()
        covariance = left / (self.steps + PRIOR)[:, None, None]
        itself = stickiness * torch.eye(len(self.steps)).to(self.pairs)
        pairs, first = self.pairs + itself + 0.1, self.first + 0.1
        return Law(
            weights,
            torch.linalg.cholesky(covariance),
            (first / first.sum()).log(),
            (pairs / pairs.sum(-1, keepdim=True)).log(),
        )


def expected(law: Law, steps: Steps) -> tuple[Statistics, float]:
    """Return the sums under p(s | y, u), the E step, and log p(y | u) in nats a step.

    The expected numbers of steps from state to state are the gradient of log p(y | u) with respect
    to log P.
    """
    with torch.enable_grad():
        log_transition = law.log_transition.detach().requires_grad_()
        free = Law(law.weights, law.root, law.log_initial, log_transition)
        evidence, log_states = free.messages(steps)
        (pairs,) = torch.autograd.grad(evidence.sum(), log_transition)
    weights = log_states.detach().exp() * steps.there.unsqueeze(-1)
    nats = float(evidence.detach().sum() / steps.there.sum())
    return Statistics.sums(steps, weights, pairs), nats


def prior_noise(steps: Steps) -> Tensor:
    """Return the variance of each output that the prior says, (outputs,)."""
    return SHRUNK * steps.outputs[steps.there].var(0)


def climb(steps: Steps, start: Tensor, *, stickiness: float = 0.0, rounds: int = 100) -> Law:
    """Return the law that expectation maximisation finds from a start.

    Args:
        steps: Steps of paths.
        start: p(s_t) to start from, (n, T, states).
        stickiness: Steps from each state to itself that the prior adds.
        rounds: The most rounds.
    """
    noise = prior_noise(steps)
    weights = start * steps.there.unsqueeze(-1)
    states = start.shape[-1]
    stays = 1 + 10 * torch.eye(states).to(start)
    law = Statistics.sums(steps, weights, stays).law(noise, stickiness)
    last = -math.inf
    for _ in range(rounds):
        sums, nats = expected(law, steps)
        if nats - last < ENOUGH:
            break
        law, last = sums.law(noise, stickiness), nats
    return law


def drawn_start(steps: Steps, states: int, seed: int, *, sure: float = 0.9) -> Tensor:
    """Draw p(s_t) to start from, (n, T, states): clusters of steps by k-means.

    Steps are compared by their outputs, and by what one regression for all leaves of them; the
    centres are drawn as k-means++ does (Arthur and Vassilvitskii, 2007).

    Args:
        steps: Steps of paths.
        states: The number of states.
        seed: The seed of the draw.
        sure: p(s_t) of a step's own cluster; the rest is spread evenly.
    """
    u, y = steps.inputs[steps.there], steps.outputs[steps.there]
    left = y - u @ torch.linalg.lstsq(u, y).solution
    points = torch.cat([y / y.std(0), left / left.std(0)], -1)
    generator = torch.Generator().manual_seed(seed)
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    for _ in range(states - 1):
        distance = torch.cdist(points, centres).amin(-1)
        another = torch.multinomial(distance**2, 1, generator=generator)
        centres = torch.cat([centres, points[another]])
    for _ in range(10):
        own = one_hot(torch.cdist(points, centres).argmin(-1), states).to(points)
        centres = (own.T @ points) / own.sum(0).clamp_min(1).unsqueeze(-1)
    start = steps.outputs.new_full((*steps.there.shape, states), 1 / states)
    start[steps.there] = sure * own + (1 - sure) / states
    return start


class Found(NamedTuple):
    """A law that EM found from one start."""

    law: Law
    held_out: float
    """log p(y | u) of the held-out paths, in nats a step."""


def fit(
    steps: Steps,
    held_out: Steps,
    states: int,
    *,
    stickiness: float = 0.0,
    seeds: Sequence[int] = range(8),
) -> list[Found]:
    """Fit laws from several drawn starts, the best on held-out paths first.

    Args:
        steps: Steps of the paths to fit.
        held_out: Steps of other paths, by whose likelihood the laws are ordered.
        states: The number of states.
        stickiness: Steps from each state to itself that the prior adds.
        seeds: A seed for each start.
    """
    found = []
    for seed in seeds:
        law = climb(steps, drawn_start(steps, states, seed), stickiness=stickiness)
        found.append(Found(law, law.log_prob(held_out)))
    return sorted(found, key=lambda each: -each.held_out)


def merge_costs(law: Law, steps: Steps) -> Tensor:
    """Return what the merger of two states costs in nats a step, (states, states).

    It is log p(y | u) of the law that one M step makes of the sums, less that of the law that one
    makes of them where the two states are one; NaN for a state with itself.
    """
    sums, _ = expected(law, steps)
    noise = prior_noise(steps)
    apart = sums.law(noise).log_prob(steps)
    states = len(law.log_initial)
    costs = torch.full((states, states), math.nan, dtype=law.weights.dtype)
    for j, k in combinations(range(states), 2):
        together = sums.merged(j, k).law(noise).log_prob(steps)
        costs[j, k] = costs[k, j] = apart - together
    return costs
