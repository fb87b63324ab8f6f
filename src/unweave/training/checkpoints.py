"""Checkpoints: a trainer's state on disk, whole or absent; the last good one is found."""

from __future__ import annotations

import io
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from ..ranks import first
from ..runs import artifact
from ..runs.files import read_json, replacing, write_json
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
    buffer = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(state, buffer)
    content = buffer.getbuffer()
    run = artifact.read_config(folder).get("id")
    digests = [sha256(content).hexdigest()]
    if path.exists():  # until it is replaced, it stays as good as it was
        digests += [sha256(path.read_bytes()).hexdigest()]
    write_json(_seal(path), {"run": run, "sha256": digests})
    with replacing(path) as draft:
        draft.write_bytes(content)
    others = [old for old in _paths(folder) if old != path]
    for old in others[: max(len(others) + 1 - keep, 0)]:
        old.unlink()
        _seal(old).unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the last checkpoint that can be read.

    Returns:
        The state; None if there is none yet (training begins anew, from the same seed).

    Raises:
        ValueError: If there are checkpoints and all are damaged, or a finished model without any.
    """
    paths = _paths(folder)[::-1]
    run = artifact.read_config(folder).get("id")
    for path in paths:
        try:
            content = path.read_bytes()
            if not _is_sealed(path, content, run):
                continue
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception:
            continue
        if isinstance(state, dict) and state.get("format") == artifact.FORMAT:
            return state
    if paths:
        raise ValueError(
            f"no checkpoint in {paths[0].parent} can be read ({', '.join(p.name for p in paths)}): "
            "they are damaged, of another run or of another version; train again with --overwrite, "
            "or into another folder"
        )
    if (folder / "model.safetensors").exists():
        raise ValueError(
            f"{folder} holds a finished model without its checkpoints: there is nothing to go on "
            f"from; `unweave evaluate {folder}` scores it again"
        )
    return None


def _seal(path: Path) -> Path:
    """Return the file beside a checkpoint that has its run and its checksum."""
    return path.with_suffix(".json")


def _is_sealed(path: Path, content: bytes, run: str | None) -> bool:
    """True if a checkpoint is the run's own and as it was written; earlier versions cannot tell."""
    seal = _seal(path)
    if not seal.exists():
        return True
    known = read_json(seal)
    is_own = run is None or known["run"] == run
    is_whole: bool = sha256(content).hexdigest() in known["sha256"]
    return is_own and is_whole


def last_good(folder: Path) -> str:
    """Name the last checkpoint in a sentence."""
    paths = _paths(folder)
    return f"The last good checkpoint is {paths[-1]}" if paths else "There is no checkpoint yet"


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.pt"))
