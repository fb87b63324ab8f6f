"""The command line that trains a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command(config: Mapping[str, Any]) -> str | None:
    """Return the command line that trains the run again, None for a recipe of its author's own."""
    if not config.get("flags"):
        return None
    if "recipe" not in config:
        raise ValueError("config.json names no recipe: restore it, or train the run again")
    recipe = str(config["recipe"])
    return shlex.join(["unweave", "train", recipe, *arguments(config["flags"])])


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
