"""log q(block) of some rows over all items, each block summed once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..aggregate import exact
from ..aggregate.ahead import Ahead
from ..trace.leaves import Block
from ..trace.trace import Trace


class Sums:
    """The exact estimator of log q(block), which remembers what it found for its rows.

    Blocks that are asked together are one pass over all pairs of rows and items.

    >>> import torch, unweave as uw
    >>> q = uw.Trace()
    >>> z = q.normal(torch.randn(5, 2), 1.0, name="z")
    >>> sums = Sums(q, q.take(torch.tensor([0, 3])))
    >>> (log_q,) = sums(sums.rows, [(("z", (0,)),)])
    >>> log_q is sums(sums.rows, [(("z", (0,)),)])[0]
    True

    Args:
        posterior: The trace of all items.
        rows: The items that are asked for, one class each at enumerated sites.
    """

    def __init__(self, posterior: Trace, rows: Trace) -> None:
        self.posterior, self.rows = posterior, rows
        self._known: dict[Block, Tensor] = {}

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, *, ahead: Ahead | None = None
    ) -> list[Tensor]:
        """Return log q(block) for each block, in nats; only for `rows` itself is it remembered.

        `ahead` is a hint for gradients, which evaluation takes none of.
        """
        aggregate = exact(self.posterior)
        if q is not self.rows:
            return aggregate(q, blocks, batch_dim)
        new = [block for block in dict.fromkeys(blocks) if block not in self._known]
        if new:
            log_q = aggregate(q, new, batch_dim)
            self._known.update(zip(new, log_q, strict=True))
        return [self._known[block] for block in blocks]
