"""Models that bring each number of x to mean 0 and standard deviation 1 are models of x as it
is.
"""

import csv
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import unweave as uw
from unweave import cli, nets
from unweave.models.model import seeded

MEAN, SD = torch.tensor([0.0, -3e4, 12.0]), torch.tensor([1e-3, 5e5, 2.0])


def rows(n, seed=0):
    return MEAN + SD * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).double()


def pair(family):
    """The same weights with and without standardising, in float64."""
    build, other = {
        "vae": (uw.models.vae, {}),
        "hfvae": (uw.models.hfvae, {"classes": 3}),
    }[family]
    plain, standard = (
        build((3,), hidden=(8, 6), normals=2, likelihood="normal", standardise=on, **other).double()
        for on in (False, True)
    )
    for weight in plain.parameters():
        weight.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    standard.load_state_dict(plain.state_dict(), strict=False)
    return plain, uw.models.measured(standard, rows(500))


def test_measured_numbers_are_those_of_numpy_and_constants_stay():
    x = np.concatenate([rows(50).numpy(), np.full((50, 1), 7.0)], 1)
    seen = nets.Standard((4,)).double().measure(torch.as_tensor(x))
    np.testing.assert_allclose(seen.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(seen.sd, [*x[:, :3].std(0), 1.0], rtol=1e-12)
    y = seen(torch.as_tensor(x))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(y[:, :3].std(0, correction=0), 1, rtol=1e-12)
    np.testing.assert_allclose(seen.back(y), x, rtol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("family", ["vae", "hfvae"])
def test_densities_are_of_x_in_its_own_units(family):
    """log p(x|z) = log p(standardised x|z) − Σ log sd, and the rest of the bound is the same."""
    plain, standard = pair(family)
    x = rows(20, seed=2)
    y = standard.encoder.standard(x)
    with seeded(0):
        q, p = standard(x)
    with seeded(0):
        of_y = plain(y)
    change = standard.encoder.standard.sd.log().sum()
    torch.testing.assert_close(uw.recon(q, p), uw.recon(*of_y) - change, rtol=0, atol=1e-9)
    torch.testing.assert_close(uw.elbo(q, p), uw.elbo(*of_y) - change, rtol=0, atol=1e-9)
    torch.testing.assert_close(standard.encode(x), plain.encode(y), rtol=0, atol=1e-9)
    back = standard.encoder.standard.back(plain.reconstruct(y))
    torch.testing.assert_close(standard.reconstruct(x), back, rtol=1e-12, atol=1e-9)


def test_what_was_measured_is_saved_and_not_trained(tmp_path):
    _, model = pair("vae")
    model.float()
    x = rows(5).float()
    uw.save(model, tmp_path / "model")
    assert torch.equal(uw.load(tmp_path / "model").encode(x), model.encode(x))
    assert not any("standard" in name for name, _ in model.named_parameters())


def test_errors_say_what_was_expected():
    with pytest.raises(
        ValueError, match="standardise=True with likelihood='bernoulli': expected 'normal'"
    ):
        uw.models.vae((3,), standardise=True)
    with pytest.raises(ValueError, match="build it with standardise=True"):
        uw.models.measured(uw.models.vae((3,), likelihood="normal"), rows(5))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "hfvae"])
def test_a_table_of_very_different_columns_trains_and_its_model_takes_raw_rows(tmp_path, kind):
    table = rows(120).numpy()
    with open(tmp_path / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c"], *table.tolist()])
    words = [
        "train",
        "own",
        "--data",
        str(tmp_path / "table.csv"),
        "--model",
        kind,
        "--classes",
        "4",
        "--epochs",
        "2",
    ]
    done = CliRunner().invoke(cli.app, [*words, "--out", str(tmp_path / "run"), "--patience", "5"])
    assert done.exit_code == 0, done.output
    assert "brought to mean 0 and standard deviation 1" in done.output
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    units = -np.log(
        table.std(0)
    ).sum()  # log p(x|z) of the data's own units, for Normals about as wide as the data
    assert abs(scores["test"]["recon"][0] - (units - 1.5 * np.log(2 * np.pi) - 1.5)) < 3
    model = uw.load(tmp_path / "run")
    codes = model.encode(table.astype(np.float32))
    assert codes.shape == (120, 10 if kind == "vae" else 11)
    assert codes[:, -1].std() > 0
    if kind == "hfvae":
        assert model.config["classes"] == 4
