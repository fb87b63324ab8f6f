"""The fused estimator's body in C++, compiled once a machine when it is first used and a compiler
is found.

The library has a plain C interface over raw pointers, so that it needs no headers of torch and
builds in seconds. It stays in the user's cache under a name made of its source, flags and
processor. Whatever fails, the tensor code of `pure.py` is used and `status` says why; the
environment variable UNWEAVE_NATIVE=0 asks for that.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .plan import Plan

SOURCE = Path(__file__).with_name("kernel.cpp")
FLAGS = (
    "-O3",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-pthread",
    "-fno-math-errno",
    "-fno-trapping-math",
)
_HALF_LOG_2PI = 0.9189385332046727


def status() -> str:
    """What runs on the CPU, and if it is not the native code, why: such as "pure (no C++ compiler
    was found)".
    """
    found, said = _load(os.environ.get("UNWEAVE_NATIVE", ""), os.environ.get("CXX", ""))
    return f"native (C++, {said})" if found else f"pure ({said})"


def library() -> ctypes.CDLL | None:
    """The compiled kernel, if there is one; compiled now if it never was."""
    return _load(os.environ.get("UNWEAVE_NATIVE", ""), os.environ.get("CXX", ""))[0]


@lru_cache
def _load(wanted: str, compiler: str) -> tuple[ctypes.CDLL | None, str]:
    """The library and its vectors, or nothing and the reason."""
    if wanted == "0":
        return None, "UNWEAVE_NATIVE=0"
    command = shutil.which(compiler) if compiler else shutil.which("g++") or shutil.which("clang++")
    if command is None:
        return (
            None,
            f"no C++ compiler {compiler!r} was found" if compiler else "no C++ compiler was found",
        )
    try:
        kernel = ctypes.CDLL(str(_built(command)))
        vectors = {16: "128-bit vectors", 32: "AVX2", 64: "AVX-512"}[kernel.unweave_bytes()]
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return None, f"{Path(command).name} failed: {last[0]}"
    except (OSError, AttributeError, KeyError, subprocess.SubprocessError) as error:
        return None, f"the kernel could not be built: {error}"
    return kernel, vectors


def _built(command: str) -> Path:
    """The library's file: compiled beside its place and moved there whole, so that processes may
    race.
    """
    source = SOURCE.read_text(encoding="utf-8")
    key = hashlib.sha256("\n".join((source, *FLAGS, command, *_processor())).encode()).hexdigest()[
        :16
    ]
    path = _cache() / f"kernel-{key}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        for tuned in (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ()):
            try:
                subprocess.run(
                    [command, *FLAGS, *tuned, str(SOURCE), "-o", str(made)],
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=120,
                    stdin=subprocess.DEVNULL,
                )
                break
            except subprocess.CalledProcessError:  # the flags are not known everywhere
                if not tuned:
                    raise
        os.replace(made, path)
    return path


def _cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "unweave"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unweave"


def _processor() -> tuple[str, ...]:
    """What distinguishes processors that need a library of their own: a home folder may be
    shared.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = platform.processor()
    return platform.system(), platform.machine(), flags


# -- the body --------------------------------------------------------------------------------------


class _Lists(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("list", ctypes.c_void_p))


class _Plan(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("units", "slots", "singles", "bases")),
        *((name, ctypes.c_void_p) for name in ("block", "base", "order", "last")),
        *((name, _Lists) for name in ("own", "above", "parts", "parents")),
    )


class _Chunk(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "components", "width")),
        *(
            (name, ctypes.c_void_p)
            for name in ("z", "mean", "precision", "constant", "keep", "bases", "stride")
        ),
        ("gradient", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in ("coef", "log_q", "dz", "linear", "square", "dbases")
        ),
    )


@lru_cache(maxsize=256)
def _packed(plan: Plan) -> tuple[_Plan, Any]:
    """The plan as the kernel reads it, and what must outlive it."""
    alive: list[Any] = []

    def numbers(values: Sequence[int]) -> int:
        alive.append((ctypes.c_int32 * max(len(values), 1))(*values))
        return ctypes.addressof(alive[-1])

    def lists(rows: Sequence[Sequence[int]]) -> _Lists:
        start = [0]
        for row in rows:
            start.append(start[-1] + len(row))
        return _Lists(numbers(start), numbers([k for row in rows for k in row]))

    slots = range(len(plan.slots))
    last = [0] * len(plan.own)
    for run, _, _ in plan.segments:
        for unit in range(run.start, run.stop):
            last[unit] = unit == run.stop - 1 or (unit - run.start) % 8 == 7
    parts = {slot: of for slot, of, _ in plan.sums}
    packed = _Plan(
        len(plan.own), len(slots), len(slots) - len(plan.sums), max(plan.base, default=-1) + 1,
        numbers(plan.slots), numbers(plan.base), numbers([slot for slot, _, _ in plan.sums]),
        numbers(last),
        lists(plan.own), lists(plan.above),
        lists([parts.get(s, ()) for s in slots]), lists([plan.parents.get(s, ()) for s in slots]),
    )  # fmt: skip
    return packed, alive


class Native:
    """The primitive in C++: see `fused.Body`. Rows are spread over as many threads as torch may
    use.
    """

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        found = library()
        if found is None or mean.device.type != "cpu":
            raise RuntimeError(
                f"the native body was asked for on {mean.device.type}, but there is: {status()}"
            )
        self.run = found.unweave_float if mean.dtype == torch.float32 else found.unweave_double
        self.plan, self.alive = _packed(plan)
        (components, units), lanes = mean.shape, found.unweave_bytes() // mean.element_size()
        self.components, self.width = components, -(-components // lanes) * lanes
        self.tensors = mean.new_zeros(
            5, units, self.width
        )  # mean, 1/std, the constant, and the gradients' sums
        mean_t, precision, constant = self.tensors[:3, :, :components]
        mean_t.copy_(mean.T)
        torch.reciprocal(std.T, out=precision)
        torch.log(precision, out=constant).sub_(_HALF_LOG_2PI)
        self.row_bytes = 0

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        z, coef = z.contiguous(), coef if coef is None else coef.contiguous()
        keep = keep if keep is None else keep.contiguous()
        bases = [b if b.stride(-1) == 1 or b.shape[1] == 1 else b.contiguous() for b in bases]
        rows, count = len(z), len(bases)
        log_q = z.new_empty(self.plan.slots, rows)
        dz = None if coef is None else torch.empty_like(z)
        dbases = [
            z.new_zeros(rows, self.components) if want and coef is not None else None
            for want in wanted
        ]
        Pointers, Strides = ctypes.c_void_p * count, ctypes.c_int64 * count
        mean, precision, constant, linear, square = (t.data_ptr() for t in self.tensors)
        chunk = _Chunk(
            rows, self.components, self.width, z.data_ptr(), mean, precision, constant, _pointer(keep),
            ctypes.addressof(at := Pointers(*(b.data_ptr() for b in bases))),
            ctypes.addressof(strides := Strides(*(b.stride(0) for b in bases))),
            coef is not None, _pointer(coef), log_q.data_ptr(), _pointer(dz), linear, square,
            ctypes.addressof(to := Pointers(*(_pointer(b) for b in dbases))),
        )  # fmt: skip
        self.run(ctypes.byref(self.plan), ctypes.byref(chunk), torch.get_num_threads())
        del at, strides, to  # the kernel has read them
        return log_q, dz, dbases

    def finish(self) -> tuple[Tensor, Tensor]:
        _, precision, _, linear, square = self.tensors[:, :, : self.components]
        return (linear * precision).T, (square * precision).T


def _pointer(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()
