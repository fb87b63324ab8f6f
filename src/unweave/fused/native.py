"""The fused estimator's body in C++, compiled on first use where a compiler is found.

The library has a plain C interface over raw pointers, so that it needs no headers of torch and
builds in seconds. It stays in the user's cache under a name made of its source, flags and
processor, and of its own checksum. A library is code, so one that others wrote or may write is
never loaded, nor one that was cut off; where there is no such cache, it is compiled for this
process alone. Whatever fails, the tensor code of `pure.py` is used and `status` says why; the
environment variable UNWEAVE_NATIVE=0 asks for that. UNWEAVE_NATIVE=portable compiles for any
processor of a kind, so that runs on several machines have one kernel.
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
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .plan import HALF_LOG_2PI, Plan

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
TUNED = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ())
"""Flags for this processor, tried in turn, as compilers do not know all of them."""

PLAIN = ((),)
"""Flags for any processor of a kind, with UNWEAVE_NATIVE=portable: slower, the same everywhere."""


def status() -> str:
    """Say what runs on the CPU, and why if it is not native, as "pure (UNWEAVE_NATIVE=0)"."""
    found, said = _asked()
    return f"native (C++, {said})" if found else f"pure ({said})"


def library() -> ctypes.CDLL | None:
    """Return the compiled kernel, if there is one; compile it now if it never was."""
    found, _ = _asked()
    return found


def _asked() -> tuple[ctypes.CDLL | None, str]:
    """Return the library that the environment asks for, or nothing and the reason."""
    wanted = os.environ.get("UNWEAVE_NATIVE", "")
    compiler = os.environ.get("CXX", "")
    return _load(wanted, compiler)


@lru_cache
def _load(wanted: str, compiler: str) -> tuple[ctypes.CDLL | None, str]:
    """Return the library and its vectors, or nothing and the reason."""
    if wanted == "0":
        return None, "UNWEAVE_NATIVE=0"
    command = shutil.which(compiler) if compiler else shutil.which("g++") or shutil.which("clang++")
    if command is None:
        which = f" {compiler!r}" if compiler else ""
        return None, f"no C++ compiler{which} was found"
    try:
        kernel = _kernel(command, PLAIN if wanted == "portable" else TUNED)
        vectors = {16: "128-bit vectors", 32: "AVX2", 64: "AVX-512"}[kernel.unweave_bytes()]
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return None, f"{Path(command).name} failed: {last[0]}"
    except (OSError, AttributeError, KeyError, subprocess.SubprocessError) as error:
        return None, f"the kernel could not be built: {error}"
    return kernel, vectors


def _kernel(command: str, tunings: Sequence[Sequence[str]]) -> ctypes.CDLL:
    """Return the library out of the cache, or compile it and keep it there, if there is a cache.

    It is compiled beside its place and moved there whole, so that processes may race.
    """
    source = SOURCE.read_text(encoding="utf-8")
    identity = "\n".join((source, *FLAGS, str(tunings), command, *_processor()))
    name = f"kernel-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    cache = _folder()
    kept = _kept(cache, name) if cache else None
    if kept:
        return ctypes.CDLL(str(kept))
    is_writable = cache is not None and os.access(cache, os.W_OK)
    with tempfile.TemporaryDirectory(
        dir=cache if is_writable else None, ignore_cleanup_errors=True
    ) as folder:
        made = Path(folder, f"{name}.so")
        for tuned in tunings:
            try:
                _compile([command, *FLAGS, *tuned, str(SOURCE), "-o", str(made)])
                break
            except subprocess.CalledProcessError:
                if not tuned:
                    raise
        made.chmod(0o700)
        kernel = ctypes.CDLL(str(made))
        if cache and is_writable:
            with open(made, "rb") as file:
                os.fsync(file.fileno())
            os.replace(made, cache / f"{name}-{_checksum(made)}.so")
    return kernel


def _kept(cache: Path, name: str) -> Path | None:
    """Return the library of this name that is whole and one's own; remove those that are not."""
    for path in sorted(cache.glob(f"{name}-*.so")):
        if _is_own(path) and path.stem == f"{name}-{_checksum(path)}":
            return path
        with suppress(OSError):
            path.unlink()
    return None


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _folder() -> Path | None:
    """Return the cache, made if need be; None where there is no home, or it is another's."""
    try:
        cache = _cache()
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_open = not _is_own(cache)
        if is_open and cache.stat().st_uid == _user():  # others could write it: no longer
            cache.chmod(0o700)
    except (OSError, RuntimeError):  # pathlib's, of a user without a home
        return None
    return cache if _is_own(cache) else None


def _is_own(path: Path) -> bool:
    """Return true if a file or folder is this user's, and no one else may write it."""
    if os.name != "posix":  # where a user's folders are closed to others
        return True
    found = path.stat()
    return found.st_uid == _user() and not found.st_mode & 0o022


def _user() -> int:
    return os.geteuid()


def _compile(command: list[str]) -> None:
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def _cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "unweave"
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    return home / "unweave"


def _processor() -> tuple[str, ...]:
    """Return what distinguishes processors that need a library of their own.

    Machines may share a home folder.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        listed = [line for line in lines if line.startswith(("flags", "Features"))]
        flags = listed[0] if listed else ""
    except OSError:
        flags = platform.processor()
    return platform.system(), platform.machine(), flags


# -- the body --------------------------------------------------------------------------------------


class _Lists(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("list", ctypes.c_void_p))


class _Plan(ctypes.Structure):
    _fields_ = (
        ("units", ctypes.c_int32),
        ("slots", ctypes.c_int32),
        ("singles", ctypes.c_int32),
        ("bases", ctypes.c_int32),
        ("block", ctypes.c_void_p),
        ("base", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("own", _Lists),
        ("above", _Lists),
        ("parts", _Lists),
        ("parents", _Lists),
    )


class _Chunk(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int64),
        ("components", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("z", ctypes.c_void_p),
        ("mean", ctypes.c_void_p),
        ("precision", ctypes.c_void_p),
        ("constant", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("bases", ctypes.c_void_p),
        ("stride", ctypes.c_void_p),
        ("gradient", ctypes.c_int64),
        ("coef", ctypes.c_void_p),
        ("log_q", ctypes.c_void_p),
        ("dz", ctypes.c_void_p),
        ("linear", ctypes.c_void_p),
        ("square", ctypes.c_void_p),
        ("dbases", ctypes.c_void_p),
    )


@lru_cache(maxsize=256)
def _packed(plan: Plan) -> tuple[_Plan, Any]:
    """Return the plan as the kernel reads it, and what must outlive it."""
    alive: list[Any] = []

    def numbers(values: Sequence[int]) -> int:
        array = (ctypes.c_int32 * max(len(values), 1))(*values)
        alive.append(array)
        return ctypes.addressof(array)

    def lists(rows: Sequence[Sequence[int]]) -> _Lists:
        start, flat = [0], list[int]()
        for row in rows:
            flat += row
            start.append(len(flat))
        return _Lists(numbers(start), numbers(flat))

    slots = range(len(plan.slots))
    last = [0] * len(plan.own)  # whether a unit is the last of a few that are added up first
    for run, _, _ in plan.segments:
        for unit in range(run.start, run.stop):
            place = unit - run.start
            last[unit] = unit == run.stop - 1 or place % 8 == 7
    parts = {slot: of for slot, of, _ in plan.sums}
    packed = _Plan(
        units=len(plan.own),
        slots=len(slots),
        singles=len(slots) - len(plan.sums),
        bases=max(plan.base, default=-1) + 1,
        block=numbers(plan.slots),
        base=numbers(plan.base),
        order=numbers([slot for slot, _, _ in plan.sums]),
        last=numbers(last),
        own=lists(plan.own),
        above=lists(plan.above),
        parts=lists([parts.get(slot, []) for slot in slots]),
        parents=lists([plan.parents.get(slot, []) for slot in slots]),
    )
    return packed, alive


class Native:
    """The primitive in C++: see `plan.Body`.

    Rows are spread over as many threads as torch may use.
    """

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        found = library()
        if found is None or mean.device.type != "cpu":
            raise RuntimeError(
                f"the native body was asked for on {mean.device.type}, but there is: {status()}"
            )
        self.run = found.unweave_float if mean.dtype == torch.float32 else found.unweave_double
        self.plan, self.alive = _packed(plan)
        self.components, units = mean.shape
        lanes = found.unweave_bytes() // mean.element_size()
        self.width = -(-self.components // lanes) * lanes  # whole vectors
        # mean, 1/std, the constant, and the gradients' sums: (units, width) each
        self.tensors = mean.new_zeros(5, units, self.width)
        mean_t, precision, constant = self.tensors[:3, :, : self.components]
        mean_t.copy_(mean.T)
        torch.reciprocal(std.T, out=precision)
        torch.log(precision, out=constant).sub_(HALF_LOG_2PI)
        self.row_bytes = 0

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        z = z.contiguous()
        if coef is not None:
            coef = coef.contiguous()
        if keep is not None:
            keep = keep.contiguous()
        bases = [_with_contiguous_rows(base) for base in bases]
        n_rows, count = len(z), len(bases)
        log_q = z.new_empty(self.plan.slots, n_rows)
        dz: Tensor | None = None
        dbases: list[Tensor | None] = [None] * count
        if coef is not None:
            dz = torch.empty_like(z)
            for k, want in enumerate(wanted):
                if want:
                    dbases[k] = z.new_zeros(n_rows, self.components)
        pointers = ctypes.c_void_p * count
        base_at, dbase_at = pointers(), pointers()
        strides = (ctypes.c_int64 * count)()
        for k, base in enumerate(bases):
            base_at[k] = base.data_ptr()
            strides[k] = base.stride(0)
            dbase_at[k] = _pointer(dbases[k])
        mean, precision, constant, linear, square = [t.data_ptr() for t in self.tensors]
        chunk = _Chunk(
            rows=n_rows,
            components=self.components,
            width=self.width,
            z=z.data_ptr(),
            mean=mean,
            precision=precision,
            constant=constant,
            keep=_pointer(keep),
            bases=ctypes.addressof(base_at),
            stride=ctypes.addressof(strides),
            gradient=coef is not None,
            coef=_pointer(coef),
            log_q=log_q.data_ptr(),
            dz=_pointer(dz),
            linear=linear,
            square=square,
            dbases=ctypes.addressof(dbase_at),
        )
        threads = torch.get_num_threads()
        self.run(ctypes.byref(self.plan), ctypes.byref(chunk), threads)
        return log_q, dz, dbases

    def finish(self) -> tuple[Tensor, Tensor]:
        tensors = self.tensors[:, :, : self.components]  # (5, D, C)
        _, precision, _, linear, square = tensors
        dmean = linear * precision
        dstd = square * precision
        return dmean.T, dstd.T


def _with_contiguous_rows(base: Tensor) -> Tensor:
    if base.stride(-1) == 1 or base.shape[1] == 1:
        return base
    return base.contiguous()


def _pointer(t: Tensor | None) -> int | None:
    return None if t is None else t.data_ptr()
