"""Penalties: terms of objectives that are statistics of a batch.

Capacities, moments and kernel distances are no linear forms on log-densities. Each is an Objective
of one term, so that it adds up with the others; a published objective is a line of them:

    >>> import unweave as uw
    >>> print(uw.elbo - 10 * uw.covariances() - 5 * uw.mmd("imq"))
    log p(x|z) - log q(z|x) + log p(z) - 10·Σ_i≠j Cov[mu(z)]_ij² - 5·MMD²(q(z), p(z); imq, 1)

Scored, they add the same number to every item. A statistic that is not linear in the items is
biased when it is estimated from a minibatch, as each function says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, LowRankMultivariateNormal, MultivariateNormal, Normal

from ..trace.groups import union
from ..trace.marginals import unwrap
from .atoms import Coefficient
from .densities import Densities
from .latents import drawn_numbers, latent_blocks, listed, numbers
from .literature import elbo, kl, mi, recon
from .objective import Objective
from .schedule import Ramp, least, not_negative

Kernel = Literal["rbf", "imq"]


# -- capacity --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capacity:
    """The distance of a form's mean from a number of nats; see `capacity`."""

    form: Objective = field(hash=False)
    nats: Coefficient

    def at(self, step: int) -> Capacity:
        """Return the term of one step, with numbers for schedules."""
        nats = self.nats(step) if isinstance(self.nats, Ramp) else self.nats
        return Capacity(self.form.at(step), nats)

    def on(self, *latents: str) -> Capacity:
        """Return the same term of some of the latents."""
        return Capacity(self.form.of(*latents), self.nats)

    def __call__(self, d: Densities) -> Tensor:
        if isinstance(self.nats, Ramp):
            raise ValueError(f"the capacity is a schedule, {self.nats}: score objective.at(step)")
        mean = d.score(self.form).mean()
        return (mean - self.nats).abs()

    def __str__(self) -> str:
        is_number = not isinstance(self.nats, Ramp)
        nats = f"{self.nats:g}" if is_number else str(self.nats)
        return f"|mean({self.form}) - {nats}|"


@not_negative("nats")
def capacity(form: Objective, nats: Coefficient) -> Objective:
    """Return the distance of a form's mean over the batch (and samples) from C = `nats`.

    .. math:: |\\frac{1}{B} \\sum_n f_n - C|

    C is a number or a schedule. The mean is inside: items may differ in what they spend, as in
    Burgess et al. (2018) and their followers. Restricted forms give each group a capacity of its
    own, as JointVAE does for its discrete code (Dupont, 2018):

    >>> import unweave as uw
    >>> spent = uw.mi + uw.kl[0]
    >>> joint_vae = uw.recon - 30 * uw.capacity(spent.of("z"), 5.0)
    >>> joint_vae -= 30 * uw.capacity(spent.of("y"), 2.3)
    """
    return Objective({Capacity(form, nats): 1.0})


@not_negative("gamma", "capacity")
def annealed_vae(gamma: Coefficient = 1000.0, capacity: Coefficient = 25.0) -> Objective:
    """log p(x|z) − γ·|mean KL(q(z|x) ‖ p(z)) − C|: the capacity-controlled VAE.

    Source: Burgess et al. (2018).

    γ = 1000 and the last C = 25 nats are the paper's for dSprites. There C grows from 0 while
    training, in disentanglement_lib over the first 100,000 steps:

    >>> import unweave as uw
    >>> annealed = uw.annealed_vae(capacity=uw.ramp(0, 25, last=100_000))
    >>> print(annealed.at(50_000))
    log p(x|z) - 1000·|mean(log q(z|x) - log p(z)) - 12.5|
    """
    spent = Capacity(mi + kl[0], capacity)
    return recon - gamma * Objective({spent: 1.0})


# -- moments ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Covariances:
    """The squared covariances of latent units; see `covariances`."""

    of: tuple[str, ...] = ()
    total: bool = False

    def on(self, *latents: str) -> Covariances:
        """Return the same term of some of the latents."""
        return replace(self, of=latents)

    def __call__(self, d: Densities) -> Tensor:
        covariance = _covariance(d, self.of, self.total)
        squares = covariance.square()
        of_variances = squares.diagonal()
        return squares.sum() - of_variances.sum()

    def __str__(self) -> str:
        return f"Σ_i≠j {_named(self)}_ij²"


@dataclass(frozen=True)
class Variances:
    """The squared distances of latent units' variances from 1; see `variances`."""

    of: tuple[str, ...] = ()
    total: bool = False

    def on(self, *latents: str) -> Variances:
        """Return the same term of some of the latents."""
        return replace(self, of=latents)

    def __call__(self, d: Densities) -> Tensor:
        covariance = _covariance(d, self.of, self.total)
        gap = covariance.diagonal() - 1
        return gap.square().sum()

    def __str__(self) -> str:
        return f"Σ_i ({_named(self)}_ii - 1)²"


def covariances(*of: str, total: bool = False) -> Objective:
    """Return the squared covariances of the latent units, summed over ordered pairs.

    .. math:: \\sum_{i \\ne j} C_{ij}^2, \\quad
              C = \\mathrm{Cov}_x[μ(x)] \\; (\\, + E_x[Σ(x)] \\text{ if total})

    with μ(x), Σ(x) the mean and covariance of q(z|x). Each pair counts twice, as published. With
    `total`, C is the covariance of q(z), by the law of total variance; E[Σ(x)] of sites that
    factorise stands on the diagonal, that of a multivariate normal is a full matrix. (Public
    implementations exist that add it to every cell: the penalty then rewards what it should not.)

    Covariances divide by B, not B − 1: exact where the batch is the data set. A minibatch
    gives a square too large by the estimate's variance: independent unit variances give about 1/B a
    pair, D(D−1)/B in all. Sample dimensions are pooled with the batch. `of` names latents as groups
    do ("z", "z[:5]"); by default all Normal ones.

    >>> import unweave as uw
    >>> print(uw.covariances("z", total=True))
    Σ_i≠j Cov[z]_ij²

    Raises:
        ValueError: When it is scored: a site's units are no numbers with a mean and a variance
            (Concrete, categorical, Bernoulli, Dirichlet, flows), a site is observed in part or
            enumerated, or no site is Normal.
    """
    return Objective({Covariances(of, total): 1.0})


def variances(*of: str, total: bool = False) -> Objective:
    """Return Σ_i (C_ii − 1)², the squared distances of variances from 1; see `covariances`."""
    return Objective({Variances(of, total): 1.0})


@not_negative("off", "diag")
def dip_vae_i(off: Coefficient = 10.0, diag: Coefficient = 100.0) -> Objective:
    """ELBO − λ_od Σ_{i≠j} Cov[μ]_ij² − λ_d Σ_i (Cov[μ]_ii − 1)²: DIP-VAE-I (Kumar et al., 2018).

    The covariance is that of the encoder's means, over the batch. λ_d = 10·λ_od as published;
    disentanglement_lib scans λ_od over 1 to 50, and 10 is in the middle. It takes all Normal units:
    for others, write the line with `covariances("z")`. `dip_vae` is the linear form that these
    moments stand for.
    """
    return elbo - off * covariances() - diag * variances()


@not_negative("off", "diag")
def dip_vae_ii(off: Coefficient = 10.0, diag: Coefficient = 10.0) -> Objective:
    """ELBO − λ_od Σ_{i≠j} Cov[z]_ij² − λ_d Σ_i (Cov[z]_ii − 1)²: DIP-VAE-II (Kumar et al., 2018).

    Cov[z] = E[Σ(x)] + Cov[μ(x)], the covariance of q(z); λ_d = λ_od as published. See `dip_vae_i`.
    """
    covariance, variance = covariances(total=True), variances(total=True)
    return elbo - off * covariance - diag * variance


def _covariance(d: Densities, of: tuple[str, ...], total: bool) -> Tensor:
    """Return C, (units, units), of the latents `of`, site by site."""
    normal = (Normal, *_CORRELATED)
    normals = [site for site in d.latents if isinstance(_dist(d, site), normal)]
    leaves = of or tuple(normals)
    if not leaves:
        raise ValueError(
            "no latent site is Normal, and moments are matched for numbers; the latents are: "
            f"{listed(d)}. Name the sites that are to count, or use another penalty"
        )
    means, spreads = [], []
    for site, units in union(latent_blocks(d, leaves)):
        mean, spread = _moments(d, site)
        some = list(units)
        means.append(mean[:, some])
        spreads.append(spread[some][:, some])
    mu = torch.cat(means, -1)  # (samples · batch, units)
    mu = mu - mu.mean(0)
    covariance = mu.mT @ mu / len(mu)
    return covariance + torch.block_diag(*spreads) if total else covariance


def _moments(d: Densities, site: str) -> tuple[Tensor, Tensor]:
    """Return a site's means, (samples · batch, units), and its mean covariance, (units, units)."""
    dist = _dist(d, site)
    value = d.latents[site].value
    lead = value.shape[: d.lead]  # (*samples, batch)
    items = math.prod(lead)
    refusal = ValueError(
        f"site {site!r} is a {type(dist).__name__}, whose units are no numbers with a mean and a "
        "variance: moments are matched for sites like Normals; name those that are to count, "
        f"covariances('z'), out of: {listed(d)}"
    )
    try:
        if isinstance(dist, _CORRELATED) and value.ndim == d.lead + 1:
            each = dist.covariance_matrix.expand(*lead, -1, -1)  # (*samples, batch, units, units)
            spread = each.flatten(0, -3).mean(0)
        elif dist.event_shape or dist.support is None or dist.support.is_discrete:
            raise refusal
        else:
            variance = dist.variance.expand(value.shape).reshape(items, -1)
            spread = variance.mean(0).diag()
        mean = dist.mean.expand(value.shape).reshape(items, -1)
        return mean, spread
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
    """The squared distance of q(z) and p(z) under a kernel; see `mmd`."""

    kernel: Kernel = "rbf"
    bandwidth: float = 1.0
    of: tuple[str, ...] = ()

    def on(self, *latents: str) -> MMD:
        """Return the same term of some of the latents."""
        return replace(self, of=latents)

    def __call__(self, d: Densities) -> Tensor:
        part = union(latent_blocks(d, self.of))
        z = drawn_numbers(d, part)  # (*samples, batch, numbers)
        draws = {site: _from_prior(d, site) for site, _ in part}
        prior = numbers(d, draws, part)
        n = z.shape[-2]
        if n < 2:
            raise ValueError(
                f"MMD compares pairs of items, and the batch has {n}: give it 2 or more"
            )
        alike = self.k(z, z) + self.k(prior, prior)  # (*samples, batch, batch)
        across = self.k(z, prior)
        h = alike - 2 * across
        own = h.diagonal(dim1=-2, dim2=-1).sum(-1)
        pairs = h.sum((-2, -1)) - own  # (*samples)
        count = n * (n - 1)
        return (pairs / count).mean()

    def k(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the kernel of every pair, (*samples, batch, batch)."""
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        squared = distance.square()
        c = 2 * a.shape[-1] * self.bandwidth**2
        if self.kernel == "rbf":
            return (-squared / c).exp()
        return c / (c + squared)

    def __str__(self) -> str:
        z = ",".join(self.of) or "z"
        kernel = f"{self.kernel}, {self.bandwidth:g}"
        return f"MMD²(q({z}), p({z}); {kernel})"


def mmd(kernel: Kernel = "rbf", bandwidth: float = 1.0, *, of: tuple[str, ...] = ()) -> Objective:
    """Return the squared maximum mean discrepancy of q(z) and p(z).

    .. math:: \\frac{1}{B(B-1)} \\sum_{i \\ne j} k(z_i, z_j) + k(p_i, p_j) - 2 k(z_i, p_j)

    for draws z_i of the batch and as many p_i of the prior. Unbiased where items are independent
    draws of x (Gretton et al., 2012, lemma 6), so it can be negative; a batch drawn without
    replacement misses the share 1/N of pairs of one item. With D numbers in z (a Concrete variable
    counts its K) and C = 2·D·bandwidth², the mean squared distance of two standard normal draws
    where the bandwidth is 1,

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

    Raises:
        ValueError: Another kernel, or a bandwidth that is not positive; when it is scored, a batch
            of one, or a site that is observed in part or enumerated.
    """
    kernels = get_args(Kernel)
    if kernel not in kernels:
        expected = ", ".join(map(repr, kernels))
        raise ValueError(f"kernel {kernel!r}: expected one of {expected}")
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth={bandwidth}: expected a number above 0, finite, in units of z")
    return Objective({MMD(kernel, bandwidth, of): 1.0})


def mmd_vae(
    lam: Coefficient = 1000.0,
    *,
    alpha: Coefficient = 0.0,
    kernel: Kernel = "rbf",
    bandwidth: float = 1.0,
) -> Objective:
    """log p(x|z) − (1 − α)·KL(q(z|x) ‖ p(z)) − (α + λ − 1)·MMD²(q(z), p(z)): InfoVAE.

    Source: Zhao et al. (2017).

    α rewards information: the form equals recon − (1 − α)·I(x;z) − λ·D(q(z) ‖ p(z)) where the two
    divergences agree, so α = 0, λ = 1 is the ELBO and α = 1 drops what every item pays. The
    defaults are those of the paper's MNIST experiments: MMD² lies between 0 and 2, so λ must be of
    the order of the reconstruction's nats. `info_vae` is the same family at α = 1 with the KL
    divergence in MMD's place.

    >>> import unweave as uw
    >>> print(uw.mmd_vae(11, alpha=1, kernel="imq"))
    log p(x|z) - 11·MMD²(q(z), p(z); imq, 1)

    Raises:
        ValueError: α + λ < 1, where a larger MMD would be rewarded (pythae's defaults, 0 and
            0.001, do that).
    """
    weight = alpha + lam - 1
    lowest = least(weight)
    if lowest < 0:
        raise ValueError(
            f"alpha + lam - 1 = {lowest:g} is the MMD's weight, and a negative one rewards "
            "distance from the prior: give lam of 1 - alpha or more (1000 in the paper)"
        )
    distance = mmd(kernel, bandwidth)
    return recon - (1 - alpha) * (mi + kl[0]) - weight * distance


def _from_prior(d: Densities, site: str) -> Tensor:
    """Draw afresh from a site's prior for every item, in the shape of q's draws."""
    value = d.latents[site].value
    dist = d.p[site].dist
    assert dist is not None
    entries = value.shape[: value.ndim - len(dist.event_shape)]
    dist = dist.expand(entries)
    draw: Tensor = dist.rsample() if dist.has_rsample else dist.sample()
    return draw
