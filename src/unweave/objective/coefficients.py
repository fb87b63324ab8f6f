"""The table of an objective's coefficients: atoms that are one, and those that make a whole KL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .atoms import Atom
from .blocks import Groups, from_coarsest, levels, within
from .prior import Prior


def merged(table: Mapping[Atom, float], groups: Groups, prior: Prior) -> dict[Atom, float]:
    """Merge atoms that are one: the same level, or any levels of a prior that factorises."""
    depth = len(levels(groups)) or 1
    sums: dict[Atom, float] = {}
    for given, c in table.items():
        atom = from_coarsest(given, depth)
        if atom.kind == "p" and atom.level and prior.factorises:
            atom = atom._replace(level=0)
        before = sums.get(atom, 0.0)
        sums[atom] = before + c
    return {atom: c for atom, c in sums.items() if not math.isclose(c, 0, abs_tol=1e-12)}


def take_whole_kls(table: dict[Atom, float], groups: Groups, prior: Prior) -> dict[Atom, float]:
    """Take every c·(posterior − p) that can be integrated analytically out of a table."""
    taken: dict[Atom, float] = {}
    if Atom("evidence") in table:
        return taken
    for atom, c in list(table.items()):
        if atom.kind == "posterior":
            of_prior = Atom("p", 0, atom.of)
            c_of_prior = table.get(of_prior, 0.0)
            if math.isclose(c_of_prior, -c) and _is_whole(atom, groups, prior):
                del table[atom]
                del table[of_prior]
                taken[atom] = c
    return taken


def _is_whole(atom: Atom, groups: Groups, prior: Prior) -> bool:
    """Return true if no class outside the atom's latents is summed over, in q or in the prior."""
    pair = prior.pair
    whole = within(groups, atom.of)
    if not pair.depth or not whole:
        return True
    in_q = pair.sums_classes(pair.q, whole)
    return not in_q and not pair.sums_classes(prior.trace, whole)


def scaled(c: float, t: Tensor) -> Tensor:
    """Return c · t, without an operation where c is one."""
    return t if c == 1 else c * t


def weighted_sum(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return Σ weight · tensor: one product of a matrix, if the tensors are of one shape."""
    first = tensors[0]
    shapes = {t.shape for t in tensors}
    if len(shapes) == 1:
        row = first.new_tensor(weights)
        stacked = torch.stack(list(tensors))  # (tensors, …)
        total: Tensor = torch.tensordot(row, stacked, 1)
        return total
    total = torch.zeros((), device=first.device)
    for t, weight in zip(tensors, weights, strict=True):
        total = total + weight * t
    return total
