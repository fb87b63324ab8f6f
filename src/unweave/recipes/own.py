"""A person's own data: the recipe chooses the likelihood and the networks, and says which."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

import unweave as uw
from unweave.data.store import moments

from .flags import Batch, Epochs, Formula, Latents, Patience, Rate, Seed, recipe

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.training.recipe import Recipe

Net = Annotated[
    Literal["auto", "mlp", "conv"], "auto: convolutions for images of 16 pixels or more a side."
]
Likelihood = Annotated[
    Literal["auto", "bernoulli", "normal"],
    "Likelihood of x. auto: Bernoulli for numbers in [0, 1], Normal for others.",
]
Kind = Annotated[
    Literal["vae", "hfvae"],
    "vae: Normals z. hfvae: also a Concrete y, a class found without labels.",
]


@recipe
def own(
    *,
    data: Annotated[str, "A folder of images, or an .npy, .npz, .h5, .csv, .tsv or .parquet file."],
    labels: Annotated[
        str | None,
        "Columns or arrays that are labels, with commas; of a folder or an .npy, the table's file.",
    ] = None,
    drop: Annotated[
        str | None,
        "Columns or arrays to leave out, with commas; those that name the rows always are.",
    ] = None,
    missing: Annotated[
        Literal["refuse", "mean"], "mean: a missing number becomes its column's mean."
    ] = "refuse",
    size: Annotated[
        int | None, "Pixels a side that a folder's images are brought to.  Default: 64, or fewer."
    ] = None,
    model: Kind = "vae",
    classes: Annotated[int, "Classes of y, with --model hfvae."] = 10,
    objective: Formula = "tc_vae(6)",
    latents: Latents = 10,
    net: Net = "auto",
    likelihood: Likelihood = "auto",
    test: Annotated[float, "Share of the items to test on."] = 0.1,
    epochs: Epochs = 50,
    batch: Batch = 64,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
) -> Recipe:
    """A VAE of your own images or tables, `--data FOLDER_OR_FILE`; it says what it chose for you.

    Images of 16 pixels or more a side get convolutions, others two layers of 400 and 200 units.
    Numbers in [0, 1] are Bernoulli, others Normal with learned scales. Columns of tables that are
    Normal reach the networks with mean 0 and standard deviation 1 over the training part; densities
    and codes are of the columns as they are.
    """
    path = Path(data)
    has_table = path.is_dir() or path.suffix.lower() == ".npy"  # whose path the labels are
    named = labels if labels is None or has_table else _names(labels)
    dropped = _names(drop) if drop else ()
    whole = uw.data.read(data, labels=named, size=size, missing=missing, drop=dropped, say=_say)
    shape = tuple(whole.shape)
    if net == "auto":
        net = _net_for(shape)
    if likelihood == "auto":
        likelihood = _likelihood_for(whole)
    train, held = whole.split(max(2, round(test * len(whole))))
    families: dict[str, Callable[..., Model]] = {
        "vae": uw.models.vae,
        "hfvae": partial(uw.models.hfvae, classes=classes),
    }
    build = partial(families[model], shape=shape, normals=latents, net=net, likelihood=likelihood)
    if net == "conv":
        build = partial(build, hidden=(256, 128))
    if len(shape) == 1 and likelihood == "normal":
        _say_scales(train)
        build = partial(_measured, partial(build, standardise=True), train)
    return uw.Recipe(
        name="own",
        data=train,
        test=held,
        model=build,
        objective=uw.formula(objective),
        groups=("z",) if model == "vae" else ("y", "z"),
        held_out=max(2, round(test * len(train))) if patience else 0,
        epochs=epochs,
        batch=min(batch, len(train)),
        lr=lr,
        patience=patience,
        seed=seed,
    )


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",")]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _net_for(shape: Sequence[int]) -> Literal["mlp", "conv"]:
    is_image = len(shape) in (2, 3) and min(shape[:2]) >= 16
    kind = "convolutions" if is_image else "two layers"
    _say(f"networks: {kind}, as items are of shape {shape} (--net)")
    return "conv" if is_image else "mlp"


def _likelihood_for(data: Data) -> Literal["bernoulli", "normal"]:
    likelihood: Literal["bernoulli", "normal"] = "bernoulli" if data.is_unit else "normal"
    lies = "lies" if data.is_unit else "does not lie"
    _say(f"likelihood: {likelihood}, as x {lies} in [0, 1] (--likelihood)")
    return likelihood


def _say_scales(data: Data) -> None:
    _, sds = moments(data.x)
    _say(
        "columns: brought to mean 0 and standard deviation 1 for the networks; codes and densities "
        f"are of raw rows (standard deviations are {sds.min():.3g} to {sds.max():.3g})"
    )


def _measured(build: Callable[[], Model], data: Data) -> Model:
    mean, sd = moments(data.x)
    two = np.stack([mean - sd, mean + sd])  # whose mean and standard deviation are the data's
    return uw.models.measured(build(), two)
