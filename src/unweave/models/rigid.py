r"""Rigid shapes: a class picks a learned template; a place, a size and a turn move it.

.. math:: y \sim \text{Categorical}, \quad ψ \sim \text{Uniform circle}, \quad
    size, place \sim N(0, 1), \quad x \sim \text{Bernoulli}(g + t_y(R_θ (p - c) / s))

with the logits :math:`g` of the ground and :math:`t_y` of the template, p a pixel,
:math:`\log s = μ_y + σ_y \, size`, c in proportion to the place, and :math:`θ = ψ / m_y`: a shape
that looks the same m times a turn is turned within its own period, so the angle is a full circle
for each class and does not tell it.

The encoder asks the decoder. Place and size are the moments of the image, which a small network
corrects; class and turn are weighed by the templates' own likelihood at 24 turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..affine import Pose, look, moments, paint, rotated
from ..arguments import Positive, Size
from ..nets import Running, mlp, scale
from ..trace.axes import plain
from ..trace.circle import UniformCircle, WrappedNormal
from ..trace.hypotheses import Cooling, Hypotheses, peaks
from ..trace.trace import Trace
from .medoids import medoids
from .model import Model, family

TURNS = 24
"""Turns at which the encoder asks how likely an image is."""

HYPOTHESES = 8
"""Turns that are kept of them for each class, one for each part of the circle."""

ORDERS = (1, 2, 3, 4, 6, 8)
"""Numbers of times that a shape may look the same in a whole turn; they divide `TURNS`."""

ALIKE = 0.1
"""Share of the worst turn's cost below which a turn leaves a shape the same."""

ROOMY = 1.1
"""Half of a frame's side, in roots of the mass of what it holds."""

GAIN = 30.0
"""Log odds for a unit of a parameter: they have further to go than weights, by the same steps."""

CERTAIN = 4.0
"""Log odds, either way, of the images that templates begin as."""

VIEW = 16
"""Pixels a side of the image that the network sees."""


class _Laws(nn.Module):
    """The laws of the classes, fitted in closed form by running means."""

    def __init__(self, classes: int, log_size: float) -> None:
        super().__init__()
        start = torch.tensor([log_size, log_size**2 + 0.25])
        self.sizes = Running(start.repeat(classes, 1))
        self.offsets = Running(torch.tensor([0.0, 0.0, 1.0]).repeat(classes, 1))
        self.costs = Running(torch.ones(classes, len(ORDERS) + 1))

    def log_size(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the log size, (classes,) each.

        They maximise E[log N(log s; μ, σ²)], hence what p(size|y) adds to the bound.
        """
        mean, square = self.sizes.mean.unbind(-1)
        variance = square - mean**2
        return mean, variance.clamp_min(1e-4).sqrt()

    def centre(self) -> Tensor:
        """Return where the place lies in each template's frame, in sizes, (classes, 2).

        An image tells the centre m of the mass. The program's place c = m − s R_{−θ} d knows
        nothing of the turn, and E|c|² is least for −d = −E[s R_θ m] / E[s²]. It is 0 where a part
        of a turn leaves the template the same, as the mass then lies in the middle of all turns.
        """
        across, down, area = self.offsets.mean.unbind(-1)
        centre = -torch.stack([across, down], -1) / area.unsqueeze(-1)
        has_one_turn = self.order() == 1
        return centre * has_one_turn.unsqueeze(-1)

    def order(self) -> Tensor:
        """Return how many times each template looks the same in a whole turn, (classes,)."""
        costs = self.costs.mean
        looks_same = costs[:, :-1] < ALIKE * costs[:, -1:]
        orders = torch.tensor(ORDERS, dtype=costs.dtype, device=costs.device)
        return (looks_same * orders).amax(-1).clamp_min(1)

    def learn(
        self, shares: Tensor, centre: Tensor, log_size: Tensor, turn: Tensor, scores: Tensor
    ) -> None:
        """Add a batch of items to the running means.

        Args:
            shares: q(y|x), (items, classes).
            centre: Centres of the mass, (items, 2).
            log_size: Log sizes, (items,).
            turn: θ of each class, (classes, items).
            scores: Log-likelihoods, (items, classes, turns).
        """
        weights = shares.T  # (classes, items)
        of_size = torch.stack([log_size, log_size**2], -1)  # (items, 2)
        self.sizes.add(of_size.expand(*weights.shape, 2), weights)
        size = log_size.exp().unsqueeze(-1)  # (items, 1)
        turned = size * rotated(centre, turn)  # (classes, items, 2)
        area = (size**2).expand(*weights.shape, 1)
        self.offsets.add(torch.cat([turned, area], -1), weights)
        costs = costs_of_turns(scores).movedim(-2, 0)  # (classes, items, orders + 1)
        self.costs.add(costs, weights)


def costs_of_turns(scores: Tensor) -> Tensor:
    """Return what turning the best hypothesis by 2π / m costs in nats, and the worst turn's cost.

    Args:
        scores: Log-likelihoods (…, turns).

    Returns:
        (…, orders + 1), for each m of `ORDERS`, the worst last.
    """
    best, at = scores.max(-1, keepdim=True)
    steps = [TURNS // order % TURNS for order in ORDERS]
    others = (at + torch.tensor(steps, device=at.device)) % TURNS
    least = scores.amin(-1, keepdim=True)
    return best - torch.cat([scores.gather(-1, others), least], -1)


class _Shapes(nn.Module):
    """The program p(y) p(turn) p(size) p(place) p(x | y, turn, size, place)."""

    def __init__(self, shape: Sequence[int], classes: int, side: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.unit = min(self.shape[:2]) / 4
        self.templates = nn.Parameter(0.1 / GAIN * torch.randn(classes, side, side))
        self.ground = nn.Parameter(torch.tensor(-CERTAIN / GAIN))
        self.laws = _Laws(classes, math.log(self.unit))

    def log_odds(self) -> tuple[Tensor, Tensor]:
        """Return the log odds of the templates above the ground's, (classes, side, side), and it.

        The pixels of a template are those of the ground but for what it adds.
        """
        return GAIN * self.templates, GAIN * self.ground

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        like = self.templates.detach()
        y = p.categorical(like.new_zeros(len(like)), value=q["y"], name="y")
        anywhere = UniformCircle(like.new_zeros(()))
        turn = p.sample(anywhere, q["turn"], name="turn")
        size = p.normal(0.0, 1.0, value=q["size"], name="size")
        place = p.normal(0.0, 1.0, value=q["place"], name="place")
        p.bernoulli(self.image(y, turn, size, place), value=x, name="x")
        return p

    def image(self, y: Tensor, turn: Tensor, size: Tensor, place: Tensor) -> Tensor:
        """Return the log odds of the pixels, (…, *shape)."""
        templates, ground = self.log_odds()
        chosen = (y @ templates.flatten(1)).unflatten(-1, templates.shape[1:])
        pose = self.pose(y, turn, size, place)
        off = rotated(y @ self.laws.centre(), -pose.turn)
        mass = pose.place - pose.size.unsqueeze(-1) * off
        frame = Pose(mass, ROOMY * pose.size, pose.turn)
        image = ground + paint(chosen, frame, self.shape[:2])
        if len(self.shape) == 3:  # the same in all colours
            image = image.unsqueeze(-1).expand(*image.shape, self.shape[2])
        return image

    def pose(self, y: Tensor, turn: Tensor, size: Tensor, place: Tensor) -> Pose:
        """Return the pose that the latents say: c and s in pixels, θ = ψ / m in radians, (…)."""
        mean, sd = self.laws.log_size()
        s = (y @ mean + (y @ sd) * size.squeeze(-1)).exp()
        return Pose(self.unit * place, s, turn.squeeze(-1) / (y @ self.laws.order()))

    def scores(self, x: Tensor, centre: Tensor, size: Tensor) -> Tensor:
        r"""Return log p(x | y, turn) of images (*lead, h, w), (*lead, classes, turns).

        It is up to a constant of the image, and computed in the templates' frames, where a cell
        stands for its area A in pixels:

        .. math:: A \sum_u [x(u) t_y(u) - \log(1 + e^{g + t_y(u)}) + \log(1 + e^g)]

        Args:
            x: Images of one colour.
            centre: Centres of mass (*lead, 2).
            size: Roots of mass (*lead).
        """
        templates, ground = self.log_odds()
        side = templates.shape[-1]
        flat = templates.flatten(1)  # (classes, cells)
        turn = torch.arange(TURNS, device=x.device) * (2 * math.pi / TURNS) - math.pi
        frame = ROOMY * size.unsqueeze(-1)  # (*lead, 1)
        seen = look(x.unsqueeze(-3), Pose(centre.unsqueeze(-2), frame, turn), side)
        cost = (F.softplus(ground + flat) - F.softplus(ground)).sum(-1)  # (classes,)
        score = seen.flatten(-2) @ flat.T - cost  # (*lead, turns, classes)
        area = (2 * frame / side) ** 2
        return (area.unsqueeze(-1) * score).movedim(-1, -2)


class _Asking(nn.Module):
    """The program q(y|x) q(turn|x, y) q(size|x, y) q(place|x, y, turn), which asks the decoder."""

    def __init__(self, decoder: _Shapes, hidden: int, cooling: Cooling) -> None:
        super().__init__()
        self.decoder = decoder
        self.cooling = cooling
        self.correction = mlp([VIEW**2, hidden, 3])
        last = self.correction[-1]
        for weight in last.parameters():
            nn.init.zeros_(weight)
        self.log_scale = nn.Parameter(torch.tensor([0.0, -3.0, -3.0]))

    def forward(self, x: Tensor) -> Trace:
        q, laws = Trace(), self.decoder.laws
        grey = _grey(x, len(self.decoder.shape) == 3)
        centre, log_size = self.measured(grey)
        with torch.no_grad():
            scores = self.decoder.scores(grey, centre, log_size.exp())
            found = peaks(self.cooling(scores), HYPOTHESES)  # (*lead, classes, hypotheses) each
        y = q.categorical(found.log_weights.logsumexp(-1), name="y")
        log_weights, loc, width = (_of_class(y, t) for t in found)
        order = y @ laws.order()
        of_turn, of_size, of_place = scale(self.log_scale)
        whole = order[..., None, None]
        each = WrappedNormal(whole * loc, of_turn * whole * width)
        turn = q.sample(Hypotheses(log_weights, each), name="turn")
        angle = turn.squeeze(-1) / order
        if self.training:
            shares = found.log_weights.logsumexp(-1).softmax(-1)
            laws.learn(shares, centre.detach(), log_size.detach(), plain(angle.detach()), scores)
        mean, sd = (y @ law for law in laws.log_size())
        size = (log_size - mean) / sd
        q.normal(size.unsqueeze(-1), (of_size / sd).unsqueeze(-1), name="size")
        off = rotated(y @ laws.centre(), -angle)
        place = centre + log_size.exp().unsqueeze(-1) * off
        q.normal(place / self.decoder.unit, of_place, name="place")
        return q

    def measured(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres of mass (*lead, 2), in pixels, and log sizes (*lead) of images."""
        centre, size = moments(x, rounds=2)
        upright = Pose(centre, ROOMY * size, torch.zeros_like(size))
        change = self.correction(look(x, upright, VIEW).flatten(-2))
        moved = centre + change[..., :2]
        return moved, size.log() + 0.1 * change[..., 2]

    @torch.no_grad()
    def begin(self, x: Tensor) -> list[int]:
        """Let templates begin as images: those that explain the others best, however turned.

        They are the medoids of the images under the decoder's likelihood per pixel.

        Args:
            x: Some hundred images, (n, *shape), with more of them than classes.

        Returns:
            The numbers of the images, one for each class.
        """
        decoder = self.decoder
        classes, side, _ = decoder.templates.shape
        grey = _grey(x, len(decoder.shape) == 3)
        centre, size = moments(grey, rounds=2)
        upright = Pose(centre, ROOMY * size, torch.zeros_like(size))
        log_odds = CERTAIN * (2 * look(grey, upright, side) - 1)  # (n, side, side)
        ground = GAIN * decoder.ground
        decoder.templates.data = (log_odds - ground) / GAIN
        scores = decoder.scores(grey, centre, size)  # (n, candidates, turns)
        costs = -scores.amax(-1).T / size**2  # (candidates, n)
        chosen = medoids(costs, classes)
        decoder.templates.data = decoder.templates.data[chosen]
        return chosen


def _grey(x: Tensor, has_colours: bool) -> Tensor:
    """Return images (*lead, h, w) of one colour, in which the brightest pixel is 1."""
    grey = x.mean(-1) if has_colours else x
    return grey / grey.amax((-2, -1), keepdim=True).clamp_min(1e-6)


def _of_class(y: Tensor, t: Tensor) -> Tensor:
    """Return what t (*lead, classes, hypotheses) has for each class, (…, 1, hypotheses)."""
    chosen = y.unsqueeze(-1) * t  # (…, classes, hypotheses)
    return chosen.sum(-2, keepdim=True)


@family
def rigid(
    shape: Sequence[Size],
    classes: Size = 3,
    *,
    side: Size = 32,
    hidden: Size = 64,
    warm: Positive = 4.0,
    cooling: Size = 300,
) -> Model:
    """Rigid shapes on a ground: class, turn, size and place of the one thing that an image shows.

    Latents are y, the class; turn, an angle within the period of its shape; size, standardised
    class by class; and place (across, down), in quarters of the image from its middle.
    `encoder.begin(x)` lets the templates begin as images, without which classes and turns are
    easily mixed up.

    Args:
        shape: Height, width and, if any, colours of an image of numbers in [0, 1]. The ground is
            dark, and colours are not told apart.
        classes: Number of shapes.
        side: Cells a side of a template.
        hidden: Units of the network that corrects the moments.
        warm: The first temperature of the hypotheses' weights (see `Cooling`).
        cooling: Number of steps after which it is 1.

    >>> model = rigid((16, 16), 2, side=8)
    >>> q, p = model(torch.rand(5, 16, 16).round())
    >>> list(q), q["turn"].value.shape
    (['y', 'turn', 'size', 'place'], torch.Size([2, 5, 1]))
    """
    decoder = _Shapes(shape, classes, side)
    return Model(_Asking(decoder, hidden, Cooling(warm, cooling)), decoder)
