"""Scores against slow twins: explicit loops over items, classes, units and assignments."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Normal,
    RelaxedOneHotCategorical,
    TransformedDistribution,
)

import unweave as uw
from unweave.evaluation import codes, evaluate, factors, gains, pictures, remarks, terms
from unweave.evaluation.encoded import encoded
from unweave.evaluation.joint import joint
from unweave.evaluation.sums import Sums
from unweave.models.model import hard, seeded
from unweave.pages import run as report
from unweave.run import fit
from unweave.runs import compare
from unweave.training.recipe import Recipe
from unweave.training.trainer import Trainer

N, POINTS, CLASSES, NORMALS = 14, 6, 3, 2
T = 0.66


@pytest.fixture(scope="module")
def setting():
    """A model that is far from its start, in float64, and the traces of all N items."""
    with seeded(3):
        model = uw.models.hfvae((8, 8), hidden=(8, 6), classes=CLASSES, normals=NORMALS).double()
        for weight in model.parameters():
            weight.data.normal_(0, 0.4)
        x = torch.as_tensor(uw.data.digits().x[:N]).double()
        with torch.no_grad():
            q, p = model(x)
    return model, x, q, p, torch.tensor([1, 2, 5, 8, 9, 13])


def density(dist, value):
    """The log-density of one item's Concrete, by torch's own."""
    return RelaxedOneHotCategorical(
        torch.tensor(T, dtype=torch.double), logits=dist.logits
    ).log_prob(value)


class Twin:
    """Log-densities of one item's code under one item's posterior, one number at a time."""

    def __init__(self, model, x, q):
        self.model, self.x, self.q = model, x, q

    def y(self, i, n):
        return density(self.item(n)["y"].dist, self.q["y"].value[i])

    def unit(self, i, n, d):
        """z_d given the y_n that was drawn for item n."""
        dist = self.q["z"].dist
        return Normal(dist.loc[n, d], dist.scale[n, d]).log_prob(self.q["z"].value[i, d])

    def z(self, i, n):
        return sum(self.unit(i, n, d) for d in range(NORMALS))

    def joint(self, i, n):
        """log q(y_i|x_n) q(z_i|x_n, y_i): the encoder is run on item n with y_i."""
        trace = self.item(n, y=self.q["y"].value[i][None])
        z = (
            Normal(trace["z"].dist.loc[0], trace["z"].dist.scale[0])
            .log_prob(self.q["z"].value[i])
            .sum()
        )
        return density(trace["y"].dist, self.q["y"].value[i]) + z

    def independent(self, i, n):
        return self.y(i, n) + self.z(i, n)

    @torch.no_grad()
    def item(self, n, **given):
        with seeded(0):
            return self.model.encoder(self.x[n : n + 1], **given)

    def mixture(self, what, i, items=range(N)):
        """log 1/|items| Σ_n exp what(i, n)."""
        return torch.stack([torch.as_tensor(what(i, n)).squeeze() for n in items]).logsumexp(
            0
        ) - math.log(len(items))


@pytest.fixture(scope="module")
def twin(setting):
    model, x, q, _, _ = setting
    return Twin(model, x, q)


def mean(values):
    return float(torch.stack(list(values)).mean())


@torch.no_grad()
def test_the_joint_runs_the_encoder_with_each_items_y(setting, twin):
    model, x, q, _, some = setting
    found = joint(model, x, q.take(some), (("y", (0,)), ("z", (0, 1))))
    expected = torch.stack([twin.mixture(twin.joint, i) for i in some])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    part = joint(model, x, q.take(some), (("y", (0,)), ("z", (1,))))  # some units of a site

    def of_unit_1(i, n):
        trace = twin.item(n, y=q["y"].value[i][None])
        z = Normal(trace["z"].dist.loc[0, 1], trace["z"].dist.scale[0, 1]).log_prob(
            q["z"].value[i, 1]
        )
        return density(trace["y"].dist, q["y"].value[i]) + z

    torch.testing.assert_close(
        part, torch.stack([twin.mixture(of_unit_1, i) for i in some]), rtol=1e-9, atol=1e-9
    )


@torch.no_grad()
def test_the_dependence_is_the_gap_of_the_joint_blocks_alone(setting, twin):
    model, x, q, p, some = setting
    rows = q.take(some)
    d = uw.Densities(rows, p.take(some), groups=("y", "z"), aggregate=uw.exact(q), kl="sampled")
    gaps = terms.dependence(model, x, rows, d)
    assert list(gaps.levels) == [0]  # at level 1 each block is one site
    assert sorted(gaps.rows.tolist()) == list(range(POINTS))
    expected = torch.stack(
        [twin.mixture(twin.joint, i) - twin.mixture(twin.independent, i) for i in some]
    )
    torch.testing.assert_close(gaps.levels[0], expected[gaps.rows], rtol=1e-9, atol=1e-9)
    assert float(expected.abs().max()) > 0.1  # or this test sees nothing

    few = terms.dependence(model, x, rows, d, pairs=3 * N)  # three rows, the first of the others
    torch.testing.assert_close(few.rows, gaps.rows[:3])
    torch.testing.assert_close(few.levels[0], gaps.levels[0][:3], rtol=1e-9, atol=1e-9)

    nested = uw.Densities(
        rows, p.take(some), groups=(("y", "z[0]"), "z[1]"), aggregate=uw.exact(q), kl="sampled"
    )
    assert list(terms.dependence(model, x, rows, nested).levels) == [0, 1]
    with seeded(0):
        plain = uw.models.vae((8, 8), hidden=(8, 6), normals=2).double()
        q1, p1 = plain(x)
    one = uw.Densities(q1, p1, groups=("z",), aggregate=uw.exact(q1), kl="sampled")
    assert terms.dependence(plain, x, q1, one).levels == {}


@torch.no_grad()
def test_the_decomposition(setting, twin):
    """Each term by double loops; together they are the ELBO, term by term and with its errors."""
    model, x, q, p, some = setting
    found = terms.information(model, x, Sums(q, q.take(some)), some, ("y", "z"))
    exact = {name: term["exact"] for name, term in found["terms"].items()}

    own = [twin.y(i, i) + twin.z(i, i) for i in some]
    joint = [twin.mixture(twin.joint, i) for i in some]
    y = [twin.mixture(twin.y, i) for i in some]
    z = [twin.mixture(twin.z, i) for i in some]
    units = [
        sum(twin.mixture(lambda i, n, d=d: twin.unit(i, n, d), i) for d in range(NORMALS))
        for i in some
    ]
    prior_y = [density(p["y"].dist, q["y"].value[i]) for i in some]
    prior_z = [Normal(0, 1).log_prob(q["z"].value[i]).sum() for i in some]
    logits = p["x"].dist.logits
    recon = [
        -torch.nn.functional.binary_cross_entropy_with_logits(logits[i], x[i], reduction="sum")
        for i in some
    ]

    def same(name, values):
        assert exact[name] == pytest.approx(mean(values), abs=1e-9), name

    same("recon", recon)
    same("mi", [a.squeeze() - b for a, b in zip(own, joint, strict=True)])
    same("tc[0]", [a - b - c for a, b, c in zip(joint, y, z, strict=True)])
    same("tc[1]", [a - b for a, b in zip(z, units, strict=True)])
    same("kl[2]", [a + b - c - e for a, b, c, e in zip(y, units, prior_y, prior_z, strict=True)])
    same(
        "elbo",
        [r - o.squeeze() + a + b for r, o, a, b in zip(recon, own, prior_y, prior_z, strict=True)],
    )
    parts = exact["recon"] - exact["mi"] - exact["tc[0]"] - exact["tc[1]"] - exact["kl[2]"]
    assert exact["elbo"] == pytest.approx(parts, abs=1e-9)

    assert (found["exact_n"], found["exact_points"]) == (N, POINTS)
    assert found["units"] == ["y", "z[0]", "z[1]"]
    assert found["unit_group"] == ["y", "z", "z"]
    with seeded(0):
        given = model.encoder(x[some])["y"].dist.sample((gains.DRAWS,))
    draws = [model.encoder(x[some], y=y)["z"].dist for y in given]
    for d in range(NORMALS):
        values = []
        for row, i in enumerate(some):
            value = q["z"].value[i, d]
            of_draws = [Normal(z.loc[row, d], z.scale[row, d]).log_prob(value) for z in draws]
            log_q_x = torch.stack(of_draws).logsumexp(0) - math.log(len(draws))
            values.append(log_q_x - twin.mixture(lambda i, n, d=d: twin.unit(i, n, d), i))
        values = torch.stack(values)
        expected = [float(values.mean()), float(values.std()) / math.sqrt(POINTS)]
        assert found["I(x;z)"][f"z[{d}]"] == pytest.approx(expected, abs=1e-9)
    y_values = torch.stack([twin.y(i, i).squeeze() - twin.mixture(twin.y, i) for i in some])
    assert found["I(x;z)"]["y"][0] == pytest.approx(float(y_values.mean()), abs=1e-9)


@pytest.mark.parametrize("missing", [False, True])
def test_class_information(setting, twin, missing):
    _, _, q, _, some = setting
    data = uw.data.digits().subset(range(N))
    labels = np.arange(N) % 3
    labels[0] = (
        3 if not missing else -1
    )  # class 3 has an item that is not scored, class 4 none at all
    if missing:
        labels[[5, 7]] = -1
    data = dataclasses.replace(data, factors=labels[:, None], sizes=(5,), values=(tuple("abcde"),))
    found = factors.class_information(Sums(q, q.take(some)), some, data)
    table = found["I(y;z)"]
    assert table["names"] == ["y", "z", "z[0]", "z[1]"]
    assert table["kinds"] == ["group", "group", "unit", "unit"]

    scored = [int(i) for i in some if labels[i] >= 0]
    whats = [twin.y, twin.z, lambda i, n: twin.unit(i, n, 0), lambda i, n: twin.unit(i, n, 1)]
    known = [n for n in range(N) if labels[n] >= 0]
    gain = {
        (i, column): twin.mixture(what, i, [n for n in known if labels[n] == labels[i]])
        - twin.mixture(what, i, known)
        for i in scored
        for column, what in enumerate(whats)
    }
    for column in range(4):
        assert table["total"][column] == pytest.approx(
            mean(gain[i, column] for i in scored), abs=1e-6
        )
    for c in range(5):
        its = [i for i in scored if labels[i] == c]
        if not its:
            assert table["per_class"][c] is None
            continue
        for column in range(4):
            assert table["per_class"][c][column] == pytest.approx(
                mean(gain[i, column] for i in its), abs=1e-6
            )
    share = np.bincount(labels[known]) / len(known)
    assert found["entropy_y"] == pytest.approx(-sum(s * math.log(s) for s in share if s), abs=1e-6)


def test_class_information_without_labels(setting):
    _, _, q, _, some = setting
    data = uw.data.digits().subset(range(N))
    data = dataclasses.replace(data, factors=np.full((N, 1), -1))
    assert factors.class_information(Sums(q, q.take(some)), some, data) == {}


def best_assignment(classes, labels):
    """Every one-to-one assignment of the classes to ten labels."""
    table = [[sum((classes == k) & (labels == c)) for c in range(10)] for k in range(CLASSES)]
    return max(
        sum(table[k][c] for k, c in enumerate(chosen))
        for chosen in itertools.permutations(range(10), CLASSES)
    )


def test_discrete_scores(setting):
    model, _, _, _, _ = setting
    train, test = uw.data.digits().subset(range(60)), uw.data.digits().subset(range(60, 140))
    model = uw.models.hfvae((8, 8), hidden=(8, 6), classes=CLASSES, normals=NORMALS)
    model.load_state_dict({name: t.float() for name, t in setting[0].state_dict().items()})
    labels = test.factors[:, 0].copy()
    labels[:9] = -1
    test = dataclasses.replace(test, factors=labels[:, None])
    found = codes.discreteness(model.posterior(train.x)) | codes.agreement(
        model.posterior(test.x), test, {}
    )

    classes = model.encode(test.x)[:, 0].numpy()
    assert len(np.unique(classes)) > 1
    assert found["accuracy"]["y"] == pytest.approx(best_assignment(classes[9:], labels[9:]) / 71)
    probs = model.posterior(train.x)["y"].dist.logits.softmax(-1).double().numpy()
    left = -np.mean([sum(v * math.log(v) for v in row) for row in probs])
    total = -sum(v * math.log(v) for v in probs.mean(0))
    assert found["conditional_entropy"]["y"] == pytest.approx(left, abs=1e-5)
    assert found["discrete_information"]["y"] == pytest.approx(total - left, abs=1e-5)

    trained = codes.agreement(
        model.posterior(test.x), test, {"y": "digit"}
    )  # no matching: as the label says
    wrong = sum(k != c for k, c in zip(classes[9:], labels[9:], strict=True)) / 71
    assert "accuracy" not in trained
    assert trained["error"]["y"] == pytest.approx([wrong, math.sqrt(wrong * (1 - wrong) / 70)])


def test_agreement_is_of_the_factor_that_trained_a_site():
    """Each of two sites is held against its own factor, a site of several units against none."""
    q, logits = uw.Trace(), torch.eye(3)[torch.tensor([0, 1, 2, 2])] * 9
    for name, values in (
        ("a", logits),
        ("b", logits.flip(0)),
        ("many", logits.expand(5, 4, 3).swapaxes(0, 1)),
    ):
        q.concrete(values, 0.5, name=name)
    factors = np.array([[0, 1], [1, 1], [2, 1], [0, -1]])
    data = uw.data.Data(
        np.zeros((4, 2), np.float32), factors, ("v", "w"), (3, 3), (("0", "1", "2"),) * 2, "four"
    )
    found = codes.agreement(q.draw(), data, {"b": "w", "many": "v"})
    assert found["error"] == {"b": pytest.approx([2 / 3, math.sqrt(2 / 3 * 1 / 3 / 2)])}
    assert found["accuracy"] == {"a": 0.75}


def test_entropies_of_a_site_of_several_units_are_sums():
    q = uw.Trace()
    logits = torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    q.concrete(logits, 0.5, name="y")
    found = codes.discreteness(q)
    p = logits.softmax(-1).double().numpy()
    left = sum(-(p[:, t] * np.log(p[:, t])).sum() / 50 for t in range(4))
    whole = sum(-(m := p[:, t].mean(0)) @ np.log(m) for t in range(4))
    assert found["conditional_entropy"]["y"] == pytest.approx(left, rel=1e-5)
    assert found["discrete_information"]["y"] == pytest.approx(whole - left, rel=1e-4)


def test_minibatch_values_are_those_of_training(setting):
    recipe = small("hfvae", held_out=0)
    trainer = Trainer(recipe, "cpu")
    names = ("elbo", "recon", "mi", "tc[0]", "tc[1]", "kl[2]")
    with torch.no_grad(), seeded(4):
        two = trainer.epoch_order(0)[:2]
        column, _ = terms.minibatch_column(recipe, trainer.model, trainer.train, two)
    assert column.keys() == set(names)
    forms = {
        "elbo": uw.elbo,
        "recon": uw.recon,
        "mi": uw.mi,
        "tc[0]": uw.tc[0],
        "tc[1]": uw.tc[1],
        "kl[2]": uw.kl[-1],
    }
    values = {name: [] for name in names}
    with torch.no_grad(), seeded(4):
        for items in trainer.epoch_order(0)[:2]:
            q, p = trainer.model(trainer.train.x[items])
            for name in names:
                d = forms[name](q, p, groups=("y", "z"), aggregate=uw.minibatch(len(recipe.data)))
                values[name].append(float(d.mean()))
    for name in names:
        assert column[name]["minibatch"] == pytest.approx(np.mean(values[name]), rel=1e-5, abs=1e-5)
        assert column[name]["minibatch_sd"] == pytest.approx(
            np.std(values[name]), rel=1e-4, abs=1e-5
        )


@pytest.mark.parametrize("batches", [2, 11, 100])
def test_a_mean_over_few_batches_breaks_no_bound_by_noise(batches):
    """0.45 below a bound is noise, but for the mean of a hundred batches that spread by 1."""
    values = np.resize([-1.0, 1.0], batches)
    term = {"exact": 0.1, "se": 0.01, "minibatch": -0.45, "minibatch_sd": float(values.std())}
    error = values.std(ddof=1) / math.sqrt(batches)
    is_noise = 4 * error + 0.01 > 0.45
    assert is_noise == (batches < 100)
    broken = terms.breached({"tc[0]": term}, small("hfvae"), True, batches)
    assert bool(broken) != is_noise
    farther = term | {"minibatch": -4 * error - 0.02}
    assert terms.breached({"tc[0]": farther}, small("hfvae"), True, batches)


def test_one_batch_shows_no_spread_and_breaks_no_bound():
    term = {"exact": 0.1, "se": 0.01, "minibatch": -0.3, "minibatch_sd": 0.0}
    assert terms.breached({"tc[0]": term, "mi": term}, small("hfvae"), True, 1) == []


def test_the_batches_are_those_that_there_are(tmp_path, monkeypatch):
    counted = []

    def breached(table, recipe, factorises, batches):
        counted.append(batches)
        return []

    monkeypatch.setattr(terms, "breached", breached)
    recipe = small("vae")
    evaluate.evaluate(recipe, recipe.model(), tmp_path)
    assert counted == [recipe.per_epoch] == [2]


# -- a whole evaluation ----------------------------------------------------------------------------

DIGITS = uw.data.digits()
FAMILIES = {
    "hfvae": (
        lambda: uw.models.hfvae((8, 8), hidden=(16, 8), normals=3),
        uw.hfvae(1, 12, 4),
        ("y", "z"),
    ),
    "vae": (lambda: uw.models.vae((8, 8), hidden=(16, 8), normals=2), uw.elbo, ("z",)),
    "autoencoder": (
        lambda: uw.models.autoencoder((8, 8), hidden=(16, 8), normals=2),
        uw.recon,
        None,
    ),
}


def small(family, **changes):
    model, objective, groups = FAMILIES[family]
    recipe = Recipe(
        name=family,
        data=DIGITS.subset(range(100)),
        test=DIGITS.subset(range(100, 150)),
        model=model,
        objective=objective,
        groups=groups,
        epochs=1,
        batch=32,
        held_out=10,
    )
    return dataclasses.replace(recipe, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_written(tmp_path, family):
    recipe = small(family)
    run = fit(recipe, tmp_path / "run", quiet=True)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"scores.json", "evaluation.npz", "README.md", "report.html"} <= names
    text = (tmp_path / "run" / "scores.json").read_text()
    scores = json.loads(
        text, parse_constant=lambda constant: pytest.fail(f"{constant} in scores.json")
    )
    assert (scores["classes"], scores["factor"]) == (list("0123456789"), "digit")
    assert scores == run.scores  # numbers, lists and strings all the way down

    arrays = np.load(tmp_path / "run" / "evaluation.npz", allow_pickle=False)
    for name in arrays.files:
        if arrays[name].dtype.kind == "f":
            assert np.isfinite(arrays[name]).all(), name
    units = {
        "hfvae": ["y", "z[0]", "z[1]", "z[2]"],
        "vae": ["z[0]", "z[1]"],
        "autoencoder": ["z[0]", "z[1]"],
    }[family]
    for unit in units:
        steps = 10 if unit == "y" else len(pictures.QUANTILES)
        assert arrays[f"traversal/{unit}"].shape == (5, steps, 8, 8)
        assert arrays[f"traversal_at/{unit}"].shape == (steps,)
    assert arrays["x"].shape == arrays["reconstruction"].shape == (20, 8, 8)
    assert sorted(arrays["labels"].tolist()) == sorted(list(range(10)) * 2)  # two of each digit
    assert arrays["embedding"].shape == (50, 2)
    assert str(arrays["embedding_kind"]) == ("t-SNE of codes" if family == "hfvae" else "codes")
    assert ("prior_samples" in arrays.files) == (family != "autoencoder")
    if family == "autoencoder":
        assert set(scores["test"]) == {"recon"}
        assert "terms" not in scores
        return
    assert arrays["prior_samples"].shape == (60, 8, 8)
    exact = {name: term["exact"] for name, term in scores["terms"].items()}
    total = exact["recon"] - sum(
        value for name, value in exact.items() if name not in ("recon", "elbo")
    )
    assert exact["elbo"] == pytest.approx(total, abs=1e-3)
    assert scores["log_n"] == pytest.approx(math.log(90))
    assert scores["exact_n"] == scores["exact_points"] == 90
    assert 0 <= scores["I(x;z)"]["z[0]"][0] <= math.log(90)
    elbo, recon, kl = (scores["test"][name][0] for name in ("elbo", "recon", "kl"))
    assert elbo == pytest.approx(recon - kl, abs=1e-3)


@pytest.mark.slow
def test_an_evaluation_is_repeatable_and_its_points_a_sample(tmp_path):
    recipe = dataclasses.replace(small("hfvae"), points=30)
    run = fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    scores = [
        evaluate.evaluate(recipe, run.model, tmp_path / "run", points=points)
        for points in (90, 90, None)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert scores[0] == scores[1]
    assert scores[2]["exact_points"] == 30
    for name, term in scores[0]["terms"].items():
        fewer = scores[2]["terms"][name]
        assert abs(term["exact"] - fewer["exact"]) < 5 * math.hypot(term["se"], fewer["se"]) + 1e-3


def test_a_traversal_changes_one_unit(setting):
    """The others stay as they are, and a step at the unit's own value changes nothing."""
    model = FAMILIES["hfvae"][0]().eval()
    x = DIGITS.x[:3]
    start = {name: hard(node) for name, node in model.posterior(x).items()}
    own = start["z"][1, 2]
    strips = pictures.traverse(model, start, "z", 2, torch.stack([own, own + 1]))
    torch.testing.assert_close(strips[1, 0], model.decode(**start)[1])
    moved = start["z"].clone()
    moved[:, 2] = own + 1
    torch.testing.assert_close(strips[:, 1], model.decode(y=start["y"], z=moved))
    kinds = pictures.traverse(model, start, "y", 0, torch.eye(10))
    assert kinds.shape == (3, 10, 8, 8)
    torch.testing.assert_close(kinds[:, 4], model.decode(y=torch.eye(10)[[4, 4, 4]], z=start["z"]))


class Shifted(torch.nn.Module):
    """An encoder whose items differ in the parameters of a transform."""

    def __init__(self):
        super().__init__()
        self.loc = torch.nn.Linear(64, 2)

    def forward(self, x):
        q = uw.Trace()
        unit = Normal(torch.zeros(len(x), 2), 1.0)
        shift = AffineTransform(self.loc(x.flatten(1)), 2.0)
        q.sample(TransformedDistribution(unit, [shift]), name="z")
        return q


@torch.no_grad()
def test_parameters_of_transforms_are_encoded_some_at_a_time_too():
    with seeded(0):
        model = uw.models.Model(Shifted(), torch.nn.Identity())
        x = torch.as_tensor(DIGITS.x[:23])
        whole, chunked = model.encoder(x), encoded(model, x, rows=8)
    value = torch.zeros(23, 2)
    torch.testing.assert_close(chunked["z"].dist.log_prob(value), whole["z"].dist.log_prob(value))


class TalksEncoder(torch.nn.Module):
    """The encoder of the talk: torch.cat needs hidden layer and y of one number of dimensions."""

    def __init__(self):
        super().__init__()
        self.h, self.y_log_weights = torch.nn.Linear(64, 8), torch.nn.Linear(8, 10)
        self.z_mean, self.z_log_std = torch.nn.Linear(18, 2), torch.nn.Linear(18, 2)

    def forward(self, x, y=None):
        q = uw.Trace()
        h = self.h(x.flatten(1)).relu()
        y = q.concrete(self.y_log_weights(h), 0.66, value=y, name="y")
        hy = torch.cat([h, y], -1)
        q.normal(self.z_mean(hy), self.z_log_std(hy).exp(), name="z")
        return q


class TalksDecoder(torch.nn.Module):
    """Flat pixels, where the data are images."""

    def __init__(self):
        super().__init__()
        self.x_mean = torch.nn.Linear(12, 64)
        self.bce = torch.nn.BCEWithLogitsLoss(reduction="none")

    def forward(self, x, q):
        p = uw.Trace()
        y = p.concrete(torch.zeros(10), 0.66, value=q["y"], name="y")
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        p.loss(
            self.bce,
            self.x_mean(torch.cat([y, z], -1)),
            None if x is None else x.flatten(1),
            name="x",
        )
        return p


@pytest.mark.slow
def test_a_program_written_as_in_the_talk_is_trained_scored_and_drawn(tmp_path):
    data = uw.data.digits().subset(range(60))
    recipe = Recipe(
        "talk",
        data,
        lambda: uw.models.Model(TalksEncoder(), TalksDecoder()),
        uw.hfvae(1, 12, 4),
        groups=("y", ("z[:1]", "z[1:]")),
        labels={"y": "digit"},
        epochs=1,
        batch=20,
    )
    run = fit(recipe, tmp_path / "run", quiet=True)
    assert (run.folder / "report.html").exists()
    share, error = run.scores["error"]["y"]  # of the classes that labels trained, without matching
    wrong = run.model.encode(data.x)[:, 0].numpy() != data.factors[:, 0]
    assert share == pytest.approx(wrong.mean())
    assert error == pytest.approx(wrong.std(ddof=1) / math.sqrt(60))
    assert "accuracy" not in run.scores
    assert [f"{share:.3f}"] == [
        row[1] for row in compare.table([run.folder])[1] if row[0] == "error of y"
    ]
    assert (
        f"| error of y | {share:.4f} ± {error:.4f} (a share) |"
        in (run.folder / "README.md").read_text()
    )
    assert "Error of y" in (run.folder / "report.html").read_text()
    with np.load(run.folder / "evaluation.npz") as arrays:
        assert arrays["reconstruction"].shape == arrays["x"].shape == (20, 8, 8)
        assert arrays["traversal/z[1]"].shape[2:] == (8, 8)


def test_a_traversal_of_many_classes_shows_a_few():
    """A strip of 64 classes would be wider than the page: it shows twelve, from first to last."""
    for classes, shown in ((3, 3), (16, 16), (64, 12)):
        q = uw.Trace()
        q.concrete(torch.zeros(5, classes), 0.66, name="y")
        values, at = pictures.value_range(q["y"], 0)
        assert len(at) == shown
        assert (at[0], at[-1]) == (0, classes - 1)
        assert torch.equal(values.argmax(-1), at)


def test_items_in_the_order_of_their_factors_are_scored_and_shown_from_all_over(monkeypatch):
    """Of 3,000 items in the order of (shape, place), the first thousand are all squares."""
    number = np.arange(3000)
    factors = np.stack([number // 1000, number % 1000 // 200], 1)
    x = factors.astype(np.float32)
    words = (("square", "ellipse", "heart"), tuple("abcde"))
    data = uw.data.Data(x, factors, ("shape", "place"), (3, 5), words, "ordered")
    _, labels = pictures.shown_items(data, 20)
    assert labels.tolist() == [0, 1, 2] * 6 + [0, 1]
    shown, _ = pictures.shown_items(data, 60)
    for shape in range(3):
        places = shown[shown[:, 0] == shape, 1]
        assert set(places) == {0, 1, 2, 3, 4}, shape
    model = uw.models.vae((2,), normals=2, hidden=(4,), likelihood="normal")
    drawn = pictures.embedding(model, data, most=300)["embedding_labels"]
    assert np.bincount(drawn).min() > 70
    seen = []
    monkeypatch.setattr(codes.battery, "scores", lambda z, v: seen.append((z, v)) or [])
    with pytest.raises(ValueError, match="argument"):  # no scores for the metrics' names
        codes.metrics(model.posterior(x), data, most=900)
    _, scored = seen[0]
    assert np.bincount(scored[:, 0]).min() > 250


# -- evaluations of which parts fail ---------------------------------------------------------------


@pytest.mark.parametrize("x", [np.full((60, 4), 3.0), np.zeros((60, 8, 8))])
def test_items_that_are_all_equal_are_scored_and_reported(tmp_path, capsys, x):
    """t-SNE of equal codes meets NaN, and ends the process; everything else is there."""
    data = uw.data.Data(x.astype(np.float32), np.zeros((60, 0), np.int64), (), (), (), "equal")
    recipe = Recipe(
        "equal",
        data,
        lambda: uw.models.vae(x.shape[1:], hidden=(8,), normals=3, likelihood="normal"),
        uw.elbo,
        epochs=1,
        batch=20,
    )
    run = fit(recipe, tmp_path / "run")
    assert run.scores["skipped"] == {"the codes of the data": "the codes of all 60 items are equal"}
    nothing, reason = run.scores["remarks"]
    assert nothing.startswith("Nothing was learnt: all units are idle.")
    assert "all 60 items that it was trained on are equal" in reason
    page = (run.folder / "report.html").read_text()
    for text in (nothing, reason, "the codes of all 60 items are equal"):
        assert text in page
    assert f"note: {nothing}\nnote: {reason}\n" in capsys.readouterr().err
    assert nothing in (run.folder / "README.md").read_text()


@pytest.mark.parametrize(
    "codes_of",
    [
        lambda rng: np.full((60, 3), 3.0),
        lambda rng: 1e-30 * rng.normal(size=(60, 3)),
        lambda rng: 1e25 * rng.normal(size=(60, 3)),
        lambda rng: np.where(rng.random((60, 3)) < 0.1, np.nan, 1.0),
    ],
)
def test_codes_that_tsne_cannot_compute_with_are_refused(codes_of):
    """With each of them t-SNE ends the process, or fails without a word that helps."""
    spread = codes_of(np.random.default_rng(0)).astype(np.float32)
    with pytest.raises(ValueError, match=r"are equal|beyond what|NaN or infinite"):
        pictures.plane(spread)


def test_few_codes_and_few_different_ones_have_a_place():
    rng = np.random.default_rng(0)
    for codes_of in (
        rng.integers(0, 2, (24, 3)),
        np.repeat(rng.normal(size=(2, 4)), 30, 0),
        rng.normal(size=(3, 4)),
        1e-11 * rng.normal(size=(60, 4)),
        1e11 * rng.normal(size=(60, 4)),
    ):
        plane = pictures.plane(codes_of.astype(np.float32))
        assert np.isfinite(plane).all()


def test_what_fails_is_named_and_the_rest_is_there(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such thing")

    parts = {
        "scores of test items": (codes, "bound"),
        "information about factors": (factors, "class_information"),
        "discrete sites": (codes, "discreteness"),
        "codes of test items": (evaluate, "posterior"),
        "pictures": (pictures, "shown_items"),
    }
    for module, name in parts.values():
        monkeypatch.setattr(module, name, broken)
    recipe = small("hfvae", findings=broken)
    run = fit(recipe, tmp_path / "run", quiet=True)
    failed = dict.fromkeys([*parts, "the recipe's own findings"], "no such thing")
    assert run.scores["skipped"] == failed
    assert set(run.scores["terms"]) == {"elbo", "recon", "mi", "tc[0]", "tc[1]", "kl[2]"}
    page = (run.folder / "report.html").read_text()
    for part in failed:
        assert f"{part.replace(chr(39), '&#39;')}: no such thing" in page


def stopped(*_):
    raise KeyboardInterrupt


def test_an_interruption_keeps_what_was_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pictures, "traversals", stopped)
    recipe = small("hfvae")
    run = fit(recipe, tmp_path / "run", evaluate=False, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(recipe, run.model, run.folder)
    scores = json.loads((run.folder / "scores.json").read_text())
    assert {"test", "terms", "I(x;z)", "metrics"} <= set(scores)
    assert scores["skipped"] == {"everything after it": "KeyboardInterrupt"}
    assert f"`unweave report {run.folder}` shows it" in capsys.readouterr().err
    with np.load(run.folder / "evaluation.npz") as arrays:
        assert {"x", "reconstruction"} <= set(arrays.files)
    page = report.write(run.folder).read_text()
    assert "everything after it: KeyboardInterrupt" in page


def test_an_interruption_leaves_an_earlier_evaluation_alone(tmp_path, monkeypatch):
    recipe = small("vae")
    run = fit(recipe, tmp_path / "run", quiet=True)
    before = (run.folder / "scores.json").read_bytes()
    monkeypatch.setattr(codes, "metrics", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(recipe, run.model, run.folder, points=30)
    assert (run.folder / "scores.json").read_bytes() == before


# -- remarks ---------------------------------------------------------------------------------------


def measured(told=1.0, correlation=0.0, seen=0.0):
    term = {"exact": correlation, "se": 0.01, "minibatch": seen, "minibatch_sd": 0.1}
    own = {"exact": told, "se": 0.01, "minibatch": told, "minibatch_sd": 0.1}
    table = {"recon": own, "mi": own, "tc[0]": term, "tc[1]": term, "kl[2]": own}
    return {"terms": table, "I(x;z)": {"y": [told, 0.01], "z[0]": [told / 2, 0.01]}}


FALLING = [{"split": "train", "loss": 100.0 - step} for step in range(8)]
LEVEL = [{"split": "train", "loss": 20.0 + 80.0 / 9**step} for step in range(9)]


def test_a_run_that_learnt_has_no_remarks():
    recipe = small("hfvae")
    assert remarks.remarks(recipe, DIGITS, measured(), FALLING) == []
    assert remarks.remarks(recipe, DIGITS, {}, []) == []  # as of an autoencoder


def test_idle_units_that_tell_much_together_are_no_remark():
    scores = measured(told=0.04)
    scores["terms"]["mi"]["exact"] = 3.0
    assert remarks.remarks(small("hfvae"), DIGITS, scores, LEVEL) == []


def test_the_advice_is_what_the_run_suggests():
    nothing, falling = remarks.remarks(small("hfvae"), DIGITS, measured(told=0.001), FALLING)
    assert "all units are idle" in nothing
    assert "y tells most, 0.001" in nothing
    assert "more epochs (the loss was still falling at the last step, 2)" in falling
    assert "smaller weights (the objective takes tc[0] 12 times, tc[1] 4 times)" in falling
    plain = small("hfvae", objective=uw.elbo)
    _, level = remarks.remarks(plain, DIGITS, measured(told=0.001), LEVEL)
    assert "more epochs" not in level
    assert "smaller weights" not in level
    assert "weights that rise while training" in level


@pytest.mark.parametrize(
    ("objective", "weights"),
    [
        (uw.elbo, (1, 1, 1, 1)),
        (2 * uw.elbo, (1, 1, 1, 1)),
        (uw.beta_vae(4), (4, 4, 4, 4)),
        (uw.hfvae(0.5, 12, 4), (0.5, 12, 4, 1)),
        (uw.recon - 3 * uw.mi - 7 * uw.tc[1] - 2 * uw.kl[-1], (3, 0, 7, 2)),
        (uw.beta_vae(uw.ramp(0, 4, last=2)), (4, 4, 4, 4)),
        (uw.factor_vae(10), (1, 11, 11, 1)),
        (uw.recon, (0, 0, 0, 0)),
    ],
)
def test_weights_are_those_of_the_terms_that_add_up_to_the_objective(objective, weights):
    found = remarks.term_weights(objective.at(2), measured())
    assert list(found) == ["mi", "tc[0]", "tc[1]", "kl[2]"]
    assert tuple(found.values()) == pytest.approx(weights)


def test_latents_that_stay_dependent_are_remarked():
    recipe = small("hfvae")
    blind, between = remarks.remarks(recipe, DIGITS, measured(correlation=5.0, seen=0.3), [])
    assert blind.startswith("tc[0] is 5.00 nats, though the objective takes it 12 times")
    assert "saw 0.30: try a larger batch" in blind
    assert between.startswith("tc[1] is 5.00 nats, though the objective takes it 4 times")
    aware = remarks.remarks(recipe, DIGITS, measured(correlation=5.0, seen=4.0), [])
    assert aware[0].endswith("Try more epochs, or a larger weight.")
    plain = small("hfvae", objective=uw.elbo)
    assert remarks.remarks(plain, DIGITS, measured(correlation=5.0), []) == []
    assert remarks.remarks(recipe, DIGITS, measured(correlation=0.4), []) == []
