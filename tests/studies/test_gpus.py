"""The GPUs of a machine: one for each run at work; here a program stands for the driver's."""

import os
import threading
from pathlib import Path

import pytest

from unweave.studies.gpus import VARIABLE, one_each, visible
from unweave.studies.grid import Job, Study
from unweave.studies.work import run


def driver(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(os.name == "nt", reason="the driver's program is a script of sh")
def test_gpus_are_those_that_the_process_may_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    driver(tmp_path, "GPU-a\\nGPU-b\\n", monkeypatch)
    assert visible() == ["GPU-a", "GPU-b"]
    driver(tmp_path, "No devices were found\\n", monkeypatch)
    assert visible() == []
    monkeypatch.setenv(VARIABLE, "2, 5")
    assert visible() == ["2", "5"]
    for none in ("", "-1"):
        monkeypatch.setenv(VARIABLE, none)
        assert visible() == []


@pytest.mark.parametrize(("workers", "most"), [(2, 1), (4, 2)])
def test_runs_at_once_have_a_gpu_each_or_share_them_evenly(workers: int, most: int) -> None:
    at_work: dict[str, int] = {"a": 0, "b": 0}
    seen: list[int] = []
    lock = threading.Lock()
    all_here = threading.Barrier(workers)

    def work(job: Job, given: dict[str, str]) -> bool:
        with lock:
            at_work[given[VARIABLE]] += 1
            seen.append(at_work[given[VARIABLE]])
        all_here.wait(timeout=30)
        with lock:
            at_work[given[VARIABLE]] -= 1
        return job.seed == 0

    its = one_each(work, ["a", "b"], workers)
    jobs = [Job("m", "digits", {"seed": seed}) for seed in range(2 * workers)]
    found: list[bool] = []

    def worker(own: list[Job]) -> None:
        found.extend(map(its, own))

    threads = [threading.Thread(target=worker, args=(jobs[k::workers],)) for k in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(seen) == most
    assert sorted(found) == [False] * (len(jobs) - 1) + [True]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_study_gives_each_run_its_gpu_unless_it_is_to_work_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str | None
) -> None:
    monkeypatch.setenv(VARIABLE, "0,1")
    given = []

    def instead(lock, folder, threads, train, environment, log):  # type: ignore[no-untyped-def]
        given.append((environment[VARIABLE], train[-2:]))
        folder.mkdir()
        (folder / "scores.json").write_text("{}")
        (folder / "report.html").write_text("…")
        return 0

    monkeypatch.setattr("unweave.studies.work._work", instead)
    plan = Study("s", "digits", {"VAE": {"objective": "vae"}}, (0, 1, 2, 3))
    assert run(plan, tmp_path / "s", device=device, quiet=True) == []
    gpus = [gpu for gpu, _ in given]
    if device == "cpu":
        assert set(gpus) == {"0,1"}  # the study's own, which the runs leave alone
        assert [end for _, end in given] == [["--device", "cpu"]] * 4
    else:
        assert set(gpus) <= {"0", "1"}
        assert not [end for _, end in given if "--device" in end]
