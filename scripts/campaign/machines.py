"""Hostile machines: one small run on each, which must work or end in one clear line.

    python scripts/campaign/machines.py

Each machine is made for real, by the environment, limits, permissions or mounts of a process; one
that needs rights which this process lacks is skipped. A row of the table is printed for each, and
the exit status is 1 if one fails: a traceback, exit status 70, a signal, or a page that is not
whole.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

SMALL = ("--epochs", "1", "--latents", "2", "--starts", "1", "--quick-evaluation")

STRANGER = (
    "setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups",
    "--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search",
)  # fmt: skip
"""Someone without an entry in passwd, who may read everything and write nothing."""

BACKWARDS = """
import itertools, time
now, calls = time.time(), itertools.count()
time.time = lambda: now - 10 * next(calls)
"""
"""A module that Python imports first: each look at the clock is 10 seconds before the last."""


@dataclass(frozen=True)
class Machine:
    """A machine that is hostile.

    Attributes:
        name: What is odd about it.
        environment: Changes of the environment; None removes a variable.
        prepare: Called in the process of the command before it begins.
        before: Words before the command.
        out: The run's folder, in an own folder.
        flags: Flags of the command.
        needs_root: Whether only root can make it.
    """

    name: str
    environment: Mapping[str, str | None] = field(default_factory=dict)
    prepare: Callable[[], object] | None = None
    before: Sequence[str] = ()
    out: str = "run"
    flags: Sequence[str] = ()
    needs_root: bool = False


def limit(which: int, most: int) -> Callable[[], None]:
    """Return a function that limits what a process may take."""
    return partial(resource.setrlimit, which, (most, most))


def machines(folder: Path) -> list[Machine]:
    """Return all machines; their files lie in a folder."""
    (folder / "first").mkdir()
    (folder / "first" / "sitecustomize.py").write_text(BACKWARDS)
    path = f"{folder / 'first'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    (folder / "a file").touch()
    locked = folder / "locked"
    locked.mkdir(mode=0o555)
    full = folder / "full"
    full.mkdir()
    fill = f'mount -t tmpfs -o size=64k tmpfs {full} && exec "$@"'
    own = ("unshare", "--mount", "sh", "-c", fill, "sh")
    ascii_only = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    nobody = {"HOME": None, "USER": None, "LOGNAME": None}
    cached = {"XDG_CACHE_HOME": None, "UNWEAVE_CACHE": None}
    size, memory, files = resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_NOFILE
    return [
        Machine("no HOME", {"HOME": None, **cached}),
        Machine("HOME is a file", {"HOME": str(folder / "a file"), **cached}),
        Machine("no HOME, no passwd entry", {**nobody, **cached}, None, STRANGER, needs_root=True),
        Machine("a read-only folder", nobody, None, STRANGER, f"{locked}/run", needs_root=True),
        Machine("a full disk for runs (tmpfs)", {}, None, own, f"{full}/run", needs_root=True),
        Machine("a full disk for drafts (TMPDIR)", {"TMPDIR": str(full)}, None, own,
                needs_root=True),
        Machine("umask 0", {}, partial(os.umask, 0)),
        Machine("umask 777", {}, partial(os.umask, 0o777), STRANGER, needs_root=True),
        Machine("LANG=C, and Python's ASCII", {**ascii_only, "PYTHONIOENCODING": "ascii"}),
        Machine("letters and spaces in paths", out="ein Lauf/ﷺ ü\u202e [red]a/run"),
        Machine("letters in paths, LANG=C", ascii_only, out="ein Lauf/ü/run"),
        Machine("a path that is too long", out="/".join(["x" * 200] * 30)),
        Machine("TZ that is nowhere", {"TZ": "Nowhere/Else"}),
        Machine("TZ that is a file", {"TZ": ":/etc/passwd"}),
        Machine("--threads 100000", flags=("--threads", "100000")),
        Machine("OMP_NUM_THREADS=100000", {"OMP_NUM_THREADS": "100000"}),
        Machine("ulimit -f: files of 50 kB", {}, limit(size, 50_000)),
        Machine("ulimit -v: 1 GB", {}, limit(memory, 10**9)),
        Machine("ulimit -v: 300 MB", {}, limit(memory, 3 * 10**8)),
        Machine("ulimit -n: 16 files", {}, limit(files, 16)),
        Machine("ulimit -n: 8 files", {}, limit(files, 8)),
        Machine("ulimit -u: 1 process", nobody, limit(resource.RLIMIT_NPROC, 1), STRANGER,
                needs_root=True),
        Machine("a clock that goes backwards", {"PYTHONPATH": path}),
        Machine("no compiler", {"PATH": "/nowhere", "CXX": None}),
        Machine("a terminal of one column", {"COLUMNS": "1", "LINES": "1", "TERM": "dumb"}),
        Machine("standard output is full", {}, None, ("sh", "-c", 'exec "$@" > /dev/full', "sh")),
        Machine("no standard output or error", {}, None, ("sh", "-c", 'exec "$@" >&- 2>&-', "sh")),
        Machine("the reader of the output is gone", {}, None,
                ("sh", "-c", '"$@" 2>&1 | true', "sh")),
    ]  # fmt: skip


def tried(machine: Machine, folder: Path) -> tuple[str, str]:
    """Run the command on a machine, and return what became of it, and its last line."""
    is_root = os.geteuid() == 0
    if machine.needs_root and not (is_root and shutil.which("setpriv")):
        return "skipped", "needs root, setpriv and unshare"
    place = folder / re.sub(r"\W+", "-", machine.name)
    place.mkdir()
    place.chmod(0o777)
    environment = {**os.environ, "TMPDIR": str(place), **machine.environment}
    environment = {name: value for name, value in environment.items() if value is not None}
    words = [*machine.before, sys.executable, "-m", "unweave", "train", "digits", *SMALL]
    done = subprocess.run(
        [*words, "--out", machine.out, *machine.flags],
        cwd=place, env=environment, preexec_fn=machine.prepare, capture_output=True, timeout=600,
    )  # fmt: skip
    said = (done.stdout + done.stderr).decode(errors="replace").replace(str(folder), "…")
    last = (said.strip().splitlines() or [""])[-1]
    report = place / machine.out / "report.html"
    try:
        is_whole = report.read_text(encoding="utf-8").rstrip().endswith("</html>")
    except OSError:
        is_whole = False
    lines = [line for line in said.splitlines() if line.startswith("Error") or "│" in line]
    is_clear = done.returncode in (1, 2) and bool(lines) and "Traceback" not in said
    if done.returncode == 0 and (is_whole or "gone" in machine.name):
        return "works", ""
    if is_clear:
        return "one line", lines[0].strip("│ ")
    return "FAILS", f"exit status {done.returncode}: {last}"


def main() -> None:
    """Try each machine, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="machines whose names contain this")
    only = parser.parse_args().only
    failures = 0
    print("| machine | result | what is said |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="machines-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        for machine in machines(folder):
            if only in machine.name:
                result, said = tried(machine, folder)
                failures += result == "FAILS"
                short = said if len(said) <= 160 else f"{said[:160]}…"
                print(f"| {machine.name} | {result} | {short} |", flush=True)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
