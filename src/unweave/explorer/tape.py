"""A program as a list of tensor operations, which can be carried out without the program.

The program is run once, and each operation on tensors is written down; those that its results do
not need are left out. A program that works otherwise at other items has no such list: `recorded`
runs other items both ways, and refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

TOLERANCE = 1e-5
"""Largest difference between the list and the program, as a share of the largest number."""

NOISE = {
    "normal_": "standard Normal",
    "randn": "standard Normal",
    "randn_like": "standard Normal",
    "exponential_": "exponential, of rate 1",
    "uniform_": "uniform, 0 to 1",
    "rand": "uniform, 0 to 1",
    "rand_like": "uniform, 0 to 1",
}
"""Operations that draw, and the distributions of their draws."""

Program = Callable[..., Any]

Decoder = Callable[..., Tensor]
"""A function from tensors of codes (n, …) to items (n, *shape)."""


@dataclass(frozen=True)
class Value:
    """A tensor on a tape, by its number."""

    number: int


@dataclass(frozen=True)
class Size:
    """A whole number among an operation's arguments that depends on the number of items n.

    It is times · n + plus.
    """

    times: int
    plus: int

    def __call__(self, n: Any) -> Any:
        return self.times * n + self.plus


@dataclass(frozen=True)
class Step:
    """An operation of torch on values and other arguments, and the numbers of its results.

    Attributes:
        operation: The operation.
        arguments: Those that have a place.
        named: Those that go by name alone, such as a memory format.
        results: The numbers of the results.
        changed: The numbers of tensors that it changes in place.
    """

    operation: Any
    arguments: list[Any]
    named: dict[str, Any]
    results: tuple[int, ...]
    changed: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The operation's name, such as addmm."""
        return str(self.operation.overloadpacket.__name__)

    @property
    def needed(self) -> set[int]:
        """The numbers of the tensors that it works on."""
        leaves = tree_leaves((self.arguments, self.named))
        return {leaf.number for leaf in leaves if _is_value(leaf)}


@dataclass
class Tape:
    """Operations on numbered tensors.

    Attributes:
        inputs: The numbers of the inputs; of them, those of `noise` come last.
        constants: Tensors that are there before, such as weights, by their numbers.
        steps: Operations in their order.
        results: The numbers of the results.
        noise: The distributions of the inputs that the program draws.
    """

    inputs: list[int]
    constants: dict[int, Tensor] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    noise: dict[int, str] = field(default_factory=dict)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Carry out the operations."""
        values = self.values(*inputs)
        return [values[number] for number in self.results]

    def values(self, *inputs: Tensor) -> dict[int, Tensor]:
        """Return the tensors of all numbers."""
        values = {**dict(zip(self.inputs, inputs, strict=True)), **self.constants}
        for step in self.steps:
            self._take(step, values, inputs[0].shape[0] if inputs else 0)
        return values

    @staticmethod
    def _take(step: Step, values: dict[int, Tensor], n: Any) -> None:
        """Carry out one operation on n items."""

        def filled(leaf: Any) -> Any:
            if _is_value(leaf):
                return values[leaf.number]
            return leaf(n) if isinstance(leaf, Size) else leaf

        arguments, named = tree_map(filled, (step.arguments, step.named))
        made = _tensors(step.operation(*arguments, **named))
        values.update(zip(step.results, made, strict=True))

    @property
    def operations(self) -> set[str]:
        """The names of the operations, such as addmm."""
        return {step.name for step in self.steps}

    def pruned(self) -> Tape:
        """Return the steps, constants and noise that the results need."""
        needed, steps = set(self.results), []
        for step in reversed(self.steps):
            if needed & {*step.results, *step.changed}:
                steps.append(step)
                needed |= step.needed
        kept = {number: t for number, t in self.constants.items() if number in needed}
        noise = {number: kind for number, kind in self.noise.items() if number in needed}
        inputs = [number for number in self.inputs if number not in self.noise or number in noise]
        return replace(self, inputs=inputs, constants=kept, steps=steps[::-1], noise=noise)

    def renumbered(self) -> Tape:
        """Return the tape with numbers in the order of use, whatever was left out of it."""
        order = dict.fromkeys(self.inputs)
        for step in self.steps:
            read = [leaf for leaf in tree_leaves((step.arguments, step.named)) if _is_value(leaf)]
            order |= dict.fromkeys([*(value.number for value in read), *step.results])
        new = {number: k for k, number in enumerate([*order, *(set(self.results) - set(order))])}

        def written(leaf: Any) -> Any:
            return Value(new[leaf.number]) if _is_value(leaf) else leaf

        steps = []
        for step in self.steps:
            arguments, named = tree_map(written, (step.arguments, step.named))
            results = tuple(new[number] for number in step.results)
            changed = tuple(new[number] for number in step.changed if number in new)
            steps.append(Step(step.operation, arguments, named, results, changed))
        return Tape(
            [new[number] for number in self.inputs],
            {new[number]: constant for number, constant in self.constants.items()},
            steps,
            [new[number] for number in self.results],
            {new[number]: kind for number, kind in self.noise.items()},
        )

    def folded(self) -> Tape:
        """Return the steps that depend on the inputs; what the others give is a constant."""
        dependent = set(self.inputs).union(*(step.changed for step in self.steps))
        constants, steps = dict(self.constants), []
        for step in self.steps:
            if dependent & {*step.needed, *step.results}:
                dependent |= set(step.results)
                steps.append(step)
            else:
                self._take(step, constants, 0)
        return replace(self, constants=constants, steps=steps).pruned()


class _Recorder(TorchDispatchMode):
    """Write down each operation on tensors.

    A tensor is known by its place in memory: two that share it are the same.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.kept: list[Tensor] = []  # memory that is kept is not given to another tensor
        self.numbers: dict[Any, int] = {}
        self.tape = Tape([self._anew(tensor) for tensor in inputs])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        arguments, named = _arguments(func, args, kwargs or {})
        written = tree_map_only(Tensor, self._read, (arguments, named))
        result = func(*args, **(kwargs or {}))
        changed = self._sharing(args[0]) if func._schema.is_mutable else ()
        results = tuple(self._number(made) for made in _tensors(result))
        step = Step(func, written[0], written[1], results, changed)
        if step.name in NOISE and not _is_scaled(step):
            number = self._anew(result)
            self.tape.inputs.append(number)
            self.tape.noise[number] = NOISE[step.name]
        elif changed or not step.needed.issuperset(results):  # others give what they are given
            self.tape.steps.append(step)
        return result

    def _read(self, tensor: Tensor) -> Value:
        """Return a tensor's number; a new one is a constant."""
        if _place(tensor) not in self.numbers:
            self.tape.constants[self._anew(tensor)] = tensor.detach()
        return Value(self._number(tensor))

    def _number(self, tensor: Tensor) -> int:
        known = self.numbers.get(_place(tensor))
        return self._anew(tensor) if known is None else known

    def _sharing(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the numbers of all tensors in the memory of one."""
        memory = _place(tensor)[0]
        return tuple(number for place, number in self.numbers.items() if place[0] == memory)

    def _anew(self, tensor: Tensor) -> int:
        """Return a new number for a tensor."""
        number = self.numbers[_place(tensor)] = len(self.kept)
        self.kept.append(tensor)
        return number


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, Value)


def _place(t: Tensor) -> Any:
    """Return a tensor's place in memory, and how its numbers lie there."""
    return t.untyped_storage().data_ptr(), t.storage_offset(), t.shape, t.stride(), t.dtype


def _tensors(made: Any) -> list[Tensor]:
    """Return the tensors among an operation's results."""
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]


def _is_scaled(step: Step) -> bool:
    """Return true if a draw is not from the standard distribution."""
    usual = {"normal_": [0.0, 1.0], "exponential_": [1.0], "uniform_": [0.0, 1.0]}
    return step.name in usual and step.arguments[1:] != usual[step.name]


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


@dataclass(frozen=True)
class Recording:
    """A tape, and what it was recorded at.

    Attributes:
        tape: The operations that the results need.
        inputs: The tensors that the program was given, and the noise that it drew.
        results: The tensors that it gave.
    """

    tape: Tape
    inputs: list[Tensor]
    results: list[Tensor]


@torch.no_grad()
def record(program: Program, inputs: Sequence[Tensor]) -> Recording:
    """Return the operations of a program at some items.

    Args:
        program: Maps tensors to one, or to a list of several.
        inputs: The tensors.
    """
    given = [tensor.clone() for tensor in inputs]
    with _Recorder(given) as recorder:
        results = _tensors(program(*given))
    recorder.tape.results = [recorder._number(result) for result in results]
    tape = recorder.tape.pruned()
    held = [recorder.kept[number].clone() for number in tape.inputs]
    return Recording(tape.renumbered(), held, [result.clone() for result in results])


@torch.no_grad()
def recorded(decode: Decoder, inputs: Sequence[Tensor]) -> Tape:
    """Return the operations of a decoder at one item.

    Args:
        decode: Maps tensors (n, …), each item by itself, to items (n, *shape).
        inputs: Tensors of some items, at which the operations are tried.

    Raises:
        ValueError: If the operations give other items than the decoder, or draw.
    """
    singles = list(zip(*(tensor.split(1) for tensor in inputs), strict=True))
    tape = record(decode, singles[0]).tape.folded()
    if not tape.steps:
        raise ValueError("the decoder's result does not depend on its codes")
    if tape.noise:
        raise ValueError("the decoder's result depends on what it draws")
    expected = torch.cat([decode(*single) for single in singles])
    found = torch.cat([tape(*single)[0] for single in singles])
    apart = (found - expected).abs().max()
    if not apart <= TOLERANCE * expected.abs().max():
        raise ValueError(f"the decoder's operations depend on its codes: items differ by {apart}")
    return tape
