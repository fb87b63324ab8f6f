"""A trainer: one more step, and everything that it depends on.

A run's randomness is a function of its seed. The order of epoch e is drawn from (seed, e); noise is
drawn from one random state (where several ranks train together, one each), which `state()` carries
with the weights and the optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..models import Model
from ..models.model import seeded
from ..objective.bounds import breaches
from ..objective.critic import Critics, learn
from ..objective.densities import Densities
from ..objective.literature import elbo, label, recon
from ..objective.objective import Objective
from ..ranks import (
    averages,
    everyone,
    first,
    mean,
    mean_gradients,
    noise_seed,
    share,
    world,
)
from ..runs import artifact
from ..trace.trace import Trace
from .device import compiled, device_of, in_bfloat16, without_waits
from .faults import NonFinite, diagnose
from .items import Items, epoch_order, inputs_of
from .recipe import OPTIMIZERS, Recipe, check, check_range, decomposition

STATE = ("step", "seconds", "sums", "counted", "best", "stale", "stopped", "alarmed")
"""A trainer's attributes that a checkpoint holds as they are."""


class Trainer:
    """The model in training: weights, optimiser, critics, step, random state, the epoch's sums.

    Ranks have all of it in common but their items, their noise, and what batch normalisation has
    seen; a checkpoint holds rank 0's. All ranks call every method.

    Args:
        recipe: The plan of the training.
        device: The name of the device, by default a GPU where there is one.

    Raises:
        ValueError: If the recipe cannot be trained.
    """

    def __init__(self, recipe: Recipe, device: str | None = None) -> None:
        check(recipe)
        self.recipe = recipe
        self.device = device_of(device)
        self._build()
        train, held_out = recipe.parts()
        self.train = Items("training", train, recipe, self.device)
        self.held_out = Items("held-out", held_out, recipe, self.device) if held_out else None
        self._check_known()
        self.per_epoch = recipe.per_epoch
        self.step = 0
        self.seconds = 0.0
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.best: dict[str, Any] | None = None
        self.stale = 0
        self.stopped = False
        self.begun = False
        self.alarmed: list[str] = []
        self.alarms: dict[str, str] = {}
        self.factorises = True
        self.log_every = recipe.log_every
        # Reading a number off an accelerator waits for it.
        self.check_every = 1 if self.device.type == "cpu" else 50

    def _build(self) -> None:
        """Build the model and its optimisers; ranks have one model, and each its own noise."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        self.model = recipe.model().to(self.device).train()
        self.model.inputs = inputs_of(recipe.data)
        check_range(self.model, recipe.data)
        share(self.model.state_dict().values())
        if recipe.precision == "bf16":
            in_bfloat16(self.model)
        if recipe.compiled:
            compiled(self.model)
        rank = world()[0]
        if rank:
            torch.manual_seed(noise_seed(recipe.seed, rank))
        optimizer = OPTIMIZERS[recipe.optimizer]
        self.optimizer = optimizer(self.model.parameters(), lr=recipe.lr_at(0))
        self.critics = Critics(recipe.seed)

    def _check_known(self) -> None:
        """Refuse batches of labelled items if there are none."""
        recipe = self.recipe
        if recipe.labelled and not len(self.train.known):
            raise ValueError(
                f"labelled={recipe.labelled}, but no item has all of its labels "
                f"({', '.join(recipe.labels.values())}): expected at least one, or labelled=0"
            )

    @property
    def epoch(self) -> int:
        """The number of epochs that are done."""
        return self.step // self.per_epoch

    @property
    def done(self) -> bool:
        """True if no step is left."""
        return self.stopped or self.step >= self.recipe.epochs * self.per_epoch

    def densities(self, q: Trace, p: Trace) -> Densities:
        """Return the atoms of a batch's traces."""
        return self.recipe.densities(self.model, q, p)

    def epoch_order(self, epoch: int) -> Tensor:
        """Return the epoch's batches of item numbers, (steps, batch)."""
        return epoch_order(self.recipe, self.train, epoch)

    # -- steps -------------------------------------------------------------------------------------

    def run_epoch(self, stop: Callable[[], bool], shown: Callable[[Trainer], None]) -> None:
        """Train for the rest of the current epoch, or until `stop()` says so.

        Args:
            stop: A question that is asked after each step; all ranks must answer alike.
            shown: A function that is called after each step.
        """
        self.begin()
        rank, ranks = world()
        order = self.epoch_order(self.epoch).chunk(ranks, 1)[rank]  # (steps, the rank's batch)
        for items in self.train.ahead(order[self.step % self.per_epoch :]):
            self.one_step(items)
            shown(self)
            if self.step % self.per_epoch == 0 or stop():
                return

    def begin(self) -> None:
        """Give the model its start once, before the first step; training keeps its noise."""
        if self.begun or self.step:
            return
        self.begun = True
        recipe = self.recipe
        if recipe.from_run is not None:
            artifact.load(recipe.from_run, self.model).train()
            self.model.inputs = inputs_of(recipe.data)
        elif recipe.start is not None:
            self._improve(recipe.start)
        else:
            return
        share(self.model.state_dict().values())

    def _improve(self, improve: Callable[[Model], None]) -> None:
        """Let a function change the model, which lies on the CPU then; training keeps its noise."""
        with torch.random.fork_rng():
            improve(self.model.cpu())
        self.model.to(self.device)

    def one_step(self, items: Tensor) -> None:
        """Take one step on these items, this rank's part of the batch.

        Raises:
            NonFinite: If the loss is NaN or infinite.
        """
        x, labels = self.train.batch(items)
        if self.recipe.views is not None:
            x = self.recipe.views(x)
        objective = self.recipe.objective_at(self.step)
        with without_waits(self.device, objective):
            self._learn(x, labels, items, objective)
        self.step += 1

    def _learn(
        self, x: Tensor, labels: dict[str, Tensor], items: Tensor, objective: Objective
    ) -> None:
        """Take a step on a batch."""
        q, p = self.model(x, **labels)
        d = self.densities(q, p)
        objective = self._bound(objective, d)
        loss = -d.score(objective).mean()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.step)
        self.optimizer.zero_grad(set_to_none=world()[1] == 1)  # see `mean_gradients`
        loss.backward()
        (loss,) = mean_gradients(self.model.parameters(), loss.detach())
        if self.step % self.check_every == 0:
            self._check_finite(loss, d, self.train, items)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        learn(objective, d)
        if self.step % self.log_every == 0:
            self._log(loss, d)

    def _bound(self, objective: Objective, d: Densities) -> Objective:
        """Return an objective with its critics; ranks train their networks together."""
        before = set(self.critics.networks)
        objective = self.critics.bind(objective, d)
        for critic, network in self.critics.networks.items():
            if critic not in before:
                averages(network.optimizer)
        return objective

    def _check_finite(self, loss: Tensor, d: Densities, part: Items, items: Tensor) -> None:
        if not math.isfinite(loss.item()):
            lr = self.recipe.lr_at(self.step)
            raise NonFinite(diagnose(self.model, d, part, items, step=self.step, lr=lr))

    def finish(self) -> None:
        """Give the model its finish, after the last step; a checkpoint holds the model before."""
        self.model.eval()
        if self.recipe.finish is not None:
            self._improve(self.recipe.finish)

    # -- the log -----------------------------------------------------------------------------------

    def terms(self, d: Densities) -> dict[str, Tensor]:
        """Return the named terms of a batch, averaged over it."""
        if d.latents and self.recipe.logged:
            named = decomposition(d)
            self.factorises = d.factorises
        elif d.latents:
            named = {"elbo": elbo, "recon": recon}
        else:
            named = {"recon": recon}
        if self.recipe.labels:
            named["label"] = label
        return {name: d.score(term).mean() for name, term in named.items()}

    @torch.no_grad()
    def _log(self, loss: Tensor, d: Densities) -> None:
        """Add a step's loss and terms, means over the ranks, to the epoch's sums."""
        terms = self.terms(d)
        means = mean(list(terms.values()))
        for name, value in zip(["loss", *terms], [loss, *means], strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.counted += 1

    def close_epoch(self) -> Iterator[dict[str, Any]]:
        """Yield the finished epoch's lines for the log: means of training, and of held-out items.

        Raises:
            NonFinite: If the held-out loss is NaN or infinite.
        """
        at = {"step": self.step, "epoch": self.epoch}
        means = {name: float(total) / self.counted for name, total in self.sums.items()}
        self.sums, self.counted = {}, 0
        self.alarms = self._alarms(means)
        yield {"split": "train", **at, **means, "seconds": round(self.seconds, 3)}
        if self.held_out is not None:
            valid = first(partial(self.validate, self.held_out))
            yield {"split": "valid", **at, **valid}
            self._judge(valid["loss"])

    def _alarms(self, means: Mapping[str, float]) -> dict[str, str]:
        """Return the epoch's means that no exact value can be, each term once in a run."""
        found = {}
        for name, value in means.items():
            if name in self.alarmed or not name.startswith(("mi", "tc", "kl")):
                continue
            term = {name: (value, 0.0)}
            for text in breaches(
                term, self.recipe.n, self.recipe.estimator, slack=0.1, factorises=self.factorises
            ):
                found[name] = f"{text} (larger batches less so); reports give exact values"
        self.alarmed = sorted({*self.alarmed, *found})
        return found

    # -- held-out items ----------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, held_out: Items) -> dict[str, float]:
        """Return the mean loss and terms of the held-out items.

        Their noise is their own: training's random state is untouched.

        Raises:
            NonFinite: If the loss is NaN or infinite.
        """
        totals: dict[str, float] = {}
        counted = 0
        objective = self.recipe.objective_at(self.step)
        self.model.eval()
        with seeded(0):
            for items in held_out.ahead(torch.arange(len(held_out)).split(self.recipe.batch)):
                if len(items) == 1:
                    continue  # q(z) cannot be estimated from one item
                x, labels = held_out.batch(items)
                q, p = self.model(x, **labels)
                d = self.densities(q, p)
                loss = -d.score(self.critics.bind(objective, d)).mean()
                self._check_finite(loss, d, held_out, items)
                for name, value in {"loss": loss, **self.terms(d)}.items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(items)
                counted += len(items)
        self.model.train()
        return {name: total / counted for name, total in totals.items()}

    def _judge(self, loss: float) -> None:
        """Keep the weights if the held-out loss is the best, or else lose patience."""
        if self.recipe.patience is None:
            return
        if self.best is None or loss < self.best["loss"]:
            weights = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
            self.best = {"loss": loss, "epoch": self.epoch, "model": weights}
            self.stale = 0
        else:
            self.stale += 1
            self.stopped = self.stale >= self.recipe.patience

    # -- state -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, for a checkpoint."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        (noise, cuda), *elsewhere = everyone((torch.get_rng_state(), cuda))
        return {
            "format": artifact.FORMAT,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critics": self.critics.state(),
            "noise": noise,
            "noise_cuda": cuda,
            "noise_elsewhere": elsewhere,  # of ranks 1, 2, …
            **{name: getattr(self, name) for name in STATE},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`; a rank more than there were draws noise that is new.

        Raises:
            ValueError: If the state is of another model.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint is of another model than the recipe's: {error}"
            ) from None
        self.critics.restore(state.get("critics", {}))
        self._restore_noise(state)
        for name in STATE:
            setattr(self, name, state[name])

    def _restore_noise(self, state: dict[str, Any]) -> None:
        rank = world()[0]
        of_ranks = [(state["noise"], state["noise_cuda"]), *state.get("noise_elsewhere", ())]
        if rank >= len(of_ranks):
            torch.manual_seed(noise_seed(self.recipe.seed, rank, state["step"]))
            return
        noise, cuda = of_ranks[rank]
        torch.set_rng_state(noise)
        if cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(cuda, self.device)


def trained(recipe: Recipe) -> Model:
    """Return the model after all of its training, in silence and without a run folder.

    The caller's random state is kept.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        trainer = Trainer(recipe, "cpu")
        while not trainer.done:
            trainer.run_epoch(lambda: False, lambda _: None)
        trainer.finish()
    return trainer.model
