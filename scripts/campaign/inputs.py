"""Mutated inputs: every file and text that the package reads, thousands of times over.

    python scripts/campaign/inputs.py --count 20000

An input is one that is right, changed (see `mutations`), or one that was made to do harm. It must
be accepted, or refused by one message that a statement of the package raised. Counted are

    unforeseen   an error that nobody foresaw: a traceback in Python, exit status 70 of the command
    hang         more than 20 s of computing
    memory       more than 2 GB beyond what the process had
    crash        the process ended
    code         code out of an input ran
    half         a draft was left behind, or a page that is not whole
    believed     weights or arrays of a damaged file were used

Inputs that fail are kept in a folder, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import torch
from kinds import Kind, Refused, kinds
from PIL import Image
from watched import watched

from unweave import cli, terminal

FAILURES = ("unforeseen", "hang", "memory", "crash", "code", "half", "believed")


class Campaign:
    """Inputs by their numbers, and what becomes of each."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.kinds = kinds(folder)
        self.deck = [kind for kind in self.kinds for _ in range(kind.share)]
        for kind in self.kinds:
            result = self.outcome(kind, kind.seeds[0])
            if result not in ("accepted", "refused" if kind.name == "command line" else ""):
                raise SystemExit(f"{kind.name}: an input that is right is {result}")

    def kind(self, number: int) -> Kind:
        """Return the kind of an input."""
        return self.deck[number % len(self.deck)]

    def content(self, number: int) -> bytes:
        """Return an input."""
        rng = random.Random(f"{self.seed} {number}")
        return self.kind(number).mutant(rng)

    def result(self, number: int) -> str:
        """Read an input, and say what became of it."""
        return self.outcome(self.kind(number), self.content(number))

    def outcome(self, kind: Kind, content: bytes) -> str:
        """Read an input of a kind, put back what was in its place, and say what became of it."""
        place = self.folder / kind.file
        before = place.read_bytes() if place.exists() else None
        place.write_bytes(content)
        result = self._read(kind)
        if before is None:
            place.unlink(missing_ok=True)
        else:
            place.write_bytes(before)
        if Path("canary").exists():
            Path("canary").unlink()
            return "code"
        page = self.folder / "RUN" / "report.html"
        is_whole = page.read_text(encoding="utf-8").rstrip().endswith("</html>")
        drafts = list(self.folder.rglob(".*.part"))
        for draft in drafts:
            draft.unlink()
        return result if is_whole and not drafts else "half"

    @staticmethod
    def _read(kind: Kind) -> str:
        """Read the input that is in its place."""
        quiet = io.StringIO()
        try:
            with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
                is_believed = kind.read() is False
            return "believed" if is_believed else "accepted"
        except Refused as refusal:
            is_fault = "a fault of unweave" in str(refusal)
            return f"{'unforeseen' if is_fault else 'refused'}: {refusal}"
        except SystemExit as ended:
            said = quiet.getvalue()
            if ended.code == terminal.FAULT or "Traceback" in said:
                return f"unforeseen: {said.strip()}"
            return "memory" if "not enough memory" in said else "refused"
        except MemoryError as error:
            return f"memory: {error}"
        except Exception as error:
            if terminal.is_foreseen(error):
                return f"refused: {error}"
            return f"unforeseen: {type(error).__name__}: {error}"


def run(count: int, seed: int, kept: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Read so many inputs, keep those that fail, and return counts by kind, and the failures."""
    warnings.simplefilter("ignore")
    counts: dict[str, Counter[str]] = {}
    failures: list[str] = []
    began = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        photos = folder / "photos"
        photos.mkdir()
        for name in ("b.png", "c.png"):
            Image.new("RGB", (8, 9)).save(photos / name)
        os.chdir(folder)
        cli._fit = lambda recipe, *_, **__: recipe()  # nothing is trained
        campaign = Campaign(folder, seed)
        for number, result in watched(campaign.result, count):
            kind, word = campaign.kind(number), result.partition(":")[0]
            counts.setdefault(kind.name, Counter())[word] += 1
            if word in FAILURES:
                kept.mkdir(parents=True, exist_ok=True)
                name = f"{word}-{number}-{Path(kind.file).name}"
                (kept / name).write_bytes(campaign.content(number))
                failures.append(f"{kind.name}, {name}: {result[:300]}")
        os.chdir(began)
    return counts, failures


def table(counts: dict[str, Counter[str]]) -> str:
    """Return the counts as a table in Markdown."""
    heads = ("inputs", "accepted", "refused", *FAILURES)
    total: Counter[str] = sum(counts.values(), Counter())
    lines = ["| kind | " + " | ".join(heads) + " |", "|---|" + "--:|" * len(heads)]
    for name, found in {**counts, "**all**": total}.items():
        cells = [f"{found.total():,}", *(f"{found[head]:,}" for head in heads[1:])]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the campaign and print its totals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("campaign"), help="where failures go")
    given = parser.parse_args()
    torch.set_num_threads(1)
    counts, failures = run(given.count, given.seed, given.kept.absolute())
    print(table(counts))
    print("\n".join(failures), file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
