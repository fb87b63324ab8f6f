"""Handwritten digits and clothes: the structured model, its baseline, and autoencoders and VAEs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import unweave as uw
from unweave.arguments import Size, Weight

from .digits_findings import findings
from .flags import (
    Batch,
    Discrete,
    Epochs,
    Folder,
    Formula,
    Images,
    Latents,
    Patience,
    Prior,
    Rate,
    Samples,
    Seed,
    Weights,
    recipe,
    with_flags_of,
)

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.objective.objective import Objective
    from unweave.objective.schedule import Ramp
    from unweave.training.recipe import Recipe


DEMO_CLASSES = "10*label - 60*kl[0].of('y')"
"""The objective of the demo's classifiers alone: views agree, and classes are equally frequent."""

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


def structured(
    data: str,
    *,
    objective: Formula = "hfvae(alpha=1, beta=12, gamma=4)",
    discrete: Discrete = "concrete",
    prior: Prior = "standard",
    weights: Weights = "balanced",
    samples: Samples = 1,
    epochs: Epochs = 30,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Return the recipe of the structured model on one set of images, which is also its name.

    The model has one discrete variable y of ten classes and ten Normals z.
    """
    model = partial(uw.models.hfvae, prior=prior)
    if discrete == "categorical":
        model = partial(model, temperature=None)
    return _images(
        name=data,
        data=data,
        family=model,
        objective=uw.formula(objective),
        groups=("y", "z"),
        weights=weights,
        samples=samples,
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )


@recipe
def digits(
    *,
    objective: Annotated[
        str | None, "The objective to maximise, as a formula.  Default: that of the demo."
    ] = None,
    latents: Latents = 6,
    starts: Annotated[Size, "Classifiers that are trained first, of which the best is kept."] = 3,
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
    0.960 ± 0.006 (Hungarian; 0.950 to 0.964), ELBO −24.0 ± 0.1 and reconstruction −19.4 ± 0.1 on
    the test data; exact I(x;z) 4.37 ± 0.06, total correlation 0.16 ± 0.02 between y and z and 0.08
    ± 0.02 within z; I(digit;y) 2.12 ± 0.02 of 2.30 and I(digit;z) 0.19 ± 0.02. Five or six Normals
    are in use. docs/clustering.md says what failed.
    """
    small = partial(uw.models.invariant, hidden=(), normals=1, views=DEMO_VIEWS)
    alone = _images(
        "digits",
        "digits",
        small,
        uw.formula(DEMO_CLASSES),
        ("y", "z"),
        epochs=min(epochs, 70),
        batch=batch,
        lr=lr,
        patience=None,
        seed=seed,
        data_dir=None,
    )
    alone = replace(alone, lr=_warmed(lr, alone.epochs * alone.per_epoch), logged=0)
    model = partial(uw.models.invariant, (8, 8), (400,), normals=latents, views=DEMO_VIEWS)
    steps = epochs * alone.per_epoch
    form = objective or DEMO.format(first=steps // 2, last=9 * steps // 10)
    return replace(
        alone,
        model=model,
        start=partial(_begin_classifier, alone, starts),
        objective=uw.formula(form),
        epochs=epochs,
        lr=_warmed(lr, steps),
        patience=patience,
        logged=1,
        findings=findings,
    )


def _begin_classifier(alone: Recipe, starts: int, model: Model) -> None:
    """Give a model the best of several classifiers that are trained alone.

    The best is the one whose class tells most about the training items, which takes no label.

    Args:
        alone: The plan by which a small model with the same classifier is trained.
        starts: How many are trained.
        model: The model, which is changed.
    """
    from unweave.training.trainer import trained

    most, best = -math.inf, None
    for start in range(starts):
        plan = replace(alone, seed=alone.seed * starts + start)
        small = trained(plan)
        told = _told(plan, small)
        if told > most:
            most, best = told, small
    if best is not None:
        classifier: Any = model.encoder.y
        classifier.load_state_dict(best.encoder.y.state_dict())  # type: ignore[union-attr]


def _told(plan: Recipe, model: Model) -> float:
    """Return the nats that the class tells about the training items, I(x;y)."""
    from unweave.evaluation.codes import discreteness

    train, _ = plan.parts()
    found = discreteness(model.posterior(train.floats()))
    told: float = found["discrete_information"]["y"]
    return told


@recipe
@with_flags_of(structured, without=["data_dir"])
def digits_hfvae(*, epochs: Epochs = 400, **flags: Any) -> Recipe:
    """HFVAE on scikit-learn's digits, the published model beside which `digits` is set.

    Measured, mean ± sd over seeds 0, 1, 2 (`unweave compare runs/digits-hfvae-seed*`), nats: ELBO
    −24.8 ± 0.3 and reconstruction −20.5 ± 0.2 on the test data; exact I(x;z) 3.54 ± 0.11,
    total correlation 0.59 ± 0.06 between y and z, which the training's estimator does not see (it
    says −0.16), and 0.05 ± 0.01 within z. Three or four Normals are in use, with I(digit;z) 0.91 ±
    0.06 and I(digit;y) 0.28 ± 0.00 of 2.30; accuracy of y 0.33 ± 0.07 (Hungarian). 26 s a run, one
    thread of a 2-core AMD EPYC that trained another run beside it.
    """
    made = structured("digits", epochs=epochs, **flags)
    return replace(made, name="digits-hfvae")


@recipe
@with_flags_of(structured)
def mnist(**flags: Any) -> Recipe:
    """HFVAE on MNIST: one Concrete(10) and ten Normals, beta=12, gamma=4 (Esmaeili et al., 2019).

    Measured, mean ± sd over seeds 0 to 4 (`unweave compare runs/mnist-seed*`), nats per item: ELBO
    −116.1 ± 0.3 and reconstruction −106.7 ± 0.3 on the test data; exact I(x;z) 8.65 ± 0.09, total
    correlation 0.004 ± 0.011 between y and z and 0.61 ± 0.06 within z, where the training's
    estimator says −1.05. Six Normals are in use, with I(digit;z) 2.14 ± 0.02 of 2.30. The Concrete
    stays idle: H(y|x) 2.30 of 2.30, accuracy 0.29 ± 0.05 (Hungarian). 248 to 751 s a run, one
    thread of a 2-core AMD EPYC that was busy with one to seven other things.
    """
    return structured("mnist", **flags)


@recipe
@with_flags_of(structured)
def fashion_mnist(**flags: Any) -> Recipe:
    """HFVAE on Fashion-MNIST, as on MNIST (Esmaeili et al., 2019).

    Measured, mean ± sd over seeds 0, 1, 2 (`unweave compare runs/fashion-mnist-seed*`), nats per
    item: ELBO −246.7 ± 1.9 and reconstruction −238.8 ± 2.3 on the test data; exact I(x;z) 7.53 ±
    0.30, total correlation 0.07 ± 0.04 between y and z and 0.23 ± 0.07 within z. Three or four
    Normals are in use, with I(class;z) 1.75 ± 0.04 of 2.30. The Concrete stays idle: H(y|x) 2.30 of
    2.30, accuracy 0.29 ± 0.07 (Hungarian). 314 ± 91 s a run, as for MNIST.
    """
    return structured("fashion-mnist", **flags)


@recipe
def beta_vae(
    *,
    data: Images = "mnist",
    beta: Annotated[Weight, "Weight of the KL divergence."] = 4.0,
    epochs: Epochs = 30,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """The baseline of the HFVAE figures, a beta-VAE of the same networks (Higgins et al., 2017).

    Measured, mean ± sd over seeds 0, 1, 2 (`unweave compare runs/beta-vae-seed*`), nats per item.
    MNIST: ELBO −118.5 ± 0.2 and reconstruction −110.3 ± 0.3 on the test data; exact I(x;z) 7.63 ±
    0.12, total correlation 0.007 ± 0.002 between y and z and 0.54 ± 0.01 within z, I(digit;z) 2.08
    ± 0.00, six Normals in use. Fashion-MNIST: −249.0 ± 0.3, −242.9 ± 0.3, 5.80 ± 0.09, 0.012 ±
    0.000, 0.34 ± 0.02, 1.72 ± 0.02, four in use. The Concrete stays idle on both (H(y|x) 2.30,
    accuracy 0.28 ± 0.04 and 0.29 ± 0.06). 227 s a run on average, one thread of a 2-core AMD EPYC
    that trained another run beside it.
    """
    return _images(
        "beta-vae",
        data,
        uw.models.hfvae,
        uw.beta_vae(beta),
        ("y", "z"),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )


@recipe
def vae(
    *,
    data: Images = "mnist",
    latents: Latents = 2,
    epochs: Epochs = 20,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """The plain VAE with 2 or 50 latents: unlike the plain autoencoder's, its codes have a scale.

    Measured on MNIST, one run each with seed 0, nats per item on the test data: 2 latents ELBO
    −141.4, reconstruction −134.7, 163 s; 50 latents ELBO −101.6, reconstruction −81.4, 113 s; one
    thread, as for `beta_vae`.
    """
    return _images(
        "vae",
        data,
        partial(uw.models.vae, normals=latents),
        uw.elbo,
        ("z",),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )


@recipe
def autoencoder(
    *,
    data: Images = "mnist",
    latents: Latents = 2,
    epochs: Epochs = 20,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """The plain autoencoder with 2 or 50 latents: nothing keeps its codes to a scale.

    Measured on MNIST, one run each with seed 0, nats per item on the test data: reconstruction
    −132.6 with 2 latents (134 s) and −59.4 with 50 (85 s); one thread, as for `beta_vae`.
    """
    return _images(
        "autoencoder",
        data,
        partial(uw.models.autoencoder, normals=latents),
        uw.recon,
        None,
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )


@recipe
def clustering(
    *,
    data: Annotated[Literal["mnist", "fashion-mnist"], "Images to train on."] = "mnist",
    objective: Formula = "elbo + 11*mi.of('y') - 49*kl[0].of('y') + 10*label",
    views: Annotated[
        Literal["all", "affine", "none"], "The changes of an image that keep its class."
    ] = "all",
    latents: Latents = 10,
    epochs: Epochs = 10,
    batch: Batch = 500,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """Digits found without labels: ten classes that views of an image agree on, and their style.

    The objective is the ELBO with y summed out, a reward of 10 for the information I(x;y), for
    which the ELBO pays 1, a weight of 50 on KL(q(y) ‖ p(y)), which keeps the classes equally
    frequent, and of 10 on the class in a second view. The learning rate rises for 50 steps and
    falls to a twentieth.

    Measured on MNIST, mean ± sd over seeds 0 to 4 (`unweave compare runs/clustering-seed*`), nats
    per item: accuracy of y 0.975 ± 0.006 (Hungarian; 0.970 to 0.983), H(y|x) 0.026 ± 0.001, ELBO
    −120.8 ± 0.4 and reconstruction −104.3 ± 0.9 on the test data; exact I(x;z) 10.24 ± 0.06, total
    correlation 2.20 ± 0.02 between y and z: z knows the digit too, I(digit;z) 2.23 ± 0.03 of 2.30.
    419 to 1,084 s a run, one thread of a busy 2-core AMD EPYC. docs/clustering.md says what
    failed.
    """
    strokes, places = ("width", "dim"), ("rotation", "shear", "zoom", "shift")
    still = {"all": (), "affine": strokes, "none": strokes + places}[views]
    model = partial(uw.models.invariant, normals=latents, views=dict.fromkeys(still, 0.0))
    made = _images(
        "clustering",
        data,
        model,
        uw.formula(objective),
        ("y", "z"),
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )
    return replace(made, lr=_warmed(lr, epochs * made.per_epoch))


@recipe
def ablation(
    *,
    drop: Annotated[
        Literal["none", "1", "2", "3", "4"], "The term of ① + ② + ③ + ④ to leave out."
    ] = "none",
    data: Images = "mnist",
    latents: Latents = 2,
    samples: Samples = 10,
    epochs: Epochs = 5,
    batch: Batch = 128,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
    data_dir: Folder = None,
) -> Recipe:
    """The ELBO without one of its four terms, to see what each is there for.

    ① = log p(x|z) − log p(x) and ③ = log p(x) up to a constant, ② = −I(x;z), ④ = −KL(q(z) ‖ p(z)).
    log p(x) is estimated by importance sampling over the `samples`; the estimate is too low, by the
    figure that `unweave verify` prints for it. There are two latents, so that `unweave picture
    ablation RUN...` can show the codes as they are. Without ③ there remains −KL(q(z|x) ‖ p(z|x)),
    which an idle latent brings to 0.
    """
    left = {
        "none": uw.elbo,
        "1": uw.evidence - uw.mi - uw.kl[0],
        "2": uw.recon - uw.kl[0],
        "3": uw.recon - uw.evidence - uw.mi - uw.kl[0],
        "4": uw.recon - uw.mi,
    }
    return _images(
        "ablation",
        data,
        partial(uw.models.vae, normals=latents),
        left[drop],
        ("z",),
        samples=samples,
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
        data_dir=data_dir,
    )


def _warmed(lr: float, steps: int) -> Ramp:
    """Return a learning rate that rises for 50 steps and falls to a twentieth."""
    return uw.Ramp(((0, 0.02 * lr), (min(50, steps - 1), lr), (steps, 0.05 * lr)))


def _images(
    name: str,
    data: str,
    family: Callable[..., Model],
    objective: Objective,
    groups: tuple[str, ...] | None,
    *,
    epochs: int,
    batch: int,
    lr: float,
    patience: int | None,
    seed: int,
    data_dir: str | None,
    samples: int = 1,
    weights: str = "balanced",
) -> Recipe:
    """Return a recipe on one of the image sets, hidden layers sized to its images."""
    load = {
        "digits": uw.data.digits,
        "mnist": uw.data.mnist,
        "fashion-mnist": uw.data.fashion_mnist,
    }[data]
    weighting = {
        "balanced": uw.balanced,
        "stratified": uw.stratified,
        "weighted": uw.weighted,
    }[weights]
    train, test = load("train", root=data_dir), load("test", root=data_dir)
    small = train.x[0].size < 200
    hidden = (256, 128) if small else (400, 200)
    return uw.Recipe(
        name=name,
        data=train,
        test=test,
        model=partial(family, shape=train.x.shape[1:], hidden=hidden),
        objective=objective,
        groups=groups,
        weights=weighting,
        samples=samples,
        held_out=137 if small else 5000,
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
    )
