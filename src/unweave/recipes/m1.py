"""M1: a VAE without labels, whose codes other programs are about."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import unweave as uw

if TYPE_CHECKING:
    from unweave.models import Model
    from unweave.training.recipe import Recipe


def m1(
    train: uw.data.Data,
    test: uw.data.Data | None = None,
    *,
    latents: int = 50,
    epochs: int = 20,
    batch: int = 200,
    lr: float = 1e-3,
    seed: int = 0,
) -> Recipe:
    """Return the recipe of a VAE with one hidden layer, which keeps neighbours in its codes."""
    steps = epochs * (len(train) // batch)
    return uw.Recipe(
        name="semi-supervised",
        data=train,
        test=test,
        model=partial(uw.models.vae, train.shape, hidden=(500,), normals=latents),
        objective=uw.elbo,
        epochs=epochs,
        batch=batch,
        lr=uw.Ramp(((0, lr), (int(0.7 * steps), lr), (steps, 0.1 * lr))),
        seed=seed,
    )


def m1_kept(train: uw.data.Data, seed: int, *, quick: bool = False) -> Model:
    """Return M1 of some items, which is trained once and kept in the cache.

    Processes that ask before it is there each train it, to the same weights.
    """
    from unweave.data.prepared import cache
    from unweave.runs import config
    from unweave.training.content import fingerprint
    from unweave.training.trainer import trained

    epochs = 2 if quick else 20
    folder = cache() / f"m1-{fingerprint(train)['items']}-epochs{epochs}-seed{seed}"
    if not (folder / config.FILE).is_file():
        print(f"M1 is trained once, and kept in {folder}", file=sys.stderr, flush=True)
        uw.save(trained(m1(train, epochs=epochs, seed=seed)), folder)
    return uw.load(folder)
