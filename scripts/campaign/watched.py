"""Work in processes that may hang, crash or ask for too much memory, and are then replaced."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

HANG = 20
"""Seconds of computing after which a piece of work hangs."""

WAIT = 180
"""Seconds after which it hangs even if it computes nothing."""

MEMORY = 2 * 2**30
"""Bytes that a piece of work may take beyond what the process has at its start."""


def watched(work: Callable[[int], str], count: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the result of each piece of work, "hang" or "crash" if it has none.

    A process works on one after another. If it ends early, the next one goes on behind.
    """
    start = 0
    while start < count:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _work(work, start, count, writer)
        os.close(writer)
        for number, result in _results(reader, child):
            start = number + 1
            yield number, result
        _, status = os.waitpid(child, 0)
        if start < count:
            is_hang = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (
                signal.SIGPROF,
                signal.SIGKILL,
            )
            yield start, "hang" if is_hang else "crash"
            start += 1


def _work(work: Callable[[int], str], start: int, count: int, writer: int) -> None:
    """Do the work in this process, within limits, and leave."""
    try:
        _limit_memory()
        for number in range(start, count):
            signal.setitimer(signal.ITIMER_PROF, HANG)  # its signal ends the process, whatever runs
            result = work(number)
            os.write(writer, json.dumps([number, result]).encode() + b"\n")
    finally:
        os._exit(1)


def _limit_memory() -> None:
    pages = Path("/proc/self/statm")
    if pages.exists():  # Linux
        taken = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))


def _results(reader: int, child: int) -> Iterator[tuple[int, str]]:
    with open(reader, "rb", buffering=0) as lines:
        held = b""
        while True:
            ready, _, _ = select.select([lines], [], [], WAIT)
            if not ready:
                os.kill(child, signal.SIGKILL)
            part = lines.read(2**16)
            if not part:
                return
            *whole, held = (held + part).split(b"\n")
            for line in whole:
                number, result = json.loads(line)
                yield number, result
