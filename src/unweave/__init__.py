"""Structured, disentangled representations from deep probabilistic programs.

Names load when first used, so that `import unweave` (and the command's help) does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import data as data
    from . import metrics as metrics
    from . import models as models
    from . import nets as nets
    from . import plots as plots
    from . import recipes as recipes
    from .aggregate import balanced as balanced
    from .aggregate import exact as exact
    from .aggregate import minibatch as minibatch
    from .aggregate import stratified as stratified
    from .aggregate import weighted as weighted
    from .artifact import load as load
    from .artifact import save as save
    from .conditioning import conditioned as conditioned
    from .critic import Critic as Critic
    from .critic import Critics as Critics
    from .critic import critic_tc as critic_tc
    from .critic import factor_vae as factor_vae
    from .formulas import formula as formula
    from .objective import Atom as Atom
    from .objective import Densities as Densities
    from .objective import Objective as Objective
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
    from .penalties import annealed_vae as annealed_vae
    from .penalties import capacity as capacity
    from .penalties import covariances as covariances
    from .penalties import dip_vae_i as dip_vae_i
    from .penalties import dip_vae_ii as dip_vae_ii
    from .penalties import mmd as mmd
    from .penalties import mmd_vae as mmd_vae
    from .penalties import variances as variances
    from .run import Run as Run
    from .run import fit as fit
    from .schedule import Ramp as Ramp
    from .schedule import ramp as ramp
    from .scorecard import ScoreCard as ScoreCard
    from .scorecard import score as score
    from .trace import Concrete as Concrete
    from .trace import Node as Node
    from .trace import Trace as Trace
    from .train import Recipe as Recipe

_HOME = {
    "artifact": "load save",
    "aggregate": "balanced exact minibatch stratified weighted",
    "conditioning": "conditioned",
    "critic": "Critic Critics critic_tc factor_vae",
    "formulas": "formula",
    "objective": "Atom Densities Objective beta_vae bottleneck corex dip_vae elbo evidence hfvae info_vae kl label "
    "mi recon tc tc_vae",
    "penalties": "annealed_vae capacity covariances dip_vae_i dip_vae_ii mmd mmd_vae variances",
    "run": "Run fit",
    "schedule": "Ramp ramp",
    "scorecard": "ScoreCard score",
    "trace": "Concrete Node Trace",
    "train": "Recipe",
}
_MODULES = ("data", "metrics", "models", "nets", "plots", "recipes")
_WHERE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"unweave has no {name!r}; it has: {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return sorted([*_WHERE, *_MODULES])
