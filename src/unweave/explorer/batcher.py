"""Decoding for many askers at once: what waits is decoded together, the latest of each asker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Waiting = tuple[Array, "asyncio.Future[Array | None]"]

MOST_ROWS = 1024
"""Rows of codes that are decoded at a time."""


class Batcher:
    """One call of a decoder for all rows that wait.

    A slider sends codes faster than a decoder answers; whoever asks again before the answer has
    begun gets the answer to the last question alone.

    Args:
        decode: Maps codes (n, columns) to items (n, *shape).
        executor: The thread in which it runs.
    """

    def __init__(self, decode: Callable[[Array], Array], executor: Executor) -> None:
        self._decode, self._executor = decode, executor
        self._waiting: dict[Hashable, Waiting] = {}
        self._works = False

    async def __call__(self, asker: Hashable, rows: Array) -> Array | None:
        """Return the decoded rows, or None if the asker asked again meanwhile.

        Args:
            asker: Whoever asks, such as a slider of a page.
            rows: Codes (n, columns).
        """
        earlier = self._waiting.pop(asker, None)
        if earlier is not None and not earlier[1].done():
            earlier[1].set_result(None)
        answer: asyncio.Future[Array | None] = asyncio.get_running_loop().create_future()
        self._waiting[asker] = rows, answer
        if not self._works:
            await self._work()
        return await answer

    async def _work(self) -> None:
        """Decode until nothing waits."""
        self._works = True
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = self._taken()
                rows = np.concatenate([codes for codes, _ in batch])
                try:
                    items = await loop.run_in_executor(self._executor, self._decode, rows)
                except Exception as error:
                    for _, answer in batch:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                ends = np.cumsum([len(codes) for codes, _ in batch])[:-1]
                for part, (_, answer) in zip(np.split(items, ends), batch, strict=True):
                    if not answer.done():
                        answer.set_result(part)
        finally:
            self._works = False

    def _taken(self) -> list[Waiting]:
        """Take questions in the order in which they came, up to so many rows."""
        batch: list[Waiting] = []
        rows = 0
        for asker in list(self._waiting):
            rows += len(self._waiting[asker][0])
            if batch and rows > MOST_ROWS:
                break
            batch.append(self._waiting.pop(asker))
        return batch
