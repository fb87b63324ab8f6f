"""Studies: a grid of runs, each in its folder, that survive whatever stops them."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from unweave.runs.command import arguments
from unweave.studies import grid, work
from unweave.studies.grid import Job, Study, build, read
from unweave.studies.work import attempt, jobs_of, prepare, run, state

TINY = {"epochs": 2, "batch": 300, "warmup": 1}
METHODS = {"VAE": {"objective": "vae"}, "β-VAE": {"objective": "beta_vae({beta})", "beta": [2, 4]}}


def tiny(seeds=(0, 1), methods=METHODS, flags=TINY):
    return Study("tiny", "digits-hfvae", methods, seeds, flags)


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
    assert Job("a", "digits-hfvae", {"seed": 0, "data_dir": None}).key != a.key


def test_flags_of_every_training_reach_its_command():
    study = Study("s", "digits-hfvae", {"a": {"optimizer": ["sgd", "adamw"]}}, [0], {"clip": 2})
    words = [arguments(job.flags) for job in study.jobs()]
    assert [line[-4:] for line in words] == [
        ["--optimizer", "sgd", "--clip", "2"],
        ["--optimizer", "adamw", "--clip", "2"],
    ]
    assert [job.method for job in study.jobs()] == ["a, optimizer sgd", "a, optimizer adamw"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "cats"}, "no recipe 'cats'; expected one of: ablation"),
        (
            {"flags": {"epoch": 3}},
            "'epoch' is no flag of the recipe digits-hfvae, nor a coefficient",
        ),
        ({"recipe": "own"}, "the recipe own needs data: set it among the flags"),
        ({"flags": {"epochs": 2.5}}, "epochs = 2.5: expected int"),
        ({"flags": {"precision": "int8"}}, "precision = 'int8': expected one of float32, bf16"),
        ({"flags": {"clip": 0}}, "clip = 0: expected float > 0"),
        ({"flags": {"epochs": True}}, "epochs = True: expected int"),
        (
            {"flags": {"discrete": "soft"}},
            "discrete = 'soft': expected one of concrete, cat",
        ),
        ({"methods": {"a": {"objective": "beta_vae({beta})"}}}, "names {beta}, which has no value"),
        ({"methods": {"a": {}, "b": {}}}, "methods 'a' and 'b' have the same settings"),
        ({"baseline": "c"}, "baseline 'c' is no method; expected one of: VAE"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(change, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        Study(**{"name": "s", "recipe": "digits-hfvae", "methods": METHODS, **change}).jobs()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../../escaped"}, "name is '../../escaped'; expected the name of a folder"),
        ({"name": ".."}, "name is '..'"),
        ({"name": 3}, "name is 3"),
        ({"recipe": ["digits"]}, "recipe is ['digits']; expected the name of a recipe"),
        ({"methods": []}, "methods is []; expected a table for each method"),
        ({"methods": {}}, "methods is {}"),
        ({"methods": {"VAE": 3}}, "methods is {'VAE': 3}"),
        ({"methods": {"VAE": {"lr": []}}}, "methods.VAE.lr is []; expected a finite number"),
        ({"methods": {"VAE": {"lr": [[1]]}}}, "methods.VAE.lr is [[1]]"),
        ({"methods": {"VAE": {"lr": math.inf}}}, "methods.VAE.lr is inf"),
        ({"methods": {"VAE": {"lr": 10**400}}}, "methods.VAE.lr is 1000"),
        ({"methods": {"VAE": {"lr": date(2026, 1, 1)}}}, "methods.VAE.lr is datetime.date(2026"),
        ({"seeds": []}, "seeds is []; expected how many there are, 1 to 10,000, or a list"),
        ({"seeds": 10**9}, "seeds is 1000000000"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": [-1]}, "seeds is [-1]"),
        ({"seeds": ["a"]}, "seeds is ['a']"),
        ({"flags": 3}, "flags is 3; expected a table"),
        ({"flags": {"lr": [1, 2]}}, "flags.lr is [1, 2]; expected a finite number"),
        ({"baseline": 3}, "baseline is 3; expected the name of a method"),
        ({"about": {}}, "about is {}; expected text"),
        (
            {"methods": {"VAE": {"lr": list(range(1000)), "batch": list(range(1000))}}},
            "the grid has 5,000,000 runs; expected at most 10,000",
        ),
    ],
)
def test_parts_of_another_type_are_named(change, message):
    said = {"name": "s", "recipe": "digits", "methods": METHODS, **change}
    with pytest.raises(ValueError, match=re.escape(f"s.toml: {message}")):
        build(said, "s.toml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.json", "[" * 100_000, "can't be read: its lists nest too deeply"),
        ("s.toml", "a = " + "[" * 100_000, "can't be read: its lists nest too deeply"),
        ("s.json", "[1, 2]", "is [1, 2]; expected the parts of a study"),
        ("s.toml", b"\xff\xfe", "can't be read: 'utf-8' codec"),
        ("s.json", "1" * 5000, "can't be read: Exceeds the limit"),
    ],
)
def test_files_that_are_no_study_are_named(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=re.escape(f"{file} {message}")):
        read(file)


def test_a_study_that_is_damaged_is_named(tmp_path):
    (tmp_path / "study.json").write_text('{"name": "s", "jobs": [{"method": 3}]}')
    with pytest.raises(ValueError, match=r"study.json is damaged \(Expected `str`, got `int`"):
        jobs_of(tmp_path)


def test_coefficients_keep_their_digits():
    """Six digits of 1234567 are 1.23457e+06, another coefficient."""
    methods = {"a": {"objective": "beta_vae({beta})", "beta": [1234567, 0.1]}}
    found = [job.flags["objective"] for job in tiny(seeds=(0,), methods=methods).jobs()]
    assert found == ["beta_vae(1234567)", "beta_vae(0.1)"]


def test_an_objective_that_cannot_be_read_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match="names 'nonsense'"):
        run(tiny(methods={"a": {"objective": "nonsense(3)"}}), tmp_path / "s", quiet=True)
    assert not (tmp_path / "s").exists()


def test_files_say_the_same_in_toml_and_json(tmp_path):
    toml, js = tmp_path / "s.toml", tmp_path / "s.json"
    toml.write_text(
        'recipe = "digits-hfvae"\nseeds = 2\n[flags]\nepochs = 2\n'
        '[methods.VAE]\nobjective = "vae"\n'
    )
    js.write_text(
        json.dumps(
            {
                "recipe": "digits-hfvae",
                "seeds": 2,
                "flags": {"epochs": 2},
                "methods": {"VAE": {"objective": "vae"}},
            }
        )
    )
    assert (
        read(toml)
        == read(js)
        == Study("s", "digits-hfvae", {"VAE": {"objective": "vae"}}, [0, 1], {"epochs": 2})
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
    (job,) = Study("tiny", "digits-hfvae", {"VAE": {"objective": "vae"}}, [0], {"epochs": 2}).jobs()
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
        build({"name": "s", "recipe": "digits-hfvae", "methods": {}, "colour": 3}, "s.toml")
    with pytest.raises(ValueError, match="has no 'methods'"):
        build({"name": "s", "recipe": "digits-hfvae"}, "s.toml")


@pytest.mark.slow
def test_a_study_runs_skips_what_is_finished_and_retries_what_failed(mended):
    assert [(job.method, job.seed) for job in mended.left] == [("β-VAE", 0)]
    ((job, why),) = mended.failures
    assert job.key == mended.broken.key
    assert why["attempts"] == 2  # once more at the end
    assert "no unweave run" in why["log"]
    assert mended.thesis == "all my work"
    assert mended.left_at_last == []
    assert list(work.failures(jobs_of(mended.out), mended.out)) == []
    assert len(mended.finished) == 3
    assert mended.finished_at_last | mended.finished == mended.finished_at_last


@pytest.mark.slow
def test_what_is_left_is_counted_without_torch(tmp_path):
    """In a fresh process: all runs are finished, so nothing is read but which files there are."""
    study = tiny()
    for job in study.jobs():
        scores = tmp_path / "study" / job.key / "scores.json"
        scores.parent.mkdir(parents=True)
        scores.write_text("{}")
        scores.with_name("report.html").write_text("…")
    (tmp_path / "study" / "study.json").write_text(json.dumps({"name": study.name, "jobs": []}))
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from unweave.studies import grid, work\n"
        f"study = grid.{study!r}\n"
        f"assert work.run(study, {str(tmp_path / 'study')!r}, quiet=True) == []\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def first_job(out):
    """The run of a study of one, as soon as its study has begun."""
    wait_until((out / "study.json").exists)
    (job,) = jobs_of(out)
    return job


def wait_until(happened, seconds=60):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lock_is_let_go_when_its_process_is_killed_though_its_child_lives(tmp_path):
    plan = tiny(seeds=(0,), methods={"VAE": {"objective": "vae"}})
    (job,) = prepare(plan, tmp_path)
    assert state(job, tmp_path) == "waiting"
    lock = tmp_path / "logs" / f"{job.key}.lock"
    words = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        child = int(holder.stdout.readline())
        assert [state(job, tmp_path) for _ in range(3)] == ["running"] * 3
        holder.kill()
    assert [state(job, tmp_path) for _ in range(3)] == ["waiting"] * 3
    os.kill(child, signal.SIGTERM)


HOLDER = """
import subprocess, sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    print(subprocess.Popen(sleep, stdout=subprocess.DEVNULL).pid, flush=True)
    sys.stdin.read()
"""

# SIGINT is ignored where the tests themselves run in the background.
KILLED = """
import signal, sys
from unweave.studies.grid import Study
from unweave.studies.work import run
signal.signal(signal.SIGINT, signal.default_int_handler)
flags = {"data": sys.argv[2], "epochs": 150, "batch": 128}
study = Study("tiny", "own", {"VAE": {"objective": "vae"}}, [0], flags)
run(study, sys.argv[1], quiet=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_killed_goes_on_where_it_was(tmp_path, table, how):
    out = tmp_path / "s"
    words = [sys.executable, "-c", KILLED, str(out), str(table)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    job = first_job(out)
    wait_until(lambda: list((out / job.key / "checkpoints").glob("*.pt")))
    assert state(job, out) == "running"
    process.send_signal(how)
    assert process.wait() != 0
    if how == signal.SIGINT:  # its run saved itself and ended
        assert state(job, out) == "stopped"
    else:  # it goes on alone, and is waited for
        assert state(job, out) == "running"
    assert attempt(out, 1, None, job)
    assert state(job, out) == "finished"
    metrics = (out / job.key / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in metrics]
    assert [line["epoch"] for line in lines if line["split"] == "train"] == list(range(1, 151))
    log = Path(out / "logs" / f"{job.key}.txt").read_text()
    assert ("resume" in log) == (how == signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "library", "options"),
    [("slurm", "submitit", {"cluster": "local"}), ("ray", "ray", {"num_cpus": 1})],
)
def test_other_executors_in_their_local_modes(tmp_path, table, executor, library, options):
    pytest.importorskip(library, reason=f"pip install 'unweave[{executor}]'")
    plan = Study("s", "own", {"VAE": {"objective": "vae"}}, (0,), {"data": str(table), "epochs": 1})
    assert run(plan, tmp_path / "s", executor=executor, workers=1, quiet=True, **options) == []
    assert state(plan.jobs()[0], (tmp_path / "s").absolute()) == "finished"


def test_cores_are_those_that_the_process_may_use():
    assert 1 <= work.cores() <= os.cpu_count()


def test_unknown_executors_are_named(tmp_path):
    with pytest.raises(ValueError, match="executor 'pbs': expected one of local, slurm, ray"):
        run(tiny(), tmp_path / "s", executor="pbs")


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no unweave study"):
        run(tiny(), tmp_path, quiet=True)
    os.remove(tmp_path / "notes.txt")
    (tmp_path / "study.json").write_text(json.dumps({"name": "other"}))
    with pytest.raises(ValueError, match="holds the study 'other', not 'tiny'"):
        run(tiny(), tmp_path, quiet=True)
