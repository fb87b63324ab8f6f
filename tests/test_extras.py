"""Without extras a program written by hand trains; what needs an extra names it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from unweave import extras

WITHOUT_EXTRAS = f"""
import sys

sys.path[:] = {sys.path!r}
import unweave as uw
from importlib.machinery import PathFinder
from unweave.extras import EXTRAS, PACKAGES


class Bare:
    def find_spec(name, path=None, target=None):
        absent = any(PACKAGES.get(name, name) in packages for packages in EXTRAS.values())
        return None if absent else PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""

BY_HAND = """
import tempfile
import torch

torch.manual_seed(0)
x = torch.rand(50, 1).round().expand(50, 6)
assert len(uw.data.read(x.numpy())) == 50
encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Linear(2, 6)
adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.05)
losses = []
for _ in range(50):
    q, p = uw.Trace(), uw.Trace()
    mean, log_std = encoder(x).chunk(2, -1)
    z = q.normal(mean, log_std.exp(), name="z")
    p.normal(0.0, 1.0, value=q["z"], name="z")
    p.bernoulli(decoder(z), value=x, name="x")
    loss = -uw.tc_vae(2)(q, p, groups=("z",), aggregate=uw.minibatch(50)).mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
    losses.append(loss.item())
assert losses[-1] < losses[0] - 1

with tempfile.TemporaryDirectory() as folder:
    uw.save(uw.models.hfvae((6,), hidden=(8,)), folder)
    assert uw.load(folder).encode(x).shape == (50, 11)
"""

NEEDS = [
    ("uw.data.digits()", "unweave.data.digits", "scikit-learn", "metrics"),
    ("uw.metrics.mig", "unweave.metrics.information", "scipy", "metrics"),
    ("uw.data.dsprites()", "unweave.data.files", "pooch", "data"),
    ("uw.data.read('table.csv')", "unweave.data.delimited", "pyarrow", "data"),
    ("uw.plots", "unweave.plots.biases", "matplotlib", "report"),
    ("import unweave.cli", "unweave.cli", "typer", "cli"),
    ("uw.export(uw.models.vae((4,)), '.')", "unweave.export", "onnx", "export"),
]


def run(code):
    words = [sys.executable, "-c", WITHOUT_EXTRAS + code]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.slow
def test_a_program_written_by_hand_needs_no_extra():
    done = run(BY_HAND)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_is_missing_is_named_with_the_command_that_installs_it(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    lines = [f"import os\nos.chdir({str(tmp_path)!r})"]
    for code, *_ in (*NEEDS, ("uw.fit",)):
        lines += ["try:", f"    {code}", "except ImportError as error:", "    print(error)"]
    done = run("\n".join(lines))
    *named, fit = done.stdout.splitlines()
    assert named == [
        f"{importer} needs {package}, which is not installed: pip install 'unweave[{extra}]'"
        + (" (or 'unweave[all]')" if extra in extras.ALL else "")
        for _, importer, package, extra in NEEDS
    ]
    assert "is not installed: pip install 'unweave[" in fit


def test_the_command_names_what_it_needs_in_one_line():
    done = run("import unweave.__main__ as command\ncommand.main()")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: unweave.cli needs typer, ")
    assert done.stderr.count("\n") == 1


def test_imports_of_others_fail_as_ever():
    done = run("import scipy")
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'scipy'"


def test_the_extras_are_those_of_the_package():
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)["project"]["optional-dependencies"]
    assert declared["all"] == [f"unweave[{','.join(extras.ALL)}]"]
    for of_developers in ("all", "dev", "docs"):
        del declared[of_developers]
    for extra, wanted in declared.items():
        assert extras.EXTRAS[extra] == tuple(line.split(">=")[0] for line in wanted)
    assert extras.EXTRAS.keys() == declared.keys()
