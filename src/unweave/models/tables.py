"""Models of tables and counts: a likelihood for each kind of column, numbers that are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Distribution,
    LogNormal,
    NegativeBinomial,
    Normal,
    OneHotCategorical,
    Poisson,
)

from ..arguments import Positive, Size, Whole
from ..nets import cat, mlp, scale
from .families import Decoder, Encoder, PriorKind
from .model import Model, family
from .rows import Given, Row, ZeroInflated
from .seen import Kind, Kinds, Seen

POOLED = 64
"""Hidden units of the network of a block whose outputs are pooled."""


class Pooled(nn.Module):
    r"""An additive decoder: log-rates of blocks of latents, pooled by log-sum-exp.

    .. math:: f_k(z) = \log \frac{1}{B} \sum_{b=1}^{B} \exp f_{bk}(z_b, c)

    Rates add up, so each block has effects of its own on every column.

    Source: Moinfar and Theis, "Unsupervised deep disentangled representation of single-cell omics"
    (DRVI, 2024).

    Args:
        blocks: How many latents each block has, in order.
        given: How many covariates c every block sees.
        outputs: The columns.
        hidden: Hidden units of each block's network.
    """

    def __init__(
        self, blocks: Sequence[int], given: int, outputs: int, hidden: int = POOLED
    ) -> None:
        super().__init__()
        self.blocks = list(blocks)
        self.nets = nn.ModuleList([mlp([size + given, hidden, outputs]) for size in blocks])

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        parts = z.split(self.blocks, -1)
        found = []
        for net, part in zip(self.nets, parts, strict=True):
            found.append(net(cat([part, given])))
        stacked = torch.stack(found)  # (blocks, *batch, outputs)
        return stacked.logsumexp(0) - math.log(len(found))


class Plain(nn.Module):
    """A decoder's network of all latents and covariates together."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.net = mlp(sizes)

    def forward(self, z: Tensor, given: Tensor) -> Tensor:
        h: Tensor = self.net(cat([z, given]))
        return h


class Rows(nn.Module):
    r"""The likelihood of a table's rows, p(x | z, given): each column by its kind.

    With f the network's output, m and σ the mean and standard deviation of a column as seen, b its
    mean over the training part, s a row's size and θ a learned number of each column:

    ====================================  ==========================================================
    normal, log_normal                    Normal(m + σ f, σ e^θ) of x, or of log x
    bernoulli, categorical                log odds, or log weights, f + those of b
    poisson                               rate s b e^f
    negative_binomial                     mean s b e^f and dispersion e^θ: variance μ + μ² e^−θ
    zero_inflated_…                       the same, and a zero by itself with log odds ζ, learned
    ====================================  ==========================================================

    e^f and e^θ are bent to stay within e^±7 (`nets.scale`). Without items s is 1 and the given
    columns have their means.

    Args:
        seen: The rows as networks see them.
        net: The network, (*batch, latents) and (*batch, given) to (*batch, modelled columns).
    """

    def __init__(self, seen: Seen, net: nn.Module) -> None:
        super().__init__()
        self.seen, self.net = seen, net
        self.spread = nn.Parameter(torch.zeros(seen.columns))
        self.zero = nn.Parameter(torch.full((seen.columns,), -2.0))

    def forward(self, z: Tensor, x: Tensor | None) -> Row:
        f = self.net(z, self.seen.covariates(x))  # (*batch, modelled columns)
        size = self.seen.size(x)
        modelled = [part for part in self.seen.parts if part[0] != "given"]
        outputs = f.split([len(own) for _, own in modelled], -1)
        laws: list[Distribution] = []
        for (kind, own), output in zip(modelled, outputs, strict=True):
            laws.append(self._law(kind, own, output, size))
        columns = [own for _, own in modelled]
        if self.seen.given:
            laws.append(Given(self.seen.held(x).expand(*f.shape[:-1], -1)))
            columns.append(self.seen.given)
        return Row(laws, columns)

    def _law(self, kind: Kind, own: list[int], f: Tensor, size: Tensor | float) -> Distribution:
        """Return the distribution of the columns of one kind."""
        base = self.seen.base[own]
        theta = scale(self.spread[own])
        if kind in ("normal", "log_normal"):
            mean, sd = self.seen.mean[own], self.seen.sd[own]
            law = Normal if kind == "normal" else LogNormal
            return law(mean + sd * f, sd * theta, validate_args=False)
        if kind == "bernoulli":
            return Bernoulli(logits=f + _away(base).logit(), validate_args=False)
        if kind == "categorical":
            return OneHotCategorical(logits=f + _away(base).log(), validate_args=False)
        rate = size * base.clamp_min(1e-6) * scale(f)
        counts: Distribution
        if kind.endswith("poisson"):
            counts = Poisson(rate, validate_args=False)
        else:
            logits = rate.log() - theta.log()
            counts = NegativeBinomial(theta, logits=logits, validate_args=False)
        return ZeroInflated(counts, self.zero[own]) if kind.startswith("zero") else counts


def _away(share: Tensor, least: float = 1e-4) -> Tensor:
    """Return shares away from 0 and 1, where log odds are infinite."""
    return share.clamp(least, 1 - least)


@family
def table(
    shape: Sequence[Size],
    kinds: Kinds,
    hidden: Sequence[Size] = (400, 200),
    classes: Whole = 0,
    normals: Size = 10,
    temperature: Positive | None = 0.66,
    prior: PriorKind = "standard",
    library: bool = False,
    missing: bool = False,
    blocks: Sequence[Size] | None = None,
) -> Model:
    """A model of a table's rows: each column has a likelihood by its kind, numbers may be missing.

    The encoder is that of `hfvae`, or of `vae` with 0 classes; `measured` gives the model means and
    standard deviations of its columns. NaN in x is left out of log p(x|z). The networks see 0 in
    its place, which is the column's mean, and with `missing` also which numbers are known.
    `Model.impute` draws missing numbers.

    Given columns, such as a batch, reach the encoder and the decoder and are not modelled, so z
    need not hold them. Without items the decoder takes them at their means.

    Args:
        shape: The shape of an item, (columns,).
        kinds: Kinds and their numbers of columns in order: ``[("poisson", 2000), ("given", 3)]``; a
            categorical's columns are one variable's classes. `Rows` has the table of kinds.
        hidden: Units of the hidden layers, those next to x first.
        classes: Classes of y, a class found without labels; 0 for none.
        normals: Units of z.
        temperature: Temperature of y; without one y is categorical, and enumerated.
        prior: p(z), standard Normal or learned, see `Prior`.
        library: Whether each row's sum of counts is given to the decoder as its size.
        missing: Whether the networks are told which numbers are known.
        blocks: Sizes of blocks of z that the decoder adds up (`Pooled`), such as ``[1] * normals``;
            y is a block of its own. None for one network of all latents.

    Raises:
        ValueError: If a kind is unknown, or sizes do not add up.

    >>> kinds = [("normal", 2), ("negative_binomial", 3)]
    >>> model = table((5,), kinds, hidden=(16, 8), normals=2)
    >>> model.encode(torch.rand(4, 5).round()).shape
    torch.Size([4, 2])
    """
    seen = Seen(kinds, library, missing)
    if tuple(shape) != (seen.columns,):
        raise ValueError(f"items of shape {tuple(shape)}: the kinds have {seen.columns} columns")
    if blocks is not None and sum(blocks) != normals:
        raise ValueError(f"blocks {list(blocks)} add up to {sum(blocks)}, of {normals} units of z")
    outputs, given = seen.columns - len(seen.given), len(seen.given)
    net: nn.Module = Plain([classes + normals + given, *reversed(hidden), outputs])
    if blocks is not None:
        own = [classes] if classes else []
        net = Pooled([*own, *blocks], given, outputs)
    encoder = Encoder((seen.width,), hidden, classes, normals, temperature, standard=seen)
    rows = Rows(seen, net)
    decoder = Decoder(
        (seen.columns,), hidden, classes, normals, temperature, prior=prior, rows=rows
    )
    return Model(encoder, decoder, given=library or bool(seen.given))
