"""Model families for data of any fixed shape: images or vectors, numbers in [0, 1] or any
numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from ..nets import Standard, cat, conv, deconv, mlp, scale
from ..trace.node import Node
from ..trace.trace import Trace
from .model import Model, family

Net = Literal["mlp", "conv"]
Likelihood = Literal["bernoulli", "normal"]
Order = Literal["yz", "zy"]


def one_of(kind: Any, value: str, what: str) -> str:
    """`value`, if it is one of the words of a Literal type."""
    if value not in get_args(kind):
        raise ValueError(f"{what}={value!r}: expected one of {', '.join(get_args(kind))}")
    return value


class _Encoder(nn.Module):
    """q(y|x) q(z|x, y), or q(z|x) q(y|x, z): a discrete y of `classes` values, `normals` Normals z;
    y may be absent.

    With a temperature y is a Concrete variable, without one it is enumerated.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        classes: int,
        normals: int,
        temperature: float | None,
        net: Net = "mlp",
        order: Order = "yz",
        standard: Standard | None = None,
    ) -> None:
        super().__init__()
        self.standard = standard or nn.Identity()
        self.dims, self.temperature, self.order = (
            len(shape),
            temperature,
            one_of(Order, order, "order"),
        )
        first, *rest = hidden
        to_first = (
            conv(shape, first)
            if one_of(Net, net, "net") == "conv"
            else nn.Linear(math.prod(shape), first)
        )
        self.h = nn.Sequential(to_first, nn.ReLU())
        self.y_log_weights: nn.Module | None = None
        if classes:
            self.y_log_weights = (
                nn.Linear(first, classes)
                if order == "yz"
                else mlp([first + normals, *rest, classes])
            )
        read = first + classes if order == "yz" else first
        self.z_mean = mlp([read, *rest, normals])
        self.z_log_scale = mlp([read, *rest, normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        h = self.h(self.standard(x).flatten(-self.dims))
        if self.y_log_weights is not None and self.order == "yz":
            h = cat([h, _discrete(q, self.y_log_weights(h), self.temperature, y)])
        z = q.normal(self.z_mean(h), scale(self.z_log_scale(h)), name="z")
        if self.y_log_weights is not None and self.order == "zy":
            _discrete(q, self.y_log_weights(cat([h, z])), self.temperature, y)
        return q


def _discrete(
    trace: Trace, logits: Tensor, temperature: float | None, value: Tensor | Node | None
) -> Tensor:
    if temperature is None:
        return trace.categorical(logits, value=value, name="y")
    return trace.concrete(logits, temperature, value=value, name="y")


class _Code(nn.Module):
    """A plain autoencoder's encoder: z is a function of x, without a density."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], size: int) -> None:
        super().__init__()
        self.dims, self.z = len(shape), mlp([math.prod(shape), *hidden, size])

    def forward(self, x: Tensor) -> Trace:
        return Trace.given(z=self.z(x.flatten(-self.dims)))


PriorKind = Literal["standard", "learned", "correlated", "mixture"]


class Prior(nn.Module):
    """A learned p(z) over `size` numbers: factorised, correlated, or a mixture of `parts`
    factorised Normals.
    """

    def __init__(self, kind: PriorKind, size: int, parts: int = 10) -> None:
        super().__init__()
        self.kind = one_of(PriorKind, kind, "prior")
        shape = (parts, size) if kind == "mixture" else (size,)
        self.loc = nn.Parameter(torch.randn(shape) if kind == "mixture" else torch.zeros(shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        if kind == "mixture":
            self.log_weights = nn.Parameter(torch.zeros(parts))
        if kind == "correlated":
            self.below = nn.Parameter(torch.zeros(size, size))

    def forward(self) -> Distribution:
        if self.kind == "correlated":
            return MultivariateNormal(
                self.loc, scale_tril=self.below.tril(-1) + scale(self.log_scale).diag()
            )
        each = Normal(self.loc, scale(self.log_scale))
        if self.kind == "mixture":
            return MixtureSameFamily(Categorical(logits=self.log_weights), Independent(each, 1))
        return each


class Decoder(nn.Module):
    """p(y) p(z) p(x|y, z): uniform y; `prior=None` leaves p(z) out.

    x is Bernoulli, for numbers in [0, 1], or Normal with learned scales: one for all pixels, one a
    number in vectors. With `standard` the networks' x has mean 0 and standard deviation 1, and
    p(x|y, z) is a density of x as it is.
    """

    y_log_weights: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int],
        classes: int,
        normals: int,
        temperature: float | None,
        *,
        prior: PriorKind | None = "standard",
        net: Net = "mlp",
        likelihood: Likelihood = "bernoulli",
        standard: Standard | None = None,
    ) -> None:
        super().__init__()
        self.likelihood, self.standard = one_of(Likelihood, likelihood, "likelihood"), standard
        if standard is not None and likelihood != "normal":
            raise ValueError(
                f"standardise=True with likelihood={likelihood!r}: expected 'normal', for any "
                "numbers"
            )
        if likelihood == "normal":
            self.x_log_scale = nn.Parameter(torch.zeros(shape if len(shape) == 1 else ()))
        self.shape, self.classes, self.temperature = tuple(shape), classes, temperature
        self.kind, self.prior = (
            prior,
            Prior(prior, normals) if prior not in (None, "standard") else None,
        )
        self.register_buffer("y_log_weights", torch.zeros(classes), persistent=False)
        sizes = [classes + normals, *reversed(hidden)]
        self.x = (
            nn.Sequential(mlp(sizes), nn.ReLU(), deconv(sizes[-1], shape))
            if net == "conv"
            else mlp([*sizes, math.prod(shape)])
        )

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        if self.prior is not None:
            h = p.sample(self.prior(), q["z"], name="z")
        else:
            h = p.normal(0.0, 1.0, value=q["z"], name="z") if self.kind else q["z"].value
        if self.classes:
            y = _discrete(p, self.y_log_weights, self.temperature, q["y"])
            h = cat([y, h])
        h = self.x(h).unflatten(-1, self.shape)
        if self.likelihood == "normal":
            sd = scale(self.x_log_scale)
            mean, sd = (
                (h, sd) if self.standard is None else (self.standard.back(h), self.standard.sd * sd)
            )
            p.normal(mean, sd, value=x, name="x")
        else:
            p.bernoulli(h, value=x, name="x")
        return p


def measured(model: Model, x: Tensor | np.ndarray[Any, Any]) -> Model:
    """A model built with `standardise=True`, its means and standard deviations those of the items x
    (n, *shape).

    Until then they are 0 and 1. Errors: ValueError for a model that does not standardise.
    """
    standards = [part for part in model.modules() if isinstance(part, Standard)]
    if not standards:
        raise ValueError("this model takes x as it is: build it with standardise=True to measure x")
    for standard in standards:
        standard.measure(torch.as_tensor(x))
    return model


@family
def hfvae(
    shape: Sequence[int],
    hidden: Sequence[int] = (400, 200),
    classes: int = 10,
    normals: int = 10,
    temperature: float | None = 0.66,
    prior: PriorKind = "standard",
    net: Net = "mlp",
    likelihood: Likelihood = "bernoulli",
    order: Order = "yz",
    standardise: bool = False,
) -> Model:
    """The digits model of Esmaeili et al. (2019): a Concrete y and Normals z, with z ~ q(z|x, y).

    Without a temperature y is categorical, and enumerated. p(z) is standard Normal, or learned (see
    `Prior`).

    Networks as in the authors' example: x-400, y from 400, z's mean and log-scale each from
    (400+10)-200; (10+10)-200-400-x back; `net="conv"` puts convolutions between x and the first of
    `hidden`. Groups: ("y", "z"). `order="zy"` encodes style first, q(z|x) q(y|x, z), as Siddharth
    et al. (2017): where y is given, see `conditioned`. `standardise` shows the networks each number
    of x with mean 0 and standard deviation 1, see `measured`; a Normal p(x|y, z) stays a density of
    x in its own units.
    """
    seen = Standard(shape) if standardise else None
    return Model(
        _Encoder(shape, hidden, classes, normals, temperature, net, order, seen),
        Decoder(
            shape,
            hidden,
            classes,
            normals,
            temperature,
            prior=prior,
            net=net,
            likelihood=likelihood,
            standard=seen,
        ),
    )


@family
def vae(
    shape: Sequence[int],
    hidden: Sequence[int] = (400, 200),
    normals: int = 10,
    net: Net = "mlp",
    likelihood: Likelihood = "bernoulli",
    standardise: bool = False,
) -> Model:
    """The plain VAE with `normals` standard Normal latents (Kingma and Welling, 2014). Groups:
    ("z",).

    `standardise` as in `hfvae`.
    """
    seen = Standard(shape) if standardise else None
    return Model(
        _Encoder(shape, hidden, 0, normals, 1.0, net, standard=seen),
        Decoder(shape, hidden, 0, normals, 1.0, net=net, likelihood=likelihood, standard=seen),
    )


@family
def autoencoder(
    shape: Sequence[int], hidden: Sequence[int] = (400, 200), normals: int = 10
) -> Model:
    """The plain autoencoder with a code of `normals` numbers: no prior, so nothing to draw from;
    train on `recon`.
    """
    return Model(_Code(shape, hidden, normals), Decoder(shape, hidden, 0, normals, 1.0, prior=None))
