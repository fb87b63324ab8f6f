"""Timing, honestly: the library beside the same work written by hand, interleaved in one process,
as ratios.

Times are the process's own CPU time where one thread is used (a busy machine then does not count),
wall time otherwise; medians of interleaved repetitions, with the quartiles beside them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from json import dumps, loads
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from .. import models
from ..aggregate import balanced, pairs, unfused
from ..data import Data
from ..fused import native, pure
from ..fused import plan as plans
from ..nets import scale
from ..objective.literature import hfvae
from ..trace.groups import Block
from ..trace.node import Node
from ..trace.trace import Trace
from ..training.recipe import Recipe
from ..training.trainer import Trainer

GOAL = 1.10
"""Of our step over the same step by hand."""

ELBO_GOALS = {128: 1.25, 1024: 1.8}
"""Of our HFVAE step over a plain ELBO step of the same networks by hand."""


def step(
    threads: int = 1, repeats: int = 60, batches: tuple[int, ...] = (128, 1024)
) -> dict[int, float]:
    """The `mnist` recipe's training step against hand-written loops of the same networks and batch.

    One loop has the same objective, one the plain ELBO, which needs no estimate of log q(z).
    Returned are the ratios to the first.
    """
    torch.set_num_threads(threads)
    console = Console()
    console.print(
        "training step of the mnist recipe (784-400-200, Concrete(10) + 10 Normals, HFVAE "
        f"beta=12 gamma=4)\n{_machine(threads)}, load before {os.getloadavg()[0]:.2f}\nback end: "
        f"{native.status()}",
        highlight=False,
    )
    table = Table("batch", "step", "ms", "unweave's over it", "goal", "", box=None, pad_edge=False)
    ratios: dict[int, float] = {}
    for batch in batches:
        with torch.random.fork_rng():
            ours, hand = steps(batch)
            rivals = {"by hand": hand, "ELBO by hand": by_hand(batch, elbo_loss), "unweave": ours}
            times = _interleaved(rivals, repeats, wall=threads > 1)
        table.add_row(str(batch), "unweave", _quartiles(times["unweave"]))
        for name, goal in (("by hand", GOAL), ("ELBO by hand", ELBO_GOALS.get(batch, math.inf))):
            low, mid, high = _ratios(times["unweave"], times[name])
            ratios.setdefault(batch, mid)
            noisy = low < goal < high and (
                high - low > 0.3 or os.getloadavg()[0] > (os.cpu_count() or 1)
            )
            verdict = "inconclusive: noisy" if noisy else "pass" if mid <= goal else "fail"
            ratio = f"{mid:.3f} [{low:.3f} to {high:.3f}]"
            table.add_row("", name, _quartiles(times[name]), ratio, f"{goal:.2f}", verdict)
    console.print(table)
    console.print(
        f"medians [quartiles] of {repeats} interleaved repetitions; load after "
        f"{os.getloadavg()[0]:.2f}",
        markup=False,
    )
    return ratios


def _quartiles(seconds: list[float]) -> str:
    low, mid, high = (1e3 * t for t in statistics.quantiles(seconds, n=4))
    return f"{mid:.2f} [{low:.2f} to {high:.2f}]"


def _interleaved(
    steps: dict[str, Callable[[], Any]], repeats: int, *, wall: bool, warm_up: int = 5
) -> dict[str, list[float]]:
    clock = time.perf_counter if wall else time.process_time
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + warm_up):
        for name in steps if turn % 2 else reversed(steps):
            before = clock()
            steps[name]()
            if turn >= warm_up:  # the first turns warm up
                times[name].append(clock() - before)
    return times


def recipe(batch: int, n: int) -> Recipe:
    """The mnist recipe on random images: a step's cost does not depend on what they show."""
    x = np.random.default_rng(0).random((n, 28, 28), dtype=np.float32)
    data = Data(x, np.zeros((n, 0), np.int64), (), (), (), "random images")
    return Recipe(
        "mnist",
        data,
        lambda: models.hfvae((28, 28)),
        hfvae(1, 12, 4),
        groups=("y", "z"),
        batch=batch,
        epochs=10**6,
    )


def steps(batch: int, n: int = 55_000) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step of ours, and one as a person would write it for this one model."""
    trainer = Trainer(recipe(batch, n), "cpu")
    order = trainer.epoch_order(0)

    def ours() -> None:
        trainer.one_step(order[trainer.step % trainer.per_epoch])

    log_w = log_weights(batch, n)
    return ours, by_hand(batch, lambda parts, x: hand_loss(parts, x, log_w), n)


def by_hand(
    batch: int, loss_of: Callable[[nn.ModuleList, Tensor], Tensor], n: int = 55_000
) -> Callable[[], None]:
    """A training step of the mnist recipe's networks, with nothing between it and torch."""
    data = torch.as_tensor(recipe(batch, n).data.x).flatten(1)
    order, parts = torch.randperm(n).split(batch)[: n // batch], hand_parts()
    adam = torch.optim.Adam(parts.parameters(), lr=1e-3, fused=True)
    count = 0

    def one() -> None:
        nonlocal count
        x = data.index_select(0, order[count % len(order)])
        count += 1
        loss = loss_of(parts, x)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()

    return one


def log_weights(batch: int, n: int, dtype: torch.dtype | None = None) -> Tensor:
    """The balanced estimator's: own posterior 1/N, each other (N−1)/(N(B−1))."""
    other = math.log((n - 1) / (n * (batch - 1)))
    return torch.full((batch, batch), other, dtype=dtype).fill_diagonal_(-math.log(n))


def hand_parts() -> nn.ModuleList:
    """The mnist recipe's networks: h, log-weights of y, mean and log-scale of z, decoder."""
    h, y = nn.Linear(784, 400), nn.Linear(400, 10)
    mean = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    log_scale = nn.Sequential(nn.Linear(410, 200), nn.ReLU(), nn.Linear(200, 10))
    decoder = nn.Sequential(
        nn.Linear(20, 200), nn.ReLU(), nn.Linear(200, 400), nn.ReLU(), nn.Linear(400, 784)
    )
    return nn.ModuleList([h, y, mean, log_scale, decoder])


def hand_loss(
    parts: nn.ModuleList, x: Tensor, log_w: Tensor, beta: float = 12.0, gamma: float = 4.0
) -> Tensor:
    """HFVAE's loss on a batch (B, 784) with log-weights (B, B): tensors, closed forms, no
    abstractions.
    """
    k, t = 10, 0.66
    logits, y, mean, std, z, recon, log_py, kl_z, constant = _hand_model(parts, x, k, t)
    half_log_2pi = 0.5 * math.log(2 * math.pi)
    log_y, log_std = y.clamp_min(1e-38).log(), std.log()
    scores = logits - t * log_y[:, None]
    pair_y = (scores - log_y[:, None]).sum(-1) - k * scores.logsumexp(-1) + constant
    u = (z.T[:, :, None] - mean.T[:, None]) / std.T[:, None]
    pair_units = -0.5 * u * u - (log_std + half_log_2pi).T[:, None]
    pair_z = pair_units.sum(0)
    log_q = (pair_y + pair_z + log_w).logsumexp(-1)
    log_q_y = (pair_y + log_w).logsumexp(-1)
    log_q_z = (pair_z + log_w).logsumexp(-1)
    log_q_units = (pair_units + log_w).logsumexp(-1).sum(0)
    within = log_q_z - log_q_units
    across = log_q - log_q_y - log_q_z
    inference = pair_y.diagonal() - log_py + kl_z
    loss: Tensor = -(
        recon - inference + log_q - beta * across - gamma * within - log_q_y - log_q_units
    ).mean()
    return loss


def elbo_loss(parts: nn.ModuleList, x: Tensor) -> Tensor:
    """The plain ELBO's loss of the same networks on a batch (B, 784)."""
    k, t = 10, 0.66
    logits, y, *_, recon, log_py, kl_z, constant = _hand_model(parts, x, k, t)
    log_y = y.clamp_min(1e-38).log()
    scores = logits - t * log_y
    log_qy = (scores - log_y).sum(-1) - k * scores.logsumexp(-1) + constant
    loss: Tensor = -(recon - (log_qy - log_py) - kl_z).mean()
    return loss


def _hand_model(parts: nn.ModuleList, x: Tensor, k: int, t: float) -> tuple[Any, ...]:
    """The encoder's parameters and draws, then log p(x|z), log p(y) and KL(q(z|x) ‖ p(z)) of each
    item.
    """
    enc_h, enc_y, enc_mean, enc_scale, dec = parts
    constant = math.lgamma(k) + (k - 1) * math.log(t)
    h = F.relu(enc_h(x))
    logits = enc_y(h)
    gumbel = -torch.empty_like(logits).exponential_().log()
    y = ((logits + gumbel) / t).softmax(-1)
    hy = torch.cat([h, y], -1)
    mean, std = enc_mean(hy), scale(enc_scale(hy))
    z = mean + std * torch.randn_like(mean)
    pixels = dec(torch.cat([y, z], -1))
    recon = -F.binary_cross_entropy_with_logits(pixels, x, reduction="none").sum(-1)
    log_y = y.clamp_min(1e-38).log()
    log_py = constant - (t + 1) * log_y.sum(-1) - k * (-t * log_y).logsumexp(-1)
    kl_z = (0.5 * (mean * mean + std * std - 1) - std.log()).sum(-1)
    return logits, y, mean, std, z, recon, log_py, kl_z, constant


# -- the estimator ---------------------------------------------------------------------------------

N = 50_000  # items of the data set that the weights are for
PEERS = ("pythae", "disent", "pyro")
GOALS = {  # estimator: {(B, D, heap): times faster than naive}
    "pure": {
        (128, 10, "cold"): 3.5,
        (1024, 10, "cold"): 12.0,
        (1024, 50, "cold"): 12.0,
        (1024, 10, "warm"): 4.5,
    },
    "native": {
        (128, 10, "cold"): 9.0,
        (1024, 10, "cold"): 50.0,
        (1024, 50, "cold"): 50.0,
        (1024, 10, "warm"): 15.0,
    },
}
WARM = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""With these glibc keeps what was freed: page faults, two thirds of the naive estimator's time, do
not count.
"""


@dataclass
class Problem:
    """Values (*samples, B, D), posteriors (B, D), and the loss: the joint, groups of 2, 3 and 5
    units, and units.
    """

    z: Tensor
    mean: Tensor
    std: Tensor

    @staticmethod
    def random(
        batch: int,
        units: int,
        samples: int = 0,
        scale: float = 0.5,
        dtype: torch.dtype | None = None,
    ) -> Problem:
        draw = torch.Generator().manual_seed(0)
        mean = torch.randn(batch, units, generator=draw, dtype=dtype)
        std = scale * (0.8 + 0.4 * torch.rand(batch, units, generator=draw, dtype=dtype))
        lead = (samples, batch) if samples else (batch,)
        z = mean + std * torch.randn(*lead, units, generator=draw, dtype=dtype)
        return Problem(*(t.requires_grad_() for t in (z, mean, std)))

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.z, self.mean, self.std

    @cached_property
    def subsets(self) -> list[tuple[int, ...]]:
        """The joint, then groups, then units."""
        units, cuts = self.z.shape[-1], [0]
        while cuts[-1] < units:
            cuts.append(min(cuts[-1] + (2, 3, 5)[(len(cuts) - 1) % 3], units))
        groups = [tuple(range(a, b)) for a, b in pairwise(cuts)]
        return [tuple(range(units)), *groups, *((unit,) for unit in range(units))]

    @cached_property
    def blocks(self) -> list[Block]:
        return [(("z", of),) for of in self.subsets]

    @cached_property
    def coefficients(self) -> list[float]:
        """Those of HFVAE's loss: the joint once, groups minus three times, units twice."""
        return [1.0] + [2.0 if len(of) == 1 else -3.0 for of in self.subsets[1:]]

    def log_weights(self) -> tuple[float, float, float]:
        own, following, other = map(math.log, balanced(len(self.mean), N))
        return own, following, other


Estimator = Callable[[Problem], Tensor]
"""log q of every subset, (subsets, *samples, B)"""


def naive(x: Problem) -> Tensor:
    """As one would with torch.distributions: all pairs at once."""
    pair = Normal(x.mean, x.std, validate_args=False).log_prob(
        x.z.unsqueeze(-2)
    )  # (*samples, B, B, D)
    log_w = log_weights(len(x.mean), N, pair.dtype)
    groups = [of for of in x.subsets[1:] if len(of) > 1]
    joint = (pair.sum(-1) + log_w).logsumexp(-1)
    parts = [(pair[..., list(of)].sum(-1) + log_w).logsumexp(-1) for of in groups]
    units = (pair + log_w[..., None]).logsumexp(-2).movedim(-1, 0)
    return torch.cat(
        [
            joint[None],
            *(part[None] for part in parts),
            units[[of[0] for of in x.subsets if len(of) == 1]],
        ]
    )


def plain(x: Problem) -> Tensor:
    """`unfused.log_mixture_unfused`: any distribution, all pairs at once, units first."""
    q, _, blocks = _traces(x)
    log_w = log_weights(len(x.mean), N, x.z.dtype)
    return torch.stack(
        unfused.log_mixture_unfused(q, q, blocks, (), log_w, x.z.ndim - 2, sys.maxsize)
    )


def of_body(body: type[plans.Body]) -> Estimator:
    """`pairs.log_mixture_fused` with one back end, told ahead what will be differentiated."""

    def estimate(x: Problem) -> Tensor:
        return pairs.log_mixture_fused(
            *_traces(x), x.log_weights(), x.z.ndim - 2, ahead=x.coefficients, body=body
        )

    return estimate


def _traces(x: Problem) -> tuple[Trace, Trace, list[Block]]:
    q = Trace()
    q._add("z", Node(x.z, "sampled", Normal(x.mean, x.std, validate_args=False)))
    return q, q, x.blocks


def estimators() -> dict[str, Estimator]:
    """What can be timed here, the slowest first."""
    found = {"naive": naive, "plain": plain, "pure": of_body(pure.Pure)}
    return {**found, "native": of_body(native.Native)} if native.library() else found


def loss(x: Problem, estimate: Estimator) -> Tensor:
    """Values and gradients of a sum of all log marginals, the mean over items."""
    for leaf in x.leaves:
        leaf.grad = None
    coefficients = torch.tensor(x.coefficients, dtype=x.z.dtype)
    total: Tensor = torch.tensordot(coefficients, estimate(x), 1).mean()
    total.backward()
    return total


def marginal(
    threads: int = 1,
    repeats: int | None = None,
    quick: bool = False,
    full: bool = False,
    peers: bool = False,
    json: Path | None = None,
) -> dict[str, Any]:
    """The pairwise estimator, forward and backward, beside the naive one: time, memory, error,
    growth, and the goals.

    Cold and warm heap are two child processes. `quick` takes under a minute, `full` adds sizes up
    to B = 4,096.
    """
    sizes = [(128, 10), (1024, 10)] + [(1024, 50)] * (not quick)
    more = [(512, 10), (2048, 10), (4096, 10), (128, 50), (512, 50), (2048, 50), (4096, 50)]
    sizes = sorted({*sizes, *more}, key=lambda s: (s[1], s[0])) if full else sizes
    repeats = repeats or (5 if quick else 11)
    console = Console()
    out: dict[str, Any] = {
        "machine": _machine(threads),
        "back end": native.status(),
        "load before": os.getloadavg()[0],
    }
    console.print(
        "estimator of log q(z) of the joint, groups of 2, 3 and 5 units, and units; forward and "
        f"backward\n{out['machine']}, load before {out['load before']:.2f}\nback end: "
        f"{out['back end']}",
        highlight=False,
    )
    for heap in ("cold", "warm"):
        out[heap] = _child(heap, {"sizes": sizes, "repeats": repeats, "threads": threads})
    out["growth"] = _child(
        "cold", {"sizes": [], "repeats": repeats, "threads": threads, "growth": True}
    )["growth"]
    out["error"] = {f"{scale:g}": errors(scale) for scale in (1.0, 0.1, 1e-2, 1e-3, 1e-4)}
    out["load after"] = os.getloadavg()[0]
    out["goals"] = list(_goals(out))
    _show(console, out)
    if peers:
        for name in PEERS:
            there = importlib.util.find_spec(name)
            console.print(
                f"{name}: {'installed, but has no row here yet' if there else 'not installed'}",
                highlight=False,
            )
    if json:
        json.write_text(dumps(out, indent=1), encoding="utf-8")
    return out


def _machine(threads: int) -> str:
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {threads} "
        f"thread(s), torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
    )


def _child(heap: str, task: dict[str, Any]) -> dict[str, Any]:
    """A process of its own: the heap's mode is read when it starts, and what others left in memory
    does not count.
    """
    extra = WARM if heap == "warm" else {}
    done = subprocess.run(
        [sys.executable, "-c", "from unweave.checks import bench; bench._measure()"],
        input=dumps(task),
        env={**os.environ, "OMP_NUM_THREADS": str(task["threads"]), **extra},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"the process with a {heap} heap failed: {done.stderr.strip().splitlines()[-1:]}"
        )
    result: dict[str, Any] = loads(done.stdout)
    return result


def _measure() -> None:
    """The child: its task on standard input, what it measured on standard output."""
    task = loads(sys.stdin.read())
    torch.set_num_threads(task["threads"])
    wall, found = task["threads"] > 1, estimators()
    rows = []
    for batch, units in task["sizes"]:
        fits = 34 * batch**2 * units < _available()
        rivals = {name: e for name, e in found.items() if fits or name not in ("naive", "plain")}
        x = Problem.random(batch, units)
        times = _timed(
            {name: partial(loss, x, e) for name, e in rivals.items()}, task["repeats"], wall=wall
        )
        memory = {name: _peak(partial(loss, x, e)) for name, e in rivals.items()}
        rows.append({"B": batch, "D": units, "seconds": times, "memory": memory})
    growth = {}
    if task.get("growth"):
        problems = {
            "B=1024 D=10": Problem.random(1024, 10),
            "B=4096 D=10": Problem.random(4096, 10),
            "B=1024 D=50": Problem.random(1024, 50),
            "B=1024 D=10 S=8": Problem.random(1024, 10, samples=8),
        }
        for name, estimate in found.items():
            if name not in ("naive", "plain"):
                steps = {label: partial(loss, x, estimate) for label, x in problems.items()}
                growth[name] = _timed(steps, task["repeats"], wall=wall)
    print(dumps({"rows": rows, "growth": growth}))


def _timed(
    steps: Mapping[str, Callable[[], Any]], repeats: int, *, wall: bool
) -> dict[str, list[float]]:
    """Seconds a call: each time is of as many calls as take 10 ms, so that small ones are as warm
    as large ones.
    """
    calls = {}
    for name, run in steps.items():
        run()
        before = time.perf_counter()
        run()
        calls[name] = max(1, math.ceil(0.01 / (time.perf_counter() - before)))

    def batch(name: str) -> None:
        for _ in range(calls[name]):
            steps[name]()

    times = _interleaved(
        {name: partial(batch, name) for name in steps}, repeats, wall=wall, warm_up=1
    )
    return {name: [t / calls[name] for t in seconds] for name, seconds in times.items()}


def _available() -> float:
    """Bytes of memory that are free, as far as the system says."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * float(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 4e9


def _peak(run: Callable[[], Any]) -> int | None:
    """Bytes by which the process grows at most, beyond what it has when warm; None where the system
    does not say.
    """
    try:
        pure.forget()  # what is kept from call to call counts as well
        ctypes.CDLL(None).malloc_trim(0)  # what others freed would be used again unseen
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        run()
        return _status("VmHWM") - before
    except (OSError, KeyError, AttributeError):
        return None


def _status(key: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines[key].split()[0])


def errors(scale: float, batch: int = 256, units: int = 50) -> dict[str, dict[str, float]]:
    """Of float32 against float64: the largest in any log marginal, and in gradients as a share of
    their length.
    """
    found: dict[str, dict[str, float]] = {}
    single = Problem.random(batch, units, scale=scale)
    double = Problem(*(leaf.detach().double().requires_grad_() for leaf in single.leaves))
    truth = of_body(pure.Pure)(double).detach()
    loss(double, of_body(pure.Pure))
    for name, estimate in estimators().items():
        values = estimate(single).detach()
        loss(single, estimate)
        gaps = [
            float((a.grad - b.grad).norm() / b.grad.norm())
            for a, b in zip(single.leaves, double.leaves, strict=True)
            if a.grad is not None and b.grad is not None
        ]
        found[name] = {"value": float((values - truth).abs().max()), "gradient": max(gaps)}
    return found


def _goals(out: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each goal with what was measured; inconclusive where times are noisy and the limit is between
    their quartiles.
    """
    busy = max(out["load before"], out["load after"]) > (os.cpu_count() or 1)
    rows = {(r["B"], r["D"], heap): r for heap in ("cold", "warm") for r in out[heap]["rows"]}

    def judged(text: str, value: float, limit: float, met: bool, noisy: bool) -> dict[str, Any]:
        verdict = "inconclusive: noisy" if noisy else "pass" if met else "fail"
        return {"goal": text, "measured": value, "limit": limit, "verdict": verdict}

    for name, wanted in GOALS.items():
        for (batch, units, heap), least in wanted.items():
            times = rows.get((batch, units, heap), {"seconds": {}})["seconds"]
            if name in times and "naive" in times:
                low, mid, high = _ratios(times["naive"], times[name])
                text = f"{name}, B={batch} D={units}, {heap} heap: at least {least:g} times as fast as naive"
                yield judged(
                    text,
                    mid,
                    least,
                    mid >= least,
                    low < least < high and (busy or high - low > 0.3 * mid),
                )
    for (batch, units, heap), row in rows.items():
        most = 8e6 + 64 * 2 * batch * units
        for name, peak in row["memory"].items():
            if name in GOALS and peak is not None and heap == "cold":
                text = f"{name}, B={batch} D={units}: at most 8 MB + 64 (S+1) B D bytes"
                yield judged(text, peak / 1e6, most / 1e6, peak <= most, False)
    for name, times in out["growth"].items():
        one = times["B=1024 D=10"]
        for label, text, most in (
            ("B=4096 D=10", "B 1024 to 4096", 17.0),
            ("B=1024 D=50", "D 10 to 50", 5.5),
            ("B=1024 D=10 S=8", "8 samples", 8.5),
        ):
            low, mid, high = _ratios(times[label], one)
            noisy = low < most < high and (busy or high - low > 0.3 * mid)
            yield judged(
                f"{name}, {text}: at most {most:g} times the time", mid, most, mid <= most, noisy
            )
    for name in GOALS:
        for what, most in (("value", 1e-4), ("gradient", 1e-6)):
            worst = max((e[name][what] for e in out["error"].values() if name in e), default=None)
            if worst is not None:
                text = f"{name}, std 1e-4 to 1: float32 error in {what}s at most {most:g}"
                yield judged(text, worst, most, worst <= most, False)


def _ratios(over: list[float], under: list[float]) -> list[float]:
    return statistics.quantiles([a / b for a, b in zip(over, under, strict=True)], n=4)


def _show(console: Console, out: dict[str, Any]) -> None:
    for heap in ("cold", "warm"):
        table = Table(
            "B", "D", "", f"ms, {heap} heap", "times naive", "peak, MB", box=None, pad_edge=False
        )
        for row in out[heap]["rows"]:
            slowest = row["seconds"].get("naive")
            for name, seconds in row["seconds"].items():
                times = f"{_ratios(slowest, seconds)[1]:.1f}" if slowest else "not run: memory"
                peak = row["memory"][name]
                size = "-" if peak is None else f"{peak / 1e6:.1f}"
                table.add_row(str(row["B"]), str(row["D"]), name, _quartiles(seconds), times, size)
        console.print(table)
    table = Table("float32 error, std", *out["error"], box=None, pad_edge=False)
    for name in next(iter(out["error"].values())):
        for what in ("value", "gradient"):
            table.add_row(
                f"{name}, {what}", *(f"{e[name][what]:.0e}" for e in out["error"].values())
            )
    console.print(table)
    for name, times in out["growth"].items():
        base, larger, wider, drawn = (statistics.median(seconds) for seconds in times.values())
        console.print(
            f"{name}: time grows as B^{math.log(larger / base, 4):.2f} and "
            f"D^{math.log(wider / base, 5):.2f}, 8 samples take {drawn / base:.2f} times as long "
            "as one",
            highlight=False,
        )
    table = Table("goal", "measured", "", box=None, pad_edge=False)
    for goal in out["goals"]:
        table.add_row(goal["goal"], f"{goal['measured']:.3g}", goal["verdict"])
    console.print(table)
    console.print(f"medians [quartiles]; load after {out['load after']:.2f}", markup=False)
