r"""A simulated mouse, seen from above by a depth camera: frames whose posture and syllables are
known.

Real recordings of this kind are short of public copies; this one has what they are modelled by. A
syllable s_t (walk, turn, rear, …) changes by a Markov chain, posture moves smoothly within each,
and a body is drawn from it:

.. math:: p(s_t | s_{t-1}) = P_{s_{t-1} s_t}, \quad
          a_t = a_{t-1} + ρ\,(\bar a_{s_t} - a_{t-1}) + ε, \quad
          θ_t = θ_{t-1} + ω_{s_t} + ε, \quad φ_t = φ_{t-1} + ν_{s_t} + ε

with a posture a of bend, length, height and gait, a heading θ that turns and a phase φ of the gait
that advances. Which way the animal turns shows in no single frame, but in how one follows another.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data, random_keys

Floats = npt.NDArray[np.float32]

SYLLABLES = ("pause", "walk", "turn left", "turn right", "rear", "groom")

LASTS = np.array([7.0, 10.0, 7.0, 7.0, 8.0, 10.0])
"""How many frames each syllable lasts on average."""

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
"""Which syllable comes next, as one ends."""

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
"""Where the posture of each syllable tends to."""

TURNS = np.array([0.0, 0.0, 0.25, -0.25, 0.0, 0.0])
"""ω: radians a frame."""

STEPS = np.array([0.0, 0.8, 0.0, 0.0, 0.0, 1.6])
"""ν: radians a frame."""

PULL, JITTER = 0.3, 0.02
"""ρ, and the standard deviation of each ε."""


class Recording(NamedTuple):
    """Sequences of frames with all that is known of them; beyond a sequence's end frames are NaN,
    syllables −1.
    """

    x: Floats
    """(n, length, size, size) height above the floor, 0 to about 1, with the camera's noise."""
    syllable: npt.NDArray[np.int64]
    """(n, length) the syllable of each frame, a number in `SYLLABLES`."""
    pose: Floats
    """(n, length, 6) heading and phase in radians, bend, length, height, gait."""


def mouse(
    split: Literal["train", "test"] = "train",
    n: int = 1000,
    *,
    length: int = 24,
    shortest: int | None = None,
    size: int = 24,
    seed: int = 0,
) -> Data:
    """n sequences of `length` depth frames (size, size); no factors, for a syllable belongs to a
    frame: see `record`.

    With `shortest`, lengths differ, from that on evenly, and frames beyond the end are missing
    (NaN). A function of the arguments alone; a thousand sequences take about two seconds. Errors:
    as of `record`.

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
    """The sequences of `mouse` with their syllables and poses; `noise` is the camera's, in units of
    height.

    Errors: ValueError for an unknown split, no sequences, or a `shortest` that is not 1 to
    `length`.

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
    streams = (4 * (2 * seed + (split == "test")) + k for k in range(4))
    syllable = _syllables(_uniform((length, n), next(streams)))
    pose = _poses(syllable, _normal((length, n, 6), next(streams)))
    x = np.concatenate(
        [_drawn(part, size) for part in np.array_split(pose.transpose(1, 0, 2), max(1, n // 100))]
    )
    x += np.float32(noise) * _normal(x.shape, next(streams))
    ends = shortest + np.floor((length - shortest + 1) * _uniform((n,), next(streams))).astype(
        np.int64
    )
    beyond = np.arange(length) >= ends[:, None]
    x[beyond], syllable = np.nan, np.where(beyond, -1, syllable.T)
    return Recording(x, syllable, pose.transpose(1, 0, 2))


def transitions() -> npt.NDArray[np.float64]:
    """P (from, to): a syllable of mean length L goes on with probability 1 − 1/L, or gives way to
    one that follows.
    """
    return np.asarray(np.diag(1 - 1 / LASTS) + FOLLOWS / LASTS[:, None])


def _syllables(u: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(length, n): the chain from its stationary distribution, driven by uniform numbers."""
    rows = np.cumsum(transitions(), axis=1)[:, :-1]
    stationary = np.linalg.matrix_power(transitions(), 1000)[0].cumsum()[:-1]
    states = [np.searchsorted(stationary, u[0], side="right")]
    for now in u[1:]:
        states.append((now[:, None] >= rows[states[-1]]).sum(1))
    return np.asarray(states, dtype=np.int64)


def _poses(syllable: npt.NDArray[np.int64], noise: Floats) -> Floats:
    """(length, n, 6): heading and phase start anywhere, posture where the first syllable tends
    to.
    """
    goals, speeds = POSTURE[syllable], np.stack([TURNS, STEPS], 1)[syllable]
    angles, posture = 10 * noise[0, :, :2], goals[0]
    poses = [np.concatenate([angles, posture], 1)]
    for goal, speed, e in zip(goals[1:], speeds[1:], JITTER * noise[1:], strict=True):
        angles = angles + speed + e[:, :2]
        posture = posture + PULL * (goal - posture) + e[:, 2:]
        poses.append(np.concatenate([angles, posture], 1))
    return np.asarray(poses, dtype=np.float32)


def _drawn(pose: Floats, size: int) -> Floats:
    """(…, size, size): the highest of a body, a head and a tail, each half an ellipsoid that lies
    on the floor.
    """
    heading, phase, bend, length, height, gait = np.moveaxis(pose[..., None, None], -3, 0)
    bend = bend + 0.35 * gait * np.sin(phase)
    length = length + 0.15 * gait * np.cos(phase)
    axis = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    x, y = axis[None, :], -axis[:, None]
    half = 0.36 + 0.24 * length
    frame = np.zeros(np.broadcast_shapes(heading.shape, x.shape, y.shape), np.float32)
    for along, turn, long, wide, top in (
        (0.0, 0.0, half, 0.30 - 0.06 * length, height),
        (half, bend, 0.22, 0.15, 0.2 + 0.7 * height),
        (-half - 0.1, -bend, 0.25, 0.07, 0.15 + 0.0 * height),
    ):
        cos, sin = np.cos(heading + turn), np.sin(heading + turn)
        u, v = x * cos + y * sin - along, y * cos - x * sin
        np.maximum(
            frame, top * np.sqrt(np.maximum(1 - (u / long) ** 2 - (v / wide) ** 2, 0)), out=frame
        )
    return frame


def _uniform(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    keys = random_keys(int(np.prod(shape)), seed).reshape(shape)
    return np.asarray((keys >> np.uint64(11)) * 2.0**-53)  # 53 bits, all that a float64 holds


def _normal(shape: tuple[int, ...], seed: int) -> Floats:
    """Standard normal numbers, from pairs of uniform ones (Box and Muller, 1958)."""
    half = -(-int(np.prod(shape)) // 2)
    u, v = _uniform((2, half), seed)
    radius, angle = (
        np.sqrt(-2 * np.log1p(-u)).astype(np.float32),
        (2 * np.pi * v).astype(np.float32),
    )
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
    return both[: int(np.prod(shape))].reshape(shape)
