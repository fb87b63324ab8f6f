"""The device of a training: its precision, compiled networks, and steps that never wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..fused.sweep import promised
from ..objective.atoms import Atom
from ..objective.objective import Objective
from ..ranks import own_device

PRECISIONS = ("float32", "bf16")


def device_of(name: str | None) -> torch.device:
    """Return the device of that name, by default a GPU where there is one: each rank's own.

    Raises:
        ValueError: If there is no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(
            f"device {name!r} is unknown: expected cpu, cuda, or cuda:1 for the second"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device on this machine; say cpu")
    return own_device(device)


def networks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield a model's networks: modules of torch's own that stand in no other of them.

    Programs, which record sites, are classes of their own and hold networks.
    """
    for child in model.children():
        if type(child).__module__.startswith("torch.nn"):
            yield child
        else:
            yield from networks(child)


def in_bfloat16(model: nn.Module) -> None:
    """Let a model's networks multiply in bfloat16 while they train; all else stays in float32.

    Weights and what networks return are float32, so draws and log-densities are computed in it.
    Evaluation (`model.eval()`) is in float32.

    >>> model = nn.ModuleList([nn.Linear(2, 3)])
    >>> in_bfloat16(model)
    >>> model[0](torch.zeros(1, 2)).dtype
    torch.float32
    """
    for network in networks(model):
        _Cast(network)


class _Cast:
    """Hooks of a network that begin and end autocast around it."""

    def __init__(self, network: nn.Module) -> None:
        self.open: list[torch.autocast] = []
        network.register_forward_pre_hook(self.begin)
        network.register_forward_hook(self.end, always_call=True)

    def begin(self, network: nn.Module, given: tuple[Any, ...]) -> None:
        device = given[0].device.type
        cast = torch.autocast(device, torch.bfloat16, enabled=network.training)
        self.open.append(cast.__enter__())

    def end(self, network: nn.Module, given: tuple[Any, ...], out: Any) -> Any:
        self.open.pop().__exit__(None, None, None)
        is_half = isinstance(out, Tensor) and out.dtype == torch.bfloat16
        return out.float() if is_half else out


def compiled(model: nn.Module) -> None:
    """Compile a model's networks, each when it is first called; programs stay as they are.

    `nn.Module.compile` leaves torch's own modules as they are, as their calls are no code of a
    user's; a call through a function of ours is. A copy of the model is not compiled.
    """
    for network in networks(model):
        call = partial(_call, network)
        network._compiled_call_impl = torch.compile(call, dynamic=False)


def _call(network: nn.Module, *given: Any) -> Any:
    return network._call_impl(*given)


@contextmanager
def without_waits(device: torch.device, objective: Objective) -> Iterator[None]:
    """Leave out looks at numbers in a step, each of which would wait for a device that is no CPU.

    These are the checks that torch's distributions make of their arguments, and the one that a
    sum's coefficients are those that were announced, which holds for the mean of an objective that
    is a linear form. A loss that is not finite is still found (`Trainer.check_every`).
    """
    if device.type == "cpu":
        yield
        return
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    is_linear = all(isinstance(term, Atom) for term in objective.coefficients)
    try:
        with promised(is_linear):
            yield
    finally:
        Distribution.set_default_validate_args(before)
