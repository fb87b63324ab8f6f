"""The body in Triton gives what the tensor code gives: on a GPU, or in Triton's interpreter, a
process of its own.
"""

import importlib.util
import math
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from support.programs import drawn, float64, same  # noqa: F401
from torch.distributions import Normal

from unweave.aggregate import pairs
from unweave.fused import plan as plans
from unweave.fused import pure, sweep, triton_body

INSTALLED = importlib.util.find_spec("triton") is not None
INTERPRETED = INSTALLED and os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED or not torch.cuda.is_available() else "cuda"

installed = pytest.mark.skipif(not INSTALLED, reason="triton is not installed")
apart = pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
runs = pytest.mark.skipif(
    not (INTERPRETED or (DEVICE == "cuda" and INSTALLED)),
    reason="there is no GPU: test_in_the_interpreter runs it"
    if INSTALLED
    else "triton is not installed",
)


@pytest.fixture
def afresh(monkeypatch):
    triton_body._unusable.cache_clear()
    monkeypatch.delenv("UNWEAVE_TRITON", raising=False)
    yield SimpleNamespace(device=torch.device("cuda"))
    triton_body._unusable.cache_clear()


# -- whether it runs -------------------------------------------------------------------------------


@installed
@apart
@pytest.mark.slow
def test_in_the_interpreter():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@installed
@apart
@pytest.mark.slow
@pytest.mark.parametrize("real", ["fp32", "fp64"])
@pytest.mark.parametrize(
    "kernel", ["_one", "_values", "_weights", "_rows", "_components", "_bases"]
)
def test_each_kernel_compiles_without_a_gpu(kernel, real, tmp_path, monkeypatch):
    """The interpreter takes what the compiler does not."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiler = importlib.import_module("triton.compiler")
    target = importlib.import_module("triton.backends.compiler").GPUTarget("cuda", 80, 32)
    fn, counts = getattr(triton_body, kernel), {"rows", "comps", "units", "slots", "sums", "wanted"}
    numbers = {"members", "own", "above", "holds", "base_of"}

    def kind(name, keep):
        if name in ("KEEP", "R", "C"):
            return "constexpr"
        if (name in counts and (kernel, name) != ("_components", "sums")) or name.startswith("to_"):
            return "i32"
        if name in numbers or name.endswith("_start"):
            return "*i64"
        return "*u8" if keep and name == "keep" else f"*{real}"

    for keep in (False, True):
        constants = {
            "KEEP": keep,
            **(triton_body._COMPONENTS if kernel == "_components" else triton_body._ROWS),
        }
        source = compiler.ASTSource(
            fn,
            {name: kind(name, keep) for name in fn.arg_names},
            {name: value for name, value in constants.items() if name in fn.arg_names},
        )
        made = importlib.import_module("triton").compile(
            source, target=target, options={"enable_fp_fusion": False}
        )
        assert made.asm["ptx"]


def test_without_triton_the_tensor_code_runs(afresh, monkeypatch):
    monkeypatch.setattr(triton_body, "triton", None)
    monkeypatch.setattr(triton_body, "_missing", "triton cannot be imported: it is not here")
    assert triton_body.status() == "pure (triton cannot be imported: it is not here)"
    assert sweep.backend(afresh) is pure.Pure
    with pytest.raises(RuntimeError, match="it is not here"):
        triton_body.Triton(torch.zeros(1, 1), torch.ones(1, 1), plans.plan((), 1))


def test_nobody_wishes_for_it(afresh, monkeypatch):
    monkeypatch.setenv("UNWEAVE_TRITON", "0")
    assert triton_body.status() == "pure (UNWEAVE_TRITON=0)"
    assert sweep.backend(afresh) is pure.Pure


def test_a_kernel_that_fails_leaves_the_tensor_code(afresh, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(triton_body, "triton", SimpleNamespace(__version__="3"))
    monkeypatch.setattr(triton_body, "_one", {(1,): fails})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    assert triton_body.status() == "pure (a kernel failed: no C compiler)"
    assert sweep.backend(afresh) is pure.Pure


def test_where_a_kernel_ran_it_is_chosen(afresh, monkeypatch):
    def runs(out, **_):
        out.fill_(1)

    zeros = torch.zeros
    monkeypatch.setattr(triton_body, "triton", SimpleNamespace(__version__="3"))
    monkeypatch.setattr(triton_body, "_one", {(1,): runs})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda n, **_: zeros(n))
    assert triton_body.status() == "triton (3)"
    assert sweep.backend(afresh) is triton_body.Triton
    assert sweep.backend(torch.ones(1)) is not triton_body.Triton


@runs
@pytest.mark.skipif(DEVICE == "cpu", reason="there is no GPU")
def test_it_is_what_runs_on_a_gpu():
    assert triton_body.status().startswith("triton (")
    assert sweep.backend(torch.zeros(1, device="cuda")) is triton_body.Triton


# -- that it is right ------------------------------------------------------------------------------


def agree(*args, coef, tol, **options):
    """Values alone, values and gradients: as by the tensor code."""
    for c in (None, coef):
        found, expected = (
            sweep.value_and_grad(*args, c, **options, body=body)
            for body in (triton_body.Triton, pure.Pure)
        )
        for x, y in zip(
            *((*t[:4], *(t[4] if len(t) > 4 else ())) for t in (found, expected)), strict=True
        ):
            assert x.dtype == y.dtype
            same(x, y, tol)


@runs
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 2), (36, 70, 3), (5, 140, 2), (2, 9, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_blocks(dtype, tol, shape, seed):
    """Blocks that overlap, repeat, nest or are empty, rows and components of more than one tile,
    masks.
    """
    rows, comps, units = shape
    torch.manual_seed(seed)
    rng, like = random.Random(seed), {"dtype": dtype, "device": DEVICE}
    z, mean, std = (
        torch.randn(rows, units, **like),
        torch.randn(comps, units, **like),
        torch.rand(comps, units, **like),
    )
    bases = [torch.randn(rows, comps, **like) for _ in range(3)]
    bases[1][torch.rand(rows, comps, device=DEVICE) < 0.3] = -math.inf
    bases[1][:, 0] = 0.0
    bases[2] = bases[2][:1].expand(rows, comps)
    blocks = [
        (rng.randrange(3), tuple(sorted(rng.sample(range(units), rng.randint(0, units)))))
        for _ in range(3)
    ]
    blocks += [(0, (u,)) for u in range(units)] + [(1, (units - 1,))] * (units > 0)
    keep = torch.rand(rows, units, device=DEVICE) < 0.7 if seed else None
    coef = torch.randn(rows, len(blocks), **like)
    agree(z, mean, std + 0.2, bases, blocks, coef=coef, tol=tol, keep=keep)


@runs
@pytest.mark.parametrize("stride", [0, 1])
def test_one_base_of_any_strides(stride):
    z, mean = torch.randn(20, 2, device=DEVICE), torch.randn(9, 2, device=DEVICE)
    base = torch.randn(9 * stride + 1, 20 * stride + 1, device=DEVICE)[
        : 9 if stride else 1, : 20 if stride else 1
    ].T
    blocks = [(0, (0, 1)), (0, (1,))]
    coef = torch.randn(20, 2, device=DEVICE)
    agree(z, mean, mean.exp(), [base.expand(20, 9)], blocks, coef=coef, tol=1e-10)


@runs
def test_no_blocks_at_all():
    z, mean = torch.randn(3, 2, device=DEVICE), torch.randn(4, 2, device=DEVICE)
    bases, coef = [torch.zeros(3, 4, device=DEVICE)], torch.zeros(3, 0, device=DEVICE)
    log_q, *gradients, (dbase,) = sweep.value_and_grad(
        z, mean, mean.exp(), bases, [], coef, body=triton_body.Triton
    )
    assert log_q.shape == (3, 0)
    assert not any(bool(t.any()) for t in (*gradients, dbase))


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_far_from_everything_stay_finite(dtype):
    """Densities that underflow by far, and a row that no component weighs: −inf, and no
    gradient.
    """
    like = {"dtype": dtype, "device": DEVICE}
    z, mean = (
        torch.tensor([[0.0], [1e6], [-3e4], [0.5]], **like),
        torch.tensor([[0.0], [1.0]], **like),
    )
    std, base = torch.tensor([[1e-3], [1.0]], **like), torch.zeros(4, 2, **like)
    base[3] = -math.inf
    blocks, coef = [(0, (0,)), (0, ())], torch.ones(4, 2, **like)
    found = sweep.value_and_grad(z, mean, std, [base], blocks, coef, body=triton_body.Triton)
    expected = sweep.value_and_grad(
        *(t.double() for t in (z, mean, std)),
        [base.double()],
        blocks,
        coef.double(),
        body=pure.Pure,
    )  # in float32 the tensor code takes components for equals where 80 nats are less than rounding
    for x, y in zip((*found[:4], *found[4]), (*expected[:4], *expected[4]), strict=True):
        same(x.double(), y, 1e-6 if dtype == torch.float32 else 1e-10)
    assert (found[0][3] == -math.inf).all()
    assert found[1][3] == 0


@runs
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")  # of the interpreter
def test_not_a_number_is_not_lost():
    z, mean = torch.tensor([[0.0], [math.nan]], device=DEVICE), torch.zeros(3, 1, device=DEVICE)
    base = torch.zeros(2, 3, device=DEVICE)
    (log_q,) = sweep.value_and_grad(z, mean, mean + 1, [base], [(0, (0,))], body=triton_body.Triton)
    assert log_q.isnan().flatten().tolist() == [False, True]


@runs
def test_the_same_bits_twice():
    z, mean, base = (torch.randn(*shape, device=DEVICE) for shape in ((20, 3), (70, 3), (20, 70)))
    args = (
        z,
        mean,
        mean.exp(),
        [base],
        [(0, (0, 1)), (0, (1, 2)), (0, (2,))],
        torch.randn(20, 3, device=DEVICE),
    )
    once, twice = (sweep.value_and_grad(*args, body=triton_body.Triton) for _ in range(2))
    for x, y in zip((*once[:4], *once[4]), (*twice[:4], *twice[4]), strict=True):
        assert torch.equal(x, y)


@runs
def test_chunks_samples_and_weights_of_components(monkeypatch):
    """The whole estimate, a few rows at a time, where parameters have samples of their own and
    weights gradients.
    """
    monkeypatch.setitem(plans.BUDGET, DEVICE, 2**9)
    leaves = [torch.randn(2, 9, 3, device=DEVICE) for _ in range(3)] + [
        torch.randn(2, 9, device=DEVICE)
    ]
    z, mean, std, log_v = (t.requires_grad_() for t in leaves)
    q = drawn(z=(Normal(mean, std.exp()), z))
    blocks, log_w = (
        [(("z", (0, 1, 2)),), (("z", (0, 1)),), (("z", (2,)),)],
        (math.log(0.2), math.log(0.3), -1.0),
    )
    coef = torch.randn(3, 2, 9, device=DEVICE)
    found, expected = (
        pairs.log_mixture_fused(q, q, blocks, log_w, 1, log_v=log_v, body=body)
        for body in (triton_body.Triton, pure.Pure)
    )
    same(found, expected)
    for x, y in zip(
        *(
            torch.autograd.grad((coef * t).sum(), leaves, retain_graph=True)
            for t in (found, expected)
        ),
        strict=True,
    ):
        same(x, y)


@runs
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_float32_is_as_accurate_as_the_goal(scale):
    """Against float64 on the same numbers: 1e-4 in every log marginal, 1e-6 of the gradients'
    length.
    """
    batch, units = 60, 10
    mean = torch.randn(batch, units, dtype=torch.float32, device=DEVICE)
    std = scale * (0.8 + 0.4 * torch.rand_like(mean))
    z = mean + std * torch.randn_like(mean)
    base = torch.full((1, 1), math.log(1 / 50_000), dtype=torch.float32, device=DEVICE).expand(
        batch, batch
    )
    blocks = [
        (0, tuple(range(units))),
        *((0, (u, u + 1)) for u in range(0, units, 2)),
        (0, (0,)),
        (0, (5,)),
    ]
    coef = torch.ones(batch, len(blocks), dtype=torch.float32, device=DEVICE)
    coef[:, 0] = -3
    log_q, *ours = sweep.value_and_grad(z, mean, std, [base], blocks, coef, body=triton_body.Triton)
    double, *truth = sweep.value_and_grad(
        *(t.double() for t in (z, mean, std)),
        [base.double()],
        blocks,
        coef.double(),
        body=pure.Pure,
    )
    assert (log_q - double).abs().max() <= 1e-4
    for x, y in zip(ours[:3], truth[:3], strict=True):
        assert (x - y).norm() <= 1e-6 * y.norm()
