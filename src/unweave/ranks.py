"""Training by several processes, "ranks": who there is, and what they tell one another.

With B items in all, each of P ranks encodes B/P. What `log q(z)` needs of the others, their
posteriors' parameters, is gathered with gradients, so that P ranks give the loss and the gradients
of one:

.. math:: L = \\frac{1}{P} \\sum_r L_r(θ, φ_1, …, φ_P), \\qquad
          \\frac{dL}{dθ} = \\frac{1}{P} \\sum_r \\Big( \\frac{∂L_r}{∂θ}
                          + \\sum_s \\frac{∂L_s}{∂φ_r} \\frac{dφ_r}{dθ} \\Big)

with φ_r the parameters that rank r encoded: the inner sum is what `gathered` does on the way back,
the outer one `mean_gradients`. What else looks at a whole batch sees its rank's part: batch
normalisation, penalties on moments, MMD, capacities, a critic's draws.

A process that is alone is rank 0 of 1, and nothing here costs it anything.

    >>> world()
    (0, 1)
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

_alone: ContextVar[bool] = ContextVar("alone", default=False)

PATIENCE = timedelta(minutes=30)
"""How long ranks wait for one another, while rank 0 validates and writes, before they give up."""


# -- who there is ----------------------------------------------------------------------------------


def world() -> tuple[int, int]:
    """This process' rank and how many there are; (0, 1) without a process group, and within
    `alone()`.
    """
    if _alone.get() or not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process works as if there were no others, and waits for none."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """This process as one of those that `torchrun` started: gives `world()`, and leaves the group
    in the end.

    A process group that exists already is used and left as it is; it must serve tensors on the CPU
    too, as that of `init_process_group()` without a backend does. Tensors on GPUs go by nccl,
    others by gloo.
    """
    started = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    if _alone.get() or not started or os.environ["WORLD_SIZE"] == "1" or dist.is_initialized():
        yield world()
        return
    from torch.distributed.rendezvous import rendezvous

    both = torch.cuda.is_available() and dist.is_nccl_available()
    with talking():
        store, rank, ranks = next(rendezvous("env://", timeout=PATIENCE))
        backend = "cpu:gloo,cuda:nccl" if both else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=PATIENCE)
    lost = False
    try:
        yield rank, ranks
    except ConnectionError:
        lost = True
        raise
    finally:
        if not lost:
            _take_leave(store, rank, ranks)
        dist.destroy_process_group()


def _take_leave(store: Any, rank: int, ranks: int) -> None:
    """Waits for the others to have read what was last said to them, a while, for one of them may be
    lost.

    A connection that is closed too early takes with it what the other end has not read. Rank 0 may
    keep the store, so it leaves last.
    """
    with suppress(RuntimeError):
        for word, heard in (("done", range(ranks)), ("gone", range(1, ranks) if rank == 0 else ())):
            store.set(f"{word} {rank}", "")
            if heard:
                store.wait([f"{word} {other}" for other in heard], timedelta(seconds=10))


def own_device(device: torch.device) -> torch.device:
    """The GPU of this rank, one a rank, where ranks share a machine; any other device as it is."""
    rank, ranks = world()
    if device.type != "cuda" or ranks == 1:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))


def noise_seed(seed: int, rank: int, step: int = 0) -> int:
    """A seed for the noise of one rank, from this step on."""
    return random.Random(f"{seed} {rank} {step}").getrandbits(63)


# -- what they tell one another --------------------------------------------------------------------


@contextmanager
def talking() -> Iterator[None]:
    """What torch raises when a rank is gone, as an error of the connection."""
    try:
        yield
    except RuntimeError as error:
        rank = os.environ.get("RANK") if not dist.is_initialized() else dist.get_rank()
        reason = re.sub(r"^\[\S*\] ", "", str(error)).partition(". ")[0].partition("\n")[0]
        raise ConnectionError(
            f"rank {rank} has lost the others ({reason}): one of them ended, and its own message "
            "says why"
        ) from error


def first(fn: Callable[[], T]) -> T:
    """What rank 0 gets from `fn`, which it calls alone; the others wait for it.

    Errors: those of `fn`, at all ranks; their cause is a ConnectionAbortedError at those that only
    heard of it.
    """
    rank, ranks = world()
    if ranks == 1:
        return fn()
    said: list[Any] = [None, None]
    if rank == 0:
        try:
            with alone():
                said = [fn(), None]
        except Exception as error:
            said = [None, error]
    with talking():
        dist.broadcast_object_list(said)
    result: T = said[0]
    failure: Exception | None = said[1]
    if failure is not None:
        raise failure from (ConnectionAbortedError("at rank 0") if rank else failure.__cause__)
    return result


def everyone(said: T) -> list[T]:
    """What each rank says, in their order, known to all."""
    _, ranks = world()
    if ranks == 1:
        return [said]
    heard: list[Any] = [None] * ranks
    with talking():
        dist.all_gather_object(heard, said)
    return heard


def agreed(asked: bool) -> bool:
    """Whether any rank asks for it."""
    if world()[1] == 1:
        return asked
    flag = torch.tensor(int(asked))
    with talking():
        dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


@torch.no_grad()
def share(tensors: Iterable[Tensor]) -> None:
    """Gives all ranks the numbers of rank 0, in place."""
    if world()[1] > 1:
        for t in tensors:
            whole = t.contiguous()
            with talking():
                dist.broadcast(whole, 0)
            t.copy_(whole)


@torch.no_grad()
def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean over the ranks of each tensor, by one message."""
    _, ranks = world()
    if ranks == 1:
        return list(tensors)
    flat = torch.cat([t.flatten() for t in tensors])
    with talking():
        dist.all_reduce(flat)
    parts = (flat / ranks).split([t.numel() for t in tensors])
    return [part.view(t.shape).to(t.dtype) for part, t in zip(parts, tensors, strict=True)]


def mean_gradients(weights: Iterable[Tensor], *more: Tensor) -> list[Tensor]:
    """Puts the mean over the ranks into `.grad`, where one that a rank lacks counts as zero; gives
    that of `more`.
    """
    if world()[1] == 1:
        return list(more)
    learned = [w for w in weights if w.requires_grad]
    grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in learned]
    means = mean([*more, *grads])
    for w, grad in zip(learned, means[len(more) :], strict=True):
        w.grad = grad
    return means[: len(more)]


def averages(optimizer: torch.optim.Optimizer) -> None:
    """From now on the optimiser averages its gradients over the ranks before each step."""

    def average(its: Any, _args: Any, _kwargs: Any) -> None:
        mean_gradients(w for group in its.param_groups for w in group["params"])

    optimizer.register_step_pre_hook(average)
