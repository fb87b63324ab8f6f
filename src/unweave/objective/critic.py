"""Critics: total correlation from a density ratio that a network learns beside the model.

A `Critic` is a value, the term of an objective that says which ratio is estimated and by which
network; `Critics` holds the networks. Training a `Recipe` does all of it; by hand, a step reads

    >>> import torch, unweave as uw
    >>> q, p = uw.Trace(), uw.Trace()
    >>> z = q.normal(torch.zeros(8, 2), 1.0, name="z")
    >>> z = p.normal(0.0, 1.0, value=q["z"], name="z")
    >>> critics, d = Critics(), uw.Densities(q, p)
    >>> objective = critics.bind(uw.factor_vae(gamma=35, critic=Critic(hidden=(32, 32))), d)
    >>> print(objective)
    log p(x|z) - log q(z|x) + log p(z) - 35·critic(log q(z)/Πq(z_d,e); hidden=(32, 32))
    >>> loss = -d.score(objective).mean()  # … loss.backward(), and the model's optimiser steps
    >>> learn(objective, d)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from ..nets import mlp
from .atoms import Atom, Coefficient
from .densities import Densities, Term
from .latents import drawn_numbers, latent_blocks
from .literature import elbo
from .objective import Objective, summed
from .schedule import not_negative


@dataclass(frozen=True)
class Critic:
    """A term that estimates log q(z)/Π_b q(z_b) over the blocks b of a level by a network.

    See `critic_tc`.
    """

    level: int = -1
    of: tuple[str, ...] = ()
    hidden: tuple[int, ...] = (1000,) * 6
    lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        if not all(width >= 1 for width in self.hidden):
            raise ValueError(f"hidden={self.hidden} of a critic: expected widths of 1 or more")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr} of a critic: expected a finite number above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} of a critic: expected two numbers in [0, 1)")

    def on(self, *latents: str) -> Critic:
        """Return the same term of some of the latents, for a network of its own."""
        return replace(self, of=latents)

    def __call__(self, d: Densities) -> Tensor:
        raise ValueError(
            "a critic is a network that learns beside the model, and this objective has none yet: "
            "train it by a Recipe, or score critics.bind(objective, d), with critics = "
            "unweave.Critics()"
        )

    def blocks(self, d: Densities) -> list[Tensor]:
        """Return the draws of each block, (*samples, batch, numbers)."""
        parts = latent_blocks(d, self.of, self.level)
        if len(parts) < 2:
            raise ValueError(
                f"level {self.level} of the groups has {len(parts)} block to be independent of "
                "others, expected 2 or more: level 1 are the top groups, level -1 single units"
            )
        return [drawn_numbers(d, part) for part in parts]

    def __str__(self) -> str:
        joint, product = Atom("q", 0, self.of), Atom("q", self.level, self.of)
        parts = [f"{joint}/{str(product).removeprefix('log ')}"]
        for name in ("hidden", "lr", "betas"):
            value = getattr(self, name)
            if value != getattr(Critic, name):
                parts.append(f"{name}={value}")
        return f"critic({'; '.join(parts)})"


def critic_tc(
    level: int = -1,
    *,
    of: tuple[str, ...] = (),
    hidden: Sequence[int] = Critic.hidden,
    lr: float = Critic.lr,
    betas: tuple[float, float] = Critic.betas,
) -> Objective:
    """Return the total correlation KL(q(z) ‖ Π_b q(z_b)) as a critic estimates it.

    .. math:: T(z) ≈ \\log \\frac{q(z)}{\\prod_b q(z_b)}, \\qquad
              \\text{critic's loss} = \\tfrac12 E_{q(z)} \\log(1 + e^{-T})
              + \\tfrac12 E_{\\prod q(z_b)} \\log(1 + e^T)

    It is one number an item, in nats. `level` counts partitions of the group tree: 1 is between the
    top groups, as `tc[0]`, −1 (default) between single units, as `tc[:]`, each without the prior's
    part. A Concrete variable is one unit of K numbers. `of` names latents as groups do; by default
    all take part.

    Defaults are FactorVAE's: six layers of 1000 leaky ReLUs (slope 0.2) and Adam(1e-4, 0.5, 0.9).
    Its two logits enter by their difference alone, so this network has one.

    Draws of the product are the batch's, each block's in an order of its own *across* items.
    (Implementations exist that permute units within an item.) The same batch serves both parts, as
    in disentanglement_lib; the paper permutes a second one. Blocks of one item meet again with
    probability 1/B, so an ideal critic stays below (blocks − 1)·log B. The critic sees detached
    draws, and the model a frozen critic: no gradient crosses.

    A critic falls short of what it has not learnt yet and lags behind its model: train with it,
    report exact values. Measured in nats after 2,000 steps on 64 fresh draws, mean ± sd over 3
    seeds (`python tests/objective/test_critic.py`):

    | q(z) | exact | 64x64, lr 1e-3 | 256x256, lr 1e-3 | 256x256 | the default |
    |---|---|---|---|---|---|
    | 2 normals, correlation 0.8 | 0.51 | 0.52 ± 0.04 | 0.51 ± 0.03 | 0.53 ± 0.01 | |
    | 10 normals in pairs, 0.5 | 0.72 | 0.65 ± 0.06 | 0.62 ± 0.08 | 0.66 ± 0.01 | |
    | 10 normals in pairs, 0.8 | 2.55 | 2.40 ± 0.11 | 2.26 ± 0.14 | 2.34 ± 0.10 | 2.14 ± 0.03 |
    | 10 normals in pairs, 0.99 | 9.79 | 8.82 ± 0.23 | 9.35 ± 0.62 | 5.15 ± 0.26 | |
    | 4 units, 200 items, scale 0.4 | 1.02 | 0.72 ± 0.06 | 0.75 ± 0.11 | 0.72 ± 0.04 | 0.80 ± 0.13 |

    Source: Kim and Mnih, "Disentangling by Factorising" (2018).

    Raises:
        ValueError: When it is scored before a network is bound to it, the level has one block, or
            a site is observed in part or enumerated.
    """
    return Objective({Critic(level, of, tuple(hidden), lr, betas): 1.0})


@not_negative("gamma")
def factor_vae(gamma: Coefficient = 35.0, critic: Critic | None = None) -> Objective:
    """ELBO − γ·TC with the total correlation of a critic: FactorVAE (Kim and Mnih, 2018).

    γ = 35 is the paper's for dSprites (others use 6.4 to 100). `tc_vae(1 + γ)` is the same
    objective with a pairwise estimate. With the default critic a step of the digits recipe takes
    about 15 ELBO steps on one CPU thread, with one of 256x256 it takes 1.5 (`python
    tests/objective/test_critic.py`); smaller critics were as near to exact values.
    """
    return elbo - Objective({critic or Critic(): gamma})


class Discriminator:
    """A critic with its network and optimiser: the term that can be scored, and that learns."""

    def __init__(self, critic: Critic, d: Densities) -> None:
        z = torch.cat(critic.blocks(d), -1)
        self.critic = critic
        self.net = mlp([z.shape[-1], *critic.hidden, 1], partial(nn.LeakyReLU, 0.2)).to(z)
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=critic.lr, betas=critic.betas, fused=True
        )

    def __call__(self, d: Densities) -> Tensor:
        """Return log q(z)/Π_b q(z_b), (*samples, batch), without a gradient of the weights."""
        frozen = {name: w.detach() for name, w in self.net.named_parameters()}
        z = torch.cat(self.critic.blocks(d), -1)
        logit: Tensor = functional_call(self.net, frozen, z)  # (*samples, batch, 1)
        return logit.squeeze(-1)

    def learn(self, d: Densities) -> Tensor:
        """Make one step on the batch's draws.

        Returns:
            The cross-entropy before it, in nats (log 2 is chance).
        """
        blocks = [z.detach() for z in self.critic.blocks(d)]
        joint = torch.cat(blocks, -1)
        product = torch.cat([shuffled(z) for z in blocks], -1)
        logits = torch.stack([-self.net(joint), self.net(product)])
        loss = softplus(logits).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def __str__(self) -> str:
        return str(self.critic)


def shuffled(z: Tensor) -> Tensor:
    """Return (*samples, batch, numbers) with items in another order, one for each sample."""
    noise = torch.rand(z.shape[:-1], device=z.device)  # (*samples, batch)
    order = noise.argsort(-1)
    return z.take_along_dim(order.unsqueeze(-1), -2)


class Critics:
    """The networks of an objective's critics, each made from `seed` when it is first needed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.networks: dict[Critic, Discriminator] = {}
        self._saved: dict[str, Any] = {}

    def bind(self, objective: Objective, d: Densities) -> Objective:
        """Return the objective with networks in the place of its critics."""
        bound: list[tuple[Atom | Term, Coefficient]] = []
        for term, c in objective.coefficients.items():
            if isinstance(term, Critic):
                term = self._network(term, d)
            bound.append((term, c))
        return summed(bound)

    def _network(self, critic: Critic, d: Densities) -> Discriminator:
        if critic not in self.networks:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                made = Discriminator(critic, d)
            saved = self._saved.pop(repr(critic), None)
            if saved is not None:
                made.net.load_state_dict(saved["net"])
                made.optimizer.load_state_dict(saved["optimizer"])
            self.networks[critic] = made
        return self.networks[critic]

    def state(self) -> dict[str, Any]:
        """Return weights and optimisers, to be saved."""
        state = dict(self._saved)
        for critic, made in self.networks.items():
            state[repr(critic)] = {
                "net": made.net.state_dict(),
                "optimizer": made.optimizer.state_dict(),
            }
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, network by network as they are bound."""
        self.networks, self._saved = {}, dict(state)


def learn(objective: Objective, d: Densities) -> None:
    """Make one step of every critic that is bound in the objective, on the draws of the batch.

    The model is left alone.
    """
    for term in objective.coefficients:
        if isinstance(term, Discriminator):
            term.learn(d)
