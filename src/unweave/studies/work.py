"""The runs of a study: what state each is in, and working on those that are left."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..runs.command import arguments
from ..runs.files import read_json, read_lines, write_json
from .board import Board
from .executors import EXECUTORS
from .grid import Job, Study

State = Literal["finished", "failed", "running", "stopped", "waiting"]


def run(
    study: Study,
    out: str | Path,
    *,
    executor: str = "local",
    workers: int | None = None,
    threads: int = 1,
    retries: int = 1,
    quiet: bool = False,
    **options: Any,
) -> list[Job]:
    """Runs what is not finished, and again what failed, up to `retries` times; the runs that failed
    in the end.

    `workers` runs at once, of `threads` threads each; by default as many as fill the cores.
    `executor` is local, slurm or ray (see `executors`), `options` are its own.

    Raises:
        ValueError: For a study that does not fit together, an unknown executor, or one that is not
        installed. FileExistsError: If `out` holds something else. KeyboardInterrupt: After Ctrl-C;
        what was running has saved its state.
    """
    folder = Path(out).absolute()
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r}: expected one of {', '.join(EXECUTORS)}")
    jobs = prepare(study, folder)
    workers = workers or max(1, len(os.sched_getaffinity(0)) // threads)
    work = partial(attempt, folder, threads)

    def look(job: Job) -> tuple[str, float]:
        how = state(job, folder)
        return how, 1.0 if how == "finished" else progress(job, folder)

    with Board(study.name, jobs, look, workers, quiet) as board:
        for _ in range(1 + retries):
            if not (left := [job for job in jobs if state(job, folder) != "finished"]):
                break
            try:
                for job, finished in EXECUTORS[executor](left, work, workers, folder, **options):
                    board.ended(job, finished)
            except KeyboardInterrupt:
                stop()
                raise
    return [job for job in jobs if state(job, folder) != "finished"]


def prepare(study: Study, out: Path) -> list[Job]:
    """Writes study.json, and returns the runs. A folder of another study is refused; a grid may
    grow or shrink.
    """
    jobs = study.jobs()
    _check_objectives(jobs)
    path = out / "study.json"
    if path.exists() and (was := read_json(path)).get("name") != study.name:
        raise ValueError(
            f"{out} holds the study {was.get('name')!r}, not {study.name!r}: choose another --out"
        )
    if not path.exists() and out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty and holds no study: choose another --out")
    listed = [{**asdict(job), "key": job.key} for job in jobs]
    write_json(path, {**asdict(study), "seeds": list(study.seeds), "jobs": listed})
    (out / "logs").mkdir(exist_ok=True)
    return jobs


def _check_objectives(jobs: Sequence[Job]) -> None:
    """Objectives that cannot be read are refused before anything is trained."""
    from ..objective.formula import formula

    for text in dict.fromkeys(given for job in jobs if (given := job.flags.get("objective"))):
        formula(text)


def jobs_of(out: str | Path) -> list[Job]:
    """The runs of a study's folder."""
    return [
        Job(job["method"], job["recipe"], job["flags"])
        for job in read_json(Path(out) / "study.json")["jobs"]
    ]


def state(job: Job, out: Path) -> State:
    """How far a run is, from its files."""
    if (out / job.key / "scores.json").exists():
        return "finished"
    if _held(_lock(out, job)):
        return "running"
    if _failure(out, job).exists():
        return "failed"
    return "stopped" if (out / job.key / "config.json").exists() else "waiting"


def progress(job: Job, out: Path) -> float:
    """The share of a run's epochs that are done; how many there are says the run, which may not
    take its flag's.
    """
    folder = out / job.key
    lines = read_lines(folder / "metrics.jsonl")
    epochs = read_json(folder / "config.json").get("epochs") if lines else None
    return min(1.0, float(lines[-1]["epoch"]) / epochs) if epochs else 0.0


def failures(jobs: Sequence[Job], out: Path) -> Iterator[tuple[Job, dict[str, Any]]]:
    """The failed runs, each with its exit status, its last words, and how often it was tried."""
    for job in jobs:
        if state(job, out) == "failed":
            yield job, read_json(_failure(out, job))


def _failure(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.key}.failed.json"


def _lock(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.key}.lock"


def _held(path: Path) -> bool:
    """Whether some process trains the run. A lock is let go when its process ends, however it
    ends.
    """
    if not path.exists():
        return False
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Holds a run's lock, waiting for a process that a killed study left behind."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def attempt(out: Path, threads: int, job: Job) -> bool:
    """Trains and scores one run in a process of its own, or goes on with it; whether it finished.

    The process holds the run's lock itself, so that it is known to run even if what started it is
    gone.
    """
    folder, log = out / job.key, out / "logs" / f"{job.key}.txt"
    with _locked(_lock(out, job)) as lock:
        if (folder / "scores.json").exists():
            return True
        words = (
            ["resume", str(folder)]
            if (folder / "config.json").exists()
            else ["train", job.recipe, "--out", str(folder), *arguments(job.flags)]
        )
        pinned = {
            name: str(threads)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')} unweave {' '.join(words)}\n")
            file.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "unweave", *words, "--threads", str(threads)],
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **pinned},
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C reaches it once, from `stop`
            )
            _PROCESSES.add(process)
            status = process.wait()
            _PROCESSES.discard(process)
    if (folder / "scores.json").exists():
        _failure(out, job).unlink(missing_ok=True)
        return True
    if status != INTERRUPTED:
        before = read_json(_failure(out, job))["attempts"] if _failure(out, job).exists() else 0
        words_last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        write_json(
            _failure(out, job), {"status": status, "attempts": before + 1, "log": words_last}
        )
    return False


_PROCESSES: set[subprocess.Popen[bytes]] = set()


def stop() -> None:
    """Asks the runs that this process started to save their state and end."""
    for process in list(_PROCESSES):
        process.send_signal(signal.SIGINT)


INTERRUPTED = 130
"""What a run's process returns after Ctrl-C, its state saved: it has not failed."""
