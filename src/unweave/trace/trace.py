"""A trace records the named random variables (sites) of one run of a probabilistic program.

An encoder fills a trace `q`, a decoder fills a trace `p` and takes the encoder's values by name:

    >>> import torch, unweave as uw
    >>> q, p = uw.Trace(), uw.Trace()
    >>> z = q.normal(torch.zeros(5, 2), 0.5, name="z")
    >>> z = p.normal(0.0, 1.0, value=q["z"], name="z")
    >>> q["z"].role, p["z"].role, p["z"].log_prob.shape
    ('sampled', 'reused', torch.Size([5, 2]))

Shapes read `(*samples, batch, *units)` throughout, followed by a distribution's event dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal, OneHotCategorical, constraints

from .marginals import lacking, mapped, take

Role = Literal["sampled", "enumerated", "observed", "reused", "scored", "free"]

MOST_CLASSES = 4096
"""How many combinations of classes are summed over at most."""


class Concrete(Distribution):
    r"""The Concrete relaxation of a categorical variable on K classes.

    .. math:: \log p(y) = \log (K-1)! + (K-1) \log τ + \sum_k (a_k - (τ+1) \log y_k)
                          - K \log \sum_k \exp(a_k - τ \log y_k)

    with logits `a` (*batch, K), unnormalised, and temperature τ > 0; values lie on the simplex. A
    *label* is a draw of the discrete variable that is being relaxed, so labels are scored by
    `log_mass`, its log-probability: the density is infinite at the simplex' corners. Entries that
    float arithmetic rounds to zero are read as the smallest normal number.

    Source: Maddison, Mnih and Teh, "The Concrete Distribution" (2017); Jang, Gu and Poole (2017).
    """

    arg_constraints: dict[str, Any] = {"logits": constraints.real_vector}  # noqa: RUF012
    support = constraints.simplex
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: float | Tensor) -> None:
        self.logits, self.temperature = logits, temperature
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Class probabilities of the relaxed variable (the mean of its argmax, written one-hot)."""
        return self.logits.softmax(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Concrete:
        return Concrete(self.logits.expand(*batch_shape, -1), self.temperature)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.empty(
            self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device
        )
        gumbel = -noise.exponential_().clamp_min(torch.finfo(noise.dtype).tiny).log()
        return ((self.logits + gumbel) / self.temperature).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        k, t = self.logits.shape[-1], self.temperature
        log_y = value.clamp_min(torch.finfo(value.dtype).tiny).log()
        linear = self.logits.sum(-1) - (t + 1) * log_y.sum(-1)
        log_t = t.log() if isinstance(t, Tensor) else math.log(t)
        return linear - k * self._log_normaliser(log_y) + (math.lgamma(k) + (k - 1) * log_t)

    def _log_normaliser(self, log_y: Tensor) -> Tensor:
        """log Σ_k exp(a_k − τ log y_k).

        Where items meet components pair by pair, (items, …, 1, K) and (…, components, K), it is one
        matrix product: Σ_k exp(a_jk) exp(−τ log y_ik), each row scaled by its maximum. Terms are
        positive, so nothing cancels. As y is at least the smallest normal number, no sum is below
        its τ-th power: for τ ≤ 0.9 that leaves room for the reciprocals that the gradient adds up
        over items.
        """
        a, b = self.logits, -self.temperature * log_y
        pairs = b.ndim == a.ndim + 1 and b.shape[-2] == 1 < a.shape[-2]
        if not pairs or isinstance(self.temperature, Tensor) or self.temperature > 0.9:
            return (a + b).logsumexp(-1)
        top_a, top_b = a.detach().amax(-1, keepdim=True), b.detach().amax(-1, keepdim=True)
        total = torch.einsum("i...k,...jk->i...j", (b - top_b).exp().squeeze(-2), (a - top_a).exp())
        return total.log() + top_a.squeeze(-1) + top_b.squeeze(-1)

    def log_mass(self, label: Tensor) -> Tensor:
        """log-probability of one-hot (or soft) labels under the relaxed categorical variable."""
        return (label * self.logits.log_softmax(-1)).sum(-1)


@dataclass(frozen=True)
class Outer:
    """The dimensions in front of `(*samples, batch)`, here `lead`, that run over the classes of
    enumerated sites.

    Each enumerated site puts one in front of those before it. A tensor has those that it depends
    on, and none further to the left.
    """

    sizes: tuple[int, ...]
    lead: tuple[int, ...]

    def count(self, shape: Sequence[int], what: str) -> int:
        """How many of these dimensions a tensor of this shape has."""
        n, depth = len(self.lead), len(self.sizes)
        fits = [
            e
            for e in range(min(depth, len(shape)) + 1)
            if tuple(shape[e : e + n]) == self.lead
            and all(
                size in (1, k) for size, k in zip(shape[:e], self.sizes[depth - e :], strict=True)
            )
        ]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise ValueError(
                f"{what} has shape {tuple(shape)}, in which classes {self.sizes} and items "
                f"{self.lead} cannot be told apart: choose another batch size"
            )
        raise ValueError(
            f"{what} has shape {tuple(shape)}: expected (*classes, *samples, batch, …) with "
            f"classes {self.sizes} (as many of the last as it depends on) and items {self.lead}; "
            "unweave.nets.cat joins tensors that differ in them"
        )


@dataclass(frozen=True)
class Law:
    """A distribution as a function: `of(*values of the sites given, *inputs)`; `inputs` are
    (*samples, batch, …).
    """

    of: Callable[..., Distribution]
    given: tuple[str, ...]
    inputs: tuple[Tensor, ...]

    def changed(self, change: Callable[[Tensor], Tensor]) -> Law:
        return replace(self, inputs=tuple(map(change, self.inputs)))


@dataclass(frozen=True)
class Node:
    """One site: its value, where the value came from, and its log-density, computed when first
    asked for.

    `observed` says which entries of `(*samples, batch, *units)` were given rather than drawn: True,
    False, or a boolean tensor (labels may be missing item by item). `exists` says which entries
    there are at all: True, or a boolean tensor; those that are not are marked observed, and their
    log-densities mean nothing. `outer` are the trace's enumerated dimensions, this site's own
    included; at an enumerated site, `label` holds what was given where it was.
    """

    value: Tensor
    role: Role
    dist: Distribution | None = None
    observed: Tensor | bool = False
    score: Tensor | None = None
    outer: Outer | None = None
    label: Tensor | None = None
    exists: Tensor | bool = True
    law: Law | None = None

    @cached_property
    def log_prob(self) -> Tensor:
        """log-density in nats: `(*samples, batch, *units)` for distributions, per item or finer for
        scores.
        """
        if self.score is not None:
            return self.score
        if self.dist is None:
            raise ValueError(
                f"a site that is {self.role} without a distribution has no log-density"
            )
        if isinstance(self.dist, Concrete) and self.observed is not False:
            mass = self.dist.log_mass(self.value)
            if self.observed is True:
                return mass
            return torch.where(torch.as_tensor(self.observed), mass, self.dist.log_prob(self.value))
        log_prob: Tensor = self.dist.log_prob(self.value)
        return log_prob

    def log_weight(self, depth: int, *, given: bool = True) -> Tensor:
        """log q(y|x) of an enumerated site's classes, in their dimension of `depth`; 0 and −∞ where
        y is `given`.
        """
        assert self.dist is not None
        assert self.outer is not None
        own = depth - len(self.outer.sizes)
        logits: Tensor = self.dist.logits  # type: ignore[attr-defined]
        at = depth + len(self.outer.lead) - logits.ndim + 1
        log_w = logits.reshape(*[1] * at, *logits.shape).transpose(own, -1).squeeze(-1)
        if self.label is None or not given:
            return log_w
        label = self.label.log().transpose(own, -1).squeeze(-1)
        return torch.where(torch.as_tensor(self.observed), label, log_w)


class Trace(Mapping[str, Node]):
    """A write-once, ordered mapping from names to sites; `repr` prints it as a table of shapes.

    Each site method returns the site's value, a tensor, so programs read like mathematics. `value=`
    decides what the site does: nothing or None draws from the distribution (reparameterised where
    it can be), a tensor observes it, a site of another trace reuses that site's value, and a free
    site (see `free`) draws afresh at its shape.

    Values may be missing item by item: entries where the boolean `observed=` is False, and class
    numbers below zero, are drawn instead. Integer values of categorical and Concrete sites are
    class numbers, floats one-hot.

    Entries may not exist at all: steps beyond the end of a sequence, objects beyond a count.
    `where=`, boolean and shaped like `observed=`, says which do. The others hold a draw (of
    enumerated sites: the first class) that leaves every block and counts in no term, so padded
    items score as unpadded ones do. A decoder that reuses the value needs no mask for that, but for
    what else it makes of the draw. A mask that differs between the classes of an enumerated site, a
    count, has that dimension in front. Of q(z) a block is then given that its entries exist: row i
    meets S_i, the items that have all that it has, log Σ_S w_ij q(block_i|x_j) − log Σ_S w_ij.

    A categorical site without a value is not drawn but *enumerated*: its value holds every class in
    a new dimension in front, `(classes, *samples, batch, classes)` one-hot, and objectives sum over
    it with weights q(y|x), exactly. The sites after it carry that dimension where they depend on it
    (`nets.cat` joins tensors that differ in it). That holds for programs that read no other trace;
    one that does, a decoder, draws what it is not given, and so does
    `sample(OneHotCategorical(logits=...), name=...)` anywhere. `draw` picks classes, item by item.

    Errors: ValueError for a name used twice or a value whose shape does not fit; KeyError, listing
    the sites, for an unknown name.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._outer: Outer | None = None
        self._reads = self._is_aligned = False

    @staticmethod
    def given(**values: Tensor) -> Trace:
        """A trace whose sites hold chosen values: run a decoder on it for traversals and
        interventions.
        """
        trace = Trace()
        for name, value in values.items():
            trace._add(name, Node(value, "observed", observed=True))
        return trace

    def free(self, n: int, *, batch_dim: int = 0, **values: Tensor) -> Trace:
        """The same sites for `n` new items, to be drawn by the program that reads them, except
        those in `values`.

        >>> import torch, unweave as uw
        >>> q = uw.Trace()
        >>> _ = q.normal(torch.zeros(5, 2), 0.5, name="z")
        >>> p = uw.Trace()
        >>> p.normal(0.0, 1.0, value=q.free(64)["z"], name="z").shape
        torch.Size([64, 2])
        """
        for name in values:
            self[name]
        trace = Trace()
        for name, node in self.draw().items():
            if node.dist is None:
                continue
            if name in values:
                trace._add(name, Node(values[name], "observed", observed=True))
            else:
                shape = node.value.shape[batch_dim + 1 :]
                trace._add(name, Node(node.value.new_empty(()).expand(n, *shape), "free"))
        return trace

    def take(self, index: Tensor, *, batch_dim: int = 0) -> Trace:
        """The same trace for some of its items, by their numbers."""
        trace, whole = Trace(), self.aligned()
        trace._is_aligned = whole._is_aligned
        dim = batch_dim + len(self.classes())
        if self._outer:
            lead = self._outer.lead
            trace._outer = Outer(
                self._outer.sizes, (*lead[:batch_dim], len(index), *lead[batch_dim + 1 :])
            )
        for name, node in whole.items():
            size = node.value.shape[dim]
            parts: dict[str, Any] = {"value": node.value.index_select(dim, index)}
            if node.dist is not None:
                missing = lacking(node.dist, node.value)
                parts["dist"] = (
                    take(node.dist, index, dim - missing, size) if dim >= missing else node.dist
                )
            if node.outer and trace._outer:
                parts["outer"] = Outer(node.outer.sizes, trace._outer.lead)
            for key in ("observed", "score", "label", "exists"):
                t = getattr(node, key)
                if isinstance(t, Tensor) and t.ndim > dim and t.shape[dim] == size:
                    parts[key] = t.index_select(dim, index)
            if node.law:
                parts["law"] = node.law.changed(lambda t: t.index_select(dim, index))
            trace._nodes[name] = replace(node, **parts)
        return trace

    def classes(self) -> dict[str, int]:
        """The enumerated sites, each with the leading dimension that runs over its classes (see
        `aligned`).
        """
        sites = [name for name, node in self.items() if node.role == "enumerated"]
        return {name: len(sites) - 1 - i for i, name in enumerate(sites)}

    def draw(self) -> Trace:
        """The same trace with one class an item at its enumerated sites, drawn in turn.

        The classes of labelled items are their labels. Sites keep the values that they have for the
        drawn classes.
        """
        trace, picks, outer = Trace(), list[Tensor](), self._outer
        if outer is None:
            return self
        grid = torch.meshgrid(*(torch.arange(size) for size in outer.lead), indexing="ij")

        def at(t: Tensor) -> Tensor:
            """(*classes, *lead, …) -> (*lead, …) at the classes that were picked."""
            e = outer.count(t.shape, "a site's parameter")
            known = [torch.zeros_like(grid[0])] * (e - len(picks)) + picks[max(len(picks) - e, 0) :]
            places = [k if size > 1 else k * 0 for k, size in zip(known, t.shape, strict=False)]
            return t[(*places, *(g.to(t.device) for g in grid))]

        def fits(shape: torch.Size) -> bool:
            return len(shape) >= len(outer.lead) and outer.lead in (
                tuple(shape[e : e + len(outer.lead)]) for e in range(len(outer.sizes) + 1)
            )

        for name, node in self.items():
            dist = node.dist and mapped(
                node.dist, fits, at, lambda shape: shape[outer.count(shape, "a site") :]
            )
            value, score = node.value, node.score
            observed, exists = (
                at(t) if isinstance(t, Tensor) else t for t in (node.observed, node.exists)
            )
            if node.role == "enumerated":
                assert isinstance(dist, OneHotCategorical)
                value = dist.sample()
                if node.label is not None:
                    value = torch.where(torch.as_tensor(observed)[..., None], at(node.label), value)
                picks.insert(0, value.argmax(-1))
            elif node.outer is not None or self._is_aligned:
                value = at(value)
            if score is not None and (node.outer is not None or self._is_aligned):
                score = at(score)
            role: Role = "sampled" if node.role == "enumerated" else node.role
            law = node.law and node.law.changed(at)
            trace._add(name, Node(value, role, dist, observed, score, exists=exists, law=law))
        return trace

    def aligned(self, depth: int = 0) -> Trace:
        """The same trace with every enumerated dimension at every site, of size one where it does
        not depend on it.

        A trace without any gets `depth` of them.
        """
        outer = self._outer
        depth = max(depth, len(outer.sizes) if outer else 0)
        if not depth or self._is_aligned:
            return self
        trace = Trace()
        trace._outer, trace._is_aligned = outer, True
        for name, node in self.items():
            own = node.value if node.score is None else node.score
            parts: dict[str, Any] = {}
            for key in ("value", "score", "label", "observed", "exists"):
                t = getattr(node, key)
                if isinstance(t, Tensor):
                    shape = own.shape if key in ("value", "score") else t.shape
                    missing = depth - _classes(outer, shape, f"site {name!r}")
                    parts[key] = t.reshape(*[1] * missing, *t.shape)
            if node.law:
                parts["law"] = node.law.changed(
                    lambda t: t.reshape(*[1] * (depth - _classes(outer, t)), *t.shape)
                )
            trace._nodes[name] = replace(node, **parts)
        return trace

    # -- the sites ---------------------------------------------------------------------------------

    def sample(
        self,
        dist: Distribution,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """A site with any `torch.distributions` distribution: the one primitive under the sugar
        below.
        """
        dist._validate_args = False  # our own checks are made once, not at each evaluation
        if isinstance(value, Node) and where is not None:
            raise ValueError(
                f"site {name!r} takes its value from another trace, which says where it exists: "
                "leave out where="
            )
        if isinstance(value, Node):
            self._reads = True
            if value.outer is not None and (
                self._outer is None or len(value.outer.sizes) > len(self._outer.sizes)
            ):
                self._outer = value.outer
        if isinstance(value, Node) and value.role == "free":
            batch_shape = value.value.shape[: value.value.ndim - len(dist.event_shape)]
            return self._add(name, Node(_draw(dist.expand(batch_shape)), "sampled", dist))
        if isinstance(value, Node) and value.dist is not None:
            _check_shape(name, dist, value.value, self._outer)
            reused = Node(
                value.value, "reused", dist, value.observed, label=value.label, exists=value.exists
            )
            return self._add(name, reused)
        if isinstance(
            value, Node
        ):  # chosen by `given` or `free`, in the words of a label: class numbers, one-hot
            given, present = _given(name, dist, value.value, observed, self._outer)
            return self._add(name, Node(given, "reused", dist, present))
        if value is None:
            node = Node(_draw(dist), "sampled", dist)
        else:
            given, present = _given(name, dist, value, observed, self._outer)
            node = Node(given, "observed", dist, present)
        return self._add(name, node if where is None else _in_part(name, node, where, self._outer))

    def conditional(
        self,
        of: Callable[..., Distribution],
        given: str | Sequence[str],
        *inputs: Tensor,
        name: str,
        value: Tensor | Node | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """A site with the distribution `of(*values of earlier sites given, *inputs)`, such as q(z_t
        | z_{t-1}, h_t).

        `sample` records the distribution at the values that were drawn; this site can be asked for
        it at others. In q(z) a block with z_t and all that it is given, Σ_n w_n q(z_{t-1}|x_n)
        q(z_t | z_{t-1}, x_n), then takes item n's at the row's z_{t-1}. `of` must broadcast: values
        come as (rows, *samples, 1, …) and `inputs`, which are (*samples, batch, …), as they are. In
        a block without z_{t-1} the draw of item n stands for the integral over it: right in the
        mean for other items than the row's own, whose draw z_t was made from.

        In p it says what a prior depends on, so `inputs` are to come from no other latent: of a
        `sample` whose prior differs between items, any site before it may be a parent, and log p of
        a block without it is averaged over draws.

        >>> import torch, unweave as uw
        >>> from torch.distributions import Normal
        >>> q, h = uw.Trace(), torch.zeros(5, 2)
        >>> before = q.normal(h, 1.0, name="z_0")
        >>> q.conditional(lambda z, h: Normal(z + h, 1.0), "z_0", h, name="z_1").shape
        torch.Size([5, 2])
        """
        law = Law(of, (given,) if isinstance(given, str) else tuple(given), inputs)
        self.sample(
            of(*(self[site].value for site in law.given), *inputs), value, name=name, where=where
        )
        self._nodes[name] = replace(self._nodes[name], law=law)
        return self._nodes[name].value

    def normal(
        self,
        loc: float | Tensor,
        scale: float | Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Normal(loc, scale); `scale` is the standard deviation. Numbers broadcast: `p.normal(0.0,
        1.0, …)`.
        """
        loc, scale = _like(loc, scale, value), _like(scale, loc, value)
        return self.sample(
            Normal(loc, scale, validate_args=False),
            value,
            name=name,
            observed=observed,
            where=where,
        )

    def concrete(
        self,
        logits: Tensor,
        temperature: float | Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Concrete relaxation of a categorical with log weights `logits`; labels one-hot or as
        class numbers.
        """
        return self.sample(
            Concrete(logits, temperature), value, name=name, observed=observed, where=where
        )

    def categorical(
        self,
        logits: Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Categorical with log weights `logits`, values one-hot; labels one-hot or as class
        numbers.

        Without a value, or where it is missing, all classes are enumerated (see `Trace`).
        """
        dist = OneHotCategorical(logits=logits, validate_args=False)
        if self._reads or isinstance(value, Node):
            return self.sample(dist, value, name=name, observed=observed, where=where)
        given, present = (
            (None, False) if value is None else _given(name, dist, value, observed, self._outer)
        )
        if given is not None and (present is True or _all_known(torch.as_tensor(present))):
            return self.sample(dist, given, name=name, where=where)
        return self._enumerate(dist, name, given, present, where)

    def _enumerate(
        self,
        dist: OneHotCategorical,
        name: str,
        label: Tensor | None,
        observed: Tensor | bool,
        where: Tensor | None,
    ) -> Tensor:
        classes, before = dist.event_shape[-1], self._outer or Outer((), tuple(dist.batch_shape))
        before.count(dist.batch_shape, f"the logits of site {name!r}")
        outer = Outer((classes, *before.sizes), before.lead)
        if math.prod(outer.sizes) > MOST_CLASSES:
            raise ValueError(
                f"site {name!r} makes {' x '.join(map(str, reversed(outer.sizes)))} combinations "
                f"of classes to sum over, expected at most {MOST_CLASSES}: relax it with "
                "q.concrete(logits, temperature, …), give its value, or draw it, without a "
                "gradient, by q.sample(OneHotCategorical(logits=…), …)"
            )
        self._outer = outer
        logits: Tensor = dist.logits
        eye = torch.eye(classes, dtype=logits.dtype, device=logits.device)
        value = eye.reshape(classes, *[1] * (len(before.sizes) + len(outer.lead)), classes)
        value = value.expand(classes, *[1] * len(before.sizes), *outer.lead, classes)
        if where is None:
            return self._add(name, Node(value, "enumerated", dist, observed, label=label))
        exists = _mask(name, where, outer.lead, outer)
        label = torch.where(exists.unsqueeze(-1), eye[0] if label is None else label, eye[0])
        return self._add(
            name, Node(value, "enumerated", dist, observed | ~exists, label=label, exists=exists)
        )

    def bernoulli(
        self,
        logits: Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Bernoulli with log odds `logits`; grey values in [0, 1] are scored by their
        cross-entropy.
        """
        dist = Bernoulli(logits=logits, validate_args=False)
        return self.sample(dist, value, name=name, observed=observed, where=where)

    def loss(
        self,
        fn: Callable[[Tensor, Tensor], Tensor],
        input: Tensor,
        target: Tensor | None = None,
        *,
        name: str,
    ) -> Tensor:
        """Scores `-fn(input, target)` as a log-density and returns `input`; without a target it
        scores nothing.

        `fn` must not average over the batch: it returns one number an item, or finer (then summed
        per item).
        """
        if target is None:
            return self._add(name, Node(input, "free"))
        cost = fn(input, target)
        if cost.ndim == 0:
            raise ValueError(
                f"the loss at site {name!r} returned one number for the whole batch; expected one "
                "an item: use a function that does not reduce, such as "
                "torch.nn.BCELoss(reduction='none')"
            )
        return self._add(name, Node(input, "scored", score=-cost))

    def factor(self, log_prob: Tensor, *, name: str) -> Tensor:
        """Adds the log-factor `log_prob` (*samples, batch), or finer, to the program's density."""
        return self._add(name, Node(log_prob, "scored", score=log_prob))

    # -- the mapping -------------------------------------------------------------------------------

    def _add(self, name: str, node: Node) -> Tensor:
        if name in self._nodes:
            raise ValueError(
                f"site {name!r} is already in this trace: each name is used once, give this one "
                "another"
            )
        self._nodes[name] = node if self._outer is None else replace(node, outer=self._outer)
        return node.value

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            sites = ", ".join(map(repr, self._nodes)) or "none yet"
            raise KeyError(f"no site {name!r} in this trace; its sites are: {sites}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        rows = [("site", "role", "distribution", "value")]
        for name, node in self.items():
            dist = (
                "score"
                if node.score is not None
                else type(node.dist).__name__
                if node.dist
                else "-"
            )
            some = (
                " in part" if isinstance(node.observed, Tensor) and node.role == "observed" else ""
            )
            rows.append((name, node.role + some, dist, str(tuple(node.value.shape))))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        return "\n".join(lines)


def _classes(outer: Outer | None, t: Tensor | Sequence[int], what: str = "an input") -> int:
    """How many of the enumerated dimensions a tensor, or a shape, has in front."""
    return outer.count(t.shape if isinstance(t, Tensor) else t, what) if outer else 0


def _all_known(present: Tensor) -> bool:
    """Whether no label is missing, where that can be known without waiting for an accelerator or
    for other ranks.
    """
    shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    return present.device.type == "cpu" and not shared and bool(present.all())


def _draw(dist: Distribution) -> Tensor:
    drawn: Tensor = dist.rsample() if dist.has_rsample else dist.sample()
    return drawn


def _like(number: float | Tensor, *others: float | Tensor | Node | None) -> Tensor:
    """Numbers become tensors at the precision and device of the first tensor among the others."""
    if isinstance(number, Tensor):
        return number
    tensors = (other.value if isinstance(other, Node) else other for other in others)
    like = next((t for t in tensors if isinstance(t, Tensor)), torch.empty(()))
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return torch.tensor(number, dtype=dtype, device=like.device)


def _check_shape(name: str, dist: Distribution, value: Tensor, outer: Outer | None = None) -> None:
    event = len(dist.event_shape)
    fits = value.shape[value.ndim - event :] == dist.event_shape if event <= value.ndim else False
    entries = value.shape[: value.ndim - event]
    if fits and entries == dist.batch_shape:
        return
    try:
        full = torch.broadcast_shapes(dist.batch_shape, entries)
    except RuntimeError:
        fits, full = False, value.shape
    if fits and outer is not None:  # one value may serve all classes
        full = full[outer.count(full, f"site {name!r}") :]
        entries = entries[max(len(entries) - len(full), 0) :]
    if not fits or full != entries:
        wanted = (*dist.batch_shape, *dist.event_shape)
        raise ValueError(
            f"site {name!r}: the value has shape {tuple(value.shape)}, but its "
            f"{type(dist).__name__} describes values of shape {wanted} (leading dimensions may be "
            "added): give one value per entry"
        )


def _in_part(name: str, node: Node, where: Tensor, outer: Outer | None) -> Node:
    """The node whose entries exist in part: the others are drawn, for their values to be of the
    distribution's kind.
    """
    assert node.dist is not None
    event = len(node.dist.event_shape)
    entries = node.value.shape[: node.value.ndim - event]
    exists = _mask(name, where, entries, outer)
    value = node.value
    if node.role == "observed":
        drawn = _draw(node.dist.expand(torch.broadcast_shapes(node.dist.batch_shape, entries)))
        value = torch.where(exists.reshape(*exists.shape, *[1] * event), value, drawn)
    return replace(
        node, value=value, observed=node.observed is True or node.observed | ~exists, exists=exists
    )


def _mask(name: str, where: Tensor, entries: Sequence[int], outer: Outer | None) -> Tensor:
    """Which entries exist, with sizes of one for the units that are not told apart; classes may be
    in front.
    """
    lead, own = (
        _classes(outer, shape, f"where= of site {name!r}") for shape in (where.shape, entries)
    )
    shape, full = tuple(where.shape[lead:]), tuple(entries[own:])
    if shape != full[: len(shape)]:
        raise ValueError(
            f"site {name!r}: where= has shape {tuple(where.shape)}, but the site's entries have "
            f"shape {tuple(entries)}: give one boolean an entry, or one for each of the first "
            "dimensions"
        )
    return where.bool().reshape(*where.shape, *[1] * (len(full) - len(shape)))


def _given(
    name: str,
    dist: Distribution,
    value: Tensor,
    observed: Tensor | None,
    outer: Outer | None = None,
) -> tuple[Tensor, Tensor | bool]:
    """A given value and which of its entries were given; the others are drawn."""
    event, present = len(dist.event_shape), None
    if isinstance(dist, (Concrete, OneHotCategorical)) and not value.is_floating_point():
        classes, present = dist.event_shape[-1], value >= 0
        if value.device.type == "cpu" and value.numel() and int(value.max()) >= classes:
            raise ValueError(
                f"site {name!r}: class number {int(value.max())} given, expected 0 to "
                f"{classes - 1}, or below zero where the class is missing"
            )
        value = torch.nn.functional.one_hot(value.long().clamp_min(0), classes).to(
            dist.logits.dtype
        )
    _check_shape(name, dist, value, outer)
    if observed is not None:
        entries = value.shape[: value.ndim - event]
        if observed.shape != entries[: observed.ndim]:
            raise ValueError(
                f"site {name!r}: observed= has shape {tuple(observed.shape)}, but the value's "
                f"entries have shape {tuple(entries)}: give one boolean an entry, or one for each "
                "of the first dimensions"
            )
        observed = observed.bool().reshape(*observed.shape, *[1] * (len(entries) - observed.ndim))
        present = observed if present is None else present & observed
    if present is None:
        return value, True
    present = present.expand(value.shape[: value.ndim - event])
    drawn = _draw(dist.expand(torch.broadcast_shapes(present.shape, dist.batch_shape)))
    return torch.where(present.unsqueeze(-1) if event else present, value, drawn), present
