r"""A moving animal in its own frame: heading is a group of its own, syllables drive what is left.

.. math:: p(s_t | s_{t-1}) = P_{s_{t-1} s_t}, \quad
    (z_t, θ_t - θ_{t-1}) = W_{s_t} (1, z_{t-1}, z_{t-2}) + L_{s_t} ε, \quad
    x_t \sim N(R_{θ_t} \, \text{body}(z_t), σ^2)

The heading θ_0 is uniform on the circle, the states s are summed out exactly. A frame is read in
the body's frame, turned back by the heading that its moments measure, and drawn there, then turned:
the networks never learn that a mouse to the left is a mouse. The law knows turns, and no heading.

`begin_body` lets a model begin at what the classical pipeline finds (Wiltschko et al., 2015):
principal components of aligned frames, and a switching regression fitted to them by EM. `refit_law`
fits the law to the codes once more when all is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from ..affine import Pose, heading, look, paint
from ..arguments import Size
from ..nets import mlp, scale
from ..trace.circle import UniformCircle, wrapped
from ..trace.trace import Trace
from .chains import passed
from .model import Model, family
from .state_space import frames, lasting, observe
from .switching import Found, Law, Steps, climb, fit, lagged, whitened

LAGS = 2
"""Frames before on which the next one depends: a gait needs its position and its speed."""

HELD_OUT = 5
"""One sequence in so many judges the starts of EM."""


def turned(angle: Tensor, size: Sequence[int]) -> Pose:
    """Return the frame of a body in the middle of images (height, width), at headings (…)."""
    middle = torch.zeros_like(angle).unsqueeze(-1).expand(*angle.shape, 2)
    return Pose(middle, torch.full_like(angle, min(size) / 2), angle)


def unwound(angle: Tensor) -> Tensor:
    """Return angles (…, T) as a path on the line: each is within half a turn of the one before.

    >>> unwound(torch.tensor([3.0, -3.0]))
    tensor([3.0000, 3.2832])
    """
    turns = wrapped(angle.diff(dim=-1))
    return torch.cat([angle[..., :1], turns], -1).cumsum(-1)


class _Reading(nn.Module):
    """The program Π_t q(heading_t | x_t) q(z_t | x_t), frames read in the body's frame."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        cells = min(self.size) ** 2
        self.straight = nn.Linear(cells, normals)
        self.curved = mlp([cells, hidden, hidden, 2 * (normals + 1)])
        _silence(self.curved)

    def forward(self, x: Tensor) -> Trace:
        q = Trace()
        flat, seen = frames(x)
        angle, aligned = self.aligned(flat)
        change, log_scale = self.curved(aligned).chunk(2, -1)  # (…, T, 1 + normals) each
        angle = angle + 0.1 * change[..., 0]
        z = self.straight(aligned) + change[..., 1:]
        sd = scale(log_scale - 2)
        for t, there in enumerate(lasting(seen).unbind(-1)):
            sd_angle, sd_z = 0.2 * sd[..., t, :1], sd[..., t, 1:]
            q.normal(angle[..., t, None], sd_angle, name=f"heading_{t}", where=there)
            q.normal(z[..., t, :], sd_z, name=f"z_{t}", where=there)
        return q

    def aligned(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Return headings measured (…, T), and frames (…, T, h·w) in the body's frame."""
        images = flat.unflatten(-1, self.size)
        angle = unwound(heading(images))
        seen = look(images, turned(angle, self.size), min(self.size))
        return angle, seen.flatten(-2)  # (…, T, cells)


class _Moving(nn.Module):
    """The program of the animal: its law of motion, its body, and the frames that show it."""

    def __init__(self, shape: Sequence[int], normals: int, hidden: int, states: int) -> None:
        super().__init__()
        self.size = tuple(shape[-2:])
        side = min(self.size)
        outputs = normals + 1
        self.straight = nn.Linear(normals, side**2)
        self.curved = mlp([normals, hidden, 2 * hidden, side**2])
        _silence(self.curved)
        self.log_scale = nn.Parameter(torch.tensor(-2.0))
        self.weights = nn.Parameter(0.1 * torch.randn(states, outputs, 1 + LAGS * normals))
        self.below = nn.Parameter(torch.zeros(states, outputs, outputs))
        self.log_spread = nn.Parameter(torch.zeros(states, outputs))
        self.log_initial = nn.Parameter(torch.zeros(states))
        self.log_transition = nn.Parameter(3 * torch.eye(states))

    def law(self) -> Law:
        """Return the law of motion, whose outputs are z_t and the turn θ_t − θ_{t−1}."""
        root = self.below.tril(-1) + torch.diag_embed(self.log_spread.exp())
        log_initial, log_transition = (
            t.log_softmax(-1) for t in (self.log_initial, self.log_transition)
        )
        return Law(self.weights, root, log_initial, log_transition)

    def take(self, law: Law) -> None:
        """Take a law of motion as one's own."""
        self.weights.data.copy_(law.weights)
        self.below.data.copy_(law.root.tril(-1))
        self.log_spread.data.copy_(law.root.diagonal(dim1=-2, dim2=-1).log())
        self.log_initial.data.copy_(law.log_initial)
        self.log_transition.data.copy_(law.log_transition)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p, law = Trace(), self.law()
        anywhere = UniformCircle(self.log_scale.detach().new_zeros(1))
        angle = p.sample(anywhere, q["heading_0"], name="heading_0")
        z = p.normal(0.0, 1.0, value=q["z_0"], name="z_0")
        angles, path, log_s = [angle], [z], law.log_initial
        root_z, to_turn, sd_turn = law.root[:, :-1, :-1], law.root[:, -1, :-1], law.root[:, -1, -1]
        for t in range(1, len(q) // 2):
            mean = law.means(before(path))  # (…, states, normals + 1)
            of_z = MultivariateNormal(mean[..., :-1], scale_tril=root_z, validate_args=False)
            z = p.sample(_mixture(log_s, of_z), q[f"z_{t}"], name=f"z_{t}")
            log_s = log_s + of_z.log_prob(z.unsqueeze(-2))
            noise = whitened(z.unsqueeze(-2) - mean[..., :-1], root_z)  # (…, states, normals)
            loc = angle + mean[..., -1] + (to_turn * noise).sum(-1)  # (…, states)
            of_angle = _vectors(Normal(loc, sd_turn, validate_args=False))
            site = f"heading_{t}"
            angle = p.sample(_mixture(log_s, of_angle), q[site], name=site)
            log_s = log_s + of_angle.log_prob(angle.unsqueeze(-2))
            log_s = passed(log_s.log_softmax(-1), law.log_transition)
            angles.append(angle)
            path.append(z)
        mean = self.image(torch.stack(path, -2), torch.cat(angles, -1))  # (…, T, h, w)
        observe(p, mean, scale(self.log_scale), x)
        return p

    def image(self, z: Tensor, angle: Tensor) -> Tensor:
        """Draw bodies z (…, normals) at headings (…), as frames (…, h, w)."""
        side = min(self.size)
        body = (self.straight(z) + self.curved(z)).unflatten(-1, (side, side))
        return paint(body, turned(angle, self.size), self.size)


def steps(z: Tensor, angle: Tensor, there: Tensor) -> Steps:
    """Return the steps of paths z (n, T, normals) at headings (n, T), where frames exist (n, T)."""
    turn = wrapped(angle.diff(dim=-1)).unsqueeze(-1)
    outputs = torch.cat([z[..., 1:, :], turn], -1)  # (n, T − 1, normals + 1)
    return Steps(lagged(z, LAGS), outputs, there[..., 1:])


def before(path: Sequence[Tensor]) -> Tensor:
    """Return 1 and the last frames of a path z_0, …, z_{t-1} of (…, D), as `lagged` does."""
    recent = [path[max(len(path) - lag, 0)] for lag in range(1, LAGS + 1)]
    return torch.cat([torch.ones_like(path[0][..., :1]), *recent], -1)


def _mixture(log_weights: Tensor, parts: Any) -> MixtureSameFamily:
    """Return the mixture of parts (…, states) by their weights, which need not be normalised."""
    state = Categorical(logits=log_weights.expand(parts.batch_shape), validate_args=False)
    return MixtureSameFamily(state, parts, validate_args=False)


def _vectors(numbers: Normal) -> Independent[Normal]:
    """Return numbers (…) as vectors (…, 1)."""
    each = Normal(numbers.loc.unsqueeze(-1), numbers.scale.unsqueeze(-1), validate_args=False)
    return Independent(each, 1, validate_args=False)


def _silence(network: nn.Sequential) -> None:
    """Let a network begin as 0: what stands beside it begins alone."""
    for weight in network[-1].parameters():
        nn.init.zeros_(weight)


@torch.no_grad()
def begin_body(model: Model, x: Tensor, *, starts: int = 8, seed: int = 0) -> list[Found]:
    """Let a model begin at what the classical pipeline finds in sequences.

    Headings are measured by moments, z are the principal components of the aligned frames with
    variance 1, and the law of motion is fitted to both by EM (`switching.fit`).

    Args:
        model: A model of `body_frame`.
        x: Sequences (n, T, h, w), NaN beyond their end; the last fifth judges the starts.
        starts: Starts of EM.
        seed: Seed of the first.

    Returns:
        The laws that were found, the one that it begins at first.
    """
    q, p = model.encoder, model.decoder
    assert isinstance(q, _Reading)
    assert isinstance(p, _Moving)
    flat, seen = frames(x)
    angle, aligned = q.aligned(flat)
    bodies = aligned[seen]  # (frames, cells)
    mean = bodies.mean(0)
    normals = p.straight.in_features
    values, vectors = torch.linalg.eigh(torch.cov(bodies.T))
    values, vectors = values.flip(0), vectors.flip(1)
    sd, components = values[:normals].sqrt(), vectors[:, :normals]
    q.straight.weight.copy_((components / sd).T)
    q.straight.bias.copy_(-mean @ components / sd)
    p.straight.weight.copy_(components * sd)
    p.straight.bias.copy_(mean)
    z = q.straight(aligned)
    whole = steps(z.double(), angle.double(), seen)
    cut = len(x) - len(x) // HELD_OUT
    seeds = range(seed * starts, (seed + 1) * starts)
    found = fit(whole.of(slice(cut)), whole.of(slice(cut, None)), len(p.log_initial), seeds=seeds)
    p.take(found[0].law)
    return found


def read(model: Model, x: Tensor) -> Steps:
    """Return the steps of bodies and headings that a model reads in sequences: posterior means.

    Args:
        model: A model of `body_frame`.
        x: Sequences (n, T, h, w), NaN beyond their end.
    """
    q = model.posterior(x)

    def means(site: str) -> Tensor:
        dists: list[Any] = [q[f"{site}_{t}"].dist for t in range(x.shape[1])]
        return torch.stack([dist.mean for dist in dists], 1).double()  # (n, T, units)

    seen = frames(x)[1]
    return steps(means("z"), means("heading").squeeze(-1), seen)


def refit_law(model: Model, x: Tensor) -> None:
    """Fit the law of motion to what the model reads in sequences: EM from its own states.

    Encoder and image stay as they are. Training fits the law to draws, whose noise it takes for the
    animal's; posterior means have less of it.

    Args:
        model: A trained model of `body_frame`.
        x: Sequences (n, T, h, w), NaN beyond their end.
    """
    p = model.decoder
    assert isinstance(p, _Moving)
    seen = read(model, x)
    _, log_states = p.law().double().messages(seen)
    p.take(climb(seen, log_states.exp()))


@family
def body_frame(
    shape: Sequence[Size], normals: Size = 3, hidden: Size = 128, states: Size = 6
) -> Model:
    """An animal in its own frame, moving by syllables that are summed out exactly.

    Latents are heading_t, an angle, and z_t, the body, for each frame; `decoder.law()` is the law
    of motion, which recovers syllables from `steps`. `begin_body(model, x)` lets it begin well.

    Args:
        shape: Frames T, height and width of a sequence.
        normals: Units of z_t.
        hidden: Units of the hidden layers.
        states: Syllables.
    """
    return Model(
        _Reading(shape, normals, hidden), _Moving(shape, normals, hidden, states), sequences=True
    )
