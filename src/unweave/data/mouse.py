r"""A simulated mouse, seen from above by a depth camera, with known posture and syllables.

Public copies of real recordings are rare; this one has the structure that they are modelled by. A
syllable s_t (walk, turn, rear, …) changes by a Markov chain, posture moves smoothly within each
syllable, and a body is drawn from posture:

.. math:: p(s_t | s_{t-1}) = P_{s_{t-1} s_t}, \quad
          a_t = a_{t-1} + ρ\,(\bar a_{s_t} - a_{t-1}) + ε, \quad
          θ_t = θ_{t-1} + ω_{s_t} + ε, \quad φ_t = φ_{t-1} + ν_{s_t} + ε

where the posture a has bend, length, height and gait, the heading θ turns and the phase φ of the
gait advances. No single frame shows in which direction the animal turns: consecutive frames do.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data, random_keys

Floats = npt.NDArray[np.float32]

SYLLABLES = ("pause", "walk", "turn left", "turn right", "rear", "groom")

LASTS = np.array([7.0, 10.0, 7.0, 7.0, 8.0, 10.0])
"""The number of frames that each syllable lasts on average."""

FOLLOWS = np.array(
    [
        [0.0, 0.4, 0.15, 0.15, 0.15, 0.15],
        [0.2, 0.0, 0.3, 0.3, 0.2, 0.0],
        [0.2, 0.6, 0.0, 0.1, 0.1, 0.0],
        [0.2, 0.6, 0.1, 0.0, 0.1, 0.0],
        [0.5, 0.2, 0.1, 0.1, 0.0, 0.1],
        [0.5, 0.1, 0.1, 0.1, 0.2, 0.0],
    ]
)
"""The probabilities of the next syllable, (from, to)."""

POSTURE = np.array(
    [  # bend, length, height, gait
        [0.0, 0.50, 0.35, 0.0],
        [0.0, 0.80, 0.40, 1.0],
        [0.2, 0.55, 0.40, 0.0],
        [-0.2, 0.55, 0.40, 0.0],
        [0.0, 0.10, 0.90, 0.0],
        [0.0, 0.25, 0.50, 0.7],
    ]
)
"""The posture that each syllable tends to, ā."""

TURNS = np.array([0.0, 0.0, 0.25, -0.25, 0.0, 0.0])
"""The turn ω of each syllable, in radians a frame."""

STEPS = np.array([0.0, 0.8, 0.0, 0.0, 0.0, 1.6])
"""The advance ν of the gait in each syllable, in radians a frame."""

PULL = 0.3
"""The pull ρ towards a syllable's posture."""

JITTER = 0.02
"""The standard deviation of each ε."""


class Recording(NamedTuple):
    """Sequences of frames with syllables and poses, NaN and −1 beyond a sequence's end."""

    x: Floats
    """Height above the floor, 0 to about 1, with the camera's noise, (n, length, size, size)."""
    syllable: npt.NDArray[np.int64]
    """The syllable of each frame, a number in `SYLLABLES`, (n, length)."""
    pose: Floats
    """Heading and phase in radians, bend, length, height and gait, (n, length, 6)."""


def mouse(
    split: Literal["train", "test"] = "train",
    n: int = 1000,
    *,
    length: int = 24,
    shortest: int | None = None,
    size: int = 24,
    seed: int = 0,
) -> Data:
    """Simulate n sequences of depth frames, without factors: a syllable belongs to a frame.

    The data are a function of the arguments alone; a thousand sequences take about two seconds.
    `record` returns the syllables too.

    Args:
        split: "train" or "test", which differ by their random numbers.
        n: Number of sequences.
        length: Number of frames of a sequence.
        shortest: Least number of frames. Lengths are then spread evenly from it to `length`, and
            frames beyond a sequence's end are missing (NaN).
        size: Pixels a side.
        seed: Seed of the simulation.

    Returns:
        x float32 of shape (n, length, size, size); no factors.

    Raises:
        ValueError: If `record` refuses the arguments.

    >>> mouse("test", 3, length=10)
    Data(mouse: 3 items of shape (10, 24, 24); factors: none)
    """
    x = record(split, n, length=length, shortest=shortest, size=size, seed=seed).x
    missing = shortest is not None and shortest < length
    return Data(x, np.zeros((n, 0), np.int64), (), (), (), "mouse", missing=missing)


def record(
    split: Literal["train", "test"] = "train",
    n: int = 1000,
    *,
    length: int = 24,
    shortest: int | None = None,
    size: int = 24,
    noise: float = 0.08,
    seed: int = 0,
) -> Recording:
    """Simulate the sequences of `mouse` with their syllables and poses.

    Args:
        split: As for `mouse`.
        n: As for `mouse`.
        length: As for `mouse`.
        shortest: As for `mouse`.
        size: As for `mouse`.
        noise: Standard deviation of the camera's noise, in units of height.
        seed: As for `mouse`.

    Returns:
        Frames, syllables and poses.

    Raises:
        ValueError: If the split is unknown, there are no sequences, `shortest` is not 1 to
            `length`, or the frames are too small.

    >>> recording = record("test", 2, length=5, shortest=2)
    >>> recording.x.shape, recording.syllable.shape
    ((2, 5, 24, 24), (2, 5))
    """
    shortest = length if shortest is None else shortest
    if split not in ("train", "test") or n < 1 or not 1 <= shortest <= length or size < 8:
        raise ValueError(
            f"split={split!r}, n={n}, length={length}, shortest={shortest}, size={size}: expected "
            "'train' or 'test', a sequence or more, 1 to `length` frames for the shortest, and 8 "
            "pixels a side or more"
        )
    first = 4 * (2 * seed + (split == "test"))
    streams = iter(range(first, first + 4))
    syllable = _syllables(_uniform((length, n), next(streams)))
    pose = _poses(syllable, _normal((length, n, 6), next(streams)))
    pose = pose.transpose(1, 0, 2)  # (n, length, 6)
    parts = np.array_split(pose, max(1, n // 100))
    x = np.concatenate([_drawn(part, size) for part in parts])
    x += np.float32(noise) * _normal(x.shape, next(streams))
    longer = np.floor((length - shortest + 1) * _uniform((n,), next(streams)))
    ends = shortest + longer.astype(np.int64)
    beyond = np.arange(length) >= ends[:, None]  # (n, length)
    x[beyond] = np.nan
    syllable = np.where(beyond, -1, syllable.T)
    return Recording(x, syllable, pose)


def transitions() -> npt.NDArray[np.float64]:
    """Return P (from, to): a syllable of mean length L goes on with probability 1 − 1/L."""
    stays = np.diag(1 - 1 / LASTS)
    moves = FOLLOWS / LASTS[:, None]
    return np.asarray(stays + moves)


def _syllables(u: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Drive the chain by uniform numbers from its stationary distribution on, (length, n)."""
    chain = transitions()
    rows = np.cumsum(chain, axis=1)[:, :-1]
    stationary = np.linalg.matrix_power(chain, 1000)[0].cumsum()[:-1]
    states = [np.searchsorted(stationary, u[0], side="right")]
    for now in u[1:]:
        passed = now[:, None] >= rows[states[-1]]  # (n, syllables − 1)
        states.append(passed.sum(1))
    return np.asarray(states, dtype=np.int64)


def _poses(syllable: npt.NDArray[np.int64], noise: Floats) -> Floats:
    """Move heading and phase from anywhere, posture from the first syllable's, (length, n, 6)."""
    goals = POSTURE[syllable]
    speeds = np.stack([TURNS, STEPS], 1)[syllable]
    angles = 10 * noise[0, :, :2]
    posture = goals[0]
    poses = [np.concatenate([angles, posture], 1)]
    for goal, speed, e in zip(goals[1:], speeds[1:], JITTER * noise[1:], strict=True):
        angles = angles + speed + e[:, :2]
        posture = posture + PULL * (goal - posture) + e[:, 2:]
        poses.append(np.concatenate([angles, posture], 1))
    return np.asarray(poses, dtype=np.float32)


def _drawn(pose: Floats, size: int) -> Floats:
    """Draw the highest of a body, a head and a tail, (…, size, size).

    Each is half an ellipsoid that lies on the floor.
    """
    heading, phase, bend, length, height, gait = np.moveaxis(pose[..., None, None], -3, 0)
    bend = bend + 0.35 * gait * np.sin(phase)
    length = length + 0.15 * gait * np.cos(phase)
    axis = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    x = axis[None, :]
    y = -axis[:, None]
    half = 0.36 + 0.24 * length
    frame = np.zeros(np.broadcast_shapes(heading.shape, x.shape, y.shape), np.float32)
    for along, turn, long, wide, top in (
        (0.0, 0.0, half, 0.30 - 0.06 * length, height),
        (half, bend, 0.22, 0.15, 0.2 + 0.7 * height),
        (-half - 0.1, -bend, 0.25, 0.07, 0.15 + 0.0 * height),
    ):
        cos = np.cos(heading + turn)
        sin = np.sin(heading + turn)
        u = x * cos + y * sin - along
        v = y * cos - x * sin
        inside = np.maximum(1 - (u / long) ** 2 - (v / wide) ** 2, 0)
        np.maximum(frame, top * np.sqrt(inside), out=frame)
    return frame


def _uniform(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    keys = random_keys(int(np.prod(shape)), seed).reshape(shape)
    return np.asarray((keys >> np.uint64(11)) * 2.0**-53)  # a float64 holds 53 bits


def _normal(shape: tuple[int, ...], seed: int) -> Floats:
    """Draw standard normal numbers from pairs of uniform ones (Box and Muller, 1958)."""
    count = int(np.prod(shape))
    half = -(-count // 2)
    u, v = _uniform((2, half), seed)
    radius = np.sqrt(-2 * np.log1p(-u)).astype(np.float32)
    angle = (2 * np.pi * v).astype(np.float32)
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[:count].reshape(shape)
