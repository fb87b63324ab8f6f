"""A model as one folder: model.safetensors and config.json.

Reading them runs nothing from the folder.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from .. import models
from ..models import Model
from ..models.inputs import Inputs
from . import config
from .files import read_json, replacing, write_json

WEIGHTS = "model.safetensors"

FORMAT = 1
"""The version of the folder's layout; a folder of another version is refused."""


def save(model: Model, folder: str | Path, settings: dict[str, Any] | None = None) -> Path:
    """Write `model` into `folder`, with anything else that `settings` say of it."""
    folder = Path(folder)
    state = {}
    for name, tensor in model.state_dict().items():
        state[name] = tensor.detach().cpu().clone().contiguous()  # a copy even of tied weights
    content = to_bytes(state)
    with replacing(folder / WEIGHTS) as draft:
        # safetensors' own writer does not say that a disk is full
        draft.write_bytes(content)
    inputs = asdict(model.inputs) if model.inputs else None
    held = {
        "model": model.config,
        "inputs": inputs,
        "sha256": {WEIGHTS: sha256(content).hexdigest()},
    }
    write_config(folder, {**(settings or {}), **held})
    return folder


def write_config(folder: Path, settings: dict[str, Any]) -> None:
    """Write config.json of this version."""
    write_json(folder / config.FILE, {"format": FORMAT, **settings})


def load(folder: str | Path, model: Model | None = None) -> Model:
    """Return the model in `folder`, rebuilt from its config; only tensors and JSON are read.

    Args:
        folder: A run's folder, or one that `save` wrote.
        model: A model of one's own that the weights are put into, instead of one that is rebuilt
            from its family's name and arguments.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the folder is of another version, the family is unknown to this one,
            arguments or tensors do not fit, or a file is damaged.
    """
    folder = Path(folder)
    settings = read_config(folder)
    state = _tensors(folder / WEIGHTS, settings.get("sha256", {}).get(WEIGHTS))
    if model is None:
        said = settings.get("model")
        shapes = _build(said, folder, on_meta=True)  # a model of a wrong size takes no memory
        _fill(shapes, state, folder, assign=True)
        model = _build(said, folder)
    _fill(model, state, folder)
    model.inputs = _inputs(settings.get("inputs"), folder)
    return model.eval()


def _fill(model: Model, state: dict[str, torch.Tensor], folder: Path, assign: bool = False) -> None:
    """Put tensors into a model, or assign them in place of those that it has."""
    try:
        model.load_state_dict(state, assign=assign)
    except RuntimeError as error:
        reasons = " ".join(str(error).split())
        raise ValueError(
            f"the tensors in {folder / WEIGHTS} do not fit the model that {folder}/config.json "
            f"describes: {reasons}"
        ) from None


def _inputs(said: Any, folder: Path) -> Inputs | None:
    """Return the items that a config says a model was trained on, if it says so."""
    if said is None:
        return None
    try:
        Inputs(**said)  # all of its keys are known
        return msgspec.convert(said, Inputs)
    except (TypeError, msgspec.ValidationError) as error:
        raise ValueError(
            f"{folder}/config.json does not describe the model's inputs: {error}"
        ) from None


def _tensors(path: Path, digest: str | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a file whose checksum is the one of config.json, if that has one."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the run did not finish; `unweave resume {path.parent}` goes on "
            "with it"
        )
    content = path.read_bytes()
    if digest not in (None, sha256(content).hexdigest()):
        raise ValueError(
            f"{path} is damaged (its checksum is not the one in config.json): restore it, or train "
            "the run again"
        )
    try:
        state: dict[str, torch.Tensor] = from_bytes(content)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it, or train the run again"
        ) from None
    return state


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return config.json of a run of this version.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is damaged or of another version.
    """
    path = Path(folder) / config.FILE
    content = read_json(path)
    held: dict[str, Any] = content if isinstance(content, dict) else {}
    if held.get("format") != FORMAT:
        raise ValueError(
            f"{folder} has format {held.get('format')!r}, this version of unweave reads format "
            f"{FORMAT}: use the version that wrote it ({held.get('unweave', 'unknown')})"
        )
    return config.checked(held, path)


def _build(said: Any, folder: Path, on_meta: bool = False) -> Model:
    """Return a fresh model of the family that a config names, or only its tensors' shapes."""
    if not isinstance(said, dict):
        raise ValueError(
            f"{folder} holds a model of its author's own: build it, then `load(folder, model=...)`"
        )
    arguments = dict(said)
    name = arguments.pop("family", None)
    known = [key for key in dir(models) if getattr(getattr(models, key), "is_family", False)]
    if name not in known:
        raise ValueError(
            f"{folder} holds a model of family {name!r}; this version knows {', '.join(known)}"
        )
    try:
        with torch.random.fork_rng(), torch.device("meta") if on_meta else nullcontext():
            model: Model = getattr(models, name)(**arguments)
            if not on_meta:
                model.units()  # an argument may be wrong that only a run refuses
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(
            f"{folder}/config.json does not describe a {name} model: {error}"
        ) from None
    return model
