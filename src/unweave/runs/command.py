"""The command line that trains a run again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command(config: Mapping[str, Any]) -> str | None:
    """The command line that trains the run again; None for a recipe of its author's own."""
    if not config.get("flags"):
        return None
    return shlex.join(["unweave", "train", str(config["recipe"]), *arguments(config["flags"])])


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """A recipe's flags as words of the command line; those that are None are left out.

    >>> arguments({"data_dir": None, "batch_size": 3, "lr": 2.0, "quick": False})
    ['--batch-size', '3', '--lr', '2', '--no-quick']
    """
    words = []
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [
                f"--{flag}",
                str(int(value)) if isinstance(value, float) and value.is_integer() else str(value),
            ]
    return words
