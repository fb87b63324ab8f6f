"""A model's encoder and decoder as files that need no unweave: ONNX, or programs of torch.

Each is recorded as a list of tensor operations at some items, and again at more of them: whole
numbers that differ are those that grow with the number of items, which any number then replaces.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import __version__
from .explorer.tape import TOLERANCE, Program, Recording, Size, Tape, Value, record
from .models.model import Model, code, mean
from .runs.files import replacing
from .trace.trace import Trace

Kind = Literal["onnx", "torch"]

FEW, MORE, TRIED = 5, 7, 3
"""Numbers of items that a program is recorded at, and at which the record is tried."""


@dataclass(frozen=True)
class Part:
    """An encoder or a decoder for any number of items.

    Attributes:
        tape: Its operations; whole numbers that grow with the number of items are `Size`.
        inputs: The names and shapes of its inputs, "n" for the number of items.
        outputs: The names and shapes of its results.
        noise: The distributions of the inputs that are noise, by their names.
        tried: Inputs and results of other items.
    """

    tape: Tape
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    noise: dict[str, str]
    tried: Recording


def export(model: Model, folder: str | Path, to: Kind = "onnx") -> list[Path]:
    """Write a model's encoder and decoder, for any number of items, with all that users must know.

    The encoder takes `x`, items as `model.inputs` describes them, and noise where it draws. It
    gives `codes`, as `Model.encode`, and a draw of each latent site. The decoder takes a value of
    each site (classes one-hot), and gives `x`, the mean as of `Model.decode`. So one reads the
    other's results by their names. Both hold a JSON text `unweave`: names, shapes and distributions
    of inputs, names of units, and how items are prepared.

    Args:
        model: The model.
        folder: The folder of encoder.onnx and decoder.onnx, or encoder.pt2 and decoder.pt2.
        to: "onnx", or "torch" for what `torch.export.load` reads.

    Returns:
        The files.

    Raises:
        ValueError: If the model does not know the shape of an item, or its operations depend on
            the items: such a program cannot be exported.
        ModuleNotFoundError: If a package of the extra `export` is not installed.
    """
    if to not in WRITERS:
        raise ValueError(f"to={to!r}: expected one of {', '.join(WRITERS)}")
    model = model.eval().cpu()
    files = []
    for name, part in {"encoder": encoder(model), "decoder": decoder(model)}.items():
        files.append(WRITERS[to](part, Path(folder) / name, json.dumps(_about(model, part))))
    return files


# -- the parts -------------------------------------------------------------------------------------


def encoder(model: Model) -> Part:
    """Return a model's encoder.

    Raises:
        ValueError: If its operations depend on the items.
    """
    sites: list[str] = []

    def program(x: Tensor) -> list[Tensor]:
        with _Chosen():
            q = model.encoder(x).draw()
        sites[:] = q
        codes = torch.cat([code(node).flatten(1) for node in q.values()], -1)
        return [codes, *(node.value for node in q.values())]

    part = _part("encoder", program, lambda n: {"x": _items(model, n)})
    return replace(part, outputs=dict(zip(["codes", *sites], part.outputs.values(), strict=True)))


def decoder(model: Model) -> Part:
    """Return a model's decoder; it is given x too where it reads a part of it, such as its size.

    Raises:
        ValueError: If its operations depend on the codes.
    """

    def inputs(n: int) -> dict[str, Tensor]:
        q = model.posterior(_items(model, n))
        given = {"x": _items(model, n)} if model.given else {}
        return {**given, **{name: node.value for name, node in q.items()}}

    names = list(inputs(TRIED))

    def program(*values: Tensor) -> list[Tensor]:
        given = dict(zip(names, values, strict=True))
        x = given.pop("x", None)
        return [mean(model.decoder(x, Trace.given(**given)))]

    part = _part("decoder", program, inputs)
    return replace(part, outputs={"x": part.outputs["0"]})


class _Chosen(TorchFunctionMode):
    """Draw classes as the largest of p_k / e_k, with exponential e: noise that is no draw of p."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.multinomial:
            return func(*args, **(kwargs or {}))
        probs = args[0]
        noise = torch.empty_like(probs).exponential_()
        return (probs / noise).argmax(-1, keepdim=True)


def _items(model: Model, n: int) -> Tensor:
    """Return random items in the range of those that the model was trained on."""
    known = model.inputs
    shape = known.shape if known and known.shape else (model.config or {}).get("shape")
    if shape is None:
        raise ValueError("this model does not know its items' shape: train it, or load its run")
    low = np.nan_to_num(known.low if known else 0.0, neginf=0.0)
    high = np.nan_to_num(known.high if known else 1.0, posinf=1.0)
    share = np.random.default_rng(n).random((n, *shape))
    items = low + share * (high - low)
    return torch.tensor(items).to(next(model.parameters()))


def _part(name: str, program: Program, inputs: Callable[[int], Mapping[str, Tensor]]) -> Part:
    """Record a program at several numbers of items, and return it for any number of them."""
    names = list(inputs(TRIED))
    with torch.random.fork_rng():
        few, more, tried = (record(program, [*inputs(n).values()]) for n in (FEW, MORE, TRIED))
    try:
        tape = _growing(few.tape, more.tape)
        found = tape(*tried.inputs)
    except (ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f"the {name} works otherwise at other items ({error})") from error
    for got, wanted in zip(found, tried.results, strict=True):
        if not _is_close(got, wanted):
            raise ValueError(f"the {name} works otherwise at other items: its results differ")
    kinds = [tape.noise[number] for number in tape.inputs[len(names) :]]
    drawn = [f"noise_{k}" for k in range(len(kinds))]
    shapes = [_shape(*pair) for pair in zip(few.inputs, more.inputs, strict=True)]
    results = [_shape(*pair) for pair in zip(few.results, more.results, strict=True)]
    return Part(
        tape,
        dict(zip([*names, *drawn], shapes, strict=True)),
        {str(k): shape for k, shape in enumerate(results)},
        dict(zip(drawn, kinds, strict=True)),
        tried,
    )


def _is_close(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    apart = (found - wanted).abs().max()
    return bool(apart <= TOLERANCE * wanted.abs().max().clamp_min(1.0))


def _growing(few: Tape, more: Tape) -> Tape:
    """Return a tape for any number of items, from those of two numbers.

    Raises:
        ValueError: If they differ in more than whole numbers that grow with the items.
    """
    same = [step.operation for step in few.steps] == [step.operation for step in more.steps]
    if not same or few.inputs != more.inputs:
        raise ValueError("other operations")
    steps = []
    for one, other in zip(few.steps, more.steps, strict=True):
        if one.results != other.results:
            raise ValueError(f"{one.name} gives other results")
        leaves, form = tree_flatten((one.arguments, one.named))
        others, other_form = tree_flatten((other.arguments, other.named))
        if form != other_form:
            raise ValueError(f"{one.name} takes other arguments")
        grown = [_grown(one.name, *pair) for pair in zip(leaves, others, strict=True)]
        arguments, named = tree_unflatten(grown, form)
        steps.append(replace(one, arguments=arguments, named=named))
    return replace(few, steps=steps)


def _grown(operation: str, one: Any, other: Any) -> Any:
    """Return an argument of two recordings as one: a `Size` where it is a number that grows."""
    if one == other:
        return one
    if isinstance(one, Value) or not (isinstance(one, int) and isinstance(other, int)):
        raise ValueError(f"{operation} takes {one} or {other}")
    times, left = divmod(other - one, MORE - FEW)
    if left:
        raise ValueError(f"{operation} takes {one} for {FEW} items, {other} for {MORE}")
    return Size(times, one - times * FEW)


def _shape(few: Tensor, more: Tensor) -> list[Any]:
    """Return a shape with "n" for the number of items."""
    sizes = zip(few.shape, more.shape, strict=True)
    return [one if one == other else "n" for one, other in sizes]


def _about(model: Model, part: Part) -> dict[str, Any]:
    """Return what users of a part must know, as JSON."""
    return {
        "unweave": __version__,
        "inputs": part.inputs,
        "outputs": part.outputs,
        "noise": part.noise,
        "units": model.units(),
        "items": asdict(model.inputs) if model.inputs else None,
    }


# -- files -----------------------------------------------------------------------------------------


class _Module(nn.Module):
    """A tape as a module."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape
        for number, constant in tape.constants.items():
            self.register_buffer(f"constant_{number}", constant.contiguous())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        constants = {n: getattr(self, f"constant_{n}") for n in self.tape.constants}
        return tuple(replace(self.tape, constants=constants)(*inputs))


def _exported(part: Part) -> torch.export.ExportedProgram:
    """Return a part as a program of torch, for any number of items."""
    n = torch.export.Dim("n", min=1)
    grows = [{shape.index("n"): n} for shape in part.inputs.values()]
    inputs = tuple(part.tried.inputs)
    with torch.no_grad():
        return torch.export.export(_Module(part.tape), inputs, dynamic_shapes=(tuple(grows),))


def _to_torch(part: Part, path: Path, about: str) -> Path:
    path = path.with_suffix(".pt2")
    with replacing(path) as draft, open(draft, "wb") as file:
        torch.export.save(_exported(part), file, extra_files={"unweave.json": about})
    return path


def _to_onnx(part: Part, path: Path, about: str) -> Path:
    import onnx  # noqa: F401 - torch would not say which extra brings them
    import onnxscript  # noqa: F401

    path = path.with_suffix(".onnx")
    with _quietly():
        program: Any = torch.onnx.export(
            _exported(part),
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            dynamo=True,
            verbose=False,
        )
    program.model.metadata_props["unweave"] = about
    with replacing(path) as draft:
        program.save(draft)
    return path


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what torch's exporter says of itself: packages it lacks, names it will give up."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        log.setLevel(level)


WRITERS: dict[str, Callable[[Part, Path, str], Path]] = {"onnx": _to_onnx, "torch": _to_torch}
"""Functions that write a part into a file, by the kinds of files."""
