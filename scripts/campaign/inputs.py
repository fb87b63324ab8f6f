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
import json
import os
import pickle
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import mutations
import numpy as np
import pyarrow
import torch
from PIL import Image
from pyarrow import parquet
from watched import watched

import unweave as uw
from unweave import again, cli, recipes, terminal
from unweave.data import idx
from unweave.evaluation.evaluate import evaluate
from unweave.objective.formula import formula
from unweave.pages import run as run_page
from unweave.runs import arrays, compare
from unweave.scoring import card
from unweave.studies import grid
from unweave.trace.groups import chain
from unweave.training.checkpoints import load_checkpoint

FAILURES = ("unforeseen", "hang", "memory", "crash", "code", "half", "believed")
FORMULAS = (
    "recon - mi - 6*tc[0] - kl[-1]", "hfvae(beta=12, gamma=4)", "elbo + ramp(3, 0) * mi.of('y')",
    "elbo - 10 * covariances('z', total=True) - 5 * mmd('imq')", "annealed_vae(1000, 25)",
    "elbo - 35*critic_tc(hidden=(64, 64), lr=1e-3)", "conditioned(elbo) + 50*label",
    "__import__('os').system('touch canary')", "[c for c in ().__class__.__mro__]",
)  # fmt: skip
STUDY = """name = "s"
recipe = "digits"
seeds = 2
baseline = "VAE"
[flags]
epochs = 2
[methods.VAE]
objective = "vae"
[methods."b-VAE"]
objective = "beta_vae({beta})"
beta = [2, 4.5]
"""
TREES = ('["y", ["z[:2]", "z[2:]"]]', '["y", "z"]', '[["y"], ["z[0]", "z[1:]"]]', '"z"')
LINES = (
    ("report", "RUN"), ("compare", "RUN", "RUN"), ("picture", "units", "RUN", "--out", "p.png"),
    ("evaluate", "RUN", "--points", "10"), ("resume", "RUN"), ("list",), ("data",), ("study",),
    ("score", "z.npy", "v.csv", "--metric", "mig", "--no-intervals", "--out", "scores"),
    ("study", "s.toml", "--set", "epochs=1", "--option", "a=1", "--report-only", "--out", "o"),
    ("train", "digits", "--epochs", "1", "--objective", "vae", "--seed", "0", "--threads", "1"),
    ("train", "own", "--data", "v.csv", "--labels", "kind", "--latents", "3"),
)  # fmt: skip


class Canary:
    """An object whose pickle writes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: Its name.
        file: The place below the folder of an input that is written before it is read.
        seeds: Inputs to start from.
        read: Reads the input; returns False if what it gave differs from what it should give.
        share: How many inputs of this kind there are, beside others.
        is_json: Whether values are replaced as well as bytes.
    """

    name: str
    file: str
    seeds: Sequence[bytes]
    read: Callable[[], bool | None]
    share: int = 1
    is_json: bool = False

    def mutant(self, rng: random.Random) -> bytes:
        """Return an input, one in fifty as it is."""
        content = rng.choice(self.seeds)
        if rng.random() < 0.02:
            return content
        if self.is_json and rng.random() < 0.6:
            return mutations.reshaped(content.decode(), rng).encode(errors="replace")
        return mutations.mutated(content, rng)


# -- inputs that are right, and those that would do harm -------------------------------------------


def saved(save: Callable[[Any], object]) -> bytes:
    """Return the bytes that a function writes into a file."""
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def npy(header: str) -> bytes:
    """Return an .npy with a header of one's own and few bytes behind it."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def make_run(folder: Path) -> None:
    """Train, score and report a small run."""
    recipe = recipes.digits(epochs=1)
    few = replace(recipe, data=recipe.data.subset(range(200)), batch=32, held_out=40, epochs=1)
    run = uw.fit(few, folder, evaluate=False, quiet=True)
    evaluate(few, run.model, folder, points=20)
    run_page.write(folder)


def kinds(folder: Path) -> list[Kind]:
    """Return all kinds of inputs, which are read in the current folder."""
    rng = np.random.default_rng(0)
    run = folder / "RUN"
    make_run(run)
    z, v = rng.normal(size=(40, 3)), rng.integers(0, 3, (40, 2))
    np.save(folder / "z.npy", z)
    table = pyarrow.table({"a": z[:, 0], "b": z[:, 1], "kind": ["x", "y"] * 20})
    rows = zip(z[:, 0].tolist(), v[:, 0].tolist(), "xy" * 20, strict=False)
    csv = b"a,b,kind\n" + "".join(f"{a},{b},{kind}\n" for a, b, kind in rows).encode()
    codes = b"a,b\n" + b"".join(b"%g,%g\n" % tuple(row) for row in z[:, :2])
    factors = b"c,d\n" + b"".join(b"%d,%d\n" % tuple(row) for row in v)
    for name, content in (("v.csv", csv), ("codes.csv", codes), ("factors.csv", factors)):
        (folder / name).write_bytes(content)
    (folder / "s.toml").write_text(STUDY)
    objects = np.array([Canary()], dtype=object)
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (8589934592, 2), }"
    wide = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 99999999), }"
    signs = "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "-" * 9000 + "1,), }"
    arrays_seen = [
        saved(lambda file: np.save(file, z)),
        saved(lambda file: np.save(file, (z > 0).reshape(5, 8, 3))),
        saved(lambda file: np.save(file, objects, allow_pickle=True)),
        pickle.dumps(Canary()),
        *map(npy, (huge, wide, signs)),
    ]
    archives = [
        saved(lambda file: np.savez(file, x=z.reshape(40, 3), y=v[:, 0])),
        saved(lambda file: np.savez_compressed(file, x=z, y=v[:, 0].astype(str))),
        saved(lambda file: np.savez(file, x=objects)),
    ]
    numbers = (v[:, :, None] * 100).astype(np.uint8)
    head = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in numbers.shape)
    pictures = [
        saved(partial(Image.fromarray(rng.integers(0, 255, (9, 8, 3), np.uint8)).save, format=kind))
        for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
    ]
    pictures.append(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(touch canary) system\n")
    weights, before = (run / "model.safetensors").read_bytes(), uw.load(run).state_dict()
    held = arrays.flat(arrays.read(run))
    *_, checkpoint = sorted((run / "checkpoints").glob("*.pt"))
    harmful = saved(lambda file: torch.save({"format": 1, "model": Canary()}, file))
    state = load_checkpoint(run) or {}
    text = {name: (run / name).read_bytes() for name in ("config.json", "scores.json")}
    log = (run / "metrics.jsonl").read_bytes()

    def report() -> None:
        run_page.write(run)
        compare.table([run, run])

    def score() -> None:
        made = card.score("codes.csv", "factors.csv", which=["mig", "sap"], level=None)
        card.contents(made)

    return [
        Kind("formula", "text", [f.encode() for f in FORMULAS], _formula, 6),
        Kind("study, TOML", "study.toml", [STUDY.encode()], lambda: _study("study.toml"), 3),
        Kind("study, JSON", "study.json", [_as_json()], lambda: _study("study.json"), 3, True),
        Kind("group tree", "text", [t.encode() for t in TREES], _tree, 3, True),
        Kind("config.json", "RUN/config.json", [text["config.json"]], partial(_config, run),
             3, True),
        Kind("scores.json", "RUN/scores.json", [text["scores.json"]], report, 1, True),
        Kind("metrics.jsonl", "RUN/metrics.jsonl", [log], report, 1),
        Kind("evaluation.npz", "RUN/evaluation.npz", [(run / arrays.FILE).read_bytes()],
             lambda: _same(arrays.flat(arrays.read(run)), held), 2),
        Kind("model.safetensors", "RUN/model.safetensors", [weights],
             lambda: _same(uw.load(run).state_dict(), before), 3),
        Kind("checkpoint", f"RUN/checkpoints/{checkpoint.name}", [checkpoint.read_bytes(), harmful],
             lambda: _same((load_checkpoint(run) or {}).get("model", {}), state["model"]), 2),
        Kind("seal of a checkpoint", f"RUN/checkpoints/{checkpoint.stem}.json",
             [checkpoint.with_suffix(".json").read_bytes()],
             lambda: _same((load_checkpoint(run) or {}).get("model", {}), state["model"]), 1, True),
        Kind("npy", "own.npy", arrays_seen, lambda: _own("own.npy"), 3),
        Kind("npz", "own.npz", archives, lambda: _own("own.npz"), 3),
        Kind("csv", "own.csv", [csv], lambda: _own("own.csv", labels="kind"), 3),
        Kind("tsv", "own.tsv", [csv.replace(b",", b"\t")],
             lambda: _own("own.tsv", labels="kind"), 1),
        Kind("parquet", "own.parquet", [saved(partial(parquet.write_table, table))],
             lambda: _own("own.parquet", labels="kind"), 3),
        Kind("idx", "own.idx", [head + numbers.tobytes()], lambda: _done(idx.read("own.idx")), 2),
        Kind("image", "photos/a.png", pictures, lambda: _own("photos"), 3),
        Kind("labels of images", "photos/labels.csv", [b"file,kind\nb.png,x\nc.png,y\n"],
             lambda: _own("photos", labels="photos/labels.csv"), 1),
        Kind("codes", "codes.csv", [codes], score, 2),
        Kind("factors", "factors.csv", [factors], score, 2),
        Kind("command line", "text", ["\n".join(words).encode() for words in LINES], _line, 4),
    ]  # fmt: skip


def _as_json() -> bytes:
    methods = {"VAE": {"objective": "vae"}, "b": {"objective": "beta_vae({b})", "b": [2, 4.5]}}
    said = {"recipe": "digits", "seeds": 2, "flags": {"epochs": 2}, "methods": methods}
    return json.dumps(said).encode()


# -- readers ---------------------------------------------------------------------------------------


def _text() -> str:
    return Path("text").read_bytes().decode(errors="replace")


def _done(_: object) -> None:
    """Take a result for granted."""


def _formula() -> None:
    objective = formula(_text())
    str(objective.at(7))


def _study(name: str) -> None:
    grid.read(name).jobs()


def _tree() -> None:
    with contextlib.suppress(ValueError, RecursionError):  # of JSON, which is no part of this
        tree = json.loads(_text())
        _chain(tree)


def _chain(tree: Any) -> None:
    try:
        chain(tree, {"y": (), "z": (4,)})
    except Exception as error:
        if not terminal.is_foreseen(error):
            raise AssertionError("a group tree") from error


def _config(run: Path) -> None:
    uw.load(run)
    run_page.write(run)
    compare.table([run])
    again.recipe_of(run)


def _own(source: str, **options: Any) -> None:
    uw.data.read(source, say=_done, **options)


def _line() -> None:
    sys.argv = ["unweave", *_text().replace("\0", "").split("\n")]
    cli.main()


def _same(found: Any, expected: Any) -> bool:
    """True if tensors or arrays are those that were written, whatever the file looks like."""
    if found.keys() != expected.keys():
        return False
    pairs = [(np.asarray(found[name]), np.asarray(expected[name])) for name in expected]
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


# -- the campaign ----------------------------------------------------------------------------------


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
                return "believed" if kind.read() is False else "accepted"
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
