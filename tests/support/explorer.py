"""A small run to explore."""

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
