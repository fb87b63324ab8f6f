"""The process of one run of a study, which holds the run's lock for as long as it lives.

`work.attempt` starts it as ``python -m unweave.studies.child LOCK FOLDER THREADS train RECIPE …``.
The process holds the lock itself, so that the run is known to be worked on even if the study that
started it is gone; the system frees the lock when the process ends, however it ends.
"""

from __future__ import annotations

import runpy
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from ..runs import seal

INTERRUPTED = 130
"""The exit status of a run that saved its state after Ctrl-C: it has not failed."""


def is_finished(folder: Path) -> bool:
    """True if a run has been trained, scored in full and reported on: its page is written last."""
    return (folder / "report.html").exists() and seal.is_whole(folder)


def main(lock: Path, folder: Path, threads: str, train: Sequence[str]) -> None:
    """Train and score a run, or go on with it, once no other process works on it.

    Args:
        lock: The file that says that the run is being worked on.
        folder: The run's folder.
        threads: The number of threads that the run may use.
        train: The words of the command that begins the run.
    """
    _hear_ctrl_break()
    try:
        with FileLock(lock):
            if is_finished(folder):
                return
            begun = (folder / "config.json").exists()
            words = ["resume", str(folder)] if begun else list(train)
            print(f"-- {time.strftime('%Y-%m-%d %H:%M:%S')} unweave {' '.join(words)}", flush=True)
            _command([*words, "--threads", threads])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _command(words: Sequence[str]) -> None:
    """Do what ``python -m unweave`` does with some words."""
    sys.argv[1:] = words
    runpy.run_module("unweave", run_name="__main__")


def _hear_ctrl_break() -> None:
    """Take Ctrl-Break for Ctrl-C on Windows, where a group of processes can be sent no other."""
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, lambda *_: signal.raise_signal(signal.SIGINT))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
