"""The places where the runs of a study are worked on: processes of this machine, Slurm, or Ray.

Each takes the runs, a function that works on one and returns whether it finished, the number of
runs at once and the study's folder. Each yields, as runs end, the run and whether it finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from .grid import Job

Work = Callable[[Job], bool]


def local(jobs: Sequence[Job], work: Work, workers: int, out: Path) -> Iterator[tuple[Job, bool]]:
    """Work in processes of this machine; what has not begun is left when the study is stopped."""
    pool = ThreadPoolExecutor(workers)
    pending: dict[Future[bool], Job] = {pool.submit(work, job): job for job in jobs}
    try:
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def slurm(
    jobs: Sequence[Job], work: Work, workers: int, out: Path, **options: Any
) -> Iterator[tuple[Job, bool]]:
    """Work in an array of Slurm jobs through submitit.

    `options` go to submitit (`timeout_min`, `slurm_partition`, …); `cluster="local"` runs the same
    on this machine.

    Raises:
        ValueError: If submitit is not installed, or does not know an option.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError(
            "the executor slurm needs submitit: pip install 'unweave[slurm]'"
        ) from None
    cluster = options.pop("cluster", None)
    parameters = {"timeout_min": 240, "slurm_array_parallelism": workers, **options}
    try:
        executor = submitit.AutoExecutor(folder=out / "logs" / "submitit", cluster=cluster)
        executor.update_parameters(**parameters)
    except (NameError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"submitit does not take the executor's options: {error}") from None
    with executor.batch():
        submitted = [executor.submit(work, job) for job in jobs]
    pending = dict(zip(submitted, jobs, strict=True))
    while pending:
        done = [one for one in pending if one.done()]
        for one in done:
            yield pending.pop(one), one.exception() is None and bool(one.result())
        time.sleep(0.5)


def ray(
    jobs: Sequence[Job], work: Work, workers: int, out: Path, gpu: bool = True, **options: Any
) -> Iterator[tuple[Job, bool]]:
    """Work in tasks of the Ray cluster that is running, or of a new one on this machine.

    Each task asks for a core, and for a GPU if the cluster has any, unless `gpu` is false.
    `options` go to ``ray.init``.

    Raises:
        ValueError: If Ray is not installed, or does not know an option.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("the executor ray needs Ray: pip install 'unweave[ray]'") from None
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(**{"include_dashboard": False, "log_to_driver": False, **options})
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"Ray does not take the executor's options: {error}") from None
    has_gpus = gpu and ray.cluster_resources().get("GPU", 0) >= 1
    remote = ray.remote(num_cpus=1, num_gpus=int(has_gpus), max_retries=0)
    task: Any = remote(lambda job: work(job))
    waiting = list(jobs)
    pending: dict[Any, Job] = {}
    try:
        while waiting or pending:
            while waiting and len(pending) < workers:
                job = waiting.pop(0)
                pending[task.remote(job)] = job
            done, _ = ray.wait(list(pending), timeout=0.5)
            for one in done:
                yield pending.pop(one), bool(ray.get(one))
    finally:
        if started:
            ray.shutdown()


EXECUTORS: dict[str, Callable[..., Iterator[tuple[Job, bool]]]] = {
    "local": local,
    "slurm": slurm,
    "ray": ray,
}
"""By the name that `unweave study --executor` gives."""
