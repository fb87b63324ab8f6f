"""Objectives from text."""

import re

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
        ("elbo / 0", "division by zero"),
        ("1 / (2 - 2) * elbo", "division by zero"),
        ("tc['a']", "\"'a'\" is no level; expected whole numbers"),
        ("tc[0.5:]", "'0.5:' is no level"),
        ("tc[tc[0]]", "'tc[0]' is no level"),
        ("elbo[0]", "'elbo' has no levels; kl and tc have"),
        ("'a' * 9999999999 * elbo", "adds or scales \"'a'\"; expected numbers"),
        ("(1, 2) * 9999999999 * elbo", "adds or scales '(1, 2)'"),
        ("True * elbo", "adds or scales 'True'"),
        ("2 * hfvae", "adds or scales 'hfvae': call it"),
        ("elbo.of", "'elbo.of' is no arithmetic"),
        ("elbo.at(3)", "'elbo.at' cannot be called"),
        ("elbo.of(3)", "latents of of is 3; expected text"),
        ("beta_vae('a')", "beta of beta_vae is 'a'; expected a number or a schedule"),
        ("beta_vae(True)", "beta of beta_vae is True"),
        ("beta_vae(elbo)", "beta of beta_vae is 'log p(x|z)"),
        ("ramp('a', 1) * elbo", "start of ramp is 'a'; expected a number"),
        ("ramp(0, 1, 0.5) * elbo", "first of ramp is 0.5; expected a whole number"),
        ("conditioned(3)", "form of conditioned is 3; expected terms"),
        ("critic_tc(hidden=256)", "hidden of critic_tc is 256; expected (a whole number, …)"),
        ("critic_tc(betas=(0.5,))", "betas of critic_tc is (0.5,)"),
        ("mmd('cubic')", "kernel of mmd is 'cubic'; expected 'rbf', 'imq'"),
        ("1e400 * elbo", "a number beyond ±1e+15"),
        ("1" + 400 * "0" + " * elbo", "a number beyond ±1e+15"),
        (" * ".join(40 * ["1e15"]) + " * elbo", "a number beyond ±1e+15"),
        ("1e9 * (1e9 * elbo)", "a number beyond ±1e+15"),
        ("ramp(0, 1e9) * 1e9 * elbo", "a number beyond ±1e+15"),
        (500 * "-" + "elbo", "nests more than 64 levels"),
        ("+".join(100 * ["elbo"]), "nests more than 64 levels"),
        (300 * "(" + "elbo" + 300 * ")", "too many nested parentheses"),
        (100_000 * "-" + "elbo", "has 100,004 characters; expected at most 1,000"),
        ("elbo\0", "null bytes"),
        ("elbo.of('\ud800')", "surrogates not allowed"),
        ("", "invalid syntax"),
    ],
)
def test_what_is_no_formula_is_named(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        formula(text)
