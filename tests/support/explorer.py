"""Small runs to explore."""

import numpy as np
import torch

import unweave as uw
from unweave.explorer.session import Session


def session(folder, seed=0):
    """A session of an untrained model of digits, with a class and three Normals."""
    torch.manual_seed(seed)
    model = uw.models.hfvae((8, 8), (16,), 10, normals=3, temperature=None)
    data = uw.data.digits("test").subset(np.arange(200))
    return Session(model, data, folder, ("y", "z"))


def of_words(folder):
    """A session of an untrained model of topics, with 20 words and two blocks of topics."""
    torch.manual_seed(0)
    counts = np.random.default_rng(0).poisson(0.5, size=(60, 20)).astype(np.float32)
    counts[:, 0] += 1
    data = uw.data.read(counts, say=str)
    model = uw.models.topics((20,), blocks=(2, 2), hidden=(16,))
    return Session(model, data, folder)


def of_columns(folder):
    """A session of an untrained model of a table of seven columns."""
    torch.manual_seed(0)
    model = uw.models.vae((7,), (16,), 2, likelihood="normal", standardise=True)
    x = np.random.default_rng(0).normal(size=(60, 7)) * [1, 2, 5, 9, 3, 1, 4] + 8
    return Session(uw.models.measured(model, x), uw.data.read(x, say=str), folder)


def of_sequences(folder):
    """A session of an untrained model of sequences of four to six frames."""
    torch.manual_seed(0)
    data = uw.data.mouse("test", 30, length=6, shortest=4)
    return Session(uw.models.deep_markov(data.shape, normals=2, hidden=16), data, folder)


def of_scenes(folder):
    """A session of an untrained model of scenes, whose count says which sites exist."""
    torch.manual_seed(0)
    x = np.random.default_rng(0).uniform(size=(40, 20, 20)).astype(np.float32)
    model = uw.models.counting((20, 20), most=2, side=8, hidden=(16,), normals=2)
    return Session(model, uw.data.read(x, say=str), folder)
