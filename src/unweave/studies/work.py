"""The runs of a study: the state that each is in, and work on those that are left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
from filelock import FileLock, Timeout

from ..runs import config as run_config
from ..runs.command import arguments
from ..runs.files import read_json, read_lines, write_json
from ..runs.kinds import claim
from .board import Board
from .child import INTERRUPTED, is_finished
from .executors import EXECUTORS
from .gpus import one_each, visible
from .grid import Job, Study

State = Literal["finished", "failed", "running", "stopped", "waiting"]


def run(
    study: Study,
    out: str | Path,
    *,
    executor: str = "local",
    workers: int | None = None,
    threads: int = 1,
    device: str | None = None,
    retries: int = 1,
    quiet: bool = False,
    **options: Any,
) -> list[Job]:
    """Run what is not finished, and what failed once more, up to `retries` times.

    Args:
        study: The grid of runs.
        out: The study's folder.
        executor: The place where runs are worked on: local, slurm or ray (see `executors`).
        workers: Runs at once; by default as many as fill the cores, or as there are GPUs.
        threads: Threads of a run.
        device: The device of a run, by default a GPU where there is one; local runs and tasks of
            Ray have one each.
        retries: How often a failed run is tried again.
        quiet: Show no progress.
        options: Options of the executor; local has none.

    Returns:
        The runs that are not finished in the end.

    Raises:
        ValueError: For a study that does not fit together, an unknown executor, or one that is not
            installed.
        FileExistsError: If `out` holds something else.
        KeyboardInterrupt: After Ctrl-C; what was running has saved its state.
    """
    folder = Path(out).absolute()
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r}: expected one of {', '.join(EXECUTORS)}")
    if options and executor == "local":
        raise ValueError(f"the executor local has no option {next(iter(options))!r}: leave it out")
    jobs = prepare(study, folder)
    gpus = [] if device == "cpu" else visible()
    workers = workers or len(gpus) or max(1, cores() // threads)
    work: Callable[[Job], bool] = partial(attempt, folder, threads, device)
    if executor == "local" and gpus:
        work = one_each(work, gpus, workers)
    if executor == "ray":
        options = {"gpu": device != "cpu", **options}

    def look(job: Job) -> tuple[str, float]:
        how = state(job, folder)
        return how, 1.0 if how == "finished" else progress(job, folder)

    with Board(study.name, jobs, look, workers, quiet) as board:
        for _ in range(1 + retries):
            left = _unfinished(jobs, folder)
            if not left:
                break
            try:
                for job, finished in EXECUTORS[executor](left, work, workers, folder, **options):
                    board.ended(job, finished)
            except KeyboardInterrupt:
                stop()
                raise
    return _unfinished(jobs, folder)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.version_info >= (3, 13):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def prepare(study: Study, out: Path) -> list[Job]:
    """Write study.json, and return the runs.

    A grid may grow or shrink from one start to the next.

    Raises:
        ValueError: For an objective that cannot be read, or if `out` holds another study.
        FileExistsError: If `out` holds something else.
    """
    jobs = study.jobs()
    _check_objectives(_unfinished(jobs, out))
    path = out / "study.json"
    if path.exists():
        name = _listed(out).name
        if name != study.name:
            raise ValueError(
                f"{out} holds the study {name!r}, not {study.name!r}: choose another --out"
            )
    claim(out, "study")
    listed = [{**asdict(job), "key": job.key} for job in jobs]
    write_json(path, {**asdict(study), "seeds": list(study.seeds), "jobs": listed})
    (out / "logs").mkdir(exist_ok=True)
    return jobs


def _check_objectives(jobs: Sequence[Job]) -> None:
    """Refuse objectives that cannot be read before anything is trained.

    Formulas need torch, which takes longer to import than a thousand finished runs to count.
    """
    objectives = dict.fromkeys(job.flags.get("objective") for job in jobs)
    read = [text for text in objectives if text]
    if not read:
        return
    from ..objective.formula import formula

    for text in read:
        formula(text)


def jobs_of(out: str | Path) -> list[Job]:
    """Return the runs of a study's folder.

    Raises:
        FileNotFoundError: If it is no study's folder.
        ValueError: If study.json is damaged.
    """
    return list(_listed(Path(out)).jobs)


def _listed(out: Path) -> _Listed:
    """Return the content of a study's file."""
    path = out / "study.json"
    try:
        return msgspec.convert(read_json(path), _Listed)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it and start the study again, which writes it "
            "anew"
        ) from None


class _Listed(msgspec.Struct):
    """A study's file as far as its runs go."""

    name: str
    jobs: tuple[Job, ...] = ()


# -- the state of a run ----------------------------------------------------------------------------


def state(job: Job, out: Path) -> State:
    """Return how far a run is, as its files say."""
    if is_finished(out / job.key):
        return "finished"
    if _held(_lock(out, job)):
        return "running"
    if _failure(out, job).exists():
        return "failed"
    return "stopped" if (out / job.key / "config.json").exists() else "waiting"


def progress(job: Job, out: Path) -> float:
    """Return the share of a run's epochs that are done.

    The run's config says how many epochs there are; it can differ from the flag.
    """
    folder = out / job.key
    lines = read_lines(folder / "metrics.jsonl")
    if not lines:
        return 0.0
    epochs = run_config.read(folder).get("epochs")
    done = lines[-1].get("epoch")
    return min(1.0, done / epochs) if epochs and isinstance(done, int | float) else 0.0


def failures(jobs: Sequence[Job], out: Path) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield the failed runs, each with its exit status, its last words and its attempts."""
    for job in jobs:
        if state(job, out) == "failed":
            yield job, read_json(_failure(out, job))


def _unfinished(jobs: Sequence[Job], out: Path) -> list[Job]:
    return [job for job in jobs if state(job, out) != "finished"]


def _failure(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.key}.failed.json"


def _lock(out: Path, job: Job) -> Path:
    return out / "logs" / f"{job.key}.lock"


def _held(path: Path) -> bool:
    """Return whether some process works on the run.

    To ask is to take the lock for a moment. So a lock that is held once may be another question,
    and one that is held for longer is a run; a run that finds it held waits.
    """
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0.01, poll_interval=0.002):
            return False
    except Timeout:
        return True
    except PermissionError:  # in a folder that can only be read nothing is worked on
        return False


# -- work on a run ---------------------------------------------------------------------------------


def attempt(
    out: Path, threads: int, device: str | None, job: Job, given: Mapping[str, str] | None = None
) -> bool:
    """Train and score one run in a process of its own, or go on with it.

    Args:
        out: The study's folder.
        threads: Threads of the run.
        device: The device of the run, by default a GPU where there is one.
        job: The run.
        given: Variables of the process' environment.

    Returns:
        Whether the run finished.
    """
    folder = out / job.key
    if not is_finished(folder):
        log = out / "logs" / f"{job.key}.txt"
        environment = _environment(threads) | dict(given or {})
        train = ["train", job.recipe, "--out", str(folder), *arguments(job.flags)]
        train += ["--device", device] if device else []
        status = _work(_lock(out, job), folder, threads, train, environment, log)
        if not is_finished(folder):
            if status != INTERRUPTED:
                _note_failure(_failure(out, job), status, log)
            return False
    _failure(out, job).unlink(missing_ok=True)
    return True


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a run's process."""
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    return environment


def _work(
    lock: Path,
    folder: Path,
    threads: int,
    train: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
) -> int:
    """Return the exit status of a process that works on a run."""
    child = [sys.executable, "-m", "unweave.studies.child", str(lock), str(folder), str(threads)]
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*child, *train],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            **_APART,
        )
        _PROCESSES.add(process)
        status = process.wait()
        _PROCESSES.discard(process)
    return status


def _note_failure(path: Path, status: int, log: Path) -> None:
    before = read_json(path)["attempts"] if path.exists() else 0
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last_words = "\n".join(lines[-12:])
    write_json(path, {"status": status, "attempts": before + 1, "log": last_words})


def stop() -> None:
    """Ask the runs that this process started to save their state and end."""
    for process in list(_PROCESSES):
        process.send_signal(_STOP)


# Ctrl-C in a terminal must reach a run once, from `stop`, and not also by itself.
_APART: dict[str, Any]
if sys.platform == "win32":
    _APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    _STOP = signal.CTRL_BREAK_EVENT
else:
    _APART = {"start_new_session": True}
    _STOP = signal.SIGINT

_PROCESSES: set[subprocess.Popen[Any]] = set()
