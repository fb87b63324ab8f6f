"""A person's own data: the likelihood and the networks are chosen from it, and said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import unweave as uw

from .images import Batch, Epochs, Formula, Latents, Patience, Rate, Seed

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.training.recipe import Recipe

Net = Annotated[
    Literal["auto", "mlp", "conv"], "auto: convolutions for images of 16 pixels or more a side."
]
Likelihood = Annotated[
    Literal["auto", "bernoulli", "normal"],
    "Of x. auto: Bernoulli for numbers in [0, 1], Normal for others.",
]


Kind = Annotated[
    Literal["vae", "hfvae"],
    "vae: Normals z. hfvae: also a Concrete y, a class found without labels.",
]


def own(
    *,
    data: Annotated[str, "A folder of images, or an .npy, .npz, .csv, .tsv or .parquet file."],
    labels: Annotated[
        str | None, "Columns or arrays that are labels, with commas; of a folder, a table."
    ] = None,
    size: Annotated[
        int | None, "Pixels a side that a folder's images are brought to.  Default: 64, or fewer."
    ] = None,
    model: Kind = "vae",
    classes: Annotated[int, "Of y, with --model hfvae."] = 10,
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
    """A VAE of your own images or tables, `--data FOLDER_OR_FILE`; every choice made for you is
    said.

    Images of 16 pixels or more a side get convolutions, others two layers of 400 and 200 units.
    Numbers in [0, 1] are Bernoulli, others Normal with learned scales. Columns of tables that are
    Normal reach the networks with mean 0 and standard deviation 1 over the training part; densities
    and codes are of the columns as they are.
    """
    flags = locals()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    names = (
        labels if labels is None or Path(data).is_dir() else labels.split(",")
    )  # a folder's is its table's path
    whole = uw.data.read(data, labels=names, size=size, say=say)
    shape = tuple(whole.shape)
    if net == "auto":
        net = "conv" if len(shape) in (2, 3) and min(shape[:2]) >= 16 else "mlp"
        say(
            f"networks: {'convolutions' if net == 'conv' else 'two layers'}, as items are of shape "
            f"{shape} (--net)"
        )
    if likelihood == "auto":
        likelihood = "bernoulli" if whole.is_unit else "normal"
        say(
            f"likelihood: {likelihood}, as x {'lies' if whole.is_unit else 'does not lie'} in [0, "
            "1] (--likelihood)"
        )
    train, held = whole.split(max(2, round(test * len(whole))))
    families: dict[str, Callable[..., Model]] = {
        "vae": uw.models.vae,
        "hfvae": partial(uw.models.hfvae, classes=classes),
    }
    build = partial(families[model], shape=shape, normals=latents, net=net, likelihood=likelihood)
    if net == "conv":
        build = partial(build, hidden=(256, 128))
    if len(shape) == 1 and likelihood == "normal":
        sds = train.floats().std(0, dtype="float64")
        text = "brought to mean 0 and standard deviation 1 for the networks; codes and densities are of raw rows"
        say(f"columns: {text} (standard deviations are {sds.min():.3g} to {sds.max():.3g})")
        build = partial(_measured, partial(build, standardise=True), train)
    return uw.Recipe(
        name="own",
        data=train,
        test=held,
        model=build,
        objective=uw.formula(objective),
        groups=("z",) if model == "vae" else ("y", "z"),
        flags=flags,
        held_out=max(2, round(test * len(train))) if patience else 0,
        epochs=epochs,
        batch=min(batch, len(train)),
        lr=lr,
        patience=patience,
        seed=seed,
    )


def _measured(build: Callable[[], Model], data: Data) -> Model:
    return uw.models.measured(build(), data.floats())
