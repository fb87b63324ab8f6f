"""Terms of objectives that are no linear form on log-densities: capacities, moments, kernel
distances.

Each is an Objective of one term, so that it adds up with the others; a published objective is a
line of them:

    >>> import unweave as uw
    >>> print(uw.elbo - 10 * uw.covariances() - 5 * uw.mmd("imq"))
    log p(x|z) - log q(z|x) + log p(z) - 10·Σ_i≠j Cov[mu(z)]_ij² - 5·MMD²(q(z), p(z); imq, 1)

They are statistics of a batch: scored, they add the same number to every item. What is not linear
in the items is biased when it is estimated from a minibatch, as each function says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, LowRankMultivariateNormal, MultivariateNormal, Normal

from ..trace.groups import Block, block, intersect, union
from ..trace.marginals import unwrap
from .densities import Densities
from .literature import elbo, kl, mi, recon
from .objective import Objective
from .schedule import Ramp

Kernel = Literal["rbf", "imq"]


# -- capacity --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capacity:
    form: Objective = field(hash=False)
    nats: float | Ramp

    def at(self, step: int) -> Capacity:
        return Capacity(
            self.form.at(step), self.nats(step) if isinstance(self.nats, Ramp) else self.nats
        )

    def __call__(self, d: Densities) -> Tensor:
        if isinstance(self.nats, Ramp):
            raise ValueError(f"the capacity is a schedule, {self.nats}: score objective.at(step)")
        return (d.score(self.form).mean() - self.nats).abs()

    def __str__(self) -> str:
        return f"|mean({self.form}) - {self.nats if isinstance(self.nats, Ramp) else f'{self.nats:g}'}|"


def capacity(form: Objective, nats: float | Ramp) -> Objective:
    """How far a form's mean over the batch (and samples) is from C = `nats`, a number or a
    schedule.

    .. math:: |\\frac{1}{B} \\sum_n f_n - C|

    The mean is inside: items may differ in what they spend, as in Burgess et al. (2018) and their
    followers. Restricted forms give each group a capacity of its own, as JointVAE does for its
    discrete code (Dupont, 2018):

    >>> import unweave as uw
    >>> spent = uw.mi + uw.kl[0]
    >>> joint_vae = uw.recon - 30 * uw.capacity(spent.of("z"), 5.0) - 30 * uw.capacity(spent.of("y"), 2.3)
    """
    return Objective({Capacity(form, nats): 1.0})


def annealed_vae(gamma: float | Ramp = 1000.0, capacity: float | Ramp = 25.0) -> Objective:
    """log p(x|z) − γ·|mean KL(q(z|x) ‖ p(z)) − C|: the capacity-controlled VAE (Burgess et al.,
    2018).

    γ = 1000 and the last C = 25 nats are the paper's for dSprites. There C grows from 0 while
    training, in disentanglement_lib over the first 100,000 steps:

    >>> import unweave as uw
    >>> annealed = uw.annealed_vae(capacity=uw.ramp(0, 25, last=100_000))
    >>> print(annealed.at(50_000))
    log p(x|z) - 1000·|mean(log q(z|x) - log p(z)) - 12.5|
    """
    return recon - gamma * Objective({Capacity(mi + kl[0], capacity): 1.0})


# -- moments ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Covariances:
    of: tuple[str, ...] = ()
    total: bool = False

    def __call__(self, d: Densities) -> Tensor:
        covariance = _covariance(d, self.of, self.total)
        return covariance.square().sum() - covariance.diagonal().square().sum()

    def __str__(self) -> str:
        return f"Σ_i≠j {_named(self)}_ij²"


@dataclass(frozen=True)
class Variances:
    of: tuple[str, ...] = ()
    total: bool = False

    def __call__(self, d: Densities) -> Tensor:
        return (_covariance(d, self.of, self.total).diagonal() - 1).square().sum()

    def __str__(self) -> str:
        return f"Σ_i ({_named(self)}_ii - 1)²"


def covariances(*of: str, total: bool = False) -> Objective:
    """Squared covariances of the latent units, over ordered pairs (each pair counts twice, as
    published).

    .. math:: \\sum_{i \\ne j} C_{ij}^2, \\quad C = \\mathrm{Cov}_x[μ(x)] \\; (\\, + E_x[Σ(x)] \\text{ if total})

    with μ(x), Σ(x) the mean and covariance of q(z|x). With `total`, C is the covariance of q(z), by
    the law of total variance; E[Σ(x)] of sites that factorise stands on the diagonal, that of a
    multivariate normal is a full matrix. (Public implementations exist that add it to every cell:
    the penalty then rewards what it should not.)

    Covariances divide by B, not B − 1: exact where the batch is the data set. Of a minibatch the
    square is too large by the estimate's variance: independent unit variances give about 1/B a
    pair, D(D−1)/B in all. Sample dimensions are pooled with the batch. `of` names latents as groups
    do ("z", "z[:5]"); by default all Normal ones.

    Errors: ValueError for a site whose units are no numbers with a mean and a variance (Concrete,
    categorical, Bernoulli, Dirichlet, flows), one that is observed in part or enumerated, or if no
    site is Normal.

    >>> import unweave as uw
    >>> print(uw.covariances("z", total=True))
    Σ_i≠j Cov[z]_ij²
    """
    return Objective({Covariances(of, total): 1.0})


def variances(*of: str, total: bool = False) -> Objective:
    """Σ_i (C_ii − 1)²: squared distances of the latent units' variances from 1; see
    `covariances`.
    """
    return Objective({Variances(of, total): 1.0})


def dip_vae_i(off: float | Ramp = 10.0, diag: float | Ramp = 100.0) -> Objective:
    """ELBO − λ_od Σ_{i≠j} Cov[μ]_ij² − λ_d Σ_i (Cov[μ]_ii − 1)²: DIP-VAE-I (Kumar et al., 2018).

    The covariance is that of the encoder's means, over the batch. λ_d = 10·λ_od as published;
    disentanglement_lib scans λ_od over 1 to 50, and 10 is in the middle. It takes all Normal units:
    for others, write the line with `covariances("z")`. `dip_vae` is the linear form that these
    moments stand for.
    """
    return elbo - off * covariances() - diag * variances()


def dip_vae_ii(off: float | Ramp = 10.0, diag: float | Ramp = 10.0) -> Objective:
    """ELBO − λ_od Σ_{i≠j} Cov[z]_ij² − λ_d Σ_i (Cov[z]_ii − 1)²: DIP-VAE-II (Kumar et al., 2018).

    Cov[z] = E[Σ(x)] + Cov[μ(x)], the covariance of q(z); λ_d = λ_od as published. See `dip_vae_i`.
    """
    return elbo - off * covariances(total=True) - diag * variances(total=True)


def _covariance(d: Densities, of: tuple[str, ...], total: bool) -> Tensor:
    """(units, units), site by site."""
    leaves = of or tuple(
        site for site in d.latents if isinstance(_dist(d, site), (Normal, *_CORRELATED))
    )
    if not leaves:
        raise ValueError(
            "no latent site is Normal, and moments are matched for numbers; the latents are: "
            f"{_listed(d)}. Name the sites that are to count, or use another penalty"
        )
    means, spreads = [], []
    for site, units in union(latent_blocks(d, leaves)):
        mean, spread = _moments(d, site)
        means.append(mean[:, list(units)])
        spreads.append(spread[list(units)][:, list(units)])
    mu = torch.cat(means, -1)
    mu = mu - mu.mean(0)
    covariance = mu.mT @ mu / len(mu)
    return covariance + torch.block_diag(*spreads) if total else covariance


def _moments(d: Densities, site: str) -> tuple[Tensor, Tensor]:
    """A site's means, (samples · batch, units), and its mean covariance, (units, units)."""
    dist, value = _dist(d, site), d.latents[site].value
    lead, items = value.shape[: d.lead], math.prod(value.shape[: d.lead])
    refusal = ValueError(
        f"site {site!r} is a {type(dist).__name__}, whose units are no numbers with a mean and a "
        "variance: moments are matched for sites like Normals; name those that are to count, "
        f"covariances('z'), out of: {_listed(d)}"
    )
    try:
        if isinstance(dist, _CORRELATED) and value.ndim == d.lead + 1:
            spread = dist.covariance_matrix.expand(*lead, -1, -1).flatten(0, -3).mean(0)
        elif dist.event_shape or dist.support is None or dist.support.is_discrete:
            raise refusal
        else:
            spread = dist.variance.expand(value.shape).reshape(items, -1).mean(0).diag()
        return dist.mean.expand(value.shape).reshape(items, -1), spread
    except NotImplementedError:  # torch has no variance, mean or support of it
        raise refusal from None


def _dist(d: Densities, site: str) -> Distribution:
    dist = d.latents[site].dist
    assert dist is not None
    return unwrap(dist)


def _named(term: Covariances | Variances) -> str:
    z = ",".join(term.of) or "z"
    return f"Cov[{z}]" if term.total else f"Cov[mu({z})]"


_CORRELATED = (MultivariateNormal, LowRankMultivariateNormal)


# -- kernel distance -------------------------------------------------------------------------------


@dataclass(frozen=True)
class MMD:
    kernel: Kernel = "rbf"
    bandwidth: float = 1.0
    of: tuple[str, ...] = ()

    def __call__(self, d: Densities) -> Tensor:
        part = union(latent_blocks(d, self.of))
        z = numbers(
            d, {site: d.latents[site].value for site, _ in part}, part
        )  # (*samples, batch, numbers)
        prior = numbers(d, {site: _drawn(d, site) for site, _ in part}, part)
        n = z.shape[-2]
        if n < 2:
            raise ValueError(
                f"MMD compares pairs of items, and the batch has {n}: give it 2 or more"
            )
        h = self.k(z, z) + self.k(prior, prior) - 2 * self.k(z, prior)
        pairs = h.sum((-2, -1)) - h.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (pairs / (n * (n - 1))).mean()

    def k(self, a: Tensor, b: Tensor) -> Tensor:
        """The kernel of every pair, (*samples, batch, batch)."""
        squared = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        c = 2 * a.shape[-1] * self.bandwidth**2
        return (-squared / c).exp() if self.kernel == "rbf" else c / (c + squared)

    def __str__(self) -> str:
        z = ",".join(self.of) or "z"
        return f"MMD²(q({z}), p({z}); {self.kernel}, {self.bandwidth:g})"


def mmd(kernel: Kernel = "rbf", bandwidth: float = 1.0, *, of: tuple[str, ...] = ()) -> Objective:
    """The squared maximum mean discrepancy of q(z) and p(z), for draws z_i of the batch and as many
    p_i of the prior.

    .. math:: \\frac{1}{B(B-1)} \\sum_{i \\ne j} k(z_i, z_j) + k(p_i, p_j) - 2 k(z_i, p_j)

    Unbiased where items are independent draws of x (Gretton et al., 2012, lemma 6), so it can be
    negative; a batch drawn without replacement misses the share 1/N of pairs of one item. With D
    numbers in z (a Concrete variable counts its K) and C = 2·D·bandwidth², the mean squared
    distance of two standard normal draws where the bandwidth is 1,

        rbf  k(a, b) = exp(−‖a − b‖²/C)        imq  k(a, b) = C/(C + ‖a − b‖²)

    Libraries differ here: pythae and WAE's authors use this C (WAE sums kernels of several: so can
    you, terms add up); the tutorial of InfoVAE's authors has exp(−‖a − b‖²/D²), bandwidth √(D/2),
    and keeps the pairs i = j, which adds (2 − E k(z, z') − E k(p, p'))/B. Kernels have no unit, so
    neither has this; its weight sets the scale against nats.

    Prior draws are fresh at each call, from the distributions that p recorded: B independent ones
    where they do not depend on the item, else one an item, given what the program recorded for it
    (a site that depends on another latent is drawn given q's value of it). They carry gradients
    where the distribution reparameterises, so priors can be learned. Means over sample dimensions.
    `of` names latents as groups do; by default all.

    Errors: ValueError for another kernel, a bandwidth that is not positive, a batch of one, a site
    that is observed in part or enumerated.
    """
    if kernel not in get_args(Kernel):
        raise ValueError(
            f"kernel {kernel!r}: expected one of {', '.join(map(repr, get_args(Kernel)))}"
        )
    if not bandwidth > 0:
        raise ValueError(f"bandwidth={bandwidth}: expected a number above 0, in units of z")
    return Objective({MMD(kernel, bandwidth, of): 1.0})


def mmd_vae(
    lam: float | Ramp = 1000.0,
    *,
    alpha: float | Ramp = 0.0,
    kernel: Kernel = "rbf",
    bandwidth: float = 1.0,
) -> Objective:
    """log p(x|z) − (1 − α)·KL(q(z|x) ‖ p(z)) − (α + λ − 1)·MMD²(q(z), p(z)): InfoVAE (Zhao et al.,
    2017).

    α rewards information: the form equals recon − (1 − α)·I(x;z) − λ·D(q(z) ‖ p(z)) where the two
    divergences agree, so α = 0, λ = 1 is the ELBO and α = 1 drops what every item pays. The
    defaults are those of the paper's MNIST experiments: MMD² lies between 0 and 2, so λ must be of
    the order of the reconstruction's nats. `info_vae` is the same family at α = 1 with the KL
    divergence in MMD's place.

    Errors: ValueError if α + λ < 1, where a larger MMD would be rewarded (pythae's defaults, 0 and
    0.001, do that).

    >>> import unweave as uw
    >>> print(uw.mmd_vae(11, alpha=1, kernel="imq"))
    log p(x|z) - 11·MMD²(q(z), p(z); imq, 1)
    """
    weight = alpha + lam - 1
    least = min(value for _, value in weight.knots) if isinstance(weight, Ramp) else weight
    if least < 0:
        raise ValueError(
            f"alpha + lam - 1 = {least:g} is the MMD's weight, and a negative one rewards distance "
            "from the prior: give lam of 1 - alpha or more (1000 in the paper)"
        )
    return recon - (1 - alpha) * (mi + kl[0]) - weight * mmd(kernel, bandwidth)


def _drawn(d: Densities, site: str) -> Tensor:
    """A fresh draw from a site's prior for every item, of the shape of q's."""
    dist, value = d.p[site].dist, d.latents[site].value
    assert dist is not None
    dist = dist.expand(value.shape[: value.ndim - len(dist.event_shape)])
    draw: Tensor = dist.rsample() if dist.has_rsample else dist.sample()
    return draw


# -- latent units as numbers -----------------------------------------------------------------------


def latent_blocks(d: Densities, of: tuple[str, ...] = (), level: int = 0) -> list[Block]:
    """The blocks of a level of the group tree, or their parts in `of`, if every item drew a value
    there.

    Errors: ValueError if there is no such level, no latent site, or one is observed for some items
    or enumerated.
    """
    depth = len(d.levels)
    if not -depth <= level < depth:
        raise ValueError(
            f"the tree of groups has levels 0 to {depth - 1}, level {level} was asked for"
        )
    within = union(block(leaf, d.shapes) for leaf in of or d.latents)
    if any(node.role == "enumerated" for node in d.q.values()):
        raise ValueError(
            "a categorical site of q is enumerated, and this term compares draws, one an item: "
            "relax the site, q.concrete(logits, temperature, …)"
        )
    for site, _ in within:
        if d.q[site].observed is not False:
            raise ValueError(
                f"site {site!r} is observed, for some items at least, and this term compares draws "
                f"of all items: name the latents that are to count, out of: {_listed(d)}"
            )
    return [part for whole in d.levels[level] if (part := intersect(whole, within))]


def numbers(d: Densities, values: Mapping[str, Tensor], part: Block) -> Tensor:
    """A block's units side by side, (*samples, batch, numbers): one a scalar, K a variable on K
    classes.
    """
    columns = []
    for site, units in part:
        each = values[site].reshape(*values[site].shape[: d.lead], math.prod(d.shapes[site]), -1)
        columns.append(each[..., list(units), :].flatten(-2))
    return torch.cat(columns, -1)


def _listed(d: Densities) -> str:
    return ", ".join(map(repr, d.latents)) or "none"
