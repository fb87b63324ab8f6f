"""Scenes of 0 to 3 digits: their number is known of some; place, class and style are found."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

import unweave as uw
from unweave import arguments
from unweave.arguments import Share, Size

from .counting_findings import MOST, SIDE, SIZE, TEST_SEED, findings
from .flags import Batch, Epochs, Folder, Latents, Quick, Rate, recipe

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe


@recipe
def counting(
    *,
    rate: Annotated[
        Share,
        "The share of scenes whose count is known; the others' counts are unknown to training.",
    ] = 0.1,
    mnist: Annotated[
        bool, "Learn digits from MNIST and its labels first; then they are kept as they are."
    ] = False,
    scenes: Annotated[Size, "Scenes to train on."] = 20_000,
    latents: Latents = 10,
    epochs: Epochs = 2,
    batch: Batch = 100,
    lr: Rate = 2e-3,
    quick: Quick = False,
    seed: Annotated[
        arguments.Seed,
        "Seed of the scenes, the counts that are known, the weights, the order and the noise.",
    ] = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Multi-digit MNIST: a program with as many steps as digits, 0 to 3 (Siddharth et al., 2017).

    Scenes of 50x50 pixels are composed as a run begins; nobody says where a digit is, which it is,
    or how it looks.

    Measured, mean ± sd over seeds 0, 1, 2, with a tenth, half and all of the counts known: count
    accuracy 99.90 ± 0.02, 99.94 ± 0.01 and 99.95 ± 0.01 % without MNIST, 99.90 ± 0.03, 99.94 ± 0.01
    and 99.95 ± 0.01 % with it; published are 85.45, 93.27 and 99.81 %, and 76.33, 80.27 and 84.79
    %. The counting network alone, on the same labels: 99.94 ± 0.01, 99.93 ± 0.02 and 99.92 ± 0.02
    %. Digits named right: 84.9 ± 1.6, 83.7 ± 2.3 and 84.7 ± 1.0 % with MNIST, 20 to 21 % without. A
    run takes 47 to 93 s of processor time, one thread of a 2-core AMD EPYC (157 to 513 s of
    training as busy as it was), and about two minutes more for its evaluation.
    docs/results/counting.md says what was tried.
    """
    if not 0 < rate <= 1:
        raise ValueError(
            f"rate={rate}: expected the share of scenes whose count is known, above 0 and up to 1"
        )
    if quick:
        scenes, epochs = min(scenes, 1000), min(epochs, 2)
    compose = partial(uw.data.multi_digits, size=SIZE, most=MOST, root=data_dir)
    train = compose("train", scenes, seed=seed).with_labels("count", round(rate * scenes), seed)
    test = compose("test", 400 if quick else 10_000, seed=TEST_SEED)
    labelled = batch // 5
    steps = epochs * (len(train) // (batch - labelled))
    model = partial(_untrained, latents)
    if mnist:
        model = partial(_with_digits, latents, seed, data_dir, quick)
    return uw.Recipe(
        name="counting",
        data=train,
        test=test,
        model=model,
        objective=uw.formula("elbo + 1000*label"),
        labels={"count": "count"},
        labelled=labelled,
        epochs=epochs,
        batch=batch,
        lr=uw.Ramp(((0, 0.02 * lr), (steps // 10, lr), (steps // 2, lr), (steps, 0.05 * lr))),
        seed=seed,
        logged=10,
        points=200,
        findings=partial(findings, rate=rate, mnist=mnist, data_dir=data_dir),
    )


def _untrained(latents: int) -> Model:
    return uw.models.counting((SIZE, SIZE), MOST, SIDE, normals=latents)


def _with_digits(latents: int, seed: int, root: str | None, quick: bool) -> Model:
    """Build the model with a digit sub-model that was learned from MNIST and stays as it is."""
    model = _untrained(latents)
    digit = uw.models.of_windows(model)
    digit.load_state_dict(_learned(latents, seed, root, quick))
    digit.requires_grad_(False)
    return model


@cache
def _learned(latents: int, seed: int, root: str | None, quick: bool) -> dict[str, Any]:
    """Learn the digit sub-model in three passes over MNIST, digits off their windows' middles."""
    from unweave.training.trainer import trained

    windows = uw.data.windows(uw.data.mnist("train", root), SIDE, seed=seed)
    recipe = uw.Recipe(
        name="digit",
        data=windows.split(2000)[1] if quick else windows,
        model=lambda: uw.models.of_windows(_untrained(latents)),
        objective=uw.formula("elbo + 50*label"),
        labels={"digit": "digit"},
        epochs=1 if quick else 3,
        batch=100,
        lr=uw.ramp(2e-3, 1e-4, last=1800),
        seed=seed,
    )
    return trained(recipe).state_dict()
