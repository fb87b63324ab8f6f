"""Training: what to train (Recipe), and everything that one more step depends on (Trainer).

A run's randomness is a function of its seed: the order of epoch e is drawn from (seed, e), noise
from one random state (where several ranks train together, one each) that `state()` carries with the
weights and the optimiser.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from .. import ranks as distributed
from ..aggregate.mixture import Weights, balanced, minibatch
from ..data import Data
from ..data.store import Bits, Store
from ..models import Model
from ..objective.bounds import breaches
from ..objective.critic import Critics, learn
from ..objective.objective import Densities, Objective, elbo, kl, label, mi, recon, tc
from ..objective.schedule import Ramp
from ..ranks import everyone, mean, mean_gradients, world
from ..runs import artifact
from ..runs.findings import Finding
from ..trace.groups import Tree
from ..trace.trace import Trace

STATE = ("step", "seconds", "sums", "counted", "best", "stale", "stopped", "alarmed")

PRIOR_DRAWS = 1000
"""Draws of the prior by which conditional priors p(z2|z1) enter the terms of deeper levels."""


@dataclass(frozen=True)
class Recipe:
    """What to train: data, a function that builds the model, an objective, and how long.

    `objective` may hold schedules (`ramp`), or be a function of the step; so may the learning rate
    `lr`. `labels` maps keyword arguments of the encoder to factors of the data (class numbers, −1
    where missing). Each item is encoded `samples` times. `held_out` items are taken from the
    training data for validation; with `patience`, training stops after that many epochs without a
    better held-out loss and keeps the best weights. Of each batch `labelled` items are drawn from
    those whose labels are all known, each as often as the others: their weight, the γ of Siddharth
    et al. (2017), is set by how often they are seen. (q(z) is then estimated from batches that hold
    them more often than the data do.) The log's terms are means over `logged` steps of an epoch,
    exact ones over `points` items: q(z) of many enumerated classes costs more than a step. With 0
    of them, they are the ELBO and the reconstruction of one step, which need no q(z). `findings`
    says what evaluation and the report show beside what they show of every run. `batch` counts the
    items of a step, of all ranks together; with `gather`, log q(z) is estimated from all of them,
    else each rank's from its own. `flags` is what the command line would be given to build the same
    recipe.
    """

    name: str
    data: Data
    model: Callable[[], Model]
    objective: Objective | Callable[[int], Objective]
    test: Data | None = None
    groups: Tree | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    labelled: int = 0
    weights: Weights = balanced
    epochs: int = 50
    batch: int = 128
    lr: float | Ramp = 1e-3
    samples: int = 1
    held_out: int = 0
    patience: int | None = None
    seed: int = 0
    gather: bool = True
    logged: int = 50
    points: int = 2000
    flags: Mapping[str, Any] = field(default_factory=dict)
    findings: Callable[[Model, Recipe], Sequence[Finding]] | None = None

    def parts(self) -> tuple[Data, Data | None]:
        """What is trained on, and what is held out (the same items whatever the seed)."""
        return self.data.split(self.held_out, seed=0) if self.held_out else (self.data, None)

    def objective_at(self, step: int) -> Objective:
        form = self.objective if isinstance(self.objective, Objective) else self.objective(step)
        return form.at(step)

    def lr_at(self, step: int) -> float:
        return self.lr(step) if isinstance(self.lr, Ramp) else self.lr


class NonFinite(ValueError):
    """The loss became NaN or infinite; the message says at which site and for which items."""


class Trainer:
    """Everything that one more step depends on: weights, optimiser, critics, step, random state,
    the epoch's sums.

    Ranks have all of it in common but their items, their noise, and what batch normalisation has
    seen; a checkpoint holds rank 0's. Every method is called by all of them.
    """

    def __init__(self, recipe: Recipe, device: str | None = None) -> None:
        _check(recipe)
        self.recipe = recipe
        self.device = device_of(device)
        torch.manual_seed(recipe.seed)
        self.model = recipe.model().to(self.device).train()
        _check_range(self.model, recipe.data)
        distributed.share(self.model.state_dict().values())
        if rank := world()[0]:
            torch.manual_seed(distributed.noise_seed(recipe.seed, rank))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.lr_at(0), fused=True)
        self.critics = Critics(recipe.seed)
        train, held_out = recipe.parts()
        self.train = _Items(train, recipe, self.device)
        self.held_out = _Items(held_out, recipe, self.device) if held_out else None
        if recipe.labelled and not len(self.train.known):
            raise ValueError(
                f"labelled={recipe.labelled}, but no item has all of its labels "
                f"({', '.join(recipe.labels.values())}): expected at least one, or labelled=0"
            )
        n = len(train)
        self.aggregate = minibatch(n, recipe.weights, recipe.gather)
        self.per_epoch = n // (recipe.batch - recipe.labelled)
        self.step, self.seconds = 0, 0.0
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.best: dict[str, Any] | None = None
        self.stale = 0
        self.stopped = False
        self.alarmed: list[str] = []
        self.alarms: dict[str, str] = {}
        self.factorises = True
        self._every = max(1, self.per_epoch // max(recipe.logged, 1))
        self.check_every = (
            1 if self.device.type == "cpu" else 50
        )  # reading a number off an accelerator waits for it

    @property
    def estimator(self) -> str:
        return f"{self.aggregate!r}, B={self.recipe.batch // (1 if self.recipe.gather else world()[1])}"

    @property
    def epoch(self) -> int:
        return self.step // self.per_epoch

    @property
    def done(self) -> bool:
        return self.stopped or self.step >= self.recipe.epochs * self.per_epoch

    def densities(self, q: Trace, p: Trace) -> Densities:
        batch_dim = 0 if self.recipe.samples == 1 else 1
        return Densities(
            q,
            p,
            groups=self.recipe.groups,
            aggregate=self.aggregate,
            batch_dim=batch_dim,
            prior=lambda: self.model.decoder(None, q.free(PRIOR_DRAWS, batch_dim=batch_dim)),
        )

    def epoch_order(self, epoch: int) -> Tensor:
        """The epoch's batches of item numbers, (steps, batch), a function of the seed and the epoch
        alone.
        """
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        labelled = self.recipe.labelled

        def cycle(n: int, count: int) -> Tensor:
            """`count` numbers below n, all of them in a new order again and again."""
            rounds = [torch.randperm(n, generator=generator) for _ in range(math.ceil(count / n))]
            return torch.cat(rounds)[:count].reshape(self.per_epoch, -1)

        order = cycle(len(self.train), self.per_epoch * (self.recipe.batch - labelled))
        if labelled:
            known = self.train.known.cpu()
            order = torch.cat([order, known[cycle(len(known), self.per_epoch * labelled)]], 1)
        return order.to(self.device)

    def run_epoch(self, stop: Callable[[], bool], shown: Callable[[Trainer], None]) -> None:
        """The rest of the current epoch, or until `stop()`, which all ranks must agree on."""
        rank, ranks = world()
        order = self.epoch_order(self.epoch).chunk(ranks, 1)[rank]
        while True:
            self.one_step(order[self.step % self.per_epoch])
            shown(self)
            if self.step % self.per_epoch == 0 or stop():
                return

    def one_step(self, items: Tensor) -> None:
        """One step on these items, this rank's part of the batch."""
        x, labels = self.train.batch(items)
        d = self.densities(*self.model(x, **labels))
        objective = self._bound(d)
        loss = -d.score(objective).mean()
        if isinstance(self.recipe.lr, Ramp):
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.lr(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        (loss,) = mean_gradients(self.model.parameters(), loss.detach())
        if self.step % self.check_every == 0 and not math.isfinite(loss.item()):
            raise NonFinite(self._diagnose(d, items, self.train))
        self.optimizer.step()
        learn(objective, d)
        if self.step % self._every == 0:
            with torch.no_grad():
                terms = self.terms(d)
                self._count(
                    {"loss": loss, **dict(zip(terms, mean(list(terms.values())), strict=True))}
                )
        self.step += 1

    def _bound(self, d: Densities) -> Objective:
        """This step's objective; ranks that make its critics' networks train them together."""
        known = len(self.critics.networks)
        objective = self.critics.bind(self.recipe.objective_at(self.step), d)
        for network in list(self.critics.networks.values())[known:]:
            distributed.averages(network.optimizer)
        return objective

    def terms(self, d: Densities) -> dict[str, Tensor]:
        """The named terms of a batch, averaged over it."""
        named = {"elbo": elbo, "recon": recon} if d.latents else {"recon": recon}
        if d.latents and self.recipe.logged:
            named, self.factorises = decomposition(d), d.factorises
        if self.recipe.labels:
            named["label"] = label
        return {name: d.score(term).mean() for name, term in named.items()}

    def _count(self, terms: dict[str, Tensor]) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.counted += 1

    def close_epoch(self) -> Iterator[dict[str, Any]]:
        """The finished epoch's lines for the log: mean terms of training, and of the held-out
        items.
        """
        at = {"step": self.step, "epoch": self.epoch}
        means = self._means()
        self.alarms = self._alarms(means)
        yield {"split": "train", **at, **means, "seconds": round(self.seconds, 3)}
        if self.held_out is not None:
            valid = distributed.first(partial(self.validate, self.held_out))
            yield {"split": "valid", **at, **valid}
            self._judge(valid["loss"])

    def _alarms(self, means: Mapping[str, float]) -> dict[str, str]:
        """What the epoch's mean terms cannot be, each term once in a run."""
        of_terms = {
            name: (value, 0.0)
            for name, value in means.items()
            if name == "mi" or name[:2] in ("tc", "kl")
        }
        found = {}
        for name, term in of_terms.items():
            for text in breaches(
                {name: term}, len(self.train), self.estimator, slack=0.1, factorises=self.factorises
            ):
                if name not in self.alarmed:
                    found[name] = f"{text} (larger batches less so); reports give exact values"
        self.alarmed = sorted({*self.alarmed, *found})
        return found

    def _means(self) -> dict[str, float]:
        means = {name: float(total) / self.counted for name, total in self.sums.items()}
        self.sums, self.counted = {}, 0
        return means

    @torch.no_grad()
    def validate(self, held_out: _Items) -> dict[str, float]:
        """Mean loss and terms of the held-out items, with noise of their own: training's is
        untouched.
        """
        from ..models.model import seeded

        totals: dict[str, float] = {}
        objective = self.recipe.objective_at(self.step)
        self.model.eval()
        with seeded(0):
            parts = torch.arange(len(held_out), device=self.device).split(self.recipe.batch)
            parts = [items for items in parts if len(items) > 1]
            for items in parts:
                x, labels = held_out.batch(items)
                d = self.densities(*self.model(x, **labels))
                loss = -d.score(self.critics.bind(objective, d)).mean()
                if not math.isfinite(loss.item()):
                    raise NonFinite(self._diagnose(d, items, held_out))
                for name, value in {"loss": loss, **self.terms(d)}.items():
                    totals[name] = totals.get(name, 0.0) + float(value) * len(items)
        self.model.train()
        return {name: total / sum(map(len, parts)) for name, total in totals.items()}

    def _judge(self, loss: float) -> None:
        if self.recipe.patience is None:
            return
        if self.best is None or loss < self.best["loss"]:
            state = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
            self.best, self.stale = {"loss": loss, "epoch": self.epoch, "model": state}, 0
        else:
            self.stale += 1
            self.stopped = self.stale >= self.recipe.patience

    # -- state -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
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
        """Goes on from `state`; a rank more than there were draws noise that is new."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint is of another model than the recipe's: {error}"
            ) from None
        self.critics.restore(state.get("critics", {}))
        rank, noises = (
            world()[0],
            [(state["noise"], state["noise_cuda"]), *state.get("noise_elsewhere", ())],
        )
        if rank < len(noises):
            noise, cuda = noises[rank]
            torch.set_rng_state(noise)
            if cuda is not None and self.device.type == "cuda":
                torch.cuda.set_rng_state(cuda, self.device)
        else:
            torch.manual_seed(distributed.noise_seed(self.recipe.seed, rank, state["step"]))
        for name in STATE:
            setattr(self, name, state[name])

    def _diagnose(self, d: Densities, items: Tensor, part: _Items) -> str:
        """Says where the loss stopped being finite, from the traces that gave it, at whichever rank
        they are.
        """
        (fault, _), *_ = sorted(everyone(self._fault(d, items, part)), key=lambda said: not said[1])
        return fault

    @torch.no_grad()
    def _fault(self, d: Densities, items: Tensor, part: _Items) -> tuple[str, bool]:
        """What is wrong at this rank, and whether that is more than a guess."""
        where = f"the loss is not finite at step {self.step}"
        slower = f"try a lower learning rate than {self.recipe.lr_at(self.step):g}"
        broken = [
            name for name, w in self.model.named_parameters() if not bool(torch.isfinite(w).all())
        ]
        if broken:
            text = "had become NaN or infinite in the step before, from a gradient that was"
            return f"{where}: the weights {', '.join(broken[:3])} {text}; {slower}", True
        largest, name = max(
            (float(w.abs().max()), name) for name, w in self.model.named_parameters() if w.numel()
        )
        grown = (
            f"; the weights {name} have grown to {largest:.0e}: {slower}" if largest > 1e3 else ""
        )
        of = f"of the {'training' if part is self.train else 'held-out'} part"
        x = part.x[items]
        fine = (~x.isinf() if part.missing else x.isfinite()).flatten(1).all(1)
        if not bool(fine.all()):
            return (
                f"{where}: the data has NaN or infinite values in items {_few(items[~fine])} {of}",
                True,
            )
        for side, trace in (("q", d.q), ("p", d.p)):
            for name, node in trace.items():
                scored = (
                    node.log_prob if node.dist is not None or node.score is not None else node.value
                )
                for what, t in (("value", node.value), ("log-density", scored)):
                    each = torch.isfinite(t)
                    by_item = each.ndim > d.batch_dim and each.shape[d.batch_dim] == len(items)
                    by_item_first = (
                        each.movedim(d.batch_dim, 0) if by_item else each.all().expand(len(items))
                    )
                    fine = by_item_first.reshape(len(items), -1).all(1)
                    if not bool(fine.all()):
                        bad = f"for items {_few(items[~fine])} {of}"
                        text = f"site {name!r} of {side} has a {what} that is NaN or infinite"
                        return f"{where}: {text}, {bad}{grown}", True
        return (
            f"{where}, though every site's log-density is: a term of the objective "
            f"overflows{grown}",
            False,
        )


def trained(recipe: Recipe) -> Model:
    """The model after all of its training, in silence and without a run folder; the caller's random
    state is kept.
    """
    with torch.random.fork_rng(), torch.enable_grad():
        trainer = Trainer(recipe, "cpu")
        while not trainer.done:
            trainer.run_epoch(lambda: False, lambda _: None)
    return trainer.model.eval()


def decomposition(d: Densities) -> dict[str, Objective]:
    """The ELBO and the terms that add up to it, named by the levels of the group tree."""
    deepest = len(d.levels) - 1
    correlations = {f"tc[{l}]": tc[l] for l in range(deepest)}
    return {"elbo": elbo, "recon": recon, "mi": mi, **correlations, f"kl[{deepest}]": kl[-1]}


class Kept:
    """Items in one tensor on the device, as compact as the data keep them; indexed, they are
    float32.

    What comes out equals `Data.floats` to the bit, on any device.
    """

    def __init__(self, x: Store, device: torch.device | str = "cpu") -> None:
        array = np.ascontiguousarray(x.packed if isinstance(x, Bits) else x)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "The given NumPy array is not writable"
            )  # a file's, mapped: only read
            self.tensor = torch.as_tensor(array, device=device)
        self.item = x.shape[1:]
        self.is_packed = isinstance(x, Bits)

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Some of the items, (k, *shape)."""
        by_number = isinstance(index, Tensor) and index.dtype == torch.long
        chosen: Tensor = self.tensor.index_select(0, index) if by_number else self.tensor[index]  # type: ignore[arg-type]
        if self.is_packed:
            shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=chosen.device)
            bits = chosen[:, :, None] >> shifts & 1  # (k, bytes, 8)
            return bits.flatten(1)[:, : math.prod(self.item)].reshape(-1, *self.item).float()
        if chosen.dtype == torch.uint8:
            # By a tensor: a number would be turned into its reciprocal on a GPU, which rounds
            # otherwise.
            return chosen.float() / torch.full((), 255.0, device=chosen.device)
        return chosen


class _Items:
    """A part of the data, indexed a batch at a time."""

    def __init__(self, data: Data, recipe: Recipe, device: torch.device) -> None:
        self.x, self.missing = Kept(data.x, device), data.missing
        columns = {site: data.names.index(factor) for site, factor in recipe.labels.items()}
        self.labels = {
            site: torch.as_tensor(data.factors[:, c], device=device) for site, c in columns.items()
        }
        self.samples = recipe.samples

    def __len__(self) -> int:
        return len(self.x)

    @property
    def known(self) -> Tensor:
        """The numbers of the items whose labels are all known."""
        return (torch.stack(list(self.labels.values())) >= 0).all(0).nonzero().squeeze(1)

    def batch(self, items: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """x and the labels of some items, `samples` times each in a dimension in front if that is
        more than once.
        """
        x, labels = (
            self.x[items],
            {site: y.index_select(0, items) for site, y in self.labels.items()},
        )
        if self.samples == 1:
            return x, labels
        return x.expand(self.samples, *x.shape), {
            s: y.expand(self.samples, *y.shape) for s, y in labels.items()
        }


def _check(recipe: Recipe) -> None:
    """Refuses what would fail only later."""
    n = len(recipe.data) - recipe.held_out
    if recipe.held_out == 1 or n < 2:
        raise ValueError(
            f"held_out={recipe.held_out} of {len(recipe.data)} items: expected 0, or 2 and more "
            "with 2 left to train on"
        )
    if not 1 < recipe.batch <= n:
        raise ValueError(
            f"batch={recipe.batch}, but the training part has {n} items: expected 2 to {n}"
        )
    ranks = world()[1]
    if recipe.batch % ranks or recipe.batch < 2 * ranks:
        fit = max(2, round(recipe.batch / ranks)) * ranks
        raise ValueError(
            f"batch={recipe.batch} counts the items of all {ranks} ranks: expected as many for "
            f"each, 2 or more, such as {fit}; or start another number of ranks"
        )
    if recipe.samples < 1 or recipe.epochs < 1:
        raise ValueError(
            f"samples={recipe.samples}, epochs={recipe.epochs}: expected 1 or more of each"
        )
    if recipe.patience is not None and not recipe.held_out:
        raise ValueError(
            f"patience={recipe.patience} needs held-out items to judge by: set held_out, or no "
            "patience"
        )
    if not 0 <= recipe.labelled < recipe.batch or (recipe.labelled and not recipe.labels):
        raise ValueError(
            f"labelled={recipe.labelled} items of batch={recipe.batch}, "
            f"labels={dict(recipe.labels)}: expected fewer than the batch has, and 0 without labels"
        )
    unknown = [factor for factor in recipe.labels.values() if factor not in recipe.data.names]
    if unknown:
        names = ", ".join(map(repr, recipe.data.names)) or "none"
        raise ValueError(
            f"labels name the factor {unknown[0]!r}, but the factors of {recipe.data.name} are: "
            f"{names}"
        )


@torch.no_grad()
def _check_range(model: Model, data: Data) -> None:
    """Refuses numbers outside [0, 1] where the decoder scores them as Bernoulli."""
    if data.is_unit:
        return
    from ..models.model import seeded

    with seeded(0):
        _, p = model(torch.as_tensor(data.floats(slice(2)), device=next(model.parameters()).device))
    low, high = np.nanmin(data.floats()), np.nanmax(data.floats())
    for site, node in p.items():
        if isinstance(node.dist, Bernoulli) and node.observed is True and (low < 0 or high > 1):
            raise ValueError(
                f"{data.name}: x goes from {low:g} to {high:g}, but the site {site!r} is "
                "Bernoulli, for numbers in [0, 1]: divide 8-bit pixels by 255, scale the numbers, "
                "or take a Normal (likelihood='normal')"
            )


def device_of(name: str | None) -> torch.device:
    """The device of that name, by default a GPU where there is one: each rank's own."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(
            f"device {name!r} is unknown: expected cpu, cuda, or cuda:1 for the second"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device on this machine; say cpu")
    return distributed.own_device(device)


def _few(items: Tensor) -> str:
    numbers = items.tolist()
    return ", ".join(map(str, numbers[:5])) + (
        f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    )
