"""Model: an encoder and a decoder with what everybody does with them: encode, decode, reconstruct,
sample.
"""

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
    """`encoder(x, **labels) -> q` and `decoder(x, q) -> p`, both programs that fill a `Trace`.

    The decoder must accept x = None (nothing to score) and `q.free(n)` (nothing encoded). `config`
    says how to build the model again, see `family`; a model without one is saved, but must be built
    by its user to be loaded.
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
        """The encoder's trace for items x (n, …), drawn with a random state of its own; so are
        enumerated classes.
        """
        with seeded(seed):
            trace: Trace = self.encoder(self._tensor(x))
            return trace.draw()

    def encode(self, x: Tensor | np.ndarray[Any, Any], *, seed: int = 0) -> Tensor:
        """Codes (n, units): posterior means, and class numbers for discrete sites; columns as in
        `units`.

        Sites that depend on a drawn site are given that draw, repeatable by `seed`.
        """
        return torch.cat(
            [code(node).flatten(1) for node in self.posterior(x, seed=seed).values()], -1
        )

    @torch.no_grad()
    def decode(self, **codes: Tensor) -> Tensor:
        """The decoder's mean for chosen values of every latent site, each (n, …)."""
        trace = Trace.given(**{name: self._tensor(value) for name, value in codes.items()})
        with seeded(0):  # a decoder without data draws it, though only its mean is asked for
            return mean(self.decoder(None, trace))

    @torch.no_grad()
    def reconstruct(self, x: Tensor | np.ndarray[Any, Any], *, seed: int = 0) -> Tensor:
        """The decoder's mean at the encoder's mean codes."""
        return self.decode(
            **{name: hard(node) for name, node in self.posterior(x, seed=seed).items()}
        )

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """The decoder's mean at `n` draws from the prior, shape (n, …)."""
        shape = self.config["shape"] if self.config else None
        if shape is None:
            raise ValueError(
                "this model does not know its data's shape: run its decoder on `q.free(n)` instead"
            )
        with seeded(seed):
            q = self.encoder(self._tensor(np.zeros((1, *shape), np.float32)))
            if all(node.dist is None for node in q.values()):
                raise ValueError(
                    "this model has no prior to draw from: its code is a function of x (decode "
                    "codes instead)"
                )
            return mean(self.decoder(None, q.free(n)))

    def units(self) -> list[str]:
        """Names of the latent units, in the order of the columns of `encode`."""
        shape = self.config["shape"] if self.config else ()
        q = self.posterior(np.zeros((2, *shape), np.float32))
        return [name for site, node in q.items() for name in unit_names(site, node)]

    def _tensor(self, x: Tensor | np.ndarray[Any, Any]) -> Tensor:
        """Items as the networks take them; bytes are pixels that stand for value / 255."""
        t = torch.as_tensor(
            x if isinstance(x, Tensor) else np.asarray(x), device=next(self.parameters()).device
        )
        return t.float() / 255 if t.dtype == torch.uint8 else t


def unit_names(site: str, node: Node) -> list[str]:
    """`y`, or `z[0]`, `z[1]`, … for a site of a batch of items."""
    shape = (
        unit_shape(node.dist, node.value, 1)
        if node.dist is not None
        else tuple(node.value.shape[1:])
    )
    return [site] if not shape else [f"{site}[{','.join(map(str, i))}]" for i in np.ndindex(*shape)]


def is_discrete(node: Node) -> bool:
    """Whether a site's values are classes, written one-hot or relaxed."""
    return isinstance(node.dist, (Concrete, torch.distributions.OneHotCategorical))


def code(node: Node) -> Tensor:
    """What a site says of each item in one number a unit: its mean, or its most probable class."""
    if node.dist is None:
        return node.value
    at: Tensor = node.dist.mean
    return at.argmax(-1, keepdim=True).to(at.dtype) if is_discrete(node) else at


def hard(node: Node) -> Tensor:
    """A site's mean as a decoder takes it: classes one-hot."""
    if is_discrete(node):
        classes = code(node).long().squeeze(-1)
        return torch.nn.functional.one_hot(classes, node.value.shape[-1]).to(node.value.dtype)
    return code(node)


def mean(p: Trace) -> Tensor:
    """The mean of the decoder's last site: the data's."""
    node = p[list(p)[-1]]
    at: Tensor = node.value if node.dist is None else node.dist.mean
    return at


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A random state of its own inside, the caller's untouched after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def family(build: Callable[..., Model]) -> Callable[..., Model]:
    """Marks a function that builds models: what it builds remembers the function's name and
    arguments.
    """

    @functools.wraps(build)
    def wrapped(*args: Any, **kwargs: Any) -> Model:
        bound = inspect.signature(build).bind(*args, **kwargs)
        bound.apply_defaults()
        model = build(*args, **kwargs)
        model.config = {"family": build.__name__, **bound.arguments}
        return model

    wrapped.is_family = True  # type: ignore[attr-defined]
    return wrapped
