"""The kinds of inputs: what each is when it is right, and how the package reads it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pickle
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import h5py
import mutations
import numpy as np
import pandas
import pyarrow
import torch
from PIL import Image
from pyarrow import parquet
from scipy import sparse

import unweave as uw
from unweave import again, cli, recipes, terminal
from unweave.data import idx
from unweave.evaluation.evaluate import evaluate
from unweave.explorer.gate import Gate
from unweave.explorer.server import Explorer
from unweave.explorer.session import Session
from unweave.objective.formula import formula
from unweave.pages import run as run_page
from unweave.runs import arrays, compare, names, seal
from unweave.scoring import card
from unweave.studies import grid
from unweave.trace.groups import chain
from unweave.training.checkpoints import load_checkpoint

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

QUESTIONS = (
    {"ask": "decode", "id": 1, "codes": [[0.5, 0, -1, 2, 0, 1, 4]], "channel": "a", "run": 0},
    {"ask": "select", "id": 2, "items": [0, 1, 2, 50]},
    {"ask": "name", "id": 3, "unit": "z[0]", "name": "slant", "note": "to the left"},
)
REQUESTS = (
    ("/",), ("/run.json",), ("/page/page.js",), ("/page/..%2f..%2fterminal.py",), ("/labels",),
    ("/item/3",), ("/item/" + "9" * 5000,), ("/bounds/elbo",), ("/plane/z/pca",), ("/codes/other",),
    ("/codes", "host: [::1", "origin: http://["), ("/codes", "cookie: unweave-token=\xff; a=\0"),
)  # fmt: skip
"""Paths, then headers beside those that the page itself sends."""


class Canary:
    """An object whose pickle writes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


class Refused(Exception):
    """An answer that says why there is no other."""


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


def hdf5(folder: Path) -> list[bytes]:
    """Return HDF5 files: three that are right, one that claims much, and one with foreign links."""
    rng = np.random.default_rng(0)
    contents = []

    def write(fill: Callable[[h5py.File], object]) -> None:
        place = folder / "seed.h5"
        with h5py.File(place, "w") as file:
            fill(file)
        contents.append(place.read_bytes())
        place.unlink()

    def plain(file: h5py.File) -> None:
        file["x"] = rng.normal(size=(40, 3))
        file["kind"] = ["x", "y"] * 20

    def packed(file: h5py.File) -> None:
        file.create_dataset("of/x", data=rng.integers(0, 9, (40, 8, 8)), compression="gzip")
        file["of/y"] = rng.integers(0, 3, 40)

    def mixed(file: h5py.File) -> None:
        file["x"] = rng.random((40, 3)) > 0.5
        file["pairs"] = np.zeros(40, dtype=[("a", "f4"), ("b", "i4")])
        file.create_dataset("ragged", (40,), h5py.vlen_dtype(np.int32))

    def claims(file: h5py.File) -> None:
        file.create_dataset("x", (2**33, 2), "f4", chunks=(2**10, 2), compression="gzip")

    def leads_away(file: h5py.File) -> None:
        file.create_dataset("x", (40, 2), "u1", external=[("v.csv", 0, 80)])
        layout = h5py.VirtualLayout((40, 3), "f8")
        layout[:] = h5py.VirtualSource("own.h5", "x", (40, 3))
        file.create_virtual_dataset("y", layout)
        file["link"] = h5py.ExternalLink("RUN/evaluation.npz", "/")

    for fill in (plain, packed, mixed, claims, leads_away):
        write(fill)
    return contents


def cells(folder: Path) -> list[bytes]:
    """Return AnnData as files, with sparse and with dense counts."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (30, 6)).astype(np.float32)
    contents = []
    for x in (sparse.csr_matrix(counts), counts):
        cell, gene = (pandas.Index([f"{k}" for k in range(n)], dtype=object) for n in (30, 6))
        obs = pandas.DataFrame({"batch": rng.integers(0, 3, 30)}, index=cell)
        kinds = pandas.Index(["B", "T"], dtype=object)
        obs["kind"] = pandas.Categorical.from_codes([0, 1] * 15, kinds)
        place = folder / "seed.h5ad"
        anndata.AnnData(X=x, obs=obs, var=pandas.DataFrame(index=gene)).write_h5ad(place)
        contents.append(place.read_bytes())
        place.unlink()
    return contents


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
    names.keep(run, "z[0]", "slant", "to the left")
    sealed = seal.read(run)
    session = Session(uw.load(run), uw.data.digits("test").subset(range(60)), run)
    asked = [json.dumps(question).encode() for question in QUESTIONS]
    requests = ["\n".join(request).encode("latin-1") for request in REQUESTS]

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
        Kind("names.json", "RUN/names.json", [(run / names.FILE).read_bytes()],
             partial(_names, run), 1, True),
        Kind("evaluation.json", "RUN/evaluation.json", [(run / seal.FILE).read_bytes()],
             lambda: report() or seal.read(run) in (None, sealed), 2, True),
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
        Kind("HDF5", "own.h5", hdf5(folder), lambda: _own("own.h5"), 4),
        Kind("AnnData", "own.h5ad", cells(folder),
             lambda: _own("own.h5ad", labels=["kind"], given=["batch"]), 2),
        Kind("idx", "own.idx", [head + numbers.tobytes()], lambda: _done(idx.read("own.idx")), 2),
        Kind("image", "photos/a.png", pictures, lambda: _own("photos"), 3),
        Kind("labels of images", "photos/labels.csv", [b"file,kind\nb.png,x\nc.png,y\n"],
             lambda: _own("photos", labels="photos/labels.csv"), 1),
        Kind("codes", "codes.csv", [codes], score, 2),
        Kind("factors", "factors.csv", [factors], score, 2),
        Kind("question to the explorer", "text", asked, partial(_asked, session), 4, True),
        Kind("request to the explorer", "text", requests, partial(_requested, session), 3),
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


def _names(run: Path) -> None:
    names.keep(run, "z[1]", "width")
    run_page.write(run)


def _asked(session: Session) -> None:
    """Ask the explorer one question by its WebSocket."""
    waiting = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": _text()}]
    answers = _exchange(session, "websocket", "/ask", [], waiting)
    said = [answer.get("text") or "" for answer in answers]
    if any('"error"' in text for text in said):
        raise Refused(said[-1])


def _requested(session: Session) -> None:
    """Ask the explorer for a path, under some headers."""
    path, *lines = Path("text").read_bytes().split(b"\n")
    pairs = [line.partition(b":")[::2] for line in lines]
    headers = [(name.strip().lower(), value.strip()) for name, value in pairs]
    waiting = [{"type": "http.request", "body": b""}]
    answers = _exchange(session, "http", path.decode("latin-1"), headers, waiting)
    if answers[0]["status"] != 200:
        raise Refused(answers[1]["body"].decode(errors="replace"))


def _exchange(
    session: Session, kind: str, path: str, headers: list[Any], waiting: list[Any]
) -> list[Any]:
    """Give messages to a new server of the explorer, and return its answers."""
    usual = [(b"host", b"localhost:8700"), (b"origin", b"http://localhost:8700")]
    scope = {
        "type": kind, "path": path, "raw_path": path.encode(), "root_path": "", "method": "GET",
        "query_string": path.partition("?")[2].encode(), "headers": [*usual, *headers],
        "scheme": "http", "subprotocols": [], "server": ("localhost", 8700), "client": ("a", 1),
    }  # fmt: skip
    answers: list[Any] = []

    async def exchange() -> None:
        is_answered = asyncio.Event()

        async def receive() -> Any:
            if waiting:
                return waiting.pop(0)
            await asyncio.wait_for(is_answered.wait(), 15)
            return {"type": f"{kind}.disconnect", "code": 1000}

        async def send(message: Any) -> None:
            if message["type"] != "websocket.accept":
                answers.append(message)
                is_answered.set()

        token = "word" if kind == "http" else None
        if token:
            scope["headers"].append((b"cookie", b"unweave-token=word"))
        await Gate(Explorer(session).app(), "127.0.0.1", token)(scope, receive, send)

    asyncio.run(exchange())
    return answers


def _same(found: Any, expected: Any) -> bool:
    """True if tensors or arrays are those that were written, whatever the file looks like."""
    if found.keys() != expected.keys():
        return False
    pairs = [(np.asarray(found[name]), np.asarray(expected[name])) for name in expected]
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
