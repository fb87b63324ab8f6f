"""Checkpoints: a trainer's state on disk, whole or absent; the last good one is found."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..ranks import first
from ..runs import artifact
from ..runs.files import replacing
from .faults import NonFinite
from .trainer import Trainer


def save_checkpoint(folder: Path, trainer: Trainer, keep: int = 2) -> Path:
    """Write the trainer's state, whole or not at all, and leave the last `keep`.

    Raises:
        NonFinite: If a weight is NaN or infinite.
    """
    return first(partial(_save, folder, trainer.state(), keep))


def _save(folder: Path, state: dict[str, Any], keep: int) -> Path:
    for t in state["model"].values():
        if t.is_floating_point() and not bool(torch.isfinite(t).all()):
            raise NonFinite(
                f"the weights became NaN or infinite by step {state['step']}. {last_good(folder)}"
            )
    path = folder / "checkpoints" / f"{state['step']:09d}.pt"
    with replacing(path) as draft:
        buffer = io.BytesIO()  # torch's own writer does not say that a disk is full
        torch.save(state, buffer)
        draft.write_bytes(buffer.getbuffer())
    for old in _paths(folder)[:-keep]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the last checkpoint that can be read.

    Returns:
        The state; None if there is none yet (training begins anew, from the same seed).

    Raises:
        ValueError: If there are checkpoints and all are damaged, or a finished model without any.
    """
    paths = _paths(folder)[::-1]
    for path in paths:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            continue
        if isinstance(state, dict) and state.get("format") == artifact.FORMAT:
            return state
    if paths:
        raise ValueError(
            f"no checkpoint in {paths[0].parent} can be read ({', '.join(p.name for p in paths)}): "
            "they are damaged or of another version; train again with --overwrite, or into "
            "another folder"
        )
    if (folder / "model.safetensors").exists():
        raise ValueError(
            f"{folder} holds a finished model without its checkpoints: there is nothing to go on "
            f"from; `unweave evaluate {folder}` scores it again"
        )
    return None


def last_good(folder: Path) -> str:
    """Name the last checkpoint in a sentence."""
    paths = _paths(folder)
    return f"The last good checkpoint is {paths[-1]}" if paths else "There is no checkpoint yet"


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.pt"))
