"""Handwritten digits and clothes: the structured model, its baseline, and autoencoders and VAEs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import unweave as uw
from unweave.arguments import Weight

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
    from unweave.training.recipe import Recipe


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
    return of_images(
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
    return of_images(
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
    return of_images(
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
    return of_images(
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
    return of_images(
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


def of_images(
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
    hidden: Sequence[int] | None = None,
) -> Recipe:
    """Return a recipe on one of the image sets, hidden layers by default sized to its images."""
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
    usual = (256, 128) if small else (400, 200)
    return uw.Recipe(
        name=name,
        data=train,
        test=test,
        model=partial(family, shape=train.x.shape[1:], hidden=hidden or usual),
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
