"""A run as the explorer sees it: its items, their codes, and questions that the model answers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import Normal

from ..data import Data
from ..data.data import some
from ..evaluation.encoded import posterior
from ..metrics.information import entropy
from ..models.model import Model, mean, seeded
from ..models.topics import Words
from ..objective.densities import Densities
from ..objective.literature import elbo, recon
from ..runs import names
from ..runs.measures import IDLE
from ..runs.scores import FILE as SCORES
from ..runs.scores import read as read_scores
from ..trace.groups import Tree
from ..trace.trace import Trace
from . import codes
from .drawing import Drawing
from .selection import class_information, normal_information

MOST_ITEMS = 100_000
"""Items whose codes are shown; of more, these are from all over."""

PRIOR_DRAWS = 4000
"""Draws of the prior beside the data's codes."""

Array = NDArray[Any]


class Session:
    """A model, its items and their codes.

    Codes are rows of numbers with a column a unit: posterior means, and class numbers.

    Args:
        model: The trained model.
        data: The items, of which at most so many are shown.
        folder: The run's folder, whose scores are read, and which keeps the names.
        groups: The tree of latent sites; by default each site is a group.
        numbers: The numbers of the items that are shown; by default some from all over.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        folder: str | Path,
        groups: Tree | None = None,
        numbers: Array | None = None,
    ) -> None:
        self.model = model.cpu().eval()
        self.folder = Path(folder)
        self.whole = data
        self.numbers = some(len(data), MOST_ITEMS) if numbers is None else numbers
        self.data = data.subset(self.numbers)
        with torch.no_grad():
            self.q = posterior(self.model, self.data)
        self.sites = codes.sites_of(self.q)
        self.codes = codes.means(self.q, self.sites)  # (n, columns)
        self.columns = codes.columns_of(self.sites)
        self.units = [unit for site in self.sites for unit in site.units]
        self.groups = groups

    # -- what the page begins with -----------------------------------------------------------------

    def described(self) -> dict[str, Any]:
        """Return everything that the page draws before it asks: sites, units, labels, scores."""
        return {
            "run": self.folder.name,
            "folder": str(self.folder),
            "data": self.data.name,
            "items": len(self.data),
            "numbers": None if len(self.data) == len(self.whole) else self.numbers.tolist(),
            "all": len(self.whole),
            "planes": ["pca", "tsne"],
            "pictures": self.drawing.described(),
            "groups": self.groups or [site.name for site in self.sites],
            "sites": [self._site(site) for site in self.sites],
            "factors": self._factors(),
            "names": self.names(),
            "start": int(self._typical()),
            "idle": IDLE,
        }

    def _site(self, site: codes.Site) -> dict[str, Any]:
        units = []
        for column, unit in zip(self.columns[site.name], site.units, strict=True):
            units.append({"name": unit, "column": column, **self._unit(site, column)})
        follows = self._follows(site)
        return {"name": site.name, "classes": site.classes, "follows": follows, "units": units}

    def there(self, site: str) -> Array:
        """Return the items at which a site exists, (n,) booleans."""
        exists = self.q[site].exists
        n = len(self.codes)
        if exists is True or exists is False:
            return np.full(n, exists)
        items = exists.expand(n, *exists.shape[1:])
        return items.reshape(n, -1).any(1).numpy()

    def _follows(self, site: codes.Site) -> dict[str, Any] | None:
        """Return the class, and its values, with which a site exists, by the items that are shown.

        None if the site exists always, or by no class of one unit.
        """
        there = self.there(site.name)
        for parent in self.sites:
            if there.all() or parent is site or not parent.classes or len(parent.units) > 1:
                continue
            (column,) = self.columns[parent.name]
            of_items = self.draws[:, column].astype(int)
            held = np.unique(of_items[there])
            if not np.isin(of_items[~there], held).any():
                return {"column": column, "classes": held.tolist()}
        return None

    def _unit(self, site: codes.Site, column: int) -> dict[str, Any]:
        """Return a unit's information, and how the data and the prior use its values."""
        held = self._information.get(self.units[column])
        information = {"information": held, "named": self._classes(column) if site.classes else []}
        there = self.there(site.name)
        drawn = self.draws[there if there.any() else ~there, column]
        if site.classes:
            shares = np.bincount(drawn.astype(int), minlength=site.classes) / len(drawn)
            return information | {"shares": shares.tolist()}
        low, high = np.quantile(drawn, [0.001, 0.999])
        prior = self._prior[:, column]
        first, last = np.quantile(prior, [0.005, 0.995])
        margin = 0.05 * (max(high, last) - min(low, first))  # some of the track is beyond the data
        ends = min(low, first) - margin, max(high, last) + margin
        return information | {
            "quantiles": np.quantile(drawn, np.linspace(0, 1, 101)).tolist(),
            "used": [float(low), float(high)],
            "ends": [float(ends[0]), float(ends[1])],
            "histogram": _density(drawn, ends),
            "prior": _density(prior, ends),
        }

    def _classes(self, column: int) -> list[dict[str, Any]]:
        """Return, for each class of a unit, the label that most of its items have, and how many."""
        if not self.data.names:
            return []
        labels, values = self.data.factors[:, 0], self.data.values[0]
        of_items = self.codes[:, column].astype(int)
        found = []
        for k in range(int(of_items.max()) + 1):
            its = labels[(of_items == k) & (labels >= 0)]
            counts = np.bincount(its, minlength=len(values))
            share = float(counts.max() / max(counts.sum(), 1))
            found.append({"label": values[int(counts.argmax())], "share": share})
        return found

    def _factors(self) -> list[dict[str, Any]]:
        named = zip(self.data.names, self.data.values, strict=True)
        return [{"name": name, "values": list(values)} for name, values in named]

    def _typical(self) -> int:
        """Return the number of the item whose codes are nearest to the data's middle."""
        spread = self.codes.std(0) + 1e-9
        apart = (self.codes - np.median(self.codes, 0)) / spread
        return int(np.square(apart).sum(1).argmin())

    @cached_property
    def _information(self) -> dict[str, tuple[float, float | None]]:
        """I(x; unit) and its standard error in nats, as the run's evaluation measured it."""
        if not (self.folder / SCORES).is_file():
            return {}
        measured = read_scores(self.folder).information
        return {unit: (float(mean.value), mean.error) for unit, mean in measured.items()}

    @cached_property
    def draws(self) -> Array:
        """A draw of each item's posterior, (n, columns)."""
        return codes.draws(self.q, self.sites)

    @cached_property
    def _prior(self) -> Array:
        """Draws of the prior, (draws, columns)."""
        with torch.no_grad(), seeded(0):
            p = self.model.decoder(None, self.q.free(PRIOR_DRAWS))
            return codes.draws(p, self.sites)

    # -- pictures ----------------------------------------------------------------------------------

    @cached_property
    def drawing(self) -> Drawing:
        """The way in which items are drawn."""
        values = codes.given(self.codes[:1], self.sites)
        with torch.no_grad():
            p = self.model.decoder(None, Trace.given(**values))
        *_, last = p.values()
        return Drawing.of(self.data, isinstance(last.dist, Words))

    def pictures(self, items: Array) -> bytes:
        """Return items (n, *shape) as the page draws them."""
        return self.drawing.packed(items)

    def item(self, number: int) -> bytes:
        """Return the picture of an item."""
        return self.pictures(self.data.floats([number]))

    @torch.no_grad()
    def decode(self, rows: Array) -> Array:
        """Return the decoder's means at codes (n, columns), (n, *shape)."""
        values = codes.given(rows, self.sites)
        decoded = mean(self.model.decoder(None, Trace.given(**values)))
        return decoded.reshape(len(rows), *self.data.shape).numpy()

    # -- numbers of items --------------------------------------------------------------------------

    @cached_property
    def bounds(self) -> dict[str, Array]:
        """Each item's ELBO and reconstruction log-density in nats, one draw of z an item."""
        terms = {"elbo": elbo, "recon": recon}
        found: dict[str, list[Array]] = {name: [] for name in terms}
        with torch.no_grad(), seeded(0):
            for rows in np.array_split(np.arange(len(self.data)), -(-len(self.data) // 1000)):
                q, p = self.model(torch.as_tensor(self.data.floats(rows)))
                d = Densities(q, p)
                for name, term in terms.items():
                    found[name].append(d.score(term).numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def plane(self, site: str, kind: str) -> Array:
        """Return a site's codes in the plane, (n, 2): principal components, or t-SNE of some.

        Items without a place have NaN.
        """
        of_site = self.codes[:, self.columns[site]]
        if kind == "pca":
            centred = of_site - of_site.mean(0)
            _, _, axes = np.linalg.svd(centred[some(len(centred), 5000)], full_matrices=False)
            components: Array = centred @ axes[:2].T
            return components
        from ..evaluation.pictures import plane

        few = some(len(of_site), 2000)
        places = np.full((len(of_site), 2), np.nan)
        places[few] = plane(of_site[few])
        return places

    def selected(self, inside: Array) -> dict[str, Any]:
        """Return the information of each unit about a selection (n,), and its mean codes.

        Returns:
            "units": for each of the sites that exist at all items, its name, I(selection; unit) in
            nats and its standard error, 0 where the sum is exact, largest first; "entropy":
            H(selection), the ceiling; "mean": the mean code of the selection; "items": the number
            of items.
        """
        found = []
        for site in self.sites:
            if not self.there(site.name).all():
                continue  # densities of what does not exist mean nothing
            node = self.q[site.name]
            if site.classes and len(site.units) == 1:
                probs = node.dist.mean.numpy()  # type: ignore[union-attr]
                value = class_information(probs.reshape(len(inside), -1), inside)
                found.append((site.units[0], value, 0.0))
            elif isinstance(node.dist, Normal):
                means = node.dist.mean.flatten(1).double().numpy()
                scales = node.dist.stddev.expand_as(node.value).flatten(1).double().numpy()
                values, errors = normal_information(means, scales, inside)
                found += zip(site.units, values.tolist(), errors.tolist(), strict=True)
        return {
            "items": int(inside.sum()),
            "entropy": float(entropy(np.bincount(inside))),
            "units": sorted(found, key=lambda unit: -unit[1]),
            "mean": self._mean(inside),
        }

    def _mean(self, inside: Array) -> list[float]:
        """Return the mean code of a selection, and the commonest class."""
        middle = self.codes[inside].mean(0)
        for site in self.sites:
            for column in self.columns[site.name] if site.classes else ():
                counts = np.bincount(self.codes[inside, column].astype(int))
                middle[column] = counts.argmax()
        found: list[float] = middle.tolist()
        return found

    # -- names -------------------------------------------------------------------------------------

    def names(self) -> dict[str, dict[str, str]]:
        """Return the units' names and notes that people gave them."""
        kept: dict[str, dict[str, str]] = msgspec.to_builtins(names.read(self.folder))
        return kept

    def rename(self, unit: str, name: str, note: str) -> dict[str, dict[str, str]]:
        """Keep a unit's name and a note; an empty name and note forget them.

        Raises:
            ValueError: If there is no such unit, or a text is too long.
        """
        if unit not in self.units:
            raise ValueError(f"no unit {unit!r}; there are {', '.join(self.units)}")
        names.keep(self.folder, unit, name, note)
        return self.names()


def _density(values: Array, ends: tuple[float, float], cells: int = 60) -> list[float]:
    """Return the share of values in each of equal cells between two ends."""
    counts, _ = np.histogram(values, cells, ends)
    shares: list[float] = (counts / len(values)).tolist()
    return shares
