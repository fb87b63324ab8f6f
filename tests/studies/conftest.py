"""A small table to train on, and a study of it that was run twice."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from unweave.studies import work
from unweave.studies.grid import Study


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A file of sixty labelled rows of four numbers: training on it takes no time to speak of."""
    path = tmp_path_factory.mktemp("data") / "table.npz"
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(path, x=x, kind=np.arange(60) % 3)
    return path


@pytest.fixture(scope="session")
def mended(tmp_path_factory, table):
    """A study of two methods and two seeds, run twice; at first, other work lay in a run's way.

    It holds what was left, what had failed and what had finished after the first time, and what
    was left and had finished after the second.
    """
    methods = {"VAE": {"objective": "vae"}, "β-VAE": {"objective": "beta_vae({beta})", "beta": 4}}
    flags = {"data": str(table), "labels": "kind", "test": 0.5, "epochs": 1}
    study = Study("real", "own", methods, (0, 1), flags)
    out = tmp_path_factory.mktemp("studies") / "real"
    broken = study.jobs()[1]
    thesis = out / broken.key / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("all my work")
    (out / "study.json").write_text(json.dumps({"name": "real", "jobs": []}))
    seen = SimpleNamespace(out=out, broken=broken)
    seen.left = work.run(study, out, quiet=True, workers=2)
    seen.failures = list(work.failures(work.jobs_of(out), out))
    seen.finished = finished(study, out)
    seen.thesis = thesis.read_text()
    thesis.unlink()
    seen.left_at_last = work.run(study, out, quiet=True, workers=2)
    seen.finished_at_last = finished(study, out)
    return seen


def finished(study, out):
    """When each finished run was scored."""
    paths = {job.key: out / job.key / "scores.json" for job in study.jobs()}
    return {key: path.stat().st_mtime_ns for key, path in paths.items() if path.exists()}
