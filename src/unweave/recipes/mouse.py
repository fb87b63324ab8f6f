"""A simulated mouse: state-space models of its movements, a model of frames, and a linear one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

import unweave as uw
from unweave.arguments import Size

from .flags import Batch, Epochs, Quick, Rate, Seed, recipe
from .mouse_findings import findings, shortest

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe

Kind = Annotated[
    Literal["deep-markov", "switching", "static", "linear"],
    "deep-markov: gated steps. switching: linear ones, by states. static: single frames. linear: "
    "on pixels, exactly.",
]


@recipe
def mouse(
    *,
    model: Kind = "switching",
    sequences: Annotated[Size, "Sequences to train on."] = 1000,
    length: Annotated[
        Size,
        "Frames of the longest; the shortest have six tenths of it, the others are in between.",
    ] = 20,
    latents: Annotated[Size, "Normals a frame; the linear model has twice as many."] = 8,
    states: Annotated[Size, "Discrete states of the switching model."] = 8,
    epochs: Epochs = 75,
    batch: Batch = 16,
    lr: Rate = 3e-3,
    quick: Quick = False,
    seed: Seed = 0,
) -> Recipe:
    """Deep state-space models of a simulated mouse, frame by frame: what it does, and does next.

    Measured, mean ± sd over seeds 0, 1, 2, held-out log p(x) in nats a frame (bounds by 50 draws,
    `linear` exact): deep-markov 616.2 ± 0.4, switching 615.3 ± 0.3, static 607.2 ± 1.0, linear
    589.61 ± 0.03. ARI of the switching model's states with the true syllables 0.373 ± 0.020; of
    states fitted to the static model's codes 0.150 ± 0.008. A run takes 1 to 6 minutes of one
    thread. docs/results/state_space.md has forecasts, and says what was tried.
    """
    if quick:
        sequences, length, epochs = 64, 8, 2
    record = partial(uw.data.mouse, length=length, shortest=shortest(length))
    train, test = record("train", sequences), record("test", 16 if quick else 200)
    families: dict[str, Callable[..., Model]] = {
        "deep-markov": partial(uw.models.deep_markov, normals=latents),
        "switching": partial(uw.models.switching_linear, normals=latents, states=states),
        "static": partial(uw.models.static_frames, normals=latents),
        "linear": partial(_principal, train, normals=2 * latents),
    }
    steps = epochs * (len(train) // batch)
    is_deep = model in ("deep-markov", "switching")
    warm_up = uw.ramp(0.1, 1, first=0, last=steps // 4)
    return uw.Recipe(
        name="mouse",
        data=train,
        test=test,
        model=partial(families[model], train.shape),
        objective=uw.beta_vae(warm_up) if is_deep else uw.elbo,
        epochs=epochs,
        batch=batch,
        lr=uw.ramp(lr, 0.1 * lr, first=steps // 2, last=steps),
        logged=0,
        seed=seed,
        findings=partial(findings, kind=model, quick=quick),
    )


def _principal(data: uw.data.Data, shape: Sequence[int], normals: int) -> Model:
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
