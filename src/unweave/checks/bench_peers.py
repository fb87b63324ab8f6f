"""Training steps of other libraries that are installed, beside ours of the same networks.

All have the `vae` family's networks, 784-400-200 with 10 Normals, the same batches and Adam. A
peer's own trainer is left out: a step is its loss, the backward pass and its optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from .. import models, terminal
from ..nets import mlp
from ..objective.literature import elbo, tc_vae
from ..objective.objective import Objective
from ..training.trainer import Trainer
from .bench_step import recipe
from .timing import interleaved, load, quartiles, ratios

PEERS = {"pythae": "pythae", "pyro": "pyro-ppl"}
"""Libraries that have such a step, and the names by which they are installed."""

PIXELS, UNITS, BETA = 784, 10, 6.0

Step = Callable[[], None]


def peers(threads: int = 1, repeats: int = 60, batches: tuple[int, ...] = (128, 1024)) -> None:
    """Print the times of a step of each peer that is installed as ratios to ours."""
    torch.set_num_threads(threads)
    console = terminal.console()
    table = Table("batch", "step", "ms", "times ours", box=None, pad_edge=False)
    for batch in batches:
        with torch.random.fork_rng():
            rivals = steps(batch)
            times = interleaved(rivals, repeats, wall=threads > 1) if len(rivals) > 2 else {}
        for name, seconds in times.items():
            of = "TC-VAE" if "TC-VAE" in name else "ELBO"
            low, mid, high = ratios(seconds, times[f"unweave, {of}"])
            cell = "" if name.startswith("unweave") else f"{mid:.2f} [{low:.2f} to {high:.2f}]"
            table.add_row(str(batch), name, quartiles(seconds), cell)
    console.print(table)
    for name, distribution in PEERS.items():
        there = find_spec(name)
        said = version(distribution) if there else "not installed"
        console.print(f"{name}: {said}", highlight=False)
    console.print(f"medians [quartiles] of {repeats} interleaved repetitions; load {load():.2f}")


def steps(batch: int) -> dict[str, Step]:
    """Return our steps, and those of the peers that are installed."""
    found = {"unweave, ELBO": ours(batch, elbo), "unweave, TC-VAE": ours(batch, tc_vae(BETA))}
    if find_spec("pyro"):
        found["pyro's SVI, ELBO"] = by_pyro(batch)
    if find_spec("pythae"):
        found["pythae's BetaTCVAE, TC-VAE"] = by_pythae(batch)
    return found


def ours(batch: int, objective: Objective, n: int = 20_000) -> Step:
    """Return our training step, without the log's terms."""
    plan = replace(
        recipe(batch, n),
        model=lambda: models.vae((28, 28), normals=UNITS),
        objective=objective,
        groups=("z",),
    )
    trainer = Trainer(plan, "cpu")
    trainer.step, trainer.log_every = 1, 10**9
    order = trainer.epoch_order(0)
    return lambda: trainer.one_step(order[trainer.step % trainer.per_epoch])


def _batches(batch: int, n: int = 20_000) -> Callable[[], Tensor]:
    """Return a function that gives the batches of an epoch in turn, (batch, 784)."""
    data = torch.as_tensor(recipe(batch, n).data.x).flatten(1)  # (n, 784)
    order = torch.randperm(n).split(batch)[: n // batch]
    count = 0

    def following() -> Tensor:
        nonlocal count
        count += 1
        return data.index_select(0, order[count % len(order)])

    return following


def _networks() -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    """Return the trunk, the mean, the log-scale and the decoder of the `vae` family."""
    trunk = nn.Sequential(nn.Linear(PIXELS, 400), nn.ReLU())
    mean, log_scale = mlp([400, 200, UNITS]), mlp([400, 200, UNITS])
    return trunk, mean, log_scale, mlp([UNITS, 200, 400, PIXELS])


def by_pythae(batch: int) -> Step:
    """Return a step of pythae's BetaTCVAE, stratified as it is by default, and Adam."""
    pythae: Any = import_module("pythae.models")
    nets: Any = import_module("pythae.models.nn")
    output: Any = import_module("pythae.models.base.base_utils").ModelOutput
    trunk, mean, log_variance, decoder = _networks()

    class Encoder(nets.BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([trunk, mean, log_variance])

        def forward(self, x: Tensor) -> Any:
            h = trunk(x)
            return output(embedding=mean(h), log_covariance=log_variance(h))

    class Decoder(nets.BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = decoder

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=decoder(z).sigmoid())

    config = pythae.BetaTCVAEConfig(
        input_dim=(PIXELS,), latent_dim=UNITS, reconstruction_loss="bce", beta=BETA
    )
    model = pythae.BetaTCVAE(config, Encoder(), Decoder())
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    following = _batches(batch)

    def step() -> None:
        loss = model({"data": following()}, dataset_size=20_000).loss
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


def by_pyro(batch: int) -> Step:
    """Return a step of pyro's SVI with `Trace_ELBO`, its checks of arguments left out."""
    pyro: Any = import_module("pyro")
    normal = pyro.distributions.Normal
    pyro.clear_param_store()
    pyro.enable_validation(False)
    trunk, mean, log_scale, decoder = _networks()
    following = _batches(batch)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", nn.ModuleList([trunk, mean, log_scale]))
        with pyro.plate("items", len(x)):
            h = trunk(x)
            pyro.sample("z", normal(mean(h), log_scale(h).exp()).to_event(1))

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("items", len(x)):
            standard = normal(x.new_zeros(len(x), UNITS), x.new_ones(len(x), UNITS))
            z = pyro.sample("z", standard.to_event(1))
            losses = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none")
            pyro.factor("x", -losses.sum(-1))

    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), pyro.infer.Trace_ELBO())
    return lambda: svi.step(following())
