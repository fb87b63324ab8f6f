"""A decoder as a list of tensor operations, which a page can carry out without torch.

One item is decoded, and each operation between its codes and its picture is written down; whatever
does not depend on the codes is a constant. A decoder that works otherwise at other codes has no
such list: `recorded` decodes other items both ways, and refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

TOLERANCE = 1e-5
"""Largest difference between the list and the decoder, as a share of the largest number."""

Decoder = Callable[..., Tensor]


@dataclass(frozen=True)
class Value:
    """A tensor on a tape, by its number."""

    number: int


@dataclass(frozen=True)
class Step:
    """An operation of torch on values and other arguments, and the number of its result.

    Attributes:
        operation: The operation.
        arguments: Those that have a place.
        named: Those that go by name alone, such as a memory format.
        result: The number of the result.
    """

    operation: Any
    arguments: list[Any]
    named: dict[str, Any]
    result: int


@dataclass
class Tape:
    """Operations on numbered tensors: inputs come first, then constants and results.

    Attributes:
        inputs: The number of inputs.
        constants: Tensors that do not depend on the inputs, by their numbers.
        steps: Operations in their order; the last gives the tape's result.
    """

    inputs: int
    constants: dict[int, Tensor] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Carry out the operations."""
        return self.values(*inputs)[self.steps[-1].result]

    def values(self, *inputs: Tensor) -> dict[int, Tensor]:
        """Return the tensors of all numbers."""
        values = {**dict(enumerate(inputs)), **self.constants}
        for step in self.steps:
            arguments = tree_map_only(Value, lambda value: values[value.number], step.arguments)
            values[step.result] = step.operation(*arguments, **step.named)
        return values

    @property
    def operations(self) -> set[str]:
        """The names of the operations, such as addmm."""
        return {step.operation.overloadpacket.__name__ for step in self.steps}

    def until(self, result: int) -> Tape:
        """Return the steps and constants that a result needs.

        Raises:
            ValueError: If it needs one of several results of an operation.
        """
        needed, steps = {result}, []
        for step in reversed(self.steps):
            if step.result in needed:
                steps.append(step)
                needed |= {leaf.number for leaf in tree_leaves(step.arguments) if _is_value(leaf)}
        constants = {number: t for number, t in self.constants.items() if number in needed}
        made = {*range(self.inputs), *constants, *(step.result for step in steps)}
        if not needed <= made:
            raise ValueError("an operation of the decoder has several results")
        return Tape(self.inputs, constants, steps[::-1])


class _Recorder(TorchDispatchMode):
    """Write down each operation on tensors that depend on the inputs."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.tape = Tape(len(inputs))
        self.kept = list(inputs)  # a tensor that is kept shares its id with no later one
        self.numbers = {id(tensor): k for k, tensor in enumerate(inputs)}
        self.dependent = set(self.numbers)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        arguments, named = _arguments(func, args, kwargs or {})
        if any(id(leaf) in self.dependent for leaf in tree_leaves(arguments)):
            written = tree_map_only(Tensor, self._constant, arguments)
            for made in tree_leaves(result):
                if isinstance(made, Tensor):
                    self.dependent.add(id(made))
                    self._number(made)
            if isinstance(result, Tensor):  # `until` refuses what needs one of several results
                self.tape.steps.append(Step(func, written, named, self._number(result)))
        return result

    def _constant(self, tensor: Tensor) -> Value:
        """Return a tensor's number; a new one is a constant."""
        is_new = id(tensor) not in self.numbers
        number = self._number(tensor)
        if is_new:
            self.tape.constants[number] = tensor.detach()
        return Value(number)

    def _number(self, tensor: Tensor) -> int:
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = len(self.kept)
            self.kept.append(tensor)
        return self.numbers[id(tensor)]


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, Value)


def _arguments(
    operation: Any, args: Any, kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return an operation's arguments in their order, with defaults, and those by name alone."""
    arguments, named = list(args), dict(kwargs)
    left = operation._schema.arguments[len(args) :]
    arguments.extend(
        named.pop(argument.name, argument.default_value)
        for argument in left
        if not argument.kwarg_only
    )
    return arguments, named


@torch.no_grad()
def recorded(decode: Decoder, inputs: Sequence[Tensor]) -> Tape:
    """Return the operations of a decoder.

    Args:
        decode: Maps tensors (n, …), each item by itself, to items (n, *shape).
        inputs: Tensors of some items, at which the operations are tried.

    Raises:
        ValueError: If the operations give other items than the decoder, or cannot be written down.
    """
    firsts = [tensor[:1].clone() for tensor in inputs]
    with _Recorder(firsts) as recorder:
        item = decode(*firsts)
    if id(item) not in recorder.dependent:
        raise ValueError("the decoder's result does not depend on its codes")
    tape: Tape = recorder.tape.until(recorder.numbers[id(item)])
    singles = list(zip(*(tensor.split(1) for tensor in inputs), strict=True))
    expected = torch.cat([decode(*single) for single in singles])
    found = torch.cat([tape(*single) for single in singles])
    apart = (found - expected).abs().max()
    if not apart <= TOLERANCE * expected.abs().max():
        raise ValueError(f"the decoder's operations depend on its codes: items differ by {apart}")
    return tape
