"""Studies of many runs: the count of those that are left, and the page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .. import terminal
from ..recipes import digits_hfvae
from ..run import fit
from ..runs import seal
from ..runs.files import read_json, write_json
from ..studies.grid import Job, Study
from ..studies.page import write
from ..studies.work import prepare
from .timing import load, machine, verdict

GOAL = 20.0
"""Seconds for the page of a thousand finished runs that are meant."""

METHODS = 4

COUNT = """
import sys
from pathlib import Path
from unweave.studies.work import jobs_of, state
out = Path(sys.argv[1])
left = [job for job in jobs_of(out) if state(job, out) != "finished"]
print(len(left), "torch" in sys.modules)
"""
"""The code of a process that counts what is left of a study."""


def studies(runs: int = 1000) -> dict[str, float]:
    """Print the wall times of a study with so many finished runs, copies of one; return them."""
    console = terminal.console()
    console.print(machine(1), highlight=False)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "many"
        methods = {f"β = {k}": {"objective": f"beta_vae({k})"} for k in range(1, METHODS + 1)}
        study = Study("many", "digits_hfvae", methods, tuple(range(runs // METHODS)), {"epochs": 1})
        first, *others = prepare(study, out)
        fit(digits_hfvae(**first.flags), out / first.key, quick=True, quiet=True)
        for job in others:
            _copy(out / first.key, out / job.key, job)
        seconds = {"page": _of_page(out), "count": _of_count(out)}
    for name, spent in seconds.items():
        line = f"{name} of {runs:,} finished runs: {spent:.1f} s"
        if name == "page" and runs >= 1000:
            line += f"  goal {GOAL:g}: {verdict(spent <= GOAL)}"
        console.print(line, highlight=False)
    console.print(f"wall time, once each; load {load():.2f}", highlight=False)
    return seconds


def _copy(run: Path, folder: Path, job: Job) -> None:
    """Make a run of another job of a finished one; large files are the same on the disk."""
    shutil.copytree(run, folder, copy_function=os.link)
    config = folder / "config.json"
    settings = read_json(config)
    config.unlink()  # not to write into that of the first
    write_json(config, settings | {"flags": dict(job.flags)})
    held = seal.read(folder)
    assert held is not None
    seal.write(folder, held.depends_on, held.parts, held.missing)


def _of_page(out: Path) -> float:
    start = time.perf_counter()
    write(out)
    return time.perf_counter() - start


def _of_count(out: Path) -> float:
    """Return the seconds of a process that counts what is left, which imports no torch."""
    start = time.perf_counter()
    command = [sys.executable, "-c", COUNT, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if done.stdout.split() != ["0", "False"]:
        raise RuntimeError(f"runs that are left, and torch in the process: {done.stdout.strip()}")
    return time.perf_counter() - start
