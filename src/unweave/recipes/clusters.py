"""Classes without labels: a class that views of an image agree on, and then the style beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import unweave as uw
from unweave.arguments import Size

from .digits_findings import findings
from .flags import Batch, Epochs, Folder, Latents, Patience, Rate, Seed, recipe
from .images import of_images

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.objective.objective import Objective
    from unweave.objective.schedule import Ramp
    from unweave.training.recipe import Recipe

Starts = Annotated[Size, "Classifiers that are trained first, of which the best is kept."]
Form = Annotated[
    str | None, "The objective to maximise, as a formula.  Default: that of the recipe."
]

ALONE = "10*label - 60*kl[0].of('y')"
"""The objective of the demo's classifiers alone: views agree, and classes are equally frequent."""

FREED = "10*label - ramp(60, 1 + {kept}, first={first}, last={last})*kl[0].of('y')"
"""The same for `clustering`, where classes that are found need not stay equally frequent.

`first` and `last` are the steps after three and seven tenths.
"""

DEMO = (
    "hfvae(1, ramp(1, 7, first={first}, last={last}), 1) + recon "
    "+ mi.of('y') - 59*kl[0].of('y') + 10*label"
)
"""The objective of the demo; `first` and `last` are the steps after a half and nine tenths."""

DEMO_VIEWS = {
    "rotation": 12.0,
    "shear": 0.15,
    "zoom": 0.2,
    "shift": 0.7,
    "width": 0.35,
    "dim": 0.2,
    "bend": 0.7,
}
"""Changes of an 8x8 digit that keep its class."""

STYLE = (
    "hfvae(1, ramp(1, 25, first={first}, last={last}), 1) "
    "+ 11*mi.of('y') - {kept}*kl[0].of('y') + 10*label"
)
"""The objective of a class and its style; `first` and `last` are the steps after 2 and 6 tenths."""

GENTLE = {"rotation": 12.0, "shear": 0.15, "zoom": 0.1, "shift": 1.5}
"""Changes of a digit of MNIST that keep its class.  Stronger ones make crossed 7s 2s."""

CLOTHES = {
    "rotation": 15.0,
    "shear": 0.2,
    "zoom": 0.2,
    "shift": 3.0,
    "width": 1.0,
    "dim": 0.5,
    "flip": 0.5,
}
"""Changes of a piece of clothing that keep its class."""

KEPT = {"mnist": 1, "fashion-mnist": 59}
"""The weight of KL(q(y) ‖ p(y)) beside the ELBO's, once classes are found.

Clothes are equally frequent; of digits, 1s are 11.2 % and 5s 9.0 %.
"""

BRIEF = 3
"""Passes of each classifier of `clustering`, where the best of several goes on."""


@recipe
def digits(
    *,
    objective: Form = None,
    latents: Latents = 6,
    starts: Starts = 3,
    epochs: Epochs = 100,
    batch: Batch = 130,
    lr: Rate = 2e-3,
    patience: Patience = None,
    seed: Seed = 0,
) -> Recipe:
    """Digits found without labels in scikit-learn's 1,797 real 8x8 digits: the demo.

    Three classifiers q(y|x) begin alone, and the one whose class tells most about the training
    digits goes on with a style z. A weight on tc[0] then takes the digit out of z.

    Measured, mean ± sd over seeds 0 to 4 (`unweave study digits`), nats per item: accuracy of y
    0.960 ± 0.003 (Hungarian; 0.956 to 0.964), ELBO −23.9 ± 0.1 and reconstruction −19.3 ± 0.1 on
    the test data; exact I(x;z) 4.36 ± 0.06, total correlation 0.17 ± 0.01 between y and z and 0.07
    ± 0.02 within z; I(digit;y) 2.12 ± 0.01 of 2.30 and I(digit;z) 0.19 ± 0.01. All six Normals are
    in use. docs/clustering.md says what failed.
    """
    model = partial(uw.models.invariant, normals=latents, views=DEMO_VIEWS)
    whole = of_images(
        "digits",
        "digits",
        model,
        uw.elbo,
        ("y", "z"),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=None,
        hidden=(400,),
    )
    alone = _of_class(replace(whole, objective=uw.formula(ALONE), epochs=min(epochs, 70)))
    form = between(objective or DEMO, whole, 0.5, 0.9)
    whole = replace(whole, objective=form, lr=warmed(whole), logged=1, findings=findings)
    return begun(whole, alone, starts)


@recipe
def clustering(
    *,
    data: Annotated[Literal["mnist", "fashion-mnist"], "Images to train on."] = "mnist",
    objective: Form = None,
    views: Annotated[
        Literal["all", "affine", "none"], "The changes of an image that keep its class."
    ] = "all",
    latents: Latents = 10,
    starts: Annotated[
        Size | None,
        "Classifiers that are trained for three passes first, of which the best goes on.  Default: "
        "1, and 3 for clothes.",
    ] = None,
    epochs: Epochs = 8,
    batch: Batch = 500,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Digits found without labels: ten classes that views of an image agree on, and their style.

    A classifier q(y|x) begins alone: views agree, and its classes are equally frequent until they
    are found. Then y is summed out beside z, with a reward of 10 for the information I(x;y), for
    which the ELBO pays 1, a weight of 10 on the class in a second view, and one on tc[0] that rises
    from 1 to 25 and takes the digit out of z.

    Measured on MNIST, mean ± sd over seeds 0 to 4 (`unweave compare runs/clustering-seed*`), nats
    per item: accuracy of y 0.987 ± 0.001 (Hungarian; 0.986 to 0.988), NMI 0.965 ± 0.002, H(y|x)
    0.010 ± 0.000, ELBO −144.8 ± 1.8 and reconstruction −136.5 ± 1.8 on the test data; exact I(x;z)
    7.32 ± 0.04, total correlation 0.09 ± 0.01 between y and z and 0.43 ± 0.17 within z; I(digit;y)
    2.19 ± 0.02 of 2.30 and I(digit;z) 0.10 ± 0.02. Four to six Normals are in use. About 8 minutes
    a run, one thread of a 2-core AMD EPYC with `--precision bf16`. On Fashion-MNIST (`--epochs 6`):
    accuracy 0.679 ± 0.006, NMI 0.650 ± 0.013, I(class;z) 0.62 ± 0.03. docs/clustering.md says what
    failed.
    """
    strokes, places = ("width", "dim"), ("rotation", "shear", "zoom", "shift", "flip")
    kept = {"all": (), "affine": strokes, "none": strokes + places}[views]
    still = dict.fromkeys(kept, 0.0)
    usual = {"mnist": GENTLE, "fashion-mnist": CLOTHES}[data]
    model = partial(uw.models.invariant, normals=latents, views=usual | still)
    whole = of_images(
        "clustering",
        data,
        model,
        uw.elbo,
        ("y", "z"),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )
    brief = _of_class(replace(whole, objective=uw.formula(ALONE), epochs=BRIEF, lr=2 * lr))
    alone = freed(whole, 3 * epochs // 2, KEPT[data])
    several = starts or {"mnist": 1, "fashion-mnist": 3}[data]
    if several > 1:
        alone = begun(alone, brief, several)
    form = between(objective or STYLE, whole, 0.2, 0.6, KEPT[data])
    whole = replace(whole, objective=form, lr=warmed(whole), logged=1, findings=findings)
    return begun(whole, alone)


def between(form: str, plan: Recipe, first: float, last: float, kept: int = 1) -> Objective:
    """Return an objective whose schedule runs between two shares of a plan's steps."""
    steps = plan.epochs * plan.per_epoch
    filled = form.format(first=int(first * steps), last=int(last * steps), kept=kept)
    return uw.formula(filled)


def freed(whole: Recipe, epochs: int, kept: int = 1) -> Recipe:
    """Return the plan of a classifier alone, for so many passes, before that of class and style."""
    alone = replace(whole, epochs=epochs, lr=2 * whole.lr)
    return _of_class(replace(alone, objective=between(FREED, alone, 0.3, 0.7, kept)))


def _of_class(plan: Recipe) -> Recipe:
    """Return a plan of the class, without findings and with hardly any style."""
    build: Any = plan.model
    small = partial(build, hidden=(), normals=1)
    plan = replace(plan, lr=warmed(plan))
    return replace(plan, model=small, patience=None, logged=0, findings=None)


def begun(whole: Recipe, alone: Recipe, starts: int = 1) -> Recipe:
    """Return a plan whose class begins as that of the best of several classifiers alone."""
    return replace(whole, start=partial(_begin_classifier, alone, starts))


def warmed(plan: Recipe, end: float = 0.05) -> Ramp:
    """Return a plan's learning rate, which rises for 50 steps and falls to a share of itself."""
    steps, highest = plan.epochs * plan.per_epoch, plan.lr
    assert isinstance(highest, float)
    return uw.Ramp(((0, 0.02 * highest), (min(50, steps - 1), highest), (steps, end * highest)))


def _begin_classifier(alone: Recipe, starts: int, model: Model) -> None:
    """Give a model the best of several classifiers that are trained alone.

    The best is the one whose class tells most about the training items, which takes no label.

    Args:
        alone: The plan by which a small model with the same classifier is trained.
        starts: How many are trained.
        model: The model, which is changed.
    """
    from unweave.training.trainer import trained

    seeds = range(alone.seed * starts, (alone.seed + 1) * starts)
    found = [trained(replace(alone, seed=seed)) for seed in seeds]
    best: Any = found[0] if starts == 1 else max(found, key=partial(_told, alone))
    classifier: Any = model.encoder.y
    classifier.load_state_dict(best.encoder.y.state_dict())


def _told(plan: Recipe, model: Model) -> float:
    """Return the nats that the class tells about the training items, I(x;y)."""
    from unweave.evaluation.codes import discreteness

    train, _ = plan.parts()
    found = discreteness(model.posterior(train.floats()))
    told: float = found["discrete_information"]["y"]
    return told
