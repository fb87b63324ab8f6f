"""Ranks: processes that train together, and their messages to one another.

With B items in all, each of P ranks encodes B/P. `log q(z)` needs the parameters of the others'
posteriors; they are gathered with gradients, so that P ranks give the loss and the gradients of
one:

.. math:: L = \\frac{1}{P} \\sum_r L_r(θ, φ_1, …, φ_P), \\qquad
          \\frac{dL}{dθ} = \\frac{1}{P} \\sum_r \\Big( \\frac{∂L_r}{∂θ}
                          + \\sum_s \\frac{∂L_s}{∂φ_r} \\frac{dφ_r}{dθ} \\Big)

with φ_r the parameters that rank r encoded. `gathered` computes the inner sum on the way back,
`mean_gradients` the outer one. Everything else that looks at a whole batch sees its rank's part:
batch normalisation, penalties on moments, MMD, capacities, a critic's draws.

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
"""The time that ranks wait for one another, while rank 0 validates and writes."""


# -- processes -------------------------------------------------------------------------------------


def world() -> tuple[int, int]:
    """Return this process' rank and the number of ranks.

    They are (0, 1) without a process group, and within `alone()`.
    """
    if _alone.get() or not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


@contextmanager
def alone() -> Iterator[None]:
    """Let this process work as if there were no others, and wait for none."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Join the processes that `torchrun` started, give `world()`, and leave them in the end.

    A process group that exists already is used and left as it is; it must serve tensors on the CPU
    too, as that of `init_process_group()` without a backend does. Tensors on GPUs go by nccl,
    others by gloo.

    Raises:
        ConnectionError: If another rank is lost.
    """
    if _alone.get() or not _is_started_with_others() or dist.is_initialized():
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


def _is_started_with_others() -> bool:
    """Return true if `torchrun` started this process, and others too."""
    named = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    return named and os.environ["WORLD_SIZE"] != "1"


def _take_leave(store: Any, rank: int, ranks: int) -> None:
    """Wait until the others have read the last messages; only a while, for one may be lost.

    A connection that is closed too early loses messages that the other end has not read. Rank 0 may
    keep the store, so it leaves last.
    """
    while_lost = timedelta(seconds=10)
    with suppress(RuntimeError):
        store.set(f"done {rank}", "")
        store.wait([f"done {other}" for other in range(ranks)], while_lost)
        store.set(f"gone {rank}", "")
        if rank == 0:
            store.wait([f"gone {other}" for other in range(1, ranks)], while_lost)


def own_device(device: torch.device) -> torch.device:
    """Return this rank's own GPU where ranks share a machine; any other device as it is."""
    rank, ranks = world()
    if device.type != "cuda" or ranks == 1:
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))


def noise_seed(seed: int, rank: int, step: int = 0) -> int:
    """Return a seed for the noise of one rank, from this step on."""
    return random.Random(f"{seed} {rank} {step}").getrandbits(63)


# -- messages --------------------------------------------------------------------------------------


@contextmanager
def talking() -> Iterator[None]:
    """Turn torch's error when a rank is gone into one of the connection.

    Raises:
        ConnectionError: If another rank is lost.
    """
    try:
        yield
    except RuntimeError as error:
        rank = dist.get_rank() if dist.is_initialized() else os.environ.get("RANK")
        reason = re.sub(r"^\[\S*\] ", "", str(error)).partition(". ")[0].partition("\n")[0]
        raise ConnectionError(
            f"rank {rank} has lost the others ({reason}): one of them ended, and its own message "
            "says why"
        ) from error


def first(fn: Callable[[], T]) -> T:
    """Return the result of `fn`, which rank 0 calls alone; the others wait for it.

    Raises:
        Exception: Any that `fn` raises, at all ranks. Its cause is a ConnectionAbortedError at the
            ranks that did not call it.
    """
    rank, ranks = world()
    if ranks == 1:
        return fn()
    said: list[Any] = [None, None]  # the result and the error
    if rank == 0:
        try:
            with alone():
                said[0] = fn()
        except Exception as error:
            said[1] = error
    with talking():
        dist.broadcast_object_list(said)
    result: T = said[0]
    failure: Exception | None = said[1]
    if failure is not None:
        raise failure from (ConnectionAbortedError("at rank 0") if rank else failure.__cause__)
    return result


def everyone(said: T) -> list[T]:
    """Return the value that each rank says, in their order, to all."""
    _, ranks = world()
    if ranks == 1:
        return [said]
    heard: list[Any] = [None] * ranks
    with talking():
        dist.all_gather_object(heard, said)
    return heard


def agreed(asked: bool) -> bool:
    """Return true if any rank asks for it."""
    if world()[1] == 1:
        return asked
    flag = torch.tensor(int(asked))
    with talking():
        dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


@torch.no_grad()
def share(tensors: Iterable[Tensor]) -> None:
    """Give all ranks the numbers of rank 0, in place."""
    if world()[1] == 1:
        return
    for t in tensors:
        whole = t.contiguous()
        with talking():
            dist.broadcast(whole, 0)
        t.copy_(whole)


@torch.no_grad()
def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the mean over the ranks of each tensor, by one message."""
    _, ranks = world()
    if ranks == 1:
        return list(tensors)
    flat = torch.cat([t.flatten() for t in tensors])
    with talking():
        dist.all_reduce(flat)
    sizes = [t.numel() for t in tensors]
    parts = (flat / ranks).split(sizes)
    return [part.view(t.shape).to(t.dtype) for part, t in zip(parts, tensors, strict=True)]


@torch.no_grad()
def mean_gradients(weights: Iterable[Tensor], *more: Tensor) -> list[Tensor]:
    """Average gradients over the ranks, in place; a gradient that a rank lacks counts as zero.

    Gradients become parts of one tensor, the message. Where they stay that, as after
    ``optimizer.zero_grad(set_to_none=False)``, the next message needs no copy and no new memory,
    whose pages cost more than the sums.

    Args:
        weights: The parameters, each with its `.grad`.
        more: Tensors that the same message averages.

    Returns:
        The means of `more`.
    """
    _, ranks = world()
    if ranks == 1:
        return list(more)
    learned = [w for w in weights if w.requires_grad]
    grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in learned]
    message = _message([*grads, *more], len(grads))
    with talking():
        dist.all_reduce(message)
    message /= ranks
    given = [*learned, *more]
    parts = message.split([t.numel() for t in given])
    means = [part.view(t.shape).to(t.dtype) for part, t in zip(parts, given, strict=True)]
    for w, grad in zip(learned, means, strict=False):
        w.grad = grad
    return [t.clone() for t in means[len(learned) :]]  # the next message is written there


def _message(tensors: Sequence[Tensor], kept: int) -> Tensor:
    """Return the numbers of tensors side by side, in place if the first `kept` stand so already."""
    whole = tensors[0]._base if tensors[:kept] else None
    size = sum(t.numel() for t in tensors)
    if whole is None or whole.numel() != size or not _stand_side_by_side(whole, tensors[:kept]):
        return torch.cat([t.flatten() for t in tensors])
    start = sum(t.numel() for t in tensors[:kept])
    for t in tensors[kept:]:
        whole[start : start + t.numel()] = t.flatten()
        start += t.numel()
    return whole


def _stand_side_by_side(whole: Tensor, parts: Sequence[Tensor]) -> bool:
    """Return true if tensors are parts of another, one after the other from its start."""
    place = whole.data_ptr()
    for part in parts:
        if part.data_ptr() != place or part.dtype != whole.dtype or not part.is_contiguous():
            return False
        place += part.nbytes
    return True


def averages(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimiser average its gradients over the ranks before each step from now on."""

    def average(its: Any, _args: Any, _kwargs: Any) -> None:
        weights: list[Tensor] = []
        for group in its.param_groups:
            weights += group["params"]
        mean_gradients(weights)

    optimizer.register_step_pre_hook(average)
