"""The start of a script beside that of torch alone, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from .. import terminal
from .timing import load, machine, quartiles, ratios, verdict

GOAL = 1.15
"""The ratio to `import torch` alone that is meant."""

CODE = {
    "import torch": "import torch",
    "and unweave.Trace, fit, hfvae": "import torch, unweave; "
    "unweave.Trace, unweave.fit, unweave.hfvae",
    "and a metric": "import torch, unweave; unweave.metrics.mig",
    "and a page": "import torch, unweave; import unweave.pages.run",
}
"""The code of each process, by name; the others are compared with the first."""


def imports(repeats: int = 7) -> dict[str, float]:
    """Print the CPU time of imports as ratios to that of torch; return the medians."""
    console = terminal.console()
    console.print(machine(1), highlight=False)
    seconds: dict[str, list[float]] = {name: [] for name in CODE}
    for turn in range(1 + repeats):
        for name, code in CODE.items():
            spent = _seconds(code)
            if turn:  # the first fills the disk's cache
                seconds[name].append(spent)
    base, own, *_ = CODE
    medians = {}
    for name, held in seconds.items():
        low, medians[name], high = ratios(held, seconds[base])
        line = f"{name:32} {quartiles(held)} ms"
        if name != base:
            line += f"  {medians[name]:.2f} [{low:.2f} to {high:.2f}] of {base}"
        if name == own:
            line += f"  goal {GOAL}: {verdict(medians[name] <= GOAL)}"
        console.print(line, highlight=False)
    console.print(f"CPU time of fresh processes in turn; load {load():.2f}", highlight=False)
    return medians


def _seconds(code: str) -> float:
    """Return the CPU seconds that a fresh process takes for some code, its own start left out."""
    timed = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(done.stdout)
