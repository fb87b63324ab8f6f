"""Model families for data of any fixed shape: images or vectors, numbers in [0, 1] or others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

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

from ..arguments import Positive, Size, Whole
from ..nets import Standard, cat, conv, deconv, mlp, scale
from ..trace.node import Node
from ..trace.trace import Trace
from .model import Model, family
from .seen import Seen

Net = Literal["mlp", "conv"]
Likelihood = Literal["bernoulli", "normal"]
Scales = Literal["one", "each"]
Order = Literal["yz", "zy"]
PriorKind = Literal["standard", "learned", "correlated", "mixture"]


def one_of(kind: Any, value: str, what: str) -> str:
    """Return `value` if it is one of the words of a Literal type.

    Raises:
        ValueError: It is none of them; the message names the argument, `what`, and the words.
    """
    words = get_args(kind)
    if value not in words:
        raise ValueError(f"{what}={value!r}: expected one of {', '.join(words)}")
    return value


class Encoder(nn.Module):
    """The program q(y|x) q(z|x, y), or q(z|x) q(y|x, z).

    y is discrete, of `classes` values, and absent with 0 of them; z are `normals` Normals. With a
    temperature y is a Concrete variable, without one it is enumerated.
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
        standard: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.standard = standard or nn.Identity()
        self.dims, self.temperature = len(shape), temperature
        self.order = one_of(Order, order, "order")
        first, *rest = hidden
        to_first: nn.Module
        if one_of(Net, net, "net") == "conv":
            to_first = conv(shape, first)
        else:
            to_first = nn.Linear(math.prod(shape), first)
        self.h = nn.Sequential(to_first, nn.ReLU())
        self.y_log_weights: nn.Module | None = None
        if classes and order == "yz":
            self.y_log_weights = nn.Linear(first, classes)
        elif classes:
            self.y_log_weights = mlp([first + normals, *rest, classes])
        read = first + classes if order == "yz" else first
        self.z_mean = mlp([read, *rest, normals])
        self.z_log_scale = mlp([read, *rest, normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        h = self.h(self.standard(x).flatten(-self.dims))  # (batch, first)
        if self.y_log_weights is not None and self.order == "yz":
            y = _discrete(q, self.y_log_weights(h), self.temperature, y)
            h = cat([h, y])  # (*classes, *samples, batch, first + classes)
        z = q.normal(self.z_mean(h), scale(self.z_log_scale(h)), name="z")
        if self.y_log_weights is not None and self.order == "zy":
            logits = self.y_log_weights(cat([h, z]))
            _discrete(q, logits, self.temperature, y)
        return q


def _discrete(
    trace: Trace, logits: Tensor, temperature: float | None, value: Tensor | Node | None
) -> Tensor:
    """Add the site y: enumerated without a temperature, Concrete with one."""
    if temperature is None:
        return trace.categorical(logits, value=value, name="y")
    return trace.concrete(logits, temperature, value=value, name="y")


class _Code(nn.Module):
    """The encoder of a plain autoencoder: z is a function of x, without a density."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], size: int) -> None:
        super().__init__()
        self.dims, self.z = len(shape), mlp([math.prod(shape), *hidden, size])

    def forward(self, x: Tensor) -> Trace:
        return Trace.given(z=self.z(x.flatten(-self.dims)))


class Prior(nn.Module):
    """A learned p(z): factorised, correlated, or a mixture of factorised Normals.

    Args:
        kind: "learned" (factorised), "correlated" or "mixture".
        size: Units of z.
        parts: Normals of a mixture.
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
            root = self.below.tril(-1) + scale(self.log_scale).diag()  # (size, size)
            return MultivariateNormal(self.loc, scale_tril=root)
        each = Normal(self.loc, scale(self.log_scale))
        if self.kind == "mixture":
            parts = Categorical(logits=self.log_weights)
            return MixtureSameFamily(parts, Independent(each, 1))
        return each


class Decoder(nn.Module):
    """The program p(y) p(z) p(x|y, z), with uniform y; `prior=None` leaves p(z) out.

    x is Bernoulli, for numbers in [0, 1], or Normal with learned scales: `scales` says whether all
    numbers share one. With `standard` the networks' x has mean 0 and standard deviation 1, and
    p(x|y, z) is a density of x as it is. With `rows` p(x|y, z) is what it makes of latents and x.
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
        scales: Scales | None = None,
        standard: Standard | None = None,
        rows: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.likelihood, self.standard = one_of(Likelihood, likelihood, "likelihood"), standard
        if standard is not None and likelihood != "normal":
            raise ValueError(
                f"standardise=True with likelihood={likelihood!r}: expected 'normal', for any "
                "numbers"
            )
        if likelihood == "normal":
            usual = "each" if len(shape) == 1 else "one"
            are_own = one_of(Scales, scales or usual, "scales") == "each"
            self.x_log_scale = nn.Parameter(torch.zeros(shape if are_own else ()))
        self.shape, self.classes, self.temperature = tuple(shape), classes, temperature
        self.kind = prior
        self.prior: Prior | None = None
        if prior not in (None, "standard"):
            self.prior = Prior(prior, normals)
        self.register_buffer("y_log_weights", torch.zeros(classes), persistent=False)
        self.rows = rows
        if rows is not None:
            return
        sizes = [classes + normals, *reversed(hidden)]
        if net == "conv":
            self.x = nn.Sequential(mlp(sizes), nn.ReLU(), deconv(sizes[-1], shape))
        else:
            self.x = mlp([*sizes, math.prod(shape)])

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        h = self._z(p, q)  # (…, normals)
        if self.classes:
            y = _discrete(p, self.y_log_weights, self.temperature, q["y"])
            h = cat([y, h])  # (…, classes + normals)
        if self.rows is not None:
            p.sample(self.rows(h, x), value=x, name="x")
            return p
        h = self.x(h).unflatten(-1, self.shape)  # (…, *shape)
        if self.likelihood == "bernoulli":
            p.bernoulli(h, value=x, name="x")
            return p
        mean, sd = h, scale(self.x_log_scale)
        if self.standard is not None:
            mean, sd = self.standard.back(h), self.standard.sd * sd
        p.normal(mean, sd, value=x, name="x")
        return p

    def _z(self, p: Trace, q: Trace) -> Tensor:
        """Add the site z, where there is a prior, and return its value."""
        if self.prior is not None:
            return p.sample(self.prior(), q["z"], name="z")
        if self.kind:
            return p.normal(0.0, 1.0, value=q["z"], name="z")
        return q["z"].value


def measured(model: Model, x: Any) -> Model:
    """Give a model built with `standardise=True`, or by `table`, the items' means and deviations.

    Until then they are 0 and 1.

    Args:
        model: The model, which is changed.
        x: Items (n, *shape), an array or tensor; a `table` also takes a store of `Data`.

    Returns:
        The model.

    Raises:
        ValueError: The model does not standardise.
    """
    standards = [part for part in model.modules() if isinstance(part, Standard | Seen)]
    if not standards:
        raise ValueError("this model takes x as it is: build it with standardise=True to measure x")
    for standard in standards:
        standard.measure(x)
    return model


@family
def hfvae(
    shape: Sequence[Size],
    hidden: Sequence[Size] = (400, 200),
    classes: Whole = 10,
    normals: Size = 10,
    temperature: Positive | None = 0.66,
    prior: PriorKind = "standard",
    net: Net = "mlp",
    likelihood: Likelihood = "bernoulli",
    order: Order = "yz",
    standardise: bool = False,
    scales: Scales | None = None,
) -> Model:
    """The digits model of Esmaeili et al. (2019): a Concrete y and Normals z, with z ~ q(z|x, y).

    Networks are as in the authors' example: x-400, y from 400, z's mean and log-scale each from
    (400+10)-200; (10+10)-200-400-x back. Groups: ("y", "z").

    Args:
        shape: Shape of an item.
        hidden: Units of the hidden layers, those next to x first.
        classes: Classes of y; with 0 there is no y.
        normals: Units of z.
        temperature: Temperature of y; without one y is categorical, and enumerated.
        prior: p(z), standard Normal or learned, see `Prior`.
        net: "conv" puts convolutions between x and the first of `hidden`.
        likelihood: Bernoulli for numbers in [0, 1], Normal for any.
        order: "zy" encodes style first, q(z|x) q(y|x, z), as Siddharth et al. (2017); where y is
            given, see `conditioned`.
        standardise: Show the networks each number of x with mean 0 and standard deviation 1, see
            `measured`; a Normal p(x|y, z) stays a density of x in its own units.
        scales: "one" scale of a Normal p(x|y, z) for all numbers of x, or one for "each"; by
            default each in vectors, one in images.
    """
    seen = Standard(shape) if standardise else None
    encoder = Encoder(shape, hidden, classes, normals, temperature, net, order, seen)
    decoder = Decoder(
        shape,
        hidden,
        classes,
        normals,
        temperature,
        prior=prior,
        net=net,
        likelihood=likelihood,
        scales=scales,
        standard=seen,
    )
    return Model(encoder, decoder)


@family
def vae(
    shape: Sequence[Size],
    hidden: Sequence[Size] = (400, 200),
    normals: Size = 10,
    net: Net = "mlp",
    likelihood: Likelihood = "bernoulli",
    standardise: bool = False,
) -> Model:
    """The plain VAE with `normals` standard Normal latents (Kingma and Welling, 2014).

    `standardise` as in `hfvae`. Groups: ("z",).
    """
    seen = Standard(shape) if standardise else None
    return Model(
        Encoder(shape, hidden, 0, normals, 1.0, net, standard=seen),
        Decoder(shape, hidden, 0, normals, 1.0, net=net, likelihood=likelihood, standard=seen),
    )


@family
def autoencoder(
    shape: Sequence[Size], hidden: Sequence[Size] = (400, 200), normals: Size = 10
) -> Model:
    """The plain autoencoder with a code of `normals` numbers: train it on `recon`.

    It has no prior, so nothing to draw from.
    """
    return Model(_Code(shape, hidden, normals), Decoder(shape, hidden, 0, normals, 1.0, prior=None))
