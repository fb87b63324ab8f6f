"""Random programs: every term against loops over items, classes, blocks and draws, in float64.

A program that fails is `batch(seed)` of the seed in its name. Terms that the library refuses, with
a reason, are left out; most are not refused.
"""

import numpy as np
import pytest
import torch
from support.generator import Batch, batch
from support.programs import float64  # noqa: F401

import unweave as uw

PROGRAMS = 400
PART = 20
"""Programs in one test."""
REASONS = ("integrates over", "have a part only", "one by one", "an integral that is not known",
           "sums over the classes", "keeps its site's units together")  # fmt: skip


def compared(b: Batch, kind: str, level: int) -> np.ndarray | None:
    """Compare an atom of a batch, and return its value by loops; None if it is refused."""
    atom = uw.Atom(kind, level)
    try:
        with torch.no_grad():
            found = b.densities[atom]
    except ValueError as refusal:
        if not any(reason in str(refusal) for reason in REASONS):
            raise
        return None
    by_loops = b.twin.atom(kind, level)
    found = np.broadcast_to(found.numpy(), by_loops.shape)
    np.testing.assert_allclose(found, by_loops, rtol=1e-8, atol=1e-8, err_msg=f"{atom}")
    return by_loops


def terms(b: Batch, atoms: dict) -> list:
    """The terms of the bound as sums of atoms, by their definitions."""
    depth = len(b.densities.levels)
    sums = []
    defined = [(uw.mi, ("posterior", 0), ("q", 0))]
    defined += [(uw.kl[level], ("q", level), ("p", level)) for level in range(depth)]
    for term, plus, minus in defined:
        if atoms[plus] is not None and atoms[minus] is not None:
            sums.append((term, atoms[plus] - atoms[minus]))
    for level in range(depth - 1):
        parts = [("q", level), ("q", level + 1), ("p", level), ("p", level + 1)]
        found = [atoms[part] for part in parts]
        if all(part is not None for part in found):
            sums.append((uw.tc[level], found[0] - found[1] - found[2] + found[3]))
    return sums


@pytest.mark.parametrize("first", range(0, PROGRAMS, PART))
def test_every_term_of_a_random_program_is_what_loops_give(first):
    refused, asked = 0, 0
    for seed in range(first, first + PART):
        b = batch(seed)
        wanted = [("recon", 0), ("label", 0), ("posterior", 0)]
        for level in range(len(b.densities.levels)):
            wanted += [("q", level), ("p", level)]
        try:
            for name, above in b.densities._prior.dependence.ancestors.items():
                assert above >= set(b.program.sites[name].above_p) & set(b.densities.latents)
            atoms = {key: compared(b, *key) for key in wanted}
            for term, by_loops in terms(b, atoms):
                found = b.densities.score(term).numpy()
                found = np.broadcast_to(found, by_loops.shape)
                np.testing.assert_allclose(found, by_loops, rtol=1e-8, atol=1e-8, err_msg=f"{term}")
        except Exception as fault:
            raise AssertionError(f"batch({seed}), {b.mode}: {b.program.sites}") from fault
        refused += sum(value is None for value in atoms.values())
        asked += len(atoms)
    assert refused < 0.15 * asked
