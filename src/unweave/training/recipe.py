"""A recipe: data, a model, an objective, and how long to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.distributions import Bernoulli

from ..aggregate import Weights, balanced, minibatch
from ..data import Data
from ..models import Model
from ..models.model import seeded
from ..objective.densities import Densities
from ..objective.literature import elbo, kl, mi, recon, tc
from ..objective.objective import Objective
from ..objective.schedule import Ramp
from ..ranks import world
from ..runs.command import Optimizer, Precision, Schedule
from ..runs.findings import Finding
from ..shown import as_html, as_text
from ..trace.groups import Tree
from ..trace.trace import Trace

PRIOR_DRAWS = 1000
"""Draws of the prior by which conditional priors p(z2|z1) enter the terms of deeper levels."""


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}
"""Optimisers by their names, with torch's settings, and momentum 0.9 for sgd."""

FALLS: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}
"""Factors of the learning rate after a share of all steps, by the names of schedules."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """A plan of training: data, a function that builds the model, an objective, and how long.

    Attributes:
        name: The recipe's name, as reports show it.
        data: The items that are trained on, with those that are held out of them.
        model: A function that builds the model.
        objective: The objective that is maximised, which may hold schedules (`ramp`), or a function
            of the step that gives it.
        test: The items that scores are computed on; by default those that are trained on.
        groups: The tree of latent sites or slices; by default each site is a group.
        labels: Keyword arguments of the encoder, each with the factor of the data that it is given
            (class numbers, −1 where missing).
        labelled: The number of items of each batch that are drawn from those whose labels are all
            known, each as often as the others: their weight, the γ of Siddharth et al. (2017), is
            set by how often they are seen. (q(z) is then estimated from batches that hold them more
            often than the data do.)
        views: A function that turns items (batch, *shape) into random views of them, which are
            trained on in their place (`models.views.Views`). Items held out are seen as they are.
        weights: The weights of a batch's posteriors in the estimate of q(z).
        epochs: The number of passes over the data.
        batch: The number of items of a step, of all ranks together.
        lr: The learning rate, or its schedule.
        optimizer: The optimiser, by its name in `OPTIMIZERS`.
        clip: The largest norm of the gradient of all weights; a longer one is scaled down to it.
        schedule: The learning rate is multiplied by 1 throughout ("constant"), or falls from 1 to 0
            ("linear", or "cosine", half a wave: Loshchilov and Hutter, 2017).
        warmup: The number of steps in which the learning rate rises linearly from 0.
        samples: The number of times that each item is encoded.
        held_out: The number of items that are taken from the training data for validation.
        patience: The number of epochs without a better held-out loss after which training stops and
            keeps the best weights.
        seed: The seed of all randomness.
        precision: "bf16" lets the networks multiply in bfloat16 while they train; weights, draws
            and log-densities are "float32" in any case.
        compiled: If true, torch compiles the networks.
        gather: If true, log q(z) is estimated from the items of all ranks, or else by each rank
            from its own.
        logged: The largest number of steps of an epoch that the log's terms are means over (see
            `log_every`). With 0, they are the ELBO and the reconstruction of one step, which need
            no q(z).
        points: The number of items that exact terms are averaged over: q(z) of many enumerated
            classes costs more than a step.
        flags: The command line's flags that build the same recipe.
        start: A function that gives the model, before its first step, a better start than random
            weights. A run that goes on from a checkpoint does not call it again.
        finish: A function that improves the model once more after its last step. Checkpoints hold
            the model before it, so that more epochs go on from there.
        from_run: The folder of a run, or of a saved model, whose weights are the start instead.
        findings: A function (model, recipe) -> findings, which evaluation and the report show
            beside those of every run.
    """

    name: str
    data: Data
    model: Callable[[], Model]
    objective: Objective | Callable[[int], Objective]
    test: Data | None = None
    groups: Tree | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    labelled: int = 0
    views: Callable[[torch.Tensor], torch.Tensor] | None = None
    weights: Weights = balanced
    epochs: int = 50
    batch: int = 128
    lr: float | Ramp = 1e-3
    optimizer: Optimizer = "adam"
    clip: float | None = None
    schedule: Schedule = "constant"
    warmup: int = 0
    samples: int = 1
    held_out: int = 0
    patience: int | None = None
    seed: int = 0
    gather: bool = True
    precision: Precision = "float32"
    compiled: bool = False
    logged: int = 50
    points: int = 2000
    flags: Mapping[str, Any] = field(default_factory=dict)
    start: Callable[[Model], None] | None = None
    finish: Callable[[Model], None] | None = None
    from_run: str | None = None
    findings: Callable[[Model, Recipe], Sequence[Finding]] | None = None

    def __repr__(self) -> str:
        return as_text(f"Recipe({self.name!r})", self._rows())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the plan as a table."""
        return as_html(self.name, self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        """Return what a reader wants first, as names and values."""
        at_first = "" if isinstance(self.objective, Objective) else " (at the first step)"
        objective = self.objective if not at_first else self.objective_at(0)
        rows = [
            ("data", str(self.data)),
            ("held out", f"{self.held_out:,} items"),
            ("objective", f"{objective}{at_first}"),
            ("groups", str(self.groups or "each site")),
            ("training", f"{self.epochs:,} epochs of {self.per_epoch:,} steps of {self.batch:,}"),
            ("learning rate", f"{self.lr}, {self.optimizer}, {self.schedule}"),
            ("seed", str(self.seed)),
        ]
        return rows if self.test is None else [*rows[:1], ("test", str(self.test)), *rows[1:]]

    @property
    def n(self) -> int:
        """The number of items that are trained on."""
        return len(self.data) - self.held_out

    @property
    def per_epoch(self) -> int:
        """The number of steps in an epoch."""
        return self.n // (self.batch - self.labelled)

    @property
    def log_every(self) -> int:
        """The number of steps between those that the log's terms are means over.

        The terms need log q(z), whose share of a step grows with the batch: unless the objective
        needs it too, they are far between in large batches. An epoch has one such step at least.
        """
        kinds = {getattr(term, "kind", "") for term in self.objective_at(0).coefficients}
        apart = 8 if "q" in kinds else max(16, self.batch // 64)
        return max(1, min(apart, self.per_epoch), self.per_epoch // max(self.logged, 1))

    @property
    def aggregate(self) -> minibatch:
        """The estimator of log q(z) from a batch."""
        return minibatch(self.n, self.weights, self.gather)

    @property
    def estimator(self) -> str:
        """The estimator of log q(z) in words, with the number of items that it sees."""
        ranks = 1 if self.gather else world()[1]
        return f"{self.aggregate!r}, B={self.batch // ranks}"

    def parts(self) -> tuple[Data, Data | None]:
        """Return the data to train on and those held out, the same items whatever the seed."""
        if not self.held_out:
            return self.data, None
        return self.data.split(self.held_out, seed=0)

    def objective_at(self, step: int) -> Objective:
        """Return the objective of a step, its schedules evaluated."""
        form = self.objective if isinstance(self.objective, Objective) else self.objective(step)
        return form.at(step)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step."""
        lr = self.lr(step) if isinstance(self.lr, Ramp) else self.lr
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return lr * rise * FALLS[self.schedule](step / (self.epochs * self.per_epoch))

    def densities(self, model: Model, q: Trace, p: Trace) -> Densities:
        """Return the atoms of a batch's traces, by the recipe's groups and estimator."""
        batch_dim = 0 if self.samples == 1 else 1

        def prior() -> Trace:
            drawn: Trace = model.decoder(None, q.free(PRIOR_DRAWS, batch_dim=batch_dim))
            return drawn

        return Densities(
            q,
            p,
            groups=self.groups,
            aggregate=self.aggregate,
            batch_dim=batch_dim,
            prior=prior,
        )


def decomposition(d: Densities) -> dict[str, Objective]:
    """Return the ELBO and the terms that add up to it, named by the levels of the group tree."""
    deepest = len(d.levels) - 1
    correlations = {f"tc[{level}]": tc[level] for level in range(deepest)}
    return {"elbo": elbo, "recon": recon, "mi": mi, **correlations, f"kl[{deepest}]": kl[-1]}


# -- what cannot be trained ------------------------------------------------------------------------


def check(recipe: Recipe) -> None:
    """Refuse a recipe that would fail only later.

    Raises:
        ValueError: For sizes that do not fit the data or the number of ranks, patience without
            held-out items, and labels that the data do not have.
    """
    _check_sizes(recipe)
    _check_labels(recipe)
    _check_steps(recipe)


def _check_sizes(recipe: Recipe) -> None:
    if len(recipe.data) < 2:
        raise ValueError(
            f"{recipe.data.name} has one item to train on: expected 2 or more, as nothing is "
            "learnt of one"
        )
    if recipe.held_out == 1 or recipe.n < 2:
        raise ValueError(
            f"held_out={recipe.held_out} of {len(recipe.data)} items: expected 0, or 2 and more "
            "with 2 left to train on"
        )
    if not 1 < recipe.batch <= recipe.n:
        sizes = "2" if recipe.n == 2 else f"2 to {recipe.n}"
        raise ValueError(
            f"batch={recipe.batch}, but the training part has {recipe.n} items: expected {sizes}"
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
    if recipe.views is not None and recipe.samples > 1:
        raise ValueError(
            f"samples={recipe.samples} with views: expected 1, as each view is encoded once"
        )
    if recipe.patience is not None and not recipe.held_out:
        raise ValueError(
            f"patience={recipe.patience} needs held-out items to judge by: set held_out, or no "
            "patience"
        )


def _check_steps(recipe: Recipe) -> None:
    for kind, known in (("optimizer", OPTIMIZERS), ("schedule", FALLS)):
        if getattr(recipe, kind) not in known:
            raise ValueError(
                f"{kind}={getattr(recipe, kind)!r}: expected one of {', '.join(known)}"
            )
    if recipe.clip is not None and not 0 < recipe.clip < math.inf:
        raise ValueError(f"clip={recipe.clip}: expected the largest norm of a gradient, above 0")
    if not 0 <= recipe.warmup <= recipe.epochs * recipe.per_epoch:
        raise ValueError(
            f"warmup={recipe.warmup} steps, but training has {recipe.epochs * recipe.per_epoch}: "
            "expected no more than these"
        )


def _check_labels(recipe: Recipe) -> None:
    if not 0 <= recipe.labelled < recipe.batch or (recipe.labelled and not recipe.labels):
        raise ValueError(
            f"labelled={recipe.labelled} items of batch={recipe.batch}, "
            f"labels={dict(recipe.labels)}: expected fewer than the batch has, and 0 without labels"
        )
    for factor in recipe.labels.values():
        if factor not in recipe.data.names:
            names = ", ".join(map(repr, recipe.data.names)) or "none"
            raise ValueError(
                f"labels name the factor {factor!r}, but the factors of {recipe.data.name} are: "
                f"{names}"
            )


@torch.no_grad()
def check_range(model: Model, data: Data) -> None:
    """Refuse numbers outside [0, 1] where the decoder scores them as Bernoulli.

    Raises:
        ValueError: If there are such numbers.
    """
    if data.is_unit:
        return
    device = next(model.parameters()).device
    with seeded(0):
        _, p = model(torch.as_tensor(data.floats(slice(2)), device=device))
    lows, highs = data.extremes
    low, high = lows.min(), highs.max()
    for site, node in p.items():
        if node.observed is True and isinstance(node.dist, Bernoulli):
            raise ValueError(
                f"{data.name}: x goes from {low:g} to {high:g}, but the site {site!r} is "
                "Bernoulli, for numbers in [0, 1]: divide 8-bit pixels by 255, scale the numbers, "
                "or take a Normal (likelihood='normal')"
            )
