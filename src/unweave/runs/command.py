"""The command line that trains a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Literal

from ..arguments import Positive, Whole

Precision = Literal["float32", "bf16"]
Optimizer = Literal["adam", "adamw", "radam", "rmsprop", "sgd"]
Schedule = Literal["constant", "linear", "cosine"]

HOW: dict[str, Any] = {
    "precision": "float32",
    "optimizer": "adam",
    "clip": None,
    "schedule": "constant",
    "warmup": 0,
    "from_run": None,
    "compiled": False,
    "gather": True,
}
"""Settings of the training that every recipe has, with their defaults, as config.json has them."""

FLAGS = {"from_run": "from", "compiled": "compile"}
"""Flags of the command that are called otherwise than their settings."""

SHARED: dict[str, Any] = {
    "precision": Precision,
    "optimizer": Optimizer,
    "clip": Positive,
    "schedule": Schedule,
    "warmup": Whole,
    "from": str,
    "compile": Literal[True],
}
"""Flags of the command that every recipe has, with the types of their values."""


def command(config: Mapping[str, Any]) -> str | None:
    """Return the command line that trains the run again, None for a recipe of its author's own."""
    if not config.get("flags"):
        return None
    if "recipe" not in config:
        raise ValueError("config.json names no recipe: restore it, or train the run again")
    recipe = str(config["recipe"])
    how = {FLAGS.get(name, name): value for name, value in changed(config).items()}
    is_local = not how.pop("gather", True)
    words = [*arguments(config["flags"]), *arguments(how)]
    return shlex.join(["unweave", "train", recipe, *words, *["--local-estimator"] * is_local])


def changed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `HOW` that a run does not have by default."""
    held = {name: config.get(name, usual) for name, usual in HOW.items()}
    return {name: value for name, value in held.items() if value != HOW[name]}


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Return a recipe's flags as words of the command line, without those that are None.

    >>> arguments({"data_dir": None, "batch_size": 3, "lr": 2.0, "quick": False})
    ['--batch-size', '3', '--lr', '2', '--no-quick']
    """
    words = []
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            is_whole = isinstance(value, float) and value.is_integer()
            words += [f"--{flag}", str(int(value) if is_whole else value)]
    return words
