"""The compiled kernel is there, or says why not; that it is right is tested in test_fused.py."""

import os
import stat
import subprocess

import pytest
import torch
from support.programs import float64, same  # noqa: F401

from unweave.fused import native, pure, sweep
from unweave.fused import plan as plans

with_compiler = pytest.mark.skipif(native.library() is None, reason=native.status())


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Nothing loaded, nothing cached."""
    native._load.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "_cache", lambda: tmp_path / "unweave")
    monkeypatch.delenv("UNWEAVE_NATIVE", raising=False)
    yield tmp_path
    native._load.cache_clear()


def compiler(folder, script):
    path = folder / "c++"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def estimate():
    z = torch.zeros(2, 1)
    return sweep.value_and_grad(z, z, z + 1, [torch.zeros(2, 2)], [(0, (0,))])[0]


# -- where it cannot be built ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'kernel.cpp:1: no such vector' >&2; exit 1",
            "c++ failed: kernel.cpp:1: no such vector",
        ),
        ("exit 1", "c++ failed: it said nothing"),
        ("exit 0", "the kernel could not be built: "),  # and left no library
        ('for last; do :; done; echo not a library > "$last"', "the kernel could not be built: "),
    ],
)
def test_a_compiler_that_fails_leaves_the_tensor_code(fresh, monkeypatch, script, said):
    monkeypatch.setenv("CXX", compiler(fresh, script))
    assert native.library() is None
    assert native.status().startswith(f"pure ({said}")
    assert sweep.backend(torch.zeros(1)) is pure.Pure
    same(estimate(), torch.full((2, 1), -0.2257913526447274))


def test_no_compiler_and_no_wish_for_one(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert native.status() == "pure (no C++ compiler 'no-such-compiler' was found)"
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(fresh))
    assert native.status() == "pure (no C++ compiler was found)"
    monkeypatch.setenv("UNWEAVE_NATIVE", "0")
    assert native.status() == "pure (UNWEAVE_NATIVE=0)"
    monkeypatch.setenv("UNWEAVE_NATIVE", "portable")
    assert native.status() in ("native (C++, 128-bit vectors)", "pure (no C++ compiler was found)")
    assert sweep.backend(torch.zeros(1)) is pure.Pure
    with pytest.raises(RuntimeError, match="but there is: pure"):
        native.Native(torch.zeros(1, 1), torch.ones(1, 1), plans.plan((), 1))


def homeless():
    raise RuntimeError("Could not determine home directory.")


def test_a_cache_that_cannot_be_written_is_no_error(fresh, monkeypatch):
    (fresh / "unweave").write_text("a file where the folder should be", encoding="utf-8")
    assert native._folder() is None
    same(estimate(), torch.full((2, 1), -0.2257913526447274))


def test_a_cache_is_ones_own_or_is_not_used(fresh, monkeypatch):
    old = os.umask(0)
    try:
        cache = native._folder()
    finally:
        os.umask(old)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    cache.chmod(0o777)  # as earlier versions left it under a loose umask
    assert native._folder() == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    monkeypatch.setattr(native, "_user", lambda: os.geteuid() + 1)
    assert native._folder() is None
    monkeypatch.setattr(native, "_cache", homeless)
    assert native._folder() is None


def test_a_library_that_others_may_write_or_that_is_damaged_is_removed(fresh):
    cache = native._folder()
    library = fresh / "made.so"
    library.write_bytes(b"a library")
    kept = cache / f"kernel-1-{native._checksum(library)}.so"

    def place(mode=0o700, content=b"a library"):
        kept.write_bytes(content)
        kept.chmod(mode)
        return native._kept(cache, "kernel-1")

    assert place() == kept
    assert place(mode=0o722) is None
    assert not kept.exists()
    assert place(content=b"a lib") is None
    assert place() == kept


def test_a_relative_cache_is_no_cache(monkeypatch):
    """The folder that one happens to be in may be another's."""
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert native._cache().is_absolute()


# -- where it can ----------------------------------------------------------------------------------


@with_compiler
@pytest.mark.slow
def test_it_is_built_once_and_found_again(fresh, monkeypatch):
    assert native.status().startswith("native (C++, ")
    (built,) = (fresh / "unweave").iterdir()
    native._load.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("built again"))
    assert native.library() is not None
    assert list((fresh / "unweave").iterdir()) == [built]


@with_compiler
@pytest.mark.slow
def test_without_a_home_it_is_built_for_this_process_alone(fresh, monkeypatch):
    monkeypatch.setattr(native, "_cache", homeless)
    monkeypatch.setattr(native.tempfile, "tempdir", str(fresh))
    assert native.status().startswith("native (C++, ")
    same(estimate(), torch.full((2, 1), -0.2257913526447274))
    assert list(fresh.iterdir()) == []


@with_compiler
@pytest.mark.slow
def test_a_library_that_was_cut_off_is_built_anew(fresh):
    native.library()
    (built,) = (fresh / "unweave").iterdir()
    content = built.read_bytes()
    built.unlink()  # another file of the same name: this process still has the whole one mapped
    built.write_bytes(content[:4096])
    built.chmod(0o700)
    native._load.cache_clear()
    assert native.status().startswith("native (C++, ")
    (again,) = (fresh / "unweave").iterdir()
    assert len(again.read_bytes()) > 4096


@with_compiler
@pytest.mark.slow
def test_flags_that_a_compiler_does_not_know_are_left_out(fresh, monkeypatch):
    """A portable build, without the machine's own vectors, gives the same numbers."""
    args = [
        torch.randn(40, 3),
        torch.randn(70, 3),
        torch.rand(70, 3) + 0.3,
        [torch.randn(40, 70)],
        [(0, (0, 1)), (0, (2,))],
    ]
    coef = torch.randn(40, 2)
    expected = sweep.value_and_grad(*args, coef, body=pure.Pure)
    real = native.shutil.which("g++") or native.shutil.which("clang++")
    script = f'for a; do case "$a" in -m*) echo unknown >&2; exit 1;; esac; done; exec {real} "$@"'
    monkeypatch.setenv("CXX", compiler(fresh, script))
    found = sweep.value_and_grad(*args, coef, body=native.Native)
    for x, y in zip((*found[:4], *found[4]), (*expected[:4], *expected[4]), strict=True):
        same(x, y)


@with_compiler
def test_it_is_what_runs():
    assert sweep.backend(torch.zeros(1)) is native.Native
    assert native.status().startswith("native (C++, ")


@with_compiler
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_give_the_same_numbers_and_the_same_bits_twice(threads):
    torch.manual_seed(0)
    z, mean, std = torch.randn(90, 6), torch.randn(700, 6), torch.rand(700, 6) + 0.2
    base, coef = torch.randn(90, 700), torch.randn(90, 8)
    blocks = [(0, tuple(range(6))), (0, (1, 2)), *((0, (u,)) for u in range(6))]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        once, twice = (
            sweep.value_and_grad(z, mean, std, [base], blocks, coef, body=native.Native)
            for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    expected = sweep.value_and_grad(z, mean, std, [base], blocks, coef, body=pure.Pure)
    for x, y, e in zip(
        (*once[:4], *once[4]), (*twice[:4], *twice[4]), (*expected[:4], *expected[4]), strict=True
    ):
        assert torch.equal(x, y)
        same(x, e)


@with_compiler
def test_not_a_number_is_not_lost():
    z, mean = torch.tensor([[0.0], [float("nan")]]), torch.zeros(3, 1)
    (log_q,) = sweep.value_and_grad(
        z, mean, mean + 1, [torch.zeros(2, 3)], [(0, (0,))], body=native.Native
    )
    assert log_q.isnan().flatten().tolist() == [False, True]


@with_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_are_exact_to_rounding(dtype):
    """Two components, the second x nats below the first: log(1 + exp(−x)), and its slope, over the
    whole range.
    """
    x = torch.linspace(0, 120 if dtype == torch.float32 else 800, 4001, dtype=dtype)
    base = torch.stack([torch.zeros_like(x), -x], -1)
    z, none = torch.zeros(len(x), 0, dtype=dtype), torch.zeros(2, 0, dtype=dtype)
    log_q, _, _, _, (slope,) = sweep.value_and_grad(
        z, none, none, [base], [(0, ())], torch.ones(len(x), 1, dtype=dtype), body=native.Native
    )
    eps = torch.finfo(dtype).eps
    exact = x.double()
    torch.testing.assert_close(
        log_q[:, 0].double(), torch.log1p(torch.exp(-exact)), rtol=0, atol=2 * eps
    )
    normal = torch.exp(-exact) > 4 * torch.finfo(dtype).tiny
    torch.testing.assert_close(
        slope[normal, 1].double(), torch.sigmoid(-exact)[normal], rtol=4 * eps, atol=0
    )
