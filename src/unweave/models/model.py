"""A model: an encoder and a decoder, and the ways to encode, decode, reconstruct and sample."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..trace.concrete import Concrete
from ..trace.marginals import unit_shape
from ..trace.node import Node
from ..trace.trace import Trace


class Model(nn.Module):
    """Two programs that fill a `Trace`: `encoder(x, **labels) -> q` and `decoder(x, q) -> p`.

    The decoder must accept x = None (nothing to score) and `q.free(n)` (nothing encoded). `config`
    says how to build the model again, see `family`; a model without one is saved, but must be built
    by its user to be loaded.

    Args:
        encoder: Fills q.
        decoder: Fills p from x and q.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.config: dict[str, Any] | None = None

    def forward(self, x: Tensor, **labels: Tensor) -> tuple[Trace, Trace]:
        q = self.encoder(x, **labels)
        return q, self.decoder(x, q)

    @torch.no_grad()
    def posterior(self, x: Tensor | np.ndarray[Any, Any], *, seed: int = 0) -> Trace:
        """Return the encoder's trace for items x (n, …); enumerated classes are drawn, too.

        The draws have a random state of their own, from `seed`.
        """
        with seeded(seed):
            trace: Trace = self.encoder(self._tensor(x))
            return trace.draw()

    def encode(self, x: Tensor | np.ndarray[Any, Any], *, seed: int = 0) -> Tensor:
        """Return codes (n, units): posterior means, and class numbers for discrete sites.

        Columns are as in `units`. Sites that depend on a drawn site are given that draw, repeatable
        by `seed`.
        """
        q = self.posterior(x, seed=seed)
        codes = [code(node).flatten(1) for node in q.values()]
        return torch.cat(codes, -1)

    @torch.no_grad()
    def decode(self, **codes: Tensor) -> Tensor:
        """Return the decoder's mean for chosen values of every latent site, each (n, …)."""
        values = {name: self._tensor(value) for name, value in codes.items()}
        with seeded(0):  # a decoder without data draws it, though only its mean is asked for
            return mean(self.decoder(None, Trace.given(**values)))

    @torch.no_grad()
    def reconstruct(self, x: Tensor | np.ndarray[Any, Any], *, seed: int = 0) -> Tensor:
        """Return the decoder's mean at the encoder's mean codes."""
        q = self.posterior(x, seed=seed)
        codes = {name: hard(node) for name, node in q.items()}
        return self.decode(**codes)

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Return the decoder's mean at `n` draws from the prior, shape (n, …).

        Raises:
            ValueError: The model does not know its data's shape, or has no prior.
        """
        shape = self.config["shape"] if self.config else None
        if shape is None:
            raise ValueError(
                "this model does not know its data's shape: run its decoder on `q.free(n)` instead"
            )
        item = self._tensor(np.zeros((1, *shape), np.float32))
        with seeded(seed):
            q = self.encoder(item)
            if all(node.dist is None for node in q.values()):
                raise ValueError(
                    "this model has no prior to draw from: its code is a function of x (decode "
                    "codes instead)"
                )
            return mean(self.decoder(None, q.free(n)))

    def units(self) -> list[str]:
        """Return the names of the latent units, in the order of the columns of `encode`."""
        shape = self.config["shape"] if self.config else ()
        q = self.posterior(np.zeros((2, *shape), np.float32))
        names = []
        for site, node in q.items():
            names += unit_names(site, node)
        return names

    def _tensor(self, x: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Return items as the networks take them; bytes are pixels that stand for value / 255."""
        values = x if isinstance(x, Tensor) else np.asarray(x)
        device = next(self.parameters()).device
        t = torch.as_tensor(values, device=device)
        return t.float() / 255 if t.dtype == torch.uint8 else t


def unit_names(site: str, node: Node) -> list[str]:
    """Return `y`, or `z[0]`, `z[1]`, … for a site of a batch of items."""
    if node.dist is None:
        shape = tuple(node.value.shape[1:])
    else:
        shape = unit_shape(node.dist, node.value, 1)
    if not shape:
        return [site]
    names = []
    for index in np.ndindex(*shape):
        numbers = ",".join(map(str, index))
        names.append(f"{site}[{numbers}]")
    return names


def is_discrete(node: Node) -> bool:
    """Whether a site's values are classes, written one-hot or relaxed."""
    return isinstance(node.dist, (Concrete, torch.distributions.OneHotCategorical))


def code(node: Node) -> Tensor:
    """Return a site's code of each item, a number a unit: its mean, or its most probable class."""
    if node.dist is None:
        return node.value
    at: Tensor = node.dist.mean
    return at.argmax(-1, keepdim=True).to(at.dtype) if is_discrete(node) else at


def hard(node: Node) -> Tensor:
    """Return a site's mean as a decoder takes it: classes one-hot."""
    if not is_discrete(node):
        return code(node)
    classes = code(node).long().squeeze(-1)  # (n,)
    one_hot = torch.nn.functional.one_hot(classes, node.value.shape[-1])  # (n, classes)
    return one_hot.to(node.value.dtype)


def mean(p: Trace) -> Tensor:
    """Return the mean of the decoder's last site, which is the data's."""
    node = p[list(p)[-1]]
    at: Tensor = node.value if node.dist is None else node.dist.mean
    return at


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give the block a random state of its own; the caller's is untouched after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def family(build: Callable[..., Model]) -> Callable[..., Model]:
    """Let the models that a function builds remember its name and arguments, as their `config`."""

    @functools.wraps(build)
    def wrapped(*args: Any, **kwargs: Any) -> Model:
        bound = inspect.signature(build).bind(*args, **kwargs)
        bound.apply_defaults()
        model = build(*args, **kwargs)
        model.config = {"family": build.__name__, **bound.arguments}
        return model

    wrapped.is_family = True  # type: ignore[attr-defined]
    return wrapped
