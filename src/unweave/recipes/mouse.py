"""A simulated mouse: in its own frame, and by models that know nothing of headings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np

import unweave as uw
from unweave.arguments import Size

from .flags import Batch, Quick, Rate, Seed, recipe
from .mouse_findings import findings, shortest

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.training.recipe import Recipe

Kind = Annotated[
    Literal["body", "deep-markov", "switching", "static", "linear"],
    "body: heading apart, syllables drive the rest. deep-markov: gated steps. switching: linear "
    "ones, by states. static: single frames. linear: on pixels, exactly.",
]


class _Settings(NamedTuple):
    """Settings of a kind of model where no flag says otherwise."""

    latents: int
    states: int
    epochs: int


IN_BODY = _Settings(latents=3, states=6, epochs=6)
ON_FRAMES = _Settings(latents=8, states=8, epochs=75)


@recipe
def mouse(
    *,
    model: Kind = "body",
    sequences: Annotated[Size, "Sequences to train on."] = 1000,
    length: Annotated[
        Size,
        "Frames of the longest; the shortest have six tenths of it, the others are in between.",
    ] = 20,
    latents: Annotated[
        Size | None, "Normals a frame: 3 in the body's frame, else 8; the linear model has twice 8."
    ] = None,
    states: Annotated[Size | None, "Syllables: 6 in the body's frame, else 8."] = None,
    starts: Annotated[Size, "Starts of the syllables in the body's frame."] = 6,
    epochs: Annotated[
        Size | None, "Passes over the training data: 6 in the body's frame, else 75."
    ] = None,
    batch: Batch = 16,
    lr: Rate = 3e-3,
    quick: Quick = False,
    seed: Seed = 0,
) -> Recipe:
    """A simulated mouse in its own frame: which way it points, how it lies, and what it does next.

    The heading is a group of its own, frames are read and drawn in the body's frame, and a law of
    motion that switches by a Markov chain drives both. No label is seen; the number of syllables
    is told. After training, EM fits the law once more, to the codes. Other models, which know
    nothing of headings, compare.

    Measured, mean ± sd over seeds 0 to 4 (`unweave study syllables`): ARI of the states with the
    true syllables 0.960 ± 0.002, held-out log p(x) 623.3 ± 0.4 nats a frame (a bound), in 53 to 74
    s of training. docs/results/mouse.md says what the program is told; docs/results/state_space.md
    has the other models.
    """
    size = IN_BODY if model == "body" else ON_FRAMES
    latents, states = latents or size.latents, states or size.states
    epochs = epochs or size.epochs
    if quick:
        sequences, length, epochs = 64, 8, 2
    record = partial(uw.data.mouse, length=length, shortest=shortest(length))
    train, test = record("train", sequences), record("test", 16 if quick else 200)
    families: dict[str, Callable[..., Model]] = {
        "body": partial(uw.models.body_frame, normals=latents, states=states),
        "deep-markov": partial(uw.models.deep_markov, normals=latents),
        "switching": partial(uw.models.switching_linear, normals=latents, states=states),
        "static": partial(uw.models.static_frames, normals=latents),
        "linear": partial(_principal, train, normals=2 * latents),
    }
    steps = epochs * (len(train) // batch)
    warms = model in ("deep-markov", "switching")
    warm_up = uw.ramp(0.1, 1, first=0, last=steps // 4)
    return uw.Recipe(
        name="mouse",
        data=train,
        test=test,
        model=partial(families[model], train.shape),
        objective=uw.beta_vae(warm_up) if warms else uw.elbo,
        groups=_groups(length) if model == "body" else None,
        start=partial(_begin, train, starts, seed) if model == "body" else None,
        finish=partial(_refit, train) if model == "body" else None,
        epochs=epochs,
        batch=batch,
        lr=uw.ramp(lr, 0.1 * lr, first=steps // 2, last=steps),
        logged=0,
        seed=seed,
        findings=partial(findings, kind=model, quick=quick),
    )


def _groups(length: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the headings of all frames, and their bodies, as two groups."""
    headings = [f"heading_{t}" for t in range(length)]
    bodies = [f"z_{t}" for t in range(length)]
    return tuple(headings), tuple(bodies)


def _begin(data: Data, starts: int, seed: int, model: Model) -> None:
    """Let the model in the body's frame begin at aligned components and EM."""
    import torch

    x = torch.as_tensor(data.floats())
    uw.models.begin_body(model, x, starts=starts, seed=seed)


def _refit(data: Data, model: Model) -> None:
    """Fit the law of the model in the body's frame to the codes of the training sequences."""
    import torch

    uw.models.refit_law(model, torch.as_tensor(data.floats()))


def _principal(data: Data, shape: Sequence[int], normals: int) -> Model:
    """Build the linear model, begun at the frames' principal components.

    Their scale is that which steps of N(0, I) give them.
    """
    import torch

    model = uw.models.linear_dynamics(shape, normals)
    x = data.floats().reshape(-1, shape[-1] * shape[-2])  # (frames, pixels)
    x = x[~np.isnan(x).any(1)]
    values, vectors = np.linalg.eigh(np.cov(x.T))
    largest, others = values[: -normals - 1 : -1], values[:-normals]
    components = vectors[:, : -normals - 1 : -1] * np.sqrt(largest)  # (pixels, normals)
    spread = 1 / np.sqrt(1 - 0.9**2)  # of z, as a is 0.9 I
    p: Any = model.decoder
    with torch.no_grad():
        p.emit.copy_(torch.as_tensor(components / spread))
        p.d.copy_(torch.as_tensor(x.mean(0)))
        p.log_s.fill_(float(np.log(spread)))
        p.log_scale.fill_(float(np.log(others.mean()) / 2))
    return model
