"""A person's own data: the likelihood and the networks are chosen from it, and said."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import unweave as uw

from .images import Batch, Epochs, Formula, Latents, Patience, Rate, Seed

if TYPE_CHECKING:
    from unweave.train import Recipe

Net = Annotated[Literal["auto", "mlp", "conv"], "auto: convolutions for images of 16 pixels or more a side."]
Likelihood = Annotated[
    Literal["auto", "bernoulli", "normal"], "Of x. auto: Bernoulli for numbers in [0, 1], Normal for others."
]


def own(
    *,
    data: Annotated[str, "A folder of images, or an .npy, .npz, .csv, .tsv or .parquet file."],
    labels: Annotated[str | None, "Columns or arrays that are labels, with commas; of a folder, a table."] = None,
    size: Annotated[int | None, "Pixels a side that a folder's images are brought to.  Default: 64, or fewer."] = None,
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
    """A VAE of your own images or tables, `--data FOLDER_OR_FILE`; every choice made for you is said.

    Images of 16 pixels or more a side get convolutions, others two layers of 400 and 200 units. Numbers in [0, 1] are
    Bernoulli, others Normal with learned scales.
    """
    flags = locals()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    names = labels if labels is None or Path(data).is_dir() else labels.split(",")  # a folder's is its table's path
    whole = uw.data.read(data, labels=names, size=size, say=say)
    shape = tuple(whole.shape)
    if net == "auto":
        net = "conv" if len(shape) in (2, 3) and min(shape[:2]) >= 16 else "mlp"
        say(f"networks: {'convolutions' if net == 'conv' else 'two layers'}, as items are of shape {shape} (--net)")
    if likelihood == "auto":
        likelihood = "bernoulli" if whole.is_unit else "normal"
        say(f"likelihood: {likelihood}, as x {'lies' if whole.is_unit else 'does not lie'} in [0, 1] (--likelihood)")
    train, held = whole.split(max(2, round(test * len(whole))))
    family = partial(uw.models.vae, shape=shape, normals=latents, net=net, likelihood=likelihood)
    if net == "conv":
        family = partial(family, hidden=(256, 128))
    return uw.Recipe(
        name="own",
        data=train,
        test=held,
        model=family,
        objective=uw.formula(objective),
        groups=("z",),
        flags=flags,
        epochs=epochs,
        batch=min(batch, len(train)),
        lr=lr,
        patience=patience,
        seed=seed,
    )
