"""Objectives from text."""

import pytest

import unweave as uw
from unweave.objective.formula import formula


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("vae", uw.elbo),
        ("iwae", uw.evidence),
        ("beta_vae(4)", uw.beta_vae(4)),
        ("tc_vae(beta=6)", uw.tc_vae(6)),
        (" hfvae(1, 12, 4) + 0.5*label ", uw.hfvae(1, 12, 4) + 0.5 * uw.label),
        ("corex(2, 'y')", uw.corex(2, "y")),
        (
            "-(-recon + mi.of('z[:2]', 'y'))/2 - tc[1:] - tc[:-1]",
            (uw.recon - uw.mi.of("z[:2]", "y")) / 2 - uw.tc[1:] - uw.tc[:-1],
        ),
        ("beta_vae(ramp(0, 4, last=10))", uw.beta_vae(uw.ramp(0, 4, last=10))),
        ("mmd_vae()", uw.mmd_vae()),
        ("dip_vae_ii()", uw.dip_vae_ii()),
    ],
)
def test_formulas_are_the_objectives_they_write(text, same):
    assert formula(text) == same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recon -", "invalid syntax"),
        ("recon - x", "names 'x'; expected one of: recon, label"),
        ("hfvae", "is a function: call it"),
        ("3 + 4", "is 7; expected terms"),
        ("recon(3)", "'recon' cannot be called"),
        ("recon.coefficients", "is no arithmetic"),
        ("mi.of.__class__('y')", "cannot be called"),
        ("__import__('os')", "names '__import__'"),
        ("[recon for _ in mi]", "is no arithmetic"),
        ("hfvae(*[1])", "is no arithmetic"),
        ("hfvae(**mi)", "is no arithmetic"),
        ("kl[0:1]", "kl takes one level"),
        ("beta_vae(1, 2, 3)", "takes 1 positional argument"),
        ("recon ** 2", "is no arithmetic"),
    ],
)
def test_what_is_no_formula_is_named(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        formula(text)
