"""A model as a folder: rebuilt elsewhere to the same outputs, refused where it does not fit.

Nothing in the folder is ever run.
"""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import unweave as uw
from unweave.runs import artifact

X = uw.data.digits("test").x[:5]
FAMILIES = {
    "hfvae": lambda: uw.models.hfvae((8, 8), hidden=(16, 8), classes=4, normals=3, temperature=0.5),
    "vae": lambda: uw.models.vae((8, 8), hidden=(16, 8), normals=2),
    "autoencoder": lambda: uw.models.autoencoder((8, 8), hidden=(16,), normals=2),
}


@pytest.fixture
def saved(tmp_path):
    return uw.save(FAMILIES["hfvae"](), tmp_path / "saved")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_model(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    edit(folder, model=config["model"] | changes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_model_is_the_same_model(tmp_path, family):
    model = FAMILIES[family]()
    loaded = uw.load(uw.save(model, tmp_path / "saved"))
    assert not loaded.training
    assert loaded.config == json.loads(json.dumps(model.config))
    assert loaded.units() == model.units()
    assert torch.equal(loaded.encode(X), model.encode(X))
    assert torch.equal(loaded.reconstruct(X), model.reconstruct(X))
    again = uw.save(loaded, tmp_path / "again")
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()


CHILD = """
import sys, numpy as np, unweave as uw
model = uw.load(sys.argv[1])
x = uw.data.digits("test").x[:5]
np.savez(sys.argv[2], codes=model.encode(x), x=model.reconstruct(x), prior=model.sample(4, seed=3))
loaded = [name for name in ("pickle_bomb", "model") if name in sys.modules]
print(loaded)
"""


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_and_runs_nothing_from_the_folder(tmp_path):
    """Programs and pickles lie in the folder, under every name that a loader might try."""
    import numpy as np

    torch.set_num_threads(1)
    model = FAMILIES["hfvae"]()
    folder = uw.save(model, tmp_path / "saved")
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    for name in (
        "model.py",
        "__init__.py",
        "setup.py",
        "conftest.py",
        "sitecustomize.py",
        "pickle_bomb.py",
    ):
        (folder / name).write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')\n")
    for name in ("model.pkl", "model.pt", "pytorch_model.bin", "config.pkl", "checkpoints.pt"):
        (folder / name).write_bytes(bomb)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    out = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(tmp_path / "out.npz")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == "[]\n"
    assert not (tmp_path / "exploded").exists()
    with np.load(tmp_path / "out.npz") as found:
        assert np.array_equal(found["codes"], model.encode(X))
        assert np.array_equal(found["x"], model.reconstruct(X))
        assert np.array_equal(found["prior"], model.sample(4, seed=3))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(str(tmp_path / "exploded")))).close()
    assert (tmp_path / "exploded").exists()


def test_a_pickle_in_place_of_the_tensors_is_refused_unread(saved, tmp_path):
    (saved / "model.safetensors").write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        uw.load(saved)
    torch.save({"model": Bomb(str(tmp_path / "exploded"))}, saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        uw.load(saved)
    assert not (tmp_path / "exploded").exists()


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["os.system", "Model", "family", "families", "load", "__import__", None, 3, ["vae"]]
)
def test_unknown_families(saved, name):
    edit_model(saved, family=name)
    known = r"holds a model of family .*; this version knows autoencoder, body_frame, .*, vae$"
    with pytest.raises(ValueError, match=known):
        uw.load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 3},
        {"shape": None},
        {"shape": 8},
        {"shape": "88"},
        {"hidden": []},
        {"hidden": [-1]},
        {"hidden": ["a"]},
        {"classes": "ten"},
        {"classes": -1},
        {"normals": 2.5},
        {"normals": 10**30},
        {"hidden": {}},
        {"shape": [float("inf"), 8]},
        {"temperature": "hot"},
    ],
    ids=str,
)
def test_wrong_arguments(saved, changes):
    edit_model(saved, **changes)
    with pytest.raises(ValueError, match=r"config.json does not describe a hfvae model: "):
        uw.load(saved)


SMALL = {
    **FAMILIES,
    "conv": lambda: uw.models.hfvae((8, 8), hidden=(16, 8), net="conv", order="zy"),
    "mixture": lambda: uw.models.hfvae((8, 8), hidden=(16, 8), prior="mixture"),
    "table": lambda: uw.models.table((3,), [("normal", 2), ("bernoulli", 1)], hidden=(4, 4)),
    "topics": lambda: uw.models.topics((20,), blocks=(3,), hidden=(4,)),
    "invariant": lambda: uw.models.invariant((28, 28), hidden=(4,)),
    "counting": lambda: uw.models.counting((16, 16), side=8, hidden=(4,)),
    "faces": lambda: uw.models.faces((24, 20), (1, 0), people=3, hidden=4, surface=2, shading=2),
    "rigid": lambda: uw.models.rigid((16, 16), side=8, hidden=4),
    "deep_markov": lambda: uw.models.deep_markov((3, 4, 4), 2, 4),
    "switching_linear": lambda: uw.models.switching_linear((3, 4, 4), 2, 4, 2),
    "linear_dynamics": lambda: uw.models.linear_dynamics((3, 4, 4), 2),
    "body_frame": lambda: uw.models.body_frame((3, 8, 8), 2, 4, 2),
    "static_frames": lambda: uw.models.static_frames((3, 4, 4), 2, 4),
}


@pytest.mark.parametrize("family", SMALL)
def test_shapes_are_known_before_a_model_is_built(tmp_path, family):
    """A model of each family is built without memory, and then as it was saved."""
    model = SMALL[family]()
    state = model.state_dict()
    loaded = uw.load(uw.save(model, tmp_path / "saved"))
    assert all(torch.equal(state[name], tensor) for name, tensor in loaded.state_dict().items())
    shapes = artifact._build(loaded.config, tmp_path, on_meta=True).state_dict()
    assert {name: tensor.shape for name, tensor in shapes.items()} == {
        name: tensor.shape for name, tensor in state.items()
    }
    assert {tensor.device.type for tensor in shapes.values()} == {"meta"}


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": [10**9]},
        {"hidden": [10**9, 10**9]},
        {"normals": 10**9},
        {"classes": 10**9},
        {"shape": [10**5, 10**5]},
    ],
    ids=str,
)
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak is Linux's")
def test_a_model_of_an_absurd_size_takes_no_memory(saved, changes):
    import resource

    edit_model(saved, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"^the tensors in .* do not fit .*size mismatch") as error:
        uw.load(saved)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert "\n" not in str(error.value)
    assert grown < 2**18  # kB; the least of these models takes 30 GB


def test_tensors_that_do_not_fit(saved):
    """They are of another shape, missing, or too many."""
    edit_model(saved, normals=4)
    with pytest.raises(
        ValueError,
        match=r"(?s)tensors in .* do not fit the model .*size mismatch for encoder.z_mean",
    ):
        uw.load(saved)
    edit_model(saved, normals=3)
    uw.load(saved)
    edit(saved, sha256={})  # as earlier versions wrote it
    tensors = load_file(saved / "model.safetensors")
    save_file({**tensors, "more": torch.zeros(1)}, saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"(?s)do not fit.*Unexpected key.* \"more\""):
        uw.load(saved)
    del tensors["encoder.h.0.bias"]
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"(?s)do not fit.*Missing key.* \"encoder.h.0.bias\""):
        uw.load(saved)


@pytest.mark.parametrize("keep", [0, 4, 7, 8, 100, 2000, -1])
def test_truncated_tensors(saved, keep):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"model.safetensors is damaged \(.*\): restore it, or train the run again"
    ):
        uw.load(saved)


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_other_formats(saved, found):
    edit(saved, format=found, unweave="7.1")
    with pytest.raises(
        ValueError, match=r"has format .*, this version of unweave reads format 1: .*\(7.1\)"
    ):
        uw.load(saved)


@pytest.mark.parametrize(
    "content", ["", "{", '{"format": 1, "model"', "\xff\xfe", "[]", "3", '"text"']
)
def test_damaged_configs(saved, content):
    (saved / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config.json is damaged, no JSON|has format None"):
        uw.load(saved)


def test_missing_files(saved, tmp_path):
    (saved / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"model.safetensors is missing: the run did not finish; `unweave resume",
    ):
        uw.load(saved)
    (saved / "config.json").unlink()
    for folder in (saved, tmp_path / "nowhere"):
        with pytest.raises(
            FileNotFoundError, match=r"config.json is missing: .* is no unweave run"
        ):
            uw.load(folder)


# -- models of one's own ---------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.z = nn.Linear(64, size)

    def forward(self, x):
        q = uw.Trace()
        q.normal(self.z(x.flatten(1)), 1.0, name="z")
        return q


class Decoder(nn.Module):
    def __init__(self, tied):
        super().__init__()
        self.tied, self.bias = tied, nn.Parameter(torch.zeros(64))

    def forward(self, x, q):
        p = uw.Trace()
        z = p.normal(0.0, 1.0, value=q["z"], name="z")
        p.bernoulli((z @ self.tied + self.bias).unflatten(-1, (8, 8)), value=x, name="x")
        return p


def own(size=2):
    encoder = Encoder(size)
    return uw.models.Model(encoder, Decoder(encoder.z.weight))


def test_a_model_of_ones_own_with_tied_weights(tmp_path):
    model = own()
    folder = uw.save(model, tmp_path / "own")
    with pytest.raises(
        ValueError,
        match=r"holds a model of its author's own: build it, then `load\(folder, model=...\)`",
    ):
        uw.load(folder)
    loaded = uw.load(folder, model=own())
    assert torch.equal(loaded.encode(X), model.encode(X))
    assert torch.equal(loaded.reconstruct(X), model.reconstruct(X))
    assert loaded.decoder.tied is loaded.encoder.z.weight
    with pytest.raises(
        ValueError, match=r"(?s)do not fit the model.*size mismatch for encoder.z.weight"
    ):
        uw.load(folder, model=own(3))


def test_what_else_is_said_of_a_model_is_kept(tmp_path):
    folder = uw.save(FAMILIES["vae"](), tmp_path / "saved", {"note": "after epoch 3"})
    config = artifact.read_config(folder)
    assert (config["note"], config["format"], config["model"]["family"]) == (
        "after epoch 3",
        artifact.FORMAT,
        "vae",
    )
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    uw.load(saved)
    assert torch.equal(torch.get_rng_state(), state)
