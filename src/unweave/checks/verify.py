"""Estimators against exact values, on a data set so small that q(z) is a sum over its items.

The exact side sums every term, and its gradient with respect to the encoder's weights, over all
items of a `Setting`. Each estimator gives the same from random batches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.distributions import MultivariateNormal

from .. import plots, terminal
from ..aggregate import Aggregate, Weights, balanced, exact, minibatch, stratified, weighted
from ..objective.densities import Densities
from ..objective.literature import elbo, evidence, kl, mi, tc
from ..objective.objective import Objective
from ..trace.trace import Trace
from .setting import CLASSES, NORMALS, N, Setting

GROUPS = ("y", ("z[:3]", "z[3:]"))
TERMS = {"mi": mi, "tc[0]": tc[0], "tc[1]": tc[1], "tc[2]": tc[2], "kl[-1]": kl[-1]}
ESTIMATORS: dict[str, Weights] = {
    "balanced": balanced,
    "stratified": stratified,
    "weighted": weighted,
}


# -- terms of the bound ----------------------------------------------------------------------------

Draw = tuple[Tensor, Tensor]
"""A value and its gradient, flat."""


@dataclass(frozen=True)
class Row:
    """A term as an estimator gives it at one batch size, in nats, and its gradient."""

    term: str
    estimator: str
    batch: int
    exact: float
    exact_se: float
    estimate: float
    se: float
    sd: float
    cosine: float
    noise: float

    @property
    def bias(self) -> float:
        """The estimate less the exact value."""
        return self.estimate - self.exact

    @property
    def bias_se(self) -> float:
        """The standard error of the bias, by the spread of batches and of the exact value."""
        return math.hypot(self.se, self.exact_se)


@dataclass(frozen=True)
class _Exact:
    """A term summed over all items: its mean over draws of the latents, and its gradient's."""

    value: Tensor
    gradient: Tensor
    se: Tensor


def estimates(
    terms: Mapping[str, Objective], batches: Iterable[int], *, repeats: int = 200, seed: int = 0
) -> list[Row]:
    """Return each term by each estimator at each batch size, `repeats` random batches each."""
    setting = Setting.random(seed)
    rows = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        truth = _exactly(setting, terms)
        for batch in batches:
            for name, weights in ESTIMATORS.items():
                draws = _from_batches(setting, terms, weights, batch, repeats)
                for term in terms:
                    of_term = [draw[term] for draw in draws]
                    rows.append(_row(term, name, batch, truth[term], of_term))
    order = list(terms)
    return sorted(rows, key=lambda row: order.index(row.term))


def _exactly(setting: Setting, terms: Mapping[str, Objective], draws: int = 8) -> dict[str, _Exact]:
    everyone = torch.arange(N)
    sums = [_all_terms(setting, everyone, terms, _exact_aggregate) for _ in range(draws)]
    truth = {}
    for name in terms:
        values, gradients = _stacked([one[name] for one in sums])
        se = values.std() / math.sqrt(draws)
        truth[name] = _Exact(values.mean(), gradients.mean(0), se)
    return truth


def _from_batches(
    setting: Setting, terms: Mapping[str, Objective], weights: Weights, batch: int, repeats: int
) -> list[dict[str, Draw]]:
    """Return the terms as random batches give them."""
    aggregate = minibatch(N, weights)
    draws = []
    for _ in range(repeats):
        items = torch.randperm(N)[:batch]
        draws.append(_all_terms(setting, items, terms, lambda _: aggregate))
    return draws


def _exact_aggregate(q: Trace) -> Aggregate:
    return exact(q.aligned())


def _all_terms(
    setting: Setting,
    items: Tensor,
    terms: Mapping[str, Objective],
    aggregate: Callable[[Trace], Aggregate],
) -> dict[str, Draw]:
    """Return each term's mean over the items, and its gradient by the encoder's weights."""
    q, p = setting.traces(items)
    d = Densities(q, p, groups=GROUPS, aggregate=aggregate(q))
    values = {name: d.score(term).mean() for name, term in terms.items()}
    found = {}
    for name, value in values.items():
        (gradient,) = torch.autograd.grad(value, setting.theta, retain_graph=True)
        found[name] = value.detach(), gradient.flatten()
    return found


def _row(term: str, name: str, batch: int, truth: _Exact, draws: list[Draw]) -> Row:
    values, gradients = _stacked(draws)
    return Row(
        term=term,
        estimator=name,
        batch=batch,
        exact=float(truth.value),
        exact_se=float(truth.se),
        estimate=float(values.mean()),
        se=float(values.std() / math.sqrt(len(values))),
        sd=float(values.std()),
        cosine=_cosine(gradients.mean(0), truth.gradient),
        noise=_noise(gradients, truth.gradient),
    )


def _stacked(draws: Iterable[Draw]) -> Draw:
    """Return the values (draws,) and the gradients (draws, weights)."""
    values, gradients = zip(*draws, strict=True)
    return torch.stack(values), torch.stack(gradients)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def _noise(gradients: Tensor, exact: Tensor) -> float:
    """Return the standard deviation of gradients as a share of the exact gradient's norm."""
    spread = (gradients - gradients.mean(0)).square().sum(-1).mean().sqrt()
    return float(spread / exact.norm())


# -- ways of taking a class ------------------------------------------------------------------------


@dataclass(frozen=True)
class Variance:
    """Gradients of the ELBO by one way of taking y and the KL divergence."""

    y: str
    kl: str
    elbo: float
    cosine: float
    noise: float


def variances(batch: int = 128, *, repeats: int = 400, seed: int = 0) -> list[Variance]:
    """Return the ELBO's gradient on one batch, by the way of taking y and the KL divergence.

    y is enumerated, relaxed or straight-through, the KL divergence closed or sampled. The exact
    gradient sums over y and averages z over many draws; `noise` is the gradient's standard
    deviation over draws, as a share of the exact gradient's norm.
    """
    setting = Setting.random(seed)
    items = torch.arange(batch)

    def draw(y: str, kind: Any) -> Draw:
        q, p = setting.traces(items, y)
        value = elbo(q, p, kl=kind).mean()
        (gradient,) = torch.autograd.grad(value, setting.theta)
        return value.detach(), gradient.flatten()

    rows = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _, gradients = _stacked(draw("categorical", "closed") for _ in range(8 * repeats))
        reference = gradients.mean(0)
        for y in ("categorical", "concrete", "straight-through"):
            for kind in ("closed", "sampled"):
                values, gradients = _stacked(draw(y, kind) for _ in range(repeats))
                cosine = _cosine(gradients.mean(0), reference)
                noise = _noise(gradients, reference)
                rows.append(Variance(y, kind, float(values.mean()), cosine, noise))
    return rows


# -- log p(x) by importance sampling ---------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """The importance-sampled log p(x) of a linear Gaussian model, beside the exact one."""

    samples: int
    exact: float
    estimate: float
    se: float


def evidences(
    samples: Iterable[int] = (1, 10, 100, 1000), *, n: int = 1000, seed: int = 0
) -> list[Evidence]:
    """Return how much too low log p(x) comes out, by the number of samples.

    The model is x = W z + noise with 2 latents and 8 numbers an item; q is half as wide again as
    the posterior.
    """
    rows = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        w, noise = torch.randn(8, 2, dtype=torch.double), 0.5
        x = torch.randn(n, 2, dtype=w.dtype) @ w.T + noise * torch.randn(n, 8, dtype=w.dtype)
        precision = torch.eye(2, dtype=w.dtype) + w.T @ w / noise**2
        covariance = torch.linalg.inv(precision)  # of the posterior
        mean = x @ w @ covariance / noise**2  # (n, 2)
        scale = 1.5 * covariance.diagonal().sqrt()
        marginal = w @ w.T + noise**2 * torch.eye(8, dtype=w.dtype)
        exactly = MultivariateNormal(torch.zeros_like(x), marginal).log_prob(x)  # (n,)
        for s in samples:
            q, p = Trace(), Trace()
            z = q.normal(mean.expand(s, n, 2), scale, name="z")
            p.normal(0.0, 1.0, value=q["z"], name="z")
            p.normal(z @ w.T, noise, value=x.expand(s, n, 8), name="x")
            gap = evidence(q, p, batch_dim=1)[0] - exactly
            error = float(gap.std() / math.sqrt(n))
            rows.append(Evidence(s, float(exactly.mean()), float((exactly + gap).mean()), error))
    return rows


# -- what it comes to ------------------------------------------------------------------------------


def conclusion(rows: Sequence[Row]) -> str:
    """Return in two sentences which estimators to train with, and what to report.

    They speak of the largest batches. An estimator is named as good as the best if the intervals of
    two standard errors about the largest bias of each overlap.
    """
    batch = max(row.batch for row in rows)
    largest: dict[str, Row] = {}
    for row in rows:
        if row.batch == batch:
            before = largest.get(row.estimator, row)
            largest[row.estimator] = max(before, row, key=lambda one: abs(one.bias))
    best = min(largest.values(), key=lambda row: abs(row.bias))
    limit = abs(best.bias) + 2 * best.bias_se
    good = [name for name, row in largest.items() if abs(row.bias) - 2 * row.bias_se <= limit]
    theirs = [row for row in rows if row.batch == batch and row.estimator in good]
    off = max(abs(row.bias) for row in theirs)
    cosine = min(row.cosine for row in theirs)
    others = [f"{name} {abs(row.bias):.2f}" for name, row in largest.items() if name not in good]
    compared = f" ({', '.join(others)})" if others else ""
    sure = sum(abs(row.bias) > 2 * row.bias_se for row in theirs)
    return (
        f"Train with {' or '.join(good)}: at batches of {batch} the estimates are off by at most "
        f"{off:.2f} nats{compared}, and the mean gradients have a cosine of at least {cosine:.3f} "
        "with exact ones. Report exact values, never those of batches: "
        f"{sure} of these {len(theirs)} estimates are off by more than two standard errors."
    )


def picture(rows: Sequence[Row], to: Path) -> None:
    """Draw how far estimates are from exact values, by term and batch size, as a PNG file."""
    biases: dict[str, dict[str, plots.Bias]] = {}
    for row in rows:
        of_batch = biases.setdefault(f"{row.term}, B = {row.batch}", {})
        of_batch[row.estimator] = (row.bias, row.bias_se)
    figure: Any = plots.biases(biases).figure
    figure.savefig(to, dpi=150)


# -- in the terminal -------------------------------------------------------------------------------


def verify(
    objectives: Iterable[tuple[str, Objective]] = (),
    batches: Iterable[int] = (64, 256),
    *,
    repeats: int = 200,
    seed: int = 0,
    to: Path | None = None,
    png: Path | None = None,
) -> None:
    """Print the tables and what to conclude, write them as JSON, and draw them.

    Args:
        objectives: Objectives to estimate beside `TERMS`, with their names.
        batches: Batch sizes.
        repeats: Random batches for each row.
        seed: The seed of the data set and the draws.
        to: The file to write to.
        png: The file to draw to.
    """
    console = terminal.console(width=110)
    rows = estimates({**TERMS, **dict(objectives)}, batches, repeats=repeats, seed=seed)
    console.print(
        f"{N} items, y of {CLASSES} classes, {NORMALS} Normals, groups {GROUPS}; seed {seed}, "
        f"{repeats} batches each;\nnats; cosine: of the mean gradient with the exact one; noise: "
        "the gradient's sd / the exact gradient's norm.\nExact terms sum over all items, with 8 "
        "draws of the latents.\n",
        highlight=False,
    )
    console.print(_table_of_estimates(rows))
    found = variances(seed=seed)
    console.print(
        "\nThe ELBO's gradient on 128 items, against the sum over y with many draws of z\n",
        highlight=False,
    )
    console.print(_table_of_variances(found))
    bounds = evidences(seed=seed)
    console.print(
        "\nlog p(x) by importance sampling, q half as wide again as the posterior\n",
        highlight=False,
    )
    console.print(_table_of_evidences(bounds))
    console.print(f"\n{conclusion(rows)}", highlight=False)
    if png is not None:
        picture(rows, png)
    if to is not None:
        named: dict[str, list[Any]] = {"estimates": rows, "variances": found, "evidence": bounds}
        tables = {}
        for name, table in named.items():
            tables[name] = [asdict(row) for row in table]
        to.write_text(json.dumps(tables))


def _table_of_estimates(rows: list[Row]) -> Table:
    heads = ("term", "estimator", "batch", "exact ± se", "estimate", "bias ± se", "sd")
    table = Table(*heads, "cosine", "noise", box=None, pad_edge=False)
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].term != row.term
        last = i + 1 == len(rows) or rows[i + 1].term != row.term
        table.add_row(
            row.term if first else "",
            row.estimator,
            str(row.batch),
            f"{row.exact:.3f} ± {row.exact_se:.3f}" if first else "",
            f"{row.estimate:.3f}",
            f"{row.bias:+.3f} ± {row.se:.3f}",
            f"{row.sd:.3f}",
            f"{row.cosine:.3f}",
            f"{row.noise:.2f}",
            end_section=last,
        )
    return table


def _table_of_variances(found: list[Variance]) -> Table:
    table = Table("y", "KL divergence", "ELBO", "cosine", "noise", box=None, pad_edge=False)
    for v in found:
        table.add_row(v.y, v.kl, f"{v.elbo:.3f}", f"{v.cosine:.3f}", f"{v.noise:.3f}")
    return table


def _table_of_evidences(found: list[Evidence]) -> Table:
    table = Table("samples", "log p(x)", "estimate", "bias ± se", box=None, pad_edge=False)
    for e in found:
        bias = f"{e.estimate - e.exact:+.3f} ± {e.se:.3f}"
        table.add_row(str(e.samples), f"{e.exact:.3f}", f"{e.estimate:.3f}", bias)
    return table
