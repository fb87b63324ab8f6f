import itertools
import math
import random
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.programs import (
    balanced_row,
    covariances,
    decode,
    drawn,
    each_item,
    encode,
    float64,  # noqa: F401
    log_p_block,
    log_q_block,
    reused,
    same,
    tree,
)
from torch.distributions import (
    Dirichlet,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions.transforms import StickBreakingTransform, TanhTransform

import unweave as uw
from unweave.objective import blocks as named
from unweave.objective.objective import Objective


def per_item(t, lead):
    return t.flatten(len(lead)).sum(-1) if t.ndim > len(lead) else t


def by_hand(q, p, lead):
    """log p(x, z) − log q(z|x) from the sites' own log-densities."""
    total = sum(per_item(node.log_prob, lead) for node in p.values())
    return total - sum(per_item(node.log_prob, lead) for node in q.values())


# -- telescoping, and every term against the loop --------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("lead", [(4,), (2, 4), (4, 4), (2, 2, 3)])
def test_terms_telescope_to_the_elbo(depth, lead, seed):
    """recon − mi − Σ tc[l] − kl[-1], each estimated on its own, is the sampled ELBO, whatever
    estimates q(z).
    """
    torch.manual_seed(seed)
    q = encode(lead)
    p, groups = decode(q, correlated=bool(seed % 2)), tree(random.Random(seed), depth)
    posterior = encode((7,))
    for aggregate in (
        uw.minibatch(50),
        uw.minibatch(50, uw.stratified),
        uw.minibatch(50, uw.weighted),
        uw.minibatch(lead[-1]),
        uw.exact(q),
        uw.exact(posterior),
    ):
        d = uw.Densities(
            q, p, groups=groups, aggregate=aggregate, batch_dim=len(lead) - 1, kl="sampled"
        )
        depths = range(len(d.levels) - 1)
        assert len(depths) == depth + 1
        terms = (
            d.score(uw.recon)
            - d.score(uw.mi)
            - sum(d.score(uw.tc[l]) for l in depths)
            - d.score(uw.kl[-1])
        )
        same(terms, by_hand(q, p, lead))
        same(d.score(uw.elbo), terms)


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("lead", [(4,), (2, 3)])
def test_every_level_agrees_with_a_loop_over_items_and_blocks(lead, correlated):
    """Prior corrections too: with a correlated prior the prior's part of a tc does not vanish."""
    q = encode(lead)
    p, n, batch = decode(q, correlated), 20, lead[-1]
    groups = ((("z[0]", "z[2]"), "u"), ("z[1]", "w[0]"), ("y", "w[1]", "s"))
    levels = [
        [{"z": (0, 1, 2), "u": (0, 1), "w": (0, 1, 2, 3), "y": (0,), "s": (0, 1)}],
        [
            {"z": (0, 2), "u": (0, 1)},
            {"z": (1,), "w": (0, 1)},
            {"y": (0,), "w": (2, 3), "s": (0, 1)},
        ],
        [
            {"z": (0, 2)},
            {"u": (0, 1)},
            {"z": (1,)},
            {"w": (0, 1)},
            {"y": (0,)},
            {"w": (2, 3)},
            {"s": (0, 1)},
        ],
        [
            {"z": (0,)},
            {"z": (2,)},
            {"u": (0, 1)},
            {"z": (1,)},
            {"w": (0, 1)},
            {"y": (0,)},
            {"w": (2, 3)},
            {"s": (0, 1)},
        ],
        [
            {site: (unit,)}
            for site, size in {"z": 3, "u": 2, "w": 4, "y": 1, "s": 2}.items()
            for unit in range(size)
        ],
    ]

    def log_q(index, level):
        weights = balanced_row(batch, n, index[-1])
        return sum(log_q_block(q, q, weights, tuple(b.items()), index) for b in levels[level])

    def log_p(index, level):
        return sum(log_p_block(q, p, tuple(b.items()), index) for b in levels[level])

    d = uw.Densities(
        q, p, groups=groups, aggregate=uw.minibatch(n), batch_dim=len(lead) - 1, kl="sampled"
    )
    for l, kl in enumerate(
        kls := [each_item(lead, lambda i, l=l: log_q(i, l) - log_p(i, l)) for l in range(5)]
    ):
        same(d.score(uw.kl[l]), kl)
        same(d.score(uw.kl[l - 5]), kl)
    for l in range(4):
        same(d.score(uw.tc[l]), kls[l] - kls[l + 1])
        same(d.score(uw.tc[l - 4]), kls[l] - kls[l + 1])
    posterior = each_item(lead, lambda i: log_p_block(q, q, tuple(levels[0][0].items()), i))
    same(d.score(uw.mi), posterior - each_item(lead, lambda i: log_q(i, 0)))
    prior = each_item(lead, lambda i: log_p(i, 1) - log_p(i, 0))
    assert (prior.abs().max() > 1e-3) == correlated


def test_slices_of_tc_are_sums_of_levels():
    """As Python slices a list of the levels' correlations."""
    q = encode((4,))
    p = decode(q, correlated=True)
    d = uw.Densities(q, p, groups=tree(random.Random(0), 3), aggregate=uw.minibatch(9))
    each = [d.score(uw.tc[l]) for l in range(len(d.levels) - 1)]
    for a, b in itertools.product([None, 0, 1, 2, -1, -2, -3], [None, 0, 1, 2, 3, -1, -2]):
        if len(range(len(each))[a:b]) or (a or 0) == b:
            same(d.score(uw.tc[a:b]), sum(each[a:b], torch.zeros(4)))
    assert uw.tc[-2:] == uw.tc[-2] + uw.tc[-1]
    assert uw.tc[:-1] == uw.tc[:] - uw.tc[-1]


def test_slices_with_steps_and_of_kl_are_refused():
    with pytest.raises(TypeError, match="without a step"):
        uw.tc[::2]
    with pytest.raises(TypeError, match="slices are for tc"):
        uw.kl[:]


@pytest.mark.parametrize("level", [5, -6])
def test_levels_that_are_not_there_are_refused(level):
    q = encode((3,))
    d = uw.Densities(q, decode(q), groups=tree(random.Random(0), 3), aggregate=uw.minibatch(9))
    with pytest.raises(ValueError, match=rf"has levels 0 to 4, level {level} was asked for"):
        d.score(uw.kl[level])


# -- the table of the literature -------------------------------------------------------------------

A, B, C, LAM = 1.7, 12.0, 4.0, 0.3

ROWS = [  # name, alias, weights on (ⓘ, ⓘⓘ, ②, Ⓐ), circled
    ("vae", uw.elbo, (1, 1, 1, 1), "① + ② + ③ + ④"),
    ("beta-vae", uw.beta_vae(B), (B, B, B, B), "① + 12② + ③ + 12④"),
    ("dip-vae", uw.dip_vae(LAM), (LAM, LAM, 1, LAM), "① + ② + ③ + 0.3④"),
    ("info-vae", uw.info_vae(LAM), (LAM, LAM, 0, LAM), "① + ③ + 0.3④"),
    ("bottleneck", uw.bottleneck(B, C), (C, 0, B, C), "① + 12② + ③ + 4Ⓐ*"),
    ("tc-vae", uw.tc_vae(B), (B, 1, 1, B), "① + ② + ③ + 12Ⓐ* + Ⓑ*"),
    ("hfvae", uw.hfvae(A, B, C), (C, 1, A, B), "① + 1.7② + ③ + 12Ⓐ + 4ⓘ + ⓘⓘ"),
]


@pytest.mark.parametrize(
    ("alias", "weights", "circled"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_aliases_are_the_rows_of_the_table(alias, weights, circled):
    within, units, two, across = weights
    row = uw.recon - two * uw.mi - across * uw.tc[0] - within * uw.tc[1:] - units * uw.kl[-1]
    assert all(abs(c) < 1e-9 for c in (alias - row).coefficients.values())
    assert alias.circled() == circled
    assert alias == alias + uw.kl[1] - uw.kl[1]

    q = encode((4,))
    p, groups = decode(q, correlated=True), (("z", "u"), ("w", "y"), "s")
    d = uw.Densities(q, p, groups=groups, aggregate=uw.minibatch(20), kl="sampled")
    terms = [uw.recon, uw.mi, uw.tc[0], uw.tc[1], uw.tc[2], uw.kl[-1]]
    recon, mi, tc0, tc1, tc2, kl = (d.score(term) for term in terms)
    same(alias(q, p, groups=groups, aggregate=uw.minibatch(20), kl="sampled"), d.score(alias))
    same(d.score(alias), recon - two * mi - across * tc0 - within * (tc1 + tc2) - units * kl)


def test_corex_scales_the_information_of_its_anchor():
    q = encode((4,))
    p = decode(q)
    d = uw.Densities(q, p, aggregate=uw.minibatch(20), kl="sampled")
    same(d.score(uw.corex(LAM, "y")), d.score(uw.elbo) + LAM * d.score(uw.mi.of("y")))
    z = drawn(z=(q["z"].dist, q["z"].value))
    p = reused(z, z=Normal(0.0, 1.0))
    only = uw.Densities(z, p, aggregate=uw.minibatch(20), kl="sampled")
    same(only.score(uw.corex(LAM, "z")), only.score(uw.recon - (1 - LAM) * uw.mi - uw.kl[0]))
    assert uw.corex(LAM, "y").circled() == "① + ② + ③ + ④ - 0.3②ᵃ"


def test_aliases_coincide_where_the_mathematics_says_so():
    assert (
        uw.hfvae(1, 1, 1)
        == uw.hfvae()
        == uw.elbo
        == uw.beta_vae(1)
        == uw.tc_vae(1)
        == uw.dip_vae(1)
    )
    assert uw.hfvae(1, B, B) == uw.tc_vae(B)
    assert uw.hfvae(0, 1, 1) == uw.info_vae(1)
    assert uw.bottleneck(B, B) == uw.beta_vae(B) + B * uw.kl[-1]
    assert uw.corex(0, "y") == uw.elbo
    assert uw.hfvae(1, B, 1) == uw.recon - uw.mi - B * uw.tc[0] - uw.kl[1]
    assert uw.hfvae(1, B, C) != uw.hfvae(1, C, B)


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (uw.elbo, "log p(x|z) - log q(z|x) + log p(z)"),
        (uw.beta_vae(4), "log p(x|z) - 4·log q(z|x) + 4·log p(z)"),
        (uw.dip_vae(2), "log p(x|z) - log q(z|x) - log q(z) + 2·log p(z)"),
        (uw.info_vae(2), "log p(x|z) - 2·log q(z) + 2·log p(z)"),
        (
            uw.bottleneck(2, 3),
            "log p(x|z) - 2·log q(z|x) - log q(z) + 3·log Πq(z_d,e) + 3·log p(z) - 3·log Πp(z_d,e)",
        ),
        (
            uw.tc_vae(6),
            "log p(x|z) - log q(z|x) - 5·log q(z) + 5·log Πq(z_d,e) + 6·log p(z) - 5·log Πp(z_d,e)",
        ),
        (
            uw.hfvae(1, 12, 4),
            "log p(x|z) - log q(z|x) - 11·log q(z) + 8·log Πq(z_d) + 3·log Πq(z_d,e)"
            " + 12·log p(z) - 8·log Πp(z_d) - 3·log Πp(z_d,e)",
        ),
        (uw.kl[2].of("z"), "log Πq(z_level 2) - log Πp(z_level 2)"),
        (uw.recon - uw.evidence + uw.label, "log p(x|z) + log q(y|x) - log p(x)"),
        (-uw.mi.of("y", "z[3]"), "-log q(y,z[3]|x) + log q(y,z[3])"),
        (uw.elbo - uw.elbo, "0"),
    ],
)
def test_objectives_print_their_integrand(objective, text):
    assert str(objective) == text
    assert repr(objective) == f"Objective({text})"


def test_circled_terms_of_forms_beside_the_table():
    assert (uw.recon - uw.evidence).circled() == "①"
    assert uw.evidence.circled() == "③"
    assert (-uw.mi).circled() == "②"
    assert (-uw.kl[0]).circled() == "④"
    assert (-uw.kl[1]).circled() == "Ⓑ"
    assert (-uw.tc[0]).circled() == "Ⓐ"
    assert (-uw.tc[1:]).circled() == "ⓘ"
    assert (-uw.kl[-1]).circled() == "Ⓑ*"  # over single units, as ⓘⓘ is
    assert (uw.elbo + 2 * uw.label).circled() == "① + ② + ③ + ④ + 2·log q(y|x)"
    for form in (Objective({uw.Atom("q"): 1.0}), Objective({uw.Atom("p", 1): 1.0})):
        with pytest.raises(ValueError, match="is no sum of the terms"):
            form.circled()


CIRCLES = {
    "①": "(uw.recon - uw.evidence)", "②": "(-uw.mi)", "③": "uw.evidence", "·": "*",
    "tc[": "uw.tc[", "kl[": "uw.kl[",
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (uw.kl[2], "kl[2]"),
        (-uw.mi - uw.kl[2], "② - kl[2]"),
        (
            uw.recon - uw.mi - 6 * uw.tc[0] - 3 * uw.tc[1] - 2 * uw.tc[2:] - uw.kl[-1],
            "① + ② + ③ - 6·tc[0] - 3·tc[1] - 2·tc[2:] - kl[-1]",
        ),
        (uw.tc[1:3] - 2 * uw.tc[3:], "tc[1:3] - 2·tc[3:]"),
        (3 * uw.tc[1] + uw.tc[-2], "3·tc[1] + tc[-2]"),
        (-uw.tc[2:-1], "-tc[2:-1]"),
        (-2 * uw.tc[-1] - uw.kl[-1], "-2·tc[-1] - kl[-1]"),
    ],
)
def test_objectives_on_deeper_trees_are_written_by_their_levels(form, text):
    """Read back as Python, the text is the objective."""
    assert form.circled() == text
    for sign, code in CIRCLES.items():
        text = text.replace(sign, code)
    gap = eval(text, {"uw": uw}) - form
    assert all(abs(c) < 1e-12 for c in gap.coefficients.values())


def test_two_things_have_two_names():
    form = uw.elbo + uw.kl[0].of("y") + uw.mi.of("y") + 10 * uw.label
    assert str(form) == (
        "log p(x|z) + 10·log q(labels|x) - log q(z|x) + log q(y|x) + log p(z) - log p(y)"
    )
    assert str(uw.corex(2.0, "z")) == (
        "log p(x|z) - log q(all|x) + 2·log q(z|x) - 2·log q(z) + log p(all)"
    )
    form = uw.elbo + 2 * uw.mi.of("y") + 3 * uw.mi.of("z")
    assert form.circled() == "① + ② + ③ + ④ - 2②ᵃ(y) - 3②ᵃ(z)"


def test_coefficients_that_meet_are_added():
    """Restricted, or at a step, terms can become one."""
    z, w = uw.mi.of("z"), uw.mi.of("w")
    assert (z + 2 * w).of("z") == 3 * z
    assert uw.corex(1.0, "z").of("w") == uw.recon - uw.kl[0].of("w")
    assert uw.corex(3.0, "z").of("w") == uw.recon - uw.kl[0].of("w") + 2 * w
    q = encode((4,))
    d = uw.Densities(q, decode(q), aggregate=uw.minibatch(9), kl="sampled")
    parts = [d.score(term.of("z", "w")) for term in (uw.recon, uw.mi, uw.kl[0])]
    recon, mi, kl = parts
    same(d.score(uw.corex(1.5, "y").of("z", "w")), recon - mi - kl + 1.5 * mi)


@given(st.lists(st.tuples(st.sampled_from("zwu"), st.floats(-3, 3)), min_size=1, max_size=5))
def test_restriction_is_linear(parts):
    forms = [c * (uw.mi - uw.tc[0]).of(site) for site, c in parts]
    form = sum(forms[1:], forms[0])
    total = sum(c for _, c in parts) * (uw.mi - uw.tc[0]).of("y")
    gap = form.of("y") - total
    assert all(abs(c) < 1e-9 for c in gap.coefficients.values())


def test_objectives_form_a_vector_space():
    a, b, c = uw.hfvae(2, 4, 8), uw.mi.of("y"), uw.recon + 0.5 * uw.kl[-1]
    zero = Objective({})
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a - a == zero == 0 * a
    assert a + zero == a
    assert -1 * -a == a == 1 * a
    assert 2 * (a + b) == a * 2 + 2 * b
    assert 4 * a == 2 * (2 * a)
    assert a - b == a + (-1) * b
    assert a == uw.hfvae(2, 4, 8)  # arithmetic makes new objectives


def test_scores_are_linear_in_coefficients():
    q = encode((4,))
    d = uw.Densities(q, decode(q), aggregate=uw.minibatch(20), kl="sampled")
    same(
        d.score(2 * uw.mi - 3 * uw.kl[1] + uw.recon),
        2 * d.score(uw.mi) - 3 * d.score(uw.kl[1]) + d.score(uw.recon),
    )


# -- densities: once, restricted, and only when needed ---------------------------------------------


class Counting:
    def __init__(self, aggregate):
        self.aggregate, self.calls = aggregate, []

    def __call__(self, q, blocks, batch_dim):
        self.calls.append(list(blocks))
        return self.aggregate(q, blocks, batch_dim)


def test_atoms_are_computed_once_and_in_one_call_an_objective():
    q = encode((4,))
    count = Counting(uw.minibatch(20))
    d = uw.Densities(q, decode(q), groups=(("z", "u"), ("w", "y"), "s"), aggregate=count)
    d.score(uw.hfvae(1, 12, 4))
    assert len(count.calls) == 1
    for term in (
        uw.recon,
        uw.mi,
        uw.tc[0],
        uw.tc[1:],
        uw.kl[0],
        uw.kl[1],
        uw.kl[-1],
        uw.hfvae(2, 3, 5),
        uw.elbo,
    ):
        d.score(term)
    assert len(count.calls) == 1
    d.score(uw.tc[1])  # level 2 is new: sites, of which y is a single unit and known
    assert len(count.calls) == 2
    asked = [b for blocks in count.calls for b in blocks]
    assert len(asked) == len(set(asked))
    assert d[uw.Atom("q", 0)] is d[uw.Atom("q", -4)]


class Told(Counting):
    """An estimator around another that passes on the coefficients known ahead."""

    def __call__(self, q, blocks, batch_dim=0, ahead=None):
        self.calls.append(dict(zip(blocks, ahead, strict=True)))
        return self.aggregate(q, blocks, batch_dim, ahead=ahead)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: partial(t), lambda t: t.__call__])
def test_a_wrapper_that_takes_coefficients_is_told_them(wrap):
    q = encode((4,))
    told = Told(uw.minibatch(20))
    d = uw.Densities(q, decode(q), groups=(("z", "u"), ("w", "y"), "s"), aggregate=wrap(told))
    d.score(uw.hfvae(1, 12, 4))
    (given,) = told.calls
    of_levels = [sum(given[block] for block in d.levels[0]), *map(given.get, d.levels[1])]
    assert of_levels == [1 - 12, *[12 - 4] * 3]


def test_a_function_without_coefficients_estimates_as_well():
    q = encode((4,))
    p, estimate = decode(q), uw.minibatch(20)
    told = uw.hfvae(1, 12, 4)(q, p, aggregate=estimate)
    plain = uw.hfvae(1, 12, 4)(q, p, aggregate=lambda *asked: estimate(*asked))
    torch.testing.assert_close(plain, told, rtol=1e-10, atol=1e-10)


def test_groups_are_resolved_once_for_all_steps():
    functions = (named.levels, named.blocks, named.within, named.from_coarsest)

    def score(groups):
        q = encode((4,))
        d = uw.Densities(q, decode(q), groups=groups, aggregate=uw.minibatch(20))
        d.score(uw.hfvae(1, 12, 4).of("z", "w[:2]") + uw.mi)
        return [function.cache_info().misses for function in functions], d.levels

    misses, levels = score((("z", "u"), ("w", "y"), "s"))
    assert score((("z", "u"), ("w", "y"), "s")) == (misses, levels)
    assert score([["z", "u"], ["w", "y"], "s"]) == (misses, levels)


@pytest.mark.parametrize(
    "objective", [uw.elbo, uw.beta_vae(4), uw.hfvae(1, 1, 1), uw.recon, uw.label]
)
def test_what_cancels_is_never_estimated(objective):
    q = encode((4,))
    objective(q, decode(q))


@pytest.mark.parametrize(
    "objective", [uw.mi, uw.info_vae(2), uw.tc_vae(2), uw.hfvae(1, 2, 3), uw.corex(1, "y")]
)
def test_an_objective_that_needs_q_of_z_says_how_to_get_it(objective):
    q = encode((4,))
    with pytest.raises(
        ValueError,
        match=r"aggregate=unweave\.minibatch\(n\) for a data set of n items, or unweave\.exact",
    ):
        objective(q, decode(q))


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
def test_restrictions_keep_the_part_of_each_block(lead):
    q = encode(lead)
    p, n, batch = decode(q, correlated=True), 20, lead[-1]
    d = uw.Densities(
        q,
        p,
        groups=("y", ("z", "u"), ("w", "s")),
        aggregate=uw.minibatch(n),
        batch_dim=len(lead) - 1,
        kl="sampled",
    )

    def log_q(*blocks):
        return each_item(
            lead,
            lambda i: sum(
                log_q_block(q, q, balanced_row(batch, n, i[-1]), tuple(b.items()), i)
                for b in blocks
            ),
        )

    def log_p(*blocks, p=p):
        return each_item(
            lead, lambda i: sum(log_p_block(q, p, tuple(b.items()), i) for b in blocks)
        )

    y, z2, u = {"y": (0,)}, {"z": (0, 1)}, {"u": (1,)}
    same(d.score(uw.mi.of("y")), log_p(y, p=q) - log_q(y))
    same(d.score(uw.mi.of("z[2]")), log_p({"z": (2,)}, p=q) - log_q({"z": (2,)}))
    same(d.score(uw.mi.of("u[1]", "z[:2]")), log_p(u, z2, p=q) - log_q({**u, **z2}))
    same(d.score(uw.kl[0].of("z[:2]")), log_q(z2) - log_p(z2))
    same(d.score(uw.kl[1].of("y", "z[:2]")), log_q(y, z2) - log_p(y, z2))
    same(
        d.score(uw.kl[-1].of("z[:2]", "z[1]")),
        log_q({"z": (0,)}, {"z": (1,)}) - log_p({"z": (0,)}, {"z": (1,)}),
    )
    units = [{"z": (i,)} for i in range(3)]
    whole = {"z": (0, 1, 2)}
    same(d.score(uw.tc[-1].of("z")), log_q(whole) - log_p(whole) - log_q(*units) + log_p(*units))
    same(d.score(uw.tc[0].of("y", "u")), log_q({"y": (0,), "u": (0, 1)}) - log_q(y, {"u": (0, 1)}))
    assert uw.elbo.of("z").coefficients[uw.Atom("recon")] == 1
    with pytest.raises(KeyError, match="'style', but the latent sites are"):
        d.score(uw.mi.of("style"))


# -- the closed-form KL ----------------------------------------------------------------------------


def closed(q, p, lead, of=(), **more):
    d = uw.Densities(q, p, batch_dim=len(lead) - 1, **more)
    return d.score((uw.recon - uw.elbo).of(*of) if of else uw.recon - uw.elbo)


NORMAL_PRIORS = {
    "standard": lambda lead: Normal(0.0, 1.0),
    "unit": lambda lead: Normal(torch.randn(3), torch.rand(3) + 0.5),
    "one row": lambda lead: Normal(torch.randn(1, 3), torch.rand(1, 3) + 0.5),
    "data-dependent": lambda lead: Normal(torch.randn(*lead, 3), torch.rand(*lead, 3) + 0.5),
    "half-expanded": lambda lead: Normal(torch.randn(*lead, 1), torch.rand(3) + 0.5),
}


@pytest.mark.parametrize("lead", [(4,), (2, 4), (1,), (3, 1)])
@pytest.mark.parametrize("prior", NORMAL_PRIORS.values(), ids=NORMAL_PRIORS)
@pytest.mark.parametrize("independent", [False, True])
def test_normal_kl_is_closed(lead, prior, independent):
    q = uw.Trace()
    dist = Normal(torch.randn(*lead, 3), torch.rand(*lead, 3) + 0.3)
    q.sample(Independent(dist, 1) if independent else dist, name="z")
    p = reused(q, z=prior(lead))
    m, s = dist.loc, dist.scale
    n, t = p["z"].dist.loc.expand(m.shape), p["z"].dist.scale.expand(m.shape)
    kl = (t / s).log() + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5
    same(closed(q, p, lead), kl.sum(-1))
    same(closed(q, p, lead, of=("z[1:]",)), kl[..., 1:].sum(-1))
    same(closed(q, p, lead, of=("z[2]", "z[0]", "z[2]")), kl[..., [0, 2]].sum(-1))
    same(closed(q, p, lead, kl="sampled"), (q["z"].dist.log_prob(q["z"].value) if independent else
         q["z"].log_prob.sum(-1)) - p["z"].log_prob.sum(-1))  # fmt: skip


@pytest.mark.parametrize("lead", [(4,), (2, 4), (1,)])
@pytest.mark.parametrize("expanded", [False, True])
def test_multivariate_normal_kl_is_closed_for_whole_sites(lead, expanded):
    shape = lead if expanded else ()
    q = drawn(
        z=(MultivariateNormal(torch.randn(*lead, 3), covariances(*lead, 3)), torch.randn(*lead, 3))
    )
    p = reused(q, z=MultivariateNormal(torch.randn(*shape, 3), covariances(*shape, 3)))
    kl = kl_divergence(q["z"].dist, p["z"].dist)
    same(closed(q, p, lead), kl)
    part = (("z", (0, 1)),)

    def log_ratio(i):
        return log_p_block(q, q, part, i) - log_p_block(q, p, part, i)

    same(closed(q, p, lead, of=("z[:2]",)), each_item(lead, log_ratio))


def test_closed_and_sampled_sites_mix():
    """Normals are integrated, the Concrete site is sampled; other terms keep their samples."""
    q = uw.Trace()
    y = q.concrete(torch.randn(5, 3), 0.66, name="y")
    q.normal(torch.randn(5, 3) + y, 0.4, name="z")
    p = reused(q, y=uw.Concrete(torch.randn(3), 0.5), z=Normal(0.0, 1.0))
    kl = (q["y"].log_prob - p["y"].log_prob) + kl_divergence(q["z"].dist, p["z"].dist).sum(-1)
    same(closed(q, p, (5,)), kl)
    d = uw.Densities(q, p, aggregate=uw.minibatch(20))
    same(d.score(uw.hfvae(1, 12, 4)), -kl - 11 * d.score(uw.tc[0]) - 3 * d.score(uw.tc[1:]))


def test_closed_kl_needs_whole_coefficients():
    """Where α differs, log q(z|x) and log p(z) keep coefficients that no KL has, and stay
    sampled.
    """
    q = encode((4,))
    p = decode(q)
    a, b = (uw.Densities(q, p, aggregate=uw.minibatch(20), kl=kl) for kl in ("closed", "sampled"))
    same(a.score(uw.hfvae(2, 12, 4)), b.score(uw.hfvae(2, 12, 4)))
    same(a.score(uw.mi), b.score(uw.mi))
    assert not torch.allclose(a.score(uw.elbo), b.score(uw.elbo))


FAMILIES = {
    "normal": lambda loc, scale: Normal(loc, scale),
    "independent": lambda loc, scale: Independent(Normal(loc, torch.as_tensor(scale)), 1),
    "multivariate": lambda loc, scale: MultivariateNormal(loc, scale**2 * torch.eye(2)),
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("lead", [(20_000,), (20_000, 1), (10_000, 2)])
def test_a_ladder_stays_unbiased(family, lead):
    """q draws z1 then z2|z1, p draws z2 then z1|z2: z1 may not be integrated with z2 held.

    The mean of 20,000 values lies within 5 standard errors (false failure 6e-7), and integrating z1
    alone would be off by a nat. The truth is the expectation of a quadratic, written out.
    """
    m, s1, a, s2, c, t = 0.5, 0.6, 1.5, 0.7, 0.8, 0.9
    q = uw.Trace()
    z1 = q.sample(family(torch.full((*lead, 2), m), s1), name="z1")
    q.sample(family(a * z1, s2), name="z2")
    p = uw.Trace()
    z2 = p.sample(family(torch.zeros(2), 1.0), q["z2"], name="z2")
    p.sample(family(c * z2, t), q["z1"], name="z1")
    value = -uw.elbo(q, p, batch_dim=len(lead) - 1)
    z2_squared = (a * m) ** 2 + (a * s1) ** 2 + s2**2
    residual = (m - c * a * m) ** 2 + ((1 - c * a) * s1) ** 2 + (c * s2) ** 2  # E (z1 − c z2)²
    truth = -math.log(s1 * s2) - 1 + 0.5 * z2_squared + 0.5 * residual / t**2 + math.log(t)
    assert abs(value.mean() - 2 * truth) < 5 * value.std() / math.sqrt(value.numel())
    held = (
        math.log(t / s1)
        + (s1**2 + (m - c * a * m) ** 2 + (c * a * s1) ** 2 + (c * s2) ** 2) / (2 * t**2)
        - 0.5
    )
    other = math.log(1 / s2) + (s2**2 + (a * m) ** 2 + (a * s1) ** 2) / 2 - 0.5
    assert abs(2 * (held + other) - 2 * truth) > 0.5


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("lead", [(1,), (1, 1), (3, 1), (1, 4)])
def test_a_ladder_integrates_only_its_top(family, lead):
    """Also where a batch of one makes a data-dependent prior look like a shared one."""
    q = uw.Trace()
    z1 = q.sample(family(torch.randn(*lead, 2), 0.5), name="z1")
    q.sample(family(z1, 0.7), name="z2")
    p = uw.Trace()
    z2 = p.sample(family(torch.zeros(2), 1.0), q["z2"], name="z2")
    p.sample(family(z2, 0.9), q["z1"], name="z1")
    top = per_item(kl_divergence(q["z2"].dist, p["z2"].dist), lead)
    rest = per_item(q["z1"].log_prob - p["z1"].log_prob, lead)
    same(closed(q, p, lead), top + rest)


def test_priors_that_keep_units_together_score_whole_sites():
    """A flow posterior under a Normal prior, and the other way round: ELBO by hand, no parts."""
    flow = TransformedDistribution(
        Independent(Normal(torch.randn(5, 3), 0.5), 1), [StickBreakingTransform()]
    )
    q = uw.Trace()
    q.sample(flow, name="z")
    p = reused(q, z=Dirichlet(torch.rand(4) + 0.5))
    same(uw.elbo(q, p), p["z"].log_prob - q["z"].log_prob)
    p = reused(q, z=Normal(0.0, 1.0))
    same(uw.elbo(q, p), p["z"].log_prob.sum(-1) - q["z"].log_prob)
    p = reused(q, z=MultivariateNormal(torch.zeros(4), torch.eye(4)))
    same(uw.elbo(q, p), p["z"].log_prob - q["z"].log_prob)
    q, p = uw.Trace(), uw.Trace()
    q.normal(torch.randn(5, 3), 0.5, name="z")
    p.sample(
        TransformedDistribution(Independent(Normal(torch.zeros(3), 1.0), 1), [TanhTransform()]),
        q["z"],
        name="z",
    )
    with pytest.raises(ValueError, match="TransformedDistribution keeps its site's units together"):
        uw.Densities(q, p, aggregate=uw.minibatch(9)).score(uw.kl[-1])


# -- evidence --------------------------------------------------------------------------------------


def linear_gaussian(n, widen=1.0, samples=3):
    """x = W z + b + noise, with its exact posterior widened, and the closed-form log p(x)."""
    W, b, noise = torch.randn(4, 2), torch.randn(4), 0.5
    x = torch.randn(n, 4)
    precision = torch.eye(2) + W.mT @ W / noise**2
    cov = torch.linalg.inv(precision)
    loc = (x - b) @ W @ cov / noise**2
    q = uw.Trace()
    wide = MultivariateNormal(loc.expand(samples, n, 2), widen**2 * cov)
    z = q.sample(wide, name="z")
    p = uw.Trace()
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.normal(z @ W.mT + b, noise, value=x.expand(samples, n, 4), name="x")
    marginal = MultivariateNormal(b, W @ W.mT + noise**2 * torch.eye(4))
    return q, p, marginal.log_prob(x).expand(samples, n)


def test_at_the_true_posterior_each_sample_gives_log_p_of_x():
    q, p, log_p = linear_gaussian(5)
    same(uw.elbo(q, p, batch_dim=1, kl="sampled"), log_p)
    same(uw.evidence(q, p, batch_dim=1), log_p)
    d = uw.Densities(q, p, batch_dim=1)
    same(d.score(uw.recon - uw.evidence), d.score(uw.recon) - log_p)  # ① at last


def test_evidence_is_the_importance_weighted_bound():
    """By hand: log of the mean over samples of exp(ELBO), the same for each sample, unbiased for
    p(x).
    """
    q, p, log_p = linear_gaussian(3, widen=1.3, samples=20_000)
    d = uw.Densities(q, p, batch_dim=1)
    elbo = p["x"].log_prob.sum(-1) + p["z"].log_prob.sum(-1) - q["z"].log_prob
    same(d.score(uw.evidence), (elbo.logsumexp(0) - math.log(20_000)).expand(20_000, 3))
    ratio = (elbo - log_p).exp()  # mean 1; 3 items at 5 standard errors: false failure 2e-6
    assert ((ratio.mean(0) - 1).abs() < 5 * ratio.std(0) / math.sqrt(20_000)).all()
    same(d.score(uw.evidence)[0] - log_p[0], ratio.mean(0).log())


def test_evidence_over_several_sample_dimensions():
    q = encode((2, 3, 4))
    p = decode(q)
    elbo = by_hand(q, p, (2, 3, 4))
    expected = (elbo.flatten(0, 1).logsumexp(0) - math.log(6)).expand(2, 3, 4)
    same(uw.Densities(q, p, batch_dim=2).score(uw.evidence), expected)


def test_evidence_needs_samples():
    q = encode((4,))
    with pytest.raises(ValueError, match=r"expand x to \(samples, batch, …\) and say batch_dim=1"):
        uw.evidence(q, decode(q))


# -- labels ----------------------------------------------------------------------------------------


def semi(lead, labels=None, observed=None, z_observed=None):
    """y in part observed, z|y drawn, both with priors; z may have observed units too."""
    q = uw.Trace()
    y = q.concrete(torch.randn(*lead, 3), 0.66, value=labels, observed=observed, name="y")
    codes = None if z_observed is None else torch.randn(*lead, 2)
    z = q.normal(
        y[..., :2] + torch.randn(*lead, 2), 0.7, value=codes, observed=z_observed, name="z"
    )
    p = uw.Trace()
    p.concrete(torch.randn(3), 0.5, value=q["y"], name="y")
    p.normal(0.3 * torch.randn(2), 1.2, value=q["z"], name="z")
    p.normal(z + y[..., 1:], 1.0, value=torch.randn(*lead, 2), name="x")
    return q, p


def log_mass(node, label):
    return (
        node.dist.logits.expand(*label.shape, 3)
        .log_softmax(-1)
        .gather(-1, label[..., None])[..., 0]
    )


@pytest.mark.parametrize("lead", [(4,), (3, 4), (4, 4)])
@pytest.mark.parametrize("style", ["numbers", "mask", "one-hot and mask"])
def test_labels_missing_item_by_item(lead, style):
    """The ELBO's parts, the label term and the groups' terms, against loops; masks follow items,
    not samples.
    """
    axis = len(lead) - 1
    label = torch.randint(3, lead)
    seen = torch.rand(lead) < 0.5
    seen[..., 0], seen[..., 1] = True, False
    if style == "numbers":
        q, p = semi(lead, torch.where(seen, label, -1))
    elif style == "mask":
        q, p = semi(lead, label, seen)
    else:
        q, p = semi(lead, torch.nn.functional.one_hot(label, 3).double(), seen)
    assert torch.equal(q["y"].observed, seen)
    assert torch.equal(q["y"].value[seen].argmax(-1), label[seen])
    assert (q["y"].value[~seen] < 1).all()

    n, groups = 20, ("y", "z")
    d = uw.Densities(q, p, groups=groups, aggregate=uw.minibatch(n), batch_dim=axis, kl="sampled")
    recon = p["x"].log_prob.sum(-1) + torch.where(seen, log_mass(p["y"], label), 0.0)
    same(d.score(uw.recon), recon)
    same(d.score(uw.label), torch.where(seen, log_mass(q["y"], label), 0.0))
    whole, parts = [(("y", (0,)), ("z", (0, 1)))], [(("y", (0,)),), (("z", (0, 1)),)]
    units = [(("y", (0,)),), (("z", (0,)),), (("z", (1,)),)]

    def log_q(blocks):
        rows = lambda i: balanced_row(lead[-1], n, i[-1])  # noqa: E731
        return each_item(lead, lambda i: sum(log_q_block(q, q, rows(i), b, i) for b in blocks))

    def log_p(blocks, trace=p):
        return each_item(lead, lambda i: sum(log_p_block(q, trace, b, i) for b in blocks))

    same(d.score(uw.mi), log_p(whole, q) - log_q(whole))
    for level, blocks in enumerate([whole, parts, units]):
        same(d.score(uw.kl[level]), log_q(blocks) - log_p(blocks))
    same(d.score(uw.mi.of("y")), torch.where(seen, 0.0, log_p(parts[:1], q) - log_q(parts[:1])))
    same(d.score(uw.elbo), recon + log_p(whole) - log_p(whole, q))
    kl_y = torch.where(
        seen, 0.0, q["y"].dist.log_prob(q["y"].value) - p["y"].dist.log_prob(q["y"].value)
    )
    kl_z = kl_divergence(q["z"].dist, p["z"].dist).sum(-1)
    same(uw.elbo(q, p, batch_dim=axis), recon - kl_y - kl_z)
    exact = uw.Densities(q, p, groups=groups, aggregate=uw.exact(q), batch_dim=axis)
    full = uw.Densities(q, p, groups=groups, aggregate=uw.minibatch(lead[-1]), batch_dim=axis)
    for term in (uw.mi, uw.tc[0], uw.kl[-1]):
        same(exact.score(term), full.score(term))


def test_labels_agree_with_two_separate_batches():
    """Per-item terms of a half-labelled batch are those of its labelled and its unlabelled half."""
    label = torch.randint(3, (6,))
    q, p = semi((6,), torch.where(torch.arange(6) < 3, label, -1))
    whole = {
        t: uw.Densities(q, p).score(f)
        for t, f in (("elbo", uw.elbo), ("label", uw.label), ("recon", uw.recon))
    }
    for half, role in ((slice(3), True), (slice(3, 6), False)):
        a, b = uw.Trace(), uw.Trace()
        y = uw.Concrete(q["y"].dist.logits[half], 0.66)
        a._add("y", uw.Node(q["y"].value[half], "observed" if role else "sampled", y, role))
        z = q["z"].dist
        a._add("z", uw.Node(q["z"].value[half], "sampled", Normal(z.loc[half], z.scale[half])))
        b.sample(p["y"].dist, a["y"], name="y")
        b.normal(p["z"].dist.loc, 1.2, value=a["z"], name="z")
        b.normal(p["x"].dist.loc[half], 1.0, value=p["x"].value[half], name="x")
        for t, f in (("elbo", uw.elbo), ("label", uw.label), ("recon", uw.recon)):
            same(uw.Densities(a, b).score(f), whole[t][half])


@pytest.mark.parametrize("lead", [(4,), (2, 4)])
@pytest.mark.parametrize("one_hot", [False, True])
def test_all_labels_and_no_labels(lead, one_hot):
    label = torch.randint(3, lead)
    q, p = semi(lead, torch.nn.functional.one_hot(label, 3).double() if one_hot else label)
    d = uw.Densities(q, p, aggregate=uw.minibatch(20), batch_dim=len(lead) - 1)
    same(d.score(uw.recon), p["x"].log_prob.sum(-1) + log_mass(p["y"], label))
    same(d.score(uw.label), log_mass(q["y"], label))
    same(d.score(uw.mi), d.score(uw.mi.of("z")))
    same(d.score(uw.mi.of("y")), torch.zeros(lead))
    same(d.score(uw.kl[1].of("y")), torch.zeros(lead))
    same(d.score(uw.elbo), d.score(uw.recon) - kl_divergence(q["z"].dist, p["z"].dist).sum(-1))
    q, p = semi(lead)
    d = uw.Densities(q, p, aggregate=uw.minibatch(20), batch_dim=len(lead) - 1)
    same(d.score(uw.recon), p["x"].log_prob.sum(-1))
    same(d.score(uw.label), torch.zeros(lead))
    q, p = semi(lead, torch.full(lead, -1))
    same(uw.Densities(q, p, batch_dim=len(lead) - 1).score(uw.label), torch.zeros(lead))


@pytest.mark.parametrize("lead", [(4,), (2, 2)])
@pytest.mark.parametrize("kind", ["normal", "independent", "multivariate"])
def test_codes_observed_item_by_item(lead, kind):
    """Masks run along items also where a site's log-density has one number an item in one trace,
    one a unit in the other; sizes coincide (2 items, 2 units) so that a mask along the wrong axis
    would broadcast.
    """
    axis, seen = len(lead) - 1, torch.rand(lead) < 0.5
    seen[..., 0], seen[..., 1] = True, False
    loc, scale, value = torch.randn(*lead, 2), torch.rand(*lead, 2) + 0.3, torch.randn(*lead, 2)
    dist = {
        "normal": Normal(loc, scale),
        "independent": Independent(Normal(loc, scale), 1),
        "multivariate": MultivariateNormal(loc, torch.diag_embed(scale**2)),
    }[kind]
    q = uw.Trace()
    q.sample(dist, value, name="z", observed=seen)
    p = reused(q, z=Normal(torch.randn(2), 0.8))
    log_p, log_q = p["z"].log_prob.sum(-1), Normal(loc, scale).log_prob(q["z"].value).sum(-1)
    same(q["z"].value[seen], value[seen])
    d = uw.Densities(q, p, aggregate=uw.minibatch(20), batch_dim=axis)
    same(d.score(uw.recon), torch.where(seen, log_p, 0.0))
    same(d.score(uw.label), torch.where(seen, log_q, 0.0))
    kl = (
        log_q - log_p
        if kind == "multivariate"
        else kl_divergence(Normal(loc, scale), p["z"].dist).sum(-1)
    )
    same(d.score(uw.recon - uw.elbo), torch.where(seen, 0.0, kl))
    rows = lambda i: balanced_row(lead[-1], 20, i[-1])  # noqa: E731
    blocks = [(("z", (0, 1)),), (("z", (0,)),), (("z", (1,)),)]
    whole, *units = (
        each_item(lead, lambda i, b=b: log_q_block(q, q, rows(i), b, i)) for b in blocks
    )
    same(d.score(uw.kl[0]), torch.where(seen, 0.0, whole - log_p))
    same(d.score(uw.kl[-1]), torch.where(seen, 0.0, sum(units) - log_p))
    if kind != "normal":  # whose mask has one entry a unit, which a correlated prior refuses
        p = reused(q, z=MultivariateNormal(torch.randn(2), covariances(2)))
        d = uw.Densities(q, p, batch_dim=axis, kl="sampled")
        same(d.score(uw.recon), torch.where(seen, p["z"].log_prob, 0.0))
        same(d.score(uw.recon - uw.elbo), torch.where(seen, 0.0, log_q - p["z"].log_prob))


def test_units_observed_one_by_one():
    seen = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    q, p = semi((4,), z_observed=seen)
    d = uw.Densities(q, p, aggregate=uw.minibatch(9))
    same(d.score(uw.recon), p["x"].log_prob.sum(-1) + (p["z"].log_prob * seen).sum(-1))
    kl = (q["y"].log_prob - p["y"].log_prob) + (
        kl_divergence(q["z"].dist, p["z"].dist) * ~seen
    ).sum(-1)
    same(d.score(uw.recon - uw.elbo), kl)
    p = reused(q, y=p["y"].dist, z=MultivariateNormal(torch.zeros(2), torch.eye(2)))
    for form in (uw.recon, uw.recon - uw.elbo):
        with pytest.raises(ValueError, match="one by one"):
            form(q, p)


def test_labels_have_finite_gradients():
    """The density at a one-hot label is infinite; it may not reach a gradient through a mask."""
    logits = torch.randn(4, 3, requires_grad=True)
    q = uw.Trace()
    q.concrete(logits, 0.66, value=torch.tensor([0, -1, 2, -1]), name="y")
    p = reused(q, y=uw.Concrete(torch.zeros(3), 0.66))
    form = uw.hfvae(2, 3, 4) + uw.label
    form(q, p, aggregate=uw.minibatch(9)).sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad.abs().sum(-1) > 0).all()


# -- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective",
    [
        uw.elbo,
        uw.hfvae(1, 12, 4),
        uw.hfvae(2, 3, 4) + 0.5 * uw.label,
        uw.mi.of("y") - uw.tc[-1].of("z", "u"),
    ],
    ids=["elbo", "hfvae", "labels", "parts"],
)
@pytest.mark.parametrize("kl", ["closed", "sampled"])
@pytest.mark.parametrize(
    "aggregate", [uw.minibatch(20), uw.minibatch(20, uw.stratified), None], ids=["b", "s", "exact"]
)
def test_gradients_agree_with_finite_differences(objective, kl, aggregate):
    """Through encoder (loc, scale, logits, covariance), priors and decoder, with the noise
    fixed.
    """
    labels = torch.tensor([1, -1, -1])
    x = torch.randn(3, 2)

    def value(loc, log_scale, logits, root, prior_loc, prior_logits, prior_root, weight):
        torch.manual_seed(3)
        q, p = uw.Trace(), uw.Trace()
        y = q.concrete(logits, 0.66, value=labels, name="y")
        z = q.normal(loc + y[:, :2], log_scale.exp(), name="z")
        u = q.sample(MultivariateNormal(loc, scale_tril=root.tril(-1) + torch.eye(2)), name="u")
        p.concrete(prior_logits, 0.5, value=q["y"], name="y")
        p.normal(prior_loc, 1.1, value=q["z"], name="z")
        p.sample(
            MultivariateNormal(prior_loc - 1, scale_tril=prior_root.tril(-1) + torch.eye(2)),
            q["u"],
            name="u",
        )
        p.normal(z @ weight + u, 0.5, value=x, name="x")
        d = uw.Densities(q, p, groups=("y", ("z", "u")), aggregate=aggregate or uw.exact(q), kl=kl)
        return (d.score(objective) * torch.tensor([1.0, 0.3, -0.7])).sum()

    sizes = [(3, 2), (3, 2), (3, 3), (3, 2, 2), (2,), (3,), (2, 2), (2, 2)]
    inputs = [(0.5 * torch.randn(size)).requires_grad_() for size in sizes]
    assert torch.autograd.gradcheck(value, inputs, eps=1e-6, atol=1e-6)


# -- errors, and what is refused -------------------------------------------------------------------


def test_a_latent_that_p_lacks_is_named():
    q = encode((3,))
    p = reused(q, z=Normal(0.0, 1.0))
    with pytest.raises(KeyError, match="q draws 'w', but p has no such site; its sites are: 'z'"):
        uw.elbo(q, p)


def test_a_site_that_p_draws_itself_is_named():
    q, p = encode((3,)), uw.Trace()
    p.normal(torch.zeros(3, 3), 1.0, name="z")
    q = drawn(z=(q["z"].dist, q["z"].value))
    with pytest.raises(
        KeyError, match=r"p drew its own 'z' instead of scoring a value: pass value=q\['z'\]"
    ):
        uw.elbo(q, p)


def test_samples_without_gradients_are_refused_when_training_only():
    logits = torch.randn(4, 3, requires_grad=True)
    q = uw.Trace()
    q.sample(torch.distributions.OneHotCategorical(logits=logits), name="y")
    p = reused(q, y=torch.distributions.OneHotCategorical(logits=torch.zeros(3)))
    with pytest.raises(
        ValueError, match=r"site 'y' draws from a OneHotCategorical.*q\.categorical.*q\.concrete"
    ):
        uw.elbo(q, p)
    with torch.no_grad():
        kl = kl_divergence(q["y"].dist, p["y"].dist)
        same(uw.elbo(q, p), -kl)


def test_scores_without_a_batch_are_refused():
    q = encode((2, 3))
    p = decode(q)
    p.factor(torch.zeros(2), name="g")
    with pytest.raises(
        ValueError, match=r"site 'g' has log-densities of shape \(2,\).*batch_dim=1"
    ):
        uw.recon(q, p, batch_dim=1)


def test_groups_must_hold_each_latent_unit():
    q = encode((3,))
    with pytest.raises(ValueError, match="leave out"):
        uw.Densities(q, decode(q), groups=("y", "z"))


def test_an_autoencoder_has_a_reconstruction_alone():
    """No latents at all: the ELBO is log p(x)."""
    q, p = uw.Trace(), uw.Trace()
    p.normal(torch.zeros(4, 2), 1.0, value=torch.randn(4, 2), name="x")
    same(uw.elbo(q, p), p["x"].log_prob.sum(-1))


def test_scores_of_q_count_as_labels_and_those_of_p_in_the_reconstruction():
    q, p = uw.Trace(), uw.Trace()
    q.normal(torch.zeros(4, 2), 1.0, name="z")
    q.factor(torch.arange(4.0), name="f")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.factor(torch.ones(4, 3), name="f")
    d = uw.Densities(q, p)
    same(d.score(uw.label), torch.arange(4.0))
    same(d.score(uw.recon), torch.full((4,), 3.0))


@pytest.mark.parametrize("fixed", [False, True])
def test_a_consumed_generator_does_not_lose_the_log_prior_of_labels(fixed):
    """Scoring twice gives the same; log p(y) of an observed y counts in the reconstruction each
    time.
    """
    q, p = semi((4,), torch.tensor([0, 1, 2, 0]) if fixed else None)
    d = uw.Densities(q, p)
    same(d.score(uw.elbo), uw.Densities(q, p).score(uw.elbo))
    same(d.score(uw.recon), d.score(uw.recon))
    assert bool((d.score(uw.recon) < p["x"].log_prob.sum(-1)).all()) == fixed


def test_division_is_scaling_and_a_number_is_no_objective():
    assert uw.beta_vae(4) / 2 == 0.5 * uw.beta_vae(4)
    with pytest.raises(TypeError):
        uw.elbo + 1
