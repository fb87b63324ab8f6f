"""A record: named sites in their order, the class dimensions that they share, and changes to all.

A program writes a record through the methods of `Trace`.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Self

from torch import Tensor
from torch.distributions import Distribution

from . import views
from .axes import Axes, Enumerated, plain, shown
from .node import Node
from .parameters import changed
from .table import table


class Record(Mapping[str, Node]):
    """A write-once, ordered mapping from names to sites; `repr` prints it as a table of shapes."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._axes: Axes | None = None  # None while there are no class dimensions
        self._reads = False  # becomes True when a value of another trace is met
        self._is_aligned = False

    @classmethod
    def of(cls, nodes: Mapping[str, Node], like: Record | None = None) -> Self:
        """Return a trace of these sites, with the class dimensions of another trace."""
        trace = cls()
        trace._nodes = dict(nodes)
        if like is not None:
            trace._axes = like._axes
            trace._is_aligned = like._is_aligned
        return trace

    # -- the mapping -------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Node:
        try:
            return self._nodes[name]
        except KeyError:
            sites = ", ".join(map(repr, self._nodes)) or "none yet"
            raise KeyError(f"no site {name!r} in this trace; its sites are: {sites}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def items(self) -> ItemsView[str, Node]:
        """Return the sites with their names, in the order in which they entered."""
        return self._nodes.items()

    def values(self) -> ValuesView[Node]:
        """Return the sites, in the order in which they entered."""
        return self._nodes.values()

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return table(self)

    # -- changes -----------------------------------------------------------------------------------

    def along(self, dim: int, change: Callable[[Tensor, int], Tensor]) -> Self:
        """Return the aligned trace with a change made to each tensor along a dimension.

        Args:
            dim: A sample dimension or that of the items, counted behind the class dimensions.
            change: See `Node.along`.
        """
        whole = self.aligned()
        depth = self._depth
        nodes = views.along(whole._nodes, depth + dim, depth, change)
        other = self.of(nodes, whole)
        for node in nodes.values():
            if self._axes is not None and node.axes is not None:
                other._axes = Axes(self._axes.sizes, node.axes.lead)
        return other

    def take(self, index: Tensor, *, batch_dim: int = 0) -> Self:
        """Return the (aligned) trace for some of its items, by their numbers."""
        return self.along(batch_dim, lambda t, dim: t.index_select(dim, index))

    def classes(self) -> dict[str, int]:
        """Return the enumerated sites, each with its class dimension in the aligned trace."""
        sites = []
        for name, node in self._nodes.items():
            if node.role == "enumerated":
                sites.append(name)
        dims = reversed(range(len(sites)))  # each puts its dimension in front
        return dict(zip(sites, dims, strict=True))

    def draw(self) -> Self:
        """Return the same trace with one class an item at its enumerated sites, drawn in turn.

        The classes of labelled items are their labels. Sites keep the values that they have for the
        drawn classes.
        """
        if self._axes is None:
            return self
        depth = self._depth if self._is_aligned else None
        nodes = views.pick(self._nodes, self._axes, depth)
        return self.of(nodes)

    def aligned(self, depth: int = 0) -> Self:
        """Return the same trace with every class dimension at every site.

        A dimension has size one where a site does not depend on the class. Values are plain
        tensors, for programs to read through sites (`value=q["z"]`). A trace without class
        dimensions gets `depth` of them.
        """
        if self._axes is not None:
            depth = max(depth, self._depth)
        if not depth or self._is_aligned:
            return self
        nodes = views.align(self._nodes, depth)
        trace = self.of(nodes, self)
        trace._is_aligned = True
        return trace

    # -- what a program enters --------------------------------------------------------------------

    def _add(self, name: str, node: Node) -> Tensor:
        """Add a site, and return its value as programs see it."""
        if name in self._nodes:
            raise ValueError(
                f"site {name!r} is already in this trace: each name is used once, give this one "
                "another"
            )
        if self._axes is not None:
            node = views.trim(node, self._axes)
        self._nodes[name] = node
        return node.value if node.classes == 0 else self._shown(node)

    @property
    def _depth(self) -> int:
        """The number of class dimensions of the trace."""
        return len(self._axes.sizes) if self._axes else 0

    def _meet(self, t: Tensor) -> None:
        """Take over the class dimensions of another trace from a tensor that knows of them."""
        if isinstance(t, Enumerated) and len(t.axes.sizes) > self._depth:
            self._axes = t.axes
            self._reads = True

    def _read(self, dist: Distribution) -> tuple[int, Distribution]:
        """Return how many class dimensions a distribution knows of, and it of plain tensors."""
        most = 0

        def bare(t: Tensor, lacks: int) -> Tensor:
            nonlocal most
            self._meet(t)
            if isinstance(t, Enumerated):
                most = max(most, t.classes + lacks)
            return plain(t)

        bared = changed(dist, bare)
        return most, bared

    def _read_from(self, name: str, node: Node, where: Tensor | None) -> Node:
        """Take over the class dimensions of another trace's site, and return what is read of it.

        In an aligned trace a site has dimensions of size one for classes that came after it.
        """
        if where is not None:
            raise ValueError(
                f"site {name!r} takes its value from another trace, which says where it exists: "
                "leave out where="
            )
        self._reads = True
        if node.axes is not None and len(node.axes.sizes) > self._depth:
            self._axes = node.axes
        own = len(node.axes.sizes) if node.axes else 0
        return views.at_depth(node, own) if node.classes > own else node

    def _full(self, name: str, t: Tensor) -> Tensor:
        """Return a program's tensor with all class dimensions."""
        self._meet(t)
        return t if self._axes is None else self._axes.full(t, f"site {name!r}")

    @staticmethod
    def _shown(node: Node) -> Tensor:
        """Return a site's value as programs see it."""
        return shown(node.value, node.classes, node.axes)
