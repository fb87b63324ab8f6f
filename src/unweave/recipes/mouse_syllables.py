"""Questions to the syllables of a mouse in its own frame: how many, how sticky, which to merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import unweave as uw
from unweave.data.mouse import SYLLABLES
from unweave.runs.findings import Array, Finding, Picture, Table

from .mouse_measures import lawful, moves, states_by

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.models.switching import Found, Law, Steps

FEW = 300
"""Training sequences that the questions are asked of."""

STATES = (4, 5, 6, 7, 8)
"""Numbers of states that are compared."""

STICKINESS = (0.0, 100.0, 1000.0, 10_000.0)
"""Numbers of steps from each state to itself, added by the prior, that are compared."""


def syllable_findings(model: Model, x: Array, own: Array, *, quick: bool) -> Sequence[Finding]:
    """Return what users of such models ask for, from codes of the training sequences.

    Of the first `FEW` sequences, the last fifth is held out by all fits. Labels only name states.

    Args:
        model: The trained model in the body's frame.
        x: The training sequences (n, T, h, w).
        own: The syllable that each state mostly is, (states,).
        quick: True if few fits are enough.
    """
    from unweave.models.switching import fit, merge_costs

    whole, law = moves(model, x), lawful(model)
    x = x[:FEW]
    cut = len(x) - len(x) // 5
    some, held = whole.of(slice(cut)), whole.of(slice(cut, None))
    starts = range(2 if quick else 3)
    states = len(law.log_initial)
    by_number = {k: fit(some, held, k, seeds=starts) for k in STATES[: 2 if quick else None]}
    by_stickiness = {
        stay: fit(some, held, states, stickiness=stay, seeds=starts)
        for stay in STICKINESS[: 2 if quick else None]
    }
    refitted = by_stickiness[0.0]
    names = [f"{k}: {SYLLABLES[syllable]}" for k, syllable in enumerate(own)]
    return [
        _held_out("States against held-out likelihood", "states", by_number),
        _held_out("Stickiness against held-out likelihood", "stickiness, steps", by_stickiness),
        _agreements(refitted, law, held),
        _costs(names, 1000 * merge_costs(law, some).numpy()),
        _motions(model, law, some, names),
    ]


def _held_out(title: str, what: str, fits: dict[Any, list[Found]]) -> Table:
    """Tabulate the held-out likelihood of the best start, and that of the others."""
    rows = []
    for setting, found in fits.items():
        others = [each.held_out for each in found]
        rows.append((f"{setting:g}", others[0], float(np.median(others)), others[-1]))
    heads = (what, "best start", "median", "worst")
    note = (
        "log p of bodies and turns in nats a step, on a fifth of some training sequences that no "
        f"fit saw, by EM on the model's codes from {len(others)} starts each."
    )
    return Table(title, heads, rows, note)


def _agreements(found: Sequence[Found], law: Law, held: Steps) -> Table:
    """Tabulate how alike the states of starts are, and of the model."""
    there = held.there.numpy()
    ours = states_by(law, held)[there]
    each = [states_by(start.law, held)[there] for start in found]
    rows = []
    for i, (start, states) in enumerate(zip(found, each, strict=True)):
        alike = (uw.metrics.ari(states, each[0]), uw.metrics.ari(states, ours))
        rows.append((f"start {i + 1}", start.held_out, *alike))
    note = "Starts of EM on the model's codes, the best on held-out sequences first."
    heads = ("", "held-out nats a step", "ARI with the best start", "ARI with the model")
    return Table("Agreement of starts", heads, rows, note)


def _costs(names: Sequence[str], costs: Array) -> Table:
    """Tabulate the costs of mergers."""
    rows: list[Sequence[str | float | None]] = []
    for name, row in zip(names, costs.tolist(), strict=True):
        rows.append((name, *(None if np.isnan(cost) else cost for cost in row)))
    note = (
        "Thousandths of a nat a step that log p of the paths loses if two states become one. "
        "A state is named by the syllable that it mostly is."
    )
    return Table("Costs of mergers", ("", *names), rows, note)


def _motions(
    model: Model, law: Law, steps: Steps, names: Sequence[str], frames: int = 10
) -> Picture:
    """Draw how each state goes on by itself, without noise, from two frames that are surely its."""
    import torch

    from unweave.models.body import before

    decoder: Any = model.decoder
    _, log_states = law.messages(steps)
    lasting = log_states[:, :-1] + log_states[:, 1:]  # two steps in a row, (n, T − 1, states)
    lasting = lasting.where(steps.there[:, 1:, None], -np.inf).flatten(0, 1)
    surest = lasting.argmax(0)  # (states,)
    bodies = steps.outputs[..., :-1]
    path = [bodies[:, :-1].flatten(0, 1)[surest], bodies[:, 1:].flatten(0, 1)[surest]]
    own = torch.arange(len(surest))
    upwards = torch.full((len(surest),), np.pi / 2, dtype=bodies.dtype)
    angles = [upwards, upwards]
    for _ in range(frames - 2):
        step = law.means(before(path))[own, own]  # (states, normals + 1)
        path.append(step[:, :-1])
        angles.append(angles[-1] + step[:, -1])
    with torch.no_grad():
        images = decoder.image(torch.stack(path, 1).float(), torch.stack(angles, 1).float())
    note = "Each begins at two of its bodies, upwards, and goes on by its own law without noise."
    return Picture("What each state does", images.clip(0, 1).numpy(), rows=names, note=note)
