"""Questions that wait are answered together, and the latest of each asker alone."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from unweave.explorer.batcher import Batcher


def asked(decode, questions):
    """The answers to (asker, rows), all asked at once."""

    async def ask():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(decode, executor)
            rows = [(asker, np.full((k, 1), value)) for asker, k, value in questions]
            tasks = [asyncio.create_task(batcher(asker, codes)) for asker, codes in rows]
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(asyncio.wait_for(ask(), 20))


def test_everyone_gets_their_own_rows_and_later_questions_replace_earlier_ones():
    calls = []
    began = threading.Event()

    def decode(rows):
        calls.append(len(rows))
        began.wait(0.2)
        return rows * 10

    answers = asked(decode, [("a", 1, 1.0), ("b", 2, 2.0), ("b", 2, 3.0), ("c", 1, 4.0)])
    assert answers[0].tolist() == [[10.0]]
    assert answers[1] is None
    assert answers[2].tolist() == [[30.0], [30.0]]
    assert answers[3].tolist() == [[40.0]]
    assert calls == [1, 3]


def test_a_fault_of_the_decoder_reaches_its_askers_and_no_later_one():
    def decode(rows):
        if rows[0, 0] < 0:
            raise ValueError("below zero")
        return rows

    failed, fine = asked(decode, [("a", 1, -1.0), ("b", 1, 1.0)])
    assert isinstance(failed, ValueError)
    assert fine.tolist() == [[1.0]]


def test_a_hundred_askers_are_answered():
    answers = asked(lambda rows: rows, [(k, 1, float(k)) for k in range(100)])
    assert [float(answer[0, 0]) for answer in answers] == list(range(100))


@pytest.mark.parametrize("rows", [2000])
def test_batches_are_bounded(rows):
    calls = []

    def decode(codes):
        calls.append(len(codes))
        return codes

    asked(decode, [(k, 100, 0.0) for k in range(rows // 100)])
    assert max(calls) <= 1024
    assert sum(calls) == rows
