"""A model: an encoder and a decoder, and the ways to encode, decode, reconstruct and sample."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import arguments
from ..objective import literature
from ..trace.concrete import Concrete
from ..trace.marginals import unit_shape
from ..trace.node import Node
from ..trace.trace import Trace
from .inputs import Inputs, numbers


class Model(nn.Module):
    """Two programs that fill a `Trace`: `encoder(x, **labels) -> q` and `decoder(x, q) -> p`.

    The decoder must accept x = None (nothing to score) and `q.free(n)` (nothing encoded). `config`
    says how to build the model again, see `family`; a model without one is saved, but must be built
    by its user to be loaded. `inputs` are the items that it was trained on, and decide what the
    methods below take.

    Args:
        encoder: Fills q.
        decoder: Fills p from x and q.
        sequences: Whether items are sequences of any length, the first number of their shape.
        given: Whether the decoder is given a part of x, such as a row's size and covariates.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        sequences: bool = False,
        given: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.sequences, self.given = sequences, given
        self.config: dict[str, Any] | None = None
        self.inputs: Inputs | None = None

    def forward(self, x: Tensor, **labels: Tensor) -> tuple[Trace, Trace]:
        q = self.encoder(x, **labels)
        return q, self.decoder(x, q)

    @torch.no_grad()
    def posterior(self, x: Any, *, seed: int = 0) -> Trace:
        """Return the encoder's trace for items x (n, …); enumerated classes are drawn, too.

        The draws have a random state of their own, from `seed`.

        Raises:
            ValueError: If the items are not as those that the model was trained on.
        """
        return self._posterior(self._tensor(x), seed)

    def encode(self, x: Any, *, seed: int = 0) -> Tensor:
        """Return codes (n, units): posterior means, and class numbers for discrete sites.

        Columns are as in `units`. Sites that depend on a drawn site are given that draw, repeatable
        by `seed`.

        Args:
            x: Items (n, …): an array of any precision, a tensor, a list, a data frame or a mapping
                of columns, whose names bring them in order (`Inputs.tensor`).
            seed: The seed of the draws.

        Raises:
            ValueError: If the items are not as those that the model was trained on.
        """
        q = self.posterior(x, seed=seed)
        codes = [code(node).flatten(1) for node in q.values()]
        return torch.cat(codes, -1)

    @torch.no_grad()
    def decode(self, **codes: Any) -> Tensor:
        """Return the decoder's mean for chosen values of every latent site, each (n, …).

        Classes are one-hot, or numbers of an integer type.

        Raises:
            KeyError: If a site is unknown, or not given.
            ValueError: If a site's values have another shape than its units.
        """
        sites = self._sites()
        lacking = [name for name in sites or () if name not in codes]
        if lacking and lacking != list(sites or ()):
            given = ", ".join(codes)
            fix = ", ".join(f"{name}=..." for name in lacking)
            raise KeyError(
                f"decode() was given {given}, but not {', '.join(lacking)}: give every latent site "
                f"its values, decode({given}=..., {fix}); `encode` and `traverse` find them from "
                "items, and `sample(n)` draws all of them"
            )
        values = {name: self._code(name, value, sites) for name, value in codes.items()}
        with seeded(0):  # a decoder without data draws it, though only its mean is asked for
            return mean(self.decoder(None, Trace.given(**values)))

    @torch.no_grad()
    def reconstruct(self, x: Any, *, seed: int = 0) -> Tensor:
        """Return the decoder's mean at the encoder's mean codes; x as for `encode`.

        The decoder is shown those parts of x alone that it is given, such as a row's size.
        """
        items = self._tensor(x)
        q = self._posterior(items, seed)
        codes = {name: hard(node) for name, node in q.items()}
        if not self.given:
            return self.decode(**codes)
        return mean(self.decoder(items, Trace.given(**codes)))

    @torch.no_grad()
    def traverse(
        self, unit: str, x: Any, values: Sequence[float] | None = None, *, seed: int = 0
    ) -> Tensor:
        """Return the decoder's mean as one unit moves and the others stay at the items' codes.

        Args:
            unit: The unit by its name in `units`, such as "z[3]" or "y".
            x: Items (n, …) as for `encode`.
            values: The unit's values, or its class numbers; by default −2 to 2 in nine steps, or
                every class.
            seed: The seed of the draws of sites that others depend on.

        Returns:
            (values, n, …).

        Raises:
            KeyError: If there is no such unit.
        """
        q = self.posterior(x, seed=seed)
        codes = {name: hard(node) for name, node in q.items()}
        site, place = _place(unit, q)
        discrete = is_discrete(q[site])
        classes = codes[site].shape[-1] if discrete else 0
        if values is None:
            values = range(classes) if discrete else np.linspace(-2, 2, 9).tolist()
        moved = []
        for value in values:
            at = codes[site].clone(memory_format=torch.contiguous_format)
            if discrete:
                chosen = torch.nn.functional.one_hot(torch.tensor(int(value)), classes)
                at.view(len(at), -1, classes)[:, place] = chosen.to(at)  # (n, units, classes)
            else:
                at.view(len(at), -1)[:, place] = value  # (n, units)
            moved.append(self.decode(**codes | {site: at}))
        return torch.stack(moved)

    @torch.no_grad()
    def elbo(self, x: Any, *, seed: int = 0) -> Tensor:
        r"""Return the evidence lower bound of each item in nats, by one draw of z, shape (n,).

        .. math:: \log p(x|z) - \mathrm{KL}(q(z|x) \| p(z)) \le \log p(x) \text{ on average}

        Divergences of a closed form are exact, and classes are summed over where the encoder does.

        Raises:
            ValueError: If the items are not as those that the model was trained on, or the model
                has no prior.
        """
        items = self._tensor(x)
        with seeded(seed):
            q, p = self(items)
            return literature.elbo(q, p)

    @torch.no_grad()
    def log_prob(self, x: Any, draws: int = 100, *, seed: int = 0) -> Tensor:
        r"""Return an importance-weighted estimate of log p(x) of each item in nats, shape (n,).

        .. math:: \log \frac{1}{S} \sum_s \frac{p(x, z_s)}{q(z_s|x)}, \quad z_s \sim q(z|x)

        It is a lower bound on average, closer with more draws (Burda et al., 2016).

        Args:
            x: Items (n, …) as for `encode`.
            draws: The number of draws S of each item, all of them in memory at once.
            seed: The seed of the draws.

        Raises:
            ValueError: If `draws` is less than 1, if the encoder takes no dimension of draws before
                the items', or as for `elbo`.
        """
        if draws < 1:
            raise ValueError(f"draws={draws}: expected 1 or more draws of each item")
        items = self._tensor(x)
        with seeded(seed):
            repeated = items.expand(draws, *items.shape)  # (draws, n, …)
            try:
                q = self.encoder(repeated)
            except RuntimeError as error:
                raise ValueError(
                    f"this model's encoder failed on items of shape {tuple(repeated.shape)}, draws "
                    f"before items ({error}): take fewer draws if memory is short, or `elbo` if it "
                    "takes one dimension of items alone"
                ) from error
            p = self.decoder(repeated, q)
            estimate: Tensor = literature.evidence(q, p, batch_dim=1)
            return estimate.reshape(-1, len(items))[0]  # the same at every draw

    @torch.no_grad()
    def impute(self, x: Any, draws: int = 1, *, seed: int = 0) -> Tensor:
        r"""Draw the numbers that are missing in items, given those that are known.

        .. math:: x_{\text{missing}} \sim \int q(z|x_{\text{known}}) p(x_{\text{missing}}|z) dz

        Each draw has a code of its own, so the draws' spread is the uncertainty of code and noise.

        Args:
            x: Items (n, …) as for `encode`, with NaN where a number is missing.
            draws: How many draws.
            seed: The seed of the draws.

        Returns:
            (draws, n, …); what is known is the same in all of them.

        Raises:
            ValueError: If the model was trained without missing numbers, or its x has no
                distribution to draw from.
        """
        items = self._tensor(x)
        found = []
        with seeded(seed):
            for _ in range(draws):
                q = self.encoder(items).draw()
                p = self.decoder(items, q)
                site = p[list(p)[-1]]
                if site.dist is None:
                    raise ValueError("this model's x is scored without a distribution to draw from")
                found.append(torch.where(items.isnan(), site.dist.sample(), items))
        return torch.stack(found)

    @torch.no_grad()
    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Return the decoder's mean at `n` draws from the prior, shape (n, …).

        Raises:
            ValueError: The model does not know its data's shape, or has no prior; n is below 0.
        """
        if n < 0:
            raise ValueError(f"n={n}: expected a number of draws, 0 or more")
        shape = self.config["shape"] if self.config else None
        if shape is None:
            raise ValueError(
                "this model does not know its data's shape: run its decoder on `q.free(n)` instead"
            )
        item = self._zeros(1, shape)
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
        q = self._posterior(self._zeros(2, shape))
        names = []
        for site, node in q.items():
            names += unit_names(site, node)
        return names

    @torch.no_grad()
    def _posterior(self, items: Tensor, seed: int = 0) -> Trace:
        with seeded(seed):
            trace: Trace = self.encoder(items)
            return trace.draw()

    def _tensor(self, x: Any) -> Tensor:
        """Return items as the networks take them."""
        known = self.inputs
        if known is None:
            known = Inputs(tuple(self.config["shape"]) if self.config else None)
        return known.tensor(x, next(self.parameters()), sequences=self.sequences)

    def _zeros(self, n: int, shape: Sequence[int]) -> Tensor:
        return next(self.parameters()).new_zeros((n, *shape))

    def _sites(self) -> Trace | None:
        """Return a posterior with all latent sites, if they are known and do not depend on x."""
        if self.config is None or self.sequences:
            return None
        modes = [(part, part.training) for part in self.modules()]
        self.eval()  # two items of zeros are not to move what batch normalisation has seen
        sites = self._posterior(self._zeros(2, self.config["shape"]))
        for part, mode in modes:
            part.training = mode
        return sites

    def _code(self, name: str, value: Any, sites: Trace | None) -> Tensor:
        """Return a site's values as the decoder takes them; class numbers stay whole."""
        weight = next(self.parameters())
        if sites is None:
            given = numbers(value)
            may_be_classes = given.ndim == 1 and not given.is_floating_point()
            return given.long().to(weight.device) if may_be_classes else given.to(weight)
        if name not in sites:
            raise KeyError(f"no site {name!r}; the model's latent sites are {', '.join(sites)}")
        node = sites[name]
        unit = tuple(node.value.shape[1:])
        given = numbers(value, unit_names(name, node))
        are_classes = is_discrete(node) and not given.is_floating_point()
        if are_classes and given.ndim == len(unit):
            return given.long().to(weight.device)
        shape = tuple(given.shape)
        if len(shape) <= len(unit) or shape[len(shape) - len(unit) :] != unit:
            expected = ", ".join(map(str, ("n", *unit)))
            classes = ", or class numbers of an integer type" if is_discrete(node) else ""
            raise ValueError(
                f"site {name!r}: the values have shape {shape}; expected ({expected}){classes}: "
                f"one row an item, {name}[None] for a single one"
            )
        return given.to(weight)


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


def _place(unit: str, q: Trace) -> tuple[str, int]:
    """Return the site of a unit, and its number among the site's units."""
    known: list[str] = []
    for site, node in q.items():
        names = unit_names(site, node)
        if unit in names:
            return site, names.index(unit)
        known += names
    raise KeyError(f"no unit {unit!r}; the model's units are {', '.join(known)}")


def is_discrete(node: Node) -> bool:
    """Return true if a site's values are classes, written one-hot or relaxed."""
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
    """Let the models that a function builds remember its name and arguments, as their `config`.

    Arguments of other types, and beyond the limits in their types, are refused.
    """

    @functools.wraps(build)
    def wrapped(*args: Any, **kwargs: Any) -> Model:
        bound = arguments.bound(inspect.signature(build), *args, **kwargs)
        arguments.check(build, bound.arguments)
        model = build(*bound.args, **bound.kwargs)
        model.config = {"family": build.__name__, **bound.arguments}
        return model

    wrapped.is_family = True  # type: ignore[attr-defined]
    return wrapped
