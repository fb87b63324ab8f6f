"""The explorer as one file: arrays, the decoder as operations or a grid, the page around them."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Normal

from ..data.data import some
from ..models.model import mean
from ..runs.files import replacing
from ..trace.trace import Trace
from . import codes
from .matching import described
from .session import Session
from .tape import Decoder, Step, Tape, Value, recorded

MOST_BYTES = 4_000_000
"""Bytes of all items' pictures; of more, these are items from all over."""

MOST_NUMBERS = 4_000_000
"""Constants of a decoder that goes with the page."""

TRIED = 20
"""Items at which the decoder's operations are compared with it."""

STEPS = 17
"""Values of a unit on the grid of a decoder that does not go with the page, beside its own."""

SAME = {"alias", "clone", "detach", "_to_copy", "expand", "_unsafe_view", "view", "reshape"}
SAME |= {"unsqueeze", "squeeze", "lift_fresh"}
"""Operations that keep the numbers, in their order but for the copies that `expand` makes."""

KNOWN = SAME | {"addmm", "mm", "bmm", "cat", "stack", "convolution", "index", "select", "slice"}
KNOWN |= {"upsample_bilinear2d", "permute", "t", "transpose", "split", "split_with_sizes", "unbind"}
KNOWN |= {"relu", "sigmoid", "tanh", "exp", "expm1", "log", "log1p", "neg", "abs", "sqrt"}
KNOWN |= {"softplus", "clamp", "clamp_min", "clamp_max", "_softmax", "_log_softmax"}
KNOWN |= {"add", "sub", "rsub", "mul", "div", "pow", "lt", "gt", "sum", "mean", "logsumexp"}
"""Operations that page/network.js carries out."""

LAYOUT = {"memory_format", "dtype", "layout", "device", "pin_memory", "non_blocking"}
"""Arguments that change no numbers."""

Array = NDArray[Any]


class _Arrays:
    """Arrays one after another, and where each lies."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.at: dict[str, list[int]] = {}

    def add(self, name: str, values: Array | bytes) -> None:
        """Add bytes, or numbers as float32."""
        if not isinstance(values, bytes):
            values = np.ascontiguousarray(values, dtype="<f4").tobytes()
        begin = sum(len(part) for part in self.parts)
        self.at[name] = [begin, begin + len(values)]
        padding = -len(values) % 4  # numbers begin at multiples of their size
        self.parts.append(values + bytes(padding))

    def text(self) -> str:
        """Return all as text: zipped, in base 64."""
        packed = gzip.compress(b"".join(self.parts), mtime=0)
        return base64.b64encode(packed).decode()


def export(path: str | Path, session: Session, other: Session | None = None) -> int:
    """Write the explorer's page as one file, which needs neither a server nor a network.

    It holds some items, from all over, with their pictures and posteriors. The decoder goes with it
    as operations that the page carries out; where they are too many or unknown, pictures are
    interpolated on a grid, and the page says so.

    Args:
        path: The file, which is replaced.
        session: The run.
        other: A run beside it, over the same items.

    Returns:
        The file's size in bytes.
    """
    few = _some(session)
    shown = [_of_items(one, few) for one in (session, other) if one is not None]
    arrays = _Arrays()
    first = shown[0]
    arrays.add("pictures", first.pictures(first.data.floats()))
    arrays.add("labels", first.data.factors)
    for name, bounds in first.bounds.items():
        arrays.add(f"bounds/{name}", bounds)
    for site in first.sites:
        if len(site.units) > 2:
            arrays.add(f"plane/{site.name}/pca", first.plane(site.name, "pca"))
    _posteriors(arrays, first)
    for name, one in zip(("codes", "codes/other"), shown, strict=False):
        arrays.add(name, one.codes)
    decoders = [_decoder(arrays, k, one) for k, one in enumerate(shown)]
    run = described(*shown) | {"planes": ["pca"]}
    text = _page({"run": run, "decoders": decoders, "arrays": arrays.at}, arrays.text())
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return len(text.encode())


def _some(session: Session) -> Array:
    size = len(session.item(0))
    return some(len(session.data), max(MOST_BYTES // size, 100))


def _of_items(session: Session, items: Array) -> Session:
    numbers = session.numbers[items]
    return Session(session.model, session.whole, session.folder, session.groups, numbers)


def _posteriors(arrays: _Arrays, session: Session) -> None:
    """Add each item's posterior, by which selections are measured."""
    for site in session.sites:
        node = session.q[site.name]
        if site.classes and len(site.units) == 1:
            arrays.add(f"probs/{site.name}", node.dist.mean.numpy())  # type: ignore[union-attr]
        elif isinstance(node.dist, Normal):
            scales = node.dist.stddev.expand_as(node.value).flatten(1)  # (n, units)
            arrays.add(f"scales/{site.name}", scales.numpy())


# -- decoders --------------------------------------------------------------------------------------


def _decoder(arrays: _Arrays, number: int, session: Session) -> dict[str, Any]:
    """Add a decoder: its operations, or a grid."""
    names = [site.name for site in session.sites]

    def decode(*values: Tensor) -> Tensor:
        given = Trace.given(**dict(zip(names, values, strict=True)))
        return mean(session.model.decoder(None, given))

    inputs = codes.given(session.codes[:TRIED], session.sites)
    try:
        network, constants = written(decode, list(inputs.values()))
    except ValueError as reason:
        return _grid(arrays, number, session) | {"reason": str(reason)}
    for k, values in constants.items():
        arrays.add(f"constant/{number}/{k}", values)
    sites = [{"classes": site.classes, "shape": [1, *site.shape]} for site in session.sites]
    return network | {"sites": sites}


def written(decode: Decoder, inputs: Sequence[Tensor]) -> tuple[dict[str, Any], dict[int, Array]]:
    """Return a decoder's operations for page/network.js, and its constants by their numbers.

    Args:
        decode: Maps tensors (n, …), each item by itself, to items (n, *shape).
        inputs: Tensors of some items, at which the operations are tried.

    Raises:
        ValueError: If they are too many, unknown to the page, or cannot be written down.
    """
    tape = recorded(decode, inputs)
    _check(tape)
    shapes = {k: list(t.shape) for k, t in tape.values(*(t[:1] for t in inputs)).items()}
    steps = []
    for step in tape.steps:
        arguments = [_argument(argument) for argument in step.arguments]
        made = {"results": step.results, "shapes": [shapes[k] for k in step.results]}
        steps.append({"operation": step.name, "arguments": arguments, **made})
    constants = {k: t.float().numpy() for k, t in tape.constants.items()}
    of_constants = {str(k): list(t.shape) for k, t in constants.items()}
    return {"steps": steps, "constants": of_constants, "result": tape.results[0]}, constants


def _check(tape: Tape) -> None:
    numbers = sum(values.numel() for values in tape.constants.values())
    if numbers > MOST_NUMBERS:
        raise ValueError(f"it has {numbers:,} constants, more than {MOST_NUMBERS:,}")
    unknown = tape.operations - KNOWN
    unknown |= {name for step in tape.steps for name in step.named} - LAYOUT
    unknown |= {f"to {step.named['dtype']}" for step in tape.steps if _rounds(step)}
    if unknown:
        raise ValueError(f"the page does not know its operations {', '.join(sorted(unknown))}")


def _rounds(step: Step) -> bool:
    """Return true for numbers that become integers or truths, which the page has not."""
    dtype = step.named.get("dtype")
    return dtype is not None and not dtype.is_floating_point


def _argument(argument: Any) -> Any:
    """Return an argument as JSON: values by their numbers, in lists too."""
    if isinstance(argument, Value):
        return {"value": argument.number}
    if isinstance(argument, list | tuple):
        return [_argument(part) for part in argument]
    return argument if isinstance(argument, bool | int | float | None) else str(argument)


def _grid(arrays: _Arrays, number: int, session: Session) -> dict[str, Any]:
    """Add pictures of one unit moved at a time, from the typical item, for each class.

    Classes are those of the first site of classes.
    """
    run = session.described()
    start = session.codes[run["start"]]
    units = [(site, unit) for site in run["sites"] for unit in site["units"]]
    of_classes = [(site["classes"], unit["column"]) for site, unit in units if site["classes"]]
    bases = [start]
    if of_classes:
        classes, column = of_classes[0]
        bases = [_moved(start, column, k) for k in range(classes)]
    moved = []
    for site, unit in units:
        values = np.arange(site["classes"], dtype=float)
        if not site["classes"]:
            low, high = unit["ends"]
            own = start[unit["column"]]  # a unit that is not moved then changes nothing
            values = np.unique([*np.linspace(low, high, STEPS), own])
        moved.append({"column": unit["column"], "values": values.tolist()})
    rows = list(bases)
    for base in bases:
        for one in moved:
            rows.extend(_moved(base, one["column"], value) for value in one["values"])
    decoded = [session.decode(part) for part in np.array_split(np.stack(rows), -(-len(rows) // 64))]
    arrays.add(f"grid/{number}", session.pictures(np.concatenate(decoded)))
    at = of_classes[0][1] if of_classes else None
    return {"grid": moved, "bases": np.stack(bases).tolist(), "column": at}


def _moved(row: Array, column: int, value: float) -> Array:
    moved: Array = row.copy()
    moved[column] = value
    return moved


# -- the file --------------------------------------------------------------------------------------


def _page(content: dict[str, Any], arrays: str) -> str:
    """Return the page with its style, its modules and its data inside."""
    place = resources.files(__package__).joinpath("page")
    texts = {file.name: file.read_text(encoding="utf-8") for file in place.iterdir()}
    modules = {}
    for name in sorted(texts):
        if name.endswith(".js"):
            # a module that lies in an address finds others by bare names alone
            text = re.sub(r'from "\./(\w+\.js)"', r'from "\1"', texts[name])
            encoded = base64.b64encode(text.encode()).decode()
            modules[name] = f"data:text/javascript;base64,{encoded}"
    page = texts["index.html"]
    page = page.replace(
        '<link rel="stylesheet" href="page/style.css">', f"<style>\n{texts['style.css']}</style>"
    )
    imports = json.dumps({"imports": modules})
    data = json.dumps(content).replace("</", "<\\/")
    scripts = [
        f'<script type="importmap">{imports}</script>',
        f'<script type="application/json" id="embedded">{data}</script>',
        f'<script type="text/plain" id="arrays">{html.escape(arrays)}</script>',
        '<script type="module">import "app.js"</script>',
    ]
    return page.replace('<script type="module" src="page/app.js"></script>', "\n".join(scripts))
