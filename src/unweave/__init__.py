"""Structured, disentangled representations from deep probabilistic programs.

Names load when first used, so that `import unweave` (and the command's help) does not wait for
torch.
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
    from .aggregate.mixture import balanced as balanced
    from .aggregate.mixture import exact as exact
    from .aggregate.mixture import minibatch as minibatch
    from .aggregate.mixture import stratified as stratified
    from .aggregate.mixture import weighted as weighted
    from .objective.conditioned import conditioned as conditioned
    from .objective.critic import Critic as Critic
    from .objective.critic import Critics as Critics
    from .objective.critic import critic_tc as critic_tc
    from .objective.critic import factor_vae as factor_vae
    from .objective.formula import formula as formula
    from .objective.objective import Atom as Atom
    from .objective.objective import Densities as Densities
    from .objective.objective import Objective as Objective
    from .objective.objective import beta_vae as beta_vae
    from .objective.objective import bottleneck as bottleneck
    from .objective.objective import corex as corex
    from .objective.objective import dip_vae as dip_vae
    from .objective.objective import elbo as elbo
    from .objective.objective import evidence as evidence
    from .objective.objective import hfvae as hfvae
    from .objective.objective import info_vae as info_vae
    from .objective.objective import kl as kl
    from .objective.objective import label as label
    from .objective.objective import mi as mi
    from .objective.objective import recon as recon
    from .objective.objective import tc as tc
    from .objective.objective import tc_vae as tc_vae
    from .objective.penalties import annealed_vae as annealed_vae
    from .objective.penalties import capacity as capacity
    from .objective.penalties import covariances as covariances
    from .objective.penalties import dip_vae_i as dip_vae_i
    from .objective.penalties import dip_vae_ii as dip_vae_ii
    from .objective.penalties import mmd as mmd
    from .objective.penalties import mmd_vae as mmd_vae
    from .objective.penalties import variances as variances
    from .objective.schedule import Ramp as Ramp
    from .objective.schedule import ramp as ramp
    from .run import Run as Run
    from .run import fit as fit
    from .runs.artifact import load as load
    from .runs.artifact import save as save
    from .scoring.card import ScoreCard as ScoreCard
    from .scoring.card import score as score
    from .trace.concrete import Concrete as Concrete
    from .trace.node import Node as Node
    from .trace.trace import Trace as Trace
    from .training.recipe import Recipe as Recipe

_HOME = {
    "aggregate.mixture": "balanced exact minibatch stratified weighted",
    "objective.conditioned": "conditioned",
    "objective.critic": "Critic Critics critic_tc factor_vae",
    "objective.formula": "formula",
    "objective.objective": "Atom Densities Objective beta_vae bottleneck corex dip_vae elbo evidence hfvae info_vae kl label mi recon tc tc_vae",
    "objective.penalties": "annealed_vae capacity covariances dip_vae_i dip_vae_ii mmd mmd_vae variances",
    "objective.schedule": "Ramp ramp",
    "run": "Run fit",
    "runs.artifact": "load save",
    "scoring.card": "ScoreCard score",
    "trace": "Concrete Node Trace",
    "training.recipe": "Recipe",
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
