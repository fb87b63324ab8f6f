"""Mutations of bytes, text and JSON: what happens to files, and what people and attackers write."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

NUMBERS = ("0", "-1", "1e400", "nan", "inf", "-inf", "9" * 30, "9" * 400, "1e-320", "0.5", "2**99")
WORDS = (
    "\0", "\x1b[31m", "[/]", "\\[/]", "[red]a", "../../escaped", "\ud7ff", "﷽", "'", '"', "{", "[",
    "(" * 300, "[" * 3000, "-" * 3000, "__import__('os')", "'a'*9999999999", "null", "true", ",,,",
)  # fmt: skip
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"\xff\xfe")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return bytes changed once, or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        content = rng.choice(CHANGES)(content, rng)
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _delete(content: bytes, rng: random.Random) -> bytes:
    start, length = rng.randint(0, len(content)), rng.choice((1, 4, 64))
    return content[:start] + content[start + length :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start, length = rng.randint(0, len(content)), rng.choice((1, 8, 200))
    return content[:start] + content[start : start + length] * rng.choice((2, 50)) + content[start:]


def _insert(content: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(content))
    added = rng.choice((rng.randbytes(4), *EXTREMES, rng.choice(WORDS).encode()))
    return content[:start] + added + content[start:]


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    start, extreme = rng.randint(0, len(content)), rng.choice(EXTREMES)
    return content[:start] + extreme + content[start + len(extreme) :]


def _renumber(content: bytes, rng: random.Random) -> bytes:
    """Put another number in the place of one that is written in digits."""
    found = list(re.finditer(rb"-?\d+\.?\d*", content[:100_000]))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(NUMBERS).encode() + content[match.end() :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _cut, _delete, _repeat, _insert, _overwrite, _renumber,
)  # fmt: skip


def reshaped(text: str, rng: random.Random) -> str:
    """Return JSON in which some value is another one, of whatever kind."""
    content = json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        content = _replaced(content, rng)
    return json.dumps(content)


def _replaced(content: Any, rng: random.Random) -> Any:
    is_deeper = rng.random() < 0.8
    if isinstance(content, dict) and content and is_deeper:
        key = rng.choice(list(content))
        if rng.random() < 0.2:
            return {name: value for name, value in content.items() if name != key}
        return content | {key: _replaced(content[key], rng)}
    if isinstance(content, list) and content and is_deeper:
        place = rng.randrange(len(content))
        return [*content[:place], _replaced(content[place], rng), *content[place + 1 :]]
    return odd(rng)


def odd(rng: random.Random) -> Any:
    """Return a value that nobody expects."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    numbers = (-1, 0, 1.5, 10**9, 10**30, 1e308, float("nan"), float("inf"))
    return rng.choice((*numbers, None, True, "", rng.choice(WORDS), [], {}, [[]], {"a": 1}, deep))
