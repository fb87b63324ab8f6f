"""Images in frames of their own: a pose moves, sizes and turns points, and is measured by moments.

Points are (across, down), in pixels from the middle of an image, or in units of a frame whose
square is −1 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Pose:
    r"""A place, a size and a turn: a similarity between an image and a shape's own frame.

    .. math:: u = R_θ (p - c) / s, \quad p = c + s R_{-θ} u, \quad
        R_θ = \begin{pmatrix} \cos θ & -\sin θ \\ \sin θ & \cos θ \end{pmatrix}

    As the second coordinate points down, a shape is seen turned anticlockwise by θ.

    Args:
        place: c, (*lead, 2), in pixels from the middle of the image.
        size: s > 0, (*lead), pixels for a unit of the frame.
        turn: θ in radians, (*lead).

    >>> import math
    >>> pose = Pose(torch.tensor([3.0, 0.0]), torch.tensor(2.0), torch.tensor(math.pi / 2))
    >>> points = torch.tensor([[3.0, 0.0], [5.0, 0.0]])
    >>> inside = pose.inward(points)
    >>> inside.round(decimals=4).abs().tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    >>> torch.allclose(pose.outward(inside), points)
    True
    """

    place: Tensor
    size: Tensor
    turn: Tensor

    def inward(self, points: Tensor) -> Tensor:
        """Return points (*lead, n, 2) or (n, 2) of the image in the frame, (*lead, n, 2)."""
        from_place = points - self.place.unsqueeze(-2)
        return rotated(from_place, self.turn.unsqueeze(-1)) / self._size

    def outward(self, points: Tensor) -> Tensor:
        """Return points (*lead, n, 2) or (n, 2) of the frame in the image, (*lead, n, 2)."""
        turned = rotated(points, -self.turn.unsqueeze(-1))
        return self.place.unsqueeze(-2) + self._size * turned

    @property
    def _size(self) -> Tensor:
        return self.size[..., None, None]


def rotated(points: Tensor, turn: Tensor) -> Tensor:
    """Return R_θ times the points (…, 2) by turns θ (…), in radians."""
    across, down = points.unbind(-1)
    cos, sin = turn.cos(), turn.sin()
    return torch.stack([cos * across - sin * down, sin * across + cos * down], -1)


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """Return the middles of an image's pixels, (height · width, 2), in pixels from its middle.

    >>> pixels(1, 2, torch.zeros(()))
    tensor([[-0.5000,  0.0000],
            [ 0.5000,  0.0000]])
    """
    down = torch.arange(height, dtype=like.dtype, device=like.device) - (height - 1) / 2
    across = torch.arange(width, dtype=like.dtype, device=like.device) - (width - 1) / 2
    grid = torch.meshgrid(down, across, indexing="ij")
    return torch.stack([grid[1], grid[0]], -1).flatten(0, 1)


def cells(side: int, like: Tensor) -> Tensor:
    """Return the middles of a frame's cells, (side · side, 2), within −1 to 1."""
    return pixels(side, side, like) * (2 / side)


def values_at(images: Tensor, points: Tensor) -> Tensor:
    """Return images at points, between pixels linearly, and 0 beyond their edges.

    Args:
        images: (*lead, height, width).
        points: (*lead, n, 2), −1 to 1 from edge to edge.

    Returns:
        (*lead, n).
    """
    lead = torch.broadcast_shapes(images.shape[:-2], points.shape[:-2])
    images = images.expand(*lead, *images.shape[-2:])
    points = points.expand(*lead, *points.shape[-2:])
    folded = images.reshape(-1, 1, *images.shape[-2:])  # (m, 1, height, width)
    grid = points.reshape(len(folded), 1, -1, 2)  # (m, 1, n, 2)
    found = F.grid_sample(folded, grid, align_corners=False)  # (m, 1, 1, n)
    return found.reshape(*lead, -1)


def paint(shapes: Tensor, pose: Pose, size: Sequence[int]) -> Tensor:
    """Draw shapes at their poses, differentiably (Jaderberg et al., "Spatial Transformer", 2015).

    A pixel takes the value of the shape at the point of the frame where its middle lies, and 0
    beyond the frame.

    Args:
        shapes: (*lead, side, side), which fill their frames, −1 to 1.
        pose: Poses (*lead).
        size: Height and width of the images.

    Returns:
        Images (*lead, height, width).
    """
    height, width = size
    points = pose.inward(pixels(height, width, shapes))  # (*lead, height · width, 2)
    painted: Tensor = values_at(shapes, points).unflatten(-1, (height, width))
    return painted


def look(images: Tensor, pose: Pose, side: int) -> Tensor:
    """Return images (*lead, height, width) as seen from frames, (*lead, side, side).

    It undoes `paint`, but for what is lost between pixels.
    """
    height, width = images.shape[-2:]
    points = pose.outward(cells(side, images))  # (*lead, side · side, 2)
    edges = points.new_tensor([width / 2, height / 2])
    seen: Tensor = values_at(images, points / edges).unflatten(-1, (side, side))
    return seen


def moments(images: Tensor, *, rounds: int = 0, reach: float = 1.5) -> tuple[Tensor, Tensor]:
    """Measure the centre of the mass of bright things, and the root of their mass.

    With `rounds`, both are measured again in a window about the centre, less the ground's mean
    beyond the window: specks far from the thing then count no more.

    Args:
        images: (*lead, height, width), 0 where nothing is.
        rounds: How often they are measured again.
        reach: Half of the window's side, in roots of the mass.

    Returns:
        Centres (*lead, 2), in pixels from the middle, and roots of the mass (*lead), in pixels: a
        filled square's side.
    """
    height, width = images.shape[-2:]
    points = pixels(height, width, images)  # (h · w, 2)
    weights = images.flatten(-2)  # (*lead, h · w)
    mass = weights.sum(-1).clamp_min(1.0)
    centre = (weights @ points) / mass.unsqueeze(-1)
    for _ in range(rounds):
        distance = (points - centre.unsqueeze(-2)).abs().amax(-1)  # (*lead, h · w)
        window = (distance <= reach * mass.sqrt().unsqueeze(-1)).to(weights)
        beyond = 1 - window
        ground = (weights * beyond).sum(-1) / beyond.sum(-1).clamp_min(1.0)
        own = (weights - ground.unsqueeze(-1)) * window
        mass = own.sum(-1).clamp_min(1.0)
        centre = (own @ points) / mass.unsqueeze(-1)
    return centre, mass.sqrt()


def heading(images: Tensor, *, blur: float = 0.7, noises: float = 4.0) -> Tensor:
    r"""Measure where a long bright thing points: the long axis of its second moments.

    .. math:: θ = ½ \operatorname{atan2}(2 μ_{ad}, μ_{aa} - μ_{dd}) \; (+ π)

    a is across and d up, from the centre of the mass. The thing points to the side of the middle of
    the image on which its centre lies. Specks far from the thing weigh most in such moments, so
    images are blurred first, and what then lies below some standard deviations of the noise is
    ground.

    Args:
        images: (*lead, height, width), with a ground about 0 that most pixels show.
        blur: Standard deviation of the blur in pixels.
        noises: Standard deviations of the blurred noise below which there is ground. The noise of
            an image is measured by the median of its absolute pixels.

    Returns:
        θ in radians anticlockwise from the right, (*lead), as `Pose` turns; 0 for empty images.

    >>> bar = torch.zeros(9, 9)
    >>> bar[1:5, 4] = 1.0  # from the middle upwards
    >>> round(float(heading(bar)), 3)
    1.571
    """
    height, width = images.shape[-2:]
    half = math.ceil(3 * blur)
    taps = torch.arange(-half, half + 1, dtype=images.dtype, device=images.device)
    kernel = (-0.5 * (taps / blur) ** 2).exp()
    kernel = kernel / kernel.sum()
    folded = images.reshape(-1, 1, height, width)  # (m, 1, height, width)
    across = F.conv2d(folded, kernel.view(1, 1, 1, -1), padding=(0, half))
    both = F.conv2d(across, kernel.view(1, 1, -1, 1), padding=(half, 0)).view_as(images)
    flat = both.flatten(-2)  # (*lead, h · w)
    spread = images.abs().flatten(-2).median(-1, keepdim=True).values / 0.6745
    least = noises * kernel.square().sum() * spread  # of what is no ground, (*lead, 1)
    weights = flat.where(flat > least, 0.0)
    points = pixels(height, width, images) * images.new_tensor([1.0, -1.0])  # across and up
    mass = weights.sum(-1, keepdim=True).clamp_min(1e-6)
    centre = weights @ points / mass  # (*lead, 2)
    a, d = (points - centre.unsqueeze(-2)).unbind(-1)  # (*lead, h · w) each
    aa, dd, ad = ((weights * square).sum(-1) for square in (a * a, d * d, a * d))
    axis = 0.5 * torch.atan2(2 * ad, aa - dd)
    front = centre[..., 0] * axis.cos() + centre[..., 1] * axis.sin()
    return axis + math.pi * (front < 0)
