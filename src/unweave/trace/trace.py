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

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Normal

from . import views
from .axes import Enumerated, classes_of, plain, told
from .concrete import Concrete
from .enumeration import enumerated, extended, one_hot
from .limits import (
    check_location,
    check_log_odds,
    check_log_weights,
    check_scale,
    check_temperature,
    outcomes,
)
from .node import Law, Node, Role
from .origins import afresh, chosen, drawn, reused, unbound
from .parameters import holds
from .record import Record
from .values import all_known, give, in_part, like


class Trace(Record):
    """A write-once, ordered mapping from names to sites; `repr` prints it as a table of shapes.

    Each site method returns the site's value, a tensor, so programs read like mathematics. `value=`
    decides what the site does: nothing or None draws from the distribution (reparameterised where
    it can be), a tensor observes it, a site of another trace reuses that site's value, and a free
    site (see `free`) draws afresh at its shape.

    *Missing values.* Entries where the boolean `observed=` is False, and class numbers below zero,
    are drawn instead. Integer values of categorical and Concrete sites are class numbers, floats
    are one-hot.

    *Entries that do not exist*: steps beyond the end of a sequence, objects beyond a count. The
    mask `where=`, boolean and shaped like `observed=`, is True at those that exist. The others
    leave every block and count in no term, so padded items score as unpadded ones do; the module
    `values` says more.

    *Enumerated sites.* A categorical site without a value is not drawn: its value holds every
    class, in a new dimension in front, and objectives sum over them exactly (see the module
    `enumeration`). Only a program that reads no other trace enumerates. One that does, a decoder,
    draws what it is not given; `sample(OneHotCategorical(logits=...), name=...)` draws anywhere;
    and the method `draw` picks classes, item by item.

    Raises:
        ValueError: For a name used twice or a value whose shape does not fit.
        KeyError: For an unknown name; it lists the sites.
    """

    @staticmethod
    def given(**values: Tensor) -> Trace:
        """Return a trace of chosen values: a decoder that reads it makes an intervention."""
        nodes = {name: chosen(value) for name, value in values.items()}
        return Trace.of(nodes)

    def free(self, n: int, *, batch_dim: int = 0, **values: Tensor) -> Trace:
        """Return the same sites for `n` new items, to be drawn by the program that reads them.

        Args:
            n: How many items.
            batch_dim: The dimension of the items in this trace.
            values: Values of sites that are not to be drawn.

        >>> import torch, unweave as uw
        >>> q = uw.Trace()
        >>> _ = q.normal(torch.zeros(5, 2), 0.5, name="z")
        >>> p = uw.Trace()
        >>> p.normal(0.0, 1.0, value=q.free(64)["z"], name="z").shape
        torch.Size([64, 2])
        """
        for name in values:
            self[name]  # an unknown name is refused
        nodes = {}
        for name, node in self.draw().items():
            if node.dist is None:
                continue
            if name in values:
                nodes[name] = chosen(values[name])
            else:
                nodes[name] = unbound(node, n, batch_dim)
        return Trace.of(nodes)

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
        """Add a site with any `torch.distributions` distribution, and return its value.

        Args:
            dist: The site's distribution; its own argument validation is switched off.
            value: None draws, a tensor observes, a site of another trace reuses its value.
            name: The site's name, used once.
            observed: Which entries of the value are given; the others are drawn.
            where: Which entries exist.
        """
        dist._validate_args = False  # our own checks are made once, not at each evaluation
        if isinstance(value, Node):
            value = self._read_from(name, value, where)
        classes = 0
        if self._axes is not None or holds(dist, Enumerated):
            classes, dist = self._read(dist)
        if isinstance(value, Node):
            if value.role == "free":
                return self._add(name, afresh(dist, value))
            if value.dist is not None:
                return self._add(name, reused(name, dist, value, self._axes))
        if value is None:
            node = drawn(name, dist, classes, self._axes)
        else:
            all_given = observed is None and where is None
            node = self._given(name, dist, value, observed, all_given=all_given)
        if where is not None:
            node = in_part(name, node, where, self._axes)
        return self._add(name, node)

    def _given(
        self,
        name: str,
        dist: Distribution,
        value: Tensor | Node,
        observed: Tensor | None,
        *,
        all_given: bool,
    ) -> Node:
        """Return a site with a value that was given, or chosen in another trace."""
        role: Role = "observed"
        if isinstance(value, Node):
            role, value = "reused", value.value
        value = outcomes(name, dist, value, all_given=all_given)
        self._meet(value)
        held, present = give(name, dist, value, observed, self._axes)
        return Node(held, role, dist, present)

    def conditional(
        self,
        of: Callable[..., Distribution],
        given: str | Sequence[str],
        *inputs: Tensor,
        name: str,
        value: Tensor | Node | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Add a site with the distribution `of(*values of the sites given, *inputs)`.

        An example is q(z_t | z_{t-1}, h_t), with z_{t-1} given and h_t an input.

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
        sites = (given,) if isinstance(given, str) else tuple(given)
        held = [self._shown(self[site]) for site in sites]
        dist = of(*held, *inputs)
        self.sample(dist, value, name=name, where=where)
        node = self._nodes[name]
        if self._axes is None:
            node = replace(node, law=Law(of, sites, inputs))
        else:
            what = f"an input of site {name!r}"
            full = tuple(self._axes.full(t, what) for t in inputs)
            whole = replace(views.at_depth(node, self._depth), law=Law(of, sites, full))
            node = views.trim(whole, self._axes)
        self._nodes[name] = node
        return self._shown(node)

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
        """Add a Normal(loc, scale); `scale` is the standard deviation.

        Numbers broadcast: `p.normal(0.0, 1.0, …)`.
        """
        check_location(name, loc)
        check_scale(name, scale)
        if not isinstance(loc, Tensor):
            loc = like(loc, scale, value)
        if not isinstance(scale, Tensor):
            scale = like(scale, loc, value)
        dist = Normal(loc, scale, validate_args=False)
        return self.sample(dist, value, name=name, observed=observed, where=where)

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
        """Add a Concrete relaxation of a categorical with log weights `logits`.

        Labels are one-hot or class numbers. A temperature of each item or unit has the shape
        (*samples, batch, *units), or that with a last dimension of one.
        """
        check_temperature(name, temperature)
        check_log_weights(name, logits)
        dist = Concrete(logits, temperature)
        return self.sample(dist, value, name=name, observed=observed, where=where)

    def categorical(
        self,
        logits: Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Add a categorical with log weights `logits`; its values are one-hot.

        Labels are one-hot or class numbers. Without a value, or where it is missing, all classes
        are enumerated (see `Trace`).
        """
        self._meet(logits)
        check_log_weights(name, logits)
        if self._reads or isinstance(value, Node):
            dist = one_hot(logits)
            return self.sample(dist, value, name=name, observed=observed, where=where)
        classes = classes_of(logits)
        dist = one_hot(plain(logits))
        label: Tensor | None = None
        present: Tensor | bool = False
        if value is not None:
            label, present = give(name, dist, value, observed, self._axes)
            if present is True or all_known(torch.as_tensor(present)):
                whole = told(label, self._depth, self._axes)
                return self.sample(dist, whole, name=name, where=where)
        self._axes = extended(self._axes, name, dist, classes)
        return self._add(name, enumerated(self._axes, name, dist, label, present, where))

    def bernoulli(
        self,
        logits: Tensor,
        value: Tensor | Node | None = None,
        *,
        name: str,
        observed: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Add a Bernoulli with log odds `logits`.

        Values are booleans, integers 0 and 1, or grey values in [0, 1], which are scored by their
        cross-entropy.
        """
        check_log_odds(name, logits)
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
        """Score `-fn(input, target)` as a log-density and return `input`.

        Without a target it scores nothing.

        Args:
            fn: A loss that does not average over the batch: it returns one number an item, or finer
                (then summed per item).
            input: The program's prediction.
            target: The observation.
            name: The site's name.
        """
        value = self._full(name, input)
        if target is None:
            return self._add(name, Node(value, "free"))
        cost = fn(input, target)
        if cost.ndim == 0:
            raise ValueError(
                f"the loss at site {name!r} returned one number for the whole batch; expected one "
                "an item: use a function that does not reduce, such as "
                "torch.nn.BCELoss(reduction='none')"
            )
        score = -self._full(name, cost)
        node = Node(value, "scored", score=score)
        return self._add(name, node)

    def factor(self, log_prob: Tensor, *, name: str) -> Tensor:
        """Add the log-factor `log_prob` (*samples, batch), or finer, to the program's density."""
        score = self._full(name, log_prob)
        return self._add(name, Node(score, "scored", score=score))
