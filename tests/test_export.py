"""Exported encoders and decoders give what the model gives, for any number of items."""

import json

import numpy as np
import pytest
import torch

import unweave as uw
from unweave.export import decoder, encoder, export
from unweave.recipes.clusters import DEMO_VIEWS

TABLE = [("normal", 3), ("poisson", 2), ("categorical", 3)]


DIGITS = uw.data.digits().x


def digits():
    """A model as the recipe `digits` trains it; batch normalisation has seen items."""
    model = uw.models.invariant((8, 8), (400,), normals=6, views=DEMO_VIEWS)
    with torch.no_grad():
        model(torch.tensor(DIGITS[:200]))
    return model, DIGITS[:20]


MODELS = {
    "digits": digits,
    "convolutions": lambda: (
        uw.models.vae((16, 16, 3), (32, 16), normals=4, net="conv"),
        np.random.default_rng(0).random((20, 16, 16, 3), np.float32),
    ),
    "concrete": lambda: (
        uw.models.hfvae((8, 8), (32, 16), normals=3),
        DIGITS[:20],
    ),
    "enumerated": lambda: (
        uw.models.hfvae((8, 8), (32, 16), normals=3, temperature=None),
        DIGITS[:20],
    ),
}


def noise_for(part, n):
    """Noise of each input, by its shape and distribution."""
    draws = {}
    for name, kind in part.noise.items():
        noise = torch.empty([n if size == "n" else size for size in part.inputs[name]])
        draws[name] = noise.normal_() if kind == "standard Normal" else noise.exponential_()
    return draws


def made(name):
    """A model and items."""
    torch.manual_seed(0)
    model, x = MODELS[name]()
    return model.eval(), torch.tensor(x)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_programs_of_torch_give_what_the_model_gives(name, tmp_path):
    model, x = made(name)
    text = {"unweave.json": ""}
    files = export(model, tmp_path, "torch")
    encode = torch.export.load(files[0], extra_files=text).module()
    about = json.loads(text["unweave.json"])
    assert about["units"] == model.units()
    part = encoder(model)
    noise = noise_for(part, len(x)).values()
    found = encode(x, *noise)
    torch.testing.assert_close(list(found), part.tape(x, *noise), rtol=0, atol=1e-5)
    _, *sites = found
    (found,) = torch.export.load(files[1]).module()(*sites)
    wanted = model.decode(**dict(zip(list(about["outputs"])[1:], sites, strict=True)))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "convolutions"])
def test_onnx_gives_what_torch_gives(name, tmp_path):
    pytest.importorskip("onnxscript", exc_type=ImportError)
    runtime = pytest.importorskip("onnxruntime", exc_type=ImportError)
    model, x = made(name)
    files = export(model, tmp_path, "onnx")
    encode, decode = (runtime.InferenceSession(file) for file in files)
    about = json.loads(encode.get_modelmeta().custom_metadata_map["unweave"])
    part = encoder(model)
    for n in (1, len(x)):
        noise = noise_for(part, n)
        given = {"x": x[:n], **noise}
        found = encode.run(None, {name: t.numpy() for name, t in given.items()})
        for got, wanted in zip(found, part.tape(*given.values()), strict=True):
            np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=1e-5)
        sites = dict(zip(list(about["outputs"])[1:], found[1:], strict=True))
        (mean,) = decode.run(None, sites)
        np.testing.assert_allclose(mean, model.decode(**sites).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["digits", "convolutions"])
def test_codes_that_need_no_draw_are_the_models(name):
    model, x = made(name)
    part = encoder(model)
    codes = part.tape(x, *noise_for(part, len(x)).values())[0]
    torch.testing.assert_close(codes, model.encode(x), rtol=0, atol=1e-5)


def test_noise_is_of_its_distribution():
    """Draws of a site from noise are draws of its posterior: frequencies within 5 σ of q(y|x)."""
    torch.manual_seed(0)
    model = uw.models.hfvae((4,), (8, 8), classes=3, normals=2, temperature=None).eval()
    x = torch.rand(1, 4)
    probs = model.encoder(x)["y"].dist.probs[0]  # (classes,)
    part, n = encoder(model), 4000
    y = part.tape(x.expand(n, 4), *noise_for(part, n).values())[1]  # (n, classes)
    error = (probs * (1 - probs) / n).sqrt()
    assert ((y.mean(0) - probs).abs() < 5 * error).all()


def test_tables_are_exported_with_what_the_decoder_is_given():
    torch.manual_seed(0)
    model = uw.models.table((8,), TABLE, normals=2, library=True).eval()
    part = decoder(model)
    assert list(part.inputs) == ["x", "z"]
    x = torch.rand(6, 8)
    codes = model.posterior(x)["z"].value
    wanted = model.decoder(x, uw.Trace.given(z=codes))
    torch.testing.assert_close(part.tape(x, codes)[0], wanted["x"].dist.mean)


def test_a_program_that_forks_is_refused():
    model = uw.models.vae((4,), (8,), normals=2)
    plain = model.encoder.forward

    def forks(x):
        return plain(x * 2 if len(x) > 5 else x + 1)

    model.encoder.forward = forks
    with pytest.raises(ValueError, match="the encoder works otherwise at other items"):
        encoder(model)


def test_other_kinds_of_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="to='keras': expected one of onnx, torch"):
        export(uw.models.vae((4,)), tmp_path, "keras")
