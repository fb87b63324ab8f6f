"""Named terms, and the literature's objectives as sums of them.

Terms are the non-negative quantities that people plot; objectives, to be maximised, carry minus
signs:

    mi    = posterior − q[0]      I_q(x;z)                                            −②
    kl[l] = q[l] − p[l]           Σ_blocks KL(q(z_block) ‖ p(z_block))                −④, −Ⓑ, −ⓘⓘ
    tc[l] = kl[l] − kl[l+1]       total correlation between levels l and l+1,
                                  less the prior's                                    −Ⓐ, −ⓘ

Source: Esmaeili et al., "Structured Disentangled Representations" (2019), whose table of objectives
the aliases spell out. Everything is in nats; the constant log N by which ① + ③ exceeds `recon` is
dropped. Coefficients of penalties are 0 or more: a ValueError names one that is not.
"""

from __future__ import annotations

from .atoms import Atom, Coefficient
from .objective import Objective
from .schedule import not_negative


class LevelsOfKL:
    """A KL divergence for each level of the group tree: `kl[0]`, `kl[-1]`."""

    def __getitem__(self, level: int | slice) -> Objective:
        if isinstance(level, slice):
            raise TypeError("kl takes one level, such as kl[0] or kl[-1]; slices are for tc")
        log_q = Atom("q", level)
        log_p = Atom("p", level)
        return Objective({log_q: 1.0, log_p: -1.0})

    def __repr__(self) -> str:
        return "kl[level]"


class LevelsOfTC:
    """A total correlation for each level: `tc[1]`, and `tc[a:b]`, the sum of levels a to b−1."""

    def __getitem__(self, level: int | slice) -> Objective:
        if not isinstance(level, slice):
            above = _partition_above(level)
            return kl[above] - kl[above + 1]
        if level.step is not None:
            raise TypeError("tc takes slices without a step: add the levels that you want")
        first = _partition_above(level.start or 0)
        last = -1 if level.stop is None else _partition_above(level.stop)
        return kl[first] - kl[last]

    def __repr__(self) -> str:
        return "tc[level]"


def _partition_above(level: int) -> int:
    """Count from the end of the partitions, of which there is one more than there are tcs."""
    return level if level >= 0 else level - 1


recon = Objective({Atom("recon"): 1.0})
label = Objective({Atom("label"): 1.0})
evidence = Objective({Atom("evidence"): 1.0})
mi = Objective({Atom("posterior"): 1.0, Atom("q"): -1.0})
kl = LevelsOfKL()
tc = LevelsOfTC()


# -- the literature's table ------------------------------------------------------------------------

elbo = recon - mi - kl[0]
"""① + ② + ③ + ④: the evidence lower bound (Kingma and Welling, 2014; Rezende et al., 2014)."""


@not_negative("beta")
def beta_vae(beta: Coefficient) -> Objective:
    """① + ③ + β(② + ④): β-VAE (Higgins et al., 2017)."""
    return recon - beta * (mi + kl[0])


@not_negative("lam")
def dip_vae(lam: Coefficient) -> Objective:
    """① + ② + ③ + λ④: DIP-VAE (Kumar et al., 2018) as a linear form.

    The paper trains on matched moments: see `dip_vae_i`.
    """
    return recon - mi - lam * kl[0]


@not_negative("lam")
def info_vae(lam: Coefficient) -> Objective:
    """① + ③ + λ④: InfoVAE (Zhao et al., 2017) at its α = 1, with the KL divergence as D."""
    return recon - lam * kl[0]


@not_negative("lam")
def corex(lam: Coefficient, anchor: str) -> Objective:
    """① + ② + ③ + ④ − λ②ᵃ: information in the anchored latents is rewarded (Gao et al., 2018)."""
    return elbo + lam * mi.of(anchor)


@not_negative("beta", "gamma")
def bottleneck(beta: Coefficient, gamma: Coefficient) -> Objective:
    """① + ③ + β② + γⒶ*: information dropout (Achille and Soatto, 2018); Ⓐ* is over single units."""
    return recon - beta * mi - gamma * tc[:]


@not_negative("beta")
def tc_vae(beta: Coefficient) -> Objective:
    """① + ② + ③ + Ⓑ* + βⒶ*, over single units: FactorVAE and β-TCVAE.

    Source: Kim and Mnih (2018); Chen et al. (2018).
    """
    return recon - mi - beta * tc[:] - kl[-1]


@not_negative("beta", "gamma")
def hfvae(alpha: Coefficient = 1.0, beta: Coefficient = 1.0, gamma: Coefficient = 1.0) -> Objective:
    """① + ③ + ⓘⓘ + α② + βⒶ + γⓘ: HFVAE (Esmaeili et al., 2019).

    β weighs the correlation between the top groups, γ that of every level below: for a coefficient
    of its own for each level write `recon - alpha*mi - b0*tc[0] - b1*tc[1] - … - kl[-1]`.
    """
    return recon - alpha * mi - beta * tc[0] - gamma * tc[1:] - kl[-1]
