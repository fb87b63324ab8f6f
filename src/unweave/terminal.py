"""Text in a terminal, in which nothing from outside is obeyed, and errors as one line.

Names of methods, columns and files, and values of flags, come from outside. None is taken for
markup, and the terminal gets none of their control characters.
"""

from __future__ import annotations

import dis
import os
import shlex
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from . import __version__
from .extras import MissingExtra

FAULT = 70
"""The exit status of an error that nobody foresaw, as BSD's sysexits.h has it."""


def console(**options: Any) -> Console:
    """Return a console that takes nothing for markup; `options` are those of rich's Console."""
    return Console(markup=False, emoji=False, **options)


def visible(text: str) -> str:
    """Return text with control characters, which a terminal would obey, as their escapes.

    >>> print(visible("red \\x1b[31m"))
    red \\x1b[31m
    """
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def say(text: str, *, to_stderr: bool = False) -> None:
    """Print a line as it is, however long."""
    print(visible(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)


# -- errors ----------------------------------------------------------------------------------------


def ended(error: Exception, quiet: bool = False) -> int:
    """Print an error in one line, and return the exit status of the command.

    Returns:
        1 for an error that a person can mend; `FAULT` for one that nobody foresaw, which is a fault
        of this package. The line then names what was done, and the file that holds the full trace.
    """
    if not quiet:
        rank = int(os.environ.get("RANK", 0))
        where = f" at rank {rank}" if rank else ""
        line = Text.assemble((f"Error{where}:", "bold red"), " ", visible(told(error)))
        console(stderr=True).print(line, highlight=False, soft_wrap=True)
    return 1 if is_foreseen(error) else FAULT


def told(error: Exception) -> str:
    """Return an error in words; of one that nobody foresaw, the trace goes to a file."""
    return _message(error) if is_foreseen(error) else _fault(error)


def is_foreseen(error: Exception) -> bool:
    """True if a statement of this package raised an error, or the system refused a file or memory.

    Anything else was raised within a library, or by an expression that was thought to be safe.
    """
    is_of_the_system = isinstance(error, OSError) and bool(error.strerror)
    is_lack = isinstance(error, MissingExtra) or _is_out_of_memory(error)
    return is_of_the_system or is_lack or is_refusal(error)


def is_refusal(error: Exception) -> bool:
    """True if a statement of this package raised an error: what was given has no place there."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    is_ours = Path(code.co_filename).is_relative_to(Path(__file__).parent)
    return is_ours and code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # of a GPU
        return True
    if isinstance(error, ImportError):  # of a library that finds no room
        return "failed to map segment" in str(error)
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)  # torch's


def _message(error: Exception) -> str:
    """Return the text of an error that a person can mend."""
    if _is_out_of_memory(error):
        return (
            f"there is not enough memory for `{_command()}` ({_first_line(error)}): give it a "
            "smaller batch, fewer items or a larger machine"
        )
    if isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        if error.filename is None:
            return f"`{_command()}` could not go on: {reason[:1].lower()}{reason[1:]}"
        return f"{error.filename}: {reason[:1].lower()}{reason[1:]}"
    # a KeyError's own text is its message in quotes
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def _fault(error: Exception) -> str:
    """Write the trace of an unforeseen error to a file, and say so in a line."""
    about = f"unweave {__version__}, Python {sys.version}, {sys.platform}\n{_command()}\n\n"
    text = about + "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="unweave-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(text)
        where = f"the full trace is in {file.name}"
    except OSError as refused:
        where = f"the full trace could not be written ({refused.strerror})"
    return (
        f"`{_command()}` met {type(error).__name__} ({_first_line(error)}), which is a fault of "
        f"unweave: {where}; please send it, with this line, to whoever maintains your copy"
    )


def _command() -> str:
    words = [word if len(word) <= 80 else f"{word[:80]}…" for word in sys.argv[1:]]
    return shlex.join(["unweave", *words])


def _first_line(error: Exception, most: int = 200) -> str:
    """Return the start of an error's text."""
    first = (str(error).splitlines() or ["without a message"])[0]
    return first if len(first) <= most else f"{first[:most]}…"
