"""Kills of real commands at random moments, each gone on with to the end and compared.

    python scripts/campaign/kills.py --count 60

A run of `digits-hfvae` is trained, scored and reported on by the command, and killed with SIGKILL,
SIGTERM or SIGHUP at a moment drawn over its whole length; then the next command goes on. Weights
and the log must be those of a run that nobody killed, to the bit. A study is killed and started
again; two commands work on one folder, of which one must be refused. Failures are printed, and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

UNWEAVE = [sys.executable, "-m", "unweave"]
TRAIN = ["train", "digits-hfvae", "--quick-evaluation"]
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP]

STUDY = """
recipe = "digits-hfvae"
name = "killed"
seeds = 2

[methods.VAE]
objective = "vae"
epochs = 3
"""


def digest(run: Path) -> str:
    """Return the sha256 of a run's weights and of its log without times."""
    found = hashlib.sha256((run / "model.safetensors").read_bytes())
    for line in (run / "metrics.jsonl").read_text().splitlines():
        content = json.loads(line)
        content.pop("seconds", None)
        found.update(json.dumps(content).encode())
    return found.hexdigest()


def started(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command whose output goes to a file."""
    with open(log, "ab") as file:
        return subprocess.Popen([*UNWEAVE, *words], stdout=file, stderr=subprocess.STDOUT)


def finished(words: Sequence[str], log: Path) -> int:
    """Return the exit status of a command."""
    return started(words, log).wait(timeout=600)


class Campaign:
    """Kills of one kind after another, with what came out.

    Args:
        folder: A folder for runs.
        seed: The seed of the moments.
        epochs: Epochs of each run.
    """

    def __init__(self, folder: Path, seed: int, epochs: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.log = folder / "commands.txt"
        self.train = [*TRAIN, "--epochs", str(epochs)]
        whole = folder / "whole"
        began = time.monotonic()
        if finished([*self.train, "--out", str(whole)], self.log):
            raise SystemExit(f"the run that nobody kills failed: {self.log.read_text()[-2000:]}")
        self.length = time.monotonic() - began
        self.right = digest(whole)

    def killed(self, run: Path, words: Sequence[str]) -> str:
        """Kill a command at a random moment; return the signal's name, or "none" if it was over."""
        number = self.random.choice(SIGNALS)
        process = started(words, self.log)
        time.sleep(self.random.uniform(0, self.length))
        was_over = process.poll() is not None
        process.send_signal(number)
        process.wait(timeout=120)
        return "none" if was_over else number.name

    def run(self, k: int) -> tuple[str, bool]:
        """Kill a run, go on with it, and compare."""
        run = self.folder / f"run-{k}"
        name = self.killed(run, [*self.train, "--out", str(run)])
        return name, self._completed(run)

    def overwrite(self, k: int) -> tuple[str, bool]:
        """Kill a run that replaces another: the folder holds one of the two, whole."""
        run = self.folder / f"over-{k}"
        other = [*TRAIN, "--epochs", "1", "--seed", "9", "--no-evaluate", "--out", str(run)]
        finished(other, self.log)
        old = digest(run)
        name = self.killed(run, [*self.train, "--overwrite", "--out", str(run)])
        is_exchanged = (run.with_name(f".{run.name}.new") / "exchange.json").exists()
        config = json.loads((run / "config.json").read_text())
        if config["seed"] == 9 and not is_exchanged:
            return name, digest(run) == old
        return name, self._completed(run)

    def together(self, k: int) -> tuple[str, bool]:
        """Let two commands work on one folder: one of them is refused, and the run is right."""
        run = self.folder / f"two-{k}"
        words = [*self.train, "--out", str(run)]
        one, other = started(words, self.log), started(words, self.log)
        statuses = sorted((one.wait(timeout=600), other.wait(timeout=600)))
        return "two", statuses[0] == 0 < statuses[1] and digest(run) == self.right

    def study(self, k: int) -> tuple[str, bool]:
        """Kill a study, start it again, and look for all of its runs' pages."""
        plan, out = self.folder / "study.toml", self.folder / f"study-{k}"
        plan.write_text(STUDY)
        words = ["study", str(plan), "--out", str(out), "--workers", "1"]
        process = started(words, self.log)
        time.sleep(self.random.uniform(1, 2 * self.length))
        process.kill()
        process.wait(timeout=120)
        status = finished(words, self.log)
        return "study", status == 0 and len(list(out.glob("*/report.html"))) == 2

    def _completed(self, run: Path) -> bool:
        """Go on with a run to its end, and tell whether it is right."""
        begun = (run / "config.json").exists()
        words = ["resume", str(run)] if begun else [*self.train, "--out", str(run)]
        status = finished(words, self.log)
        is_whole = (run / "report.html").exists() and not list(run.rglob("*.part"))
        return status == 0 and is_whole and digest(run) == self.right


def main(count: int, seed: int, epochs: int) -> int:
    """Kill so many commands; print the counts, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), seed, epochs)
        kinds: list[Callable[[int], tuple[str, bool]]] = [campaign.run] * 4
        kinds += [campaign.overwrite, campaign.together, campaign.study]
        right, wrong = Counter[str](), Counter[str]()
        for k in range(count):
            kind = kinds[k % len(kinds)]
            name, is_right = kind(k)
            counted = right if is_right else wrong
            counted[f"{kind.__name__}, {name}"] += 1
            print(f"{k + 1} of {count}: {kind.__name__}, {name}: {is_right}", flush=True)
        for name in sorted(right | wrong):
            print(f"{name:24} {right[name]:4} right {wrong[name]:4} wrong")
        if wrong:
            print(campaign.log.read_text()[-4000:])
    return bool(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each run")
    given = parser.parse_args()
    sys.exit(main(given.count, given.seed, given.epochs))
