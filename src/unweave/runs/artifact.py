"""A model as one folder: model.safetensors and config.json, read back without running anything from
the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from .. import models
from ..models import Model
from .files import read_json, replacing, write_json

FORMAT = 1
"""Version of the folder's layout; a folder of another version is refused."""


def save(model: Model, folder: str | Path, config: dict[str, Any] | None = None) -> Path:
    """Writes `model` into `folder`, with anything else that `config` says of it."""
    folder = Path(folder)
    state = {
        name: t.detach().cpu().clone().contiguous() for name, t in model.state_dict().items()
    }  # tied weights, too
    with replacing(folder / "model.safetensors") as draft:
        draft.write_bytes(
            to_bytes(state)
        )  # safetensors' own writer does not say that a disk is full
    write_config(folder, {**(config or {}), "model": model.config})
    return folder


def write_config(folder: Path, config: dict[str, Any]) -> None:
    write_json(folder / "config.json", {"format": FORMAT, **config})


def load(folder: str | Path, model: Model | None = None) -> Model:
    """The model in `folder`, rebuilt from its family's name and arguments, or its weights put into
    `model`.

    Only tensors and JSON are read. Errors: FileNotFoundError for a missing file; ValueError for a
    folder of another version, a family this version lacks, arguments or tensors that do not fit, a
    damaged file.
    """
    folder = Path(folder)
    config = read_config(folder)
    if model is None:
        model = _build(config.get("model"), folder)
    path = folder / "model.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the run did not finish; `unweave resume {folder}` goes on with it"
        )
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it, or train the run again"
        ) from None
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"the tensors in {path} do not fit the model that {folder}/config.json describes: "
            f"{error}"
        ) from None
    return model.eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a run of this version."""
    config = read_json(Path(folder) / "config.json")
    held: dict[str, Any] = config if isinstance(config, dict) else {}
    if held.get("format") != FORMAT:
        raise ValueError(
            f"{folder} has format {held.get('format')!r}, this version of unweave reads format "
            f"{FORMAT}: use the version that wrote it ({held.get('unweave', 'unknown')})"
        )
    return held


def _build(config: Any, folder: Path) -> Model:
    if not isinstance(config, dict):
        raise ValueError(
            f"{folder} holds a model of its author's own: build it, then `load(folder, model=...)`"
        )
    arguments = dict(config)
    name = arguments.pop("family", None)
    known = sorted(key for key, value in vars(models).items() if getattr(value, "is_family", False))
    if name not in known:
        raise ValueError(
            f"{folder} holds a model of family {name!r}; this version knows {', '.join(known)}"
        )
    try:
        with torch.random.fork_rng():
            model: Model = getattr(models, name)(**arguments)
            model.units()  # an argument may be wrong that only a run refuses
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{folder}/config.json does not describe a {name} model: {error}"
        ) from None
    return model
