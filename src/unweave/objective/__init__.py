"""Objectives: linear forms on a few log-densities, their relatives, and the literature's
aliases.
"""

from .objective import Atom as Atom
from .objective import Densities as Densities
from .objective import Objective as Objective
from .objective import Term as Term
from .objective import beta_vae as beta_vae
from .objective import bottleneck as bottleneck
from .objective import corex as corex
from .objective import dip_vae as dip_vae
from .objective import elbo as elbo
from .objective import evidence as evidence
from .objective import hfvae as hfvae
from .objective import info_vae as info_vae
from .objective import kl as kl
from .objective import label as label
from .objective import mi as mi
from .objective import recon as recon
from .objective import tc as tc
from .objective import tc_vae as tc_vae
