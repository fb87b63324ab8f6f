"""Measures of a state-space model of the mouse: its likelihood, its states and its forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import unweave as uw
from unweave.data.mouse import SYLLABLES, Recording, record
from unweave.runs.findings import Array

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.models import Model
    from unweave.models.switching import Law, Steps

OWN = "states of the model"

NOISE = 0.08
"""The camera's noise, whose entropy bounds what any model can score."""


def likelihood(model: Model, x: Array, *, draws: int = 50) -> dict[str, tuple[float, float]]:
    """Bound log p(x) of sequences in nats a frame.

    "bound" is log 1/S Σ_s p(x, z_s)/q(z_s|x) with S draws of the whole path, for single frames of
    each; below log p(x) in the mean, and equal to it where q is exact.

    Args:
        model: A model of sequences, or of single frames.
        x: Sequences (n, T, h, w).
        draws: S.

    Returns:
        The "bound", the "ELBO" and its "reconstruction", each with its standard error over
        sequences.
    """
    import torch

    is_static = "z" in model.posterior(x[:1])
    frames = (~np.isnan(x).any((-2, -1))).sum(1)  # (n,)
    forms = {"bound": uw.evidence, "ELBO": uw.elbo, "reconstruction": uw.recon}
    found: dict[str, list[Tensor]] = {name: [] for name in forms}
    for some in torch.as_tensor(x).split(20):
        # a frame of the static model is a sequence of its own: (n · T, 1, h, w)
        items = some.flatten(0, 1).unsqueeze(1) if is_static else some
        with torch.no_grad():
            q, p = model(items.expand(draws, *items.shape))
            densities = uw.Densities(q, p, batch_dim=1)
            for name, form in forms.items():
                score = densities.score(form).mean(0)  # (items,)
                found[name].append(score.reshape(len(some), -1).sum(-1))
    rates = {name: torch.cat(parts).numpy() / frames for name, parts in found.items()}
    return {name: _mean(rate, frames) for name, rate in rates.items()}


def _mean(each: Array, weight: Array) -> tuple[float, float]:
    """Return the mean over frames of sequences' values, and its standard error over sequences."""
    mean = float(np.average(each, weights=weight))
    error = np.sqrt(np.sum((weight * (each - mean)) ** 2))
    return mean, float(error / weight.sum())


def path(model: Model, x: Array, *, seed: int = 0) -> Tensor:
    """Return posterior means along sequences, (n, T, units): each given the draws before.

    Args:
        model: A model of sequences, or of single frames.
        x: Sequences (n, T, h, w).
        seed: Seed of the draws.
    """
    import torch

    q = model.posterior(x, seed=seed)
    sites = [node for name, node in q.items() if name == "z" or name.startswith("z_")]
    means = [node.dist.mean for node in sites if node.dist is not None]
    return means[0] if "z" in q else torch.stack(means, 1)


def moves(model: Model, x: Array) -> Steps:
    """Return the steps of bodies and headings that a model in the body's frame reads off x."""
    import torch

    from unweave.models.body import read

    return read(model, torch.as_tensor(x))


def states_by(law: Law, steps: Steps) -> Array:
    """Return the most probable states of steps under a law, (n, T − 1), −1 where there is none."""
    _, log_states = law.messages(steps)
    found: Array = log_states.argmax(-1).where(steps.there, -1).numpy()
    return found


def recovered(model: Model, recording: Recording) -> dict[str, Array]:
    """Recover the states of every step into frames 1, 2, … in each of several ways.

    A switching model has its most probable states, given its path; in the body's frame, nothing
    else is asked. For every other model there are as many states as syllables by the fit of a
    switching linear system to the codes, by k-means of codes, and by k-means of codes beside their
    differences from the frame before.

    Returns:
        By the name of the way the states (n, T − 1), −1 beyond the end.
    """
    there = recording.syllable[:, 1:] >= 0
    decoder: Any = model.decoder
    if hasattr(decoder, "law"):
        return {OWN: states_by(lawful(model), moves(model, recording.x))}
    z = path(model, recording.x)
    codes = z.numpy()
    found = {}
    if hasattr(decoder, "states"):
        states = decoder.states(z).argmax(-1).numpy()  # (n, T − 1)
        found[OWN] = np.where(there, states, -1)
    found["states fitted to codes"] = _by_dynamics(z, there)
    found["k-means of codes"] = _by_k_means(codes[:, 1:], there)
    found["k-means of codes and steps"] = _by_k_means(_with_steps(codes), there)
    return found


def lawful(model: Model) -> Law:
    """Return the law of motion of a model in the body's frame, in double precision."""
    decoder: Any = model.decoder
    law: Law = decoder.law()
    return law.double()


def _by_k_means(points: Array, there: Array) -> Array:
    """Find states (n, T − 1) by k-means of points (n, T − 1, units), −1 where there is no step."""
    from sklearn.cluster import KMeans

    states = np.full(there.shape, -1)
    scaled = points[there] / points[there].std(0)
    states[there] = KMeans(len(SYLLABLES), n_init=10, random_state=0).fit_predict(scaled)
    return states


def _by_dynamics(z: Tensor, there: Array, steps: int = 400) -> Array:
    """Find states (n, T − 1) of a switching linear system fitted to paths z (n, T, latents).

    Its likelihood is maximised by gradient. States are −1 where there is no step. So syllables of
    real mice are found on principal components (Wiltschko et al., "Mapping Sub-Second Structure in
    Mouse Behavior", 2015).
    """
    import torch

    from unweave.models.chains import forward_backward
    from unweave.models.model import seeded

    is_step = torch.as_tensor(there)
    held = z[:, 1:][is_step]
    z = (z - held.mean(0)) / held.std(0)
    with seeded(0), torch.enable_grad():
        model = uw.models.switching_linear((1, 1, 1), z.shape[-1], states=len(SYLLABLES))
        p: Any = model.decoder
        weights = [p.a, p.b, p.log_scale, p.log_initial, p.log_transition]

        def messages() -> tuple[Tensor, Tensor]:
            scores = p.step(z[:, :-1]).log_prob(z[:, 1:, None])  # (n, T − 1, states)
            return forward_backward(scores.where(is_step[..., None], 0.0), *p.chain())

        optimizer = torch.optim.Adam(weights, lr=0.02)
        for _ in range(steps):
            evidence, _ = messages()
            loss = -evidence.sum() / is_step.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _, log_states = messages()
        states: Array = log_states.argmax(-1).where(is_step, -1).numpy()
    return states


def _with_steps(codes: Array) -> Array:
    """Return codes of frames 1, 2, … beside their differences from the frame before."""
    return np.concatenate([codes[:, 1:], np.diff(codes, axis=1)], -1)


def agreement(states: Array, recording: Recording) -> float:
    """Return the adjusted Rand index of states (n, T − 1) and the syllables of the same frames."""
    syllable = recording.syllable[:, 1:]
    there = syllable >= 0
    return uw.metrics.ari(states[there], syllable[there])


def forecast(model: Model, x: Array, known: int, *, seed: int = 0) -> Array:
    """Return frames (n, T, h, w): the first `known` as reconstructed, then as one draw brings.

    Args:
        model: A model of sequences.
        x: Sequences (n, T, h, w).
        known: Frames that the model sees.
        seed: Seed of the draw.
    """
    import torch

    from unweave.models.model import mean, seeded

    hidden = torch.as_tensor(x).clone()
    hidden[:, known:] = torch.nan
    with torch.no_grad(), seeded(seed):
        q = model.encoder(hidden)
        seen = {name: node.value for name, node in q.items() if _time(name) < known}
        frames = mean(model.decoder(None, q.free(len(x), **seen)))
    return frames.numpy()


def _time(site: str) -> int:
    """Return t of a site's name, such as z_3."""
    return int(site.rpartition("_")[2])


def errors(model: Model, n: int, length: int, known: int, *, draws: int = 20) -> dict[str, Array]:
    """Measure forecasts by their root mean squared error a pixel, against frames without noise.

    Args:
        model: A model of sequences.
        n: Test sequences.
        length: Frames of each.
        known: Frames that the model sees.
        draws: Forecasts that are averaged.

    Returns:
        By the name of the forecast the errors at each step after the known frames.
    """
    x = record("test", n, length=length, noise=NOISE).x
    clean = record("test", n, length=length, noise=0.0).x
    drawn = [forecast(model, x, known, seed=s) for s in range(draws)]
    last = drawn[0][:, known - 1 : known]
    guesses = {
        "this model, mean of draws": np.mean(drawn, 0),
        "this model, one draw": drawn[0],
        "the last frame, as reconstructed, again and again": np.repeat(last, length, 1),
    }
    found = {}
    for name, guess in guesses.items():
        squared = ((guess - clean) ** 2).mean((0, 2, 3))  # (T,)
        found[name] = np.sqrt(squared)[known:]
    return found
