"""A person's own data: the recipe chooses the likelihood and the networks, and says which."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import unweave as uw
from unweave.arguments import Share, Size
from unweave.data.kinds import COUNTS, kinds_of

from .flags import Batch, Formula, Latents, Patience, Rate, Seed, recipe

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.models.views import Views
    from unweave.training.recipe import Recipe

MANY = 100
"""Columns of counts from which on rows have sizes."""

FEWEST = 4
"""Items that there must be."""

STEPS = 3000
"""Steps that a training has by default, if it has neither few nor many epochs then."""

Net = Annotated[
    Literal["auto", "mlp", "conv"], "auto: convolutions for images of 16 pixels or more a side."
]
Likelihood = Annotated[
    str,
    "auto, or normal, log_normal, bernoulli, [zero_inflated_]poisson or "
    "[zero_inflated_]negative_binomial; of a table's columns by name, visits=poisson,normal.",
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
        Literal["keep", "refuse", "mean"],
        "keep: missing numbers are left out of the likelihood. mean: they become column means.",
    ] = "keep",
    categories: Annotated[
        str | None, "Columns whose numbers are classes, with commas; those of text always are."
    ] = None,
    given: Annotated[
        str | None, "Columns that the model is given and z need not hold, such as batch."
    ] = None,
    library: Annotated[
        bool | None, "Whether a row's sum of counts is given.  Default: for 100 counts or more."
    ] = None,
    decoder: Annotated[
        Literal["plain", "pooled"], "pooled: effects of single units of z add up, for counts."
    ] = "plain",
    size: Annotated[
        Size | None, "Pixels a side that a folder's images are brought to.  Default: 64, or fewer."
    ] = None,
    model: Kind = "vae",
    classes: Annotated[Size, "Classes of y, with --model hfvae."] = 10,
    objective: Formula = "tc_vae(6)",
    latents: Latents = 10,
    net: Net = "auto",
    likelihood: Likelihood = "auto",
    views: Annotated[
        str | None,
        "Random views of images to train on, such as flip,shift=3: also rotation, shear, zoom, "
        "width (of strokes), dim, bend.",
    ] = None,
    test: Annotated[Share, "Share of the items to test on."] = 0.1,
    epochs: Annotated[
        Size | None, "Passes over the training data.  Default: 3,000 steps, 50 to 200 epochs."
    ] = None,
    batch: Batch = 64,
    lr: Rate = 1e-3,
    patience: Patience = None,
    seed: Seed = 0,
) -> Recipe:
    """A VAE of your own images or tables, `--data FOLDER_OR_FILE`; it says what it chose for you.

    Images of 16 pixels or more a side get convolutions, others two layers of 400 and 200 units.
    Images and vectors in [0, 1] are Bernoulli, other images Normal. Each column of a table has a
    likelihood by its kind (`models.table`): counts, classes, truths, positive and other numbers.
    Missing numbers are left out of it. Codes and densities are of the columns as they are.
    """
    path = Path(data)
    has_table = path.is_dir() or path.suffix.lower() == ".npy"  # whose path the labels are
    named = labels if labels is None or has_table else _names(labels)
    whole = uw.data.read(
        data,
        labels=named,
        size=size,
        missing=missing,
        categories=_names(categories),
        given=_names(given),
        drop=_names(drop),
        say=_say,
    )
    if len(whole) < FEWEST:
        raise ValueError(
            f"{data} has too few items, {len(whole)}: expected {FEWEST} or more, 2 to train on and "
            "2 to test on"
        )
    shape = tuple(whole.shape)
    train, held = whole.split(max(2, round(test * len(whole))))
    batch = min(batch, len(train))
    build: Callable[[], Model]
    if "columns" in whole.prepared or (len(shape) == 1 and not whole.is_unit):
        kinds = kinds_of(whole, likelihood, _say)
        _say(
            "columns: brought to mean 0 and standard deviation 1 for the networks, counts and "
            "log-normal ones as logarithms; codes and densities are of raw rows"
        )
        counts = sum(width for kind, width in kinds if kind in COUNTS)
        if library is None:
            library = counts >= MANY
        if library:
            _say(f"sizes: each row's sum of {counts:,} counts is given to the decoder (--library)")
        build = partial(
            measured,
            partial(
                uw.models.table,
                shape,
                kinds,
                classes=classes if model == "hfvae" else 0,
                normals=latents,
                library=library,
                missing=whole.missing,
                blocks=[1] * latents if decoder == "pooled" else None,
            ),
            train,
        )
    else:
        build = _of_items(shape, whole, model, classes, latents, net, likelihood)
    if epochs is None:
        epochs = _epochs_for(len(train), batch)
    return uw.Recipe(
        name="own",
        data=train,
        test=held,
        model=build,
        views=_views_of(shape, views),
        objective=uw.formula(objective),
        groups=("z",) if model == "vae" else ("y", "z"),
        held_out=max(2, round(test * len(train))) if patience else 0,
        epochs=epochs,
        batch=batch,
        lr=lr,
        patience=patience,
        seed=seed,
    )


def _of_items(
    shape: tuple[int, ...],
    data: Data,
    model: str,
    classes: int,
    latents: int,
    net: str,
    likelihood: str,
) -> Callable[[], Model]:
    """Return what builds a model of images, or of vectors in [0, 1]."""
    if net == "auto":
        net = _net_for(shape)
    if likelihood == "auto":
        likelihood = _likelihood_for(data)
    families: dict[str, Callable[..., Model]] = {
        "vae": uw.models.vae,
        "hfvae": partial(uw.models.hfvae, classes=classes),
    }
    build = partial(families[model], shape=shape, normals=latents, net=net, likelihood=likelihood)
    return partial(build, hidden=(256, 128)) if net == "conv" else build


def _views_of(shape: tuple[int, ...], named: str | None) -> Views | None:
    """Return the views of images that are named."""
    if named is None:
        return None
    from unweave.models.views import Views

    if len(shape) not in (2, 3):
        raise ValueError(
            f"views={named!r} are of images; these items are of shape {shape}: leave --views out"
        )
    return Views.named(named)


def _names(listed: str | None) -> list[str]:
    return [name.strip() for name in listed.split(",")] if listed else []


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


def _epochs_for(n: int, batch: int) -> int:
    """Return the epochs for 3,000 steps, at least 50 and at most 200, and say them.

    On 300, 1,000 and 5,000 faces of 32 pixels a side, the ELBO of held-out items was best after
    612, 2,604 and 4,158 steps, in epochs 204, 217 and 66 (one seed each).
    """
    steps = math.ceil(n / batch)
    epochs = min(max(math.ceil(STEPS / steps), 50), 200)
    _say(f"epochs: {epochs}, as {n:,} items are {steps:,} steps an epoch (--epochs, --patience)")
    return epochs


def measured(build: Callable[[], Model], data: Data) -> Model:
    """Build a model, and let it measure the items that it is to be trained on."""
    return uw.models.measured(build(), data.x)
