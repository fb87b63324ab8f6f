"""`unweave verify`: the exact side against closed forms, the estimates' shape, and what the tables
say.
"""

import json
import math

import pytest
import torch

import unweave as uw
from unweave.checks import verify
from unweave.objective import bounds


def test_the_exact_side_is_the_definition():
    """With every item in the batch the balanced estimator is the exact sum, value and gradient."""
    setting, items = verify.Setting.random(), torch.arange(verify.N)
    terms = {"mi": uw.mi, "tc[1]": uw.tc[1]}
    results = []
    for aggregate in (lambda q: uw.exact(q.aligned()), lambda _: uw.minibatch(verify.N)):
        torch.manual_seed(1)
        results.append(verify._all_terms(setting, items, terms, aggregate))
    for name in terms:
        for a, b in zip(results[0][name], results[1][name], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_estimates_say_what_is_known_of_the_estimators():
    rows = verify.estimates({"mi": uw.mi, "tc[2]": uw.tc[2]}, [64, 256], repeats=20)
    of = {(row.term, row.estimator, row.batch): row for row in rows}
    assert len(of) == 12
    for name in ("balanced", "stratified"):
        assert (
            0 < of["mi", name, 256].bias < of["mi", name, 64].bias
        )  # information is overestimated, less so later
        assert of["tc[2]", name, 64].bias < -0.1
        assert of["mi", name, 256].cosine > 0.98
    assert of["mi", "weighted", 64].bias > 4  # log B too much, or so
    assert all(row.exact < math.log(verify.N) and row.exact_se < 0.1 for row in rows)


def test_variances_compare_ways_of_taking_a_class():
    rows = {(v.y, v.kl): v for v in verify.variances(batch=64, repeats=60)}
    assert len(rows) == 6
    assert rows["categorical", "closed"].cosine > 0.98
    assert rows["categorical", "closed"].noise < rows["categorical", "sampled"].noise


def test_log_p_of_x_comes_out_too_low_and_less_so_with_more_samples():
    one, ten, hundred = verify.evidences((1, 10, 100))
    assert one.estimate < ten.estimate < hundred.exact
    assert abs(hundred.estimate - hundred.exact) < 5 * hundred.se + 0.005


def test_the_tables_are_printed_and_written(tmp_path, capsys):
    to = tmp_path / "tables.json"
    png = tmp_path / "biases.png"
    verify.verify([("tc_vae(6)", uw.tc_vae(6))], [32], repeats=3, to=to, png=png)
    assert png.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    for word in ("tc_vae(6)", "stratified", "straight-through", "log p(x)", "cosine"):
        assert word in out
    tables = json.loads(to.read_text())
    assert {row["term"] for row in tables["estimates"]} == {*verify.TERMS, "tc_vae(6)"}


def row(term, estimator, bias, cosine, batch=256):
    """A row whose estimate is off by `bias`, with a standard error of 0.05."""
    return verify.Row(term, estimator, batch, 5.0, 0.03, 5.0 + bias, 0.04, 0.2, cosine, 0.5)


def test_the_conclusion_names_what_is_as_good_as_the_best_and_what_is_not():
    rows = [
        row("mi", "balanced", 9.0, 0.5, batch=64),  # smaller batches do not count
        row("mi", "balanced", 0.25, 0.99),
        row("tc[0]", "balanced", -0.02, 0.97),
        row("mi", "stratified", 0.40, 0.98),
        row("mi", "weighted", -6.0, 0.96),
    ]
    assert verify.conclusion(rows) == (
        "Train with balanced or stratified: at batches of 256 the estimates are off by at most "
        "0.40 nats (weighted 6.00), and the mean gradients have a cosine of at least 0.970 with "
        "exact ones. Report exact values, never those of batches: 2 of these 3 estimates are off "
        "by more than two standard errors."
    )


# -- bounds ----------------------------------------------------------------------------------------

FINE = {
    "elbo": (-10.0, 0.1),
    "recon": (-5.0, 0.1),
    "mi": (3.0, 0.1),
    "tc[0]": (0.5, 0.1),
    "kl[1]": (1.5, 0.1),
}


def test_values_that_can_be_are_left_alone():
    assert bounds.breaches(FINE, 1000, "exact") == []
    assert bounds.breaches({**FINE, "tc[0]": (-0.3, 0.1), "mi": (3.8, 0.1)}, 1000, "exact") == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mi", 7.5, "is more than log N = 6.91"),
        ("mi", -0.6, "below 0, which an information is not"),
        (
            "tc[0]",
            -0.6,
            "below 0, which a total correlation is not: minibatch, B=128 underestimates",
        ),
        ("kl[1]", -0.6, "a KL divergence is not"),
        ("recon", -9.0, "does not add up"),
    ],
)
def test_values_that_cannot_be_are_named(name, value, said):
    found = bounds.breaches(
        {**FINE, name: (value, 0.1)}, 1000, "minibatch, B=128", standard_errors=4
    )
    assert any(said in text for text in found)
