"""Atoms: the log-densities on which objectives are linear forms.

At (x, z) ~ q(x) q(z|x), in nats per item:

    recon      log p(x|z), and every other density of p that q did not sample (observed labels'
               log p(y), factors)
    label      log q(y|x) at observed sites of q
    evidence   log p(x), estimated by importance sampling over the sample dimensions
    posterior  log q(z|x)
    q[l]       Σ_blocks log q(z_block) over the blocks of level l of the group tree, under the
               aggregate posterior
    p[l]       Σ_blocks log p(z_block) likewise, under the prior

    >>> print(Atom("q", -1), "and", Atom("posterior", of=("y",)))
    log Πq(z_d,e) and log q(y|x)
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from .schedule import Ramp

Kind = Literal["recon", "label", "evidence", "posterior", "q", "p"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds, in the order in which they are printed."""

Coefficient = float | Ramp
"""A number, or a schedule of numbers."""

WITHOUT_LATENTS = {"recon": "log p(x|z)", "label": "log q(y|x)", "evidence": "log p(x)"}
LEVELS = {0: "", 1: "_d", -1: "_d,e"}


class Atom(NamedTuple):
    """A log-density; `level` counts partitions of the group tree, `of` restricts it to latents."""

    kind: Kind
    level: int = 0
    of: tuple[str, ...] = ()

    def on(self, *latents: str) -> Atom:
        """Return the density of some of the latents; those without latents stay as they are."""
        return self if self.kind in WITHOUT_LATENTS else self._replace(of=latents)

    def __str__(self) -> str:
        if self.kind in WITHOUT_LATENTS:
            return WITHOUT_LATENTS[self.kind]
        z = ",".join(self.of) or "z"
        if self.kind == "posterior":
            return f"log q({z}|x)"
        index = LEVELS.get(self.level, f"_level {self.level}")
        product = "Π" if self.level else ""
        return f"log {product}{self.kind}({z}{index})"
