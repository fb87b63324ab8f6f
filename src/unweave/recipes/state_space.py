"""A simulated mouse: state-space models of what it does, against a model of single frames and a
linear one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

import unweave as uw
from unweave.data.mouse import SYLLABLES, Recording, record
from unweave.runs.findings import Array, Film, Finding, Lines, Number, Picture, Table

from .images import Batch, Epochs, Rate, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.models import Model
    from unweave.training.recipe import Recipe

Kind = Annotated[
    Literal["deep-markov", "switching", "static", "linear"],
    "deep-markov: gated steps. switching: linear ones, by states. static: single frames. linear: "
    "on pixels, exactly.",
]

COLOURS = np.array(
    [
        [0.6, 0.6, 0.6],
        [0.3, 0.7, 0.4],
        [0.25, 0.45, 0.8],
        [0.85, 0.35, 0.3],
        [0.95, 0.75, 0.3],
        [0.65, 0.4, 0.7],
    ]
)
"""One for each syllable."""

NOISE = 0.08
"""The camera's, whose entropy bounds what any model can score."""


def mouse(
    *,
    model: Kind = "switching",
    sequences: Annotated[int, "Sequences to train on."] = 1000,
    length: Annotated[
        int, "Frames of the longest; the shortest have six tenths of it, the others are in between."
    ] = 20,
    latents: Annotated[int, "Normals a frame; the linear model has twice as many."] = 8,
    states: Annotated[int, "Discrete states of the switching model."] = 8,
    epochs: Epochs = 75,
    batch: Batch = 16,
    lr: Rate = 3e-3,
    quick: Annotated[bool, "A smaller run, for tests."] = False,
    seed: Seed = 0,
) -> Recipe:
    """Deep state-space models of a simulated mouse, frame by frame: what it does, what it does
    next.

    Measured, mean ± sd over seeds 0, 1, 2, held-out log p(x) in nats a frame (bounds by 50 draws,
    `linear` exact): deep-markov 616.2 ± 0.4, switching 615.3 ± 0.3, static 607.2 ± 1.0, linear
    589.61 ± 0.03. ARI of the switching model's states with the true syllables 0.373 ± 0.020; of
    states fitted to the static model's codes 0.150 ± 0.008. A run takes 1 to 6 minutes of one
    thread. docs/results/state_space.md has forecasts, and what was tried.
    """
    flags = locals()
    if quick:
        sequences, length, epochs = 64, 8, 2
    train = uw.data.mouse("train", sequences, length=length, shortest=_shortest(length))
    test = uw.data.mouse("test", 16 if quick else 200, length=length, shortest=_shortest(length))
    family: Any = {
        "deep-markov": partial(uw.models.deep_markov, normals=latents),
        "switching": partial(uw.models.switching_linear, normals=latents, states=states),
        "static": partial(uw.models.static_frames, normals=latents),
        "linear": partial(_principal, train, normals=2 * latents),
    }[model]
    steps = epochs * (len(train) // batch)
    is_deep = model in ("deep-markov", "switching")
    return uw.Recipe(
        name="mouse",
        data=train,
        test=test,
        model=partial(family, train.shape),
        objective=uw.beta_vae(uw.ramp(0.1, 1, first=0, last=steps // 4)) if is_deep else uw.elbo,
        epochs=epochs,
        batch=batch,
        lr=uw.ramp(lr, 0.1 * lr, first=steps // 2, last=steps),
        logged=0,
        seed=seed,
        flags=flags,
        findings=_findings,
    )


def _shortest(length: int) -> int:
    return max(2, 6 * length // 10)


def _principal(data: uw.data.Data, shape: Sequence[int], normals: int) -> Model:
    """The linear model, begun at the frames' principal components, at the scale that steps of N(0,
    I) give them.
    """
    import torch

    model = uw.models.linear_dynamics(shape, normals)
    x = data.floats().reshape(-1, shape[-1] * shape[-2])
    x = x[~np.isnan(x).any(1)]
    values, vectors = np.linalg.eigh(np.cov(x.T))
    p: Any = model.decoder
    with torch.no_grad():
        spread = 1 / np.sqrt(1 - 0.9**2)  # of z, as a is 0.9 I
        p.emit.copy_(
            torch.as_tensor(
                vectors[:, : -normals - 1 : -1] * np.sqrt(values[: -normals - 1 : -1]) / spread
            )
        )
        p.d.copy_(torch.as_tensor(x.mean(0)))
        p.log_s.fill_(float(np.log(spread)))
        p.log_scale.fill_(float(np.log(values[:-normals].mean()) / 2))
    return model


# -- what it is worth ------------------------------------------------------------------------------


def likelihood(model: Model, x: Array, *, draws: int = 50) -> dict[str, tuple[float, float]]:
    """Nats a frame of sequences x (n, T, h, w) with their standard errors over sequences: bounds,
    and their parts.

    "bound" is log 1/S Σ_s p(x, z_s)/q(z_s|x) with S draws of the whole path, for single frames of
    each; below log p(x) in the mean, and equal to it where q is exact.
    """
    import torch

    is_static = "z" in model.posterior(x[:1])
    frames = (~np.isnan(x).any((-2, -1))).sum(1)
    found: dict[str, list[Any]] = {"bound": [], "ELBO": [], "reconstruction": []}
    for some in torch.as_tensor(x).split(20):
        items = (
            some.flatten(0, 1).unsqueeze(1) if is_static else some
        )  # a frame is a sequence of its own
        with torch.no_grad():
            d = uw.Densities(*model(items.expand(draws, *items.shape)), batch_dim=1)
            for name, form in zip(found, (uw.evidence, uw.elbo, uw.recon), strict=True):
                found[name].append(d.score(form).mean(0).reshape(len(some), -1).sum(-1))
    rates = {name: torch.cat(parts).numpy() / frames for name, parts in found.items()}
    return {name: _mean(each, frames) for name, each in rates.items()}


def _mean(each: Array, weight: Array) -> tuple[float, float]:
    """Mean over frames of what sequences have each, and its standard error over sequences."""
    mean = float(np.average(each, weights=weight))
    return mean, float(np.sqrt(np.sum((weight * (each - mean)) ** 2)) / weight.sum())


def path(model: Model, x: Array, *, seed: int = 0) -> Tensor:
    """Posterior means of z along sequences, (n, T, latents): each given the draws before it."""
    import torch

    q = model.posterior(x, seed=seed)
    nodes = [node.dist.mean for node in q.values() if node.dist is not None]
    return nodes[0] if "z" in q else torch.stack(nodes, 1)


def recovered(model: Model, recording: Recording) -> dict[str, Array]:
    """States of every step into frames 1, 2, … (n, T − 1), by each way to find them; −1 beyond the
    end.

    Of the switching model the most probable ones given its path. Of all, as many as there are
    syllables: those of a switching linear system fitted to the codes, k-means of codes, and of
    codes beside their differences from the frame before.
    """
    from sklearn.cluster import KMeans

    z, there = path(model, recording.x), recording.syllable[:, 1:] >= 0
    codes = z.numpy()
    kinds = {"k-means of codes": codes[:, 1:], "k-means of codes and steps": _with_steps(codes)}
    found = {}
    decoder: Any = model.decoder
    if hasattr(decoder, "states"):
        found["states of the model"] = np.where(there, decoder.states(z).argmax(-1).numpy(), -1)
    found["states fitted to codes"] = _by_dynamics(z, there)
    for name, points in kinds.items():
        states = np.full(there.shape, -1)
        scaled = points[there] / points[there].std(0)
        states[there] = KMeans(len(SYLLABLES), n_init=10, random_state=0).fit_predict(scaled)
        found[name] = states
    return found


def _by_dynamics(z: Tensor, there: Array, steps: int = 400) -> Array:
    """States (n, T − 1) of a switching linear system of greatest likelihood on paths z (n, T,
    latents), by gradient.

    −1 where there is no step. So syllables of real mice are found on principal components
    (Wiltschko et al., "Mapping Sub-Second Structure in Mouse Behavior", 2015).
    """
    import torch

    from unweave.models.chains import forward_backward
    from unweave.models.model import seeded

    is_step = torch.as_tensor(there)
    held = z[:, 1:][is_step]
    z = (z - held.mean(0)) / held.std(0)
    with seeded(0), torch.enable_grad():
        p: Any = uw.models.switching_linear((1, 1, 1), z.shape[-1], states=len(SYLLABLES)).decoder

        def messages() -> tuple[Tensor, Tensor]:
            scores = p.step(z[:, :-1]).log_prob(z[:, 1:, None])
            return forward_backward(scores.where(is_step[..., None], 0.0), *p.chain())

        optimizer = torch.optim.Adam(
            [p.a, p.b, p.log_scale, p.log_initial, p.log_transition], lr=0.02
        )
        for _ in range(steps):
            loss = -messages()[0].sum() / is_step.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        states: Array = messages()[1].argmax(-1).where(is_step, -1).numpy()
    return states


def _with_steps(codes: Array) -> Array:
    return np.concatenate([codes[:, 1:], np.diff(codes, axis=1)], -1)


def agreement(states: Array, recording: Recording) -> float:
    """Adjusted Rand index of states (n, T − 1) and the syllables of the same frames."""
    syllable = recording.syllable[:, 1:]
    return uw.metrics.ari(states[syllable >= 0], syllable[syllable >= 0])


def forecast(model: Model, x: Array, known: int, *, seed: int = 0) -> Array:
    """Frames (n, T, h, w) of which the model saw the first `known`: those reconstructed, then what
    one draw brings.
    """
    import torch

    from unweave.models.model import mean, seeded

    hidden = torch.as_tensor(x).clone()
    hidden[:, known:] = torch.nan
    with torch.no_grad(), seeded(seed):
        q = model.encoder(hidden)
        seen = {f"z_{t}": q[f"z_{t}"].value for t in range(known)}
        return mean(model.decoder(None, q.free(len(x), **seen))).numpy()


def errors(model: Model, n: int, length: int, known: int, *, draws: int = 20) -> dict[str, Array]:
    """Root mean squared errors a pixel at each step after the `known` frames, against frames
    without noise.
    """
    x, clean = (record("test", n, length=length, noise=noise).x for noise in (NOISE, 0.0))
    drawn = [forecast(model, x, known, seed=s) for s in range(draws)]
    guesses = {
        "this model, mean of draws": np.mean(drawn, 0),
        "this model, one draw": drawn[0],
        "the last frame, as reconstructed, again and again": np.repeat(
            drawn[0][:, known - 1 : known], length, 1
        ),
    }
    return {
        name: np.sqrt(((guess - clean) ** 2).mean((0, 2, 3)))[known:]
        for name, guess in guesses.items()
    }


# -- the report ------------------------------------------------------------------------------------


def _findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    kind, quick = recipe.flags["model"], recipe.flags["quick"]
    assert recipe.test is not None
    n, (length, size, _) = len(recipe.test), recipe.test.shape
    recording = record("test", n, length=length, shortest=_shortest(length))
    scores = likelihood(model, recording.x, draws=5 if quick else 50)
    states = recovered(model, recording)
    rand = {name: agreement(found, recording) for name, found in states.items()}
    best = next(iter(states))
    table = _together(states[best], recording)
    ceiling = -(size**2) * (np.log(NOISE) + 0.5 * np.log(2 * np.pi * np.e))
    what = "exact" if kind == "linear" else f"importance-weighted bound, {5 if quick else 50} draws"
    found: list[Finding] = [
        Number("Held-out log p(x) a frame", *scores["bound"], unit=f"nats; {what}", better=1),
        Number(
            "ARI with syllables", rand[best], unit=f"{best}; 1 is agreement, 0 chance", better=1
        ),
        Table(
            "Held-out frames",
            ("", "nats a frame", "standard error"),
            [
                *((name, *value) for name, value in scores.items()),
                ("what the camera's noise leaves to be had, posture known", float(ceiling), None),
            ],
            f"{n} test sequences of {_shortest(length)} to {length} frames; errors over sequences.",
        ),
        Table("States against syllables", ("", "adjusted Rand index"), list(rand.items())),
        _named(table, best),
        _strips(states[best], recording, table.argmax(1), best),
    ]
    if kind == "static":
        return found
    known = length // 2
    curves = errors(model, n, length, known, draws=3 if quick else 20)
    steps = np.arange(1, length - known + 1)
    return [
        *found,
        Lines(
            "Forecasts",
            steps,
            curves,
            "frames ahead",
            "root mean squared error, of 1",
            f"{known} frames are seen.",
        ),
        _film_of_forecasts(model, known, length),
        _film_of_draws(model, recipe),
    ]


def _together(states: Array, recording: Recording) -> Array:
    """How many steps have state k and syllable s, (states, syllables)."""
    syllable, kinds = recording.syllable[:, 1:], states.max() + 1
    return np.array(
        [
            [((states == k) & (syllable == s)).sum() for s in range(len(SYLLABLES))]
            for k in range(kinds)
        ]
    )


def _named(table: Array, what: str) -> Table:
    """Of each syllable the share of steps in states that it is the most frequent syllable of."""
    own, steps = table.argmax(1), table.sum(0)
    shares = [
        100 * float(table[own == s, s].sum() / max(steps[s], 1)) for s in range(len(SYLLABLES))
    ]
    rows = [
        (name, int(steps[s]), int((own == s).sum()), shares[s]) for s, name in enumerate(SYLLABLES)
    ]
    note = f"A state is named by the syllable that it is mostly; by {what}."
    return Table(
        "Syllables that have states",
        ("syllable", "steps", "states", "steps in them, %"),
        rows,
        note,
    )


def _strips(states: Array, recording: Recording, own: Array, what: str, rows: int = 8) -> Picture:
    """Time from left to right: true syllables above, states below, coloured by `own`, the syllable
    each is mostly.
    """
    syllable = recording.syllable[:, 1:]
    long = np.flatnonzero((syllable >= 0).all(1))[:rows]
    each = np.stack([COLOURS[syllable[long]], COLOURS[own[states[long]]]], 1)  # (rows, 2, T − 1, 3)
    strips = np.repeat(np.repeat(each, 10, 1), 24, 2)
    colours = ("grey", "green", "blue", "red", "yellow", "purple")
    named = ", ".join(f"{colour} {name}" for colour, name in zip(colours, SYLLABLES, strict=True))
    note = f"Above each the true syllables, below {what}, in the colour of the syllable they are mostly: {named}."
    return Picture("What it does", strips[:, None], note=note)


def _film_of_forecasts(model: Model, known: int, length: int, columns: int = 6) -> Film:
    x = record("test", columns, length=length).x
    rows = [x, *(forecast(model, x, known, seed=s) for s in range(2))]
    images = np.stack(rows).transpose(2, 0, 1, 3, 4)
    names = ("recorded", "forecast", "another")
    note = f"The model sees {known} frames, then goes on by itself."
    return Film("Forecasts, moving", np.clip(images, 0, 1), rows=names, note=note, rate=6)


def _film_of_draws(model: Model, recipe: Recipe, rows: int = 2, columns: int = 6) -> Film:
    drawn = model.sample(rows * columns).numpy()
    images = drawn.reshape(rows, columns, *drawn.shape[1:]).transpose(2, 0, 1, 3, 4)
    return Film(
        "Made up by the model",
        np.clip(images, 0, 1),
        note="Draws from the prior, frame by frame.",
        rate=6,
    )
