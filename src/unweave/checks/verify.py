"""Estimators against exact values, on a finite data set whose q(z) is a sum that can be written
out.

The setting is a linear encoder of N items with known features, a class y and Normals z that depend
on one another through what they share of x, and a decoder of real-valued data; every term and its
gradient with respect to the encoder's weights is summed over all N items, and each estimator is
asked for the same from random batches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributions import MultivariateNormal, OneHotCategorical

from ..aggregate import Aggregate, Weights, balanced, exact, minibatch, stratified, weighted
from ..nets import cat
from ..objective.densities import Densities
from ..objective.literature import elbo, evidence, kl, mi, tc
from ..objective.objective import Objective
from ..trace.concrete import Concrete
from ..trace.trace import Trace

N, FEATURES, CLASSES, NORMALS = 1000, 8, 5, 6
GROUPS = ("y", ("z[:3]", "z[3:]"))
TERMS = {"mi": mi, "tc[0]": tc[0], "tc[1]": tc[1], "tc[2]": tc[2], "kl[-1]": kl[-1]}
ESTIMATORS: dict[str, Weights] = {
    "balanced": balanced,
    "stratified": stratified,
    "weighted": weighted,
}


@dataclass(frozen=True)
class Setting:
    """Features x (N, features), and the weights that map them to a posterior over y and z and to
    data.
    """

    x: Tensor
    theta: Tensor
    decode: Tensor

    @staticmethod
    def random(seed: int = 0, n: int = N) -> Setting:
        """Latents that share features, so that none of the terms vanishes: about half of log N nats
        in I(x;z).
        """
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(n, FEATURES, generator=g, dtype=torch.double)
        theta = 0.45 * torch.randn(
            FEATURES + 1, CLASSES + 2 * NORMALS, generator=g, dtype=torch.double
        )
        theta[:, CLASSES + NORMALS :] *= 0.3
        theta[-1, CLASSES + NORMALS :] -= 0.7  # posteriors of a scale of about 0.5
        return Setting(
            x,
            theta.requires_grad_(),
            torch.randn(CLASSES + NORMALS, 12, generator=g, dtype=x.dtype),
        )

    def parameters(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of y, and z's mean and scale, of some items."""
        x = self.x[items]
        raw = x @ self.theta[:-1] + self.theta[-1]
        return (
            raw[:, :CLASSES],
            raw[:, CLASSES : CLASSES + NORMALS],
            raw[:, CLASSES + NORMALS :].exp(),
        )

    def traces(
        self, items: Tensor, y: str = "categorical", temperature: float = 0.66
    ) -> tuple[Trace, Trace]:
        """Encoder and decoder on some items; `y` is categorical, concrete, or straight-through."""
        logits, mean, scale = self.parameters(items)
        q, p = Trace(), Trace()
        prior = torch.zeros(CLASSES, dtype=logits.dtype)
        if y == "categorical":
            value = q.categorical(logits, name="y")
            p.categorical(prior, value=q["y"], name="y")
        elif y == "concrete":
            value = q.concrete(logits, temperature, name="y")
            p.concrete(prior, temperature, value=q["y"], name="y")
        else:  # a hard draw in the forward, the relaxed one's gradient in the backward
            soft = Concrete(logits, temperature).rsample()
            hard = torch.nn.functional.one_hot(soft.argmax(-1), CLASSES).to(soft.dtype)
            value = hard + soft - soft.detach()
            log_q = (value * logits.log_softmax(-1)).sum(-1)
            p.factor(-math.log(CLASSES) - log_q, name="y")
        z = q.normal(mean, scale, name="z")
        p.normal(0.0, 1.0, value=q["z"], name="z")
        p.normal(cat([value, z]) @ self.decode, 1.0, value=self.data(items), name="x")
        return q, p

    def data(self, items: Tensor) -> Tensor:
        """Data that the latents' means explain: what the decoder would say of them."""
        with torch.no_grad():
            logits, mean, _ = self.parameters(items)
            return torch.cat([OneHotCategorical(logits=3 * logits).mean, mean], -1) @ self.decode


@dataclass(frozen=True)
class Row:
    """What an estimator says of a term at one batch size, in nats, and of its gradient."""

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
        return self.estimate - self.exact


def estimates(
    terms: Mapping[str, Objective], batches: Iterable[int], *, repeats: int = 200, seed: int = 0
) -> list[Row]:
    """Each term by each estimator at each batch size, `repeats` random batches each."""
    setting = Setting.random(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        everyone = torch.arange(N)
        sums = [
            _all_terms(setting, everyone, terms, lambda q: exact(q.aligned())) for _ in range(8)
        ]
        truth = {}
        for name in terms:
            values, gradients = (
                torch.stack(part) for part in zip(*(s[name] for s in sums), strict=True)
            )
            truth[name] = (values.mean(), gradients.mean(0), values.std() / math.sqrt(len(sums)))
        rows = []
        for batch in batches:
            for name, weights in ESTIMATORS.items():
                aggregate = minibatch(N, weights)
                draws = [
                    _all_terms(setting, torch.randperm(N)[:batch], terms, partial(_same, aggregate))
                    for _ in range(repeats)
                ]
                rows += [
                    _row(term, name, batch, truth[term], [d[term] for d in draws]) for term in terms
                ]
    return sorted(rows, key=lambda row: list(terms).index(row.term))


def _all_terms(
    setting: Setting,
    items: Tensor,
    terms: Mapping[str, Objective],
    aggregate: Callable[[Trace], Aggregate],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each term's mean over the items and its gradient with respect to the encoder's weights."""
    q, p = setting.traces(items)
    d = Densities(q, p, groups=GROUPS, aggregate=aggregate(q))
    values = {name: d.score(term).mean() for name, term in terms.items()}
    return {
        name: (
            value.detach(),
            torch.autograd.grad(value, setting.theta, retain_graph=True)[0].flatten(),
        )
        for name, value in values.items()
    }


def _row(
    term: str,
    name: str,
    batch: int,
    truth: tuple[Tensor, Tensor, Tensor],
    draws: list[tuple[Tensor, Tensor]],
) -> Row:
    values, gradients = (torch.stack(list(part)) for part in zip(*draws, strict=True))
    mean = gradients.mean(0)
    return Row(
        term=term,
        estimator=name,
        batch=batch,
        exact=float(truth[0]),
        exact_se=float(truth[2]),
        estimate=float(values.mean()),
        se=float(values.std() / math.sqrt(len(values))),
        sd=float(values.std()),
        cosine=_cosine(mean, truth[1]),
        noise=float((gradients - mean).square().sum(-1).mean().sqrt() / truth[1].norm()),
    )


@dataclass(frozen=True)
class Variance:
    """Gradients of the ELBO by one way of taking y and the KL divergence."""

    y: str
    kl: str
    elbo: float
    cosine: float
    noise: float


def variances(batch: int = 128, *, repeats: int = 400, seed: int = 0) -> list[Variance]:
    """The ELBO's gradient on one batch: enumerated, relaxed, straight-through; KL divergences
    closed and sampled.

    The exact gradient sums over y and averages z over many draws; `noise` is the gradient's
    standard deviation over draws, as a share of the exact gradient's norm.
    """
    setting = Setting.random(seed)
    items = torch.arange(batch)

    def gradient(y: str, kind: Any) -> tuple[Tensor, Tensor]:
        q, p = setting.traces(items, y)
        value = elbo(q, p, kl=kind).mean()
        return value.detach(), torch.autograd.grad(value, setting.theta)[0].flatten()

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reference = _mean(gradient("categorical", "closed")[1] for _ in range(8 * repeats))
        rows = []
        for y in ("categorical", "concrete", "straight-through"):
            for kind in ("closed", "sampled"):
                values, gradients = (
                    torch.stack(t)
                    for t in zip(*(gradient(y, kind) for _ in range(repeats)), strict=True)
                )
                mean = gradients.mean(0)
                noise = (gradients - mean).square().sum(-1).mean().sqrt() / reference.norm()
                rows.append(
                    Variance(y, kind, float(values.mean()), _cosine(mean, reference), float(noise))
                )
    return rows


@dataclass(frozen=True)
class Evidence:
    """The importance-sampled log p(x) of a linear Gaussian model, where it is known, with a q too
    wide by half.
    """

    samples: int
    exact: float
    estimate: float
    se: float


def evidences(
    samples: Iterable[int] = (1, 10, 100, 1000), *, n: int = 1000, seed: int = 0
) -> list[Evidence]:
    """How much too low log p(x) comes out, by the number of samples: x = W z + noise, 2 latents, 8
    numbers an item.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        w, noise = torch.randn(8, 2, dtype=torch.double), 0.5
        x = torch.randn(n, 2, dtype=w.dtype) @ w.T + noise * torch.randn(n, 8, dtype=w.dtype)
        covariance = torch.linalg.inv(torch.eye(2, dtype=w.dtype) + w.T @ w / noise**2)
        mean, scale = x @ w @ covariance / noise**2, 1.5 * covariance.diagonal().sqrt()
        of_x = MultivariateNormal(
            torch.zeros_like(x), w @ w.T + noise**2 * torch.eye(8, dtype=w.dtype)
        )
        exactly, rows = of_x.log_prob(x), []
        for s in samples:
            q, p = Trace(), Trace()
            z = q.normal(mean.expand(s, n, 2), scale, name="z")
            p.normal(0.0, 1.0, value=q["z"], name="z")
            p.normal(z @ w.T, noise, value=x.expand(s, n, 8), name="x")
            gap = evidence(q, p, batch_dim=1)[0] - exactly
            error = float(gap.std() / math.sqrt(n))
            rows.append(Evidence(s, float(exactly.mean()), float((exactly + gap).mean()), error))
    return rows


def verify(
    objectives: Iterable[tuple[str, Objective]] = (),
    batches: Iterable[int] = (64, 256),
    *,
    repeats: int = 200,
    seed: int = 0,
    to: Path | None = None,
) -> None:
    """Prints the tables, and writes them as JSON."""
    console, terms = Console(width=110), {**TERMS, **dict(objectives)}
    rows = estimates(terms, batches, repeats=repeats, seed=seed)
    console.print(
        f"{N} items, y of {CLASSES} classes, {NORMALS} Normals, groups {GROUPS}; seed {seed}, "
        f"{repeats} batches each;\nnats; cosine: of the mean gradient with the exact one; noise: "
        "the gradient's sd / the exact gradient's norm.\nExact terms sum over all items, with 8 "
        "draws of the latents.\n",
        highlight=False,
    )
    heads = (
        "term",
        "estimator",
        "batch",
        "exact ± se",
        "estimate",
        "bias ± se",
        "sd",
        "cosine",
        "noise",
    )
    table = Table(*heads, box=None, pad_edge=False)
    for i, row in enumerate(rows):
        first = i == 0 or rows[i - 1].term != row.term
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
            end_section=i + 1 == len(rows) or rows[i + 1].term != row.term,
        )
    console.print(table)
    found = variances(seed=seed)
    table = Table("y", "KL divergence", "ELBO", "cosine", "noise", box=None, pad_edge=False)
    for v in found:
        table.add_row(v.y, v.kl, f"{v.elbo:.3f}", f"{v.cosine:.3f}", f"{v.noise:.3f}")
    console.print(
        "\nThe ELBO's gradient on 128 items, against the sum over y with many draws of z\n",
        highlight=False,
    )
    console.print(table)
    bounds = evidences(seed=seed)
    table = Table("samples", "log p(x)", "estimate", "bias ± se", box=None, pad_edge=False)
    for e in bounds:
        bias = f"{e.estimate - e.exact:+.3f} ± {e.se:.3f}"
        table.add_row(str(e.samples), f"{e.exact:.3f}", f"{e.estimate:.3f}", bias)
    console.print(
        "\nlog p(x) by importance sampling, q half as wide again as the posterior\n",
        highlight=False,
    )
    console.print(table)
    if to is not None:
        tables: dict[str, list[Any]] = {"estimates": rows, "variances": found, "evidence": bounds}
        to.write_text(
            json.dumps({name: [asdict(row) for row in table] for name, table in tables.items()})
        )


def _same(aggregate: Aggregate, _: Trace) -> Aggregate:
    return aggregate


def _mean(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).mean(0)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))
