"""Small trainings, the bits that no interruption may change, and interruptions."""

import contextlib
import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest

import unweave as uw
from unweave.runs.files import read_lines
from unweave.training.recipe import Recipe
from unweave.training.trainer import Trainer

DIGITS = uw.data.digits()

STEPS = 5
"""Steps of an epoch: 160 items to train on, 32 at a time."""


def model():
    return uw.models.hfvae((8, 8), hidden=(32, 16), normals=3)


def tiny(**changes):
    """A recipe of one's own, three epochs of five steps."""
    recipe = Recipe(
        name="mine",
        data=DIGITS.subset(range(200)),
        model=model,
        objective=uw.hfvae(1, 12, 4),
        groups=("y", "z"),
        epochs=3,
        batch=32,
        held_out=40,
    )
    return dataclasses.replace(recipe, **changes)


def bits(folder):
    """The bits that no interruption may change: the weights, and the log without its times."""
    history = [
        {k: v for k, v in line.items() if k != "seconds"}
        for line in read_lines(folder / "metrics.jsonl")
    ]
    return (Path(folder) / "model.safetensors").read_bytes(), history


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(n):
    """Die as step n begins."""
    plain = Trainer.one_step

    def one_step(self, items):
        if self.step == n:
            die()
        plain(self, items)

    Trainer.one_step = one_step


@contextlib.contextmanager
def interrupting(step):
    """Press Ctrl-C as this many steps are done."""
    plain = Trainer.one_step

    def one_step(self, items):
        plain(self, items)
        if self.step == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "one_step", one_step)
        yield


def environment():
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
