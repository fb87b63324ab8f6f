"""Expectations under q(z|x, y) for programs that draw z before the y that is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from .atoms import Atom
from .densities import Densities
from .objective import Objective


@dataclass(frozen=True)
class Conditioned:
    """A form averaged over q(z|x, y); see `conditioned`."""

    form: Objective = field(hash=False)

    def at(self, step: int) -> Conditioned:
        """Return the term of one step, with numbers for schedules."""
        return Conditioned(self.form.at(step))

    def on(self, *latents: str) -> Conditioned:
        """Return the same term of some of the latents; the weights stay as they are."""
        return Conditioned(self.form.of(*latents))

    def __call__(self, d: Densities) -> Tensor:
        value = d.score(self.form)  # (*samples, batch)
        samples = tuple(range(value.ndim - 1))
        log_w = d[Atom("label")].expand(value.shape)
        total = log_w.logsumexp(samples, keepdim=True) if samples else log_w
        share = (log_w - total).exp()
        count = math.prod(value.shape[:-1])
        return count * share * value

    def __str__(self) -> str:
        return f"E_q(z|x,y)[{self.form}]"


def conditioned(form: Objective) -> Objective:
    r"""Return a form averaged over q(z|x, y) where y is given, though z was drawn from q(z|x).

    A program that draws z_s ~ q(z|x), then y ~ q(y|x, z_s), cannot draw z from q(z|x, y) ∝ q(z|x)
    q(y|x, z) where y is given. Importance weights average over it: with S samples an item
    (`Recipe.samples`, in dimensions before the batch) the self-normalised estimate is

    .. math:: E_{q(z|x,y)}[f] ≈ \sum_s w_s f(z_s), \quad
              w_s = q(y|x, z_s) \,/\, \sum_{s'} q(y|x, z_{s'})

    in nats; each sample returns S·w_s·f, so that the mean over samples is the estimate. Its bias is
    of order 1/S; S = 1 has none of it and none of the weights either. Where nothing is given, or y
    is drawn before z, all weights are alike and it is the plain mean. Weights count what `label`
    counts, and gradients pass through them. The label term itself stays outside:

    >>> import unweave as uw
    >>> print(uw.conditioned(uw.elbo) + 50 * uw.label)
    50·log q(y|x) + E_q(z|x,y)[log p(x|z) - log q(z|x) + log p(z)]

    Source: Siddharth et al., "Learning Disentangled Representations with Semi-Supervised Deep
    Generative Models" (2017).
    """
    return Objective({Conditioned(form): 1.0})
