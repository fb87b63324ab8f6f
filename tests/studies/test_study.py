"""Studies: a grid of runs, each in its folder, that survive whatever stops them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unweave.studies import grid, work
from unweave.studies.grid import Job, Study, build, read
from unweave.studies.work import attempt, jobs_of, run, state

TINY = {"epochs": 2, "batch": 300}
METHODS = {"VAE": {"objective": "vae"}, "β-VAE": {"objective": "beta_vae({beta})", "beta": [2, 4]}}


def tiny(seeds=(0, 1), methods=METHODS, flags=TINY):
    return Study("tiny", "digits", methods, seeds, flags)


def test_a_grid_is_methods_by_coefficients_by_seeds():
    jobs = tiny().jobs()
    assert [(job.method, job.seed) for job in jobs] == [
        (method, seed) for seed in (0, 1) for method in ("VAE", "β-VAE, beta 2", "β-VAE, beta 4")
    ]
    assert [job.flags["objective"] for job in jobs[:3]] == ["vae", "beta_vae(2)", "beta_vae(4)"]
    assert {job.flags["epochs"] for job in jobs} == {2}
    assert (
        jobs[0].flags["lr"] == 1e-3
    )  # defaults are written down, so that a run is known by all of its settings
    assert len({job.key for job in jobs}) == 6


def test_a_key_is_of_settings_and_not_of_names_or_places():
    a, b = (
        Job("a", "mnist", {"seed": 0, "data_dir": None}),
        Job("b", "mnist", {"data_dir": "/x", "seed": 0}),
    )
    assert a.key == b.key
    assert len(a.key) == 10
    assert Job("a", "mnist", {"seed": 1, "data_dir": None}).key != a.key
    assert Job("a", "digits", {"seed": 0, "data_dir": None}).key != a.key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "cats"}, "no recipe 'cats'; expected one of: ablation"),
        ({"flags": {"epoch": 3}}, "'epoch' is no flag of the recipe digits, nor a coefficient"),
        ({"recipe": "own"}, "the recipe own needs data: set it among the flags"),
        ({"flags": {"epochs": 2.5}}, "epochs = 2.5: expected int"),
        ({"flags": {"epochs": True}}, "epochs = True: expected int"),
        ({"flags": {"discrete": "soft"}}, "discrete = 'soft': expected concrete, categorical"),
        ({"methods": {"a": {"objective": "beta_vae({beta})"}}}, "names {beta}, which has no value"),
        ({"methods": {"a": {}, "b": {}}}, "methods 'a' and 'b' have the same settings"),
        ({"baseline": "c"}, "baseline 'c' is no method; expected one of: VAE"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(change, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        Study(**{"name": "s", "recipe": "digits", "methods": METHODS, **change}).jobs()


def test_an_objective_that_cannot_be_read_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="names 'nonsense'"):
        run(tiny(methods={"a": {"objective": "nonsense(3)"}}), tmp_path / "s", quiet=True)
    assert not (tmp_path / "s").exists()


def test_files_say_the_same_in_toml_and_json(tmp_path):
    toml, js = tmp_path / "s.toml", tmp_path / "s.json"
    toml.write_text(
        'recipe = "digits"\nseeds = 2\n[flags]\nepochs = 2\n[methods.VAE]\nobjective = "vae"\n'
    )
    js.write_text(
        json.dumps(
            {
                "recipe": "digits",
                "seeds": 2,
                "flags": {"epochs": 2},
                "methods": {"VAE": {"objective": "vae"}},
            }
        )
    )
    assert (
        read(toml)
        == read(js)
        == Study("s", "digits", {"VAE": {"objective": "vae"}}, [0, 1], {"epochs": 2})
    )
    assert read(toml, seeds=[7], flags={"batch": 64}).flags == {"epochs": 2, "batch": 64}


def test_the_shipped_studies_fit_their_recipes():
    assert "dsprites-small" in grid.names()
    for name in grid.names():
        plan = read(name)
        methods = {job.method for job in plan.jobs()}
        assert (
            len(plan.jobs())
            == len(plan.seeds) * len(methods)
            >= len(plan.seeds) * len(plan.methods)
        )


def test_progress_counts_the_epochs_that_a_run_takes_not_those_of_its_flag(tmp_path):
    """A recipe may turn its flag into other epochs, as for a classifier alone on few labels."""
    (job,) = Study("tiny", "digits", {"VAE": {"objective": "vae"}}, [0], {"epochs": 2}).jobs()
    assert work.progress(job, tmp_path) == 0
    (tmp_path / job.key).mkdir()
    (tmp_path / job.key / "config.json").write_text('{"epochs": 400}')
    assert work.progress(job, tmp_path) == 0
    (tmp_path / job.key / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 100}\n')
    assert work.progress(job, tmp_path) == 0.25


def test_what_is_no_study_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"no file and no study of this package; those are: .*dsprites-small",
    ):
        read("nothing")
    broken = tmp_path / "s.toml"
    broken.write_text("recipe = ")
    with pytest.raises(ValueError, match="can't be read"):
        read(broken)
    with pytest.raises(ValueError, match="has 'colour'; a study has: name, recipe"):
        build({"name": "s", "recipe": "digits", "methods": {}, "colour": 3}, "s.toml")
    with pytest.raises(ValueError, match="has no 'methods'"):
        build({"name": "s", "recipe": "digits"}, "s.toml")


@pytest.mark.slow
def test_a_study_runs_skips_what_is_finished_and_retries_what_failed(tmp_path):
    out = tmp_path / "s"
    plan = tiny(seeds=(0,))
    broken = plan.jobs()[1]
    (out / broken.key).mkdir(parents=True)  # something else lies where its run would go
    (out / "study.json").write_text(json.dumps({"name": "tiny", "jobs": []}))
    (out / broken.key / "thesis.txt").write_text("all my work")
    left = run(plan, out, quiet=True)
    assert [job.method for job in left] == ["β-VAE, beta 2"]
    ((job, why),) = work.failures(jobs_of(out), out)
    assert job.key == broken.key
    assert why["attempts"] == 2  # once more at the end
    assert "is no unweave run" in why["log"]
    assert (out / broken.key / "thesis.txt").read_text() == "all my work"
    finished = {
        job.key: (out / job.key / "scores.json").stat().st_mtime_ns
        for job in plan.jobs()
        if job != broken
    }

    (out / broken.key / "thesis.txt").unlink()
    assert run(plan, out, quiet=True) == []
    assert list(work.failures(jobs_of(out), out)) == []
    assert finished == {key: (out / key / "scores.json").stat().st_mtime_ns for key in finished}


KILLED = """
import signal, sys
from unweave.studies.grid import Study
from unweave.studies.work import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests themselves run in the background
run(Study("tiny", "digits", {"VAE": {"objective": "vae"}}, [0], {"epochs": 300, "batch": 128}), sys.argv[1], quiet=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_killed_goes_on_where_it_was(tmp_path, how):
    out = tmp_path / "s"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], stderr=subprocess.DEVNULL)
    (job,) = Study(
        "tiny", "digits", {"VAE": {"objective": "vae"}}, [0], {"epochs": 300, "batch": 128}
    ).jobs()
    checkpoints = out / job.key / "checkpoints"
    deadline = time.monotonic() + 60
    while not list(checkpoints.glob("*.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state(job, out) == "running"
    process.send_signal(how)
    assert process.wait() != 0
    if (
        how == signal.SIGINT
    ):  # its run saved itself and ended; after SIGKILL it goes on alone, and is waited for
        assert state(job, out) == "stopped"
    assert attempt(out, 1, job)
    assert state(job, out) == "finished"
    lines = [
        json.loads(line) for line in (out / job.key / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in lines if line["split"] == "train"] == list(range(1, 301))
    log = Path(out / "logs" / f"{job.key}.txt").read_text()
    assert ("resume" in log) == (how == signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["slurm", "ray"])
def test_other_executors_in_their_local_modes(tmp_path, executor):
    pytest.importorskip({"slurm": "submitit", "ray": "ray"}[executor])
    options = {"cluster": "local"} if executor == "slurm" else {"num_cpus": 1}
    plan = tiny(
        seeds=(0,), methods={"VAE": {"objective": "vae"}}, flags={"epochs": 1, "batch": 300}
    )
    assert run(plan, tmp_path / "s", executor=executor, workers=1, quiet=True, **options) == []
    assert state(plan.jobs()[0], (tmp_path / "s").absolute()) == "finished"


def test_unknown_executors_are_named(tmp_path):
    with pytest.raises(ValueError, match="executor 'pbs': expected one of local, slurm, ray"):
        run(tiny(), tmp_path / "s", executor="pbs")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no study"):
        run(tiny(), tmp_path, quiet=True)
    os.remove(tmp_path / "notes.txt")
    (tmp_path / "study.json").write_text(json.dumps({"name": "other"}))
    with pytest.raises(ValueError, match="holds the study 'other', not 'tiny'"):
        run(tiny(), tmp_path, quiet=True)
