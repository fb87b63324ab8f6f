"""Objectives: linear forms on a few log-densities, and the literature's sums of them."""

from .atoms import Atom as Atom
from .densities import Densities as Densities
from .densities import Term as Term
from .literature import beta_vae as beta_vae
from .literature import bottleneck as bottleneck
from .literature import corex as corex
from .literature import dip_vae as dip_vae
from .literature import elbo as elbo
from .literature import evidence as evidence
from .literature import hfvae as hfvae
from .literature import info_vae as info_vae
from .literature import kl as kl
from .literature import label as label
from .literature import mi as mi
from .literature import recon as recon
from .literature import tc as tc
from .literature import tc_vae as tc_vae
from .objective import Objective as Objective
